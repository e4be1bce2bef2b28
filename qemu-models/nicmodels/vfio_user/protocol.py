# SPDX-License-Identifier: MIT
"""The vfio-user messages: numbers, layouts, and the codecs of those off the hot path.

Source: QEMU, docs/interop/vfio-user.rst; <linux/vfio.h> for the structures that it uses. All integers are
little-endian: the specification requires host byte order, and both ends are x86-64 or arm64.

The specification leaves most error numbers open. This server returns EINVAL for a malformed message or a value out of
range, EEXIST for a map over a map (specified), ENOENT for an unmap of an unmapped range, ENOTSUP for an unsupported
command (DIRTY_PAGES, GET_REGION_IO_FDS, migration, unknown numbers), ENOTTY for a device feature (as Linux's
VFIO_DEVICE_FEATURE) and EIO for an exception of the model.
"""

from __future__ import annotations

import enum
import errno
import json
import struct
from dataclasses import dataclass
from typing import Any

MAJOR = 0
MINOR = 1
MAX_FDS = 16
MAX_TRANSFER = 1 << 20
HEADER_SIZE = 16
MAX_MESSAGE = HEADER_SIZE + 16 + MAX_TRANSFER
REGION_COUNT = 9
REGION_CONFIG = 7
IRQ_COUNT = 5


class Command(enum.IntEnum):
    """Command numbers."""

    VERSION = 1
    DMA_MAP = 2
    DMA_UNMAP = 3
    GET_INFO = 4
    GET_REGION_INFO = 5
    GET_REGION_IO_FDS = 6
    GET_IRQ_INFO = 7
    SET_IRQS = 8
    REGION_READ = 9
    REGION_WRITE = 10
    DMA_READ = 11
    DMA_WRITE = 12
    RESET = 13
    DIRTY_PAGES = 14
    REGION_WRITE_MULTI = 15
    FEATURE = 16


TYPE_MASK = 0x0F
TYPE_COMMAND = 0x0
TYPE_REPLY = 0x1
NO_REPLY = 0x10
ERROR = 0x20

HEADER = struct.Struct("<HHIII")  # id, command, size, flags, error
ACCESS = struct.Struct("<QII")  # offset, region, count
MESSAGE = struct.Struct("<HHIIIQII")  # a header and the start of a region access
READ_REPLY_4 = struct.Struct("<HHIIIQIII")  # ... and four bytes of data
DWORD = struct.Struct("<I")
WRITE_COUNT = struct.Struct("<Q")
WRITE_ENTRY = struct.Struct("<QIIII")  # offset, region, count, data's low and high dword
DMA_ACCESS = struct.Struct("<QQ")  # address, count
DMA_MAP = struct.Struct("<IIQQQ")  # argsz, flags, offset, address, size
DMA_UNMAP = struct.Struct("<IIQQ")  # argsz, flags, address, size
DEVICE_INFO = struct.Struct("<IIII")  # argsz, flags, regions, interrupt types
REGION_INFO = struct.Struct("<IIIIQQ")  # argsz, flags, index, cap_offset, size, offset
SPARSE_HEADER = struct.Struct("<HHIII")  # id, version, next, areas, reserved
SPARSE_AREA = struct.Struct("<QQ")
IRQ_INFO = struct.Struct("<IIII")  # argsz, flags, index, count
IRQ_SET = struct.Struct("<IIIII")  # argsz, flags, index, start, count

DEVICE_FLAG_RESET = 1
DEVICE_FLAG_PCI = 2
REGION_FLAG_READ = 1
REGION_FLAG_WRITE = 2
REGION_FLAG_MMAP = 4
REGION_FLAG_CAPS = 8
CAP_SPARSE_MMAP = 1
IRQ_INFO_EVENTFD = 1
IRQ_INFO_MASKABLE = 2
IRQ_INFO_AUTOMASKED = 4
IRQ_INFO_NORESIZE = 8
DMA_READABLE = 1
DMA_WRITABLE = 2
DMA_UNMAP_ALL = 2  # VFIO_DMA_UNMAP_FLAG_ALL, with address and size of zero


class IrqData(enum.IntFlag):
    """The data of SET_IRQS."""

    NONE = 1
    BOOL = 2
    EVENTFD = 4


class IrqAction(enum.IntFlag):
    """The action of SET_IRQS."""

    MASK = 8
    UNMASK = 16
    TRIGGER = 32


class RequestError(Exception):
    """A request that is answered with an error number.

    Attributes:
        errno: the number.
    """

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(reason)
        self.errno = number


def invalid(reason: str) -> RequestError:
    """The error for a malformed request or a value out of range."""
    return RequestError(errno.EINVAL, reason)


def unpack(layout: struct.Struct, payload: memoryview, what: str) -> tuple[Any, ...]:
    """The fixed part of a payload.

    Raises:
        RequestError: the payload is shorter.
    """
    if len(payload) < layout.size:
        raise invalid(f"{what}: {len(payload)} bytes of payload, expected at least {layout.size}")
    return layout.unpack_from(payload)


