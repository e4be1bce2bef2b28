# SPDX-License-Identifier: GPL-2.0-or-later
"""PTP hardware clocks of the guest, and what an interface is told to stamp by them. Methods ``phc.*``.

Source: Documentation/driver-api/ptp.rst; include/uapi/linux/ptp_clock.h, timex.h, net_tstamp.h; clock_adjtime(2).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager

from agent.methods import exposed

PTP_CLOCK_GETCAPS = 0x80503D01
CAPABILITIES = ("max-adjustment", "alarms", "external-stamps", "periodic-outputs", "pps", "pins")
ADJ_FREQUENCY, ADJ_SETOFFSET, ADJ_NANO = 0x2, 0x100, 0x2000
TIMEX = 208
"""Octets of struct timex on a 64-bit machine: modes, then freq and time at these."""
FREQUENCY, SECONDS = 16, 72
SIOCSHWTSTAMP, SIOCGHWTSTAMP = 0x89B0, 0x89B1
SECOND = 1_000_000_000

_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def clock(index: int) -> Iterator[int]:
    """Open a hardware clock and give its number as clock_gettime(2) takes it."""
    fd = os.open(f"/dev/ptp{index}", os.O_RDWR | os.O_CLOEXEC)
    try:
        yield ~fd << 3 | 3
    finally:
        os.close(fd)


@exposed
def capabilities(index: int) -> dict[str, int]:
    """Return what the clock can: max-adjustment (parts per billion), and how many of each kind of signal."""
    fd = os.open(f"/dev/ptp{index}", os.O_RDWR | os.O_CLOEXEC)
    try:
        raw = fcntl.ioctl(fd, PTP_CLOCK_GETCAPS, bytes(80))
    finally:
        os.close(fd)
    return dict(zip(CAPABILITIES, struct.unpack_from("=6i", raw), strict=True))


def reading(number: int) -> list[int]:
    """Return CLOCK_MONOTONIC before, the clock of this number, and CLOCK_MONOTONIC after: nanoseconds."""
    before = time.monotonic_ns()
    found = time.clock_gettime_ns(number)
    return [before, found, time.monotonic_ns()]


@exposed
def read(index: int) -> list[int]:
    """Return CLOCK_MONOTONIC before, the hardware clock, and CLOCK_MONOTONIC after: nanoseconds."""
    with clock(index) as number:
        return reading(number)


@exposed
def series(index: int, seconds: float) -> list[list[int]]:
    """Read as `read` does, again and again, for so many seconds."""
    found: list[list[int]] = []
    with clock(index) as number:
        end = time.monotonic_ns() + int(seconds * SECOND)
        while not found or found[-1][2] < end:
            found.append(reading(number))
    return found


@exposed
def set(index: int, nanoseconds: int) -> None:  # noqa: A001 - the verb
    """Set the clock to a time since 1970."""
    with clock(index) as number:
        time.clock_settime_ns(number, nanoseconds)


def adjust(index: int, modes: int, *, frequency: int = 0, offset: int = 0) -> None:
    """Call clock_adjtime(2).

    Args:
        index: of the clock.
        modes: ADJ_*.
        frequency: parts per million, with 16 binary places.
        offset: nanoseconds.
    """
    buffer = bytearray(TIMEX)
    struct.pack_into("=I", buffer, 0, modes)
    struct.pack_into("=q", buffer, FREQUENCY, frequency)
    struct.pack_into("=qq", buffer, SECONDS, *divmod(offset, SECOND))
    raw = (ctypes.c_char * TIMEX).from_buffer(buffer)
    with clock(index) as number:
        if _libc.clock_adjtime(ctypes.c_int(number), raw) < 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error), f"/dev/ptp{index}")


@exposed
def step(index: int, nanoseconds: int) -> None:
    """Put the clock forward by so much, or back."""
    adjust(index, ADJ_SETOFFSET | ADJ_NANO, offset=nanoseconds)


@exposed
def pace(index: int, parts_per_billion: int) -> None:
    """Let the clock run so much faster than by itself, or slower."""
    adjust(index, ADJ_FREQUENCY, frequency=parts_per_billion * (1 << 16) // 1000)


def configuration(ifname: str, request: int, sent: int = 0, received: int = 0) -> list[int]:
    """Send struct hwtstamp_config through an ioctl; returns what came back of it."""
    config = ctypes.create_string_buffer(struct.pack("=3i", 0, sent, received))
    argument = struct.pack("16sQ16x", ifname.encode(), ctypes.addressof(config))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, request, argument)
    return list(struct.unpack_from("=3i", config.raw))[1:]


@exposed
def stamped(ifname: str) -> list[int]:
    """Return which frames the interface stamps: of those sent (HWTSTAMP_TX_*), of those received (HWTSTAMP_FILTER_*)."""
    return configuration(ifname, SIOCGHWTSTAMP)


@exposed
def stamp(ifname: str, sent: int, received: int) -> list[int]:
    """Choose which frames the interface stamps; returns what the driver made of it, which may be more."""
    return configuration(ifname, SIOCSHWTSTAMP, sent, received)
