# SPDX-License-Identifier: MIT
"""Transmit offloads: checksums, segmentation, padding; and their faults.

Sources: Linux, drivers/net/ethernet/google/gve/gve_desc_dqo.h and gve_tx_dqo.c (the hardware's limits on sizes, segment
sizes and number of buffers), gve_desc.h.
"""

from __future__ import annotations

import struct
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from nicmodels.ethernet import ETH_HLEN, ETH_P_8021Q, ETH_ZLEN, VLAN_HLEN
from nicmodels.faults.frames import change_segments, change_transmitted
from nicmodels.offload.chain import behead, part
from nicmodels.offload.chain import length as chain_length
from nicmodels.offload.checksum import insert_checksum
from nicmodels.offload.headers import TCP, UDP
from nicmodels.offload.segmentation import FlagMasks, number_of_segments, segment

if TYPE_CHECKING:
    from nicmodels.faults.points import FaultSet
    from nicmodels.models.gve.link import Link
    from nicmodels.models.gve.statistics import Statistics
    from nicmodels.nic.device import Host

    Buffer = bytes | bytearray | memoryview

FIELDS = {TCP: 16, UDP: 6}
PLAIN_COST = 8
"""Plain frames that cost as much time as a segment."""
_VLAN_TAG = ETH_P_8021Q.to_bytes(2, "big")
_EVERY_FLAG = FlagMasks(0xFFF, 0xFFF, 0xFFF)


class Checksum(NamedTuple):
    """A checksum to complete, whose field holds the pseudo-header's sum. Offsets are in bytes from the start of the packet.

    Attributes:
        start, end: the range that it covers.
        field: its offset.
        never_zero: store 0xFFFF for 0, as UDP requires.
    """

    start: int
    field: int
    end: int
    never_zero: bool


