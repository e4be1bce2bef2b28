# SPDX-License-Identifier: GPL-2.0-or-later
"""Which receive queue gets which frames: the RSS table and receive classification rules.

Source: Documentation/networking/scaling.rst; Documentation/networking/devmem.rst, NIC Setup.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plugfest.machine.agent import AgentError

if TYPE_CHECKING:
    from plugfest.dut.dut import Dut
    from plugfest.dut.settings import Settings

NTUPLE = "rx-ntuple-filter"
"""The feature that classification rules belong to."""


@dataclass(frozen=True)
class FlowRule:
    """A classification rule of the driver's.

    Attributes:
        dut: the interface.
        location: its place in the driver's table.
    """

    dut: Dut
    location: int

    def remove(self) -> None:
        """Remove it.

        Raises:
            AgentError: the driver rejects it.
        """
        self.dut.agent.call("flow_rules.delete", ifname=self.dut.ifname, location=self.location)

    def clear(self) -> None:
        """Remove it if it is there: a driver that was unbound, or whose device was reset, may have no rules any more."""
        try:
            self.remove()
        except AgentError as error:
            if error.errno not in {errno.ENOENT, errno.EINVAL, errno.ENODEV}:
                raise


class Steering:
    """Changes where received frames go; each change is undone when the test ends."""

    def __init__(self, dut: Dut, settings: Settings, defer: Callable[..., None]) -> None:
        """Change nothing yet."""
        self._dut = dut
        self._settings = settings
        self._defer = defer

    def avoid(self, queue: int) -> bool:
        """Have RSS spread over all receive queues but one; returns whether the driver has a table and another queue."""
        rss = self._dut.rss()
        return rss is not None and self._spread([each for each in range(rss.queues) if each != queue], len(rss.table))

    def only(self, queue: int) -> bool:
        """Have RSS send everything to one queue; returns whether the driver has a table."""
        rss = self._dut.rss()
        return rss is not None and self._spread([queue], len(rss.table))

    def _spread(self, queues: list[int], size: int) -> bool:
        if queues:
            self._settings.set_rss(table=[queues[at % len(queues)] for at in range(size)])
        return bool(queues)

    def add_rule(self, protocol: str, version: int, port: int, queue: int) -> FlowRule | None:
        """Steer a protocol's frames for a destination port to a queue; returns the rule, None where the driver supports none such.

        Args:
            protocol: tcp or udp.
            version: of IP.
            port: of the destination.
            queue: the receive queue.
        """
        features = self._dut.features()
        if NTUPLE in features.free - features.active:
            self._settings.set_features({NTUPLE: True})
        try:
            location = self._dut.agent.call(
                "flow_rules.add", ifname=self._dut.ifname, protocol=protocol, version=version, port=port, queue=queue
            )
        except AgentError as error:
            if error.errno == errno.EOPNOTSUPP:
                return None
            raise
        rule = FlowRule(self._dut, int(location))
        self._defer(rule.clear)
        return rule
