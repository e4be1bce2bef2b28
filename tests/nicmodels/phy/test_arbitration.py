# SPDX-License-Identifier: GPL-2.0-or-later
"""Negotiation between two ends on a medium (IEEE 802.3 figure 73-11)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nicmodels.clock import ManualClock
from nicmodels.phy import (
    NULL_PAGE,
    Abilities,
    Carrier,
    Codeword,
    Kind,
    Medium,
    Pages,
    State,
    Technology,
    TrainingState,
    Transceiver,
    resolve,
)

BOTH = Abilities.of("10GBASE-KR", "1000BASE-KX", pause=True)
NEXT_PAGE = 1 << 15


class Bench:
    """Two ends, and the states of the near one."""

    def __init__(self, near: Abilities = BOTH, far: Abilities | None = BOTH, *, more: int = 0) -> None:
        self.clock = ManualClock()
        medium = Medium(self.clock)
        self.near, self.far_port = Transceiver(medium.near, seed="near"), medium.far
        self.states: list[str] = []
        self.kinds: list[Kind] = []
        self.near.subscribe(self._listen)
        self.near.arbitration.advertise(near.base_page() | more)
        self.near.arbitration.enable(True)
        if far is not None:
            self.far = Transceiver(medium.far, seed="far")
            self.far.arbitration.advertise(far.base_page())
            self.far.arbitration.enable(True)

    def _listen(self, event: object) -> None:
        self.kinds.append(event.kind)
        if event.kind is Kind.STATE:
            self.states.append(event.details["state"])


def test_the_way_to_a_link() -> None:
    bench = Bench()
    bench.clock.advance(0.0599)
    assert bench.near.arbitration.state is State.TRANSMIT_DISABLE
    bench.clock.advance(0.0011)
    assert bench.states == [
        "AUTO_NEGOTIATION_ENABLE",
        "TRANSMIT_DISABLE",
        "ABILITY_DETECT",
        "ACKNOWLEDGE_DETECT",
        "COMPLETE_ACKNOWLEDGE",
        "AN_GOOD_CHECK",
        "AN_GOOD",
    ]
    assert bench.near.link == bench.far.link == resolve(BOTH, BOTH)
    assert bench.near.training.state is TrainingState.SEND_DATA
    assert bench.near.training.transmitter.taps == bench.far.training.transmitter.taps


def test_next_pages_are_answered_by_null_pages() -> None:
    bench = Bench(more=NEXT_PAGE)
    bench.clock.advance(0.1)
    assert bench.states.count("NEXT_PAGE_WAIT") == 1
    assert bench.near.arbitration.lp_next_page & ~(1 << 11 | 1 << 14) == NULL_PAGE
    assert bench.near.link == resolve(BOTH, BOTH)


@pytest.mark.parametrize("technology", list(Technology))
def test_parallel_detection(technology: Technology) -> None:
    """Detection of a partner that does not negotiate: 1000BASE-KX and 10GBASE-KX4, and nothing else (73.7.4.1)."""
    everything = Abilities(frozenset(Technology))
    bench = Bench(everything, None)
    bench.far_port.drive(Carrier(technology))
    bench.clock.advance(0.1)
    if technology in (Technology.KX_1000M, Technology.KX4_10G):
        assert (bench.near.link.technology, bench.near.link.negotiated) == (technology, False)
        assert not bench.near.arbitration.lp_autoneg_able
    else:
        assert bench.near.link is None
        assert bench.near.arbitration.state is State.ABILITY_DETECT


def test_a_carrier_that_does_not_last_is_a_fault() -> None:
    bench = Bench(far=None)
    bench.clock.advance(0.061)
    bench.far_port.drive(Carrier(Technology.KX_1000M))
    bench.clock.advance(0.01)
    assert bench.near.arbitration.state is State.LINK_STATUS_CHECK
    bench.far_port.drive(Carrier(Technology.KR_10G))
    bench.clock.advance(0.02)
    assert bench.near.arbitration.parallel_detection_fault
    assert Kind.PARALLEL_DETECTION_FAULT in bench.kinds
    assert bench.near.arbitration.state is State.TRANSMIT_DISABLE


def scripted(bench: Bench, *pages: int) -> None:
    for page in pages:
        bench.far_port.drive(Pages(Codeword(page)))
        bench.clock.advance(2e-6)


def test_a_wrong_echoed_nonce_starts_over() -> None:
    bench = Bench(far=None)
    bench.clock.advance(0.061)
    nonce = bench.near.arbitration.transmitted.nonce
    page = BOTH.base_page(nonce ^ 1)
    scripted(bench, page)
    assert bench.near.arbitration.state is State.ACKNOWLEDGE_DETECT
    assert bench.near.arbitration.transmitted.echoed_nonce == nonce ^ 1
    scripted(bench, page | 1 << 14 | (nonce ^ 3) << 5)
    assert bench.near.arbitration.state is State.TRANSMIT_DISABLE


def test_the_own_nonce_starts_over() -> None:
    bench = Bench(far=None)
    bench.clock.advance(0.061)
    scripted(bench, BOTH.base_page(bench.near.arbitration.transmitted.nonce))
    assert bench.near.arbitration.state is State.TRANSMIT_DISABLE


def test_silence_instead_of_an_acknowledge_starts_over() -> None:
    bench = Bench(far=None)
    bench.clock.advance(0.061)
    scripted(bench, BOTH.base_page(bench.near.arbitration.transmitted.nonce ^ 1))
    bench.clock.advance(1)
    assert bench.near.arbitration.state is State.ACKNOWLEDGE_DETECT  # the diagram has no timer for a lost acknowledge
    bench.far_port.drive(Carrier(Technology.KR_10G))
    bench.clock.advance(1e-6)
    assert bench.near.arbitration.state is State.TRANSMIT_DISABLE


def test_training_that_never_ends_restarts_negotiation() -> None:
    bench = Bench()
    bench.far.training.converges = False
    bench.clock.advance(0.559)
    assert bench.near.training.state is TrainingState.TRAIN_REMOTE
    bench.clock.advance(0.002)
    assert bench.near.training.failed
    assert bench.near.arbitration.state is State.AN_GOOD_CHECK
    bench.clock.advance(0.006)
    assert bench.near.arbitration.state is State.TRANSMIT_DISABLE


def test_an_incompatible_link_is_reported() -> None:
    bench = Bench()
    bench.near.technologies = frozenset((Technology.KX_1000M,))
    bench.clock.advance(0.07)
    assert Kind.INCOMPATIBLE_LINK in bench.kinds
    assert bench.near.link is None


@settings(deadline=None, max_examples=60)
@given(st.frozensets(st.sampled_from(list(Technology))), st.frozensets(st.sampled_from(list(Technology))))
def test_any_two_converge_to_the_best_they_share(near: frozenset[Technology], far: frozenset[Technology]) -> None:
    bench = Bench(Abilities(near), Abilities(far))
    bench.clock.advance(0.2)
    best = next((technology for technology in Technology if technology in near & far), None)
    for end in (bench.near, bench.far):
        assert (end.link and end.link.technology) == best
