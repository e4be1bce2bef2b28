# SPDX-License-Identifier: GPL-2.0-or-later
"""Raw frames on an interface, with the metadata that the driver reported for each. Methods ``packet.*``.

Source: packet(7); include/uapi/linux/if_packet.h (struct tpacket_auxdata), virtio_net.h (struct virtio_net_hdr);
Documentation/networking/timestamping.rst.
"""

from __future__ import annotations

import base64
import errno
import os
import select
import socket
import struct
import time
from typing import TYPE_CHECKING, Any

from agent import handle
from agent.methods import exposed

if TYPE_CHECKING:
    from collections.abc import Iterable

ETH_P_ALL = 0x0003
SOL_PACKET = 263
PACKET_STATISTICS = 6
PACKET_AUXDATA = 8
PACKET_VNET_HDR = 15
PACKET_IGNORE_OUTGOING = 23
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
SO_TIMESTAMPING = 37
TX_HARDWARE, RX_HARDWARE, RAW_HARDWARE = 1 << 0, 1 << 2, 1 << 6
"""SOF_TIMESTAMPING_*."""
FULL_TIMEOUT, FULL_PAUSE = 5.0, 0.001
"""Seconds that a send may wait in all while the interface's queue is full, where the caller says nothing; and between two attempts."""
STAMPS = struct.Struct("=6q")
"""struct scm_timestamping: three times in s and ns; the third is the hardware's."""
AUXDATA = struct.Struct("=IIIHHHH")
VNET_HEADER = struct.Struct("=BBHHHH")
STATUS_BITS = {3: "checksum-not-ready", 4: "vlan-valid", 6: "vlan-tpid-valid", 7: "checksum-valid", 8: "gso-tcp"}
PACKET_TYPES = ("host", "broadcast", "multicast", "otherhost", "outgoing")
GSO_TYPES = {0: "none", 1: "tcp4", 3: "udp", 4: "tcp6", 5: "udp-l4"}


class LostFramesError(Exception):
    """The receive buffer was full: frames that the driver delivered are missing, and what was received shows nothing of it."""


class PacketSocket:
    """A packet socket.

    Attributes:
        socket: bound to the interface.
        vnet: whether a virtio-net header precedes each frame, in both directions.
        refused: how often the interface's queue was full when a frame was to be sent. The interface may count each as a drop.
    """

    def __init__(self, ifname: str, protocol: int, outgoing: bool, vnet: bool, stamps: int = 0) -> None:
        """Open and bind the socket."""
        self.vnet = vnet
        self.refused = 0
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        if vnet:
            self.socket.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        if not outgoing:
            self.socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        if stamps:
            self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, RAW_HARDWARE | stamps)
        for force in (SO_SNDBUFFORCE, SO_RCVBUFFORCE):
            self.socket.setsockopt(socket.SOL_SOCKET, force, 1 << 24)
        self.socket.bind((ifname, protocol))

    def lost(self) -> int:
        """Return how many frames found the receive buffer full since the last call."""
        return int(struct.unpack("=II", self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1])

    def close(self) -> None:
        """Close it."""
        self.socket.close()


@exposed
def open(  # noqa: A001 - the verb
    ifname: str, protocol: int = ETH_P_ALL, outgoing: bool = False, vnet: bool = False, stamps: str | None = None
) -> int:
    """Open a packet socket on `ifname`; returns a handle.

    Args:
        ifname: the interface.
        protocol: EtherType, in host byte order.
        outgoing: receive the frames that the guest sends, too.
        vnet: put a struct virtio_net_hdr before each frame, in both directions.
        stamps: request hardware timestamps of frames that are ``received`` or ``sent``.
    """
    asked = {None: 0, "received": RX_HARDWARE, "sent": TX_HARDWARE}[stamps]
    return handle.keep(PacketSocket(ifname, protocol, outgoing, vnet, asked))


@exposed
def send(
    packet: int,
    frames: list[str],
    repeat: int = 1,
    cpu: int | None = None,
    full_timeout: float = FULL_TIMEOUT,
    protocol: int | None = None,
) -> int:
    """Send raw frames (base64), the whole list `repeat` times, on one CPU if given; returns the number of frames.

    On a socket with `vnet` each frame starts with a virtio-net header. `protocol` is the EtherType of frames without an Ethernet header:
    not every interface that sends such frames finds it out (GRE's does not). Where the interface's queue is full, which a veth's is
    after 241 to 256 frames, a frame is sent again until it is not, for `full_timeout` seconds in all.

    Raises:
        OSError: ENOBUFS, the queue stays full.
    """
    source = handle.get(packet, PacketSocket)
    raw = [base64.b64decode(frame) for frame in frames]
    before = os.sched_getaffinity(0)
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
    try:
        transmit(source, (frame for _ in range(repeat) for frame in raw), full_timeout, protocol)
    finally:
        os.sched_setaffinity(0, before)
    return repeat * len(raw)


