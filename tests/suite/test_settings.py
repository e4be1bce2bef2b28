# SPDX-License-Identifier: GPL-2.0-or-later
"""Settings and their undo, with a driver whose indirection table follows the number of channels or does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from plugfest.dut.dut import Features, Rss
from plugfest.dut.settings import Settings
from plugfest.machine.agent import AgentError


class Dut:
    """An interface with channels and an indirection table, which the agent can reset to the default."""

    ifname = "eth0"

    def __init__(self, table: list[int], *, follows: bool = False, rejects: bool = False) -> None:
        self.agent = self
        self.table = table
        self.count = 4
        self._follows, self._rejects = follows, rejects
        self.defaulted = 0

    def rss(self) -> Rss:
        return Rss(tuple(self.table), b"", 1, self.count)

    def queues(self) -> int:
        return self.count

    def try_set(self, what: str, **counts: int) -> AgentError | None:
        if self._rejects:
            return AgentError("ethtool.set", "NetlinkError", "no", 22)
        self.count = counts.get("combined_count", self.count)
        if self._follows:
            self._default()
        return None

    def call(self, method: str, *, ifname: str, indir: list[int], hkey: str | None = None) -> None:
        assert (method, ifname, hkey) == ("ethtool.set_rss", "eth0", None)
        if indir:
            self.table = indir
        else:
            self.defaulted += 1
            self._default()

    def _default(self) -> None:
        self.table = [at % self.count for at in range(len(self.table))]


def settings(dut: Dut) -> Settings:
    return Settings(dut, lambda *_, **__: None, lambda *_: None, lambda: True)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("table", "options", "defaulted", "afterwards"),
    [
        ([0, 1, 2, 3], {}, 1, [0, 1, 2, 0]),
        ([0, 1, 2, 3], {"follows": True}, 0, [0, 1, 2, 0]),
        ([0, 2, 2, 2], {}, 0, [0, 2, 2, 2]),
        ([0, 1, 2, 3], {"rejects": True}, 0, [0, 1, 2, 3]),
    ],
)
def test_frames_stay_spread_over_all_channels(
    table: list[int], options: dict[str, bool], defaulted: int, afterwards: list[int]
) -> None:
    dut = Dut(table, **options)
    error = settings(dut).try_set_without_undo("channels", combined_count=3)
    assert (error is not None) == bool(options.get("rejects"))
    assert (dut.defaulted, dut.table) == (defaulted, afterwards)


def test_a_required_change_that_is_rejected_is_an_error() -> None:
    dut = Dut([0, 1], rejects=True)
    with pytest.raises(AgentError, match="no"):
        settings(dut).set_without_undo("channels", combined_count=3)


def test_other_settings_leave_the_table_alone() -> None:
    dut = Dut([0, 1])
    dut.count = 3
    assert settings(dut).try_set_without_undo("rings", rx=512) is None
    assert dut.defaulted == 0


class Undos:
    """What is deferred until the end of a test."""

    def __init__(self) -> None:
        self.actions: list[Callable[[], object]] = []

    def defer(self, undo: Callable[..., object], *arguments: object) -> None:
        self.actions.append(lambda: undo(*arguments))

    def undo(self) -> None:
        for action in reversed(self.actions):
            action()


class Offloads:
    """An interface whose features are all wanted; its kernel looks only at what is no longer asked for as before."""

    def __init__(self) -> None:
        self.active = self.wanted = frozenset({"rx-lro", "rx-checksum", "highdma"})

    def features(self) -> Features:
        free = frozenset({"rx-lro", "rx-checksum"})
        return Features(known=self.wanted, changeable=free, wanted=self.wanted, active=self.active, never=frozenset())

    def try_set_features(self, wanted: Mapping[str, bool]) -> list[str]:
        for name, on in wanted.items():
            if on != (name in self.wanted):
                self.wanted = self.wanted | {name} if on else self.wanted - {name}
                self.active = self.active | {name} if on else self.active - {name}
        return []


@pytest.mark.parametrize("lost", [set(), {"rx-lro"}, {"rx-lro", "rx-checksum"}])
def test_features_that_a_driver_turned_off_unasked_are_turned_on_again(lost: set[str]) -> None:
    dut, undos = Offloads(), Undos()

    Settings(dut, lambda *_, **__: None, undos.defer, lambda: True).keep_active()  # type: ignore[arg-type]
    before, dut.active = dut.active, dut.active - lost
    undos.undo()
    assert undos.actions
    assert dut.active == before


@pytest.mark.parametrize(
    ("before", "afterwards"),
    [
        ([0, 1, 0, 1, 0, 1, 0, 1], [0, 1, 0, 1, 0, 1, 0, 1]),
        (
            [0, 0, 0, 0, 1, 1, 1, 1],
            [0, 1, 0, 1, 0, 1, 0, 1],
        ),  # a driver's own default stays one, so that channels may be removed
        ([0, 0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 1, 1, 1]),
    ],
)
def test_a_default_table_is_put_back_as_a_default(before: list[int], afterwards: list[int]) -> None:
    dut, undos = Dut(before), Undos()
    dut.count = 2

    Settings(dut, lambda *_, **__: None, undos.defer, lambda: True).set_rss(table=[1] * 8)  # type: ignore[arg-type]
    assert dut.table == [1] * 8
    undos.undo()
    assert dut.table == afterwards


def test_a_table_of_the_tests_own_is_left_to_the_driver_when_the_channels_change() -> None:
    dut, undos = Dut([0, 1, 0, 1]), Undos()
    dut.count = 2
    changed = Settings(dut, lambda *_, **__: None, undos.defer, lambda: True)  # type: ignore[arg-type]

    changed.set_rss(table=[0] * 4)
    for count in (1, 2):  # with one channel this table is the default one, too
        changed.set_without_undo("channels", combined_count=count)
    assert (dut.defaulted, dut.table) == (0, [0] * 4)

    undos.undo()
    assert dut.table == [0, 1, 0, 1]
    changed.set_without_undo("channels", combined_count=3)
    assert dut.table == [0, 1, 2, 0]


class Rings:
    """An interface whose kernel remembers what the user wants of TCP data split, 0 for nothing, beside what the driver does."""

    ifname = "eth0"

    def __init__(self) -> None:
        self.active, self.wanted = 1, 0

    def get(self, what: str) -> dict[str, int]:
        assert what == "rings"
        return {"rx": 512, "tcp-data-split": self.active}

    def try_set(self, what: str, **settings: int) -> None:
        self.wanted = settings.get("tcp_data_split", self.wanted)
        self.active = self.wanted or self.active

    def link(self) -> dict[str, list[str]]:
        return {"flags": []}


def test_tcp_data_split_is_left_to_the_driver_again() -> None:
    dut, undos = Rings(), Undos()
    settings = Settings(dut, lambda *_, **__: None, undos.defer, lambda: True)  # type: ignore[arg-type]
    settings.set("rings", tcp_data_split=2)
    assert (dut.active, dut.wanted) == (2, 2)
    undos.undo()
    assert (dut.active, dut.wanted) == (1, 0)
