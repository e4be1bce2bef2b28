# SPDX-License-Identifier: GPL-2.0-or-later
"""The configuration space, read as by a PCI driver (PCI 3.0, 6.1 to 6.8; PCI Express 3.0, 6.6.2, 7.8 on)."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nicmodels.pci import (
    AdvancedErrorReporting,
    AlternativeRoutingId,
    Bar,
    BarKind,
    ConfigSpace,
    DeviceSerialNumber,
    MmapArea,
    Msi,
    MsiX,
    PciExpress,
    PowerManagement,
    VendorSpecific,
    VitalProductData,
)


class Listener:
    """Records the calls of the configuration space."""

    def __init__(self) -> None:
        self.notified: list[str] = []

    def command_changed(self) -> None:
        self.notified.append("command")

    def function_reset(self, *, from_d3hot: bool = False) -> None:
        self.notified.append("d3hot" if from_d3hot else "flr")


def make(**changes: object) -> ConfigSpace:
    arguments: dict[str, object] = {
        "vendor": 0x8086,
        "device": 0x10F8,
        "class_code": 0x020000,
        "revision": 1,
        "subsystem_vendor": 0x1234,
        "subsystem": 0x5678,
        "bars": (Bar(0, 0x80000, BarKind.MEMORY_64_PREFETCHABLE), Bar(2, 32, BarKind.IO), Bar(4, 0x4000)),
        "capabilities": (
            PowerManagement(offset=0x40),
            Msi(1, maskable=True, offset=0x50),
            MsiX(64, 4, 0, 4, 0x2000, offset=0x70),
            PciExpress(offset=0xA0),
            VitalProductData(offset=0xE0),
            VendorSpecific(b"abc"),
        ),
        "extended": (AdvancedErrorReporting(), DeviceSerialNumber(0x1122334455667788), AlternativeRoutingId()),
    }
    arguments.update(changes)
    return ConfigSpace(**arguments)  # type: ignore[arg-type]


def capability_list(config: ConfigSpace) -> dict[int, int]:
    found: dict[int, int] = {}
    at = config.read(0x34, 1)
    while at:
        assert at % 4 == 0
        assert config.read(at, 1) not in found
        found[config.read(at, 1)] = at
        at = config.read(at + 1, 1)
    return found


def extended_list(config: ConfigSpace) -> dict[int, int]:
    found: dict[int, int] = {}
    at = 0x100
    while at and (header := config.read(at, 4)):
        found[header & 0xFFFF] = at
        at = header >> 20
    return found


def test_identity() -> None:
    config = make()
    assert config.read(0, 4) == 0x10F8_8086
    assert config.read(8, 4) == 0x0200_0001
    assert config.read(0x0E, 1) == 0
    assert config.read(0x2C, 4) == 0x5678_1234
    assert config.read(0x3D, 1) == 1
    assert config.read(6, 2) & 0x10
    config.write_bytes(0, b"\xff" * 4)
    config.write_bytes(8, b"\xff" * 4)
    assert (config.read(0, 4), config.read(8, 4)) == (0x10F8_8086, 0x0200_0001)


@pytest.mark.parametrize(
    ("offset", "sized", "type_bits"),
    [
        (0x10, 0xFFF8_000C, 0xC),
        (0x14, 0xFFFF_FFFF, 0),
        (0x18, 0xFFFF_FFE1, 1),
        (0x1C, 0, 0),
        (0x20, 0xFFFF_C000, 0),
        (0x24, 0, 0),
        (0x30, 0, 0),
    ],
)
def test_bar_sizing(offset: int, sized: int, type_bits: int) -> None:
    config = make()
    assert config.read(offset, 4) == type_bits
    config.write(offset, 0xFFFF_FFFF, 4)
    assert config.read(offset, 4) == sized
    config.write(offset, 0xABC0_0000 & sized, 4)
    assert config.read(offset, 4) == (0xABC0_0000 & sized) | (type_bits if sized else 0)


def test_lists() -> None:
    config = make()
    assert capability_list(config) == {0x01: 0x40, 0x05: 0x50, 0x11: 0x70, 0x10: 0xA0, 0x03: 0xE0, 0x09: 0xE8}
    assert extended_list(config) == {0x01: 0x100, 0x03: 0x12C, 0x0E: 0x138}
    assert config.read(0x130, 8) == 0x1122334455667788
    assert make(capabilities=()).read(6, 2) & 0x10 == 0
    assert DeviceSerialNumber.from_mac(bytes.fromhex("027066000001")).serial == 0x027066FFFE000001


def test_msi_fields() -> None:
    config = make()
    assert config.read(0x52, 2) == 0x180
    config.write(0x52, 0xFFFF, 2)
    assert config.read(0x52, 2) == 0x1F1
    config.write(0x54, 0xFFFF_FFFF, 4)
    assert config.read(0x54, 4) == 0xFFFF_FFFC
    config.write(0x60, 0xFFFF_FFFF, 4)
    assert config.read(0x60, 4) == 1


def test_msix_fields() -> None:
    config = make()
    assert config.read(0x72, 2) == 63
    assert (config.read(0x74, 4), config.read(0x78, 4)) == (4, 0x2004)
    assert not config.msix_enabled
    config.write(0x72, 0xFFFF, 2)
    assert config.read(0x72, 2) == 0xC03F
    assert config.msix_enabled


def test_express_fields() -> None:
    config = make()
    assert config.read(0xA2, 2) == 2
    assert config.read(0xA4, 4) >> 28 == 1
    assert config.read(0xA8, 2) == 0x2810
    assert config.read(0xB2, 2) == 0x82
    assert config.read(0xCC, 4) == 0x06
    config.set(0xAA, 0x000F, 2)
    config.write(0xAA, 0x0005, 2)
    assert config.read(0xAA, 2) == 0x000A


def test_error_status_is_cleared_by_ones() -> None:
    config = make()
    config.set(0x104, 0x0010_0000, 4)
    config.write(0x104, 0, 4)
    assert config.read(0x104, 4) == 0x0010_0000
    config.write(0x104, 0x0010_0000, 4)
    assert config.read(0x104, 4) == 0
    config.set(6, 0x2010, 2)
    config.write(6, 0x2000, 2)
    assert config.read(6, 2) == 0x10


def test_command_register() -> None:
    config, listener = make(), Listener()
    config.listener = listener
    config.write(4, 0xFFFF, 2)
    assert config.read(4, 2) == 0x547
    assert config.bus_master
    assert config.memory_enabled
    assert config.intx_disabled
    config.write(4, 0x547, 2)
    assert listener.notified == ["command"]
    config.write(4, 0, 4)
    assert listener.notified == ["command", "command"]
    assert not config.bus_master


@pytest.mark.parametrize(("offset", "value", "size"), [(0xA8, 0x8000, 2), (0xA9, 0x80, 1), (0xA8, 0x8000, 4)])
def test_function_level_reset(offset: int, value: int, size: int) -> None:
    config, listener = make(), Listener()
    config.listener = listener
    config.write(offset, value, size)
    assert listener.notified == ["flr"]
    assert config.read(0xA8, 2) & 0x8000 == 0


def test_no_function_level_reset_without_the_capability() -> None:
    config, listener = make(capabilities=(PciExpress(flr=False, offset=0xA0),)), Listener()
    config.listener = listener
    assert config.read(0xA4, 4) >> 28 == 0
    config.write(0xA8, 0x8000, 2)
    assert listener.notified == []


@pytest.mark.parametrize("no_soft_reset", [True, False])
def test_power_states(no_soft_reset: bool) -> None:
    config, listener = make(capabilities=(PowerManagement(no_soft_reset=no_soft_reset),)), Listener()
    config.listener = listener
    config.write(0x44, 3, 2)
    assert config.read(0x44, 2) == (0xB if no_soft_reset else 3)
    config.write(0x44, 0, 2)
    assert listener.notified == ([] if no_soft_reset else ["d3hot"])


def test_reset_restores_everything() -> None:
    config = make()
    before = config.read_bytes(0, 4096)
    config.write_bytes(0, os.urandom(4096))
    config.reset()
    assert config.read_bytes(0, 4096) == before


@given(st.integers(0, 4095), st.binary(min_size=1, max_size=64))
def test_read_only_bits_never_change(offset: int, data: bytes) -> None:
    config = make()
    before = config.read_bytes(0, 4096)
    config.write_bytes(offset, data)
    after = config.read_bytes(0, 4096)
    assert after[:offset] == before[:offset]
    assert after[offset + len(data) :] == before[offset + len(data) :]
    for fixed in (*range(4), 8, 9, 10, 11, 0x0E, 0x2C, 0x34, 0x40, 0x41, 0xA0, 0xA1, 0x100, 0x103):
        assert after[fixed] == before[fixed]
    config.reset()
    assert config.read_bytes(0, 4096) == before


@pytest.mark.parametrize(
    "changes",
    [
        {"bars": (Bar(0, 16, BarKind.MEMORY_64), Bar(1, 16))},
        {"bars": (Bar(0, 16), Bar(0, 16))},
        {"capabilities": (PowerManagement(offset=0x40), Msi(offset=0x44))},
        {"capabilities": (PowerManagement(offset=0x42),)},
        {"capabilities": (PciExpress(offset=0xE0),)},
        {"capabilities": (PowerManagement(offset=0x20),)},
        {"capabilities": (MsiX(64, 4, 0x3F00, 4, 0),)},
        {"capabilities": (MsiX(64, 5, 0, 4, 0),)},
        {"extended": (DeviceSerialNumber(1, offset=0x200),)},
        {"extended": (AdvancedErrorReporting(), DeviceSerialNumber(1, offset=0x110))},
    ],
)
def test_impossible_layouts(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        make(**changes)


def test_impossible_parts() -> None:
    for arguments in ((6, 16), (0, 24), (0, 8), (5, 16, BarKind.MEMORY_64)):
        with pytest.raises(ValueError, match="BAR"):
            Bar(*arguments)
    with pytest.raises(ValueError, match="descriptor"):
        Bar(0, 0x2000, mmap_areas=(MmapArea(0, 0x1000),))
    with pytest.raises(ValueError, match="whole pages"):
        Bar(0, 0x2000, mmap_areas=(MmapArea(0x10, 0x1000),), mmap_fd=0)
    with pytest.raises(ValueError, match="vectors"):
        Msi(3)
    with pytest.raises(ValueError, match="vectors"):
        MsiX(0, 0, 0, 0, 0)
    with pytest.raises(ValueError, match="multiples"):
        MsiX(1, 0, 4, 0, 0)
