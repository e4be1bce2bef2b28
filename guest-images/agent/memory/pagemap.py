# SPDX-License-Identifier: GPL-2.0-or-later
"""Where this process's memory lies, for itself and for a device.

Source: Documentation/admin-guide/mm/pagemap.rst.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct

PAGE = mmap.PAGESIZE
PRESENT = 1 << 63
FRAME = (1 << 55) - 1


def address(memory: mmap.mmap) -> int:
    """Return the virtual address of a mapping."""
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def pages(memory: mmap.mmap) -> list[int]:
    """Return the physical address of each page of a mapping; 0 where the kernel does not tell. Needs CAP_SYS_ADMIN."""
    count = len(memory) // PAGE
    for at in range(0, len(memory), PAGE):
        memory[at] = memory[at]  # a page has an address once it has been written to
    fd = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    try:
        raw = os.pread(fd, count * 8, address(memory) // PAGE * 8)
    finally:
        os.close(fd)
    entries = struct.unpack(f"={count}Q", raw)
    return [(entry & FRAME) * PAGE if entry & PRESENT else 0 for entry in entries]
