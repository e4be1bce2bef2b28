# SPDX-License-Identifier: MIT
"""A register file: the values of a register map, access modes, and hooks for behaviour beyond them.

An access costs one list index and, for a mode or a hook, one call.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from nicmodels.registers.declaration import MASK, Access, Decoded, Register

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nicmodels.registers.map import RegisterMap

    Reader = Callable[[], int]
    Writer = Callable[[int], object]

logger = logging.getLogger(__name__)


class TraceEntry(NamedTuple):
    """One access: seconds, "R" or "W", offset in bytes, value read or written."""

    time: float
    op: str
    offset: int
    value: int


class RegisterFile:
    """The registers of one BAR of one device.

    `file[CTRL]` and `file[RDT, 3]` get and set the stored value without side effects; `read` and `write` are the
    guest's accesses. A hook replaces the access mode.

    Args:
        registers: the map.
        now: gives seconds, for the trace.

    Attributes:
        values: the stored values, by `offset >> 2`.
        unknown: number of accesses to each offset without a register.
        trace: the register trace while it is on, else None.
    """

    def __init__(self, registers: RegisterMap, now: Callable[[], float] = time.monotonic) -> None:
        self.map = registers
        self.unknown: Counter[int] = Counter()
        self.trace: deque[TraceEntry] | None = None
        self._now = now
        self._size = size = len(registers.places)
        self.values = [0] * size
        self._readers: list[Reader | None] = [None] * size
        self._writers: list[Writer | None] = [None] * size
        self._peekers: dict[Register, Callable[[int], int]] = {}
        for slot, place in enumerate(registers.places):
            if place is None:
                self._readers[slot] = partial(self._unknown_read, slot << 2)
                self._writers[slot] = partial(self._unknown_write, slot << 2)
            else:
                stored = registers.canonical[slot]
                self._readers[slot] = self._mode_reader(place[0], stored, is_alias=stored != slot)
                self._writers[slot] = self._mode_writer(place[0], stored, is_alias=stored != slot)
        self.reset()

    def read(self, offset: int, size: int = 4) -> int:
        """A guest's read of 1, 2, 4 or 8 bytes."""
        if size != 4 or offset & 3:
            return self._read_odd(offset, size)
        slot = offset >> 2
        if slot < self._size:
            reader = self._readers[slot]
            value = self.values[slot] if reader is None else reader()
        else:
            value = self._unknown_read(offset)
        if self.trace is not None:
            self.trace.append(TraceEntry(self._now(), "R", offset, value))
        return value

    def write(self, offset: int, value: int, size: int = 4) -> None:
        """A guest's write of 1, 2, 4 or 8 bytes."""
        if size != 4 or offset & 3:
            self._write_odd(offset, value, size)
            return
        if self.trace is not None:
            self.trace.append(TraceEntry(self._now(), "W", offset, value))
        slot = offset >> 2
        if slot >= self._size:
            self._unknown_write(offset, value)
            return
        writer = self._writers[slot]
        if writer is None:
            self.values[slot] = value
        else:
            writer(value)

    def __getitem__(self, key: Register | tuple[Register, int]) -> int:
        register, index = key if isinstance(key, tuple) else (key, 0)
        return self.values[self.map.offset(register, index) >> 2]

    def __setitem__(self, key: Register | tuple[Register, int], value: int) -> None:
        register, index = key if isinstance(key, tuple) else (key, 0)
        self.values[self.map.offset(register, index) >> 2] = value & MASK

    def on_read(
        self, register: Register, hook: Callable[[int], int], *, peek: Callable[[int], int] | None = None
    ) -> None:
        """Let `hook(index)` answer reads; `peek(index)` answers without side effects (default: the stored value)."""
        for slot, index in self._slots(register):
            self._readers[slot] = partial(hook, index)
        if peek is not None:
            self._peekers[register] = peek
        else:
            self._peekers.pop(register, None)

    def on_write(self, register: Register, hook: Callable[[int, int], object]) -> None:
        """Let `hook(index, value)` handle writes."""
        for slot, index in self._slots(register):
            self._writers[slot] = partial(hook, index)

    def peek(self, register: Register, index: int = 0) -> int:
        """The value that a read would return, without its side effects."""
        offset = self.map.offset(register, index)
        peeker = self._peekers.get(register)
        return self.values[offset >> 2] if peeker is None else peeker(index)

    def reset(self, keep: Iterable[Register] = ()) -> None:
        """Reset every register except those in `keep`; hooks and the trace stay."""
        kept = set(keep)
        for register in self.map:
            if register not in kept:
                for _, offset in register.places():
                    self.values[offset >> 2] = register.reset

    def decode(self, register: Register, value: int, index: int = 0) -> Decoded:
        """Decode a value into its fields."""
        return register.decode(value, index)

    def start_trace(self, limit: int = 65536) -> None:
        """Record accesses from now on, the last `limit` of them."""
        self.trace = deque(maxlen=limit)

    def stop_trace(self) -> None:
        """Stop recording and drop the trace."""
        self.trace = None

    def _slots(self, register: Register) -> list[tuple[int, int]]:
        if self.map[register.name] is not register:
            raise KeyError(f"{self.map.name} has another register {register.name}")
        return [(offset >> 2, index) for index, offset in (*register.places(), *register.alias_places())]

    def _mode_reader(self, register: Register, slot: int, *, is_alias: bool) -> Reader | None:
        """The reader of an access mode; None for plain storage, which costs no call."""
        values = self.values
        if register.access is Access.WO:
            return lambda: 0
        if register.access is Access.RC:

            def read_and_clear() -> int:
                value = values[slot]
                values[slot] = 0
                return value

            return read_and_clear
        return partial(values.__getitem__, slot) if is_alias else None

    def _mode_writer(self, register: Register, slot: int, *, is_alias: bool) -> Writer | None:
        """The writer of an access mode; None for plain storage, which costs no call."""
        values = self.values
        writable = register.writable
        if register.access in (Access.RO, Access.RC):
            return lambda _value: None
        if register.access is Access.W1C:

            def clear_ones(value: int) -> None:
                values[slot] &= ~(value & writable)

            return clear_ones
        if register.access is Access.W1S:

            def set_ones(value: int) -> None:
                values[slot] |= value & writable

            return set_ones
        stored = writable & ~register.self_clearing if register.access is Access.RWS else writable
        if stored == MASK and not is_alias:
            return None

        def store(value: int) -> None:
            values[slot] = (values[slot] & ~writable) | (value & stored)

        return store

    def _read_odd(self, offset: int, size: int) -> int:
        """Any other size or alignment: each dword is read once, and the bytes are extracted."""
        first = offset & ~3
        shift = (offset - first) * 8
        value = 0
        for position, at in enumerate(range(first, offset + size, 4)):
            value |= self.read(at) << (32 * position)
        return (value >> shift) & ((1 << (8 * size)) - 1)

    def _write_odd(self, offset: int, value: int, size: int) -> None:
        """Any other size or alignment: each dword is written once; the other bytes keep their values."""
        end = offset + size
        for at in range(offset & ~3, end, 4):
            low, high = max(offset, at), min(end, at + 4)
            bits = (value >> ((low - offset) * 8)) & ((1 << ((high - low) * 8)) - 1)
            if high - low < 4:
                mask = ((1 << ((high - low) * 8)) - 1) << ((low - at) * 8)
                bits = (bits << ((low - at) * 8)) | (self._kept(at) & ~mask)
            self.write(at, bits)

    def _kept(self, offset: int) -> int:
        """The value for the bytes outside a partial write, chosen so that writing them has no effect."""
        place = self.map.find(offset)
        if place is None or place[0].access in (Access.W1C, Access.W1S):
            return 0
        return self.peek(*place)

    def _unknown_read(self, offset: int) -> int:
        self._note_unknown("read of", offset)
        return 0

    def _unknown_write(self, offset: int, value: int) -> None:
        self._note_unknown(f"write of {value:#x} to", offset)

    def _note_unknown(self, what: str, offset: int) -> None:
        if not self.unknown[offset]:
            logger.warning("%s: %s unknown offset %#x", self.map.name, what, offset)
        self.unknown[offset] += 1
