# SPDX-License-Identifier: GPL-2.0-or-later
"""The link partner, whatever the subject: a model's own, or QEMU's switch for the cable of a device that it emulates."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plugfest.machine.machine import Machine

_TECHNOLOGY = re.compile(r"([\d.]+)(G?)BASE-")


def speed_of(technology: str) -> int:
    """Return the Mbit/s of a technology by its name: 1000BASE-KX, 2.5GBASE-KX, 100GBASE-KR4.

    Raises:
        ValueError: that is no such name.
    """
    found = _TECHNOLOGY.match(technology)
    if found is None:
        raise ValueError(f"{technology!r}: expected the name of a technology, as 10GBASE-KR")
    return int(float(found[1]) * (1000 if found[2] else 1))


class LinkPartner:
    """What is at the other end of the link."""

    def __init__(self, machine: Machine) -> None:
        """Change nothing yet."""
        self._machine = machine

    @property
    def modelled(self) -> bool:
        """Whether it has abilities and speeds; QEMU's has none."""
        return self._machine.model is not None

    def set(self, *, up: bool) -> None:
        """Turn it on or off."""
        if self._machine.model is not None:
            self._machine.model.call("link.set", up=up)
        else:
            self._machine.guest.qemu.qmp.execute("set_link", {"name": self._machine.device, "up": up})

    def flap(self, times: int) -> None:
        """Go down and up again, as fast as it can; ends up."""
        if self._machine.model is not None:
            self._machine.model.call("link.set", flap={"times": times, "down": 0.002, "up": 0.008})
            return
        for _ in range(times):
            self.set(up=False)
            self.set(up=True)

    @property
    def quiet(self) -> bool:
        """Whether it has done all that it was asked to, and the link is where that leads."""
        if self._machine.model is None:
            return True
        state = self.get()
        return not state["flapping"] and state["phase"] != "negotiating"

    @property
    def linked(self) -> bool:
        """Whether it has the link; where it is not modelled it is taken to have."""
        return self._machine.model is None or self.get()["phase"] == "linked"

    def get(self) -> dict[str, Any]:
        """Return what ``link.get`` of the model says; only where it is modelled."""
        assert self._machine.model is not None
        found: dict[str, Any] = self._machine.model.call("link.get")
        return found

    def speeds(self) -> frozenset[int]:
        """At how many Mbit/s it can run, by the names of its technologies, as 10GBASE-KR; only where it is modelled."""
        return frozenset(speed_of(technology) for technology in self.get()["abilities"]["technologies"])

    def speed(self, speed: int) -> None:
        """Offer only what runs at so many Mbit/s, 0 for all; only where it is modelled."""
        assert self._machine.model is not None
        self._machine.model.call("link.set", speed=speed)

    def restore(self) -> None:
        """Turn it on, with all that it can do."""
        if self.modelled:
            self.speed(0)
        self.set(up=True)
