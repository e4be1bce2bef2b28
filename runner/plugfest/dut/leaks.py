# SPDX-License-Identifier: GPL-2.0-or-later
"""What the guest's kernel has allocated, to find what grows with the number of times that something was done.

Sources: slabinfo(5); Documentation/filesystems/proc.rst, meminfo; Documentation/netlink/specs/netdev.yaml, page-pool-get.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from plugfest.machine.agent import KernelLacksError

if TYPE_CHECKING:
    from plugfest.machine.agent import AgentClient


PAGE = 4096
SPARE_PAGES = 1024
"""Pages by which the kernel's memory may grow between two readings, however often something was done."""
KEPT_BY_CPU = re.compile(r"^\s+count:\s+(\d+)$", re.MULTILINE)
"""In /proc/zoneinfo: free pages that a CPU keeps for itself, which MemFree does not count."""
NOT_KERNEL = ("MemFree", "Buffers", "Cached", "SwapCached", "AnonPages", "SReclaimable")
"""Fields of meminfo, apart from each other, that are free, a process's, or cached; what is left of the whole is the kernel's own."""
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
class MemoryUsage:
    """One moment.

    Attributes:
        slab: objects in use by cache.
        kernel: bytes of kernel memory: whole pages, as of rings and buffers, and slabs. Memory of processes, the agent
            included, and caches are left out: they grow with the load.
        pools: page pools of the whole guest.
        references: of the driver's module.
    """

    slab: dict[str, int] = field(repr=False)
    kernel: int
    pools: int
    references: int


def taken(meminfo: Mapping[str, int], zones: str) -> int:
    """Return the bytes of kernel memory, from /proc/meminfo in bytes and the text of /proc/zoneinfo."""
    kept = sum(int(pages) * PAGE for pages in KEPT_BY_CPU.findall(zones))
    return meminfo["MemTotal"] - kept - sum(meminfo[name] for name in NOT_KERNEL)


class LeakCheck:
    """Reads what is allocated."""

    def __init__(self, agent: AgentClient, module: str) -> None:
        """Read nothing yet.

        Args:
            agent: of the guest.
            module: the driver's.
        """
        self._agent = agent
        self._module = module

    def read(self) -> MemoryUsage:
        """Read it all, after the kernel has freed what it puts off."""
        self._settle()
        slab = {name: each["active"] for name, each in self._agent.call("system.slab").items()}
        return MemoryUsage(
            slab,
            taken(self._agent.call("system.meminfo"), str(self._agent.call("files.read", path="/proc/zoneinfo"))),
            self._pools(),
            self._agent.call("system.modules").get(self._module, 0),
        )

    def rounds(self, work: Callable[[], None], times: int) -> list[MemoryUsage]:
        """Do the work twice, a third time if something has grown in both rounds: other work of the kernel's seldom does so again.

        Args:
            work: does something so often, and leaves nothing behind.
            times: how often.

        Returns:
            The readings before the first round and after each, for `grown`.
        """
        readings = [self.read()]
        while len(readings) < 3 or (len(readings) == 3 and self.grown(readings, times)):
            work()
            readings.append(self.read())
        return readings

    def _pools(self) -> int:
        """Count the page pools; a kernel that does not list them hides their leaks, but not those of their memory."""
        try:
            return len(self._agent.call("netdev.page_pool_get"))
        except KernelLacksError:
            return 0

    def _settle(self) -> None:
        # Waits for RCU's callbacks and gives back the slabs that are empty, so that what is in use is what is counted.
        self._agent.call("files.write", path="/proc/sys/vm/drop_caches", text="3")
        caches = self._agent.call("files.glob", path="/sys/kernel/slab/*/shrink")
        self._agent.batch([("files.write", {"path": cache, "text": "1"}) for cache in caches])

    @staticmethod
    def grown(readings: Sequence[MemoryUsage], times: int) -> list[str]:
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
        steps = [after.kernel - before.kernel for before, after in pairwise(readings)]
        if min(steps) >= SPARE_PAGES * PAGE:
            found.append(
                f"the kernel's memory: {' and '.join(f'+{each}' for each in steps)} bytes in {times} times each"
            )
        for what in ("pools", "references"):
            values = [getattr(each, what) for each in readings]
            if values[-1] > values[0]:
                found.append(f"{what}: {values}")
        return found
