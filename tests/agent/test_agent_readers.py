# SPDX-License-Identifier: GPL-2.0-or-later
"""Processes that read statistics over and over, and what they notice."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from agent_connection import DEADLINE, AgentError, Client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KINDS = ("ethtool", "procfs", "rtnetlink")
RECIPES = Path(__file__).parents[2] / "guest-images"


def wait(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, what


def read_on(agent: Client, readers: int, times: int) -> None:
    """Let each reader try so many times more."""
    before = agent.call("readers.attempts", readers=readers)
    wait(
        lambda: all(
            count >= before[kind] + times for kind, count in agent.call("readers.attempts", readers=readers).items()
        ),
        "a reader stands still",
    )


def test_all_read_the_same_and_lose_nothing(agent: Client) -> None:
    readers = agent.call("readers.start", ifname="right", kinds=list(KINDS))
    out = agent.call("packet.open", ifname="left", protocol=0x88B5)
    frame = "/////////wIAAAAACYi1" + "A" * 60
    before = agent.call("link.stats64", ifname="right")["rx_packets"]
    agent.call("packet.send", packet=out, frames=[frame], repeat=100)
    read_on(agent, readers, 3)
    reports = {each["kind"]: each for each in agent.call("readers.stop", readers=readers)}
    assert set(reports) == set(KINDS)
    for kind in ("procfs", "rtnetlink"):
        assert reports[kind]["last"]["rx_packets"] == before + 100
    for report in reports.values():
        assert report["readings"] >= 3
        assert (report["errors"], report["back"], report["leapt"]) == ({}, {}, {})
    assert reports["ethtool"]["last"]["peer_ifindex"] == agent.call("link.get", ifname="left")["ifindex"]
    agent.call("handle.close", handle=out)


def test_refusals_are_counted_by_name(agent: Client) -> None:
    readers = agent.call("readers.start", ifname="right", kinds=["netlink"])
    read_on(agent, readers, 2)
    (report,) = agent.call("readers.stop", readers=readers)
    assert report["readings"] == 0
    assert report["errors"]["EOPNOTSUPP"] >= 2


def test_an_interface_is_followed_across_a_rename(agent: Client) -> None:
    readers = agent.call("readers.start", ifname="right", kinds=list(KINDS))
    read_on(agent, readers, 2)
    agent.call("link.set", ifname="right", name="other")
    try:
        read_on(agent, readers, 5)
    finally:
        agent.call("link.set", ifname="other", name="right")
    read_on(agent, readers, 2)
    reports = agent.call("readers.stop", readers=readers)
    assert all(set(each["errors"]) <= {"ENODEV"} and each["readings"] > 5 for each in reports), reports


def test_closing_the_handle_ends_the_processes(agent: Client) -> None:
    before = set(agent.call("files.glob", path="/proc/[0-9]*"))
    readers = agent.call("readers.start", ifname="right", kinds=list(KINDS))
    started = set(agent.call("files.glob", path="/proc/[0-9]*")) - before
    assert len(started) >= len(KINDS)
    agent.call("handle.close", handle=readers)
    with pytest.raises(AgentError, match="no open Readers"):
        agent.call("readers.attempts", readers=readers)
    wait(
        lambda: len(started & set(agent.call("files.glob", path="/proc/[0-9]*"))) <= len(started) - len(KINDS),
        "a reader lives on",
    )


def test_an_unknown_kind_is_refused(agent: Client) -> None:
    with pytest.raises(AgentError, match="no readers of kind sysfs; the kinds are netlink, ethtool"):
        agent.call("readers.start", ifname="right", kinds=["sysfs"])


@pytest.fixture
def watch_class(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The agent's class that compares readings, here."""
    monkeypatch.syspath_prepend(str(RECIPES))
    from agent.process import readers

    monkeypatch.setattr(readers, "interface_index", lambda _: 7)
    yield readers.Watch
    for name in [name for name in sys.modules if name.partition(".")[0] == "agent"]:
        monkeypatch.delitem(sys.modules, name)


def test_a_counter_that_decreases_or_leaps_is_reported_with_both_values(watch_class: Any) -> None:
    readings = iter(
        [
            {"a": 5, "b": 1},
            {"a": 4, "b": 1 << 32},
            {"a": 3},
            {"a": 9, "b": 0},
        ]
    )
    watch = watch_class("eth0", lambda _: next(readings))
    for _ in range(4):
        watch.once()
    assert watch.back == {"a": [5, 4, 2], "b": [1 << 32, 0, 1]}
    assert watch.leapt == {"b": [1, 1 << 32, 1]}
    assert (watch.first, watch.last) == ({"a": 5, "b": 1}, {"a": 9, "b": 0})
    assert watch.readings == 4


def test_counters_of_another_interface_start_from_zero(watch_class: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from agent.process import readers

    def read(index: int) -> dict[str, int]:
        if index == 7 and watch.readings:
            raise OSError(19, "No such device")
        return {"a": 50 if index == 7 else 1}

    watch = watch_class("eth0", read)
    watch.once()
    monkeypatch.setattr(readers, "interface_index", lambda _: 8)
    watch.once()
    watch.once()
    assert watch.errors == {"ENODEV": 1}
    assert (watch.back, watch.last) == ({}, {"a": 1})
