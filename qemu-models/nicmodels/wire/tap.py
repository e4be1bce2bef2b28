# SPDX-License-Identifier: MIT
"""A tap interface of the host.

Source: Linux, Documentation/networking/tuntap.rst and <linux/if_tun.h>; virtio 1.2, 5.1.6, for the header.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from itertools import repeat
from typing import TYPE_CHECKING

from nicmodels.wire.protocol import LONGEST_FRAME, Offload, WireCounters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nicmodels.wire.protocol import Buffer, Segmentation, SegmentType

TUN_DEVICE = "/dev/net/tun"
TUNSETIFF = 0x400454CA
TUNSETOFFLOAD = 0x400454D0
TUNSETVNETHDRSZ = 0x400454D8
IFF_TAP = 0x0002
IFF_NO_PI = 0x1000
IFF_VNET_HDR = 0x4000
TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6, TUN_F_TSO_ECN = 0x01, 0x02, 0x04, 0x08
NAME_LENGTH = 15

HEADER = struct.Struct("<BBHHHH")  # flags, gso_type, hdr_len, gso_size, csum_start, csum_offset
NEEDS_CSUM = 1
GSO_TYPES: dict[SegmentType | None, int] = {None: 0, "tcp4": 1, "tcp6": 4, "udp": 5}
SEGMENT_TYPES = {number: name for name, number in GSO_TYPES.items()}
GSO_ECN = 0x80
_LEFT_UNDONE = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN

_LONGEST = 12 + LONGEST_FRAME

# The interface is down (EIO), its queue is full (EAGAIN, ENOBUFS), the frame is invalid or cannot be segmented as
# requested (EINVAL), or the interface was deleted (EBADFD): the frame is dropped and counted.
_LOST = frozenset({errno.EIO, errno.EAGAIN, errno.ENOBUFS, errno.EINVAL, errno.EBADFD, errno.ENODEV})


class TapError(OSError):
    """The tap cannot be opened; the message gives the reason and what to do."""


class TapWire:
    """One queue of a tap.

    With `segmentation` "device" every frame is complete in both directions. With "host" the device may leave checksums
    and segmentation to the host, and the host leaves those of its own TCP to the device: see `received_offload`.

    Args:
        name: of the interface, which is created if it does not exist.
        header: bytes of the virtio-net header, 10 or 12; 0 for none (no offloads then).

    Raises:
        TapError: no tun driver, no permission, the name is bad or the interface is in use.
    """

    def __init__(self, name: str, header: int = 10) -> None:
        if header not in (0, 10, 12):
            raise ValueError(f"a tap's header has 0, 10 or 12 bytes, not {header}")
        if not 0 < len(name.encode()) <= NAME_LENGTH:
            raise TapError(errno.EINVAL, f"tap name {name!r}: expected 1 to {NAME_LENGTH} bytes; choose another name")
        self.name = name
        self.counters = WireCounters()
        self.received_offload: Offload | None = None
        self._header_size = header
        self._no_offload = bytes(header)
        self._segmentation: Segmentation = "device"
        try:
            self._fd = os.open(TUN_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise TapError(
                error.errno, f"cannot open {TUN_DEVICE}: {error.strerror}; load the tun module or run with access to it"
            ) from error
        try:
            flags = IFF_TAP | IFF_NO_PI | (IFF_VNET_HDR if header else 0)
            fcntl.ioctl(self._fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
            if header:
                fcntl.ioctl(self._fd, TUNSETVNETHDRSZ, struct.pack("i", header))
                fcntl.ioctl(self._fd, TUNSETOFFLOAD, 0)
        except OSError as error:
            os.close(self._fd)
            what = {
                errno.EBUSY: "it is in use; stop its other user",
                errno.EPERM: "not permitted; run as root or in a network namespace of your own",
                errno.EINVAL: "it is no tap, or has several queues; delete it or choose another name",
            }.get(error.errno or 0, f"{error.strerror}")
            raise TapError(error.errno, f"cannot attach to tap {name}: {what}") from error

    @property
    def segmentation(self) -> Segmentation:
        """Which side segments and computes checksums: "device" or "host"."""
        return self._segmentation

    @segmentation.setter
    def segmentation(self, by: Segmentation) -> None:
        if by not in ("device", "host"):
            raise ValueError(f"segmentation is {by!r}, expected device or host")
        if by == "host" and not self._header_size:
            raise ValueError("the host cannot segment for a tap without a virtio-net header")
        if self._header_size:
            fcntl.ioctl(self._fd, TUNSETOFFLOAD, _LEFT_UNDONE if by == "host" else 0)
        self._segmentation = by

    def fileno(self) -> int | None:
        """Readable when the host has sent a frame."""
        return self._fd

    def transmit(self, buffers: Sequence[Buffer], offload: Offload | None = None) -> None:
        """Send one frame in one system call, straight from the buffers.

        Raises:
            ValueError: an `offload` for a tap without a header.
        """
        try:
            if self._header_size:
                os.writev(self._fd, (self._no_offload if offload is None else self._encode(offload), *buffers))
            elif offload is not None:
                raise ValueError("a tap without a virtio-net header cannot take an offload")
            else:
                os.writev(self._fd, buffers)
        except OSError as error:
            if error.errno not in _LOST:
                raise
            self.counters.transmit_drops += 1
        else:
            self.counters.transmitted += 1

    def transmit_many(self, frames: Sequence[Sequence[Buffer]]) -> None:
        """Send each frame in one system call, straight from its buffers."""
        writev, fd, header = os.writev, self._fd, self._no_offload
        sent = 0
        for frame in frames:
            try:
                writev(fd, (header, *frame) if header else frame)
                sent += 1
            except OSError as error:
                if error.errno not in _LOST:
                    raise
        self.counters.transmitted += sent
        self.counters.transmit_drops += len(frames) - sent

    def receive(self) -> bytes | None:
        """The next frame."""
        frames = self.receive_many(1)
        return frames[0] if frames else None

    def receive_many(self, limit: int) -> list[bytes]:
        """Receive each frame in one system call."""
        taken: list[bytes] = []
        self.received_offload = None
        try:
            if self._segmentation == "device":
                taken.extend(map(os.read, repeat(self._fd, limit), repeat(_LONGEST)))
            else:
                while len(taken) < limit and self.received_offload is None:
                    taken.append(os.read(self._fd, _LONGEST))
                    self._decode(taken[-1])
        except OSError as error:
            if error.errno not in _LOST:
                raise
        self.counters.received += len(taken)
        size = self._header_size
        return [each[size:] for each in taken]

    def close(self) -> None:
        """Detach; an interface that is not persistent goes away."""
        os.close(self._fd)

    def _encode(self, offload: Offload) -> bytes:
        header = HEADER.pack(
            NEEDS_CSUM if offload.checksum_start is not None else 0,
            GSO_TYPES[offload.segment_type],
            offload.header_length,
            offload.segment_size,
            offload.checksum_start or 0,
            offload.checksum_offset,
        )
        return header.ljust(self._header_size, b"\0")

    def _decode(self, header: Buffer) -> None:
        flags, kind, length, size, start, offset = HEADER.unpack_from(header)
        if kind:
            self.received_offload = Offload(start, offset, SEGMENT_TYPES[kind & ~GSO_ECN], size, length)
        else:
            self.received_offload = Offload(start, offset) if flags & NEEDS_CSUM else None
