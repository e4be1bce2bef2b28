# SPDX-License-Identifier: GPL-2.0-or-later
"""The interface under test, as the driver reports it: rtnetlink, ethtool, sysfs."""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plugfest.machine.agent import AgentError, kernel_error
from plugfest.machine.interface import CARRIES_FRAMES, carries_frames

if TYPE_CHECKING:
    from plugfest.machine.agent import AgentClient
    from plugfest.machine.machine import Machine


CARRIER_WAIT = 0.5
"""Seconds that a call of the agent waits for the carrier before the host asks anew, and sees what else has happened."""

_NONE = (errno.EOPNOTSUPP, errno.ENOTSUP)
_SPEED = re.compile(r"(\d+)base")
_UNKNOWN_SPEED = (0, 0xFFFFFFFF)
DUPLEX = {0: "half", 1: "full"}
TCP_DATA_SPLIT_AUTO, TCP_DATA_SPLIT_DISABLED, TCP_DATA_SPLIT_ENABLED = 0, 1, 2
"""include/uapi/linux/ethtool.h, ETHTOOL_TCP_DATA_SPLIT_*; auto (UNKNOWN there) leaves it to the driver."""


@dataclass(frozen=True)
class Features:
    """Offloads and their like, by the names of ``ethtool -k``.

    Attributes:
        known: all that this kernel has a name for.
        changeable: what the driver lets be changed.
        wanted: what is asked for.
        active: what is on.
        never: what no driver lets be changed.
    """

    known: frozenset[str]
    changeable: frozenset[str]
    wanted: frozenset[str]
    active: frozenset[str]
    never: frozenset[str]

    @property
    def fixed_off(self) -> frozenset[str]:
        """What ``ethtool -k`` shows as ``off [fixed]``."""
        return self.known - self.active - (self.changeable - self.never)

    @property
    def free(self) -> frozenset[str]:
        """What may be changed, by driver and kernel."""
        return self.changeable - self.never

    def among(self, *names: str) -> list[str]:
        """Return which of the names are active."""
        return [name for name in names if name in self.active]

    def __str__(self) -> str:
        """Return the features in the format of ``ethtool -k``."""
        lines = []
        for name in sorted(self.known):
            state = "on" if name in self.active else "off"
            note = "" if name in self.free else " [fixed]"
            if name in self.free and (name in self.active) != (name in self.wanted):
                note = f" [requested {'on' if name in self.wanted else 'off'}]"
            lines.append(f"{name}: {state}{note}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Rss:
    """How received frames are spread.

    Attributes:
        table: the indirection table: a queue each.
        key: of the hash.
        function: 1 for Toeplitz, 2 for XOR, 4 for CRC32 (``ETH_RSS_HASH_*``); 0 where the driver does not report it.
        queues: receive queues that the table may name.
    """

    table: tuple[int, ...]
    key: bytes
    function: int
    queues: int


@dataclass(frozen=True)
class LinkModes:
    """Speed, duplex and link modes.

    Attributes:
        speed: Mbit/s, None while unknown.
        duplex: half, full, or None while unknown.
        autonegotiation: whether it is on.
        supported: names as ``10000baseKR/Full``, and Autoneg, Pause, Backplane ….
        advertised: likewise.
        peer: what the link partner advertises, as the driver reports it.
    """

    speed: int | None
    duplex: str | None
    autonegotiation: bool
    supported: frozenset[str]
    advertised: frozenset[str]
    peer: frozenset[str]

    @staticmethod
    def speeds(modes: frozenset[str]) -> set[int]:
        """Return the speeds of modes, Mbit/s."""
        return {int(match[1]) for mode in modes if (match := _SPEED.match(mode))}


class Dut:
    """The interface under test.

    Attributes:
        ifname: its name.
    """

    def __init__(self, machine: Machine, ifname: str | None = None) -> None:
        """Take the machine's interface, or another of its driver's; nothing is asked yet.

        Raises:
            DriverLoadError: the driver created no netdev.
        """
        if machine.load_error is not None:
            raise machine.load_error
        self.ifname = ifname or machine.ifname
        self._machine = machine

    @property
    def agent(self) -> AgentClient:
        """The guest's agent; another one after a reboot."""
        return self._machine.agent

    # --- rtnetlink ------------------------------------------------------------------------------------------------

    def link(self) -> dict[str, Any]:
        """Return rtnetlink's attributes of it (the agent's ``link.get``)."""
        found: dict[str, Any] = self.agent.call("link.get", ifname=self.ifname)
        return found

    @property
    def mac(self) -> str:
        """Its hardware address now."""
        return str(self.link()["address"])

    @property
    def mtu(self) -> int:
        """Bytes of payload of its longest frame."""
        return int(self.link()["mtu"])

    @property
    def carrier(self) -> bool:
        """Whether the driver reports the link up."""
        return bool(self.link()["carrier"])

    def link_when(
        self, *, carrier: bool, operstates: Sequence[str] = (), within: float = CARRIER_WAIT
    ) -> dict[str, Any]:
        """Return what `link` does, as soon as the carrier is so, or after `CARRIER_WAIT`: for a condition of ``until``, which asks again.

        Args:
            carrier: what the driver is to report.
            operstates: one of these the kernel must have derived from it; any if empty.
            within: seconds to wait if that is less, as those left of a deadline that must hold exactly.
        """
        wanted: dict[str, list[Any]] = {
            "carrier": [int(carrier)],
            **({"operstate": list(operstates)} if operstates else {}),
        }
        return self._wait(wanted, within)

    def carries_frames(self) -> bool:
        """Whether the kernel passes frames both ways; waits for it up to `CARRIER_WAIT`, for a condition of ``until``."""
        return carries_frames(self._wait(CARRIES_FRAMES, CARRIER_WAIT))

    def _wait(self, wanted: Mapping[str, list[Any]], within: float) -> dict[str, Any]:
        found: dict[str, Any] = self.agent.call(
            "link.wait", ifname=self.ifname, wanted=dict(wanted), timeout=min(CARRIER_WAIT, within)
        )
        return found

    def stats64(self) -> dict[str, int]:
        """Return struct rtnl_link_stats64."""
        found: dict[str, int] = self.agent.call("link.stats64", ifname=self.ifname)
        return found

    def set_link(self, **changes: Any) -> None:
        """Change up, mtu, address, promisc or allmulti (the agent's ``link.set``).

        Raises:
            AssertionError: rejected; the message has the extended acknowledgement.
        """
        error = self.try_set_link(**changes)
        assert error is None, f"setting {changes} of {self.ifname} was rejected: {error}"

    def try_set_link(self, **changes: Any) -> AgentError | None:
        """Try such a change; returns the error, None if it was made."""
        return kernel_error(lambda: self.agent.call("link.set", ifname=self.ifname, **changes))

    # --- ethtool --------------------------------------------------------------------------------------------------

    def get(self, what: str) -> dict[str, Any] | None:
        """Return one of the agent's ``ethtool.get`` (rings, channels, coalesce, pause …); None where the driver has none."""
        try:
            found: dict[str, Any] = self.agent.call("ethtool.get", ifname=self.ifname, what=what)
        except AgentError as error:
            if error.errno in _NONE:
                return None
            raise
        return found

    def set(self, what: str, **settings: Any) -> None:
        """Change such settings; names have ``_`` for ``-``.

        Raises:
            AssertionError: rejected; the message has the extended acknowledgement.
        """
        error = self.try_set(what, **settings)
        assert error is None, f"setting {what} {settings} of {self.ifname} was rejected: {error}"

    def try_set(self, what: str, **settings: Any) -> AgentError | None:
        """Try such a change; returns the error, None if it was made."""
        named = {name.replace("_", "-"): value for name, value in settings.items()}
        return kernel_error(lambda: self.agent.call("ethtool.set", ifname=self.ifname, what=what, settings=named))

    def try_restart_autoneg(self) -> AgentError | None:
        """Ask for a restart of negotiation (``ethtool -r``); returns the error, None if it was restarted."""
        return kernel_error(lambda: self.agent.call("ethtool.restart_negotiation", ifname=self.ifname))

    def features(self) -> Features:
        """Return the features."""
        found = self.agent.call("features.get", ifname=self.ifname)
        return Features(
            known=frozenset(found["known"]),
            changeable=frozenset(found["hw"]),
            wanted=frozenset(found["wanted"]),
            active=frozenset(found["active"]),
            never=frozenset(found["nochange"]),
        )

    def try_set_features(self, wanted: Mapping[str, bool]) -> list[str]:
        """Turn features on or off; returns those that the kernel reports as not set."""
        unset: list[str] = self.agent.call("features.set", ifname=self.ifname, wanted=dict(wanted))["refused"]
        return unset

    def set_features(self, wanted: Mapping[str, bool]) -> None:
        """Turn features on or off.

        Raises:
            AssertionError: one did not become so.
        """
        unset = self.try_set_features(wanted)
        assert not unset, f"{self.ifname} did not set {', '.join(unset)}"

    def link_modes(self) -> LinkModes | None:
        """Return speed and modes; None where the driver has none."""
        found = self.get("linkmodes")
        if found is None:
            return None
        speed = found.get("speed")
        return LinkModes(
            speed=None if speed in (None, *_UNKNOWN_SPEED) else speed,
            duplex=DUPLEX.get(found.get("duplex", -1)),
            autonegotiation=bool(found.get("autoneg")),
            supported=frozenset(found["supported"]),
            advertised=frozenset(found["advertised"]),
            peer=frozenset(found["peer"]),
        )

    def driver_info(self) -> dict[str, str]:
        """Return driver, version, fw-version and bus-info (``ethtool -i``)."""
        found: dict[str, str] = self.agent.call("ethtool.driver_info", ifname=self.ifname)
        return found

    def rss(self) -> Rss | None:
        """Return how received frames are spread; None where the driver does not report it."""
        try:
            found = self.agent.call("ethtool.rss", ifname=self.ifname)
        except AgentError as error:
            if error.errno in _NONE:
                return None
            raise
        if not found["indir"]:
            return None
        return Rss(tuple(found["indir"]), bytes.fromhex(found["hkey"]), found["hfunc"], found["rings"])

    # --- sysfs ----------------------------------------------------------------------------------------------------

    def queues(self, direction: str = "rx") -> int:
        """How many queues of a direction the kernel reports."""
        return len(self.agent.call("files.glob", path=f"/sys/class/net/{self.ifname}/queues/{direction}-*"))

    def read(self, name: str) -> str:
        """Return a file of its folder in sysfs, as ``device/vendor``."""
        return str(self.agent.call("files.read", path=f"/sys/class/net/{self.ifname}/{name}"))
