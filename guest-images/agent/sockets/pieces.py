# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets whose payload lies in many small pieces, each a page fragment of its own. Methods ``pieces.*``.

With MSG_ZEROCOPY the kernel makes a page fragment of each buffer of a call, at most 17 (MAX_SKB_FRAGS), if the driver has
scatter-gather and checksum offload; without them it copies. Source: Documentation/networking/msg_zerocopy.rst.
"""

from __future__ import annotations

import mmap
import select
import socket
from typing import TYPE_CHECKING

from agent.methods import exposed
from agent.sockets import payload
from agent.sockets.tcp import address_family, set_options

if TYPE_CHECKING:
    from collections.abc import Iterator

SO_ZEROCOPY, MSG_ZEROCOPY = 60, 0x4000000
UDP_SEGMENT = 103
SHIFT = 97
"""Bytes by which each piece starts later in its page than the one before it, so that pieces are aligned in many ways."""


class Pieces:
    """Payload in pieces, each in a page that it shares with no other: the kernel would make one fragment of adjacent ones."""

    def __init__(self, packets: list[list[int]], seed: int) -> None:
        """Lay out the payload.

        Args:
            packets: the lengths of the pieces of each packet; none is longer than a page.
            seed: of the stream of which the payload is.
        """
        self._lengths = packets
        count = sum(map(len, packets))
        self._area = mmap.mmap(-1, count * mmap.PAGESIZE)
        self._view = memoryview(self._area)
        data = payload.generate(seed, sum(map(sum, packets)))
        self._starts: list[int] = []
        at = 0
        for number, length in enumerate(length for packet in packets for length in packet):
            start = number * mmap.PAGESIZE + number * SHIFT % (mmap.PAGESIZE - length + 1)
            self._view[start : start + length] = data[at : at + length]
            self._starts.append(start)
            at += length

    def __iter__(self) -> Iterator[list[memoryview]]:
        """Yield the pieces of each packet."""
        starts = iter(self._starts)
        for lengths in self._lengths:
            yield [self._view[start : start + length] for length, start in zip(lengths, starts)]  # noqa: B905 - the next packet goes on


def reap(sock: socket.socket) -> None:
    """Take the kernel's notifications that it needs the pieces no more: it holds few of them."""
    waiting = select.poll()
    waiting.register(sock, 0)  # a notification shows as POLLERR
    while any(events & select.POLLERR for _, events in waiting.poll(0)):
        sock.recvmsg(1, 256, socket.MSG_ERRQUEUE)


@exposed
def send_datagrams(
    address: str, port: int, datagrams: list[list[int]], seed: int = 1, segment: int | None = None
) -> dict[str, int]:
    """Send datagrams from a socket of their own; returns its port.

    Args:
        address: to which.
        port: to which.
        datagrams: the lengths of the pieces of each.
        seed: of the stream of which the payload is.
        segment: bytes of each datagram on the wire but the last, where the device is to make several of one (UDP GSO).
    """
    with socket.socket(address_family(address), socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_ZEROCOPY, 1)
        if segment:
            sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, segment)
        sock.connect((address, port))
        for pieces in Pieces(datagrams, seed):
            sock.sendmsg(pieces, [], MSG_ZEROCOPY)
            reap(sock)
        return {"port": sock.getsockname()[1]}


@exposed
def send_stream(
    address: str, port: int, packets: list[list[int]], seed: int = 1, mss: int | None = None, timeout: float = 60
) -> dict[str, int]:
    """Connect, send a stream, close; returns the number of its bytes.

    Args:
        address: to which.
        port: to which.
        packets: the lengths of the pieces of each part of the stream that the kernel is to put into a packet of its own.
        seed: of the stream.
        mss: the largest segment.
        timeout: seconds without progress.
    """
    total = 0
    with socket.socket(address_family(address), socket.SOCK_STREAM) as connection:
        set_options(connection, None, mss)
        connection.setsockopt(socket.SOL_SOCKET, SO_ZEROCOPY, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(timeout)
        connection.connect((address, port))
        for pieces in Pieces(packets, seed):
            left = pieces
            while left:
                sent = connection.sendmsg(left, [], MSG_ZEROCOPY | socket.MSG_EOR)
                total += sent
                left = after(left, sent)
                reap(connection)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass
    return {"bytes": total}


def after(pieces: list[memoryview], count: int) -> list[memoryview]:
    """Return the pieces without their first `count` bytes."""
    left = []
    for piece in pieces:
        if count < len(piece):
            left.append(piece[count:])
        count = max(0, count - len(piece))
    return left
