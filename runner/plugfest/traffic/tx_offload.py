# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets that the device has to finish, and the frames that result."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plugfest.dut.skb_trace import SENT, Skb, trace_skbs
from plugfest.frames.segmentation import TxRequest
from plugfest.traffic.traffic import SentFrames

if TYPE_CHECKING:
    from plugfest.deadline import Until
    from plugfest.dut.dut import Dut
    from plugfest.machine.machine import Machine
    from plugfest.machine.remote import Remote
    from plugfest.traffic.packet_socket import PacketSender
    from plugfest.traffic.traffic import Traffic


def checksummed(active: Collection[str]) -> list[int]:
    """Return the IP versions for which active features (names of ``ethtool -k``) have the device do TCP's checksum."""
    if "tx-checksum-ip-generic" in active:
        return [4, 6]
    names = {4: "tx-checksum-ipv4", 6: "tx-checksum-ipv6"}
    return [version for version, name in names.items() if name in active]


@dataclass(frozen=True)
class TxResult:
    """The result of some requests.

    Attributes:
        requests: what was sent.
        frames: the frames of each request on the wire; of what was sent on a tunnel's interface, the inner ones.
        outer: the frames on the wire that carry these in a tunnel; empty without one.
        skbs: what the stack passed to the driver: the requests as they are where the device does the work, else what the stack
            has made of them in software.
        frames_cut: frames that the device made beyond one for each packet, None where it cannot be asked.
    """

    requests: Sequence[TxRequest]
    frames: Sequence[list[bytes]]
    outer: Sequence[bytes]
    skbs: Sequence[Skb]
    frames_cut: int | None

    @property
    def uncut(self) -> list[Skb]:
        """The skbs with the length of a request: the requests themselves, if the stack has not segmented them."""
        lengths = {request.length for request in self.requests}
        return [each for each in self.skbs if each.length in lengths]

    def check(self) -> None:
        """Check that the wire carried exactly what was requested.

        Raises:
            AssertionError: it did not.
        """
        different = []
        for request, frames in zip(self.requests, self.frames, strict=True):
            wrong = request.problems(frames)
            what = "TCP" if request.protocol == 6 else "UDP"
            about = f"{len(request.payload)} bytes of {what} over IPv{request.version}"
            if request.segment is not None:
                about += f" in segments of {request.segment}"
            if wrong:
                more = f"; and {len(wrong) - 6} more" if len(wrong) > 6 else ""
                different.append(f"{about}: {'; '.join(wrong[:6])}{more}")
        assert not different, " | ".join(different)


class TxOffload:
    """Sends requests.

    Attributes:
        ends: addresses from the DUT to no host.
    """

    def __init__(
        self, guest: Machine, dut: Dut, packet_sender: PacketSender, remote: Remote, traffic: Traffic, until: Until
    ) -> None:
        """Send nothing yet."""
        self.ends = traffic.ends_back
        self._traffic = traffic
        self._guest = guest
        self._dut = dut
        self._packet_sender = packet_sender
        self._remote = remote
        self._until = until

    def do(
        self,
        requests: Sequence[TxRequest],
        *,
        packet_sender: PacketSender | None = None,
        inner: Callable[[bytes], bytes | None] | None = None,
    ) -> TxResult:
        """Send requests, once the link carries them, and wait for their frames; each request has a flow or ports of its own.

        Args:
            requests: what to send.
            packet_sender: of an interface on top of the one under test.
            inner: returns the frame that a frame on the wire carries in that interface's tunnel, None if it carries none.

        Raises:
            AssertionError: there are fewer frames on the wire than there must be; the message says how many.
        """
        self._traffic.ready()
        wanted = sum(len(request.pieces) for request in requests)
        before = self._cut()

        def requested(frame: bytes) -> bytes | None:
            """Return the frame that belongs to a request, or None."""
            found = inner(frame) if inner else frame
            return found if found is not None and any(request.owns(found) for request in requests) else None

        with (
            self._remote.capture() as capture,
            trace_skbs(self._guest.agent, self._dut.ifname, SENT) as skbs,
        ):
            seen = SentFrames(capture, lambda frame: requested(frame) is not None)
            (packet_sender or self._packet_sender).send_requests(requests)
            try:
                self._until(lambda: seen.reached(wanted), what=f"{wanted} frames are on the wire", timeout=1)
            except AssertionError as error:
                raise AssertionError(f"{error}; found {len(seen.frames())}") from None
        outer = seen.frames()
        frames = [frame for frame in map(requested, outer) if frame is not None]
        after = self._cut()
        return TxResult(
            requests=requests,
            frames=[[frame for frame in frames if request.owns(frame)] for request in requests],
            outer=outer if inner else [],
            skbs=skbs.sent(),
            frames_cut=None if after is None or before is None else after - before,
        )

    def _cut(self) -> int | None:
        model = self._guest.model
        if model is None:
            return None
        return sum(int(queue["segments"] - queue["frames"]) for queue in model.call("model.counters")["tx"])
