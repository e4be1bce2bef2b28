# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel: clocks, memory, interrupts, log, modules. Methods ``system.*``."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from agent.methods import exposed
from agent.system.kernel import has_name

CLOCKS = ("REALTIME", "TAI", "MONOTONIC", "BOOTTIME")
KMSG_RECORD = re.compile(r"(?P<prefix>\d+),(?P<sequence>\d+),(?P<micros>\d+),[^;]*;(?P<text>.*)", re.DOTALL)


@exposed
def clock() -> dict[str, float]:
    """Return realtime, monotonic, boottime and tai (International Atomic Time) in seconds."""
    return {
        "realtime": time.time(),
        "monotonic": time.monotonic(),
        "boottime": time.clock_gettime(time.CLOCK_BOOTTIME),
        "tai": time.clock_gettime(time.CLOCK_TAI),
    }


@exposed
def nanoseconds() -> dict[str, int]:
    """Return realtime, tai, monotonic and boottime in ns."""
    return {name.lower(): time.clock_gettime_ns(getattr(time, f"CLOCK_{name}")) for name in CLOCKS}


@exposed
def set_clock(realtime: float) -> None:
    """Set the wall clock."""
    time.clock_settime(time.CLOCK_REALTIME, realtime)


@exposed
def kernel() -> dict[str, Any]:
    """Return release, version, machine, command-line, and cpus, the number of CPUs."""
    name = os.uname()
    return {
        "release": name.release,
        "version": name.version,
        "machine": name.machine,
        "command-line": Path("/proc/cmdline").read_text().strip(),
        "cpus": os.cpu_count(),
    }


@exposed
def speed() -> float:
    """Return the seconds that a fixed computation takes in this guest, to scale deadlines by."""
    start = time.perf_counter()
    sum(each * each for each in range(15_000))
    return time.perf_counter() - start


@exposed
def meminfo() -> dict[str, int]:
    """Return /proc/meminfo in bytes."""
    found = {}
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, value = line.partition(":")
        words = value.split()
        found[name] = int(words[0]) * (1024 if len(words) > 1 else 1)
    return found


@exposed
def slab() -> dict[str, dict[str, int]]:
    """Return active objects, objects and object size of each slab cache."""
    found = {}
    for line in Path("/proc/slabinfo").read_text().splitlines()[2:]:
        words = line.split()
        found[words[0]] = {"active": int(words[1]), "objects": int(words[2]), "size": int(words[3])}
    return found


@exposed
def interrupts() -> list[dict[str, Any]]:
    """Return /proc/interrupts: irq, count (summed over the CPUs), counts (one per CPU), name."""
    lines = Path("/proc/interrupts").read_text().splitlines()
    cpus = len(lines[0].split())
    found = []
    for line in lines[1:]:
        irq, _, rest = line.partition(":")
        words = rest.split()
        counts = [int(word) for word in words[:cpus] if word.isdigit()]
        found.append(
            {"irq": irq.strip(), "count": sum(counts), "counts": counts, "name": " ".join(words[len(counts) :])}
        )
    return found


@exposed
def kernel_has(name: str) -> bool:
    """Return whether a function, type or enumerator of the kernel has this name, by its BTF; True where it has none."""
    return has_name(name)


@exposed
def modules() -> dict[str, int]:
    """Return the loaded modules with their reference counts."""
    return {line.split()[0]: int(line.split()[2]) for line in Path("/proc/modules").read_text().splitlines()}


@exposed
def log(after: int = -1) -> list[dict[str, Any]]:
    """Return the kernel log's records with a sequence above `after`: sequence, level, seconds, text."""
    found = []
    fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    try:
        with suppress(BlockingIOError):
            while True:
                try:
                    record = os.read(fd, 8192).decode(errors="replace")
                except BrokenPipeError:  # records were overwritten before they were read
                    continue
                match = KMSG_RECORD.match(record)
                if match and int(match["sequence"]) > after:
                    found.append(
                        {
                            "sequence": int(match["sequence"]),
                            "level": int(match["prefix"]) & 7,
                            "seconds": int(match["micros"]) / 1e6,
                            "text": match["text"].partition("\n")[0],
                        }
                    )
    finally:
        os.close(fd)
    return found


@exposed
def log_write(text: str) -> None:
    """Write a line to the kernel log, and so to the console."""
    # The kernel prints a record without a newline only when the next record begins.
    Path("/dev/kmsg").write_text(f"{text}\n")


@exposed
def entropy() -> str:
    """Return 16 random bytes in hexadecimal digits."""
    return os.urandom(16).hex()
