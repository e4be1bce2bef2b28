# SPDX-License-Identifier: GPL-2.0-or-later
"""The scripted partner, observed by a correct transceiver at the near end."""

from __future__ import annotations

import json
from typing import Any

import pytest
from nicmodels.clock import ManualClock
from nicmodels.faults.points import UnknownFaultError
from nicmodels.phy import Abilities, Kind, LinkPartner, Medium, State, Technology, Transceiver, resolve
from nicmodels.phy.medium import Pages, Signal

BOTH = Abilities.of("10GBASE-KR", "1000BASE-KX", pause=True)
NEGOTIATED = 0.12
ACK = 1 << 14


class Bench:
    """A near end, the partner, the clock, and the events of the near end."""

    def __init__(self, near: Abilities = BOTH, *, more: bool = False, up: bool = True) -> None:
        self.clock = ManualClock()
        medium = Medium(self.clock)
        self.near = Transceiver(medium.near, seed="near")
        self.partner = LinkPartner(medium, abilities=BOTH, up=up)
        self.states: list[str] = []
        self.links: list[int | None] = []
        self.pages: list[str] = []
        self.near.subscribe(self._listen)
        self.near.arbitration.advertise(near.base_page() | more << 15)
        self.near.arbitration.enable(True)

    def _listen(self, event: Any) -> None:
        if event.kind is Kind.STATE:
            self.states.append(event.details["state"])
        elif event.kind is Kind.LINK_UP:
            self.links.append(event.details["speed"])
        elif event.kind is Kind.LINK_DOWN:
            self.links.append(None)
        elif event.kind is Kind.PAGE_RECEIVED:
            self.pages.append(event.details["page"])

    def control(self, **change: Any) -> dict[str, Any]:
        return json.loads(json.dumps(self.partner.control(**change)))

    def advance(self, seconds: float) -> Bench:
        self.clock.advance(seconds)
        return self

    def recorded(self, event: str) -> list[dict[str, Any]]:
        return [entry for entry in self.partner.read() if entry["event"] == event]


@pytest.fixture
def bench() -> Bench:
    """Two ends that are linked."""
    linked = Bench().advance(NEGOTIATED)
    assert linked.links == [10000]
    linked.states.clear()
    linked.links.clear()
    linked.pages.clear()
    return linked


def test_it_reports_what_it_received(bench: Bench) -> None:
    result = bench.control()
    assert (result["phase"], result["state"], result["hcd"]) == ("linked", "AN_GOOD", "10GBASE-KR")
    assert result["resolved"] == resolve(BOTH, BOTH).to_json()
    base = int(result["received"]["base_page"], 16)
    assert result["received"]["abilities"] == BOTH.to_json()
    assert base >> 16 & 31 == result["received"]["nonce"]
    sent = [int(entry["page"], 16) for entry in bench.recorded("page received")]
    assert sent == [base]
    states = [(entry["state"], entry["time"]) for entry in bench.recorded("state")]
    assert [state for state, _ in states] == [
        "AUTO_NEGOTIATION_ENABLE",
        "TRANSMIT_DISABLE",
        "ABILITY_DETECT",
        "ACKNOWLEDGE_DETECT",
        "COMPLETE_ACKNOWLEDGE",
        "AN_GOOD_CHECK",
        "AN_GOOD",
    ]
    assert states[2][1] == pytest.approx(0.060)
    assert result["training"]["state"] == "SEND_DATA"
    signals = [entry["signal"] for entry in bench.recorded("signal")]
    assert signals[0] == "pages"
    assert {"training", "carrier"} <= set(signals)


def test_the_echoed_nonce_is_its_own(bench: Bench) -> None:
    result = bench.control()
    acknowledged = [e for e in bench.recorded("signal") if e["signal"] == "pages" and int(e["page"], 16) & ACK]
    echoed = int(acknowledged[-1]["page"], 16) >> 5 & 31
    assert result["received"]["echoed_nonce"] == echoed
    assert bench.near.arbitration.lp_base_page.nonce == echoed


def test_the_record_goes_on(bench: Bench) -> None:
    last = bench.partner.read()[-1]["sequence"]
    bench.control(restart=True)
    bench.advance(NEGOTIATED)
    assert bench.partner.read(last)[0]["sequence"] == last + 1
    assert any(entry["event"] == "link down" for entry in bench.partner.read(last))


def test_abilities_speed_and_silence(bench: Bench) -> None:
    bench.control(speed=1000)
    bench.advance(NEGOTIATED)
    bench.control(speed=0)
    bench.advance(NEGOTIATED)
    assert bench.links == [None, 1000, None, 10000]
    assert bench.control(up=False)["phase"] == "silent"
    bench.advance(1)
    assert bench.links[-1] is None
    bench.control(up=True)
    bench.advance(NEGOTIATED)
    assert bench.links[-1] == 10000
    bench.control(abilities=["10GBASE-KX4"])
    assert bench.advance(1).control()["phase"] == "negotiating"
    assert bench.links[-1] is None


