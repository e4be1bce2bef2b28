# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames across the link in both directions, each to arrive once and unchanged: what is left to show after any change."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from plugfest.frames.probe import Probe, burst
from plugfest.traffic.traffic import FLOWS_PER_QUEUE, Traffic, check_same, payloads

if TYPE_CHECKING:
    from plugfest.deadline import Until
    from plugfest.traffic.packet_socket import PacketSender

FEW = (60, 61, 1024, 1514)
"""Frame lengths that are enough where lengths are not the matter."""


class TrafficCheck:
    """Sends UDP datagrams, IPv4 and IPv6, and checks that they arrive."""

    def __init__(self, traffic: Traffic, packet_sender: PacketSender, until: Until) -> None:
        """Use the sockets of `traffic` in the guest's stack, and those of `packet_sender`."""
        self._traffic = traffic
        self._packet_sender = packet_sender
        self._until = until

    def to_dut(self, sizes: Sequence[int] = FEW) -> list[Probe]:
        """Send to the DUT, in flows enough to reach every receive queue: its stack gets each payload once and unchanged.

        Args:
            sizes: of the frames, bytes without FCS.

        Raises:
            AssertionError: it did not.
        """
        probes = self._traffic.probes(sizes=sizes)
        self._traffic.send(probes)
        check_same(self._traffic.received(probes), payloads(probes), "payloads in the DUT's stack")
        return probes

    def from_dut(self, sizes: Sequence[int] = FEW) -> list[bytes]:
        """Have the DUT send, from each CPU: the wire carries each frame once and unchanged.

        Raises:
            AssertionError: it did not.
        """
        self._traffic.ready()
        wanted: list[bytes] = []
        with self._traffic.capture_sent() as seen:
            for cpu in range(self._traffic.cpus()):
                probes = burst(self._traffic.ends_back, flows=FLOWS_PER_QUEUE, sizes=sizes, first=len(wanted))
                frames = [probe.frame for probe in probes]
                self._packet_sender.send(frames, cpu=cpu)
                wanted += frames
            with suppress(AssertionError):  # `check_same` says which are missing
                self._until(lambda: seen.reached(len(wanted)), what=f"{len(wanted)} frames are on the wire", timeout=1)
        check_same(seen.frames(), wanted, "frames on the wire")
        return wanted

    def __call__(self, sizes: Sequence[int] = FEW) -> None:
        """Do both.

        Raises:
            AssertionError: a frame was lost, changed or doubled.
        """
        self.to_dut(sizes)
        self.from_dut(sizes)
