# SPDX-License-Identifier: MIT
"""Capabilities in the first 256 bytes of the configuration space, one class each.

A capability defines its bytes and the bits that software can change; `ConfigSpace` places and links them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import ClassVar, Protocol

FLR_CAPABLE = 1 << 28
INITIATE_FLR = 1 << 15


class Capability(Protocol):
    """One entry of the capability list."""

    id: ClassVar[int]

    @property
    def offset(self) -> int | None:
        """Its offset; None to place it after the previous capability."""

    def body(self) -> bytes:
        """The bytes after id and next pointer."""

    def writable(self) -> bytes:
        """The bits that software can write, as long as `body`."""

    def write_one_to_clear(self) -> bytes:
        """The bits that writing a one clears, as long as `body`."""


def _nothing(body: bytes) -> bytes:
    return bytes(len(body))


@dataclass(frozen=True)
class PowerManagement:
    """PCI Power Management (PCI-PM 1.2, 3.2).

    Attributes:
        pmc: the capabilities word without the version: PME support, D1 and D2 support.
        no_soft_reset: the state is kept from D3hot to D0.
        offset: in the configuration space; None to place it after the previous capability.
    """

    id: ClassVar[int] = 0x01
    pmc: int = 0
    no_soft_reset: bool = True
    offset: int | None = None

    def body(self) -> bytes:
        """PMC, PMCSR, bridge extensions, data."""
        return struct.pack("<HHBB", self.pmc & ~7 | 3, 8 if self.no_soft_reset else 0, 0, 0)

    def writable(self) -> bytes:
        """PMCSR: power state, PME enable, data select."""
        return struct.pack("<HHBB", 0, 0x1F03, 0, 0)

    def write_one_to_clear(self) -> bytes:
        """PMCSR: PME status."""
        return struct.pack("<HHBB", 0, 0x8000, 0, 0)


@dataclass(frozen=True)
class VitalProductData:
    """Vital Product Data (PCI 3.0, 6.4 and appendix I). The data behind its address register is all zero.

    Attributes:
        offset: in the configuration space; None to place it after the previous capability.
    """

    id: ClassVar[int] = 0x03
    offset: int | None = None

    def body(self) -> bytes:
        """Address and data; flag set: a read of the data is complete."""
        return struct.pack("<HI", 0x8000, 0)

    def writable(self) -> bytes:
        """The address; the flag stays set, so a read completes at once."""
        return struct.pack("<HI", 0x7FFF, 0)

    def write_one_to_clear(self) -> bytes:
        """None."""
        return _nothing(self.body())


@dataclass(frozen=True)
class Msi:
    """Message Signalled Interrupts (PCI 3.0, 6.8.1).

    Attributes:
        vectors: 1, 2, 4, 8, 16 or 32.
        maskable: per-vector masking.
        offset: in the configuration space; None to place it after the previous capability.
    """

    id: ClassVar[int] = 0x05
    vectors: int = 1
    maskable: bool = False
    offset: int | None = None

    def __post_init__(self) -> None:
        if self.vectors not in (1, 2, 4, 8, 16, 32):
            raise ValueError(f"MSI has 1, 2, 4, 8, 16 or 32 vectors, not {self.vectors}")

    def body(self) -> bytes:
        """Control, 64-bit address, data, and mask and pending bits where maskable."""
        control = 0x80 | (self.vectors.bit_length() - 1) << 1 | (0x100 if self.maskable else 0)
        body = struct.pack("<HQI", control, 0, 0)
        return body + bytes(8) if self.maskable else body

    def writable(self) -> bytes:
        """Enable, number of vectors in use, address, data, mask bits."""
        body = struct.pack("<HQI", 0x71, 0xFFFF_FFFF_FFFF_FFFC, 0xFFFF)
        return body + struct.pack("<II", (1 << self.vectors) - 1, 0) if self.maskable else body

    def write_one_to_clear(self) -> bytes:
        """None."""
        return _nothing(self.body())


@dataclass(frozen=True)
class MsiX:
    """MSI-X (PCI 3.0, 6.8.2). QEMU emulates table and pending bits; the BAR only needs the room.

    Attributes:
        vectors: 1 to 2048.
        table_bar: index of the BAR with the table, 16 bytes a vector.
        table_offset: within that BAR, a multiple of 8.
        pba_bar: index of the BAR with the pending bits.
        pba_offset: within that BAR, a multiple of 8.
        offset: of the capability; None to place it after the previous one.
    """

    id: ClassVar[int] = 0x11
    vectors: int
    table_bar: int
    table_offset: int
    pba_bar: int
    pba_offset: int
    offset: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.vectors <= 2048:
            raise ValueError(f"MSI-X has 1 to 2048 vectors, not {self.vectors}")
        if (self.table_offset | self.pba_offset) % 8:
            raise ValueError("MSI-X table and pending bits must be at multiples of 8")

    @property
    def table_size(self) -> int:
        """Bytes."""
        return 16 * self.vectors

    @property
    def pba_size(self) -> int:
        """Bytes."""
        return 8 * ((self.vectors + 63) // 64)

    def body(self) -> bytes:
        """Control, table, pending bits."""
        return struct.pack("<HII", self.vectors - 1, self.table_offset | self.table_bar, self.pba_offset | self.pba_bar)

    def writable(self) -> bytes:
        """Enable and function mask."""
        return struct.pack("<HII", 0xC000, 0, 0)

    def write_one_to_clear(self) -> bytes:
        """None."""
        return _nothing(self.body())


@dataclass(frozen=True)
class PciExpress:
    """PCI Express endpoint, capability version 2 (PCI Express 3.0, 7.8).

    Attributes:
        link_speed: 1 (2.5 GT/s) to 4 (16 GT/s).
        link_width: lanes.
        max_payload: 0 (128 bytes) to 5 (4096 bytes), what the device supports.
        flr: whether function-level reset is supported.
        completion_timeout_ranges: Device Capabilities 2, bits 3:0.
        offset: in the configuration space; None to place it after the previous capability.
    """

    id: ClassVar[int] = 0x10
    link_speed: int = 2
    link_width: int = 8
    max_payload: int = 2
    flr: bool = True
    completion_timeout_ranges: int = 0
    offset: int | None = None

    DEVICE_CONTROL: ClassVar[int] = 0x08

    def body(self) -> bytes:
        """From the capabilities register to Link Status 2; the slot registers after it are zero."""
        speeds = ((1 << self.link_speed) - 1) << 1
        link = self.link_speed | self.link_width << 4
        return _express(
            capabilities=0x0002,  # version 2, endpoint
            device_capabilities=self.max_payload | 1 << 15 | (FLR_CAPABLE if self.flr else 0),  # role-based errors
            device_control=0x2810,  # relaxed ordering, no snoop, 512-byte reads
            link_capabilities=link,
            link_status=link,
            device_capabilities_2=0x10 | self.completion_timeout_ranges,  # the timeout can be disabled
            link_capabilities_2=speeds,
            link_control_2=self.link_speed,
        )

    def writable(self) -> bytes:
        """Device Control, Link Control, Device Control 2, Link Control 2."""
        return _express(device_control=0x7FFF, link_control=0x03FB, device_control_2=0x001F, link_control_2=0x1FFF)

    def write_one_to_clear(self) -> bytes:
        """Device Status: the four error bits."""
        return _express(device_status=0x000F)


_EXPRESS = struct.Struct("<HIHHIHH16xIHHIHH8x")


def _express(  # one argument per register, in order
    *,
    capabilities: int = 0,
    device_capabilities: int = 0,
    device_control: int = 0,
    device_status: int = 0,
    link_capabilities: int = 0,
    link_control: int = 0,
    link_status: int = 0,
    device_capabilities_2: int = 0,
    device_control_2: int = 0,
    device_status_2: int = 0,
    link_capabilities_2: int = 0,
    link_control_2: int = 0,
    link_status_2: int = 0,
) -> bytes:
    return _EXPRESS.pack(
        capabilities,
        device_capabilities,
        device_control,
        device_status,
        link_capabilities,
        link_control,
        link_status,
        device_capabilities_2,
        device_control_2,
        device_status_2,
        link_capabilities_2,
        link_control_2,
        link_status_2,
    )


@dataclass(frozen=True)
class VendorSpecific:
    """Vendor-specific capability (PCI 3.0, 6.8, id 9).

    Attributes:
        data: what follows the length byte.
        offset: in the configuration space; None to place it after the previous capability.
    """

    id: ClassVar[int] = 0x09
    data: bytes = b""
    offset: int | None = None

    def body(self) -> bytes:
        """Length and data."""
        return bytes((3 + len(self.data),)) + self.data

    def writable(self) -> bytes:
        """Nothing."""
        return _nothing(self.body())

    def write_one_to_clear(self) -> bytes:
        """None."""
        return _nothing(self.body())
