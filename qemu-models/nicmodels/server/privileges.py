# SPDX-License-Identifier: MIT
"""What a process that serves a model keeps once all is open: its descriptors, and no privileges.

A guest's driver, which may be a stranger's, chooses all that a model reads. Should one find a way through, then into a process that may
open, start and change nothing.

Sources: Linux, Documentation/userspace-api/no_new_privs.rst, <linux/capability.h>, <linux/prctl.h>; getrlimit(2), credentials(7).
"""

from __future__ import annotations

import ctypes
import os
import resource
from contextlib import suppress
from pathlib import Path

NOBODY = 65534
"""User and group that own nothing."""
MEMORY = 1 << 30
"""Bytes of private memory; what a client shares with the process does not count. A model needs some 60 MiB."""
FILES = 256
"""Open descriptors; a client's memory has one a region."""
FILE_SIZE = 1 << 30
"""Bytes of one file: a capture, or the log."""

_PR_SET_NO_NEW_PRIVS = 38
_PR_CAPBSET_DROP = 24
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_CAPABILITY_VERSION_3 = 0x20080522
_EINVAL_ENDS = 64
"""More capabilities than any kernel has."""
_LIBC = ctypes.CDLL(None, use_errno=True)


def limit() -> None:
    """Set the limits: memory, descriptors, file sizes, no core dump, no further process. A lower one that was inherited stays."""
    for which, most in (
        (resource.RLIMIT_DATA, MEMORY),
        (resource.RLIMIT_NOFILE, FILES),
        (resource.RLIMIT_FSIZE, FILE_SIZE),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
    ):
        soft, hard = resource.getrlimit(which)
        kept = [most if value == resource.RLIM_INFINITY else min(value, most) for value in (soft, hard)]
        resource.setrlimit(which, (kept[0], kept[1]))


def give_up(folder: Path) -> None:
    """Become nobody, where that user exists here, without capabilities and without a way to gain any.

    Import what is needed first: nobody may not be able to read Python's library.

    Args:
        folder: of the process's own, made if there is none; it becomes the working directory, in which the process may make files
            by a relative path.

    Raises:
        OSError: the kernel does not allow it.
    """
    _check(_LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
    _LIBC.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    for number in range(_EINVAL_ENDS):
        # Fails for the numbers that this kernel does not have, and for a process that may not: it has none to pass on.
        _LIBC.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)
    folder.mkdir(exist_ok=True)
    os.chdir(folder)
    if os.geteuid() == 0 and _maps_nobody():
        # A container's root may lack the capabilities for it, or a group of its own: without capabilities it can do little more.
        with suppress(PermissionError):
            os.chown(folder, NOBODY, NOBODY)
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    none = (ctypes.c_uint32 * 6)()
    _check(_LIBC.capset(header, none), "no capabilities")


def _maps_nobody() -> bool:
    """Whether the user namespace has that user: a run's own has the one that started it alone."""
    ranges = [[int(field) for field in line.split()] for line in Path("/proc/self/uid_map").read_text().splitlines()]
    return any(first <= NOBODY < first + count for first, _, count in ranges)


def _check(status: int, what: str) -> None:
    if status != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
