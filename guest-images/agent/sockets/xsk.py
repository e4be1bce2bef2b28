# SPDX-License-Identifier: GPL-2.0-or-later
"""AF_XDP sockets that only occupy a receive queue; `af_xdp` moves packets. Methods ``xsk.*``.

Source: Documentation/networking/af_xdp.rst; include/uapi/linux/if_xdp.h.
"""

from __future__ import annotations

import mmap
import socket
import struct
from contextlib import suppress

from agent import handle
from agent.methods import exposed
from agent.system.interface import interface_index
from agent.system.libc import address, checked, libc

AF_XDP = 44
SOL_XDP = 283
XDP_RX_RING = 2
XDP_UMEM_REG = 4
XDP_UMEM_FILL_RING = 5
XDP_UMEM_COMPLETION_RING = 6
FLAGS = {"copy": 1 << 1, "zero-copy": 1 << 2}
CHUNK = 4096
CHUNKS = 64
RING = struct.pack("=i", 64)


class Xsk:
    """A socket with a umem of its own, bound to a queue."""

    def __init__(self, ifname: str, queue: int, mode: str) -> None:
        """Open and bind the socket.

        Raises:
            OSError: the kernel or the driver refused.
        """
        self.socket = socket.socket(AF_XDP, socket.SOCK_RAW, 0)
        self.memory = mmap.mmap(-1, CHUNK * CHUNKS)
        try:
            umem = struct.pack("=QQIIII", address(self.memory), len(self.memory), CHUNK, 0, 0, 0)
            self.socket.setsockopt(SOL_XDP, XDP_UMEM_REG, umem)
            for ring in (XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING, XDP_RX_RING):
                self.socket.setsockopt(SOL_XDP, ring, RING)
            name = struct.pack("=HHIII", AF_XDP, FLAGS[mode], interface_index(ifname), queue, 0)
            checked(libc.bind(self.socket.fileno(), name, len(name)))
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Release the queue."""
        self.socket.close()
        with suppress(BufferError):
            self.memory.close()


@exposed
def bind(ifname: str, queue: int, mode: str = "copy") -> int:
    """Bind an AF_XDP socket to a queue, in mode ``copy`` or ``zero-copy``; returns a handle. Attaches no program."""
    return handle.keep(Xsk(ifname, queue, mode))
