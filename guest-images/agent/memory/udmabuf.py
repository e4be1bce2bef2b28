# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory of this process as a dma-buf, by the udmabuf driver. Methods ``udmabuf.*``.

Source: include/uapi/linux/udmabuf.h.
"""

from __future__ import annotations

import base64
import fcntl
import mmap
import os
import struct
from contextlib import suppress

from agent import handle
from agent.memory import pagemap as physical
from agent.methods import exposed

UDMABUF_CREATE = 0x40187542
F_ADD_SEALS = 1033
F_SEAL_SHRINK = 2


class Udmabuf:
    """Memory that can be bound to a device, and read here.

    Attributes:
        fd: of the dma-buf.
        memory: the same octets.
    """

    def __init__(self, length: int, huge: bool) -> None:
        """Allocate `length` octets, a multiple of the page size, filled with zeros."""
        self.fd = -1
        flags = os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC | (os.MFD_HUGETLB if huge else 0)
        self.file = os.memfd_create("plugfest", flags)
        try:
            os.ftruncate(self.file, length)
            # The driver takes only memory that cannot become shorter behind its back.
            fcntl.fcntl(self.file, F_ADD_SEALS, F_SEAL_SHRINK)
            self.memory = mmap.mmap(self.file, length)
            device = os.open("/dev/udmabuf", os.O_RDWR | os.O_CLOEXEC)
            try:
                # Of a mutable argument the call's own result comes back, which is the descriptor.
                self.fd = fcntl.ioctl(device, UDMABUF_CREATE, bytearray(struct.pack("=IIQQ", self.file, 0, 0, length)))
            finally:
                os.close(device)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Give it back, as far as the kernel does not use it."""
        with suppress(AttributeError, BufferError):
            self.memory.close()
        for fd in (self.fd, self.file):
            if fd >= 0:
                os.close(fd)


@exposed
def create(length: int, huge: bool = False) -> int:
    """Make a dma-buf of `length` octets of zeros, a multiple of the page size, or of a huge page's; returns a handle."""
    return handle.keep(Udmabuf(length, huge))


@exposed
def read(buffer: int, offset: int, length: int) -> str:
    """Return octets of it (base64)."""
    return base64.b64encode(handle.get(buffer, Udmabuf).memory[offset : offset + length]).decode()


@exposed
def fill(buffer: int, value: int) -> None:
    """Set every octet to `value`."""
    memory = handle.get(buffer, Udmabuf).memory
    memory[:] = bytes((value,)) * len(memory)


@exposed
def pages(buffer: int) -> list[int]:
    """Return the physical address of each of its pages, in order; 0 where the kernel does not tell."""
    return physical.pages(handle.get(buffer, Udmabuf).memory)
