# SPDX-License-Identifier: GPL-2.0-or-later
"""Physical addresses of this process's memory.

Source: Documentation/admin-guide/mm/pagemap.rst.
"""

from __future__ import annotations

import mmap
import os
import struct

from agent.system.libc import address

PAGE = mmap.PAGESIZE
PRESENT = 1 << 63
FRAME = (1 << 55) - 1


def pages(memory: mmap.mmap) -> list[int]:
    """Return the physical address of each page of a mapping; 0 where the kernel does not show it. Needs CAP_SYS_ADMIN."""
    count = len(memory) // PAGE
    for at in range(0, len(memory), PAGE):
        memory[at] = memory[at]  # a page has an address after the first write
    fd = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    try:
        raw = os.pread(fd, count * 8, address(memory) // PAGE * 8)
    finally:
        os.close(fd)
    entries = struct.unpack(f"={count}Q", raw)
    return [(entry & FRAME) * PAGE if entry & PRESENT else 0 for entry in entries]
