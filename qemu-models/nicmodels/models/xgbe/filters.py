# SPDX-License-Identifier: MIT
"""The layer 2 filters: addresses, hash table, VLAN tag and hash, promiscuous modes.

Source: Agilex 5 HPS TRM (Intel 814346), 5.1.6 (packet filtering) and MAC_Packet_Filter; the hash is the upper bits of the
CRC-32, bit-reversed (Stratix 10 HPS register map, gmacgrp_hash_table_reg0; Linux, xgbe-dev.c, xgbe_set_mac_hash_table).
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from nicmodels.ethernet import BROADCAST, ETH_P_8021AD, ETH_P_8021Q
from nicmodels.models.xgbe.registers import REGISTERS
from nicmodels.models.xgbe.registers import mac as r

if TYPE_CHECKING:
    from nicmodels.faults.points import FaultPoints
    from nicmodels.registers import Register, RegisterFile

_PFR = REGISTERS.offset(r.PFR) >> 2
_VLANTR = REGISTERS.offset(r.VLANTR) >> 2
PR, HUC, HMC, DAIF, PM, DBF, HPF, VTFE, RA = (
    *(1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 4),
    *(1 << 5, 1 << 10, 1 << 16, 1 << 31),
)
ETV, VTIM, ESVL, VTHM = 1 << 16, 1 << 17, 1 << 18, 1 << 25
ADDRESS_ENABLE, SOURCE = 1 << 31, 1 << 30
TABLE_SHIFT = 24
"""The upper 8 bits of the hash index the 256 bits of the hash table."""


def address_hash(address: bytes) -> int:
    """The bit-reversed CRC-32 of an address; its upper bits index the hash table."""
    return _reversed(zlib.crc32(address))


def vlan_hash(vlan: int, bits: int) -> int:
    """The index into the VLAN hash table: four bits of the CRC-32 over 12 or 16 bits, least significant first."""
    crc = 0xFFFF_FFFF
    for position in range(bits):
        crc = crc >> 1 ^ (0xEDB8_8320 if (crc ^ vlan >> position) & 1 else 0)
    return _reversed(crc ^ 0xFFFF_FFFF) >> 28


def _reversed(value: int) -> int:
    return int(f"{value:032b}"[::-1], 2)


class Filters:
    """The layer 2 filters. The address table is cached in a dictionary, which is rebuilt after a write to it.

    Args:
        file: holds their registers.
        faults: those of reception among them.
        mac: the permanent address.
    """

    def __init__(self, file: RegisterFile, faults: FaultPoints, mac: bytes) -> None:
        self._file = file
        self._permanent = mac
        self._values = file.values
        self._exact: dict[bytes, int] | None = None
        self._masked: list[tuple[int, int, int]] = []
        self._hashes: dict[bytes, int] = {}
        self._vlan_hashes: dict[tuple[int, int], int] = {}
        self._no_promiscuous = faults["rx.promiscuous.ignored"]
        self._no_multicast = faults["rx.multicast.ignored"]
        self._all_multicast = faults["rx.multicast.open"]
        self._no_broadcast = faults["rx.broadcast.ignored"]
        self._all_unicast = faults["rx.unicast.open"]
        self._no_others = faults["rx.unicast.ignored"]
        self._all_vlans = faults["rx.vlan.filter-open"]
        self._no_vlans = faults["rx.vlan.filter-closed"]
        self._stuck = faults["device.register.stuck"]
        file.on_write(r.MACAHR, lambda index, value: self._write_address(r.MACAHR, index, value))
        file.on_write(r.MACALR, lambda index, value: self._write_address(r.MACALR, index, value))
        file.on_write(r.HTR, self._write_table)

    def reset(self) -> None:
        """The register file has been reset."""
        self._exact = None

    def matching(self, address: bytes) -> int | None:
        """The index of the address register that matches a destination, or None."""
        if self._exact is None:
            self._read_addresses()
        assert self._exact is not None
        found = self._exact.get(address)
        if found is None and self._masked:
            value = int.from_bytes(address, "little")
            found = next((index for wanted, mask, index in self._masked if value & mask == wanted), None)
        return found

    def _read_addresses(self) -> None:
        self._exact = {}
        self._masked = []
        for index in range(r.MACAHR.total - 1, -1, -1):
            high = self._file[r.MACAHR, index]
            if (index and not high & ADDRESS_ENABLE) or high & SOURCE:
                continue
            address = self._file[r.MACALR, index] | (high & 0xFFFF) << 32
            ignored = high >> 24 & 0x3F if index else 0
            if ignored:
                mask = sum(0xFF << 8 * byte for byte in range(6) if not ignored >> byte & 1)
                self._masked.append((address & mask, mask, index))
            else:
                self._exact[address.to_bytes(6, "little")] = index

    def _hashed(self, address: bytes) -> bool:
        value = self._hashes.get(address)
        if value is None:
            if len(self._hashes) > 4096:
                self._hashes.clear()
            value = self._hashes[address] = address_hash(address) >> TABLE_SHIFT
        return bool(self._file[r.HTR, value >> 5] >> (value & 31) & 1)

    def passes(self, destination: bytes) -> bool:
        """Whether the address filters pass a frame."""
        control = self._values[_PFR]
        if control & (PR | RA) and not (self._no_promiscuous.armed and self._no_promiscuous.fires()):
            return True
        if destination == BROADCAST:
            return not control & DBF and not (self._no_broadcast.armed and self._no_broadcast.fires())
        if destination[0] & 1:
            return self._passes_multicast(destination, control)
        if self._all_unicast.armed and self._all_unicast.fires():
            return True
        if self._listed(destination, control, HUC) == bool(control & DAIF):
            return False
        return destination == self._permanent or not (self._no_others.armed and self._no_others.fires())

    def _listed(self, destination: bytes, control: int, by_hash: int) -> bool:
        if control & by_hash:
            return self._hashed(destination) or bool(control & HPF and self.matching(destination) is not None)
        return self.matching(destination) is not None

    def _passes_multicast(self, destination: bytes, control: int) -> bool:
        if self._all_multicast.armed and self._all_multicast.fires():
            return True
        if self._no_multicast.armed and self._no_multicast.fires():
            return False
        if control & PM and not (self._no_promiscuous.armed and self._no_promiscuous.fires()):
            return True
        return self._listed(destination, control, HMC) != bool(control & DAIF)

    def tag_type(self) -> int:
        """The EtherType of VLAN tags for the filter and for stripping."""
        return ETH_P_8021AD if self._values[_VLANTR] & ESVL else ETH_P_8021Q

    def passes_vlan(self, tci: int | None) -> bool:
        """Whether a tag matches the VLAN filter; frames pass without a tag or a filter."""
        if tci is None or self._values[_PFR] & RA or not self._values[_PFR] & VTFE:
            return True
        if self._all_vlans.armed and self._all_vlans.fires():
            return True
        if self._no_vlans.armed and self._no_vlans.fires():
            return False
        return self.vlan_matches(tci)

    def vlan_matches(self, tci: int) -> bool:
        """Whether a tag matches MAC_VLANTR or the hash table; with VL 0 every tag does."""
        tag = self._values[_VLANTR]
        bits = 12 if tag & ETV else 16
        mask = (1 << bits) - 1
        wanted = tag & mask
        if not wanted:
            return True
        matches = tci & mask == wanted
        if tag & VTHM and not matches:
            key = tci & mask, bits
            value = self._vlan_hashes.get(key)
            if value is None:
                value = self._vlan_hashes[key] = vlan_hash(*key)
            matches = bool(self._file[r.VLANHTR] >> value & 1)
        return matches != bool(tag & VTIM)

    def _write_address(self, register: Register, index: int, value: int) -> None:
        if register is r.MACALR and self._stuck.armed and self._stuck.fires():
            return
        self._file[register, index] = value
        self._exact = None

    def _write_table(self, index: int, value: int) -> None:
        if self._stuck.armed and self._stuck.fires():
            return
        self._file[r.HTR, index] = value
