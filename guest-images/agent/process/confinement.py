# SPDX-License-Identifier: GPL-2.0-or-later
"""Moves a worker into namespaces of its own, or drops its privileges. Methods ``confinement.*``.

They change the calling process for good: they are for workers (`worker.call`), and fail elsewhere.
Source: network_namespaces(7), user_namespaces(7), capabilities(7).
"""

from __future__ import annotations

import os
import threading

from agent import methods
from agent.methods import exposed
from agent.system.libc import checked, libc

NOBODY = 65534
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000


def require_one_thread() -> None:
    """Refuse to change a process with more than one thread, as the agent itself is.

    Raises:
        RuntimeError: it has more than one.
    """
    if threading.active_count() > 1:
        raise RuntimeError("confinement is for workers: use worker.call")


@exposed
def unshare_network() -> None:
    """Move to a new network namespace, which ends with this process."""
    require_one_thread()
    checked(libc.unshare(CLONE_NEWNET))


@exposed
def unshare_user() -> None:
    """Become root, with every capability, in a new user namespace, which has none in the network namespace."""
    require_one_thread()
    methods.load_all()
    checked(libc.unshare(CLONE_NEWUSER))


@exposed
def drop_privileges() -> None:
    """Become nobody, without any capability."""
    require_one_thread()
    methods.load_all()  # nobody may be unable to read the modules later
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