class TxOffload:
    """Applies the offloads, and transmits.

    Args:
        host: the device's host.
        link: while it is down, frames are dropped.
        statistics: of the device.
        faults: of transmission.

    Attributes:
        room: how many more frames, as segmentation makes them, this turn of the event loop may send; what else takes time counts too.
    """

    def __init__(self, host: Host, link: Link, statistics: Statistics, faults: FaultSet) -> None:
        self.room = 0
        self._host = host
        self._link = link
        self._statistics = statistics
        self._faults = faults

    def send(self, queue: int, buffers: list[Buffer], checksum: Checksum | None = None) -> None:
        """Send a packet as one frame.

        Args:
            queue: its queue.
            buffers: its bytes.
            checksum: the checksum to complete, or None.

        Raises:
            ValueError: the checksum is not in the packet.
        """
        total = chain_length(buffers)
        self.room -= 1
        frame = buffers
        if checksum is not None:
            start, field, end, never_zero = checksum
            head, rest = behead(buffers, field + 2)
            covered = rest if end >= total else part(buffers, field + 2, end)
            insert_checksum(head, covered, start, field, never_zero=never_zero)
            if self._faults.active and self._faults.fires("tx.checksum.wrong", queue=queue):
                head[field + 1] ^= 1
            frame = [head, *rest]
        if self._faults.active:
            frame = self._fault_ip_checksum(queue, frame)
        self._transmit(queue, total, [frame])

    def send_plain(self, queue: int, frames: list[tuple[memoryview]]) -> None:
        """Send frames of one buffer each, of at least 60 bytes, that the driver has completed."""
        self.room -= len(frames) // PLAIN_COST + 1
        if self._link.up:
            self._host.wire.transmit_many(frames)
        self._count(queue, sum([len(frame) for (frame,) in frames]), len(frames), packets=len(frames))

    def send_segments(
        self,
        queue: int,
        buffers: list[Buffer],
        header: int,
        l3: int,
        l4: int,
        protocol: int,
        mss: int,
        *,
        seeded: bool,
        first: int,
    ) -> int | None:
        """Segment a packet, and send the frames, as many as the turn has room for.

        Args:
            queue: its queue.
            buffers: its bytes.
            header: bytes of header that each frame repeats.
            l3, l4: offsets of the IP header and of the TCP or UDP header.
            protocol: TCP or UDP.
            mss: payload bytes per frame.
            seeded: the checksum field holds the pseudo-header's sum without the length, as in DQO; otherwise it holds the
                sum of the whole packet, as in GQI, and the sum is computed here.
            first: how many frames earlier turns have sent.

        Returns:
            How many frames have been sent by now; None for all.

        Raises:
            ValueError: the headers do not match the arguments.
        """
        total = chain_length(buffers)
        head, payload = behead(buffers, header)
        if l3 >= header:
            raise ValueError(f"expected an IP header before byte {header}; found its start at {l3}")
        ipv4 = head[l3] >> 4 == 4
        if ipv4:
            # The stack computed the checksum for the whole packet; each frame gets its own.
            head[l3 + 10 : l3 + 12] = b"\0\0"
        fires = partial(self._faults.fires, queue=queue)
        most = max(self.room, 1)
        done = first + most >= number_of_segments(chain_length(payload), mss)
        frames = list(
            segment(
                head,
                payload,
                mss,
                l3_offset=l3,
                l4_offset=l4,
                protocol=protocol,
                masks=_EVERY_FLAG if self._faults.active and fires("tx.segment.flags") else FlagMasks(),
                identification_mask=0 if self._faults.active and fires("tx.segment.identification") else 0xFFFF,
                seeded=seeded,
                first=first,
                most=most,
            )
        )
        self.room -= len(frames) + 1
        if self._faults.active and frames:
            change_segments(frames, l3, l4, ipv4=ipv4, protocol=protocol, fires=fires)
        self._transmit(queue, total if done else 0, frames, packets=int(done))
        return None if done else first + most

    def _transmit(self, queue: int, total: int, frames: list[list[Buffer]], packets: int = 1) -> None:
        length = 0
        sent: list[list[Buffer]] = []
        for frame in frames:
            size = chain_length(frame)
            if size < ETH_ZLEN and not (self._faults.active and self._faults.fires("tx.padding.missing", queue=queue)):
                frame.append(bytes(ETH_ZLEN - size))
                size = ETH_ZLEN
            length += size
            if self._faults.active and self._link.up:
                sent += self._fault_frame(queue, frame)
            else:
                sent.append(frame)
        if self._link.up:
            self._host.wire.transmit_many(sent)
        self._count(queue, total, len(frames), length, packets=packets)

    def _count(
        self, queue: int, total: int, segments: int, segment_bytes: int | None = None, *, packets: int = 1
    ) -> None:
        """Count packets of `total` bytes that left as segments of `segment_bytes` bytes; None: as many."""
        account = self._statistics.tx[queue]
        account.frames += packets
        account.bytes += total
        account.segments += segments
        account.segment_bytes += total if segment_bytes is None else segment_bytes

    def _fault_ip_checksum(self, queue: int, frame: list[Buffer]) -> list[Buffer]:
        data = bytearray().join(frame)
        at = ETH_HLEN + VLAN_HLEN if data[12:14] == _VLAN_TAG else ETH_HLEN
        if data[at - 2 : at] == b"\x08\0" and self._faults.fires("tx.ip-checksum.wrong", queue=queue):
            data[at + 11] ^= 1
        return [data]

    def _fault_frame(self, queue: int, frame: list[Buffer]) -> list[list[Buffer]]:
        data = bytearray().join(frame)
        if data[12:14] == _VLAN_TAG:
            if self._faults.fires("tx.vlan.missing", queue=queue):
                del data[12:16]
            elif self._faults.fires("tx.vlan.wrong", queue=queue):
                tci = data[14] << 8 | data[15]
                struct.pack_into(">H", data, 14, tci & 0xF000 | (tci + 1) & 0xFFF)
        return change_transmitted([data], partial(self._faults.fires, queue=queue))
