# SPDX-License-Identifier: GPL-2.0-or-later
"""Processes that read an interface's statistics in a loop, each by another uAPI. Methods ``readers.*``.

Each compares every reading to the previous one: it records a counter that decreased, or that rose by more than traffic
explains, with both values. They are processes, not threads, so that several are in the kernel at the same time.
Source: Documentation/networking/statistics.rst, uAPIs.
"""

from __future__ import annotations

import array
import errno
import json
import mmap
import os
import select
import signal
import socket
import struct
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent import handle
from agent.ethtool.ioctl import ETH_SS_STATS, ETHTOOL_GSTATS, ethtool_ioctl, strings
from agent.methods import exposed
from agent.netlink.connection import NETLINK_GENERIC, NETLINK_ROUTE, Netlink
from agent.netlink.link import RTM_GETLINK, decoded, header
from agent.netlink.netdev import NETDEV, QSTATS, QSTATS_GET
from agent.system.interface import interface_index

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS = ("netlink", "ethtool", "procfs", "rtnetlink")
IMPLAUSIBLE = 1 << 31
"""A rise between two readings that no guest's traffic causes, but a torn read of a 64-bit counter does."""
KEPT = 16
"""The number of counters to record of each kind of anomaly."""
NICENESS = 19
"""The readers only take CPU time that the traffic does not need."""
SPARE = 4096
"""Spare statistics in the buffer: older kernels write as many as exist at that moment, not as many as were requested."""
PROCFS = (
    *("rx_bytes", "rx_packets", "rx_errors", "rx_dropped", "rx_fifo_errors", "rx_frame", "rx_compressed", "multicast"),
    *("tx_bytes", "tx_packets", "tx_errors", "tx_dropped", "tx_fifo_errors", "collisions", "tx_carrier"),
    "tx_compressed",
)
"""The columns of /proc/net/dev (net/core/net-procfs.c)."""
NAMES = {**errno.errorcode, errno.EOPNOTSUPP: "EOPNOTSUPP"}
"""Names of error numbers; EOPNOTSUPP has a second name, ENOTSUP."""
SLOT = struct.Struct("=Q")
HALT = 0
"""The slot that ends the processes when it is not zero; the slots from 1 have the attempts of each process."""


def by_netlink() -> Callable[[int], dict[str, int]]:
    """Return a reader of the queue statistics (qstats) in both scopes."""
    netlink = Netlink(NETLINK_GENERIC)
    family = NETDEV.number

    def read(index: int) -> dict[str, int]:
        found: dict[str, int] = {}
        for scope in (None, ["queue"]):
            body = struct.pack("=BBxx", QSTATS_GET, 1) + QSTATS.encode({"ifindex": index, "scope": scope})
            for message in netlink.request(family, body, dump=True):
                entry = QSTATS.decode(message.body[4:])
                entry.pop("ifindex", None)
                direction = entry.pop("queue-type", None)
                where = "device" if direction is None else f"{direction} {entry.pop('queue-id')}"
                found |= {f"{where} {name}": value for name, value in entry.items() if isinstance(value, int)}
        return found

    return read


def by_ethtool() -> Callable[[int], dict[str, int]]:
    """Return a reader of the driver's statistics; the second of a duplicate name is ``name#2``."""

    def read(index: int) -> dict[str, int]:
        ifname = socket.if_indextoname(index)
        names = strings(ifname, ETH_SS_STATS)
        head = struct.pack("=II", ETHTOOL_GSTATS, len(names))
        buffer = array.array("B", head + bytes((len(names) + SPARE) * 8))
        ethtool_ioctl(ifname, buffer)
        raw = buffer.tobytes()
        count = struct.unpack_from("=I", raw, 4)[0]
        if count != len(names):
            # The number of statistics changed between the two calls: the names do not match the values.
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        seen: Counter[str] = Counter()
        found: dict[str, int] = {}
        for name, value in zip(names, struct.unpack_from(f"={count}Q", raw, 8), strict=True):
            seen[name] += 1
            found[name if seen[name] == 1 else f"{name}#{seen[name]}"] = value
        return found

    return read


def by_procfs() -> Callable[[int], dict[str, int]]:
    """Return a reader of /proc/net/dev."""

    def read(index: int) -> dict[str, int]:
        wanted = socket.if_indextoname(index)
        for line in Path("/proc/net/dev").read_text().splitlines()[2:]:
            name, _, values = line.partition(":")
            if name.strip() == wanted:
                return dict(zip(PROCFS, map(int, values.split()), strict=True))
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))

    return read


def by_rtnetlink() -> Callable[[int], dict[str, int]]:
    """Return a reader of struct rtnl_link_stats64."""
    netlink = Netlink(NETLINK_ROUTE)

    def read(index: int) -> dict[str, int]:
        stats: dict[str, int] = decoded(netlink.request(RTM_GETLINK, header(index=index))[0])["stats64"]
        return stats

    return read


READ = {"netlink": by_netlink, "ethtool": by_ethtool, "procfs": by_procfs, "rtnetlink": by_rtnetlink}


