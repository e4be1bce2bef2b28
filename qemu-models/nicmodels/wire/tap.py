# SPDX-License-Identifier: MIT
"""A tap interface of the host.

Source: Linux, Documentation/networking/tuntap.rst and <linux/if_tun.h>.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from itertools import repeat
from typing import TYPE_CHECKING

from nicmodels.wire.protocol import LONGEST_FRAME, WireCounters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nicmodels.wire.protocol import Buffer

TUN_DEVICE = "/dev/net/tun"
TUNSETIFF = 0x400454CA
TUNSETOFFLOAD = 0x400454D0
IFF_TAP = 0x0002
IFF_NO_PI = 0x1000
NAME_LENGTH = 15

# The interface is down (EIO), its queue is full (EAGAIN, ENOBUFS), the frame is too short for Ethernet (EINVAL), or the
# interface was deleted (EBADFD): the frame is dropped and counted.
_LOST = frozenset({errno.EIO, errno.EAGAIN, errno.ENOBUFS, errno.EINVAL, errno.EBADFD, errno.ENODEV})


class TapError(OSError):
    """The tap cannot be opened; the message gives the reason and what to do."""


class TapWire:
    """One queue of a tap.

    There is no virtio-net header, by which either side could leave checksums and segmentation to the other: every frame is
    complete.

    Args:
        name: of the interface, which is created if it does not exist.

    Raises:
        TapError: no tun driver, no permission, the name is bad or the interface is in use.
    """

    def __init__(self, name: str) -> None:
        if not 0 < len(name.encode()) <= NAME_LENGTH:
            raise TapError(errno.EINVAL, f"tap name {name!r}: expected 1 to {NAME_LENGTH} bytes; choose another name")
        self.name = name
        self.counters = WireCounters()
        try:
            self._fd = os.open(TUN_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise TapError(
                error.errno, f"cannot open {TUN_DEVICE}: {error.strerror}; load the tun module or run with access to it"
            ) from error
        try:
            fcntl.ioctl(self._fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
            # A persistent tap keeps the offloads that its last user requested, and the host then leaves those undone.
            fcntl.ioctl(self._fd, TUNSETOFFLOAD, 0)
        except OSError as error:
            os.close(self._fd)
            what = {
                errno.EBUSY: "it is in use; stop its other user",
                errno.EPERM: "not permitted; run as root or in a network namespace of your own",
                errno.EINVAL: "it is no tap, or has several queues; delete it or choose another name",
            }.get(error.errno or 0, f"{error.strerror}")
            raise TapError(error.errno, f"cannot attach to tap {name}: {what}") from error

    def fileno(self) -> int | None:
        """Readable when the host has sent a frame."""
        return self._fd

    def transmit(self, buffers: Sequence[Buffer]) -> None:
        """Send one frame in one system call, straight from the buffers."""
        try:
            os.writev(self._fd, buffers)
        except OSError as error:
            if error.errno not in _LOST:
                raise
            self.counters.transmit_drops += 1
        else:
            self.counters.transmitted += 1

    def transmit_many(self, frames: Sequence[Sequence[Buffer]]) -> None:
        """Send each frame in one system call, straight from its buffers."""
        writev, fd = os.writev, self._fd
        sent = 0
        for frame in frames:
            try:
                writev(fd, frame)
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
        frames: list[bytes] = []
        try:
            frames.extend(map(os.read, repeat(self._fd, limit), repeat(LONGEST_FRAME)))
        except OSError as error:
            if error.errno not in _LOST:
                raise
        self.counters.received += len(frames)
        return frames

    def close(self) -> None:
        """Detach; an interface that is not persistent goes away."""
        os.close(self._fd)
