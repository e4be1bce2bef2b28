# SPDX-License-Identifier: MIT
"""A table of flows, for devices that remember how they deliver the bulk of traffic instead of deciding for each frame.

A frame belongs to a flow if all that a device may decide by is the same: the Ethernet header and, over IP, the addresses,
protocol and ports. Only frames without surprises are found: no VLAN tag, IP options, fragment or TCP SYN, and right
checksums, which are verified for every frame.
"""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Generic, TypeVar

from nicmodels.ethernet import ETH_HLEN, ETH_P_IP, ETH_P_IPV6, ETH_ZLEN
from nicmodels.offload.checksum import word_sum
from nicmodels.offload.headers import TCP, UDP

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nicmodels.offload.checksum import Buffer
    from nicmodels.offload.headers import Headers

SYN = 2
LIMIT = 4096
_ETHERNET = itemgetter(slice(ETH_HLEN))
"""Flows; one more empties the table."""

Value = TypeVar("Value")


class FlowTable(Generic[Value]):
    """Flows, and what a device remembers of each."""

    def __init__(self) -> None:
        self._plain: dict[bytes, Value] = {}
        self._flows: dict[bytes, tuple[bytes, int, int, Value]] = {}

    def __len__(self) -> int:
        return len(self._plain) + len(self._flows)

    def clear(self) -> None:
        """Forget all flows."""
        self._plain.clear()
        self._flows.clear()

    def learn(self, frame: Buffer, headers: Headers, value: Value) -> bool:
        """Remember the flow of a frame with right checksums; False if such frames cannot be found by their flow."""
        if headers.l3_offset != ETH_HLEN or len(frame) < ETH_HLEN:
            return False
        ethernet = bytes(frame[:ETH_HLEN])
        if headers.ethertype not in (ETH_P_IP, ETH_P_IPV6):
            self._make_room()
            self._plain[ethernet] = value
            return True
        if headers.l4 not in (TCP, UDP) or headers.fragment or headers.options:
            return False
        if headers.l4 == TCP and frame[headers.l4_offset + 13] & SYN:
            return False
        self._make_room()
        addresses = word_sum(frame[26 if headers.version == 4 else 22 : headers.l4_offset])
        self._flows[self.key(frame, headers)] = ethernet, headers.l4, headers.l4 + addresses, value
        return True

    @staticmethod
    def key(frame: Buffer, headers: Headers) -> bytes:
        """What names the flow of a TCP or UDP frame among those with its Ethernet header and protocol."""
        return bytes(frame[26 if headers.version == 4 else 22 : headers.l4_offset + 4])

    def of(self, frame: Buffer, headers: Headers) -> Value | None:
        """The flow of a TCP or UDP frame, which the caller has parsed, and whose checksums it does not ask about."""
        found = self._flows.get(self.key(frame, headers))
        if found is None or found[0] != frame[:ETH_HLEN] or found[1] != headers.l4:
            return None
        return found[3]

    def runs(
        self, frames: Sequence[bytes], start: int, end: int, *, known_good: bool = False
    ) -> Iterator[tuple[Value, list[bytes]]]:
        """Runs of frames of one flow, padded to 60 bytes, until a frame that belongs to no flow.

        Args:
            frames: without FCS, of at least 14 bytes.
            start, end: which of them.
            known_good: their TCP or UDP checksums are right.
        """
        for ethernet, group in groupby(frames[start:end], _ETHERNET):
            run = [*group]
            if min(map(len, run)) < ETH_ZLEN:
                run = [frame.ljust(ETH_ZLEN, b"\0") for frame in run]
            flow = self._plain.get(ethernet)
            if flow is not None:
                yield flow, run
                continue
            found = [self.find(frame, known_good=known_good) for frame in run]
            at = 0
            for flow, flows in groupby(found):
                if flow is None:
                    return
                number = len([*flows])
                yield flow, run[at : at + number]
                at += number

    def find(self, frame: bytes, *, known_good: bool = False) -> Value | None:
        """The flow of a TCP or UDP frame of at least 60 bytes, if it has no surprises; `known_good`: its checksum is right."""
        kind = frame[12:14]
        if kind == b"\x08\0":
            if frame[14] != 0x45 or frame[20] & 0x3F or frame[21] or word_sum(frame[14:34]) != 65535:
                return None
            found = self._flows.get(frame[26:38])
            protocol, l4 = frame[23], 34
            end = 14 + (frame[16] << 8 | frame[17])
        elif kind == b"\x86\xdd":
            if frame[14] >> 4 != 6:
                return None
            found = self._flows.get(frame[22:58])
            protocol, l4 = frame[20], 54
            end = 54 + (frame[18] << 8 | frame[19])
        else:
            return None
        if found is None:
            return None
        ethernet, wanted, addresses, value = found
        if protocol != wanted or end > len(frame) or not frame.startswith(ethernet):
            return None
        if protocol == TCP:
            if l4 + 20 > end or frame[l4 + 13] & SYN or not 20 <= frame[l4 + 12] >> 4 << 2 <= end - l4:
                return None
        elif l4 + 8 > end or frame[l4 + 4] << 8 | frame[l4 + 5] != end - l4 or not frame[l4 + 6] | frame[l4 + 7]:
            return None
        if not known_good and (addresses + end - l4 + word_sum(frame[l4:end])) % 65535:
            return None
        return value

    def _make_room(self) -> None:
        if len(self) >= LIMIT:
            self.clear()
