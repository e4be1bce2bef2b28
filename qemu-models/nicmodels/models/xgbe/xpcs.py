# SPDX-License-Identifier: MIT
"""The PCS's 16-bit registers, behind a window of BAR 1.

The definition register holds offset and size of the window in the BAR; the select register moves it over the space of
(MMD, number), with two bytes per register. Source: Linux, drivers/net/ethernet/amd/xgbe/xgbe-common.h (PCS_V2_WINDOW_*),
xgbe-dev.c (xgbe_get_pcs_index_and_offset).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicmodels.models.xgbe.registers import REGISTERS, mmd

if TYPE_CHECKING:
    from nicmodels.registers import RegisterFile

BAR_SIZE = 0x10000
DEFINITION, SELECT = 0x9060, 0x9064
WINDOW, SIZE_CODE = 0x0000, 5
SIZE = 1 << SIZE_CODE + 7
DEFINED = WINDOW >> 6 << 6 | SIZE_CODE << 2
UNKNOWN = 0x1000_0000
"""Accesses to unknown registers are counted at this offset plus MMD and number."""


class Xpcs:
    """The window."""

    def __init__(self, file: RegisterFile) -> None:
        self._file = file
        self._select = 0

    def reset(self) -> None:
        """Move the window to the start."""
        self._select = 0

    def read(self, offset: int, size: int) -> int:
        """A read of BAR 1: any size, halfword by halfword."""
        if offset == DEFINITION and size == 4:
            return DEFINED
        if offset == SELECT and size == 4:
            return self._select
        value = 0
        for position, at in enumerate(range(offset & ~1, offset + size, 2)):
            value |= self._halfword(at) << 16 * position
        return value >> 8 * (offset & 1) & (1 << 8 * size) - 1

    def write(self, offset: int, value: int, size: int) -> None:
        """A write of BAR 1; a single byte writes nothing."""
        if offset == SELECT and size == 4:
            self._select = value & 0xFFFF_FFFF & ~(SIZE - 1)
            return
        if offset & 1:
            return
        for position in range(size // 2):
            at = offset + 2 * position
            if WINDOW <= at < WINDOW + SIZE:
                self.write_register(*self._register(at), value >> 16 * position & 0xFFFF)

    def _halfword(self, offset: int) -> int:
        if WINDOW <= offset < WINDOW + SIZE:
            return self.read_register(*self._register(offset))
        return 0

    def _register(self, offset: int) -> tuple[int, int]:
        address = (self._select | offset - WINDOW) >> 1
        return address >> 16 & 0x1F, address & 0xFFFF

    def read_register(self, device: int, number: int) -> int:
        """Read a register by MMD and number."""
        place = self._place(device, number)
        return 0 if place is None else self._file.read(place) & 0xFFFF

    def write_register(self, device: int, number: int, value: int) -> None:
        """Write a register by MMD and number."""
        place = self._place(device, number)
        if place is not None:
            self._file.write(place, value)

    def _place(self, device: int, number: int) -> int | None:
        register = mmd.PLACES.get((device, number))
        if register is None:
            self._file.unknown[UNKNOWN | device << 16 | number] += 1
            return None
        return REGISTERS.offset(register, mmd.index_of(register, number))
