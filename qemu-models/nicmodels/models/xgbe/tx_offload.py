# SPDX-License-Identifier: MIT
"""Transmit offloads: checksums, segmentation, VLAN tags.

Source: Agilex 5 HPS TRM (Intel 814346), 5.1.6 (segmentation, checksum, VLAN insertion), 5.1.6.3 (descriptors).
"""

from __future__ import annotations

import struct
from functools import partial
from typing import TYPE_CHECKING

from nicmodels.ethernet import ETH_HLEN, ETH_P_8021AD, ETH_P_8021Q
from nicmodels.faults.frames import change_segments, change_tag
from nicmodels.models.xgbe import descriptors as d
from nicmodels.models.xgbe.registers import mac
from nicmodels.offload import vlan
from nicmodels.offload.chain import behead
from nicmodels.offload.chain import length as chain_length
from nicmodels.offload.checksum import fold, insert_checksum, pseudo_header_sum, word_sum
from nicmodels.offload.headers import TCP, UDP, parse
from nicmodels.offload.segmentation import FlagMasks, number_of_segments, segment

if TYPE_CHECKING:
    from nicmodels.faults.points import FaultSet
    from nicmodels.registers import RegisterFile

    Buffer = bytes | bytearray | memoryview
    Descriptor = tuple[int, ...]

FROM_DESCRIPTOR, S_TAG = 1 << 20, 1 << 19
UDP_FIELD, TCP_FIELD, ICMP_FIELD, ICMP = 6, 16, 2, 1


class TxOffload:
    """Applies the offloads that a packet's first descriptor requests.

    Args:
        faults: of transmission.
    """

    def __init__(self, file: RegisterFile, faults: FaultSet) -> None:
        self._file = file
        self._faults = faults

    def single(self, queue: int, buffers: list[Buffer], first: Descriptor) -> list[Buffer]:
        """A packet sent as one frame, with the requested checksums."""
        mode = first[3] >> d.CIC_SHIFT & 3
        if mode == d.CIC_NONE:
            return buffers
        data = bytearray().join(buffers)
        headers = parse(data)
        start, l4 = headers.l3_offset, headers.l4_offset
        if headers.version == 4:
            end = start + ((data[start] & 15) << 2)
            data[start + 10 : start + 12] = b"\0\0"
            struct.pack_into(">H", data, start + 10, fold(word_sum(data[start:end])))
            if self._faults.active and self._faults.fires("tx.ip-checksum.wrong", queue=queue):
                data[start + 11] ^= 1
        if mode == d.CIC_IP or headers.fragment or not headers.version:
            return [data]
        if headers.l4 in (TCP, UDP):
            field = l4 + (TCP_FIELD if headers.l4 == TCP else UDP_FIELD)
            if mode == d.CIC_ALL:
                size = 4 if headers.version == 4 else 16
                at = start + (12 if headers.version == 4 else 8)
                seed = pseudo_header_sum(
                    data[at : at + size], data[at + size : at + 2 * size], headers.l4, headers.l3_end - l4
                )
                struct.pack_into(">H", data, field, 0xFFFF - fold(seed))
        elif headers.version == 4 and headers.protocol == ICMP and headers.l3_end >= l4 + 8:
            field = l4 + ICMP_FIELD
            if mode == d.CIC_ALL:
                data[field : field + 2] = b"\0\0"
        else:
            return [data]
        rest = data[headers.l3_end :]
        head = data[: headers.l3_end]
        insert_checksum(head, (), l4, field, never_zero=headers.l4 == UDP)
        if self._faults.active and self._faults.fires("tx.checksum.wrong", queue=queue):
            head[field + 1] ^= 1
        return [head, rest] if rest else [head]

    def segments(
        self, queue: int, buffers: list[Buffer], first: Descriptor, mss: int, *, sent: int, most: int
    ) -> tuple[list[list[Buffer]], bool]:
        """Some segments of a packet, whose headers are in the first descriptor's buffer.

        Args:
            queue: its queue.
            buffers: its bytes.
            first: its first descriptor.
            mss: payload bytes of a segment.
            sent: number of segments made before.
            most: how many to make.

        Returns:
            The segments, and whether they are the last.

        Raises:
            ValueError: the descriptor does not match the packet.
        """
        size = first[2] & d.LENGTH_MASK
        head, payload = behead(buffers, size)
        done = sent + most >= number_of_segments(chain_length(payload), mss)
        l4 = size - (first[3] >> d.TCP_HEADER_SHIFT & 15) * 4
        l3 = ETH_HLEN
        while l3 + 4 <= len(head) and head[l3 - 2] << 8 | head[l3 - 1] in (ETH_P_8021Q, ETH_P_8021AD):
            l3 += 4
        masks = FlagMasks()
        if self._faults.active and self._faults.fires("tx.segment.flags", queue=queue):
            masks = FlagMasks(0xFFF, 0xFFF, 0xFFF)
        same = self._faults.active and self._faults.fires("tx.segment.identification", queue=queue)
        frames = list(
            segment(
                head,
                payload,
                mss,
                l3_offset=l3,
                l4_offset=l4,
                masks=masks,
                identification_mask=0 if same else 0xFFFF,
                first=sent,
                most=most,
            )
        )
        if self._faults.active and frames:
            ipv4 = head[l3] >> 4 == 4
            change_segments(frames, l3, l4, ipv4=ipv4, protocol=TCP, fires=partial(self._faults.fires, queue=queue))
        return frames, done

    def tag(self, queue: int, frame: list[Buffer], action: int, tci: int) -> list[Buffer]:
        """Insert, remove or replace the VLAN tag; the tag is the context's, `tci`, or the register's."""
        if action == d.KEEP:
            return frame
        control = self._file[mac.VLANIR]
        if action in (d.REMOVE, d.REPLACE):
            for tpid in (ETH_P_8021Q, ETH_P_8021AD):
                found, stripped = vlan.strip(b"".join(frame), tpid)
                if found is not None:
                    frame = stripped
                    break
        if action == d.REMOVE:
            return frame
        inserted = tci if control & FROM_DESCRIPTOR else control & 0xFFFF
        changed = change_tag(inserted, partial(self._faults.fires, queue=queue)) if self._faults.active else inserted
        return (
            frame if changed is None else vlan.insert(frame, changed, ETH_P_8021AD if control & S_TAG else ETH_P_8021Q)
        )
