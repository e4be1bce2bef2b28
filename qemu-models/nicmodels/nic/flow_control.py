# SPDX-License-Identifier: MIT
"""A MAC's flow control (IEEE 802.3, annex 31B), which tests compare with the driver's settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nicmodels.faults.groups import PAUSE_STUCK

if TYPE_CHECKING:
    from collections.abc import Callable

    from nicmodels.faults.points import FaultPoints
    from nicmodels.registers import Register, RegisterFile


class Setting(NamedTuple):
    """The condition that a setting is on: `register & mask == value`."""

    register: Register
    mask: int
    value: int


class FlowControl:
    """The settings of both directions.

    Args:
        file: holds their registers.
        faults: must have `PAUSE_STUCK`.
        transmit: the MAC sends PAUSE frames.
        receive: the MAC obeys PAUSE frames.
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
