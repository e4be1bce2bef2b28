# SPDX-License-Identifier: GPL-2.0-or-later
"""PTP hardware clocks, and which frames an interface timestamps. Methods ``phc.*``.

Source: Documentation/driver-api/ptp.rst; include/uapi/linux/ptp_clock.h, timex.h, net_tstamp.h; clock_adjtime(2).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager

from agent.methods import exposed
from agent.system.interface import interface_ioctl
from agent.system.libc import checked, libc

PTP_CLOCK_GETCAPS = 0x80503D01
CAPABILITIES = ("max-adjustment", "alarms", "external-stamps", "periodic-outputs", "pps", "pins")
ADJ_FREQUENCY, ADJ_SETOFFSET, ADJ_NANO = 0x2, 0x100, 0x2000
TIMEX = 208
"""Size of struct timex on a 64-bit machine, in bytes."""
FREQUENCY, SECONDS = 16, 72
"""Offsets of freq and time in struct timex; modes is at 0."""
SIOCSHWTSTAMP, SIOCGHWTSTAMP = 0x89B0, 0x89B1
SECOND = 1_000_000_000


@contextmanager
def clock(index: int) -> Iterator[int]:
    """Open ``/dev/ptpINDEX`` and yield its clock id for clock_gettime(2) (FD_TO_CLOCKID)."""
    fd = os.open(f"/dev/ptp{index}", os.O_RDWR | os.O_CLOEXEC)
    try:
        yield ~fd << 3 | 3
    finally:
        os.close(fd)


@exposed
def capabilities(index: int) -> dict[str, int]:
    """Return the clock's capabilities: max-adjustment (parts per billion), and the number of each kind of signal."""
    fd = os.open(f"/dev/ptp{index}", os.O_RDWR | os.O_CLOEXEC)
    try:
        raw = fcntl.ioctl(fd, PTP_CLOCK_GETCAPS, bytes(80))
    finally:
        os.close(fd)
    return dict(zip(CAPABILITIES, struct.unpack_from("=6i", raw), strict=True))


def reading(clock_id: int) -> list[int]:
    """Return CLOCK_MONOTONIC before, the clock, and CLOCK_MONOTONIC after, in ns."""
    before = time.monotonic_ns()
    found = time.clock_gettime_ns(clock_id)
    return [before, found, time.monotonic_ns()]


@exposed
def read(index: int) -> list[int]:
    """Return CLOCK_MONOTONIC before, the hardware clock, and CLOCK_MONOTONIC after, in ns."""
    with clock(index) as clock_id:
        return reading(clock_id)


@exposed
def series(index: int, seconds: float) -> list[list[int]]:
    """Return as many results of `read` as fit into `seconds`, at least one."""
    found: list[list[int]] = []
    with clock(index) as clock_id:
        end = time.monotonic_ns() + int(seconds * SECOND)
        while not found or found[-1][2] < end:
            found.append(reading(clock_id))
    return found


@exposed
def set(index: int, nanoseconds: int) -> None:  # noqa: A001 - the verb
    """Set the clock, in ns since 1970."""
    with clock(index) as clock_id:
        time.clock_settime_ns(clock_id, nanoseconds)


def adjust(index: int, modes: int, *, frequency: int = 0, offset: int = 0) -> None:
    """Call clock_adjtime(2).

    Args:
        index: of the clock.
        modes: ADJ_*.
        frequency: parts per million, with 16 fractional bits.
        offset: nanoseconds.

    Raises:
        OSError: the driver refused.
    """
    buffer = bytearray(TIMEX)
    struct.pack_into("=I", buffer, 0, modes)
    struct.pack_into("=q", buffer, FREQUENCY, frequency)
    struct.pack_into("=qq", buffer, SECONDS, *divmod(offset, SECOND))
    raw = (ctypes.c_char * TIMEX).from_buffer(buffer)
    with clock(index) as clock_id:
        checked(libc.clock_adjtime(ctypes.c_int(clock_id), raw), f"/dev/ptp{index}")


@exposed
def step(index: int, nanoseconds: int) -> None:
    """Step the clock by an offset; a negative one steps it back."""
    adjust(index, ADJ_SETOFFSET | ADJ_NANO, offset=nanoseconds)


@exposed
def adjust_frequency(index: int, parts_per_billion: int) -> None:
    """Set the clock's frequency offset; a positive one makes it faster."""
    adjust(index, ADJ_FREQUENCY, frequency=parts_per_billion * (1 << 16) // 1000)


def configuration(ifname: str, request: int, sent: int = 0, received: int = 0) -> list[int]:
    """Pass a struct hwtstamp_config to an ioctl; return its tx_type and rx_filter afterwards."""
    config = ctypes.create_string_buffer(struct.pack("=3i", 0, sent, received))
    interface_ioctl(ifname, request, ctypes.addressof(config))
    return list(struct.unpack_from("=3i", config.raw))[1:]


@exposed
def get_hwtstamp(ifname: str) -> list[int]:
    """Return which frames the interface timestamps: HWTSTAMP_TX_* of those sent, HWTSTAMP_FILTER_* of those received."""
    return configuration(ifname, SIOCGHWTSTAMP)


@exposed
def set_hwtstamp(ifname: str, sent: int, received: int) -> list[int]:
    """Choose which frames the interface timestamps; returns the driver's choice, which may include more frames."""
    return configuration(ifname, SIOCSHWTSTAMP, sent, received)
