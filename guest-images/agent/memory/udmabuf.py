# SPDX-License-Identifier: GPL-2.0-or-later
"""dma-bufs of this process's memory, by the udmabuf driver. Methods ``udmabuf.*``.

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
from agent.memory import pagemap
from agent.methods import exposed
from agent.system.kernel import KernelLacksError

DEVICE = "/dev/udmabuf"
UDMABUF_CREATE = 0x40187542
F_ADD_SEALS = 1033
F_SEAL_SHRINK = 2


class Udmabuf:
    """A dma-buf, which can be bound to a device and mapped here.

    Attributes:
        fd: of the dma-buf.
        memory: a mapping of it.
    """

    def __init__(self, length: int, huge: bool) -> None:
        """Allocate `length` bytes of zeros, a multiple of the page size."""
        self.fd = -1
        flags = os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC | (os.MFD_HUGETLB if huge else 0)
        self.file = os.memfd_create("plugfest", flags)
        try:
            os.ftruncate(self.file, length)
            # The driver accepts only memory that cannot shrink.
            fcntl.fcntl(self.file, F_ADD_SEALS, F_SEAL_SHRINK)
            self.memory = mmap.mmap(self.file, length)
            try:
                device = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError as error:
                raise KernelLacksError(
                    f"dma-bufs of a process's memory (CONFIG_UDMABUF): there is no {DEVICE}"
                ) from error
            try:
                # With a mutable argument fcntl.ioctl returns the result of the call, which is the descriptor.
                self.fd = fcntl.ioctl(device, UDMABUF_CREATE, bytearray(struct.pack("=IIQQ", self.file, 0, 0, length)))
            finally:
                os.close(device)
        except (OSError, KernelLacksError):
            self.close()
            raise

    def close(self) -> None:
        """Release it; the kernel frees the memory when no queue uses it."""
        with suppress(AttributeError, BufferError):
            self.memory.close()
        for fd in (self.fd, self.file):
            if fd >= 0:
                os.close(fd)


@exposed
def create(length: int, huge: bool = False) -> int:
    """Create a dma-buf of `length` bytes of zeros, a multiple of the page size (of a huge page's, with `huge`); returns a handle."""
    return handle.keep(Udmabuf(length, huge))


@exposed
def read(buffer: int, offset: int, length: int) -> str:
    """Return bytes of the dma-buf (base64)."""
    return base64.b64encode(handle.get(buffer, Udmabuf).memory[offset : offset + length]).decode()


@exposed
def fill(buffer: int, value: int) -> None:
    """Set every byte to `value`."""
    memory = handle.get(buffer, Udmabuf).memory
    memory[:] = bytes((value,)) * len(memory)


@exposed
def pages(buffer: int) -> list[int]:
    """Return the physical address of each page, in order; 0 where the kernel does not show it."""
    return pagemap.pages(handle.get(buffer, Udmabuf).memory)
