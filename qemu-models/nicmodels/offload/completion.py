# SPDX-License-Identifier: MIT
"""Completes frames whose checksums and segmentation the host left to the NIC, as every frame on a real wire is complete.

Source: virtio 1.2, 5.1.6.4 (packets with VIRTIO_NET_HDR_F_NEEDS_CSUM and a gso_type).
"""

from __future__ import annotations

from struct import pack_into
from typing import TYPE_CHECKING

from nicmodels.offload.checksum import fold, word_sum
from nicmodels.offload.headers import TCP, UDP, parse
from nicmodels.offload.segmentation import segment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nicmodels.offload.headers import Headers
    from nicmodels.wire import Offload, WireCounters


def complete(frame: bytes, offload: Offload | None, counters: WireCounters) -> Iterator[bytes]:
    """The complete frames in place of this one, in order; none if it cannot be segmented.

    Args:
        frame: as received.
        offload: what the host left undone; None for nothing.
        counters: of the wire, which count a frame that cannot be segmented.
    """
    if offload is None:
        yield frame
    elif offload.segment_type is not None and offload.segment_size:
        headers = parse(frame)
        if headers.l4 in (TCP, UDP):
            for pieces in cut(frame, headers, offload.segment_size):
                yield b"".join(pieces)
        else:
            counters.uncut += 1
    else:
        if offload.checksum_start is not None:
            start = offload.checksum_start
            done = bytearray(frame)
            pack_into(">H", done, start + offload.checksum_offset, fold(word_sum(frame[start:])))
            frame = bytes(done)
        yield frame


def cut(frame: bytes, headers: Headers, size: int) -> Iterator[list[bytes | bytearray | memoryview]]:
    """The segments of a TCP or UDP packet, `size` bytes of payload each, as chains."""
    payload = memoryview(frame)[headers.payload_offset : headers.l3_end]
    return segment(
        frame[: headers.payload_offset],
        [payload],
        size,
        l3_offset=headers.l3_offset,
        l4_offset=headers.l4_offset,
        protocol=headers.l4,
    )
