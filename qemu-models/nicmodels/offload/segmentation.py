# SPDX-License-Identifier: MIT
"""Segmentation (TSO, USO) of TCP and UDP over IPv4 and IPv6: a header and a large payload become frames.

Sources: 82599 datasheet 7.2.4 (what hardware changes in each frame), RFC 9293 (sequence numbers), RFC 3168 6.1.2
(CWR in the first segment only).
"""

from __future__ import annotations

from struct import Struct, pack_into
from typing import TYPE_CHECKING, NamedTuple

from nicmodels.offload.chain import length as chain_length
from nicmodels.offload.chain import part
from nicmodels.offload.checksum import chain_sum, fold, pseudo_header_sum, word_sum
from nicmodels.offload.headers import TCP, UDP

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nicmodels.offload.checksum import Buffer


def number_of_segments(size: int, mss: int) -> int:
    """How many frames a payload of `size` bytes becomes, at `mss` bytes a frame.

    Raises:
        ValueError: `mss` is not positive.
    """
    if mss < 1:
        raise ValueError(f"expected a segment size of at least 1 byte; found {mss}")
    return max(size - 1, 0) // mss + 1


class FlagMasks(NamedTuple):
    """The masks of the 12 TCP flag bits in the first, the middle and the last segment.

    The defaults (FIN and PSH only in the last, CWR only in the first) are the 82599's reset values of DTXTCPFLGL/H.
    A payload of one segment keeps all its flags.
    """

    first: int = 0xFF6
    middle: int = 0xF76
    last: int = 0xF7F


_DEFAULT_MASKS = FlagMasks()
_IPV4 = Struct(">HHIH")
"""From the total length on: length, identification, fragment to protocol, checksum."""
_TCP = Struct(">IIHHH")
"""From the sequence number on: sequence and acknowledgement, offset and flags, window, checksum."""
_UDP = Struct(">HH")
"""Length and checksum."""


