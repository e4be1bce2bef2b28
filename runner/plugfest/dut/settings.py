# SPDX-License-Identifier: GPL-2.0-or-later
"""Changes of the interface under test, each undone when the test ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from plugfest.dut.dut import TCP_DATA_SPLIT_AUTO
from plugfest.machine.agent import KernelLacksError

if TYPE_CHECKING:
    from plugfest.deadline import Until
    from plugfest.dut.dut import Dut, Features
    from plugfest.machine.agent import AgentError


class NoLinkError(AssertionError):
    """The link did not come up.

    Attributes:
        never: whether the driver has not reported a carrier since it created the netdev.
    """

    def __init__(self, message: str, *, never: bool) -> None:
        """Take what was waited for, and what was found."""
        super().__init__(message)
        self.never = never


class Settings:
    """Changes settings, and waits until the link carries frames again: many drivers reset the device for it."""

    def __init__(
        self,
        dut: Dut,
        until: Until,
        defer: Callable[..., None],
        linked: Callable[[], bool],
    ) -> None:
        """Change nothing yet.

        Args:
            dut: the interface.
            until: waits for a condition.
            defer: registers an undo.
            linked: returns whether the link partner has the link.
        """
        self._dut = dut
        self._linked = linked
        self._until = until
        self._defer = defer
        self._table_is_users = False
        self._neighbours: set[str] = set()

    def ready(self, *, timeout: float = 10.0) -> None:
        """Wait until the driver reports the link up, and the kernel has processed it: before that it sends nothing.

        The link partner must have it too: a driver that reports the link too early fails LINK-CARRIER-04, not the test at hand.

        Args:
            timeout: seconds on a guest of speed 1.

        Raises:
            NoLinkError: it does not come up.
        """

        try:
            self._until(
                lambda: self._dut.carries_frames() and self._linked(),
                what=f"{self._dut.ifname} has carrier",
                timeout=timeout,
            )
        except AssertionError as error:
            link = self._dut.link()
            raise NoLinkError(str(error), never=not (link["carrier"] or link.get("carrier-up-count", 1))) from None

    def set_link(self, **changes: Any) -> None:
        """Change up, mtu, address, promisc or allmulti.

        Raises:
            AssertionError: the driver rejects it.
        """
        error = self.try_set_link(**changes)
        assert error is None, f"setting {changes} of {self._dut.ifname} was rejected: {error}"

    def try_set_link(self, **changes: Any) -> AgentError | None:
        """Try such a change; returns the error, None if it was made."""
        now = self._dut.link()
        before = {"up": "up" in now["flags"], "mtu": now["mtu"], "address": now["address"]}
        before |= {name: name in now["flags"] for name in ("promisc", "allmulti")}
        error = self._dut.try_set_link(**changes)
        if error is None:
            self._defer(self._restore, lambda: self._put_link_back({name: before[name] for name in changes}))
        return error

    def _put_link_back(self, before: Mapping[str, Any]) -> None:
        """Set what differs: a driver that made no change need not be able to undo one."""
        now = self._dut.link()
        states = {name: name in now["flags"] for name in ("up", "promisc", "allmulti")}
        differing = {name: value for name, value in before.items() if states.get(name, now.get(name)) != value}
        if differing:
            self._dut.set_link(**differing)

    def set(self, what: str, **settings: Any) -> None:
        """Change rings, channels, coalesce, pause, privflags ….

        Raises:
            AssertionError: the driver rejects the change, or has no such settings.
        """
        error = self.try_set(what, **settings)
        assert error is None, f"setting {what} {settings} of {self._dut.ifname} was rejected: {error}"

    def try_set(self, what: str, **settings: Any) -> AgentError | None:
        """Try a change of settings; returns the error, None if it was made.

        Raises:
            AssertionError: the driver has no such settings.
        """
        now = self._dut.get(what)
        assert now is not None, f"{self._dut.ifname} has no {what}"
        before = {name: now[name.replace("_", "-")] for name in settings}
        error = self.try_set_without_undo(what, **settings)
        if error is None:
            self._defer(self._restore, lambda: self._put_back(what, before))
            if "up" in self._dut.link()["flags"]:
                self.ready()
        return error

    def _put_back(self, what: str, before: Mapping[str, Any]) -> None:
        """Put settings back; of TCP data split the choice, too, which the kernel passes to the driver with each change of the rings."""
        self.set_without_undo(what, **before)
        chosen = {name: TCP_DATA_SPLIT_AUTO for name in before if name.replace("_", "-") == "tcp-data-split"}
        if chosen:
            self.set_without_undo(what, **chosen)

    def try_set_without_undo(self, what: str, **settings: Any) -> AgentError | None:
        """Try a change of settings that is not undone; returns the error, None if it was made.

        If frames were spread over all channels by a default indirection table they are so afterwards: whether that follows by itself is
        tested by OFFLOAD-RSS-10 alone. A table that the test has set stays as the driver leaves it.
        """
        spread = what == "channels" and not self._table_is_users and self._spread_over_all()
        error = self._dut.try_set(what, **settings)
        if spread and error is None and not self._spread_over_all():
            self._dut.agent.call("ethtool.set_rss", ifname=self._dut.ifname, indir=[])
        return error

    def set_without_undo(self, what: str, **settings: Any) -> None:
        """Change settings without an undo.

        Raises:
            AgentError: the driver rejects it.
        """
        error = self.try_set_without_undo(what, **settings)
        if error is not None:
            raise error

    def _spread_over_all(self) -> bool:
        now = self._dut.rss()
        return now is not None and set(now.table) == set(range(self._dut.queues()))

    def set_features(self, wanted: Mapping[str, bool]) -> None:
        """Turn features on or off.

        Raises:
            AssertionError: one did not become so.
        """
        before = self._dut.features().wanted
        self._defer(self._restore, lambda: self._dut.set_features({name: name in before for name in wanted}))
        self._dut.set_features(wanted)
        self.ready()

    def prefer_features(self, *, on: Iterable[str] = (), off: Iterable[str] = ()) -> frozenset[str]:
        """Turn features on or off where the driver has them and lets one change them; returns those that are on then."""
        features = self._dut.features()
        wanted = {name: True for name in on if name in features.free - features.active}
        wanted |= {name: False for name in off if name in features.free & features.active}
        if wanted:
            self.set_features(wanted)
        return frozenset(self._dut.features().active)

    def restore_features(self) -> None:
        """Register that all features are put back when the test ends."""
        before = self._dut.features()
        states = {name: name in before.wanted for name in before.free}
        self._defer(self._restore, lambda: self._dut.try_set_features(states))

    def keep_active(self) -> None:
        """Register that features which are on now are turned on again when the test ends, if something else turned them off.

        A driver may turn one off unasked, as vmxnet3 does with LRO when a program is attached, and leave it off for the tests that follow.
        """
        self._defer(self._turn_on_again, self._dut.features())

    def _turn_on_again(self, before: Features) -> None:
        lost = before.active & before.free - self._dut.features().active
        if lost:
            # They are still wanted: to ask for what is wanted already changes nothing.
            for on in (False, True):
                self._dut.try_set_features(dict.fromkeys(sorted(lost), on))

    def add_vlan(self, vlan: int) -> str:
        """Create an interface for a VLAN and set it up; it is deleted when the test ends.

        The kernel takes from an interface what those above it do not want, such as LRO, and does not give it back (net/core/dev.c,
        netdev_sync_upper_features).

        Returns:
            Its name.
        """
        self.keep_active()
        agent, name = self._dut.agent, f"vlan{vlan}"
        agent.call("link.add_vlan", ifname=self._dut.ifname, vlan=vlan, name=name)
        self._defer(agent.call, "link.delete", ifname=name)
        agent.call("link.set", ifname=name, up=True)
        return name

    def add_tunnel(self, arguments: Sequence[str], name: str) -> None:
        """Create an interface of a tunnel through the interface and set it up; it is deleted when the test ends.

        Args:
            arguments: of ``ip link add … type``.
            name: of the new interface.

        Raises:
            KernelLacksError: the kernel has no such tunnels.
            AssertionError: it was rejected otherwise.
        """
        self.keep_active()
        agent = self._dut.agent
        result = agent.call("process.run", command=["ip", "link", "add", name, "type", *arguments])
        if result["exit_status"]:
            text = result["stderr"].strip()
            if "Unknown device type" in text or "not supported" in text:
                raise KernelLacksError(f"interfaces of type {arguments[0]}", text)
            raise AssertionError(f"ip link add {name} type {' '.join(arguments)}: {text}")
        self._defer(agent.call, "link.delete", ifname=name)
        agent.call("link.set", ifname=name, up=True)

    def add_neighbour(self, address: str, mac: str) -> None:
        """Have the stack send to an address without asking for its hardware address, until the test ends."""
        if address in self._neighbours:
            return
        self._neighbours.add(address)
        self._ip("neigh", "replace", address, "lladdr", mac, "nud", "permanent", "dev", self._dut.ifname)
        self._defer(self._ip, "neigh", "del", address, "dev", self._dut.ifname)

    def _ip(self, *arguments: str) -> None:
        result = self._dut.agent.call("process.run", command=["ip", *arguments])
        assert result["exit_status"] == 0, f"ip {' '.join(arguments)}: {result['stderr'].strip()}"

    def set_rss(self, *, table: list[int] | None = None, key: bytes | None = None) -> None:
        """Change the indirection table, the hash's key, or both.

        Raises:
            AgentError: the driver rejects it.
        """
        before = self._dut.rss()
        assert before is not None, f"{self._dut.ifname} has no indirection table"
        if key:
            self._defer(self._dut.agent.call, "ethtool.set_rss", ifname=self._dut.ifname, hkey=before.key.hex())
        if table:
            self._defer(self._put_table_back, list(before.table))
        hexadecimal = key.hex() if key else None
        self._dut.agent.call("ethtool.set_rss", ifname=self._dut.ifname, indir=table, hkey=hexadecimal)
        self._table_is_users = self._table_is_users or bool(table)

    def _put_table_back(self, before: list[int]) -> None:
        """Restore the default table if that is what it was: the kernel rejects fewer channels than a configured table names.

        The kernel's default goes round the queues, a driver's own may have one block a queue, as igb's has: each queue's share is the same.
        """
        self._dut.agent.call("ethtool.set_rss", ifname=self._dut.ifname, indir=[])
        self._table_is_users = False
        now = self._dut.rss()
        if now is None or Counter(now.table) != Counter(before):
            self._dut.agent.call("ethtool.set_rss", ifname=self._dut.ifname, indir=before)

    def _restore(self, action: Callable[[], object]) -> None:
        action()
        if "up" in self._dut.link()["flags"]:
            self.ready()
