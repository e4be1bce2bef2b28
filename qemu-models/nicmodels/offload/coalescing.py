# SPDX-License-Identifier: MIT
"""Receive coalescing (LRO, RSC): which TCP segments are merged into a large one, and when it is complete.

This module handles the flows and the merged header; the NIC places the payload and keeps its own state in
`Flow.buffers`. The rules are those of the 82599's RSC (datasheet 7.11), which agree with Microsoft's "Rules for coalescing
TCP/IP segments"; differences between NICs are in `Limits`.

The merged header is that of the first segment, with the last segment's acknowledgement, window, PSH and timestamp, and
with lengths and checksums of the merged frame, which is valid.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from nicmodels.offload.checksum import fold, word_sum
from nicmodels.offload.headers import TCP

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from nicmodels.offload.checksum import Buffer
    from nicmodels.offload.headers import Headers

_FIN, _SYN, _RST, _PSH, _ACK = 1, 2, 4, 8, 16
_QUIET = 0xFFF & ~(_PSH | _ACK)
"""TCP flags (the reserved ones too) that exclude a segment."""
_CONGESTION_EXPERIENCED = 3
_TIMESTAMP_OPTION = b"\x01\x01\x08\x0a"
"""NOP, NOP, timestamp, length 10 (RFC 7323, appendix A): the only layout that hardware recognizes."""


@dataclass(frozen=True)
class Limits:
    """The limits of a NIC; the defaults are the 82599's.

    Attributes:
        flows: open flows; one more completes the least recently used.
        packet: bytes of a merged IP packet, its header included.
        segments: segments in a merged packet; 0 for no limit.
        header: bytes from the start of the frame to the payload (SRRCTL.BSIZEHEADER); 0 for no limit.
        ipv6: TCP over IPv6 is coalesced.
        acknowledgements: segments without payload are coalesced (RSCDBU.RSCACKDIS is 0).
    """

    flows: int = 32
    packet: int = 65535
    segments: int = 0
    header: int = 0
    ipv6: bool = False
    acknowledgements: bool = False


class Flow:
    """An open flow: the packet that its segments are merged into.

    Attributes:
        segments: number of merged segments.
        payload: bytes of TCP payload.
        buffers: the NIC's own state of the packet.
    """

    __slots__ = ("_header", "_headers", "_payload_sum", "buffers", "expected", "key", "payload", "segments")

    def __init__(self, key: Hashable, frame: Buffer, headers: Headers) -> None:
        self.key = key
        self.segments = 0
        self.payload = 0
        self.buffers: Any = None
        self.expected = int.from_bytes(frame[headers.l4_offset + 4 : headers.l4_offset + 8], "big")
        self._header = bytearray(frame[: headers.payload_offset])
        self._headers = headers
        self._payload_sum = 0

    @property
    def header_length(self) -> int:
        """Bytes of the merged header, from the start of the frame to the payload."""
        return len(self._header)

    @property
    def ip_length(self) -> int:
        """Bytes of the merged IP packet so far."""
        return len(self._header) - self._headers.l3_offset + self.payload

    def matches(self, frame: Buffer, headers: Headers) -> bool:
        """Whether a segment of the same flow may be appended: it is next in sequence, and its headers match."""
        own = self._headers
        l4 = headers.l4_offset
        return (
            headers.payload_offset == own.payload_offset
            and l4 == own.l4_offset
            and int.from_bytes(frame[l4 + 4 : l4 + 8], "big") == self.expected
            and frame[: headers.l3_offset + 2] == self._header[: own.l3_offset + 2]
        )

    def append(self, frame: Buffer, headers: Headers) -> None:
        """Append a segment."""
        l4, end = headers.l4_offset, headers.payload_offset
        size = headers.l3_end - end
        mine = self._header
        # The checksum is right, so the sums of the payload and of the rest add up to 0 (modulo 65535).
        rest = self._addresses_sum(frame) + TCP + (headers.l3_end - l4) + word_sum(frame[l4:end])
        self._payload_sum += -rest << 8 if self.payload & 1 else -rest
        self.segments += 1
        self.payload += size
        self.expected = (self.expected + size) & 0xFFFFFFFF
        mine[l4 + 8 : l4 + 12] = frame[l4 + 8 : l4 + 12]
        mine[l4 + 13] |= frame[l4 + 13] & (_PSH | _ACK)
        mine[l4 + 14 : l4 + 16] = frame[l4 + 14 : l4 + 16]
        mine[l4 + 20 : end] = frame[l4 + 20 : end]

    def header(self) -> bytes:
        """The current merged header."""
        merged = self._header
        if self.segments > 1:
            headers = self._headers
            start, l4 = headers.l3_offset, headers.l4_offset
            if headers.version == 4:
                struct.pack_into(">H", merged, start + 2, self.ip_length)
                merged[start + 10 : start + 12] = b"\0\0"
                struct.pack_into(">H", merged, start + 10, fold(word_sum(merged[start:l4])))
            else:
                struct.pack_into(">H", merged, start + 4, self.ip_length - 40)
            merged[l4 + 16 : l4 + 18] = b"\0\0"
            length = len(merged) - l4 + self.payload
            total = self._addresses_sum(merged) + TCP + length + word_sum(merged[l4:]) + self._payload_sum
            struct.pack_into(">H", merged, l4 + 16, fold(total))
        return bytes(merged)

    def _addresses_sum(self, frame: Buffer) -> int:
        start = self._headers.l3_offset
        return word_sum(frame[start + 12 : start + 20] if self._headers.version == 4 else frame[start + 8 : start + 40])


class Decision(NamedTuple):
    """The decision on a frame.

    Attributes:
        before: flows to deliver before the frame (already closed).
        flow: the flow that the frame was appended to; None if it is delivered alone.
        complete: the frame was the last of its flow, which is already closed.
    """

    before: list[Flow]
    flow: Flow | None
    complete: bool


def viable(frame: Buffer, headers: Headers, limits: Limits) -> bool:
    """Whether a frame whose checksums are right can be coalesced at all (82599 datasheet 7.11.1)."""
    start = headers.l3_offset
    if headers.l4 != TCP or headers.fragment or headers.options:
        return False
    if headers.version == 4:
        congestion = frame[start + 1] & 3
    elif limits.ipv6:
        congestion = frame[start + 1] >> 4 & 3
    else:
        return False
    # Padding after the IP packet would be in the middle of the merged one.
    if congestion == _CONGESTION_EXPERIENCED or headers.l3_end != len(frame):
        return False
    l4, end = headers.l4_offset, headers.payload_offset
    if (frame[l4 + 12] << 8 | frame[l4 + 13]) & _QUIET:
        return False
    options = end - l4 - 20
    if options and (options != 12 or frame[l4 + 20 : l4 + 24] != _TIMESTAMP_OPTION):
        return False
    if limits.header and end > limits.header:
        return False
    return limits.acknowledgements or headers.l3_end > end


class Coalescer:
    """The open flows of a NIC (or of one of its queues)."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._flows: dict[Hashable, Flow] = {}

    def __len__(self) -> int:
        return len(self._flows)

    def receive(
        self,
        frame: Buffer,
        headers: Headers,
        *,
        scope: Hashable = None,
        fits: Callable[[Flow, int], bool] | None = None,
    ) -> Decision:
        """Decide on a frame.

        Args:
            frame: the frame without its CRC, its checksums found right.
            headers: of that frame.
            scope: what else distinguishes flows: the queue, a stripped tag.
            fits: whether the NIC's buffers have room for more payload of a flow; called with the flow and the bytes.
        """
        key = self._key(frame, headers, scope)
        if key is None:
            return Decision([], None, complete=False)
        before = []
        known = self._flows.pop(key, None)
        if not viable(frame, headers, self.limits):
            # The flow is completed first, so that the frame does not overtake it.
            return Decision([known] if known else [], None, complete=False)
        size = headers.l3_end - headers.payload_offset
        limits = self.limits
        if known is not None and not (
            known.matches(frame, headers)
            and known.ip_length + size <= limits.packet
            and (fits is None or fits(known, size))
        ):
            before.append(known)
            known = None
        if known is None:
            while len(self._flows) >= limits.flows:
                before.append(self._flows.pop(next(iter(self._flows))))
            known = Flow(key, frame, headers)
        known.append(frame, headers)
        complete = bool(frame[headers.l4_offset + 13] & _PSH) or known.segments == limits.segments
        if not complete:
            self._flows[key] = known
        return Decision(before, known, complete)

    def close(self, flow: Flow) -> bool:
        """Complete a flow; returns False if it is not open."""
        if self._flows.get(flow.key) is not flow:
            return False
        del self._flows[flow.key]
        return True

    def close_all(self, where: Callable[[Flow], bool] | None = None) -> list[Flow]:
        """Complete the flows (those for which `where` is true), the least recently used first.

        An 82599 does so when the interrupt of their queues is due, and when their queue runs out of descriptors.
        """
        closed = [flow for flow in self._flows.values() if where is None or where(flow)]
        for flow in closed:
            del self._flows[flow.key]
        return closed

    def _key(self, frame: Buffer, headers: Headers, scope: Hashable) -> Hashable:
        start = headers.l3_offset
        if headers.l4 != TCP:
            return None
        first, last = (start + 12, start + 20) if headers.version == 4 else (start + 8, start + 40)
        return (bytes(frame[first:last]), bytes(frame[headers.l4_offset : headers.l4_offset + 4]), scope)