def segment(
    header: Buffer,
    payload: Sequence[Buffer],
    mss: int,
    *,
    l3_offset: int,
    l4_offset: int,
    protocol: int = TCP,
    masks: FlagMasks = _DEFAULT_MASKS,
    identification_mask: int = 0xFFFF,
    seeded: bool = False,
    first: int = 0,
    most: int | None = None,
) -> Iterator[list[Buffer]]:
    """Segment a payload into frames, each a chain of a new header and views of the payload, which is not copied.

    A packet of few bytes can ask for very many frames: a device makes them as it sends them, and some a turn of the event
    loop (`first`, `most`).

    Args:
        header: Ethernet to TCP or UDP header, options included, as in the first frame.
        payload: the payload; an empty one gives one frame.
        mss: payload bytes per frame.
        l3_offset: of the IPv4 or IPv6 header; its version field is read.
        l4_offset: of the TCP or UDP header, which ends where `header` ends.
        protocol: `TCP` or `UDP`.
        masks: of the TCP flags.
        identification_mask: the bits of the IPv4 identification that are incremented; the others stay.
        seeded: the checksum fields of `header` hold initial sums, as drivers write them for hardware that adds to them:
            for TCP and UDP that of the pseudo-header without the length, for IPv4 normally 0. If false, the fields are
            ignored and the pseudo-header is computed.
        first: the first frame to make, below `number_of_segments`.
        most: how many to make; None for all that are left.

    Raises:
        ValueError: the header is too short or has no IP header, the protocol cannot be segmented, or `mss` is not positive.
    """
    tcp = protocol == TCP
    if not tcp and protocol != UDP:
        raise ValueError(f"expected protocol {TCP} (TCP) or {UDP} (UDP); found {protocol}")
    total = chain_length(payload)
    number = number_of_segments(total, mss)
    if l4_offset + (20 if tcp else 8) > len(header) or l3_offset + 20 > l4_offset:
        raise ValueError(f"expected IP at {l3_offset} and a whole header at {l4_offset}; found {len(header)} bytes")
    version = header[l3_offset] >> 4
    if version not in {4, 6} or (version == 6 and l3_offset + 40 > l4_offset):
        raise ValueError(f"expected an IPv4 or IPv6 header; found version {version}, {l4_offset - l3_offset} bytes")

    template = bytearray(header)
    l4_field = l4_offset + (16 if tcp else 6)
    if not seeded:
        template[l4_field : l4_field + 2] = b"\0\0"
        if version == 4:
            template[l3_offset + 10 : l3_offset + 12] = b"\0\0"
    seed = 0 if seeded else _addresses_sum(template, l3_offset, version, protocol)
    identification = template[l3_offset + 4] << 8 | template[l3_offset + 5]
    sequence = int.from_bytes(template[l4_offset + 4 : l4_offset + 8], "big")
    flags = (template[l4_offset + 12] << 8 | template[l4_offset + 13]) if tcp else 0
    l4_header = len(template) - l4_offset
    ip_header = l4_offset - l3_offset
    last = number - 1
    end = number if most is None else min(first + most, number)
    # The headers are summed once, without the fields that change; those are added for each frame.
    if version == 4:
        template[l3_offset + 2 : l3_offset + 6] = bytes(4)
    if tcp:
        template[l4_offset + 4 : l4_offset + 8] = bytes(4)
        template[l4_offset + 12 : l4_offset + 14] = bytes(2)
    else:
        template[l4_offset + 4 : l4_offset + 6] = bytes(2)
    ip_sum = word_sum(template[l3_offset:l4_offset]) if version == 4 else 0
    seed += word_sum(template[l4_offset:])
    odd = 8 * (l4_header & 1)  # a payload at an odd offset is in the other halves of its words

    # What lies between the fields that change is written with them, in one go.
    between_ip = int.from_bytes(template[l3_offset + 6 : l3_offset + 10], "big")
    acknowledgement = int.from_bytes(template[l4_offset + 8 : l4_offset + 12], "big")
    window = int.from_bytes(template[l4_offset + 14 : l4_offset + 16], "big")
    pack_ipv4, pack_tcp, pack_udp = _IPV4.pack_into, _TCP.pack_into, _UDP.pack_into

    if first:
        payload = part(payload, first * mss, total)
    for index, pieces in enumerate(_cut(payload, mss, end - first), first):
        size = total - index * mss if index == last else mss
        frame = template[:]
        if version == 4:
            length = (ip_header + l4_header + size) & 0xFFFF
            number = identification & ~identification_mask | (identification + index) & identification_mask
            pack_ipv4(frame, l3_offset + 2, length, number, between_ip, fold(ip_sum + length + number))
        else:
            pack_into(">H", frame, l3_offset + 4, (ip_header - 40 + l4_header + size) & 0xFFFF)
        rest = seed + l4_header + size + (chain_sum(pieces) << odd)
        if tcp:
            here = (sequence + index * mss) & 0xFFFFFFFF
            shown = flags
            if last:
                shown &= 0xF000 | (masks.first if index == 0 else masks.last if index == last else masks.middle)
            value = fold(rest + (here >> 16) + (here & 0xFFFF) + shown)
            pack_tcp(frame, l4_offset + 4, here, acknowledgement, shown, window, value)
        else:
            length = (l4_header + size) & 0xFFFF
            pack_udp(frame, l4_offset + 4, length, fold(rest + length) or 0xFFFF)
        yield [frame, *pieces]


def _addresses_sum(header: bytearray, l3_offset: int, version: int, protocol: int) -> int:
    start, size = (l3_offset + 12, 4) if version == 4 else (l3_offset + 8, 16)
    return pseudo_header_sum(header[start : start + size], header[start + size : start + 2 * size], protocol, 0)


def _cut(payload: Sequence[Buffer], size: int, count: int) -> Iterator[list[memoryview]]:
    """`count` chains of views of `size` bytes; the last may be shorter."""
    if len(payload) == 1:
        view = memoryview(payload[0])
        for start in range(0, count * size, size):
            piece = view[start : start + size]
            yield [piece] if piece else []
        return
    source = iter(payload)
    view = memoryview(b"")
    for _ in range(count):
        pieces: list[memoryview] = []
        room = size
        while room:
            if not view:
                following = next(source, None)
                if following is None:
                    break
                view = memoryview(following)
                continue
            piece = view[:room]
            pieces.append(piece)
            room -= len(piece)
            view = view[len(piece) :]
        yield pieces
