# SPDX-License-Identifier: MIT
"""The registers of BAR 0, all big-endian.

Sources: Linux, drivers/net/ethernet/google/gve/gve_register.h;
Documentation/networking/device_drivers/ethernet/google/gve.rst (endianness, admin queue, device resets).

The register file holds the values of big-endian dwords as numbers; `native` maps the guest's little-endian accesses to it.
"""

from __future__ import annotations

from nicmodels.registers import RO, RW, Field, Register, RegisterMap

DEVICE_STATUS = Register(
    "DEVICE_STATUS",
    0x00,
    RO,
    title="Device status",
    fields=(Field("RESET", 1), Field("LINK", 2), Field("REPORT_STATS", 3), Field("IS_RESET", 4)),
)
DRIVER_STATUS = Register("DRIVER_STATUS", 0x04, RW, title="Driver status", fields=(Field("RUN", 0), Field("RESET", 1)))
MAX_TX_QUEUES = Register("MAX_TX_QUEUES", 0x08, RO, title="Maximum number of transmit queues")
MAX_RX_QUEUES = Register("MAX_RX_QUEUES", 0x0C, RO, title="Maximum number of receive queues")
ADMINQ_PFN = Register("ADMINQ_PFN", 0x10, RW, title="Page number of the admin queue; 0 releases it")
ADMINQ_DOORBELL = Register("ADMINQ_DOORBELL", 0x14, RW, title="Commands submitted so far")
ADMINQ_EVENT_COUNTER = Register("ADMINQ_EVENT_COUNTER", 0x18, RO, title="Commands executed so far")
DRIVER_VERSION = Register(
    "DRIVER_VERSION", 0x1C, RW, title="The driver's name, one character per write", fields=(Field("CHARACTER", 0, 7),)
)
ADMINQ_BASE_HIGH = Register("ADMINQ_BASE_HIGH", 0x20, RW, title="Address of the admin queue, bits 63 to 32")
ADMINQ_BASE_LOW = Register("ADMINQ_BASE_LOW", 0x24, RW, title="Address of the admin queue, bits 31 to 0")
ADMINQ_LENGTH = Register(
    "ADMINQ_LENGTH", 0x28, RW, title="Size of the admin queue in bytes", fields=(Field("LENGTH", 16, 31),)
)
REGISTERS = RegisterMap(
    "gVNIC",
    (
        DEVICE_STATUS,
        DRIVER_STATUS,
        MAX_TX_QUEUES,
        MAX_RX_QUEUES,
        ADMINQ_PFN,
        ADMINQ_DOORBELL,
        ADMINQ_EVENT_COUNTER,
        DRIVER_VERSION,
        ADMINQ_BASE_HIGH,
        ADMINQ_BASE_LOW,
        ADMINQ_LENGTH,
    ),
)

STATUS_RESET, STATUS_LINK, STATUS_REPORT_STATS, STATUS_IS_RESET = 1 << 1, 1 << 2, 1 << 3, 1 << 4
DRIVER_RUN, DRIVER_RESET = 1 << 0, 1 << 1


def native(offset: int, size: int) -> int:
    """The register file's offset of an access of 1, 2 or 4 bytes within a dword."""
    return (offset & ~3) + 4 - (offset & 3) - size


def swapped(value: int, size: int) -> int:
    """Swap the bytes of a number."""
    return int.from_bytes(value.to_bytes(size, "little"), "big")
