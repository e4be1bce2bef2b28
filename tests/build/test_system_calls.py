# SPDX-License-Identifier: GPL-2.0-or-later
"""The filter of system calls, run instruction by instruction as the kernel does it (Documentation/networking/filter.rst)."""

from __future__ import annotations

import errno
import struct

import pytest
from plugfest.build import system_calls

X86_64, I386 = 0xC000003E, 0x40000003
ALLOW, ERRNO, KILL = 0x7FFF0000, 0x00050000, 0x80000000
THREAD = 0x3D0F00  # what pthread_create(3) passes: VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, SETTLS, PARENT_SETTID, CHILD_CLEARTID
FORK = 0x01200011  # fork(3): CHILD_CLEARTID, CHILD_SETTID, SIGCHLD


def result(number: int, argument: int = 0, architecture: int = X86_64) -> int:
    data = struct.pack("<IIQQ", number, architecture, 0, argument)
    program = list(struct.iter_unpack("<HBBI", system_calls.program()))
    accumulator = at = 0
    while True:
        code, if_true, if_false, value = program[at]
        at += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, value)
        elif code == 0x06:
            return value
        else:
            holds = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}[code]
            at += if_true if holds else if_false


@pytest.mark.parametrize(
    ("number", "argument"),
    [(0, 0), (1, 0), (9, 0), (56, THREAD), (56, FORK), (57, 0), (58, 0), (59, 0), (157, 0), (257, 0), (272, 0x200)],
    ids=["read", "write", "mmap", "thread", "fork", "fork(2)", "vfork", "execve", "prctl", "openat", "unshare files"],
)
def test_what_a_build_calls(number: int, argument: int) -> None:
    assert result(number, argument) == ALLOW


@pytest.mark.parametrize("flag", [1 << bit for bit in (17, 25, 26, 27, 28, 29, 30)])
@pytest.mark.parametrize("number", [56, 272], ids=["clone", "unshare"])
def test_no_namespace_of_its_own(number: int, flag: int) -> None:
    assert result(number, flag | (FORK if number == 56 else 0)) == ERRNO | errno.EPERM


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (435, errno.ENOSYS),
        (285, errno.EOPNOTSUPP),
        *((number, errno.EPERM) for number in (29, 101, 165, 248, 250, 298, 308, 319, 321, 323, 425, 447)),
    ],
)
def test_what_would_get_around_the_limits(number: int, error: int) -> None:
    assert result(number) == ERRNO | error


def test_other_ways_to_call_the_kernel() -> None:
    assert result(319 | 0x40000000) == ERRNO | errno.ENOSYS, "the numbers of x32"
    assert result(356, architecture=I386) == KILL, "those of 32-bit programs"
