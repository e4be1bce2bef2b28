# SPDX-License-Identifier: GPL-2.0-or-later
"""A packet socket of the guest, by which a test sends exactly the frames that it wants to, whatever the guest's addresses."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plugfest.frames.segmentation import Order
    from plugfest.machine.agent import AgentClient


class Outlet:
    """Sends frames from an interface of the guest."""

    def __init__(self, agent: AgentClient, ifname: str, defer: Callable[..., None]) -> None:
        """Open nothing yet.

        Args:
            agent: of the guest.
            ifname: the interface: the one under test, or one on top of it.
            defer: registers the closing of the sockets.
        """
        self._agent = agent
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
        handle = self._handle(False)
        return int(self._agent.call("packet.send", packet=handle, frames=encoded, cpu=cpu, repeat=repeat))

    def hand(self, orders: Iterable[Order]) -> int:
        """Hand packets over that the device is to finish; returns how many."""
        encoded = [base64.b64encode(order.handed()).decode() for order in orders]
        return int(self._agent.call("packet.send", packet=self._handle(True), frames=encoded))
