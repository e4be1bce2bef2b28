# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest build``: a vendor's source folder, built against a channel's headers."""

from __future__ import annotations

import time
from pathlib import Path

import click

from plugfest.build import module
from plugfest.build.confinement import Limits
from plugfest.cli.options import build_limits, channel_option, fetch_options, option
from plugfest.cli.prepare import settings
from plugfest.provision.build_root import check_channel, ensure_build_root
from plugfest.provision.kernel import ensure_kernel
from plugfest.report.text import printable


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@channel_option
@option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the modules and build.log.  [default: modules/RELEASE]",
)
@build_limits
@fetch_options
@click.argument("make_arguments", nargs=-1, type=click.UNPROCESSED, metavar="[-- MAKE-ARGUMENTS]...")
def build(
    folder: Path,
    kernel: str,
    out: Path | None,
    build_seconds: float,
    build_memory: int,
    cache_dir: Path | None,
    mirror: str | None,
    make_arguments: tuple[str, ...],
) -> None:
    """Build the kernel modules of the folder DIR against the headers of a Debian kernel.

    DIR is copied; make runs in the copy, unprivileged, without network, in namespaces of its own. It finds headers in
    /lib/modules/$(uname -r)/build and source, as on a machine that runs that kernel. A Kbuild file without targets of its own is
    built by the kernel's makefile.
    """
    check_channel(kernel)
    module.check_folder(folder)
    wanted = settings(cache_dir, mirror, None)
    chosen = ensure_kernel(wanted, kernel)
    root = ensure_build_root(wanted, chosen)
    begin = time.monotonic()
    with module.confinement(wanted, root, Limits(build_seconds, build_memory)) as confined:
        confined.take(folder)
        made = module.build_folder(confined, root, "", out or Path("modules") / root.release, arguments=make_arguments)
    for line in made.warnings:
        click.echo(printable(line))
    for path in made.modules:
        click.echo(f"{path}")
    count = f"{len(made.modules)} module{'s' if len(made.modules) > 1 else ''}"
    click.echo(
        f"{count} for Linux {root.release}, by {root.compiler}, in {time.monotonic() - begin:.1f} s; "
        f"test one: plugfest run DRIVER --kernel {kernel} --module {made.modules[0]}"
    )
