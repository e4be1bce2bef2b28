# SPDX-License-Identifier: MIT
"""A table of flows, for devices that remember how they deliver the bulk of traffic instead of deciding for each frame.

A frame belongs to a flow if all that a device may decide by is the same: the Ethernet header and, over IP, the addresses,
protocol and ports. Only frames without surprises are found: no VLAN tag, IP options, fragment or TCP SYN, and right
checksums, which are verified for every frame.
"""

from __future__ import annotations

import struct
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Generic, TypeVar

from nicmodels.ethernet import ETH_HLEN, ETH_P_IP, ETH_P_IPV6, ETH_ZLEN
from nicmodels.offload.checksum import word_sum
from nicmodels.offload.headers import TCP, UDP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from nicmodels.offload.checksum import Buffer
    from nicmodels.offload.headers import Headers

SYN = 2
LIMIT = 4096
"""Flows; one more empties the table."""
_ETHERNET = itemgetter(slice(ETH_HLEN))
_ADDRESSES = {4: 26, 6: 22}
"""Where the addresses of IPv4 and IPv6 begin in a frame without a tag."""
_IPV4 = struct.Struct(">BxHxxHxBxx12s").unpack_from
"""Of an IPv4 header without options: version and length, total length, fragment, protocol, addresses and ports."""

Value = TypeVar("Value")


class FlowTable(Generic[Value]):
    """Flows, and what a device remembers of each."""

    def __init__(self) -> None:
        self._plain: dict[bytes, Value] = {}
        self._flows: dict[bytes, dict[bytes, tuple[int, int, Value]]] = {}
        self._count = 0
        self._longest = 0

    def __len__(self) -> int:
        return self._count

    def flush(self) -> None:
        """The configuration changed: forget all flows."""
        if self._count:
            self._plain.clear()
            self._flows.clear()
            self._count = 0

    def remember(self, frame: Buffer, headers: Headers, value: Value, longest: int) -> bool:
        """Remember the flow of a frame with right checksums.

        Args:
            frame: one of the flow, without FCS.
            headers: its headers.
            value: what to remember.
            longest: bytes of the longest frame that the device receives so, of any flow.

        Returns:
            False if such frames cannot be found by their flow.
        """
        if headers.l3_offset != ETH_HLEN or len(frame) < ETH_HLEN:
            return False
        ethernet = bytes(frame[:ETH_HLEN])
        plain = headers.ethertype not in (ETH_P_IP, ETH_P_IPV6)
        if not plain:
            if headers.l4 not in (TCP, UDP) or headers.fragment or headers.options:
                return False
            if headers.l4 == TCP and frame[headers.l4_offset + 13] & SYN:
                return False
        if self._count >= LIMIT:
            self.flush()
        self._longest = longest
        if plain:
            self._count += ethernet not in self._plain
            self._plain[ethernet] = value
        else:
            key, addresses = _key(frame, headers), word_sum(frame[_ADDRESSES[headers.version] : headers.l4_offset])
            flows = self._flows.setdefault(ethernet, {})
            self._count += key not in flows
            flows[key] = headers.l4, headers.l4 + addresses, value
        return True

    def of(self, frame: Buffer, headers: Headers) -> Value | None:
        """The flow of a TCP or UDP frame, which the caller has parsed, and whose checksums it does not ask about."""
        found = self._flows.get(bytes(frame[:ETH_HLEN]), {}).get(_key(frame, headers))
        return None if found is None or found[0] != headers.l4 else found[2]

    def runs(self, frames: Sequence[bytes], start: int) -> Iterator[tuple[Value, list[bytes], list[int]]]:
        """Runs of frames of one flow, until a frame that belongs to no flow.

        Args:
            frames: without FCS, of at least 14 bytes.
            start: the number of the first.

        Yields:
            The value, the frames padded to 60 bytes, and their lengths up to the first that is too long.
        """
        for ethernet, group in groupby(frames[start:], _ETHERNET):
            run = [*group]
            sizes = [*map(len, run)]
            if min(sizes) < ETH_ZLEN:
                run = [frame.ljust(ETH_ZLEN, b"\0") for frame in run]
                sizes = [*map(len, run)]
            flow = self._plain.get(ethernet)
            if flow is not None:
                yield flow, run, leading(sizes, self._longest)
                continue
            flows = self._flows.get(ethernet)
            if flows is None:
                return
            find = _find_ipv4 if ethernet.endswith(b"\x08\0") else _find_ipv6
            found = [find(frame, flows) for frame in run]
            at = 0
            for flow, same in groupby(found):
                if flow is None:
                    return
                after = at + len([*same])
                yield flow, run[at:after], leading(sizes[at:after], self._longest)
                at = after


class Reports:
    """The descriptors that report the frames of a flow, which differ by the frame's length only: each is made once.

    Args:
        make: returns the descriptor of a frame of so many bytes.
    """

    __slots__ = ("_known", "_make")

    def __init__(self, make: Callable[[int], bytes]) -> None:
        self._make = make
        self._known: dict[int, bytes] = {}

    def of(self, sizes: list[int]) -> bytes:
        """Those of frames of these lengths, in order."""
        known, lengths = self._known, {*sizes}
        for size in lengths:
            if size not in known:
                known[size] = self._make(size)
        if len(lengths) == 1:
            return known[sizes[0]] * len(sizes)
        return b"".join([known[size] for size in sizes])


def leading(sizes: list[int], longest: int) -> list[int]:
    """The lengths before the first that is more than `longest`."""
    if max(sizes, default=0) <= longest:
        return sizes
    return sizes[: next(number for number, size in enumerate(sizes) if size > longest)]


def _key(frame: Buffer, headers: Headers) -> bytes:
    """Addresses and ports, by which the flows with one Ethernet header are distinguished."""
    return bytes(frame[_ADDRESSES[headers.version] : headers.l4_offset + 4])


def _find_ipv4(frame: bytes, flows: dict[bytes, tuple[int, int, Value]]) -> Value | None:
    kind, total, fragment, protocol, key = _IPV4(frame, ETH_HLEN)
    flow = flows.get(key)
    if flow is None or kind != 0x45 or fragment & 0x3FFF or int.from_bytes(frame[14:34], "big") % 65535:
        return None
    return _checked(frame, flow, protocol, 34, ETH_HLEN + total)


def _find_ipv6(frame: bytes, flows: dict[bytes, tuple[int, int, Value]]) -> Value | None:
    if len(frame) < 54 or frame[14] >> 4 != 6:
        return None
    flow = flows.get(frame[22:58])
    if flow is None:
        return None
    return _checked(frame, flow, frame[20], 54, 54 + (frame[18] << 8 | frame[19]))


def _checked(frame: bytes, flow: tuple[int, int, Value], protocol: int, l4: int, end: int) -> Value | None:
    """The value of a flow, if a frame with its addresses and ports has no surprise."""
    wanted, addresses, value = flow
    if protocol != wanted or end > len(frame):
        return None
    if protocol == TCP:
        if l4 + 20 > end or frame[l4 + 13] & SYN or not 20 <= frame[l4 + 12] >> 4 << 2 <= end - l4:
            return None
    elif l4 + 8 > end or frame[l4 + 4] << 8 | frame[l4 + 5] != end - l4 or not frame[l4 + 6] | frame[l4 + 7]:
        return None
    if (addresses + end - l4 + word_sum(frame[l4:end])) % 65535:
        return None
    return value
