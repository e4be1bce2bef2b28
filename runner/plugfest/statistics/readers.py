# SPDX-License-Identifier: GPL-2.0-or-later
"""Processes of the guest that read the interface's statistics by every way there is, while something happens to it.

Source: Documentation/networking/statistics.rst, uAPIs; guest-images/agent/process/readers.py takes and compares the readings.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from plugfest.deadline import scaled
from plugfest.machine.agent import KernelLacksError
from plugfest.statistics.queue_counters import (
    Account,
    QueueCounters,
    from_ethtool,
    from_qstats,
    is_queue_counter,
    total,
)

if TYPE_CHECKING:
    from plugfest.deadline import Until
    from plugfest.machine.agent import AgentClient


ALL = ("netlink", "ethtool", "procfs", "rtnetlink")
GONE = frozenset({"ENODEV", "ENXIO"})
"""Errors of an interface that does not exist under this name or number."""
NONE_SUCH = frozenset({"EOPNOTSUPP"})
"""The error of a driver without such statistics."""
RENUMBERED = frozenset({"EAGAIN"})
"""The reader's own error for a number of statistics that changed between asking for names and for values."""
ROUNDS = 3
"""Readings of each process after which a state counts as read."""
READ_TIMEOUT = 10.0
"""Seconds for so many, and for the end of the processes, on a guest of speed 1."""
_AGAIN = re.compile(r"#\d+$")
_QUEUE = re.compile(r"(?P<direction>rx|tx) (?P<queue>\d+) (?P<name>.+)")


@dataclass(frozen=True)
class ReaderReport:
    """What one process has found.

    Attributes:
        kind: by which way it read: netlink, ethtool, procfs, rtnetlink.
        readings: how many it got.
        errors: how many, by the error's name.
        first: its first reading, values by name.
        last: its last one, likewise.
        back: counters that went back: value before, value after, how often.
        leapt: counters that rose by more than any traffic makes them, likewise.
        broken: why it could not go on; empty if it did.
    """

    kind: str
    readings: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)
    first: Mapping[str, int] = field(default_factory=dict)
    last: Mapping[str, int] = field(default_factory=dict)
    back: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    leapt: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    broken: str = ""

    def problems(self, *, allowed: frozenset[str] = frozenset(), queues_restart: bool = False) -> list[str]:
        """Return what was wrong with the readings, one line each.

        Args:
            allowed: errors that the state of the interface explains.
            queues_restart: leave out counters of single queues that went back: they may begin anew with their queue.
        """
        if self.broken:
            return [f"{self.kind}: the reader broke: {self.broken}"]
        wrong = [
            f"{self.kind}: {count} times {name}"
            for name, count in self.errors.items()
            if name not in allowed | NONE_SUCH | RENUMBERED
        ]
        for what, found, excused in (("went back", self.back, queues_restart), ("leapt", self.leapt, False)):
            wrong += [
                f"{self.kind}: {name} {what} from {before} to {after}" + (f", {times} times" if times > 1 else "")
                for name, (before, after, times) in found.items()
                if self._counts(name) and not (excused and self._of_a_queue(name))
            ]
        return wrong

    def _counts(self, name: str) -> bool:
        """Whether a name is a counter's: of ``ethtool -S`` only those by queue are known to be."""
        return self.kind != "ethtool" or is_queue_counter(_AGAIN.sub("", name))

    def _of_a_queue(self, name: str) -> bool:
        return self.kind == "ethtool" or bool(_QUEUE.match(name))

    def risen(self) -> dict[str, tuple[Account, Account]]:
        """What the counters rose by from the first reading to the last: received and sent, by whose counters they are."""
        then, now = _accounts(self.kind, self.first), _accounts(self.kind, self.last)
        return {who: (now[who][0] - then[who][0], now[who][1] - then[who][1]) for who in now if who in then}


def _accounts(kind: str, values: Mapping[str, int]) -> dict[str, tuple[Account, Account]]:
    if not values:
        return {}
    if kind in ("procfs", "rtnetlink"):
        rx, tx = (Account(values[f"{way}_packets"], values[f"{way}_bytes"]) for way in ("rx", "tx"))
        return {f"the interface by {kind}": (rx, tx)}
    found: dict[str, tuple[Account, Account]] = {}
    if kind == "ethtool":
        queues = from_ethtool([[_AGAIN.sub("", name), value] for name, value in values.items()])
    else:
        if {"device rx-packets", "device tx-packets"} <= values.keys():
            rx, tx = (Account(values[f"device {way}-packets"], values[f"device {way}-bytes"]) for way in ("rx", "tx"))
            found["the device by netlink"] = (rx, tx)
        queues = _netlink_queues(values)
    if queues:
        found[f"the queues by {kind}"] = (total(queues.rx.values()), total(queues.tx.values()))
    return found


