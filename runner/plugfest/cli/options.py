# SPDX-License-Identifier: GPL-2.0-or-later
"""Command-line options with their environment variables, and the groups of options that commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from plugfest.provision.kernel import DEFAULT_CHANNEL

Command = TypeVar("Command", bound=Callable[..., Any])


def option(name: str, *names: str, **settings: Any) -> Callable[[Command], Command]:
    """Declare an option with an environment variable, such as ``PLUGFEST_CACHE_DIR`` for ``--cache-dir``, in every command."""
    variable = "PLUGFEST_" + name.removeprefix("--").partition("/")[0].upper().replace("-", "_")
    return click.option(name, *names, envvar=variable, show_envvar=True, **settings)


def stacked(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Make one decorator of several, which declares their options in this order."""
    return lambda command: functools.reduce(lambda inner, decorate: decorate(inner), reversed(options), command)


fetch_options = stacked(
    option(
        "--cache-dir",
        type=click.Path(path_type=Path, file_okay=False),
        help="Folder for everything fetched or built.  [default: $XDG_CACHE_HOME/plugfest]",
    ),
    option("--mirror", metavar="URL", help="Debian mirror.  [default: the mirror that this host's apt uses]"),
)
"""Options of every command that may fetch something."""

cache_options = stacked(
    fetch_options,
    option(
        "--qemu",
        metavar="PROGRAM",
        help="The qemu-system-x86_64 to use.  [default: the one in PATH, if it has vfio-user-pci; else Debian's]",
    ),
)
"""Options of every command that may fetch or build."""

channel_option = option(
    "--kernel",
    default=DEFAULT_CHANNEL,
    show_default=True,
    metavar="CHANNEL",
    help="The Debian channel of the kernel to build for: trixie-backports, trixie or bookworm.",
)

build_limits = stacked(
    option(
        "--build-seconds",
        type=click.FloatRange(min=1),
        default=600,
        show_default=True,
        help="End a build that takes longer.",
    ),
    option(
        "--build-memory",
        type=click.IntRange(min=64),
        default=4096,
        show_default=True,
        help="End a build whose processes take more memory together, MiB.",
    ),
)
"""Options of every command that builds strangers' code."""

patch_options = stacked(
    option(
        "--patch",
        "patches",
        multiple=True,
        type=click.Path(path_type=Path),
        help="A series of patches to build the driver with, of Debian's source; may be repeated. To judge them, see plugfest patch.",
    ),
    option(
        "--together",
        is_flag=True,
        help="With --patch: leave out each series that does not build alone, or not apply on top of the others.",
    ),
)
"""Options of every command that runs a driver with patches."""

ANY_SEED = "any"
"""What --shuffle without a seed is taken for."""

repeat_options = stacked(
    option(
        "--repeat",
        "count",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        metavar="RUNS",
        help="Run the tests so many times, and report each whose verdict varied.",
    ),
    option(
        "--shuffle",
        is_flag=False,
        flag_value=ANY_SEED,
        metavar="[SEED]",
        help="Run the tests in random order; with --repeat each run in another one.",
    ),
)
"""Options of every command that can make several runs of the same tests."""

guest_options = stacked(
    option(
        "--kernel",
        default=DEFAULT_CHANNEL,
        show_default=True,
        metavar="KERNEL",
        help="A Debian channel (trixie-backports, trixie, bookworm), a kernel build tree, or BZIMAGE[:MODULES].",
    ),
    option(
        "--accel",
        type=click.Choice(["auto", "kvm", "tcg"]),
        default="auto",
        show_default=True,
        help="KVM, emulation (TCG), or KVM if it can run a guest here and else TCG.",
    ),
    option("--profile", help="Variant of the model (see plugfest models)."),
    option(
        "--module",
        "modules",
        multiple=True,
        type=click.Path(path_type=Path),
        help="An out-of-tree .ko to load instead of the kernel's own module; may be repeated.",
    ),
    option("--cpus", type=click.IntRange(1, 64), default=2, show_default=True, help="Number of CPUs of the guest."),
    option(
        "--memory", type=click.IntRange(256, 65536), default=1024, show_default=True, help="Memory of the guest in MiB."
    ),
    option("--fresh", is_flag=True, help="Boot cold, and neither use nor store a snapshot of the guest."),
    option(
        "--fault",
        "faults",
        multiple=True,
        help="Arm this fault point, of the model or the suite, for the whole run; may be repeated.",
    ),
    option(
        "--dry-run",
        is_flag=True,
        help="Print the command lines of QEMU and the model and exit; fetches and builds them if necessary.",
    ),
    cache_options,
)
"""Options of every command that boots a guest."""
