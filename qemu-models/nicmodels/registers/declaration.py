# SPDX-License-Identifier: MIT
"""Declarations of registers and fields, one line each.

`Register(name, offset, mode, stride=, count=, more=, aliases=, reset=, writable=, self_clearing=, title=, fields=)`:
instance `i` of an array is at `offset + i * stride`; `more` continues the array elsewhere, each entry
`(offset, stride, count)`; `aliases` gives the first instances a second address, in the same form.
All registers are 32 bits wide; a 64-bit quantity is two registers, as in the datasheets.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MASK = 0xFFFF_FFFF


class Access(enum.Enum):
    """How accesses affect a register's storage."""

    RO = "read only: a write is ignored"
    RW = "read and write"
    WO = "write only: reads as zero"
    RC = "read clears; a write is ignored"
    W1C = "a written one clears the bit"
    W1S = "a written one sets the bit"
    RWS = "read and write; the bits of `self_clearing` read as zero after they were written"


RO = Access.RO
RW = Access.RW
WO = Access.WO
RC = Access.RC
W1C = Access.W1C
W1S = Access.W1S
RWS = Access.RWS


@dataclass(frozen=True)
class Field:
    """A field of a register.

    Attributes:
        name: as in the datasheet.
        low: its lowest bit.
        width: its number of bits.
    """

    name: str
    low: int
    high: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.last <= 31:
            raise ValueError(f"field {self.name}: bits {self.low} to {self.last} are not bits of a 32-bit register")

    @property
    def last(self) -> int:
        """The highest bit."""
        return self.low if self.high is None else self.high

    @property
    def mask(self) -> int:
        """The field's bits."""
        return (1 << (self.last + 1)) - (1 << self.low)

    def get(self, value: int) -> int:
        """Extract the field from a register's value."""
        return (value & self.mask) >> self.low

    def put(self, value: int, bits: int) -> int:
        """Replace the field in a register's value.

        Raises:
            ValueError: `bits` does not fit.
        """
        if bits < 0 or bits << self.low & ~self.mask:
            raise ValueError(f"field {self.name}: {bits:#x} does not fit bits {self.low} to {self.last}")
        return (value & ~self.mask) | (bits << self.low)


@dataclass(frozen=True, eq=False)
class Register:
    """The declaration of a register or of an array of registers. See the module's docstring.

    Attributes:
        name: as in the datasheet.
        offset: of instance 0, bytes.
        access: the access mode.
        stride: bytes between instances.
        count: instances at `offset`.
        more: continuations of the array, `(offset, stride, count)` each.
        aliases: second addresses of the first instances, `(offset, stride, count)` each.
        reset: the value after reset.
        writable: the bits that a write changes.
        self_clearing: the bits that read as zero after a one was written (RWS).
        title: the long name.
        fields: its fields.
    """

    name: str
    offset: int
    access: Access = RW
    stride: int = 4
    count: int = 1
    more: tuple[tuple[int, int, int], ...] = ()
    aliases: tuple[tuple[int, int, int], ...] = ()
    reset: int = 0
    writable: int = MASK
    self_clearing: int = 0
    title: str = ""
    fields: tuple[Field, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.reset <= MASK:
            raise ValueError(f"register {self.name}: reset value {self.reset:#x} has more than 32 bits")
        used = 0
        for each in self.fields:
            if used & each.mask:
                raise ValueError(f"register {self.name}: field {each.name} overlaps another")
            used |= each.mask

    @property
    def total(self) -> int:
        """The number of instances."""
        return self.count + sum(count for _, _, count in self.more)

    def places(self) -> Iterator[tuple[int, int]]:
        """Each instance with its own address: `(index, offset)`."""
        index = 0
        for offset, stride, count in ((self.offset, self.stride, self.count), *self.more):
            for step in range(count):
                yield index, offset + step * stride
                index += 1

    def alias_places(self) -> Iterator[tuple[int, int]]:
        """Each second address: `(index, offset)`."""
        for offset, stride, count in self.aliases:
            for index in range(count):
                yield index, offset + index * stride

    def field(self, name: str) -> Field:
        """The field of that name.

        Raises:
            KeyError: no such field.
        """
        for each in self.fields:
            if each.name == name:
                return each
        raise KeyError(f"register {self.name} has no field {name!r}")

    def decode(self, value: int, index: int = 0) -> Decoded:
        """Decode a value into its fields."""
        return Decoded(self, index, value)


@dataclass(frozen=True)
class Decoded:
    """A value of a register; prints as `CTRL 0x04000000 RST=1 LRST=0`."""

    register: Register
    index: int
    value: int

    @property
    def fields(self) -> dict[str, int]:
        """Field name to field value."""
        return {each.name: each.get(self.value) for each in self.register.fields}

    def __str__(self) -> str:
        name = f"{self.register.name}[{self.index}]" if self.register.total > 1 else self.register.name
        shown = [f"{key}={bits}" if bits < 10 else f"{key}={bits:#x}" for key, bits in self.fields.items()]
        return " ".join((name, f"{self.value:#010x}", *shown))
