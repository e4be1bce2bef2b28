# SPDX-License-Identifier: MIT
"""The profiles of the device: queue formats, sizes and counts.

Sources: Linux, drivers/net/ethernet/google/gve/gve_adminq.h (device descriptor, device options), gve.h (queue formats).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class QueueFormat(enum.IntEnum):
    """The format of descriptors and buffers (gve.h, enum gve_queue_format)."""

    GQI_RDA = 1
    GQI_QPL = 2
    DQO_RDA = 3
    DQO_QPL = 4

    @property
    def is_dqo(self) -> bool:
        """Whether descriptors and completions have separate rings, in little-endian."""
        return self in (QueueFormat.DQO_RDA, QueueFormat.DQO_QPL)


@dataclass(frozen=True)
class RingSizes:
    """The sizes of a ring in descriptors, powers of two."""

    default: int
    minimum: int
    maximum: int

    def has(self, size: int) -> bool:
        """Whether a ring may have this size."""
        return self.minimum <= size <= self.maximum and size & (size - 1) == 0


@dataclass(frozen=True)
class Profile:
    """One profile.

    Attributes:
        title: one line.
        format: the queue format that the device offers.
        mtu: the largest MTU in the device descriptor.
        jumbo: the largest MTU in the jumbo frames option, which overrides `mtu`; None without the option.
        max_tx, max_rx: maximum number of queues; XDP needs two transmit queues for each receive queue.
        default_queues: number of queues of each direction proposed to the driver.
        vectors: MSI-X vectors: one per notification block, and one for management.
        tx_ring, rx_ring: ring sizes.
        packet_buffer: bytes of the largest receive buffer; above 2048 only with the buffer sizes option.
        header_buffer: bytes of a header buffer; 0 without header split.
        flow_rules: maximum number of flow steering rules; 0 without the option.
        rss_option: RSS key and table can be queried; otherwise the driver must configure them (DQO).
        timestamps: the device has a clock and timestamps received packets.
        registered_pages: maximum number of registered pages (QPL).
        tx_pages, rx_pages: pages per queue page list.
        revision: of the PCI function; from 1 on the admin queue can be placed by base and length too, not only by page number.
    """

    title: str
    format: QueueFormat = QueueFormat.DQO_RDA
    mtu: int = 1500
    jumbo: int | None = None
    max_tx: int = 32
    max_rx: int = 16
    default_queues: int = 4
    vectors: int = 65
    tx_ring: RingSizes = RingSizes(512, 256, 4096)
    rx_ring: RingSizes = RingSizes(512, 256, 4096)
    packet_buffer: int = 2048
    header_buffer: int = 0
    flow_rules: int = 0
    rss_option: bool = False
    timestamps: bool = False
    registered_pages: int = 0
    tx_pages: int = 0
    rx_pages: int = 0
    revision: int = 1

    @property
    def largest_mtu(self) -> int:
        """The largest MTU, in bytes."""
        return self.mtu if self.jumbo is None else self.jumbo

    @property
    def blocks(self) -> int:
        """Number of notification blocks: one per vector except for management."""
        return self.vectors - 1


VARIANTS = {
    "std": Profile("DQO RDA, MTU 1500"),
    "jumbo": Profile("DQO RDA, MTU 9000", jumbo=9000, packet_buffer=4096),
    "hds": Profile(
        "DQO RDA, MTU 1500, header split, flow steering, RSS queries and a clock",
        packet_buffer=4096,
        header_buffer=256,
        flow_rules=64,
        rss_option=True,
        timestamps=True,
    ),
    "qpl": Profile(
        "DQO QPL, MTU 1500",
        QueueFormat.DQO_QPL,
        registered_pages=1 << 20,
        tx_pages=512,
        rx_pages=2048,
    ),
    "gqi": Profile(
        "GQI QPL, MTU 1500",
        QueueFormat.GQI_QPL,
        rss_option=True,
        registered_pages=1 << 20,
        tx_pages=512,
        rx_pages=1024,
    ),
}
DEFAULT = "std"
