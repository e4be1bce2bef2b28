# SPDX-License-Identifier: GPL-2.0-or-later
"""Hands packets to the driver for the device to finish, and collects what both sides made of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plugfest.dut.skb_trace import SENT, Skb, trace_skbs
from plugfest.frames.segmentation import TxRequest

if TYPE_CHECKING:
    from plugfest.deadline import Until
    from plugfest.dut.dut import Dut
    from plugfest.frames.probe import Ends
    from plugfest.machine.machine import Machine
    from plugfest.machine.remote import Remote
    from plugfest.traffic.packet_socket import PacketSender


def checksummed(active: Collection[str]) -> list[int]:
    """Return the IP versions for which active features (names of ``ethtool -k``) have the device do TCP's checksum."""
    if "tx-checksum-ip-generic" in active:
        return [4, 6]
    names = {4: "tx-checksum-ipv4", 6: "tx-checksum-ipv6"}
    return [version for version, name in names.items() if name in active]


@dataclass(frozen=True)
class TxResult:
    """What came of some orders.

    Attributes:
        orders: what was asked.
        frames: the frames of each order on the wire.
        handed: what the stack handed to the driver meanwhile: the orders as they are where the device does the work, else what
            the stack's own software has made of them.
        cut: frames that the device made beyond one for each packet, None where it cannot be asked.
    """

    requests: Sequence[TxRequest]
    frames: Sequence[list[bytes]]
    skbs: Sequence[Skb]
    frames_cut: int | None

    @property
    def uncut(self) -> list[Skb]:
        """What was handed to the driver with the length of an order: the orders themselves, if the stack has not cut them."""
        lengths = {order.length for order in self.requests}
        return [each for each in self.skbs if each.length in lengths]

    def check(self) -> None:
        """Expect the wire to have carried exactly what was ordered.

        Raises:
            AssertionError: it did not.
        """
        for order, frames in zip(self.requests, self.frames, strict=True):
            wrong = order.problems(frames)
            what = "TCP" if order.protocol == 6 else "UDP"
            about = f"{len(order.payload)} octets of {what} over IPv{order.version}"
            if order.segment is not None:
                about += f" in segments of {order.segment}"
            assert not wrong, f"{about}: {'; '.join(wrong[:6])}"


class TxOffload:
    """Takes orders.

    Attributes:
        ends: addresses from the DUT to nobody.
    """

    def __init__(
        self, guest: Machine, dut: Dut, packet_sender: PacketSender, remote: Remote, ends: Ends, until: Until
    ) -> None:
        """Take none yet."""
        self.ends = ends
        self._guest = guest
        self._dut = dut
        self._packet_sender = packet_sender
        self._remote = remote
        self._until = until

    def do(self, requests: Sequence[TxRequest], *, packet_sender: PacketSender | None = None) -> TxResult:
        """Hand orders over and wait for their frames; each order has a flow or ports of its own.

        Args:
            orders: what to hand over.
            outlet: of an interface on top of the one under test.

        Raises:
            AssertionError: there are fewer frames on the wire than there must be.
        """
        wanted = sum(len(order.pieces) for order in requests)
        before = self._cut()

        def mine(frames: Sequence[bytes]) -> list[bytes]:
            return [frame for frame in frames if any(order.owns(frame) for order in requests)]

        with self._remote.capture() as capture, trace_skbs(self._guest.agent, self._dut.ifname, SENT) as seen:
            (packet_sender or self._packet_sender).send_requests(requests)
            self._until(
                lambda: len(mine(capture.received())) >= wanted, what=f"{wanted} frames are on the wire", timeout=1
            )
        frames = capture.received()
        after = self._cut()
        return TxResult(
            requests=requests,
            frames=[[frame for frame in frames if order.owns(frame)] for order in requests],
            skbs=seen.sent(),
            frames_cut=None if after is None or before is None else after - before,
        )

    def _cut(self) -> int | None:
        model = self._guest.model
        if model is None:
            return None
        return sum(int(queue["segments"] - queue["frames"]) for queue in model.call("model.counters")["tx"])
