# SPDX-License-Identifier: GPL-2.0-or-later
"""Becomes a program that ends with the process that started it, even by SIGKILL: ``python guarded.py PARENT PROGRAM…``."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: int, program: list[str]) -> None:
    """Set the signal that the kernel sends when the parent's thread ends, and become the program.

    Args:
        parent: the process that started this one. If it has ended already, there is nothing to run.
        program: with its arguments.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # A shell's background job, as a worker may be, ignores SIGINT and hands that down: nobody could interrupt the run.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if os.getppid() == parent:
        os.execv(program[0], program)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
