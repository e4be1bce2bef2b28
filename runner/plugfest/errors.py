# SPDX-License-Identifier: GPL-2.0-or-later
"""What can go wrong in plugfest itself, as opposed to in the driver under test.

Every message is one line that says what was expected, what was found and what to do.
"""

from __future__ import annotations

from typing import ClassVar

INTERRUPTED = 130
"""The exit status of what the user interrupts: 128 and the number of SIGINT, as a shell has it."""


class PlugfestError(Exception):
    """Base of all errors that end a command with one line on the console.

    Attributes:
        exit_status: what the command exits with; the worst one wins.
    """

    exit_status: ClassVar[int] = 3


class UsageError(PlugfestError):
    """The command line is wrong: an unknown driver, a path that is no kernel tree."""

    exit_status: ClassVar[int] = 2


class InfrastructureError(PlugfestError):
    """The machine or the network does not give what a run needs: space, /dev/net/tun, a mirror, a guest that boots."""

    exit_status: ClassVar[int] = 3
