# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import json

import pytest
from nicmodels.clock import ManualClock
from nicmodels.phy import Abilities, Phase, Resolution, VirtualSwitchPort
from nicmodels.phy.script import Step

BOTH = Abilities.of("10GBASE-KR", "1000BASE-KX", pause=True)


class Bench:
    """A partner, its clock, and the events of its listener."""

    def __init__(self, delay: float = 0.5, **options: bool) -> None:
        self.clock = ManualClock()
        self.partner = VirtualSwitchPort(self.clock, abilities=BOTH, delay=delay, **options)
        self.reported: list[int | None] = []
        self.partner.subscribe(self._listen)

    def _listen(self, outcome: Resolution | None) -> None:
        self.reported.append(outcome and outcome.speed)

    def linked(self) -> Bench:
        self.partner.local(BOTH)
        self.clock.advance(self.partner.delay)
        self.reported.clear()
        return self


def test_the_link_comes_up_after_the_delay() -> None:
    bench = Bench()
    bench.clock.advance(1)
    assert bench.partner.phase is Phase.SILENT
    bench.partner.local(BOTH)
    bench.clock.advance(0.49)
    assert (bench.partner.resolved, bench.partner.received, bench.reported) == (None, None, [])
    assert bench.partner.phase is Phase.NEGOTIATING
    bench.clock.advance(0.01)
    assert bench.reported == [10000]
    assert bench.partner.received == BOTH
    assert bench.partner.phase is Phase.LINKED


@pytest.mark.parametrize("delay", [0.0, 0.5])
def test_a_restart_is_a_bounce(delay: float) -> None:
    bench = Bench(delay).linked()
    bench.partner.local(BOTH)
    assert (bench.partner.resolved, bench.reported) == (None, [])
    bench.clock.advance(delay)
    assert bench.reported == [None, 10000]


def test_a_restart_within_negotiation_starts_over() -> None:
    bench = Bench()
    bench.partner.local(BOTH)
    bench.clock.advance(0.4)
    bench.partner.local(BOTH)
    bench.clock.advance(0.4)
    assert bench.reported == []
    bench.clock.advance(0.1)
    assert bench.reported == [10000]


def test_the_local_end_goes_silent() -> None:
    bench = Bench().linked()
    bench.partner.local(None)
    bench.clock.advance(10)
    assert bench.reported == [None]
    assert bench.partner.phase is Phase.SILENT


def test_the_partner_goes_silent_and_returns() -> None:
    bench = Bench().linked()
    bench.partner.set(up=False)
    bench.clock.advance(10)
    assert (bench.reported, bench.partner.up, bench.partner.received) == ([None], False, None)
    bench.partner.set(up=True)
    bench.clock.advance(0.5)
    assert bench.reported == [None, 10000]


def test_nothing_changed_nothing_bounces() -> None:
    bench = Bench().linked()
    bench.partner.set(up=True, abilities=BOTH, speed=0)
    bench.partner.set()
    bench.clock.advance(10)
    assert bench.reported == []


def test_speed_restricts_and_lifts() -> None:
    bench = Bench().linked()
    bench.partner.set(speed=1000)
    bench.clock.advance(1)
    bench.partner.set(speed=0)
    bench.clock.advance(1)
    assert bench.reported == [None, 1000, None, 10000]
    with pytest.raises(ValueError, match="found 100 Mbit/s"):
        bench.partner.set(up=False, speed=100)
    assert bench.partner.up
    assert bench.partner.resolved is not None


def test_new_abilities_lift_the_speed() -> None:
    bench = Bench().linked()
    bench.partner.set(speed=1000)
    bench.partner.set(abilities=Abilities.of("10GBASE-KR"))
    bench.clock.advance(1)
    assert bench.reported[-1] == 10000


def test_no_common_ground() -> None:
    bench = Bench().linked()
    bench.partner.set(abilities=Abilities.of("10GBASE-KX4"))
    bench.clock.advance(1)
    assert bench.reported == [None]
    assert bench.partner.phase is Phase.NEGOTIATING
    assert bench.partner.received == Abilities.of("10GBASE-KX4")


def test_a_partner_that_starts_silent() -> None:
    bench = Bench(up=False)
    bench.partner.local(BOTH)
    bench.clock.advance(10)
    assert bench.reported == []


def test_flapping() -> None:
    bench = Bench(delay=0.1).linked()
    bench.partner.flap(3, down=1, up=2)
    bench.clock.advance(0.5)
    assert bench.reported == [None]
    bench.clock.advance(20)
    assert bench.reported == [None, 10000] * 3


def test_it_reports_whether_it_still_flaps() -> None:
    bench = Bench(delay=0.1).linked()
    assert not bench.partner.describe()["flapping"]
    bench.partner.flap(2, down=1, up=2)
    bench.clock.advance(5.9)
    assert bench.partner.describe()["flapping"]
    bench.clock.advance(0.2)
    assert not bench.partner.describe()["flapping"]
    assert bench.partner.describe()["phase"] == "linked"


def test_flapping_faster_than_the_link_comes_up() -> None:
    bench = Bench(delay=0.5).linked()
    bench.partner.flap(100, down=0.1, up=0.1)
    bench.clock.advance(30)
    assert bench.reported == [None, 10000]


def test_a_script_is_replaced_and_stopped() -> None:
    bench = Bench(delay=0.1).linked()
    bench.partner.play([Step(1, change={"up": False}), Step(1, change={"speed": 1000}), Step(change={"up": True})])
    bench.clock.advance(3)
    assert bench.reported == [None, 1000]
    bench.partner.flap(5, down=1, up=1)
    bench.partner.play([Step(1, change={"speed": 0})])
    bench.clock.advance(3)
    assert bench.reported == [None, 1000, None, 10000]
    bench.partner.flap(5, down=1, up=1)
    bench.partner.stop()
    bench.partner.stop()
    bench.clock.advance(30)
    assert bench.reported == [None, 1000, None, 10000]


def test_control_speaks_json() -> None:
    bench = Bench().linked()
    state = bench.partner.control(speed=1000, up=True)
    assert state == json.loads(json.dumps(bench.partner.describe()))
    assert (state["phase"], state["resolved"], state["speed"]) == ("negotiating", None, 1000)
    bench.clock.advance(1)
    state = bench.partner.control(abilities={"technologies": ["10GBASE-KR"], "pause": True})
    assert state["abilities"]["technologies"] == ["10GBASE-KR"]
    bench.clock.advance(1)
    assert bench.partner.describe()["resolved"] == {
        "technology": "10GBASE-KR",
        "speed": 10000,
        "pause": {"transmit": True, "receive": True},
        "fec": False,
        "rs_fec": False,
        "negotiated": True,
    }
    bench.partner.control(flap={"times": 1, "down": 1, "up": 1})
    bench.clock.advance(5)
    assert bench.reported[-2:] == [None, 10000]


@pytest.mark.parametrize(
    "arguments",
    [
        {"abilities": ["10GBASE-T"], "up": False},
        {"speed": 7, "up": False},
        {"flap": {"times": 3}, "up": False},
        {"flap": {"times": 3, "down": -1, "up": 1}, "up": False},
    ],
)
def test_control_refuses(arguments: dict[str, object]) -> None:
    bench = Bench().linked()
    with pytest.raises(ValueError, match="expected"):
        bench.partner.control(**arguments)
    bench.clock.advance(1)
    assert bench.reported == []
