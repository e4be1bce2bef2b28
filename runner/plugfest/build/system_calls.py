# SPDX-License-Identifier: GPL-2.0-or-later
"""The system calls that a confined program does not have: a filter for seccomp(2), as bubblewrap takes it.

A deny list, as container runtimes began with one. It holds what a build never calls and what would get around the confinement: a user
namespace gives its creator all capabilities in it, and with them much more of the kernel to attack; memory of memfd_create(2), of a
tmpfs or of System V belongs to no process whose size could be watched; fallocate(2) takes a disk's space faster than anyone looks.
"""

from __future__ import annotations

import errno
import os
import struct
import tempfile

# linux/audit.h: EM_X86_64 (62), 64 bits, little-endian
_AUDIT_ARCH_X86_64 = 0xC000003E
# linux/seccomp.h: offsets in struct seccomp_data, and what a filter returns
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
# linux/bpf_common.h
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_X32 = 0x40000000
"""Bit of the numbers of the x32 ABI, which would have a second number for each call."""

# linux/sched.h: all that clone(2) and unshare(2) can make: NEWTIME has a bit of the exit signal's, and clone3 alone makes it
_NAMESPACES = 0x7E020000

# arch/x86/entry/syscalls/syscall_64.tbl
_CLONE, _CLONE3, _UNSHARE = 56, 435, 272
_DENIED = {
    "shmget": 29,
    "ptrace": 101,
    "mount": 165,
    "umount2": 166,
    "add_key": 248,
    "request_key": 249,
    "keyctl": 250,
    "mq_open": 240,
    "perf_event_open": 298,
    "setns": 308,
    "memfd_create": 319,
    "bpf": 321,
    "userfaultfd": 323,
    "io_uring_setup": 425,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fspick": 432,
    "memfd_secret": 447,
}
_FALLOCATE = 285


def program() -> bytes:
    """Return the filter as an array of ``struct sock_filter``, for an x86-64 kernel.

    Returns:
        8 bytes an instruction.
    """
    calls: list[tuple[int, int]] = [(number, errno.EPERM) for number in _DENIED.values()]
    # Whoever finds them missing has another way: glibc's clone, and writing zeros.
    calls += [(_CLONE3, errno.ENOSYS), (_FALLOCATE, errno.EOPNOTSUPP)]
    made = [
        _instruction(_LOAD, _ARCHITECTURE),
        _instruction(_EQUAL, _AUDIT_ARCH_X86_64, 1, 0),
        _instruction(_RETURN, _KILL),
        _instruction(_LOAD, _NUMBER),
        _instruction(_AT_LEAST, _X32, 0, 1),
        _instruction(_RETURN, _ERRNO | errno.ENOSYS),
    ]
    for number, error in calls:
        made += [_instruction(_EQUAL, number, 0, 1), _instruction(_RETURN, _ERRNO | error)]
    made += [
        _instruction(_EQUAL, _CLONE, 1, 0),
        _instruction(_EQUAL, _UNSHARE, 0, 3),
        _instruction(_LOAD, _FIRST_ARGUMENT),
        _instruction(_ANY_BIT, _NAMESPACES, 0, 1),
        _instruction(_RETURN, _ERRNO | errno.EPERM),
        _instruction(_RETURN, _ALLOW),
    ]
    return b"".join(made)


def open_program() -> int:
    """Return a descriptor of a file with the filter, which the caller closes."""
    with tempfile.TemporaryFile() as file:
        file.write(program())
        file.seek(0)
        return os.dup(file.fileno())


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, value)
