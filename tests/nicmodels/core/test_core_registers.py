# SPDX-License-Identifier: GPL-2.0-or-later
"""Register declarations, maps and files."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nicmodels.registers import (
    RC,
    RO,
    RW,
    RWS,
    W1C,
    W1S,
    WO,
    Field,
    Register,
    RegisterFile,
    RegisterMap,
    RegisterMapError,
)

CTRL = Register(
    "CTRL",
    0x0,
    RWS,
    reset=0x11,
    writable=0x0400_00FF,
    self_clearing=0x0400_0000,
    fields=(Field("LOW", 0, 3), Field("RST", 26)),
)
STATUS = Register("STATUS", 0x8, RO, reset=0x80)
COUNTER = Register("COUNTER", 0x10, RC)
CAUSE = Register("CAUSE", 0x14, W1C)
SET = Register("SET", 0x18, W1S)
COMMAND = Register("COMMAND", 0x1C, WO)
QUEUE = Register("QUEUE", 0x100, RW, stride=0x40, count=4, more=((0x800, 0x40, 4),), aliases=((0x40, 4, 4),))
REGISTERS = RegisterMap("chip", (CTRL, STATUS, COUNTER, CAUSE, SET, COMMAND, QUEUE))


@pytest.fixture
def file() -> RegisterFile:
    return RegisterFile(REGISTERS)


def test_reset_values(file: RegisterFile) -> None:
    assert (file.read(0), file.read(8)) == (0x11, 0x80)
    file.write(0, 0xAA)
    file[STATUS] = 5
    file.reset(keep=(STATUS,))
    assert (file.read(0), file.read(8)) == (0x11, 5)


def test_read_only(file: RegisterFile) -> None:
    file.write(8, 0xFFFF_FFFF)
    assert file.read(8) == 0x80


def test_self_clearing_and_reserved_bits(file: RegisterFile) -> None:
    file.write(0, 0xFFFF_FFFF)
    assert file.read(0) == 0xFF


def test_read_clears(file: RegisterFile) -> None:
    file[COUNTER] = 42
    file.write(0x10, 7)
    assert file.peek(COUNTER) == 42
    assert (file.read(0x10), file.read(0x10)) == (42, 0)


def test_write_one_to_clear_and_to_set(file: RegisterFile) -> None:
    file[CAUSE] = 0xFF
    file.write(0x14, 0x0F)
    assert file.read(0x14) == 0xF0
    file.write(0x18, 0x1)
    file.write(0x18, 0x4)
    assert file.read(0x18) == 0x5


def test_write_only(file: RegisterFile) -> None:
    file.write(0x1C, 3)
    assert file.read(0x1C) == 0
    assert file[COMMAND] == 3


def test_arrays_and_aliases(file: RegisterFile) -> None:
    assert QUEUE.total == 8
    for index in range(8):
        file[QUEUE, index] = index + 1
    assert [file.read(0x100 + 0x40 * i) for i in range(4)] == [1, 2, 3, 4]
    assert [file.read(0x800 + 0x40 * i) for i in range(4)] == [5, 6, 7, 8]
    file.write(0x44, 0x77)
    assert file.read(0x140) == file.read(0x44) == file[QUEUE, 1] == 0x77
    assert REGISTERS.find(0x841) == (QUEUE, 5)
    assert REGISTERS.find(0x44) == (QUEUE, 1)
    assert REGISTERS.find(0x50) is None
    assert REGISTERS.find(1 << 20) is None
    with pytest.raises(IndexError):
        file[QUEUE, 8]


def test_hooks_replace_the_mode_at_every_address(file: RegisterFile) -> None:
    seen: list[tuple[int, int]] = []
    file.on_write(QUEUE, lambda index, value: seen.append((index, value)))
    file.on_read(QUEUE, lambda index: index * 10, peek=lambda index: index * 100)
    for offset, index in ((0x100, 0), (0x180, 2), (0x840, 5), (0x4C, 3)):
        file.write(offset, index + 1)
        assert file.read(offset) == index * 10
    assert seen == [(0, 1), (2, 3), (5, 6), (3, 4)]
    assert file.peek(QUEUE, 3) == 300
    with pytest.raises(KeyError):
        file.on_read(Register("OTHER", 0), lambda index: index)


def test_unknown_offsets_are_counted_and_logged_once(file: RegisterFile, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert file.read(0x50) == 0
            file.write(0x50, 1)
            file.read(0x10_0000)
            file.write(0x10_0000, 1)
    assert file.unknown == {0x50: 6, 0x10_0000: 6}
    assert len(caplog.records) == 2


def test_small_and_large_accesses(file: RegisterFile) -> None:
    file.write(0x100, 0x44332211)
    assert [file.read(0x100 + i, 1) for i in range(4)] == [0x11, 0x22, 0x33, 0x44]
    assert (file.read(0x102, 2), file.read(0x101, 2)) == (0x4433, 0x3322)
    file.write(0x102, 0xAB, 1)
    assert file.read(0x100) == 0x44AB2211
    file[CAUSE], file[COUNTER] = 0xF0F0, 9
    assert file.read(0x10, 8) == 0xF0F0_0000_0009
    file.write(0x14, 0xF0, 1)  # a byte of a write-one-to-clear register clears nothing else
    assert file[CAUSE] == 0xF000
    file.write(0x14, 0x5_0000_F000, 8)
    assert (file[CAUSE], file[SET]) == (0, 5)


def test_trace(file: RegisterFile) -> None:
    file.read(0)
    assert file.trace is None
    file.start_trace(limit=3)
    for value in range(4):
        file.write(0x100, value)
    file.read(0x100)
    assert file.trace is not None
    assert [(entry.op, entry.offset, entry.value) for entry in file.trace] == [
        ("W", 0x100, 2),
        ("W", 0x100, 3),
        ("R", 0x100, 3),
    ]
    file.stop_trace()
    assert file.trace is None


def test_decode(file: RegisterFile) -> None:
    assert str(file.decode(CTRL, 0x0400_000C)) == "CTRL 0x0400000c LOW=0xc RST=1"
    assert str(QUEUE.decode(7, 5)) == "QUEUE[5] 0x00000007"
    assert CTRL.field("LOW").put(0xF0, 5) == 0xF5
    assert CTRL.field("RST").get(0x0400_0000) == 1
    with pytest.raises(ValueError, match="does not fit"):
        CTRL.field("LOW").put(0, 16)
    with pytest.raises(KeyError):
        CTRL.field("NONE")


def test_inherit() -> None:
    other = Register("STATUS", 0x8, RO, reset=1)
    new = Register("NEW", 0x20)
    variant = REGISTERS.inherit("variant", other, new, without=("SET",))
    assert variant["STATUS"] is other
    assert "SET" not in variant
    assert variant.find(0x20) == (new, 0)
    assert variant.find(0x18) is None
    assert REGISTERS["STATUS"] is STATUS
    with pytest.raises(KeyError):
        REGISTERS.inherit("variant", without=("NONE",))
    with pytest.raises(KeyError):
        REGISTERS["NONE"]


@pytest.mark.parametrize(
    "registers",
    [
        (Register("A", 0), Register("A", 4)),
        (Register("A", 0), Register("B", 0)),
        (Register("A", 0, count=4), Register("B", 8)),
        (Register("A", 2),),
        (Register("A", 0, aliases=((0x10, 4, 2),)),),
    ],
)
def test_collisions(registers: tuple[Register, ...]) -> None:
    with pytest.raises(RegisterMapError):
        RegisterMap("bad", registers)


def test_bad_declarations() -> None:
    with pytest.raises(ValueError, match="bits"):
        Field("F", 30, 33)
    with pytest.raises(ValueError, match="overlaps"):
        Register("A", 0, fields=(Field("X", 0, 3), Field("Y", 3)))
    with pytest.raises(ValueError, match="32 bits"):
        Register("A", 0, reset=1 << 32)


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 0xFF), st.sampled_from((1, 2, 4, 8)), st.integers(0)), max_size=30)
)
def test_plain_registers_are_memory(accesses: list[tuple[bool, int, int, int]]) -> None:
    """Read-write registers behave as bytes do, whatever the size and alignment."""
    file = RegisterFile(RegisterMap("plain", (Register("R", 0, RW, count=66),)))
    memory = bytearray(264)
    for is_write, offset, size, number in accesses:
        value = number % (1 << 8 * size)
        if is_write:
            file.write(offset, value, size)
            memory[offset : offset + size] = value.to_bytes(size, "little")
        assert file.read(offset, size) == int.from_bytes(memory[offset : offset + size], "little")
    assert not file.unknown
