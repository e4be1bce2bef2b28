# SPDX-License-Identifier: MIT
"""The faults of frames that every NIC can have: their fault points, and what they do to a frame.

A model declares the points (`TRANSMITTED`, `SEGMENTS`, `TAGGED`, `RECEIVED`, `STAMPED`) with its own, and gives the functions here a
`fires(name)` that asks its faults with its own context.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from nicmodels.faults.points import FaultPoint
from nicmodels.offload.chain import length as chain_length
from nicmodels.offload.checksum import fold, word_sum
from nicmodels.offload.headers import TCP

if TYPE_CHECKING:
    from collections.abc import Callable

    from nicmodels.faults.points import FaultPoints, FaultSet
    from nicmodels.offload.checksum import Buffer

    Fires = Callable[[str], bool]

TRANSMITTED = (
    FaultPoint("tx.checksum.wrong", "writes the TCP, UDP or SCTP checksum off by one"),
    FaultPoint("tx.ip-checksum.wrong", "writes the IPv4 header checksum off by one"),
    FaultPoint("tx.frame.dropped", "completes the descriptor but keeps the frame from the wire"),
    FaultPoint("tx.frame.duplicated", "puts the frame on the wire twice"),
    FaultPoint("tx.frame.corrupted", "flips a bit in the last byte of the frame"),
    FaultPoint("tx.padding.missing", "does not pad short frames"),
)
SEGMENTS = (
    FaultPoint("tx.segment.sequence", "gives each segment but the first a TCP sequence number one too high"),
    FaultPoint("tx.segment.flags", "leaves FIN and PSH set in all segments"),
    FaultPoint("tx.segment.identification", "gives all segments the same IPv4 identification"),
    FaultPoint("tx.segment.length", "cuts the last byte off the last segment, and says so in its IP header"),
    FaultPoint("tx.segment.missing", "loses the last segment"),
)
TAGGED = (
    FaultPoint("tx.vlan.missing", "does not insert the VLAN tag"),
    FaultPoint("tx.vlan.wrong", "inserts a tag with the next VLAN id"),
)
RECEIVED = (
    FaultPoint("rx.frame.truncated", "reports frames over 1024 bytes as 1024 bytes long"),
    FaultPoint("rx.frame.dropped", "loses the frame and does not count it"),
    FaultPoint("rx.frame.duplicated", "delivers the frame twice"),
    FaultPoint("rx.frame.corrupted", "flips a bit in the last byte of the frame"),
    FaultPoint("rx.frame.reordered", "delivers the frame after the next one"),
)
STAMPED = (
    FaultPoint("rx.timestamp.late", "stamps a received frame with a time a second after it came"),
    FaultPoint("rx.timestamp.missing", "does not stamp a received frame"),
    FaultPoint("tx.timestamp.late", "stamps a sent frame with a time a second after it left"),
    FaultPoint("tx.timestamp.missing", "does not stamp a sent frame"),
)
TIME_STOPPED = FaultPoint("device.time.stopped", "lets the system time stand still")
LATE = 1_000_000_000
"""Nanoseconds."""


class Stamps:
    """The faults of time stamps.

    Args:
        faults: `STAMPED` among them.
    """

    def __init__(self, faults: FaultPoints) -> None:
        self._late = {side: faults[f"{side}.timestamp.late"] for side in ("rx", "tx")}
        self._missing = {side: faults[f"{side}.timestamp.missing"] for side in ("rx", "tx")}

    def lateness(self, side: str) -> int | None:
        """Nanoseconds to add to the time of a frame of a side, rx or tx; None for no stamp at all."""
        if self._missing[side]:
            return None
        return LATE if self._late[side] else 0


class Arrivals:
    """The faults that change what arrives: lost, twice, corrupted or in another order.

    Args:
        faults: of reception, `RECEIVED` among them.
    """

    def __init__(self, faults: FaultSet) -> None:
        self._faults = faults
        self._held: bytes | None = None

    @property
    def holding(self) -> bool:
        """Whether a frame is held back: it follows the next, whatever is armed then."""
        return self._held is not None

    def reset(self) -> None:
        """Forget what is held back."""
        self._held = None

    def spoil(self, frame: memoryview) -> list[memoryview]:
        """What is delivered in place of a frame that was not lost."""
        faults = self._faults
        if faults["rx.frame.corrupted"]:
            data = bytearray(frame)
            data[-1] ^= 1
            frame = memoryview(data)
        frames = [frame]
        if faults["rx.frame.duplicated"]:
            frames.append(frame)
        if self._held is not None:
            frames.append(memoryview(self._held))
            self._held = None
        elif faults["rx.frame.reordered"]:
            self._held = bytes(frame)
            return []
        return frames


def spoil_tag(tci: int, fires: Fires) -> int | None:
    """What is inserted in place of a tag; None for nothing."""
    if fires("tx.vlan.missing"):
        return None
    return tci & 0xF000 | (tci + 1) & 0xFFF if fires("tx.vlan.wrong") else tci


def spoil_departure(frame: list[Buffer], fires: Fires) -> list[list[Buffer]]:
    """What goes on the wire in place of a frame."""
    if fires("tx.frame.corrupted"):
        data = bytearray().join(frame)
        data[-1] ^= 1
        frame = [data]
    if fires("tx.frame.dropped"):
        return []
    return [frame, frame] if fires("tx.frame.duplicated") else [frame]


def spoil_segments(frames: list[list[Buffer]], l3: int, l4: int, *, ipv4: bool, protocol: int, fires: Fires) -> None:
    """The faults of segmentation; checksums stay right, so that only the field itself is wrong.

    Args:
        frames: what segmentation gave; changed in place.
        l3, l4: where the IP header and the TCP or UDP header start.
        ipv4: whether it is IPv4.
        protocol: TCP or UDP.
        fires: asks the fault of that name.
    """
    check = l4 + (16 if protocol == TCP else 6)
    if len(frames) > 1 and protocol == TCP and fires("tx.segment.sequence"):
        for frame in frames[1:]:
            head = bytearray(frame[0])
            sequence = int.from_bytes(head[l4 + 4 : l4 + 8], "big")
            struct.pack_into(">I", head, l4 + 4, (sequence + 1) & 0xFFFF_FFFF)
            _adjust(head, check, 1 if sequence & 0xFFFF != 0xFFFF else -0xFFFE)
            frame[0] = head
    if len(frames[-1]) > 1 and fires("tx.segment.length"):
        frame = frames[-1]
        head, last = bytearray(frame[0]), frame[-1]
        offset = chain_length(frame[1:]) - 1
        lost = last[-1] << (0 if offset & 1 else 8)
        frame[-1] = last[:-1]
        where = l3 + 2 if ipv4 else l3 + 4
        struct.pack_into(">H", head, where, int.from_bytes(head[where : where + 2], "big") - 1)
        if ipv4:
            head[l3 + 10 : l3 + 12] = b"\0\0"
            struct.pack_into(">H", head, l3 + 10, fold(word_sum(head[l3:l4])))
        _adjust(head, check, -lost - 1)
        frame[0] = head
    if len(frames) > 1 and fires("tx.segment.missing"):
        frames.pop()
    if fires("tx.checksum.wrong"):
        head = bytearray(frames[0][0])
        head[check + 1] ^= 1
        frames[0][0] = head
    if ipv4 and fires("tx.ip-checksum.wrong"):
        head = bytearray(frames[0][0])
        head[l3 + 11] ^= 1
        frames[0][0] = head


def _adjust(head: bytearray, field: int, difference: int) -> None:
    """Correct a checksum for data that changed: the sum of the data's words grew by `difference`."""
    total = 0xFFFF - int.from_bytes(head[field : field + 2], "big") + difference
    struct.pack_into(">H", head, field, fold(total))
