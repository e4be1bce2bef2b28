# SPDX-License-Identifier: GPL-2.0-or-later
"""UDP in both directions. Methods ``udp.*``."""

from __future__ import annotations

import base64
import select
import socket
import time
from pathlib import Path
from typing import Any

from agent import handle
from agent.methods import exposed
from agent.sockets import payload
from agent.sockets.tcp import address_family, set_options

SNMP, SNMP6 = Path("/proc/net/snmp"), Path("/proc/net/snmp6")
UDP_SEGMENT = 103
SO_RCVBUFFORCE = 33


@exposed
def open(address: str = "", port: int = 0, device: str | None = None, segment: int | None = None) -> dict[str, int]:  # noqa: A001
    """Open and bind a socket, with a segment size for UDP GSO where `segment` is given; returns handle, port and `overflows`."""
    sock = socket.socket(address_family(address), socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 23)
    set_options(sock, device, None)
    if segment:
        sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, segment)
    sock.bind((address, port))
    return {"handle": handle.keep(sock), "port": sock.getsockname()[1], "overflows": overflows()}


@exposed
def send(
    socket_handle: int, address: str, port: int, length: int, count: int = 1, seed: int = 1, data: str | None = None
) -> int:
    """Send `count` datagrams, each with `data` or the next `length` bytes of stream `seed`; returns their number."""
    sock = handle.get(socket_handle, socket.socket)
    for index in range(count):
        body = base64.b64decode(data) if data is not None else payload.generate(seed, length, index * length)
        sock.sendto(body, (address, port))
    return count


@exposed
def receive(socket_handle: int, count: int, timeout: float = 5, idle: float | None = None) -> list[dict[str, Any]]:
    """Return up to `count` datagrams that arrive within `timeout` seconds: data (base64) and peer.

    With `idle`, there is no overall limit: the call ends when no datagram has arrived for `idle` seconds.
    """
    sock = handle.get(socket_handle, socket.socket)
    end = time.monotonic() + timeout
    found: list[dict[str, Any]] = []
    while len(found) < count:
        if not select.select([sock], [], [], max(0.0, end - time.monotonic()) if idle is None else idle)[0]:
            break
        data, peer = sock.recvfrom(65536)
        found.append({"data": base64.b64encode(data).decode(), "peer": [peer[0], peer[1]]})
    return found


@exposed
def drain(socket_handle: int) -> int:
    """Discard the datagrams in the receive buffer; returns their number."""
    sock = handle.get(socket_handle, socket.socket)
    count = 0
    while select.select([sock], [], [], 0)[0]:
        sock.recvfrom(65536)
        count += 1
    return count


@exposed
def overflows() -> int:
    """Return how many datagrams the guest has lost because a socket's receive buffer was full (RcvbufErrors), ever."""
    names, values = (line.split() for line in SNMP.read_text().splitlines() if line.startswith("Udp:"))
    ipv4 = dict(zip(names, values, strict=True))
    ipv6 = dict(line.split() for line in SNMP6.read_text().splitlines()) if SNMP6.exists() else {}
    return int(ipv4["RcvbufErrors"]) + int(ipv6.get("Udp6RcvbufErrors", 0))
