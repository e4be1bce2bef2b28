# SPDX-License-Identifier: MIT
"""Extended capabilities, from offset 256 of the configuration space on, one class each (PCI Express 3.0, from 7.9)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import ClassVar, Protocol


class ExtendedCapability(Protocol):
    """One entry of the extended list."""

    id: ClassVar[int]
    version: ClassVar[int]

    @property
    def offset(self) -> int | None:
        """Its offset; None to place it after the previous capability."""

    def body(self) -> bytes:
        """The bytes after the header."""

    def writable(self) -> bytes:
        """The bits that software can write, as long as `body`."""

    def write_one_to_clear(self) -> bytes:
        """The bits that writing a one clears, as long as `body`."""


@dataclass(frozen=True)
class AdvancedErrorReporting:
    """Advanced Error Reporting (7.10).

    Attributes:
        offset: in the configuration space; None to place it after the previous capability.
    """

    id: ClassVar[int] = 0x0001
    version: ClassVar[int] = 2
    offset: int | None = None

    UNCORRECTABLE: ClassVar[int] = 0x003F_F010
    CORRECTABLE: ClassVar[int] = 0x0000_31C1

    def body(self) -> bytes:
        """Uncorrectable status, mask, severity; correctable status, mask; control; header log."""
        severity, correctable_mask = 0x0046_2030, 0x2000
        return struct.pack("<IIIIII16x", 0, 0, severity, 0, correctable_mask, 0)

    def writable(self) -> bytes:
        """Masks and severity."""
        return struct.pack("<IIIIII16x", 0, self.UNCORRECTABLE, self.UNCORRECTABLE, 0, self.CORRECTABLE, 0)

    def write_one_to_clear(self) -> bytes:
        """Both status registers."""
        return struct.pack("<IIIIII16x", self.UNCORRECTABLE, 0, 0, self.CORRECTABLE, 0, 0)


@dataclass(frozen=True)
class DeviceSerialNumber:
    """Device Serial Number (7.12).

    Attributes:
        serial: 64 bits, an EUI-64.
        offset: in the configuration space; None to place it after the previous capability.
    """

    id: ClassVar[int] = 0x0003
    version: ClassVar[int] = 1
    serial: int
    offset: int | None = None

    @classmethod
    def from_mac(cls, mac: bytes, offset: int | None = None) -> DeviceSerialNumber:
        """The EUI-64 of a MAC address, with FF-FE in the middle."""
        return cls(int.from_bytes(mac[:3] + b"\xff\xfe" + mac[3:], "big"), offset)

    def body(self) -> bytes:
        """The number, low dword first."""
        return struct.pack("<Q", self.serial)

    def writable(self) -> bytes:
        """Nothing."""
        return bytes(8)

    def write_one_to_clear(self) -> bytes:
        """None."""
        return bytes(8)


@dataclass(frozen=True)
class AlternativeRoutingId:
    """Alternative Routing-ID Interpretation (6.13): the last function of the device.

    Attributes:
        offset: in the configuration space; None to place it after the previous capability.
    """

    id: ClassVar[int] = 0x000E
    version: ClassVar[int] = 1
    offset: int | None = None

    def body(self) -> bytes:
        """Capability and control: no next function."""
        return bytes(4)

    def writable(self) -> bytes:
        """Nothing."""
        return bytes(4)

    def write_one_to_clear(self) -> bytes:
        """None."""
        return bytes(4)
