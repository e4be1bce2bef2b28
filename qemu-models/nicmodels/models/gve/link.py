# SPDX-License-Identifier: MIT
"""The link: gVNIC has no link modes, only a state and a speed in Mbit/s."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicmodels.phy import Abilities, Looks, VirtualSwitchPort

if TYPE_CHECKING:
    from collections.abc import Callable

    from nicmodels.nic.device import Host
    from nicmodels.phy import Resolution

_ALL = Abilities.of("1000BASE-KX", "10GBASE-KR", "25GBASE-KR/CR", "50GBASE-KR/CR", "100GBASE-KR4")
"""The technologies of the virtual port, of which the device reports only the speed."""
DELAY = 0.005


class Link:
    """The local end.

    Args:
        host: the device's host.
        changed: called when the reported state changes.

    Attributes:
        partner: the other end.
        looks: counts the driver's reads of the device status register.
    """

    def __init__(self, host: Host, changed: Callable[[], None]) -> None:
        self._host = host
        self._report_change = changed
        self._stuck = host.faults["link.report.stuck"]
        self._wrong = host.faults["link.speed.wrong"]
        self._silent = host.faults["link.interrupt.lost"]
        self._flaps = host.faults["link.flap.on-queue-command"]
        self._last = (False, 0)
        self.looks = Looks()
        self.partner = VirtualSwitchPort(host.clock, abilities=_ALL, delay=DELAY)
        self.partner.subscribe(self._changed)

    def start(self) -> None:
        """Start the link, at power-on."""
        self.partner.local(_ALL)

    @property
    def up(self) -> bool:
        """Whether frames can pass."""
        return self.partner.resolved is not None

    @property
    def reported_up(self) -> bool:
        """The link state in the device status register."""
        return self._report()[0]

    @property
    def reported_speed(self) -> int:
        """The speed of report_link_speed in Mbit/s; while the link is down the last one, or 0 if there was none."""
        speed = self._report()[1]
        return speed // 2 if self._wrong.armed and self._wrong.fires() else speed

    def queue_command(self) -> None:
        """A queue is created or destroyed, which does not affect the link without the fault."""
        if self._flaps.armed and self._flaps.fires():
            self.partner.local(_ALL)

    def _report(self) -> tuple[bool, int]:
        if self._stuck.armed and self._stuck.fires():
            return self._last
        resolved = self.partner.resolved
        self._last = (True, resolved.speed) if resolved is not None else (False, self._last[1])
        return self._last

    def _changed(self, resolution: Resolution | None) -> None:
        details = {} if resolution is None else {"speed": resolution.speed}
        self.looks.changed()
        self._host.events.add("link.up" if resolution is not None else "link.down", **details)
        if self._stuck.armed and self._stuck.fires():
            return
        if not (self._silent.armed and self._silent.fires()):
            self._report_change()
