# SPDX-License-Identifier: MIT
"""The mailbox to the firmware, which sets the rate of the SerDes.

Source: Linux, drivers/net/ethernet/amd/xgbe/xgbe-phy-v2.c (xgbe_phy_perform_ratechange), xgbe.h (xgbe_mb_cmd).
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from nicmodels.models.xgbe.registers import properties as xp

if TYPE_CHECKING:
    from collections.abc import Callable

    from nicmodels.nic.device import Host
    from nicmodels.registers import RegisterFile

DURATION = 0.002
"""Seconds that a command takes; the SerDes changes its rate at the end."""


class MailboxCommand(enum.IntEnum):
    """The firmware's commands."""

    POWER_OFF = 0
    SET_1G = 1
    SET_2_5G = 2
    SET_10G_SFI = 3
    SET_10G_KR = 4
    RECEIVER_RESET = 5


KX = 3
"""Sub-command of SET_1G: 1000BASE-KX."""


class Mode(enum.Enum):
    """The mode of the SerDes."""

    OFF = "off"
    KX = "1000BASE-KX"
    KR = "10GBASE-KR"
    OTHER = "other"
    """A mode other than those of a backplane."""


class Mailbox:
    """The mailbox, which takes one command at a time.

    Args:
        changed: called with a new mode.
        receiver_reset: called for a receiver reset cycle.

    Attributes:
        mode: of the SerDes.
    """

    def __init__(
        self,
        file: RegisterFile,
        host: Host,
        *,
        changed: Callable[[Mode], object],
        receiver_reset: Callable[[], object],
    ) -> None:
        self.mode = Mode.OFF
        self._file = file
        self._host = host
        self._changed = changed
        self._receiver_reset = receiver_reset
        self._stuck = host.faults["an.mailbox.stuck"]
        self._epoch = 0
        file.on_write(xp.DRIVER_INT_REQ, self._write_request)

    def reset(self) -> None:
        """Drop a running command, and turn the SerDes off."""
        self._epoch += 1
        self.mode = Mode.OFF

    def _write_request(self, _index: int, value: int) -> None:
        """A request is self-clearing; the status is set until it is done. A request during another is lost."""
        self._file[xp.DRIVER_INT_REQ] = 0
        if not value & 1 or self._file[xp.DRIVER_INT_RO]:
            return
        self._file[xp.DRIVER_INT_RO] = 1
        if self._stuck.armed and self._stuck.fires():
            return
        command = self._file[xp.DRIVER_SCRATCH_0]
        epoch = self._epoch

        def finish() -> None:
            if epoch == self._epoch:
                self._file[xp.DRIVER_INT_RO] = 0
                self._finish(command & 0xFF, command >> 8 & 0xFF)

        self._host.clock.call_later(DURATION, finish)

    def _finish(self, command: int, argument: int) -> None:
        if command == MailboxCommand.RECEIVER_RESET:
            self._receiver_reset()
            return
        modes = {MailboxCommand.POWER_OFF: Mode.OFF, MailboxCommand.SET_10G_KR: Mode.KR}
        self.mode = modes.get(MailboxCommand(command), Mode.OTHER) if command in list(MailboxCommand) else Mode.OTHER
        if command == MailboxCommand.SET_1G and argument == KX:
            self.mode = Mode.KX
        self._host.events.add("serdes", mode=self.mode.value)
        self._changed(self.mode)
