# SPDX-License-Identifier: MIT
"""Receive-side scaling: the driver's configuration, or the device's defaults.

Source: Linux, drivers/net/ethernet/google/gve/gve_adminq.h (configure_rss, query_rss); include/uapi/linux/ethtool.h
(ETH_RSS_HASH_TOP).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from nicmodels.models.gve.commands import CommandError, Status
from nicmodels.models.gve.options import RSS_TABLE
from nicmodels.offload.rss import KEY_LENGTH, HashType, Scaling

if TYPE_CHECKING:
    from nicmodels.vfio_user.memory import GuestMemory

TOEPLITZ = 1
DEFAULT_KEY = bytes.fromhex(
    "6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa"  # Microsoft's verification key
)
DEFAULT_TYPES = 1 << 1 | 1 << 4 | 1 << 6 | 1 << 7
QUERY = struct.Struct(">IHBx")
# Bits by enum gve_rss_hash_type; those with extension headers need no separate type here.
_TYPES = (
    HashType.IPV4,
    HashType.TCP_IPV4,
    HashType.IPV6,
    HashType.IPV6,
    HashType.TCP_IPV6,
    HashType.TCP_IPV6,
    HashType.UDP_IPV4,
    HashType.UDP_IPV6,
    HashType.UDP_IPV6,
)


class ReceiveScaling:
    """Key, hash types and table.

    Without a table from the driver the device spreads frames evenly over the existing queues.

    Args:
        memory: guest memory.
        queues: maximum number of receive queues.
    """

    def __init__(self, memory: GuestMemory, queues: int) -> None:
        self._memory = memory
        self._queues = queues
        self._present = 0
        self._table: tuple[int, ...] | None = None
        self.reset()

    @property
    def scaling(self) -> Scaling:
        """The current configuration."""
        return self._scaling

    def reset(self) -> None:
        """Restore the defaults."""
        self._key, self._types = DEFAULT_KEY, DEFAULT_TYPES
        self._table = None
        self._present = 0
        self._apply()

    def queues_changed(self, present: int) -> None:
        """Set the number of existing receive queues, numbered from 0."""
        self._present = present
        if self._table is None:
            self._apply()

    def configure(self, fields: dict[str, int]) -> None:
        """The command configure_rss; a size of 0 keeps the key or the table.

        Raises:
            CommandError: an invalid size, type, algorithm or queue.
            DmaError: the key or the table is not in guest memory.
        """
        if fields["hash_algorithm"] not in (0, TOEPLITZ):
            raise CommandError(Status.INVALID_ARGUMENT, f"hash algorithm {fields['hash_algorithm']}")
        if fields["hash_types"] >> len(_TYPES):
            raise CommandError(Status.INVALID_ARGUMENT, f"hash types {fields['hash_types']:#x}")
        if fields["key_size"] not in (0, KEY_LENGTH) or fields["table_size"] not in (0, RSS_TABLE):
            raise CommandError(
                Status.INVALID_ARGUMENT, f"key of {fields['key_size']} bytes, table of {fields['table_size']} entries"
            )
        key, table = self._key, self._table
        if fields["key_size"]:
            key = self._memory.read(fields["key_address"], KEY_LENGTH)
        if fields["table_size"]:
            table = struct.unpack(f">{RSS_TABLE}I", self._memory.read(fields["table_address"], 4 * RSS_TABLE))
            if max(table) >= self._queues:
                raise CommandError(Status.OUT_OF_RANGE, f"queue {max(table)} in the table")
        self._key, self._table = key, table
        if fields["hash_types"]:
            self._types = fields["hash_types"]
        self._apply()

    def query(self) -> bytes:
        """The answer to query_rss: descriptor, key, table."""
        table = struct.pack(f">{RSS_TABLE}I", *self._scaling.table)
        return QUERY.pack(QUERY.size + KEY_LENGTH + len(table), self._types, TOEPLITZ) + self._key + table

    def _apply(self) -> None:
        kinds = HashType.NONE
        for bit, kind in enumerate(_TYPES):
            if self._types >> bit & 1:
                kinds |= kind
        table = self._table
        if table is None:
            spread = max(self._present, 1)
            table = tuple(number % spread for number in range(RSS_TABLE))
        self._scaling = Scaling(self._key, kinds, table)