def transmit(source: PacketSocket, frames: Iterable[bytes], full_timeout: float, protocol: int | None = None) -> None:
    """Send frames as `send` does."""
    waited = 0.0
    address = None if protocol is None else (source.socket.getsockname()[0], protocol)
    for frame in frames:
        while True:
            try:
                if address:
                    source.socket.sendto(frame, address)
                else:
                    source.socket.send(frame)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                source.refused += 1
                if waited >= full_timeout:
                    raise
                begin = time.monotonic()
                time.sleep(FULL_PAUSE)
                waited += time.monotonic() - begin
            else:
                break


@exposed
def refused(packet: int) -> int:
    """Return how often the interface's queue was full when a frame was to be sent, since the socket was opened."""
    return handle.get(packet, PacketSocket).refused


@exposed
def receive(packet: int, count: int = 1, timeout: float = 5, last: str | None = None) -> list[dict[str, Any]]:
    """Return up to `count` frames that arrive within `timeout` seconds.

    The frame that starts with `last` (base64) is the last one: where frames before it were filtered, no time passes in waiting for them.

    Each has frame (base64), length (bytes on the wire, without a stripped tag), type, status (checksum-valid …), vlan
    ``{"tci": 7, "tpid": 33024}`` or null, on a vnet socket gso ``{"type": "tcp4", "size": 1448}`` and checksum, and stamp
    (ns) where the socket requests timestamps and the hardware took one.

    Raises:
        LostFramesError: the socket's buffer was full since the last call, or since it was drained.
    """
    source = handle.get(packet, PacketSocket)
    end = time.monotonic() + timeout
    sentinel = None if last is None else base64.b64decode(last)
    found: list[dict[str, Any]] = []
    while len(found) < count:
        if not select.select([source.socket], [], [], max(0.0, end - time.monotonic()))[0]:
            break
        found.append(receive_one(source))
        if sentinel is not None and base64.b64decode(found[-1]["frame"]).startswith(sentinel):
            break
    lost = source.lost()
    if lost:
        raise LostFramesError(f"{lost} frames found the socket's receive buffer full")
    return found


def receive_one(source: PacketSocket) -> dict[str, Any]:
    """Receive a frame and its ancillary data."""
    data, ancillary, _, origin = source.socket.recvmsg(1 << 17, 256)
    one: dict[str, Any] = {"type": PACKET_TYPES[origin[2]] if origin[2] < len(PACKET_TYPES) else str(origin[2])}
    if source.vnet:
        flags, gso_type, _, gso_size, start, offset = VNET_HEADER.unpack_from(data)
        data = data[VNET_HEADER.size :]
        one["gso"] = {"type": GSO_TYPES.get(gso_type & 0x7F, str(gso_type)), "size": gso_size}
        one["checksum"] = {"needed": bool(flags & 1), "start": start, "offset": offset}
    one["frame"] = base64.b64encode(data).decode()
    for level, kind, raw in ancillary:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, length, _, _, _, tci, tpid = AUXDATA.unpack_from(raw)
            one["length"] = length
            one["status"] = [name for bit, name in STATUS_BITS.items() if status >> bit & 1]
            one["vlan"] = {"tci": tci, "tpid": tpid} if status >> 4 & 1 else None
    stamp = stamp_in(ancillary)
    if stamp is not None:
        one["stamp"] = stamp
    return one


def stamp_in(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    """Return the hardware timestamp in ancillary data, in ns."""
    for level, kind, raw in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPING):
            seconds, nanoseconds = STAMPS.unpack_from(raw)[4:]
            return (seconds * 1_000_000_000 + nanoseconds) or None
    return None


@exposed
def tx_timestamp(packet: int, timeout: float = 5) -> dict[str, Any] | None:
    """Return the next transmit timestamp of the hardware: frame (base64) and stamp (ns); null where none arrives in time."""
    sock = handle.get(packet, PacketSocket).socket
    waiting = select.poll()
    waiting.register(sock, 0)
    end = time.monotonic() + timeout
    while (left := end - time.monotonic()) > 0 and waiting.poll(left * 1000):
        data, ancillary, _, _ = sock.recvmsg(1 << 17, 512, socket.MSG_ERRQUEUE)
        stamp = stamp_in(ancillary)
        if stamp is not None:
            return {"frame": base64.b64encode(data).decode(), "stamp": stamp}
    return None


@exposed
def drain(packet: int) -> int:
    """Discard the frames in the receive buffer, and the count of those that it had no room for; returns their number."""
    source = handle.get(packet, PacketSocket)
    count = 0
    while select.select([source.socket], [], [], 0)[0]:
        source.socket.recv(1)
        count += 1
    source.lost()
    return count
