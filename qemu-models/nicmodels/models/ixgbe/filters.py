# SPDX-License-Identifier: MIT
"""The layer 2 filters: addresses, multicast table, VLAN table, promiscuous modes.

Source: 82599 datasheet, section 7.1.1 (packet filtering), 8.2.3.7 (FCTRL, MCSTCTRL, MTA, RAL, RAH, VFTA, VLNCTRL).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicmodels.ethernet import BROADCAST
from nicmodels.models.ixgbe.registers import REGISTERS
from nicmodels.models.ixgbe.registers import filters as r

if TYPE_CHECKING:
    from nicmodels.faults.points import FaultPoints
    from nicmodels.registers import Register, RegisterFile

_FCTRL = REGISTERS.offset(r.FCTRL) >> 2
_VLNCTRL = REGISTERS.offset(r.VLNCTRL) >> 2
MPE, UPE, BAM = 1 << 8, 1 << 9, 1 << 10
MFE = 1 << 2
VFE = 1 << 30
CFI, CFIEN = 1 << 28, 1 << 29
ADDRESS_VALID = 1 << 31
_MO_SHIFT = (4, 3, 2, 0)


class ReceiveFilters:
    """The layer 2 filters.

    The address table is cached in a dictionary, which is rebuilt after a write to RAL or RAH.
    """

    def __init__(self, file: RegisterFile, faults: FaultPoints) -> None:
        self._file = file
        self._addresses: dict[bytes, int] | None = None
        self._no_promiscuous = faults["rx.promiscuous.ignored"]
        self._no_multicast = faults["rx.multicast.ignored"]
        self._all_multicast = faults["rx.multicast.open"]
        self._no_broadcast = faults["rx.broadcast.ignored"]
        self._all_unicast = faults["rx.unicast.open"]
        self._no_others = faults["rx.unicast.ignored"]
        self._permanent = b""
        self._all_vlans = faults["rx.vlan.filter-open"]
        self._no_vlans = faults["rx.vlan.filter-closed"]
        self._stuck = faults["device.register.stuck"]
        file.on_write(r.RAL, lambda index, value: self._write_address(r.RAL, index, value))
        file.on_write(r.RAH, lambda index, value: self._write_address(r.RAH, index, value & r.RAH.writable))

    def reset(self, mac: bytes) -> None:
        """The EEPROM loads entry 0 of the address table."""
        self._permanent = mac
        self._file[r.RAL, 0] = int.from_bytes(mac[:4], "little")
        self._file[r.RAH, 0] = int.from_bytes(mac[4:], "little") | ADDRESS_VALID
        self._file[r.MPSAR, 0] = self._file[r.MPSAR, 1] = 0xFFFF_FFFF
        self._addresses = None

    def matching(self, destination: bytes) -> int | None:
        """The index of the receive address that equals `destination`."""
        if self._addresses is None:
            self._addresses = {}
            for index in range(r.RAH.total - 1, -1, -1):
                high = self._file[r.RAH, index]
                if high & ADDRESS_VALID:
                    low = self._file[r.RAL, index]
                    self._addresses[low.to_bytes(4, "little") + (high & 0xFFFF).to_bytes(2, "little")] = index
        return self._addresses.get(destination)

    def passes(self, destination: bytes) -> bool:
        """Whether the address filters pass a frame."""
        control = self._file.values[_FCTRL]
        if destination[0] & 1:
            if destination == BROADCAST:
                return bool(control & BAM) and not (self._no_broadcast.armed and self._no_broadcast.fires())
            return self._passes_multicast(destination, control)
        if control & UPE and not (self._no_promiscuous.armed and self._no_promiscuous.fires()):
            return True
        if self.matching(destination) is not None:
            return destination == self._permanent or not (self._no_others.armed and self._no_others.fires())
        return self._all_unicast.armed and self._all_unicast.fires()

    def _passes_multicast(self, destination: bytes, control: int) -> bool:
        if self._all_multicast.armed and self._all_multicast.fires():
            return True
        if control & MPE and not (self._no_promiscuous.armed and self._no_promiscuous.fires()):
            return True
        if self._no_multicast.armed and self._no_multicast.fires():
            return False
        if self.matching(destination) is not None:
            return True
        multicast = self._file[r.MCSTCTRL]
        if not multicast & MFE:
            return False
        # 12 of the last 16 bits of the address in transmission order, selected by MCSTCTRL.MO (datasheet 7.1.1.1.4).
        vector = (destination[4] | destination[5] << 8) >> _MO_SHIFT[multicast & 3] & 0xFFF
        return bool(self._file[r.MTA, vector >> 5] >> (vector & 31) & 1)

    def passes_vlan(self, tci: int | None) -> bool:
        """Whether the VLAN filter passes a frame; `tci` is its tag, None if it has none."""
        control = self._file.values[_VLNCTRL]
        if not control & VFE or tci is None:
            return True
        if self._all_vlans.armed and self._all_vlans.fires():
            return True
        if self._no_vlans.armed and self._no_vlans.fires():
            return False
        if control & CFIEN and (tci >> 12 & 1) != (control >> 28 & 1):
            return False
        vlan = tci & 0xFFF
        return bool(self._file[r.VFTA, vlan >> 5] >> (vlan & 31) & 1)

    def _write_address(self, register: Register, index: int, value: int) -> None:
        if register is r.RAL and self._stuck.armed and self._stuck.fires():
            return
        self._file[register, index] = value
        self._addresses = None
