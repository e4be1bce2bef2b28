# SPDX-License-Identifier: MIT
"""EEPROM: the image, reads by register, and bit-banged SPI.

Source: 82599 datasheet, section 6 (image), 8.2.3.2 (EEC, EERD, EEWR); the SPI commands are those of the AT25 family.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicmodels.models.ixgbe.registers.general import EEC, EERD, EEWR

if TYPE_CHECKING:
    from nicmodels.faults.points import Fault
    from nicmodels.models.ixgbe.variants import Variant
    from nicmodels.registers import RegisterFile

WORDS = 256
CHECKSUM = 0x3F
SUM = 0xBABA
NO_POINTER = 0xFFFF
SK, CS, DI, DO, REQUEST, GRANT = 1, 2, 4, 8, 1 << 6, 1 << 7
READ_STATUS, READ, WRITE_ENABLE, WRITE, WRITE_DISABLE = 5, 3, 6, 2, 4
START, DONE = 1, 2


def image(variant: Variant, mac: bytes) -> list[int]:
    """The words of an EEPROM for this variant and MAC address, with a valid checksum."""
    words = [0] * WORDS
    words[0x00] = 0x0000  # control word 1
    words[0x01] = 0x2000  # control word 2
    words[0x02] = 0x0000
    for pointer in range(0x03, 0x10):  # no analog, PCIe, core, MAC and firmware sections: reset values apply
        words[pointer] = NO_POINTER
    words[0x15], words[0x16] = 0xE687, 0x7300  # board number, the old format
    words[0x17] = NO_POINTER  # no option ROM
    words[0x18] = 0x0029  # device starter version
    words[0x1A] = variant.device
    words[0x1B] = NO_POINTER
    words[0x20:0x23] = [mac[at] | mac[at + 1] << 8 for at in (0, 2, 4)]
    words[0x27] = words[0x28] = NO_POINTER  # no alternate and no SAN MAC address
    words[0x29], words[0x2A] = 0x0F70, 0x5000
    words[0x2B] = NO_POINTER  # no SFP+ modules
    words[0x2C] = 0x0002  # device capabilities: no FCoE, no wake-up
    words[0x2D], words[0x2E] = 0x0001, 0x8000  # eTrack id
    words[0x38] = 0
    words[CHECKSUM] = (SUM - sum(words[:CHECKSUM])) & 0xFFFF
    return words


class Eeprom:
    """The EEPROM behind EERD, EEWR and the SPI pins of EEC."""

    def __init__(self, file: RegisterFile, words: list[int], checksum_fault: Fault) -> None:
        self.words = words
        self._file = file
        self._fault = checksum_fault
        self._bits: list[int] = []
        self._out: list[int] = []
        self._write_enabled = False
        file.on_write(EERD, self._write_eerd)
        file.on_write(EEWR, self._write_eewr)
        file.on_write(EEC, self._write_eec)

    def word(self, address: int) -> int:
        """A word of the image; all ones beyond the end."""
        if address >= len(self.words):
            return 0xFFFF
        value = self.words[address]
        if address == 0x10 and self._fault.armed and self._fault.fires():
            value ^= 1
        return value

    def _write_eerd(self, _index: int, value: int) -> None:
        if value & START:
            address = value >> 2 & 0x3FFF
            value = self.word(address) << 16 | address << 2 | DONE
        self._file[EERD] = value

    def _write_eewr(self, _index: int, value: int) -> None:
        if value & START:
            address = value >> 2 & 0x3FFF
            if address < len(self.words):
                self.words[address] = value >> 16
            value = value & 0xFFFF_FFFC | DONE
        self._file[EEWR] = value

    def _write_eec(self, _index: int, value: int) -> None:
        before = self._file[EEC]
        now = before & ~0x77 & ~GRANT | value & 0x77
        if value & REQUEST:
            now |= GRANT
        if not now & CS:
            self._bits, self._out = [], []
            now &= ~DO
        elif now & SK and not before & SK:
            self._bits.append(1 if now & DI else 0)
            self._command()
        elif before & SK and not now & SK and self._out:
            # The chip shifts out on the falling edge; software samples while the clock is high.
            now = now | DO if self._out.pop(0) else now & ~DO
        self._file[EEC] = now

    def _command(self) -> None:
        bits = self._bits
        if len(bits) < 8:
            return
        opcode = _number(bits[:8])
        if opcode == READ_STATUS and len(bits) == 8:
            self._out = [0] * 8
        elif opcode == READ and len(bits) == 24:
            start = _number(bits[8:24]) >> 1
            # Software may continue reading: the chip increments the address.
            self._out = [
                word >> bit & 1
                for address in range(start, len(self.words))
                for word in (self._swapped(address),)
                for bit in range(15, -1, -1)
            ]
        elif opcode == WRITE_ENABLE and len(bits) == 8:
            self._write_enabled = True
        elif opcode == WRITE_DISABLE and len(bits) == 8:
            self._write_enabled = False
        elif opcode == WRITE and self._write_enabled and len(bits) >= 40 and not (len(bits) - 24) % 16:
            address = (_number(bits[8:24]) >> 1) + (len(bits) - 40) // 16
            if address < len(self.words):
                word = _number(bits[-16:])
                self.words[address] = word >> 8 | word << 8 & 0xFF00

    def _swapped(self, address: int) -> int:
        # The chip stores bytes, the low byte of a word first.
        word = self.word(address)
        return word >> 8 | word << 8 & 0xFF00


def _number(bits: list[int]) -> int:
    value = 0
    for bit in bits:
        value = value << 1 | bit
    return value
