# SPDX-License-Identifier: GPL-2.0-or-later
"""What goes over the wire to a client, and what must come back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from client_machine import ClientMachine
from plugfest.frames import probe
from plugfest.machine import tap as taps

BATCH = 64
"""Frames on the way at a time: less than the smallest ring, so that none is lost for want of a buffer."""
SIZES = (60, 61, 64, 127, 128, 255, 511, 777, 1023, 1514)
"""Of frames, bytes without FCS."""
_SECONDS = 10.0
"""For one batch to come back, on a guest of speed 1."""


def ends(machine: ClientMachine) -> probe.Ends:
    """Return the addresses of frames from the wire to the client."""
    return probe.Ends(
        machine.mac, taps.MAC, {4: taps.DUT_IPV4, 6: taps.DUT_IPV6}, {4: "198.18.0.0/16", 6: "2001:db8::/64"}
    )


def frames(
    machine: ClientMachine, count: int, *, sizes: Sequence[int] = SIZES, flows: int = 32, first: int = 0
) -> list[bytes]:
    """Return so many probes of IPv4 and IPv6 by turns."""
    made = ends(machine)
    found = []
    for number in range(first, first + count):
        version = 4 + 2 * (number % 2)
        size = max(sizes[number % len(sizes)], probe.SMALLEST[version])
        found.append(probe.build(made, version, number // 2 % flows, number, size))
    return found


@dataclass(frozen=True)
class Exchange:
    """What was on the wire.

    Attributes:
        sent: by the remote end.
        received: of the client, in the order in which it came.
    """

    sent: list[bytes]
    received: list[bytes]

    @property
    def bytes(self) -> tuple[int, int]:
        """Of frames sent, and received, without FCS."""
        return sum(map(len, self.sent)), sum(map(len, self.received))


def exchange(
    machine: ClientMachine, sent: Iterable[bytes], *, answers: int = 1, batch: int = BATCH, wait: int = 0
) -> Exchange:
    """Send batch by batch, and wait for as many frames of the client.

    Args:
        machine: the client's.
        sent: frames.
        answers: that come of each frame.
        batch: of frames.
        wait: for so many frames in all, where not each has an answer.
    """
    every = list(sent)
    with machine.remote.capture() as seen:
        for at in range(0, len(every), batch):
            machine.remote.send(every[at : at + batch])
            expected = max(min(at + batch, len(every)) * answers, wait)
            if expected:
                limit = machine.guest.deadline(_SECONDS)
                if not seen.wait(lambda found, expected=expected: len(found) >= expected, limit.remaining):
                    break
    return Exchange(every, seen.received(background=False))


def assert_same(received: Iterable[bytes], expected: Iterable[bytes]) -> None:
    """Check that the same frames came, each as often, in whatever order."""
    found, wanted = Counter(received), Counter(expected)
    missing, extra = wanted - found, found - wanted
    assert not missing, (
        f"{missing.total()} of {wanted.total()} frames did not come, as {next(iter(missing))[:80].hex()}"
    )
    assert not extra, f"{extra.total()} more frames came, as {next(iter(extra))[:80].hex()}"


def settle(read: Callable[[], int], wanted: int, machine: ClientMachine, seconds: float = 5.0) -> int:
    """Return a count as soon as it is as wanted, or after so many seconds on a guest of speed 1."""
    limit = machine.guest.deadline(seconds)
    while (found := read()) != wanted and not limit.passed:
        pass
    return found
