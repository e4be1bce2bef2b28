# SPDX-License-Identifier: MIT
"""What a MAC is set to do with PAUSE frames (IEEE 802.3, annex 31B): the account that a driver's settings are held against."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nicmodels.faults.groups import PAUSE_STUCK

if TYPE_CHECKING:
    from collections.abc import Callable

    from nicmodels.faults.points import FaultPoints
    from nicmodels.registers import Register, RegisterFile


class Setting(NamedTuple):
    """Where a register says that something is on: `register & mask == value`."""

    register: Register
    mask: int
    value: int


class FlowControl:
    """The two settings.

    Args:
        file: has their registers.
        faults: with `PAUSE_STUCK`.
        transmit: PAUSE frames are sent.
        receive: PAUSE frames are obeyed.
    """

    def __init__(self, file: RegisterFile, faults: FaultPoints, *, transmit: Setting, receive: Setting) -> None:
        self._file = file
        self._stuck = faults[PAUSE_STUCK.name]
        self._settings = {"transmit": transmit, "receive": receive}
        for setting in self._settings.values():
            file.on_write(setting.register, self._writer(setting.register))

    def describe(self) -> dict[str, bool]:
        """The control method ``model.flow_control``."""
        return {name: self._file[each.register] & each.mask == each.value for name, each in self._settings.items()}

    def _writer(self, register: Register) -> Callable[[int, int], None]:
        def write(index: int, value: int) -> None:
            if not (self._stuck.armed and self._stuck.fires()):
                self._file[register, index] = value & register.writable

        return write
