# SPDX-License-Identifier: GPL-2.0-or-later
"""What the guest's kernel has allocated, to find what grows with the number of times that something was done.

Sources: slabinfo(5); Documentation/filesystems/proc.rst, meminfo; Documentation/netlink/specs/netdev.yaml, page-pool-get.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from plugfest import faults as fault_points

if TYPE_CHECKING:
    from plugfest.agent import AgentClient
    from plugfest.faults import LocalFaults

LOST = fault_points.declare("program:qapi.memory-lost", "each reading shows as many slab objects more as a ring has")

PAGE = 4096
SPARE_PAGES = 64
"""Pages a time that free memory may shrink by: what is cached meanwhile. The buffers of a ring that is lost are hundreds."""
QUIET = (
    "kmalloc",
    "net_namespace",
    "skbuff",
    "sock",
    "dma",
    "udmabuf",
    "buf",
    "files",
    "pid",
    "task_struct",
    "io_kiocb",
)
"""Beginnings of the names of slab caches that what is repeated may fill; others belong to the guest's other work."""


@dataclass(frozen=True)
class Reading:
    """One moment.

    Attributes:
        slab: objects in use by cache.
        free: octets that could be had.
        pools: page pools of the whole guest.
        references: of the driver's module.
    """

    slab: dict[str, int] = field(repr=False)
    free: int
    pools: int
    references: int


class Residue:
    """Reads what is allocated."""

    def __init__(self, agent: AgentClient, module: str, faults: LocalFaults) -> None:
        """Read nothing yet.

        Args:
            agent: of the guest.
            module: the driver's.
            faults: of this run.
        """
        self._agent = agent
        self._module = module
        self._faults = faults
        self._readings = 0

    def read(self) -> Reading:
        """Read it all, after the kernel has freed what it puts off."""
        self._settle()
        slab = {name: each["active"] for name, each in self._agent.call("system.slab").items()}
        self._readings += 1
        if self._faults[LOST]:
            slab["kmalloc-64"] += 512 * self._readings
        pools: list[Any] = self._agent.call("netdev.page_pool_get")
        return Reading(
            slab,
            self._agent.call("system.meminfo")["MemAvailable"],
            len(pools),
            self._agent.call("system.modules").get(self._module, 0),
        )

    def _settle(self) -> None:
        # Waits for RCU's callbacks and gives back the slabs that are empty, so that what is in use is what is counted.
        self._agent.call("files.write", path="/proc/sys/vm/drop_caches", text="3")
        for cache in self._agent.call("files.glob", path="/sys/kernel/slab/*/shrink"):
            self._agent.call("files.write", path=cache, text="1")

    @staticmethod
    def grown(readings: Sequence[Reading], times: int) -> list[str]:
        """Return what has grown between each reading and the next, at least by one for each time that something was done.

        Args:
            readings: in order.
            times: how often it was done between two readings.
        """
        found = []
        for name in readings[0].slab:
            steps = [after.slab.get(name, 0) - before.slab.get(name, 0) for before, after in pairwise(readings)]
            if name.startswith(QUIET) and min(steps) >= times:
                found.append(f"slab {name}: {' and '.join(f'+{each}' for each in steps)} objects in {times} times each")
        free = [before.free - after.free for before, after in pairwise(readings)]
        if min(free) >= times * SPARE_PAGES * PAGE:
            found.append(f"free memory: {' and '.join(f'-{each}' for each in free)} octets in {times} times each")
        for what in ("pools", "references"):
            values = [getattr(each, what) for each in readings]
            if values[-1] > values[0]:
                found.append(f"{what}: {values}")
        return found
