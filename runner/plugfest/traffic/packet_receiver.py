# SPDX-License-Identifier: GPL-2.0-or-later
"""A packet socket of the guest that takes whole frames as they come out of an interface, whatever they hold."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import TYPE_CHECKING

from plugfest.deadline import scaled
from plugfest.traffic.traffic import PATIENCE

if TYPE_CHECKING:
    from plugfest.plugin.fixtures import Guest


class Inlet:
    """Takes frames from an interface of the guest, what the guest itself sends left out."""

    def __init__(self, guest: Guest, ifname: str, defer: Callable[..., None]) -> None:
        """Listen from now on.

        Args:
            guest: whose interface it is.
            ifname: the one under test, or any other.
            defer: registers the closing of the socket.
        """
        self._agent = guest.agent
        self._patience = scaled(PATIENCE, guest.speed)
        self._handle = self._agent.call("packet.open", ifname=ifname)
        defer(self._agent.call, "handle.close", handle=self._handle)

    def take(self, wanted: Callable[[bytes], bool], count: int) -> list[bytes]:
        """Return the frames that came since the last call and that are `wanted`.

        Args:
            wanted: tells which.
            count: how many are waited for, until none of any kind comes for a while; more are returned if there are more.
        """
        found: list[bytes] = []
        news = self._receive(max(count, 1), self._patience)
        while news:
            found += [frame for frame in news if wanted(frame)]
            news = self._receive(max(count - len(found), 1), self._patience if len(found) < count else 0)
        return found

    def _receive(self, count: int, timeout: float) -> list[bytes]:
        frames = self._agent.call("packet.receive", packet=self._handle, count=count, timeout=timeout)
        return [base64.b64decode(each["frame"]) for each in frames]
