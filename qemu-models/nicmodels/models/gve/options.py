# SPDX-License-Identifier: MIT
"""The device descriptor and its options.

Source: Linux, drivers/net/ethernet/google/gve/gve_adminq.h, struct gve_device_descriptor, struct gve_device_option_*.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from nicmodels.models.gve.profiles import QueueFormat
from nicmodels.offload.rss import KEY_LENGTH

if TYPE_CHECKING:
    from nicmodels.models.gve.profiles import Profile

DESCRIPTOR_VERSION = 1
DESCRIPTOR = struct.Struct(">Q2xHHHHHHH6sHH6x")
_OPTION = struct.Struct(">HHI")
RSS_TABLE = 128

MODIFY_RING, JUMBO_FRAMES, BUFFER_SIZES, FLOW_STEERING, NIC_TIMESTAMP, RSS_CONFIG = 0x6, 0x8, 0xA, 0xB, 0xD, 0xE
_FORMATS = {QueueFormat.GQI_RDA: 0x2, QueueFormat.GQI_QPL: 0x3, QueueFormat.DQO_RDA: 0x4, QueueFormat.DQO_QPL: 0x7}
# The feature bits in the options (enum gve_sup_feature_mask).
_FEATURES = {
    MODIFY_RING: 1 << 0,
    JUMBO_FRAMES: 1 << 2,
    BUFFER_SIZES: 1 << 4,
    FLOW_STEERING: 1 << 5,
    RSS_CONFIG: 1 << 7,
    NIC_TIMESTAMP: 1 << 8,
}


def counters(profile: Profile) -> int:
    """The number of event counters: one per queue."""
    return profile.max_tx + profile.max_rx


def describe(profile: Profile, mac: bytes, default_queues: int) -> bytes:
    """The answer to describe_device: descriptor and options.

    Args:
        profile: the device's profile.
        mac: its address, 6 bytes.
        default_queues: number of queues of each direction proposed to the driver.
    """
    options = list(_options(profile))
    body = b"".join(_OPTION.pack(number, len(data), 0) + data for number, data in options)
    descriptor = DESCRIPTOR.pack(
        profile.registered_pages,
        profile.tx_ring.default,
        profile.rx_ring.default,
        default_queues,
        profile.mtu,
        counters(profile),
        profile.tx_pages,
        profile.rx_pages,
        mac,
        len(options),
        DESCRIPTOR.size + len(body),
    )
    return descriptor + body


def _options(profile: Profile) -> list[tuple[int, bytes]]:
    tx, rx = profile.tx_ring, profile.rx_ring
    found = [(MODIFY_RING, struct.pack(">4xHHHH", rx.maximum, tx.maximum, rx.minimum, tx.minimum))]
    if profile.jumbo is not None:
        found.append((JUMBO_FRAMES, struct.pack(">4xH2x", profile.jumbo)))
    if profile.header_buffer or profile.packet_buffer > 2048:
        found.append((BUFFER_SIZES, struct.pack(">4xHH", profile.packet_buffer, profile.header_buffer)))
    if profile.flow_rules:
        found.append((FLOW_STEERING, struct.pack(">8xI", profile.flow_rules)))
    if profile.timestamps:
        found.append((NIC_TIMESTAMP, bytes(4)))
    if profile.rss_option:
        found.append((RSS_CONFIG, struct.pack(">4xHH", KEY_LENGTH, RSS_TABLE)))
    features = 0
    for number, _ in found:
        features |= _FEATURES[number]
    # Each option starts with its own feature bits.
    found = [(number, _FEATURES[number].to_bytes(4, "big") + data[4:]) for number, data in found]
    form = struct.pack(">I", features)
    if profile.format is QueueFormat.DQO_RDA:
        # Entries of the transmit completion and the receive buffer rings, which drivers up to Linux 6.1 take from here.
        form += struct.pack(">HH", tx.default, rx.default)
    elif profile.format is QueueFormat.DQO_QPL:
        form += struct.pack(">HH", profile.tx_pages, profile.rx_pages)
    return [(_FORMATS[profile.format], form), *found]
