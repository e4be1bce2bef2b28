# SPDX-License-Identifier: MIT
"""Layouts of the admin commands, and their statuses. All fields are big-endian.

Source: Linux, drivers/net/ethernet/google/gve/gve_adminq.h.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass

COMMAND_SIZE = 64
HEADER = struct.Struct(">II")
"""Opcode, and the status that the device writes."""
EXTENDED = 0xFF


class Status(enum.IntEnum):
    """The status of a command (enum gve_adminq_statuses)."""

    UNSET = 0
    PASSED = 1
    ABORTED = 0xFFFF_FFF0
    ALREADY_EXISTS = 0xFFFF_FFF1
    CANCELLED = 0xFFFF_FFF2
    DATALOSS = 0xFFFF_FFF3
    DEADLINE_EXCEEDED = 0xFFFF_FFF4
    FAILED_PRECONDITION = 0xFFFF_FFF5
    INTERNAL_ERROR = 0xFFFF_FFF6
    INVALID_ARGUMENT = 0xFFFF_FFF7
    NOT_FOUND = 0xFFFF_FFF8
    OUT_OF_RANGE = 0xFFFF_FFF9
    PERMISSION_DENIED = 0xFFFF_FFFA
    UNAUTHENTICATED = 0xFFFF_FFFB
    RESOURCE_EXHAUSTED = 0xFFFF_FFFC
    UNAVAILABLE = 0xFFFF_FFFD
    UNIMPLEMENTED = 0xFFFF_FFFE
    UNKNOWN_ERROR = 0xFFFF_FFFF


class CommandError(Exception):
    """A command failed.

    Attributes:
        status: its status.
    """

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class NeverCompletedError(Exception):
    """A command does not complete, nor any later one: the admin queue hangs until the device is reset."""


@dataclass(frozen=True)
class Layout:
    """One command.

    Attributes:
        name: in lower case, as in the event log.
        opcode: in the command, or in the extended command.
        layout: of the bytes after opcode and status, or of the inner command of an extended one.
        fields: names of the fields of `layout`.
        extended: the command is longer than 56 bytes, so that the queue holds only its address.
    """

    name: str
    opcode: int
    layout: struct.Struct
    fields: tuple[str, ...] = ()
    extended: bool = False

    def decode(self, data: bytes) -> dict[str, int]:
        """The fields by name."""
        return dict(zip(self.fields, self.layout.unpack_from(data), strict=True))


def _command(name: str, opcode: int, layout: str, fields: str = "") -> Layout:
    return Layout(name, opcode, struct.Struct(">" + layout), tuple(fields.split()))


LAYOUTS = (
    _command("describe_device", 0x1, "QII", "descriptor_address version available_length"),
    _command(
        "configure_device_resources",
        0x2,
        "QQIIIIB7x",
        "counter_address irq_db_address num_counters num_irq_dbs irq_db_stride first_vector queue_format",
    ),
    _command("register_page_list", 0x3, "IIQQ", "page_list num_pages address page_size"),
    _command("unregister_page_list", 0x4, "I", "page_list"),
    _command(
        "create_tx_queue",
        0x5,
        "I4xQQIIQHH4x",
        "queue resources_address ring_address page_list ntfy_id completion_address ring_size completion_ring_size",
    ),
    _command(
        "create_rx_queue",
        0x6,
        "II4xIQQQIHHHBxH2x",
        "queue index ntfy_id resources_address descriptor_address data_address page_list ring_size buffer_size "
        "buffer_ring_size rsc header_buffer_size",
    ),
    _command("destroy_tx_queue", 0x7, "I", "queue"),
    _command("destroy_rx_queue", 0x8, "I", "queue"),
    _command("deconfigure_device_resources", 0x9, ""),
    _command(
        "configure_rss", 0xA, "HBxHHQQ", "hash_types hash_algorithm key_size table_size key_address table_address"
    ),
    _command("set_driver_parameter", 0xB, "I4xQ", "parameter value"),
    _command("report_stats", 0xC, "QQQ", "length address interval"),
    _command("report_link_speed", 0xD, "Q", "address"),
    _command("get_ptype_map", 0xE, "QQ", "length address"),
    _command("verify_driver_compatibility", 0xF, "QQ", "length address"),
    _command("query_flow_rules", 0x10, "H2xIQQ", "query first available_length address"),
    _command("report_nic_timestamp", 0x11, "QQ", "length address"),
    _command("query_rss", 0x12, "QQ", "available_length address"),
    Layout("configure_flow_rule", 0x101, struct.Struct(">H2x84sI"), ("operation", "rule", "location"), extended=True),
)
BY_OPCODE = {each.opcode: each for each in LAYOUTS}
EXTENDED_COMMAND = struct.Struct(">IIQ")
"""Inner opcode, inner length, address of the inner command."""
