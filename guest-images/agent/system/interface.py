# SPDX-License-Identifier: GPL-2.0-or-later
"""A network interface by its name: its index, and ioctls on it. Source: netdevice(7)."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct


def interface_index(ifname: str) -> int:
    """Return the index of an interface.

    Raises:
        OSError: ENODEV, there is no interface of this name.
    """
    try:
        return socket.if_nametoindex(ifname)
    except OSError as error:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), ifname) from error


def interface_ioctl(ifname: str, request: int, data: int) -> None:
    """Call ioctl(2) with a struct ifreq whose ifr_data is the address `data`.

    Raises:
        OSError: the kernel or the driver refused.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, request, struct.pack("16sQ16x", ifname.encode(), data))
