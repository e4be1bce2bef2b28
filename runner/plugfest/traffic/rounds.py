# SPDX-License-Identifier: GPL-2.0-or-later
"""Rounds of test frames that several CPUs send at once, each no larger than a transmit ring takes."""

from __future__ import annotations

from collections.abc import Sequence

from plugfest.frames.probe import HEADERS, Ends, burst

SHARE_OF_RING = 4
"""Of a transmit ring's descriptors a round uses one in so many: frames from all CPUs may go through one ring, descriptors of the round
before may not be free yet, and a full ring may drop redirected frames."""


class Rounds:
    """As many frames of each IP version on each CPU, their sizes taken in turn from one CPU and round to the next.

    Attributes:
        cpus: that send: as many as have a frame of each IP version.
        frames_per_cpu: in a round.
    """

    def __init__(self, ends: Ends, sizes: Sequence[int], *, ring: int, cpus: int) -> None:
        """Share a ring among CPUs.

        Args:
            ends: addresses of the frames.
            sizes: of the frames, bytes without FCS.
            ring: descriptors of a transmit ring, at least 8.
            cpus: that there are.
        """
        self._ends = ends
        self._sizes = sizes
        room = ring // SHARE_OF_RING // len(HEADERS)
        self.cpus = min(cpus, room)
        self._flows = room // self.cpus
        self.frames_per_cpu = self._flows * len(HEADERS)

    def frames(self, number: int) -> list[list[bytes]]:
        """Return the frames of a round, by CPU."""
        return [self._burst(number * self.cpus + cpu) for cpu in range(self.cpus)]

    def _burst(self, turn: int) -> list[bytes]:
        first = turn * self._flows
        sizes = [self._sizes[(first + index) % len(self._sizes)] for index in range(self._flows)]
        probes = burst(self._ends, flows=self._flows, sizes=sizes, first=turn * self.frames_per_cpu)
        return [probe.frame for probe in probes]
