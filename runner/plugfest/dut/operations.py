# SPDX-License-Identifier: GPL-2.0-or-later
"""What is routinely done to an interface, each only where the driver offers it, and undone at once.

Source: Documentation/networking/statistics.rst, "routine operations like bringing the interface down and up".
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

from plugfest.machine.agent import AgentError, KernelLacksError

if TYPE_CHECKING:
    from plugfest.dut.dut import Dut
    from plugfest.dut.settings import Settings


class NativeXdp(Protocol):
    """What the operations need of `plugfest.xdp.programs.Xdp`, which imports this package."""

    def features(self) -> set[str]:
        """Return the actions that the driver advertises, as ``basic``."""

    def attach(self, name: str) -> object:
        """Load a program and attach it in native mode."""

    def detach(self) -> None:
        """Detach it."""


class NotOfferedError(Exception):
    """The driver does not offer this; the message has its error."""


def other_rings(rings: Mapping[str, int]) -> dict[str, int] | None:
    """Return other sizes than the present ones: twice as much, or half where that is too much; None where none can be set."""
    sizes = {side: (rings.get(side, 0), rings.get(f"{side}-max", 0)) for side in ("rx", "tx")}
    if not all(size > 0 for size, _ in sizes.values()):
        return None
    return {side: 2 * size if 2 * size <= most else size // 2 for side, (size, most) in sizes.items()}


def other_channels(channels: Mapping[str, int], *, more: bool = False) -> dict[str, int] | None:
    """Return other numbers of channels than the present ones; None where there is but one of each, or none can be set.

    Args:
        channels: the present ones, and the most.
        more: one more where there can be more of all. Else one fewer where there can be: what was counted by a queue that goes must not
            be lost.
    """
    for kinds in (("combined",), ("rx", "tx")):
        counts = {kind: (channels.get(f"{kind}-count", 0), channels.get(f"{kind}-max", 0)) for kind in kinds}
        if all(most > 1 and count > 0 for count, most in counts.values()):
            up = more and all(count < most for count, most in counts.values())
            return {f"{kind}_count": count + 1 if up else count - 1 or count + 1 for kind, (count, _) in counts.items()}
    return None


def counts_of(channels: Mapping[str, int], names: Iterable[str]) -> dict[str, int]:
    """Return the present numbers of channels, by the names that `other_channels` uses."""
    return {name: channels[name.replace("_", "-")] for name in names}


class Operations:
    """The routine operations of one interface.

    Attributes:
        not_offered: what the driver rejected, with its error.
    """

    def __init__(self, dut: Dut, settings: Settings, xdp: NativeXdp) -> None:
        """Do nothing yet."""
        self._dut = dut
        self._settings = settings
        self._xdp = xdp
        self.not_offered: dict[str, str] = {}

    def one_by_one(self) -> Iterator[str]:
        """Do each that the driver offers; yields what has been done, as the interface is up again as before."""
        every: dict[str, Callable[[], None]] = {
            "the interface goes down and up": self.down_up,
            "the rings are resized": self.resize_rings,
            "the number of channels changes": self.change_channels,
            "the MTU changes": self.change_mtu,
            "an XDP program is attached and detached": self.attach_program,
            "the device is reset by a restart of autonegotiation": self.restart_negotiation,
        }
        for name, perform in every.items():
            try:
                perform()
            except NotOfferedError as error:
                self.not_offered[name] = str(error)
            else:
                yield name

    def down_up(self) -> None:
        """Take the interface down and up."""
        self._dut.set_link(up=False)
        self._dut.set_link(up=True)
        self._settings.ready()

    def resize_rings(self) -> None:
        """Double the rings, or halve those that are as large as can be, and put them back.

        Raises:
            NotOfferedError: there are none to resize, or the driver rejects the change.
        """
        now = self._dut.get("rings") or {}
        other = other_rings(now)
        if other is None:
            raise NotOfferedError(f"rings: {now}")
        self._there_and_back("rings", other, {side: now[side] for side in other})

    def change_channels(self) -> None:
        """Change the number of channels by one, and back.

        Raises:
            NotOfferedError: there is but one, or the driver rejects the change.
        """
        other, before = self._counts()
        self._there_and_back("channels", other, before)

    def other_channels(self, defer: Callable[..., None]) -> None:
        """Change the number of channels by one, for the rest of the test.

        Raises:
            NotOfferedError: there is but one, or the driver rejects the change.
        """
        other, before = self._counts()
        error = self._settings.try_set_without_undo("channels", **other)
        if error is not None:
            raise NotOfferedError(f"channels {other}: {error}")
        defer(self._settings.ready)
        defer(self._settings.set_without_undo, "channels", **before)
        self._settings.ready()

    def _counts(self) -> tuple[dict[str, int], dict[str, int]]:
        now = self._dut.get("channels") or {}
        other = other_channels(now)
        if other is None:
            raise NotOfferedError(f"channels: {now}")
        return other, counts_of(now, other)

    def change_mtu(self) -> None:
        """Lower the MTU and raise it again: many drivers set their device up anew."""
        highest = self._dut.mtu
        for mtu in (highest - 100, highest):
            self._dut.set_link(mtu=mtu)
            self._settings.ready()

    def attach_program(self) -> None:
        """Attach an XDP program in native mode, and detach it.

        Raises:
            NotOfferedError: the driver has no native XDP, or rejects the program as it is set up.
        """
        try:
            features = self._xdp.features()
        except KernelLacksError:
            features = {"basic"}  # no driver can advertise it: attaching shows whether this one has it
        if "basic" not in features:
            raise NotOfferedError(f"xdp-features: {sorted(features)}")
        try:
            self._xdp.attach("xdp_pass")
        except AgentError as error:
            raise NotOfferedError(str(error)) from error
        self._settings.ready()
        self._xdp.detach()
        self._settings.ready()

    def restart_negotiation(self) -> None:
        """Restart autonegotiation (``ethtool -r``), for which many drivers reset their device.

        Raises:
            NotOfferedError: the driver cannot.
        """
        error = self._dut.try_restart_autoneg()
        if error is not None:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise error
            raise NotOfferedError(str(error))
        self._settings.ready()

    def _there_and_back(self, what: str, other: dict[str, int], before: dict[str, int]) -> None:
        error = self._settings.try_set_without_undo(what, **other)
        if error is not None:
            raise NotOfferedError(f"{what} {other}: {error}")
        self._settings.ready()
        self._settings.set_without_undo(what, **before)
        self._settings.ready()
