# SPDX-License-Identifier: GPL-2.0-or-later
"""The ethtool ioctl and its string sets. Source: include/uapi/linux/ethtool.h."""

from __future__ import annotations

import array
import struct

from agent.system.interface import interface_ioctl

SIOCETHTOOL = 0x8946
ETHTOOL_GSTRINGS = 0x1B
ETHTOOL_GSTATS = 0x1D
ETHTOOL_GSSET_INFO = 0x37
ETH_SS_TEST = 0
ETH_SS_STATS = 1
ETH_GSTRING_LEN = 32


def ethtool_ioctl(ifname: str, buffer: array.array[int]) -> None:
    """Pass an ethtool command structure to the driver, which may write to it.

    Raises:
        OSError: the driver or the kernel refused.
    """
    address, _ = buffer.buffer_info()
    interface_ioctl(ifname, SIOCETHTOOL, address)


def string_set_size(ifname: str, string_set: int) -> int:
    """Return the number of strings in a string set, 0 where the driver does not have the set."""
    buffer = array.array("B", struct.pack("=IIQI", ETHTOOL_GSSET_INFO, 0, 1 << string_set, 0))
    ethtool_ioctl(ifname, buffer)
    _, _, mask, size = struct.unpack("=IIQI", buffer)
    return int(size) if mask else 0


def strings(ifname: str, string_set: int) -> list[str]:
    """Return the strings of a string set."""
    size = string_set_size(ifname, string_set)
    buffer = array.array("B", struct.pack("=III", ETHTOOL_GSTRINGS, string_set, size) + bytes(size * ETH_GSTRING_LEN))
    ethtool_ioctl(ifname, buffer)
    raw = buffer.tobytes()[12:]
    return [
        raw[at : at + ETH_GSTRING_LEN].partition(b"\0")[0].decode(errors="replace")
        for at in range(0, size * ETH_GSTRING_LEN, ETH_GSTRING_LEN)
    ]
