# SPDX-License-Identifier: MIT
"""What the faults of `nicmodels.faults.groups` do to frames and timestamps.

A model passes a `fires(name)` that checks its own faults in its own context.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from nicmodels.offload.chain import length as chain_length
from nicmodels.offload.checksum import fold, word_sum
from nicmodels.offload.headers import TCP

if TYPE_CHECKING:
    from collections.abc import Callable

    from nicmodels.faults.points import FaultPoints, FaultSet
    from nicmodels.offload.checksum import Buffer

    Fires = Callable[[str], bool]

LATE = 1_000_000_000
"""Nanoseconds."""


class TimestampFaults:
    """The faults of timestamps.

    Args:
        faults: `TIMESTAMPS` among them.
    """

    def __init__(self, faults: FaultPoints) -> None:
        self._late = {side: faults[f"{side}.timestamp.late"] for side in ("rx", "tx")}
        self._missing = {side: faults[f"{side}.timestamp.missing"] for side in ("rx", "tx")}

    def lateness(self, side: str) -> int | None:
        """Nanoseconds to add to the timestamp of a frame of a side, rx or tx; None for no timestamp at all."""
        if self._missing[side]:
            return None
        return LATE if self._late[side] else 0


class RxFrameFaults:
    """The faults that corrupt, duplicate or reorder received frames.

    Args:
        faults: of reception, `RX_FRAMES` among them.
    """

    def __init__(self, faults: FaultSet) -> None:
        self._faults = faults
        self._held: bytes | None = None

    @property
    def holding(self) -> bool:
        """Whether a frame is held back: it is delivered after the next one, whatever is armed then."""
        return self._held is not None

    def reset(self) -> None:
        """Drop the frame that is held back."""
        self._held = None

    def apply(self, frame: memoryview) -> list[memoryview]:
        """The frames to deliver in place of a frame that was not dropped."""
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


def change_tag(tci: int, fires: Fires) -> int | None:
    """The tag control information to insert in place of `tci`; None to insert no tag."""
    if fires("tx.vlan.missing"):
        return None
    return tci & 0xF000 | (tci + 1) & 0xFFF if fires("tx.vlan.wrong") else tci


def change_transmitted(frame: list[Buffer], fires: Fires) -> list[list[Buffer]]:
    """The frames to transmit in place of a frame."""
    if fires("tx.frame.corrupted"):
        data = bytearray().join(frame)
        data[-1] ^= 1
        frame = [data]
    if fires("tx.frame.dropped"):
        return []
    return [frame, frame] if fires("tx.frame.duplicated") else [frame]


def change_segments(frames: list[list[Buffer]], l3: int, l4: int, *, ipv4: bool, protocol: int, fires: Fires) -> None:
    """Apply the faults of segmentation. Checksums are adjusted, so that only the field itself is wrong.

    Args:
        frames: the segments; changed in place.
        l3, l4: offsets of the IP header and of the TCP or UDP header.
        ipv4: whether it is IPv4.
        protocol: TCP or UDP.
        fires: whether the fault of that name fires.
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
    """Adjust a checksum for changed data: the sum of the data's words grew by `difference`."""
    total = 0xFFFF - int.from_bytes(head[field : field + 2], "big") + difference
    struct.pack_into(">H", head, field, fold(total))
