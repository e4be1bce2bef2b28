# SPDX-License-Identifier: GPL-2.0-or-later
"""Netlink attributes by declaration.

A set of attributes is declared as ``Attributes({number: ("name", type)})``; a type has `encode(value) -> bytes` and
`decode(bytes) -> value`. Unknown numbers decode to ``{"#number": hex}``, so that attributes of newer kernels are not lost.
Names, numbers and types are those of the kernel's specifications, Documentation/netlink/specs; tests/agent compares them.

Source: include/uapi/linux/netlink.h; Documentation/userspace-api/netlink/intro.rst, specs.rst.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NLA_F_NESTED = 0x8000
ATTRIBUTE_HEADER = 4
"""Bytes of struct nlattr."""
NLA_TYPE_MASK = 0x3FFF


class AttributeType(Protocol):
    """Encodes and decodes the payload of an attribute."""

    def encode(self, value: Any) -> bytes:
        """Return the payload of `value`."""

    def decode(self, data: bytes) -> Any:
        """Return the value in the payload."""


class Scalar(NamedTuple):
    """An integer of 1, 2, 4 or 8 bytes in host byte order."""

    size: int
    signed: bool = False

    def encode(self, value: int) -> bytes:
        """Return `value` in host byte order."""
        return int(value).to_bytes(self.size, "little", signed=self.signed)

    def decode(self, data: bytes) -> int:
        """Return the integer, whatever size the kernel sent."""
        return int.from_bytes(data, "little", signed=self.signed)


class String:
    """A string with a trailing NUL."""

    def encode(self, value: str) -> bytes:
        """Return the bytes with the NUL."""
        return value.encode() + b"\0"

    def decode(self, data: bytes) -> str:
        """Return the string without the NUL."""
        return data.rstrip(b"\0").decode(errors="replace")


class Hex:
    """Bytes, as hexadecimal digits."""

    def encode(self, value: str) -> bytes:
        """Return the bytes."""
        return bytes.fromhex(value)

    def decode(self, data: bytes) -> str:
        """Return two digits per byte."""
        return data.hex()


class Mac:
    """A hardware address, as ``02:70:66:00:00:01``."""

    def encode(self, value: str) -> bytes:
        """Return the bytes."""
        return bytes.fromhex(value.replace(":", ""))

    def decode(self, data: bytes) -> str:
        """Return the bytes with colons."""
        return data.hex(":")


class Flag:
    """An attribute whose presence is its value."""

    def encode(self, value: bool) -> bytes:  # noqa: ARG002 - presence is the value
        """Return nothing."""
        return b""

    def decode(self, data: bytes) -> bool:  # noqa: ARG002
        """Return True."""
        return True


class Array(NamedTuple):
    """An array of scalars in one attribute (binary with a sub-type)."""

    item: Scalar

    def encode(self, value: list[int]) -> bytes:
        """Return the items' bytes."""
        return b"".join(self.item.encode(each) for each in value)

    def decode(self, data: bytes) -> list[int]:
        """Return the items."""
        size = self.item.size
        return [self.item.decode(data[at : at + size]) for at in range(0, len(data), size)]


class Bits(NamedTuple):
    """A bit mask, as the list of the names of its bits, lowest first."""

    names: tuple[str, ...]
    size: int = 8

    def encode(self, value: list[str]) -> bytes:
        """Return the mask with the named bits set."""
        return sum(1 << self.names.index(name) for name in value).to_bytes(self.size, "little")

    def decode(self, data: bytes) -> list[str]:
        """Return the names of the bits that are set, an unknown one as ``bit9``."""
        word = int.from_bytes(data, "little")
        return [
            self.names[bit] if bit < len(self.names) else f"bit{bit}"
            for bit in range(word.bit_length())
            if word >> bit & 1
        ]


class Choice(NamedTuple):
    """A scalar with named values (an enum)."""

    names: tuple[str, ...]
    size: int = 4

    def encode(self, value: str) -> bytes:
        """Return the value of a name."""
        return self.names.index(value).to_bytes(self.size, "little")

    def decode(self, data: bytes) -> str:
        """Return the name of the value, or the value in digits when it has none."""
        number = int.from_bytes(data, "little")
        return self.names[number] if number < len(self.names) else str(number)


class Attributes:
    """A set of attributes by number; also the type of a nest.

    Args:
        members: name and type by number.
        repeated: names of the attributes that may appear more than once (multi-attr); their values are lists.
    """

    def __init__(self, members: Mapping[int, tuple[str, AttributeType]], repeated: tuple[str, ...] = ()) -> None:
        """Keep the declaration."""
        self.members = members
        self.numbers = {name: number for number, (name, _) in members.items()}
        self.repeated = repeated

    def encode(self, value: Mapping[str, Any]) -> bytes:
        """Return the attributes named in `value`, in its order, without those that are None or False.

        Raises:
            KeyError: a name is not a member.
        """
        out = bytearray()
        for name, each in value.items():
            if each is None or each is False:
                continue
            number = self.numbers[name]
            kind = self.members[number][1]
            nested = NLA_F_NESTED if isinstance(kind, Attributes) else 0
            for item in each if name in self.repeated else [each]:
                out += attribute(number | nested, kind.encode(item))
        return bytes(out)

    def decode(self, data: bytes) -> dict[str, Any]:
        """Return the values by name."""
        found: dict[str, Any] = {}
        for number, payload in walk(data):
            name, kind = self.members.get(number, (f"#{number}", Hex()))
            if name in self.repeated:
                found.setdefault(name, []).append(kind.decode(payload))
            elif name != "pad":
                found[name] = kind.decode(payload)
        return found

    def name_at(self, data: bytes, offset: int) -> str:
        """Return the name of the attribute that begins at `offset` of encoded attributes, as ``queues.type`` within a nest."""
        at = 0
        for number, payload in walk(data):
            name, kind = self.members.get(number, (f"#{number}", Hex()))
            end = at + ATTRIBUTE_HEADER + len(payload)
            if offset == at:
                return name
            if at < offset < end and isinstance(kind, Attributes):
                return f"{name}.{kind.name_at(payload, offset - at - ATTRIBUTE_HEADER)}"
            at = end + 3 & ~3
        return f"at byte {offset}"


U8 = Scalar(1)
U16 = Scalar(2)
U32 = Scalar(4)
S32 = Scalar(4, signed=True)
U64 = Scalar(8)
UINT = U64
STRING = String()
HEX = Hex()
MAC = Mac()
FLAG = Flag()


def attribute(number: int, payload: bytes) -> bytes:
    """Return an attribute with header and padding."""
    padding = -len(payload) % 4
    return struct.pack("=HH", 4 + len(payload), number) + payload + bytes(padding)


def walk(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield number (without the flag bits) and payload of each attribute."""
    at = 0
    while at + 4 <= len(data):
        length, number = struct.unpack_from("=HH", data, at)
        if length < 4:
            return
        yield number & NLA_TYPE_MASK, bytes(data[at + 4 : at + length])
        at += length + 3 & ~3
