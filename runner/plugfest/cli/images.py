# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest images``: build the images of guests in advance."""

from __future__ import annotations

from pathlib import Path

import click

from plugfest.cli.listing import show, table
from plugfest.cli.options import cache_options, option
from plugfest.cli.prepare import settings
from plugfest.provision.build_root import check_channel, ensure_build_root, ensure_driver_source
from plugfest.provision.kernel import CHANNELS, DEFAULT_CHANNEL, check_kernel, ensure_kernel
from plugfest.provision.root import ensure_root
from plugfest.provision.toolchain import ensure_bwrap, ensure_toolchain


@click.command()
@click.argument("kernels", nargs=-1, metavar="[KERNEL]...")
@click.option(
    "--all", "every", is_flag=True, envvar="PLUGFEST_ALL_KERNELS", show_envvar=True, help="Every Debian channel."
)
@option(
    "--headers",
    is_flag=True,
    help="Also what builds modules: headers, compiler and the drivers' source of each channel.",
)
@cache_options
def images(
    kernels: tuple[str, ...],
    every: bool,
    headers: bool,
    cache_dir: Path | None,
    mirror: str | None,
    qemu: str | None,
) -> None:
    """Fetch and build QEMU, the guest's root and KERNEL into the cache, so that later runs need no network.

    KERNEL is a Debian channel, a kernel build tree or an image [default: trixie-backports].
    """
    wanted = settings(cache_dir, mirror, qemu)
    specs = (tuple(CHANNELS) if every else kernels) or (DEFAULT_CHANNEL,)
    for spec in specs:
        check_kernel(spec)
        if headers:
            check_channel(spec)
    made = table("what", "version", "where")
    toolchain = ensure_toolchain(wanted)
    program = Path(toolchain.qemu[0])
    made.add_row("QEMU", toolchain.version, str(wanted.cache) if wanted.cache in program.parents else str(program))
    root = ensure_root(wanted)
    made.add_row("guest root", root.digest, str(root.image))
    for spec in specs:
        kernel = ensure_kernel(wanted, spec)
        made.add_row(f"kernel {kernel.spec}", kernel.release, str(kernel.image))
        if headers:
            tools = ensure_build_root(wanted, kernel)
            made.add_row(f"headers of {kernel.spec}", f"{tools.version}, {tools.compiler}", str(tools.root))
            source = ensure_driver_source(wanted, kernel, tools)
            made.add_row(f"drivers' source of {kernel.spec}", tools.version, str(source.tree))
    if headers:
        ensure_bwrap(wanted)
    show(made)
