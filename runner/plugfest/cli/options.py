# SPDX-License-Identifier: GPL-2.0-or-later
"""Command-line options, each with its environment variable, and what several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from plugfest.provision.kernel import DEFAULT_CHANNEL

Command = TypeVar("Command", bound=Callable[..., Any])


def option(name: str, *names: str, **settings: Any) -> Callable[[Command], Command]:
    """Declare an option; ``--cache-dir`` is also ``PLUGFEST_CACHE_DIR``, whichever the command."""
    variable = "PLUGFEST_" + name.removeprefix("--").partition("/")[0].upper().replace("-", "_")
    return click.option(name, *names, envvar=variable, show_envvar=True, **settings)


def _stacked(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    return lambda command: functools.reduce(lambda inner, decorate: decorate(inner), reversed(options), command)


cache_options = _stacked(
    option(
        "--cache-dir",
        type=click.Path(path_type=Path, file_okay=False),
        help="Where everything fetched and built is kept.  [default: $XDG_CACHE_HOME/plugfest]",
    ),
    option("--mirror", metavar="URL", help="Debian mirror.  [default: the one that this host's apt uses]"),
    option(
        "--qemu",
        metavar="PROGRAM",
        help="A qemu-system-x86_64 to use.  [default: PATH's, if it has vfio-user-pci; else Debian's]",
    ),
)
"""What every command that may fetch or build takes."""

guest_options = _stacked(
    option(
        "--kernel",
        default=DEFAULT_CHANNEL,
        show_default=True,
        metavar="KERNEL",
        help="A channel of Debian's (trixie-backports, trixie, bookworm), a kernel build tree, or BZIMAGE[:MODULES].",
    ),
    option(
        "--accel",
        type=click.Choice(["auto", "kvm", "tcg"]),
        default="auto",
        show_default=True,
        help="KVM, emulation, or KVM where a guest really runs on it.",
    ),
    option("--profile", help="Variant of the model (see plugfest models)."),
    option(
        "--module",
        "modules",
        multiple=True,
        type=click.Path(path_type=Path),
        help="An out-of-tree .ko to load in place of the kernel's own; may be repeated.",
    ),
    option("--cpus", type=click.IntRange(1, 64), default=2, show_default=True, help="The guest's CPUs."),
    option(
        "--memory", type=click.IntRange(256, 65536), default=1024, show_default=True, help="The guest's memory, MiB."
    ),
    option("--fresh", is_flag=True, help="Boot cold: neither use nor store a snapshot of the guest."),
    option(
        "--fault",
        "faults",
        multiple=True,
        help="Arm this fault point, of the model or the suite, for the whole run; may be repeated.",
    ),
    option(
        "--dry-run",
        is_flag=True,
        help="Print the command lines of QEMU and the model, which are fetched and built if need be, and end.",
    ),
    cache_options,
)
"""What every command that boots a guest takes."""