class Watch:
    """The readings of one process, compared.

    Args:
        ifname: the interface, identified by its index, and by this name once that index is gone.
        read: takes a reading of the interface with an index.
    """

    def __init__(self, ifname: str, read: Callable[[int], dict[str, int]]) -> None:
        """Read nothing yet."""
        self._ifname = ifname
        self._read = read
        self._index = interface_index(ifname)
        self.readings = 0
        self.errors: Counter[str] = Counter()
        self.first: dict[str, int] = {}
        self.last: dict[str, int] = {}
        self._latest: dict[str, int] = {}
        self.back: dict[str, list[int]] = {}
        self.leapt: dict[str, list[int]] = {}

    def once(self) -> None:
        """Take a reading and compare it to the previous one of the same interface; an error is counted."""
        try:
            now = self._read(self._index)
        except OSError as error:
            self.errors[NAMES.get(error.errno or 0, str(error))] += 1
            if error.errno in {errno.ENODEV, errno.ENXIO}:
                self._follow()
            return
        self.readings += 1
        self.first = self.first or now
        for name, value in now.items():
            before = self._latest.get(name, value)
            if value < before:
                self._record(self.back, name, before, value)
            elif value - before >= IMPLAUSIBLE:
                self._record(self.leapt, name, before, value)
        self.last = now
        # A counter that is missing in one reading must not have decreased in the next one that has it.
        self._latest |= now

    def _follow(self) -> None:
        """Switch to the new interface of that name; its counters start from zero."""
        with suppress(OSError):
            index = interface_index(self._ifname)
            if index != self._index:
                self._index, self._latest = index, {}

    def _record(self, kept: dict[str, list[int]], name: str, before: int, value: int) -> None:
        if name in kept:
            kept[name][2] += 1
        elif len(kept) < KEPT:
            kept[name] = [before, value, 1]

    def report(self) -> dict[str, Any]:
        """Return the results."""
        names = ("readings", "errors", "first", "last", "back", "leapt")
        return {name: getattr(self, name) for name in names}


class Readers:
    """One process for each kind.

    Args:
        ifname: the interface.
        kinds: of `KINDS`.
    """

    def __init__(self, ifname: str, kinds: list[str]) -> None:
        """Start the processes."""
        unknown = [kind for kind in kinds if kind not in READ]
        if unknown:
            raise ValueError(f"no readers of kind {', '.join(unknown)}; the kinds are {', '.join(KINDS)}")
        if "netlink" in kinds:
            NETDEV.resolve()
        self.kinds = kinds
        self.shared = mmap.mmap(-1, SLOT.size * (len(kinds) + 1))
        self.processes: list[int] = []
        self.reports: list[int] = []
        try:
            for number, kind in enumerate(kinds, 1):
                self._start(ifname, kind, number)
        except OSError:
            self.close()
            raise

    def _start(self, ifname: str, kind: str, number: int) -> None:
        mine, theirs = os.pipe()
        process = os.fork()
        if process == 0:
            status = 1
            try:
                # The child must keep none of the agent's files open, above all no connection that the agent closes.
                os.closerange(3, theirs)
                os.closerange(theirs + 1, 4096)
                self._work(ifname, kind, number, theirs)
                status = 0
            finally:
                os._exit(status)
        os.close(theirs)
        self.processes.append(process)
        self.reports.append(mine)

    def _work(self, ifname: str, kind: str, number: int, out: int) -> None:
        os.nice(NICENESS)
        watch: Watch | None = None
        try:
            watch = Watch(ifname, READ[kind]())
            attempts = 0
            while not SLOT.unpack_from(self.shared, HALT)[0]:
                watch.once()
                attempts += 1
                SLOT.pack_into(self.shared, number * SLOT.size, attempts)
            watch.once()
            report = {"kind": kind, **watch.report()}
        except Exception as error:
            # The host reports it, whatever it is.
            report = {"kind": kind, "broken": f"{type(error).__name__}: {error}"}
        data = json.dumps(report).encode()
        while data:
            data = data[os.write(out, data) :]

    def attempts(self) -> dict[str, int]:
        """Return the attempts to read of each process."""
        return {kind: SLOT.unpack_from(self.shared, number * SLOT.size)[0] for number, kind in enumerate(self.kinds, 1)}

    def stop(self, timeout: float) -> list[dict[str, Any]]:
        """Let each process take a last reading and end; returns their reports.

        Raises:
            TimeoutError: a process did not end; it hangs in the kernel.
        """
        SLOT.pack_into(self.shared, HALT, 1)
        end = time.monotonic() + timeout
        texts = [b""] * len(self.kinds)
        for number, source in enumerate(self.reports):
            while True:
                if not select.select([source], [], [], max(0.0, end - time.monotonic()))[0]:
                    raise TimeoutError(f"the {self.kinds[number]} reader does not end")
                data = os.read(source, 1 << 16)
                if not data:
                    break
                texts[number] += data
        self.close()
        return [
            json.loads(text) if text else {"kind": kind, "broken": "it ended without a report"}
            for kind, text in zip(self.kinds, texts, strict=True)
        ]

    def close(self) -> None:
        """Kill the processes. Idempotent."""
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        for process in self.processes:
            with suppress(ChildProcessError):
                os.waitpid(process, 0)
        for source in self.reports:
            os.close(source)
        self.processes, self.reports = [], []


@exposed
def start(ifname: str, kinds: list[str] | None = None) -> int:
    """Start a process for each kind (netlink, ethtool, procfs, rtnetlink) that reads the interface's statistics; returns a handle."""
    return handle.keep(Readers(ifname, list(KINDS) if kinds is None else kinds))


@exposed
def attempts(readers: int) -> dict[str, int]:
    """Return the number of readings that each process has attempted, by kind."""
    return handle.get(readers, Readers).attempts()


@exposed
def stop(readers: int, timeout: float = 10) -> list[dict[str, Any]]:
    """Let each process take a last reading and end, and return their reports.

    Returns:
        For each, kind, readings, errors (``{"ENODEV": 3}``), first and last (values by name), back and leapt (by name: the
        value before, the value after, the number of times); or kind and broken, the error that ended it.
    """
    found = handle.get(readers, Readers).stop(timeout)
    handle.close(readers)
    return found
