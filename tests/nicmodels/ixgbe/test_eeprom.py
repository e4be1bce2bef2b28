# SPDX-License-Identifier: GPL-2.0-or-later
"""The EEPROM by register and by bit-banged SPI."""

from __future__ import annotations

import pytest
from ixgbe_harness import MAC, Harness
from nicmodels.models.ixgbe.registers import general

SK, CS, DI, DO, REQUEST, GRANT = 1, 2, 4, 8, 0x40, 0x80


class Spi:
    """A bit-banging driver: data changes while the clock is low, and is sampled while it is high."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        harness.write(general.EEC, REQUEST)
        assert harness.read(general.EEC) & GRANT
        self.pins = REQUEST

    def set(self, pins: int) -> None:
        self.pins = pins
        self.harness.write(general.EEC, pins)

    def out(self, value: int, count: int) -> None:
        for bit in range(count - 1, -1, -1):
            data = self.pins & ~DI | (DI if value >> bit & 1 else 0)
            self.set(data & ~SK)
            self.set(data | SK)
            self.set(data & ~SK)

    def get(self, count: int) -> int:
        value = 0
        for _ in range(count):
            self.set(self.pins | SK)
            value = value << 1 | (1 if self.harness.read(general.EEC) & DO else 0)
            self.set(self.pins & ~SK)
        return value

    def select(self) -> None:
        self.set(REQUEST)
        self.set(REQUEST | CS)


def by_register(harness: Harness, word: int) -> int:
    harness.write(general.EERD, word << 2 | 1)
    value = harness.read(general.EERD)
    assert value & 2
    return value >> 16


def test_the_address_is_the_options(harness: Harness) -> None:
    words = [by_register(harness, word) for word in (0x20, 0x21, 0x22)]
    assert b"".join(word.to_bytes(2, "little") for word in words) == MAC


@pytest.mark.parametrize(("profile", "device"), [("kr", 0x1517), ("kx4", 0x10F7), ("combo", 0x10F8)])
def test_the_checksum_is_right(profile: str, device: int) -> None:
    harness = Harness(profile)
    assert sum(by_register(harness, word) for word in range(0x40)) & 0xFFFF == 0xBABA
    assert harness.device.config.device == device


def test_reading_by_pins(harness: Harness) -> None:
    """Read commands, word by word, low byte first."""
    spi = Spi(harness)
    spi.select()
    spi.out(0x05, 8)
    assert spi.get(8) & 1 == 0
    spi.select()
    spi.out(0x03, 8)
    spi.out(0x20 * 2, 16)
    for word in (0x20, 0x21, 0x22):
        value = spi.get(16)
        assert value >> 8 | (value & 0xFF) << 8 == by_register(harness, word)


def test_writing_by_pins(harness: Harness) -> None:
    spi = Spi(harness)
    spi.select()
    spi.out(0x06, 8)
    spi.select()
    spi.out(0x02, 8)
    spi.out(0x80 * 2, 16)
    spi.out(0x3412, 16)
    spi.set(REQUEST)
    assert by_register(harness, 0x80) == 0x1234


def test_writing_by_register(harness: Harness) -> None:
    harness.write(general.EEWR, 0xBEEF << 16 | 0x90 << 2 | 1)
    assert harness.read(general.EEWR) & 2
    assert by_register(harness, 0x90) == 0xBEEF


def test_beyond_the_end(harness: Harness) -> None:
    assert by_register(harness, 0x3FFF) == 0xFFFF