def _netlink_queues(values: Mapping[str, int]) -> QueueCounters:
    entries: dict[tuple[str, int], dict[str, Any]] = {}
    for name, value in values.items():
        if match := _QUEUE.match(name):
            where = (match["direction"], int(match["queue"]))
            entry = entries.setdefault(where, {"queue-type": where[0], "queue-id": where[1]})
            entry[match["name"]] = value
    return from_qstats(list(entries.values()))


class ConcurrentReaders:
    """The processes while they run.

    Attributes:
        reports: what they have found, once they are stopped.
    """

    def __init__(
        self,
        agent: AgentClient,
        ifname: str,
        until: Until,
        speed: float,
        kinds: Sequence[str] = ALL,
    ) -> None:
        """Start a process for each of these ways; one may come several times."""
        self._agent = agent
        self._until = until
        self._speed = speed
        self._handles: list[int] = []
        self.reports: list[ReaderReport] = []
        # The agent distinguishes the processes of one handle by their kind.
        times = Counter(kinds)
        for number in range(max(times.values())):
            group = [kind for kind, count in times.items() if count > number]
            self._handles.append(agent.call("readers.start", ifname=ifname, kinds=group))

    def attempts(self) -> dict[str, int]:
        """Return how often each process has read so far, or tried to."""
        return {
            f"{kind} {number}": count
            for number, handle in enumerate(self._handles)
            for kind, count in self._agent.call("readers.attempts", readers=handle).items()
        }

    def goes_on(self, rounds: int = ROUNDS) -> None:
        """Wait until each process has read, or tried to, so many times more.

        Raises:
            AssertionError: one has not: it hangs in the kernel.
        """
        begin = self.attempts()
        self._until(
            lambda: all(count >= begin[kind] + rounds for kind, count in self.attempts().items()),
            what=f"each reader has read {rounds} times",
            timeout=READ_TIMEOUT,
        )

    def stop(self) -> None:
        """Have each take a last reading, and end them; idempotent.

        Raises:
            AgentError: one does not end.
        """
        if self.reports:
            return
        timeout = scaled(READ_TIMEOUT, self._speed)
        self.reports = [
            report_of(each)
            for handle in self._handles
            for each in self._agent.call("readers.stop", readers=handle, timeout=timeout)
        ]

    def problems(self, *, allowed: frozenset[str] = frozenset(), queues_restart: bool = False) -> list[str]:
        """Return what was wrong with any reading; see `ReaderReport.problems`."""
        return [
            problem
            for report in self.reports
            for problem in report.problems(allowed=allowed, queues_restart=queues_restart)
        ]

    def risen(self) -> dict[str, tuple[Account, Account]]:
        """What each counter rose by, received and sent, by whose counters they are."""
        return {who: accounts for report in self.reports for who, accounts in report.risen().items()}

    def differences(self, least: tuple[Account, Account], most: tuple[Account, Account]) -> list[str]:
        """Return whose counters rose by another amount than the wire carried.

        Args:
            least: received and sent, of the test's own frames.
            most: likewise, with what else was on the wire: a reader may have begun after that.
        """
        wrong = []
        for who, accounts in (each for report in self.reports for each in report.risen().items()):
            for way, count, low, high in zip(("received", "sent"), accounts, least, most, strict=True):
                if not (low.frames <= count.frames <= high.frames and low.bytes <= count.bytes <= high.bytes):
                    wrong.append(f"{who}: {way} {count}, the wire carried {high}, the test's own {low}")
        return wrong

    def summary(self) -> dict[str, dict[str, object]]:
        """Return how often each read, for the reports."""
        return {
            f"{each.kind} {number}": {"readings": each.readings, "errors": dict(each.errors)}
            for number, each in enumerate(self.reports)
        }

    def close(self) -> None:
        """End the processes at once. Idempotent."""
        if not self.reports:
            for handle in self._handles:
                self._agent.call("handle.close", handle=handle)


def report_of(values: Mapping[str, Any]) -> ReaderReport:
    """Turn a report of the agent's ``readers.stop`` into one of ours."""
    moves = {name: {key: tuple(move) for key, move in values.get(name, {}).items()} for name in ("back", "leapt")}
    return ReaderReport(**{**values, **moves})


def _of_kernel(agent: AgentClient, kinds: Sequence[str]) -> Sequence[str]:
    """Leave netlink out where the kernel has no queue statistics, unless it is the only way asked for."""
    others = [kind for kind in kinds if kind != "netlink"]
    if not others or len(others) == len(kinds):
        return kinds
    try:
        return kinds if "qstats-get" in agent.call("netdev.operations") else others
    except KernelLacksError:
        return others


@contextmanager
def concurrent_readers(
    agent: AgentClient, ifname: str, until: Until, speed: float, kinds: Sequence[str] = ALL
) -> Iterator[ConcurrentReaders]:
    """Read all the while, by those of `kinds` that the kernel has; the reports are there afterwards.

    Raises:
        KernelLacksError: the kernel has none of them.
    """
    found = ConcurrentReaders(agent, ifname, until, speed, _of_kernel(agent, kinds))
    try:
        found.goes_on(1)
        yield found
        found.stop()
    finally:
        found.close()
