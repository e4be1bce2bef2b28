# SPDX-License-Identifier: GPL-2.0-or-later
"""The hardware clock of an interface, and the timestamps that it gives frames.

Source: Documentation/networking/timestamping.rst; Documentation/driver-api/ptp.rst; include/uapi/linux/net_tstamp.h.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plugfest.machine.agent import AgentError, kernel_error

if TYPE_CHECKING:
    from plugfest.machine.agent import AgentClient
    from plugfest.machine.machine import Machine
    from plugfest.machine.remote import Remote


SECOND = 1_000_000_000
OFF, ON = 0, 1
"""HWTSTAMP_TX_OFF and _ON."""
NONE = "none"
FILTERS = (
    *("none", "all", "some", "ptpv1-l4-event", "ptpv1-l4-sync", "ptpv1-l4-delay-req"),
    *("ptpv2-l4-event", "ptpv2-l4-sync", "ptpv2-l4-delay-req", "ptpv2-l2-event", "ptpv2-l2-sync", "ptpv2-l2-delay-req"),
    *("ptpv2-event", "ptpv2-sync", "ptpv2-delay-req", "ntp-all"),
)
"""The names of HWTSTAMP_FILTER_*, by number, as ``ethtool -T`` has them."""
MOST, LEAST = 1.5, 1_000_000
"""What a clock may advance in a time: so many times that, and so many nanoseconds: no clock here is made to run faster than that."""
ATTEMPTS = 5
STAMP_TIMEOUT = 2.0
"""Seconds for a timestamp to come, on a guest of speed 1."""
TURN = 0.2
"""Seconds that one look for a frame may take."""


@dataclass(frozen=True)
class ClockReading:
    """A reading of a hardware clock between two of the guest's own; all in nanoseconds.

    Attributes:
        before: of CLOCK_MONOTONIC.
        time: of the hardware clock.
        after: of CLOCK_MONOTONIC.
    """

    before: int
    time: int
    after: int

    def follows(self, earlier: ClockReading) -> bool:
        """Whether one clock can have shown both: it has not gone back, nor forward by much more than has passed meanwhile."""
        return 0 <= self.time - earlier.time <= MOST * (self.after - earlier.before) + LEAST

    def elapsed(self, earlier: ClockReading) -> tuple[int, int]:
        """Return the least and the most nanoseconds that have passed since another reading, by the guest's clock."""
        return self.before - earlier.after, self.after - earlier.before


class HardwareClock:
    """A PTP hardware clock."""

    def __init__(self, agent: AgentClient, index: int, defer: Callable[..., None]) -> None:
        """Change nothing; what is changed is put back when the test ends.

        Args:
            agent: of the guest.
            index: N of /dev/ptpN.
            defer: registers what puts it back.
        """
        self._agent = agent
        self._index = index
        self._defer = defer
        self._deferred = False

    def read(self) -> ClockReading:
        """Read it, until two readings one after the other agree: some drivers' are a second off now and then (OFFLOAD-PHC-04).

        Raises:
            AssertionError: it cannot be read, though the driver reports one.
        """
        last = self._ask("phc.read")
        for _ in range(ATTEMPTS):
            before, last = last, self._ask("phc.read")
            if self._reading(last).follows(self._reading(before)):
                break
        return self._reading(last)

    def series(self, seconds: float) -> list[ClockReading]:
        """Read it again and again, for so many seconds; every reading counts.

        Raises:
            AssertionError: it cannot be read.
        """
        return [self._reading(each) for each in self._ask("phc.series", seconds=seconds)]

    def _ask(self, method: str, **params: float) -> list[Any]:
        try:
            found: list[Any] = self._agent.call(method, index=self._index, **params)
        except AgentError as error:
            if error.errno is None:
                raise
            raise AssertionError(f"/dev/ptp{self._index} cannot be read: {error}") from error
        return found

    def _reading(self, values: Sequence[int]) -> ClockReading:
        before, time, after = values
        return ClockReading(before, time, after)

    @property
    def reach(self) -> int:
        """How much faster or slower it can be made to run: parts per billion."""
        return int(self._agent.call("phc.capabilities", index=self._index)["max-adjustment"])

    def try_set_rate(self, parts_per_billion: int) -> AgentError | None:
        """Change its rate by so much; returns the error, None if that was done."""
        return self._change("phc.adjust_frequency", parts_per_billion=parts_per_billion)

    def try_step(self, nanoseconds: int) -> AgentError | None:
        """Step it; returns the error, None if that was done."""
        return self._change("phc.step", nanoseconds=nanoseconds)

    def try_set(self, nanoseconds: int) -> AgentError | None:
        """Set it; returns the error, None if that was done."""
        return self._change("phc.set", nanoseconds=nanoseconds)

    def _change(self, method: str, **change: int) -> AgentError | None:
        if not self._deferred:
            self._deferred = True
            self._defer(self._restore, self.read())
        return kernel_error(lambda: self._agent.call(method, index=self._index, **change))

    def _restore(self, first: ClockReading) -> None:
        """Let it run by itself, at the time that it would have had; a driver that can do neither has changed nothing."""
        with suppress(AgentError):
            self._agent.call("phc.adjust_frequency", index=self._index, parts_per_billion=0)
        now = self.read()
        with suppress(AgentError):
            offset = first.time - first.before - now.time + now.before
            self._agent.call("phc.step", index=self._index, nanoseconds=offset)


