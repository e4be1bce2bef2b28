# SPDX-License-Identifier: MIT
"""Inserting and stripping VLAN tags (IEEE 802.1Q, 9.3), 4 bytes after the addresses."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from nicmodels.offload.chain import behead

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nicmodels.offload.checksum import Buffer

ADDRESSES = 12
TAG = 4
TPID = 0x8100


def insert(buffers: Sequence[Buffer], tci: int, tpid: int = TPID) -> list[Buffer]:
    """The chain with a tag inserted; the addresses are copied, the rest is not.

    Args:
        buffers: an Ethernet frame.
        tci: priority, DEI and VLAN id, 16 bits.
        tpid: the tag's EtherType.

    Raises:
        ValueError: the frame is too short for two addresses.
    """
    head, rest = behead(buffers, ADDRESSES)
    head += struct.pack(">HH", tpid, tci)
    return [head, *rest]


def tag_of(frame: Buffer, tpid: int = TPID) -> int | None:
    """The outermost tag's control information, or None if the frame has no such tag."""
    if len(frame) < ADDRESSES + TAG or frame[12] << 8 | frame[13] != tpid:
        return None
    return frame[14] << 8 | frame[15]


def strip(frame: Buffer, tpid: int = TPID) -> tuple[int | None, list[Buffer]]:
    """Strip the outermost tag.

    Returns:
        Its control information, and the frame without it as views; (None, [frame]) if there is none.
    """
    tci = tag_of(frame, tpid)
    if tci is None:
        return None, [frame]
    view = memoryview(frame)
    return tci, [view[:ADDRESSES], view[ADDRESSES + TAG :]]
