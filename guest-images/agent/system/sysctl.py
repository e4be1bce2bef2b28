# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's settings in /proc/sys. Methods ``sysctl.*``."""

from __future__ import annotations

import itertools
from pathlib import Path

from agent.methods import exposed

SILENT = {
    **{
        f"net/ipv6/conf/default/{name}": "0"
        for name in ("accept_ra", "autoconf", "router_solicitations", "dad_transmits", "accept_dad")
    },
    # A report of multicast groups is not repeated a while later.
    "net/ipv6/conf/default/mldv2_unsolicited_report_interval": "86400000",
    # No complaint, by ICMP of either version, of a frame that reaches no socket, and no request for the address of its sender.
    "net/ipv4/icmp_msgs_per_sec": "0",
    # Known neighbours are not probed again.
    **{
        f"net/{family}/neigh/default/{name}": value
        for family, (name, value) in itertools.product(
            ("ipv4", "ipv6"), {"base_reachable_time_ms": "86400000", "delay_first_probe_time": "86400"}.items()
        )
    },
}
"""By path: what keeps interfaces that come later from sending anything unasked. Source: Documentation/networking/ip-sysctl.rst."""

LOUD = {
    "kernel/printk": "8 4 1 7",
    "kernel/hung_task_warnings": "-1",
}
"""By path: what has the kernel log everything to the console. Source: Documentation/admin-guide/sysctl/kernel.rst."""


@exposed
def silence() -> None:
    """Have the interfaces that come to this network namespace send nothing unasked."""
    _write(SILENT)


@exposed
def log_everything() -> None:
    """Have the kernel log everything to the console, and each task that hangs."""
    _write(LOUD)


def _write(settings: dict[str, str]) -> None:
    """Write all of them; raises the error of the first that the kernel refused."""
    refused = []
    for path, value in settings.items():
        target = Path("/proc/sys", path)
        if target.exists():  # else a kernel without it
            try:
                target.write_text(value)
            except OSError as error:
                refused.append(error)
    if refused:
        raise refused[0]