class Stamping:
    """Which frames an interface stamps, and the stamps of frames."""

    def __init__(self, guest: Machine, ifname: str, remote: Remote, defer: Callable[..., None]) -> None:
        """Change nothing; what is stamped is put back when the test ends."""
        self._agent = guest.agent
        self._guest = guest
        self._ifname = ifname
        self._remote = remote
        before = self._agent.call("phc.get_hwtstamp", ifname=ifname)
        defer(self._agent.call, "phc.set_hwtstamp", ifname=ifname, sent=before[0], received=before[1])

    @contextmanager
    def _socket(self, stamps: str) -> Iterator[int]:
        """A socket for what is sent or received; a new one each time, since one outlives no interface that goes down."""
        handle = self._agent.call("packet.open", ifname=self._ifname, stamps=stamps)
        try:
            yield handle
        finally:
            self._agent.call("handle.close", handle=handle)

    def now(self) -> tuple[int, str]:
        """Return what is stamped, as the driver reports it: of what is sent (`ON`, `OFF`), of what is received (`FILTERS`)."""
        sent, received = self._agent.call("phc.get_hwtstamp", ifname=self._ifname)
        return int(sent), FILTERS[received]

    def try_set_filter(self, *, sent: int, received: str) -> AgentError | None:
        """Configure what is stamped; returns the error, None if that was done, or more."""
        return kernel_error(
            lambda: self._agent.call(
                "phc.set_hwtstamp", ifname=self._ifname, sent=sent, received=FILTERS.index(received)
            )
        )

    def receive(self, frame: bytes) -> int | None:
        """Have the remote end send a frame; returns its timestamp, None without.

        Raises:
            AssertionError: the frame did not come.
        """
        with self._socket("received") as handle:
            self._remote.send([frame])
            enough = self._guest.deadline(STAMP_TIMEOUT)
            while not enough.passed:
                found = self._agent.call("packet.receive", packet=handle, count=1, timeout=TURN)
                for each in found:
                    if base64.b64decode(each["frame"]).startswith(frame):
                        stamp: int | None = each.get("stamp")
                        return stamp
        raise AssertionError(f"the frame {frame[:24].hex()}… was not received")

    def send(self, frame: bytes) -> int | None:
        """Send a frame from the guest; returns the stamp that the driver gave it, None if none came."""
        encoded = base64.b64encode(frame).decode()
        with self._socket("sent") as handle:
            self._agent.call("packet.send", packet=handle, frames=[encoded])
            enough = self._guest.deadline(STAMP_TIMEOUT)
            while not enough.passed:
                found = self._agent.call("packet.tx_timestamp", packet=handle, timeout=TURN)
                if found is not None and base64.b64decode(found["frame"]).startswith(frame):
                    return int(found["stamp"])
        return None
