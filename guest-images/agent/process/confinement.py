# SPDX-License-Identifier: GPL-2.0-or-later
"""What takes a worker away from where the agent is: namespaces and privileges. Methods ``confinement.*``.

They change the process that carries them out, for good: they are for workers (`worker.call`), and refuse elsewhere.
Source: network_namespaces(7), user_namespaces(7), capabilities(7).
"""

from __future__ import annotations

import ctypes
import os
import threading

from agent import methods
from agent.methods import exposed

NOBODY = 65534
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


def moved(result: int) -> None:
    """Raise what a call of libc failed with.

    Raises:
        OSError: it did.
    """
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def check_alone() -> None:
    """Refuse to change a process with more than one thread, as the agent itself is.

    Raises:
        RuntimeError: it has.
    """
    if threading.active_count() > 1:
        raise RuntimeError("confinement is for workers: ask one by worker.call")


@exposed
def unshare_network() -> None:
    """Move to a new network namespace, which ends with this process."""
    check_alone()
    moved(_libc.unshare(CLONE_NEWNET))


@exposed
def unshare_user() -> None:
    """Become root, with every capability, of a new user namespace: none of them counts in the network namespace."""
    check_alone()
    methods.load_all()
    moved(_libc.unshare(CLONE_NEWUSER))


@exposed
def drop_privileges() -> None:
    """Become nobody, without any capability."""
    check_alone()
    methods.load_all()  # nobody may not be able to read them later
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
