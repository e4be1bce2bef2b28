# SPDX-License-Identifier: GPL-2.0-or-later
"""Packet sockets in the guest: they send and receive exactly the frames that a test wants, whatever the guest's addresses."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from itertools import groupby
from typing import TYPE_CHECKING, Any

from plugfest.deadline import listen, scaled
from plugfest.traffic.traffic import FULL_TIMEOUT, LOSS_TIMEOUT

if TYPE_CHECKING:
    from plugfest.frames.segmentation import TxRequest
    from plugfest.machine.agent import AgentClient
    from plugfest.machine.machine import Machine


class PacketSender:
    """Sends frames from an interface of the guest."""

    def __init__(
        self, guest: Machine, ifname: str, defer: Callable[..., None], *, agent: AgentClient | None = None
    ) -> None:
        """Open nothing yet.

        Args:
            guest: whose interface it is.
            ifname: the one under test, or any other.
            defer: registers the closing of the sockets.
            agent: a connection of its own, for what is sent while the test asks other things.
        """
        self._agent = agent or guest.agent
        self._full_timeout = scaled(FULL_TIMEOUT, guest.speed)
        self._ifname = ifname
        self._defer = defer
        self._handles: dict[bool, int] = {}

    def _handle(self, vnet: bool) -> int:
        if vnet not in self._handles:
            handle = self._agent.call("packet.open", ifname=self._ifname, protocol=0, vnet=vnet)
            self._defer(self._agent.call, "handle.close", handle=handle)
            self._handles[vnet] = handle
        return self._handles[vnet]

    def send(self, frames: Iterable[bytes], *, cpu: int | None = None, repeat: int = 1) -> int:
        """Send whole frames, all of them `repeat` times; returns how many."""
        encoded = [base64.b64encode(frame).decode() for frame in frames]
        return self._send(self._handle(False), frames=encoded, cpu=cpu, repeat=repeat)

    def send_requests(self, requests: Iterable[TxRequest]) -> int:
        """Send packets that the device has to finish; returns how many."""
        sent = 0
        for protocol, group in groupby(requests, lambda request: request.socket_protocol):
            encoded = [base64.b64encode(request.packet()).decode() for request in group]
            sent += self._send(self._handle(True), frames=encoded, protocol=protocol)
        return sent

    def _send(self, handle: int, **params: Any) -> int:
        return int(self._agent.call("packet.send", packet=handle, full_timeout=self._full_timeout, **params))

    def refused(self) -> int:
        """Return how often a frame had to be sent again, since the interface's queue was full."""
        handles = self._handles.values()
        return sum(self._agent.batch([("packet.refused", {"packet": handle}) for handle in handles])) if handles else 0


class PacketReceiver:
    """Takes frames from an interface of the guest, what the guest itself sends left out."""

    def __init__(self, guest: Machine, ifname: str, defer: Callable[..., None]) -> None:
        """Listen from now on.

        Args:
            guest: whose interface it is.
            ifname: the one under test, or any other.
            defer: registers the closing of the socket.
        """
        self._guest = guest
        self._agent = guest.agent
        self._handle = self._agent.call("packet.open", ifname=ifname)
        defer(self._agent.call, "handle.close", handle=self._handle)

    def take(self, wanted: Callable[[bytes], bool], count: int) -> list[bytes]:
        """Return the frames that came since the last call and that are `wanted`.

        Args:
            wanted: returns which.
            count: how many are waited for, until none of any kind comes for `LOSS_TIMEOUT`; more are returned if there are more.
        """
        found: list[bytes] = []
        news = self._next(max(count, 1))
        while news:
            found += [frame for frame in news if wanted(frame)]
            news = self._next(count - len(found)) if len(found) < count else self._receive(1, 0)
        return found

    def _next(self, count: int) -> list[bytes] | None:
        """Return up to `count` frames; none if none comes for a while."""
        return listen(lambda timeout: self._receive(count, timeout), self._guest.deadline(LOSS_TIMEOUT))

    def _receive(self, count: int, timeout: float) -> list[bytes]:
        frames = self._agent.call("packet.receive", packet=self._handle, count=count, timeout=timeout)
        return [base64.b64decode(each["frame"]) for each in frames]
