# SPDX-License-Identifier: GPL-2.0-or-later
"""Calls that the standard library does not wrap, by libc."""

from __future__ import annotations

import ctypes
import mmap
import os

libc = ctypes.CDLL(None, use_errno=True)


def checked(result: int, name: str | None = None) -> int:
    """Return the result of a libc call.

    Args:
        result: what the call returned.
        name: a file name for the error, if there is one.

    Raises:
        OSError: the call failed; errno is libc's.
    """
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), *([name] if name else []))
    return result


def address(memory: mmap.mmap) -> int:
    """Return the virtual address of a mapping."""
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))