def test_nothing_changed_nothing_bounces(bench: Bench) -> None:
    bench.control(up=True, abilities=BOTH.to_json(), speed=0, next_pages=[], misbehave={"echo.wrong": False})
    assert bench.advance(1).links == []


def test_the_other_end_is_silent(bench: Bench) -> None:
    bench.near.power(False)
    assert bench.advance(0.58).control()["phase"] == "negotiating"
    assert bench.advance(0.01).control()["phase"] == "silent"


def test_turned_on_it_starts_over_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What its arbitration resolved with the transmitter off is never transmitted."""
    bench = Bench(up=False).advance(0.3)
    assert isinstance(bench.partner.phy.port.received, Pages)
    received: list[Signal] = []
    listen = bench.near.arbitration.receive
    monkeypatch.setattr(bench.near.arbitration, "receive", lambda signal: (received.append(signal), listen(signal)))
    bench.control(up=True)
    bench.advance(0.05)
    assert not received
    assert bench.advance(NEGOTIATED).links == [10000]


def test_without_negotiation() -> None:
    bench = Bench()
    bench.control(abilities={"technologies": ["1000BASE-KX"], "negotiates": False})
    bench.advance(0.2)
    assert bench.near.link.technology is Technology.KX_1000M
    assert not bench.near.link.negotiated
    assert bench.control()["resolved"]["negotiated"] is False
    bench.control(abilities=["1000BASE-KX"])
    bench.advance(0.5)
    assert bench.near.link.negotiated


def test_remote_fault_and_25g_requests(bench: Bench) -> None:
    bench.control(abilities={"technologies": ["10GBASE-KR"], "remote_fault": True, "rs_fec_request": True})
    bench.advance(NEGOTIATED)
    page = int(bench.pages[-1], 16)
    assert (page >> 13 & 1, page >> 44 & 3) == (1, 1)


def test_a_base_page_as_it_is(bench: Bench) -> None:
    """Bits without a technology are ignored."""
    page = BOTH.base_page() | 1 << 43 | 1 << 12
    bench.control(base_page=f"{page:012x}")
    bench.advance(NEGOTIATED)
    assert int(bench.pages[-1], 16) & ~(31 << 16) == page
    assert bench.links[-1] == 10000
    bench.control(base_page="")
    bench.advance(NEGOTIATED)
    assert int(bench.pages[-1], 16) & ~(31 << 16) == BOTH.base_page()


@pytest.mark.parametrize("more", [False, True])
def test_next_pages(more: bool) -> None:
    bench = Bench(more=more)
    bench.control(next_pages=[{"message": 5, "data": 0x12345678}, {"unformatted": 0x7FF}, "null"])
    bench.advance(NEGOTIATED)
    content = [int(page, 16) & ~(1 << 11 | ACK) for page in bench.pages[1:]]
    assert content == [0x12345678 << 16 | 1 << 13 | 5 | 1 << 15, 0x7FF | 1 << 15, 0x2001]
    assert bench.links == [10000]
    assert bench.control()["received"]["next_pages"]


def test_late_next_pages() -> None:
    bench = Bench()
    bench.control(next_pages=["null"], next_page_delay=0.3)
    bench.advance(0.35)
    assert bench.near.arbitration.state is State.COMPLETE_ACKNOWLEDGE or bench.near.arbitration.state is (
        State.NEXT_PAGE_WAIT
    )
    assert bench.advance(0.1).links == [10000]


def test_latency() -> None:
    bench = Bench()
    bench.control(latency=0.1)
    bench.advance(0.15)
    assert bench.near.arbitration.state is State.ABILITY_DETECT
    assert bench.states.count("ABILITY_DETECT") == 1
    bench.advance(0.011)
    assert bench.pages
    assert bench.advance(20).near.arbitration.state is not State.AN_GOOD, "training takes too long so far away"
    bench.control(latency=0.0)
    assert bench.advance(3).links[-1] == 10000


def test_timers(bench: Bench) -> None:
    bench.control(timers={"break_link": 0.5}, restart=True)
    bench.advance(0.49)
    assert bench.pages == []
    bench.advance(0.03)
    assert bench.links == [None, 10000]


def count(bench: Bench, state: str) -> int:
    return bench.states.count(state)


@pytest.mark.parametrize(
    ("name", "reached", "missed"),
    [
        ("nonce.copied", "ABILITY_DETECT", "ACKNOWLEDGE_DETECT"),
        ("echo.wrong", "ACKNOWLEDGE_DETECT", "COMPLETE_ACKNOWLEDGE"),
        ("acknowledge.lost", "ACKNOWLEDGE_DETECT", "COMPLETE_ACKNOWLEDGE"),
        ("pages.endless", "NEXT_PAGE_WAIT", "AN_GOOD_CHECK"),
        ("training.unwilling", "AN_GOOD_CHECK", "AN_GOOD"),
        ("training.deaf", "AN_GOOD_CHECK", "AN_GOOD"),
        ("training.absent", "AN_GOOD_CHECK", "AN_GOOD"),
        ("carrier.absent", "AN_GOOD_CHECK", "AN_GOOD"),
    ],
)
def test_misbehaviour(bench: Bench, name: str, reached: str, missed: str) -> None:
    """While it lasts, the near end does not pass a state; then the link comes up again."""
    bench.control(misbehave={name: True}, restart=True)
    bench.advance(2)
    assert count(bench, reached)
    assert not count(bench, missed)
    result = bench.control(misbehave={name: False}, restart=True)
    assert result["misbehaviour"][name]["fired"]
    bench.advance(2)
    assert bench.links[-1] == 10000


@pytest.mark.parametrize("name", ["nonce.copied", "echo.wrong", "acknowledge.lost", "training.unwilling"])
def test_misbehaviour_of_one_negotiation(bench: Bench, name: str) -> None:
    bench.control(misbehave={name: 1}, restart=True)
    bench.advance(3)
    assert bench.links == [None, 10000]
    assert bench.control()["misbehaviour"][name] == {"times": None, "fired": 1}


def test_flapping(bench: Bench) -> None:
    bench.control(flap={"times": 3, "down": 0.01, "up": 0.2})
    assert bench.control()["flapping"]
    bench.advance(1)
    assert bench.links == [None, 10000] * 3
    assert not bench.control()["flapping"]


def test_faster_than_the_link_comes_up(bench: Bench) -> None:
    bench.control(flap={"times": 100, "down": 0.002, "up": 0.008})
    bench.advance(1.2)
    assert bench.links == [None, 10000]


@pytest.mark.parametrize("state", ["ABILITY_DETECT", "ACKNOWLEDGE_DETECT", "COMPLETE_ACKNOWLEDGE", "AN_GOOD_CHECK"])
def test_restart_at_any_moment(bench: Bench, state: str) -> None:
    """The partner stops transmitting when it enters a state, at that instant."""
    since = bench.partner.read()[-1]["sequence"]
    bench.control(restart=True, script=[{"at": state, "restart": True}])
    bench.advance(1)
    entries = [entry for entry in bench.partner.read(since) if entry["event"] == "state"]
    states = [entry["state"] for entry in entries]
    left = states.index(state)
    assert states[left + 1 : left + 3] == ["AUTO_NEGOTIATION_ENABLE", "TRANSMIT_DISABLE"]
    assert entries[left + 1]["time"] == entries[left]["time"]
    assert bench.links[-1] == 10000


def test_a_script_mixes_times_and_states(bench: Bench) -> None:
    steps = [
        {"after": 0.5, "abilities": ["1000BASE-KX"]},
        {"at": "AN_GOOD", "after": 0.1, "up": False},
        {"after": 0.2, "up": True, "abilities": ["10GBASE-KR"]},
        {"at": "TRAIN_REMOTE", "restart": True},
    ]
    bench.control(script=steps)
    bench.advance(0.4)
    assert bench.links == []
    bench.advance(2)
    assert bench.links == [None, 1000, None, 10000]
    assert not bench.control()["flapping"]


def test_a_script_is_stopped(bench: Bench) -> None:
    bench.control(flap={"times": 9, "down": 1, "up": 1})
    bench.partner.stop()
    bench.partner.stop()
    assert bench.advance(3).links == [None]


def test_it_starts_silent() -> None:
    bench = Bench(up=False)
    assert bench.advance(1).pages == []
    bench.control(up=True)
    assert bench.advance(NEGOTIATED).links == [10000]


@pytest.mark.parametrize(
    "change",
    [
        {"abilities": ["10GBASE-T"]},
        {"abilities": {"technologies": [], "paws": True}},
        {"speed": 7},
        {"flap": {"times": 3}},
        {"flap": {"times": 3, "down": -1, "up": 1}},
        {"base_page": "1" * 13},
        {"next_pages": ["nul"]},
        {"next_pages": [{"message": 5000}]},
        {"next_pages": [{"massage": 5}]},
        {"latency": -1},
        {"timers": {"page_test_max": 1}},
        {"misbehave": {"echo.wrong": -1}},
        {"misbehave": {"echo.long": 1}},
        {"restart": 1},
        {"script": [{"at": "NOWHERE"}]},
        {"script": [{"after": -1}]},
        {"script": [{"script": []}]},
        {"script": [{"abilities": ["1000BASE-KX"]}, {"speed": 10000}]},
        {"colour": "red"},
    ],
)
def test_refused(bench: Bench, change: dict[str, Any]) -> None:
    """An invalid value changes nothing, even with valid ones beside it."""
    before = bench.control()
    with pytest.raises((ValueError, TypeError, UnknownFaultError)):
        bench.control(**{"up": False, **change})
    assert bench.control() == before
    assert bench.advance(1).links == []


def test_a_step_may_ask_for_what_a_step_before_it_brought(bench: Bench) -> None:
    bench.control(abilities=["1000BASE-KX"])
    bench.control(script=[{"abilities": ["1000BASE-KX", "10GBASE-KR"]}, {"speed": 10000}])
    bench.advance(1)
    assert bench.control()["resolved"]["speed"] == 10000
