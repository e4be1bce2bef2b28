# SPDX-License-Identifier: GPL-2.0-or-later
"""The frequency of this host's time stamp counter, which is also that of an emulated guest.

A guest's kernel calibrates the counter against emulated timers as it boots. On a busy host it gets that wrong (by a factor of four,
as measured), its clock runs fast for good, and a snapshot keeps that. So the kernel gets it as a parameter.

Source: Intel SDM, volume 2, RDTSC; Documentation/admin-guide/kernel-parameters.txt, tsc_early_khz; QEMU, cpu_get_host_ticks().
"""

from __future__ import annotations

import ctypes
import mmap
import platform
import time
from functools import cache

_READ = bytes.fromhex("0f31 48c1e220 4809d0 c3")
"""rdtsc; shl $32, %rdx; or %rdx, %rax; ret."""
_SECONDS = 0.05
_TRIES = 20


@cache
def frequency() -> int | None:
    """Measure the frequency in MHz; None on another processor, or where the host lets no process write code for itself.

    Rounded, so that every run on this host has the same: a kernel that gets the frequency within 1 % finds it exactly by itself.
    """
    if platform.machine() != "x86_64":
        return None
    try:
        page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except OSError:
        return None
    page.write(_READ)
    counter = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(ctypes.c_char.from_buffer(page)))

    def read() -> tuple[int, float]:
        """Return the counter and the time in microseconds, of the try that was disturbed least."""
        tries = []
        for _ in range(_TRIES):
            before, ticks, after = time.monotonic_ns(), counter(), time.monotonic_ns()
            tries.append((after - before, ticks, (before + after) / 2000))
        return min(tries)[1:]

    first = read()
    time.sleep(_SECONDS)
    last = read()
    return round((last[0] - first[0]) / (last[1] - first[1]))