@dataclass(frozen=True)
class Proposal:
    """A client's VERSION message.

    Attributes:
        major, minor: the version it proposes.
        capabilities: as sent; empty if there are none.
    """

    major: int
    minor: int
    capabilities: dict[str, Any]

    @classmethod
    def decode(cls, payload: memoryview) -> Proposal:
        """Decode and validate.

        Raises:
            RequestError: too short, not UTF-8, not JSON, or a capability of another type than specified.
        """
        if len(payload) < 4:
            raise invalid(f"VERSION: {len(payload)} bytes of payload, expected at least 4")
        major, minor = struct.unpack_from("<HH", payload)
        text = bytes(payload[4:]).rstrip(b"\0")
        try:
            data = json.loads(text.decode()) if text else {}
        except (ValueError, RecursionError) as error:
            raise invalid(f"VERSION: its data is not JSON: {error}") from error
        capabilities = data.get("capabilities", {}) if isinstance(data, dict) else None
        if not isinstance(capabilities, dict):
            raise invalid("VERSION: expected an object with an object named capabilities")
        for name in ("max_msg_fds", "max_data_xfer_size", "pgsizes", "max_dma_maps"):
            value = capabilities.get(name, 1)
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise invalid(f"VERSION: capability {name} is {value!r}, expected a number")
        return cls(major, minor, capabilities)

    def answer(self) -> bytes:
        """The payload of the reply: a version not above the client's, and the capabilities that both sides have.

        Raises:
            RequestError: another major version.
        """
        if self.major != MAJOR:
            raise invalid(f"VERSION: the client speaks {self.major}.{self.minor}, this server {MAJOR}.{MINOR}")
        ours: dict[str, Any] = {
            "max_msg_fds": MAX_FDS,
            "max_data_xfer_size": MAX_TRANSFER,
            "pgsizes": 4096,
            "write_multiple": True,
        }
        common = {name: value for name, value in ours.items() if name in self.capabilities}
        text = json.dumps({"capabilities": common}).encode() + b"\0"
        return struct.pack("<HH", MAJOR, min(self.minor, MINOR)) + text


@dataclass(frozen=True)
class IrqRequest:
    """A SET_IRQS message.

    Attributes:
        data: the kind of data.
        action: the action.
        index: the interrupt type.
        start, count: the vectors.
        booleans: one byte a vector with `IrqData.BOOL`, else empty.
    """

    data: IrqData
    action: IrqAction
    index: int
    start: int
    count: int
    booleans: bytes

    @classmethod
    def decode(cls, payload: memoryview) -> IrqRequest:
        """Decode, and validate what does not depend on the device.

        Raises:
            RequestError: too short, or not exactly one data flag and one action flag.
        """
        argsz, flags, index, start, count = unpack(IRQ_SET, payload, "SET_IRQS")
        if argsz < IRQ_SET.size or argsz > len(payload):
            raise invalid(f"SET_IRQS: argsz {argsz} with {len(payload)} bytes of payload")
        try:
            data, action = _DATA[flags & 0x07], _ACTIONS[flags & ~0x07]
        except KeyError:
            raise invalid(f"SET_IRQS: flags {flags:#x}: expected one data flag and one action flag") from None
        booleans = b""
        if data is IrqData.BOOL:
            booleans = bytes(payload[IRQ_SET.size : IRQ_SET.size + count])
            if len(booleans) != count:
                raise invalid(f"SET_IRQS: {len(booleans)} booleans for {count} vectors")
        return cls(data, action, index, start, count, booleans)


_DATA = {flag.value: flag for flag in IrqData}
_ACTIONS = {flag.value: flag for flag in IrqAction}


def region_info(index: int, size: int, areas: tuple[tuple[int, int], ...], argsz: int) -> tuple[bytes, bool]:
    """The payload of a GET_REGION_INFO reply.

    Args:
        index: of the region.
        size: bytes; 0 for a missing region.
        areas: the mappable areas, `(offset, size)` each.
        argsz: the client's room; if it is too small, the capability is left out and the reply's argsz is the size
            needed. QEMU expects `cap_offset` even then.

    Returns:
        The payload, and whether it is complete (only a complete one is sent with a descriptor).
    """
    flags = (REGION_FLAG_READ | REGION_FLAG_WRITE) if size else 0
    if not areas:
        return REGION_INFO.pack(REGION_INFO.size, flags, index, 0, size, 0), True
    capability = SPARSE_HEADER.pack(CAP_SPARSE_MMAP, 1, 0, len(areas), 0)
    capability += b"".join(SPARSE_AREA.pack(*area) for area in areas)
    needed = REGION_INFO.size + len(capability)
    flags |= REGION_FLAG_MMAP | REGION_FLAG_CAPS
    fixed = REGION_INFO.pack(needed, flags, index, REGION_INFO.size, size, 0)
    return (fixed + capability, True) if argsz >= needed else (fixed, False)
