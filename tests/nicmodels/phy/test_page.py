# SPDX-License-Identifier: GPL-2.0-or-later
"""Pages bit by bit: base page (figure 73-6), message and unformatted next pages (73.7.7.1), and their detection."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nicmodels.clock import ManualClock
from nicmodels.phy import NULL_PAGE, Codeword, Timeline, Timers
from nicmodels.phy.detection import PageDetector

PAGE = 106 * 3.2e-9
"""Seconds: a delimiter of 8 transition positions, 49 bits of 2, and 3.2 ns each (73.5.3)."""


def bits(page: int, low: int, high: int) -> int:
    """D[high:low]."""
    return page >> low & (1 << high - low + 1) - 1


@given(st.integers(0, (1 << 48) - 1))
def test_fields_of_a_base_page(word: int) -> None:
    page = Codeword(word)
    assert page.echoed_nonce == bits(word, 5, 9)
    assert page.nonce == bits(word, 16, 20)
    assert page.remote_fault is bool(bits(word, 13, 13))
    assert page.acknowledge is bool(bits(word, 14, 14))
    assert page.next_page is bool(bits(word, 15, 15))
    assert Codeword.of_words(*page.words) == page
    assert Codeword.from_hex(str(page)) == page


@given(st.integers(0, 2047), st.integers(0, (1 << 32) - 1), st.booleans(), st.booleans())
def test_message_page(code: int, data: int, more: bool, ack2: bool) -> None:
    page = Codeword.message(code, data, more=more, ack2=ack2)
    assert bits(page, 0, 10) == page.message_code == code
    assert (bits(page, 11, 11), bits(page, 14, 14)) == (0, 0), "toggle and Ack are arbitration's"
    assert (bits(page, 12, 12), bits(page, 13, 13), bits(page, 15, 15)) == (ack2, 1, more)
    assert bits(page, 16, 47) == data


@given(st.integers(0, (1 << 43) - 1), st.booleans())
def test_unformatted_page(code: int, more: bool) -> None:
    page = Codeword.unformatted(code, more=more)
    assert bits(page, 16, 47) << 11 | bits(page, 0, 10) == code
    assert (bits(page, 11, 14), bits(page, 15, 15)) == (0, more)
    assert page.message_code is None


def test_null_page() -> None:
    """Message code 1 and nothing else."""
    assert int(NULL_PAGE) == 0x2001


def test_as_json() -> None:
    assert Codeword.from_json("null") == NULL_PAGE
    assert Codeword.from_json("000000002001") == NULL_PAGE
    assert Codeword.from_json({"message": 5, "data": 0x1234}) == Codeword.message(5, 0x1234)
    assert Codeword.from_json({"unformatted": 7}) == Codeword.unformatted(7)


@pytest.mark.parametrize("make", [lambda: Codeword.message(2048), lambda: Codeword.unformatted(1 << 43)])
def test_too_much(make: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        make()


class Receiver:
    """A detector and its clock."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.detector = PageDetector(Timeline(self.clock), lambda: None, Timers())

    def pages(self, page: int | None, count: float) -> tuple[bool, bool]:
        """The matches after a number of pages: ability_match, acknowledge_match."""
        self.detector.receive(None if page is None else Codeword(page))
        self.clock.advance(count * PAGE)
        return self.detector.ability_match is not None, self.detector.acknowledge_match is not None


BASE, ACK, ECHO = 1 | 1 << 23 | 9 << 16, 1 << 14, 17 << 5


@pytest.mark.parametrize(("count", "matches"), [(2.9, False), (3.1, True)])
def test_three_consecutive_pages(count: float, matches: bool) -> None:
    assert Receiver().pages(BASE, count) == (matches, False)


@pytest.mark.parametrize(("count", "matches"), [(2.9, False), (3.1, True)])
def test_three_consecutive_acknowledges(count: float, matches: bool) -> None:
    receiver = Receiver()
    receiver.pages(BASE, 5)
    assert receiver.pages(BASE | ACK | ECHO, count) == (True, matches)


def test_another_page_in_between_starts_the_count_again() -> None:
    receiver = Receiver()
    receiver.pages(BASE, 2)
    assert receiver.pages(BASE | 1 << 21, 2) == (False, False)
    assert receiver.pages(BASE, 2) == (False, False)
    assert receiver.pages(BASE, 2) == (True, False)


def test_ack_and_the_echoed_nonce_do_not_break_an_ability_match() -> None:
    receiver = Receiver()
    receiver.pages(BASE, 2)
    assert receiver.pages(BASE | ACK | ECHO, 1.1) == (True, False)


def test_idle_after_page_test_max_timer() -> None:
    receiver = Receiver()
    assert receiver.detector.idle
    receiver.pages(BASE, 5)
    assert not receiver.detector.idle
    receiver.pages(None, 1)
    assert not receiver.detector.idle
    receiver.clock.advance(375e-9 - PAGE)
    assert receiver.detector.idle
    assert receiver.detector.ability_match is None
