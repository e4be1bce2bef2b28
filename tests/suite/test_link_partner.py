# SPDX-License-Identifier: GPL-2.0-or-later
"""What a test leaves of the link partner when it ends."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from plugfest.link.partner import LinkPartner, UnreportedLinks, has_ended

ABILITIES = {"technologies": ["10GBASE-KR"], "pause": True}


class Model:
    """Records what it is set to."""

    def __init__(self, methods: tuple[str, ...] = ("link.get", "link.looks")) -> None:
        self.methods = methods
        self.phase = "linked"
        self.looks = 0
        self.settings: list[dict[str, Any]] = []

    def call(self, method: str, **params: Any) -> Any:
        if method == "link.set":
            self.settings.append(params)
            return None
        if method == "link.get":
            return {"abilities": ABILITIES, "misbehaviour": {"echo.wrong": {}}, "phase": self.phase}
        return {"link.looks": self.looks}[method]

    def offers(self, method: str) -> bool:
        return method in self.methods


class Bench:
    """A link partner, and the undo of its changes."""

    def __init__(self, model: Model | None) -> None:
        self.undo: list[Any] = []
        dut = SimpleNamespace(link=lambda: {"carrier": 1, "carrier-down-count": 0})
        self.partner = LinkPartner(
            SimpleNamespace(model=model),  # type: ignore[arg-type]
            dut,  # type: ignore[arg-type]
            defer=lambda *call: self.undo.append(call),
        )

    def end(self) -> None:
        for action, *arguments in self.undo:
            action(*arguments)


@pytest.mark.parametrize(
    ("changes", "phase", "restarts"),
    [
        ([{"latency": 0.02, "restart": True}], "linked", False),
        ([{"abilities": {"technologies": ["1000BASE-KX"]}}], "linked", False),
        ([{"misbehave": {"echo.wrong": True}}], "linked", True),
        ([{"misbehave": {"echo.wrong": True}}, {"misbehave": {"echo.wrong": False}, "restart": True}], "linked", False),
        ([{"misbehave": {"echo.wrong": True}}, {"misbehave": {"echo.wrong": False}}], "negotiating", True),
        ([{"script": [{"after": 1, "misbehave": {"echo.wrong": True}}]}], "linked", True),
    ],
)
def test_link_goes_down_at_the_end_only_where_it_must(
    changes: list[dict[str, Any]], phase: str, restarts: bool
) -> None:
    model = Model()
    bench = Bench(model)
    for change in changes:
        bench.partner.set(**change)
    model.settings.clear()
    model.phase = phase
    bench.end()
    assert {name: value for each in model.settings for name, value in each.items()} == {
        "script": [],
        "up": True,
        "base_page": "",
        "next_pages": [],
        "next_page_delay": 0,
        "latency": 0,
        "misbehave": {"echo.wrong": False},
        "abilities": ABILITIES,
        "speed": 0,
        "restart": restarts,
    }


@pytest.mark.parametrize(
    ("model", "looks", "looked"),
    [(Model(), 0, False), (Model(), 2, True), (Model(("link.get",)), 2, None), (None, 0, None)],
)
def test_device_that_tells_no_looks_is_not_asked(model: Model | None, looks: int, looked: bool | None) -> None:
    if model is not None:
        model.looks = looks
    assert Bench(model).partner.looked is looked
    assert Bench(model).partner.looks == (None if looked is None else looks)


def states(*names: str) -> list[dict[str, Any]]:
    return [{"event": "state", "before": before, "state": state} for before, state in pairwise(names)]


EXCHANGE = ("TRANSMIT_DISABLE", "ABILITY_DETECT", "ACKNOWLEDGE_DETECT", "AN_GOOD_CHECK")
LINK = {"event": "link up", "technology": "10GBASE-KR", "speed": 10000}


@pytest.mark.parametrize(
    ("entries", "negotiations", "ended"),
    [
        ([], 1, False),
        (states(*EXCHANGE), 1, False),
        (states(*EXCHANGE, "AN_GOOD"), 1, False),
        ([*states(*EXCHANGE, "AN_GOOD"), LINK], 1, True),
        (states(*EXCHANGE, "TRANSMIT_DISABLE"), 1, True),
        (states(*EXCHANGE, "TRANSMIT_DISABLE"), 2, False),
        (states(*EXCHANGE, *EXCHANGE, "TRANSMIT_DISABLE"), 2, True),
        ([*states(*EXCHANGE, *EXCHANGE, "AN_GOOD"), LINK], 2, True),
        (states("ABILITY_DETECT", "TRANSMIT_DISABLE", "ABILITY_DETECT"), 1, False),
    ],
)
def test_negotiation_has_ended_with_a_link_or_without_one_in_time(
    entries: list[dict[str, Any]], negotiations: int, ended: bool
) -> None:
    assert has_ended(entries, negotiations=negotiations) is ended


class Record:
    """A link partner whose record grows."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []

    def record(self, after: int = 0) -> list[dict[str, Any]]:
        return [each for each in self.entries if each["sequence"] > after]

    def add(self, event: str, time: float, technology: str = "10GBASE-KR") -> None:
        self.entries.append({"sequence": len(self.entries) + 1, "time": time, "event": event, "technology": technology})

    def link(self, begin: float, end: float, technology: str = "10GBASE-KR") -> None:
        self.add("link up", begin, technology)
        self.add("link down", end)


def test_links_that_the_driver_could_have_reported_are_counted_until_it_reports_one() -> None:
    partner = Record()
    partner.link(1, 9)
    links = UnreportedLinks(partner, technology="10GBASE-KR", seconds=2.5)  # type: ignore[arg-type]
    assert links.update() == 0, "what was before does not count"
    partner.link(10, 15)
    partner.link(16, 17)
    partner.link(18, 23, "1000BASE-KX")
    partner.add("link up", 24)
    assert links.update() == 1
    partner.add("link down", 29)
    assert links.update() == 2
    links.reported()
    partner.link(30, 35)
    assert links.update() == 1
