# SPDX-License-Identifier: GPL-2.0-or-later
"""What upstream's tests print, as it came from guests, and what nobody should have printed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from plugfest.selftests.ktap import Parser, Result, ResultKind


class Parsed(Parser):
    """A whole output, with the results of its outermost level."""

    results: Sequence[Result]


def parse(text: str) -> Parsed:
    parser = Parsed()
    found = [result for line in text.splitlines() if (result := parser.feed(line)) is not None]
    inner = [each for result in found for each in result.children]
    parser.results = [result for result in found if not any(result is each for each in inner)]
    return parser


PING = """\
# timeout set to 360
# selftests: drivers/net: ping.py
# TAP version 13
# 1..3
# # Interface: eth0, driver: ixgbe
# ok 1 ping.test_default_v4
# # Exception| Traceback (most recent call last):
# # Exception| net.lib.py.utils.CmdExitFailure: Command failed
# not ok 2 ping.test_default_v6
# ok 3 ping.test_xdp # SKIP no hardware # here
# # Totals: pass:1 fail:1 xfail:0 xpass:0 skip:1 error:0
not ok 1 selftests: drivers/net: ping.py # exit=1
"""


def test_the_cases_stand_behind_their_test() -> None:
    parsed = parse(PING)
    (whole,) = parsed.results
    assert (whole.name, whole.outcome, whole.said) == ("selftests: drivers/net: ping.py", ResultKind.NOT_OK, "exit=1")
    assert [(each.name, each.outcome) for each in whole.children] == [
        ("ping.test_default_v4", ResultKind.OK),
        ("ping.test_default_v6", ResultKind.NOT_OK),
        ("ping.test_xdp", ResultKind.SKIP),
    ]
    assert whole.children[2].said == "no hardware # here"
    assert (parsed.planned, parsed.printed) == (3, 3)


def test_diagnostics_belong_to_the_result_that_follows() -> None:
    (whole,) = parse(PING).results
    assert whole.children[1].diagnostics == [
        "Exception| Traceback (most recent call last):",
        "Exception| net.lib.py.utils.CmdExitFailure: Command failed",
    ]
    assert whole.diagnostics == ["Totals: pass:1 fail:1 xfail:0 xpass:0 skip:1 error:0"]


def test_ktap_nests_by_two_spaces() -> None:
    text = "KTAP version 1\n1..1\n  KTAP version 1\n  1..2\n    ok 1 inner\n  ok 1 first\n  not ok 2 second\nnot ok 1 suite\n"
    (suite,) = parse(text).results
    assert [name for name, _ in suite.leaves()] == ["suite.first.inner", "suite.second"]


@pytest.mark.parametrize(
    ("line", "outcome", "said"),
    [
        ("ok 1 a", ResultKind.OK, ""),
        ("ok 1 - a", ResultKind.OK, ""),
        ("not ok 1 a", ResultKind.NOT_OK, ""),
        ("ok 1 a # skip why", ResultKind.SKIP, "why"),
        ("not ok 1 a # SKIP: why", ResultKind.NOT_OK, "SKIP why"),
        ("not ok 1 a # XFAIL why", ResultKind.NOT_OK, "XFAIL why"),
        ("ok 1 a # XFAIL Test only works on netdevsim", ResultKind.XFAIL, "Test only works on netdevsim"),
        ("not ok 1 a # TODO later", ResultKind.XFAIL, "later"),
        ("not ok 1 a # TIMEOUT 360 seconds", ResultKind.TIMEOUT, "360 seconds"),
        ("ok 1 a # ERROR broken", ResultKind.NOT_OK, "broken"),
        ("not ok 1 a # exit=1", ResultKind.NOT_OK, "exit=1"),
        ("\x1b[31mnot ok 1 a\x1b[0m", ResultKind.NOT_OK, ""),
        ("TEST: a                                     [ OK ]", ResultKind.OK, ""),
        ("TEST: a                                     [FAIL]", ResultKind.NOT_OK, ""),
        ("TEST: a                                     [SKIP]", ResultKind.SKIP, ""),
    ],
)
def test_a_line(line: str, outcome: ResultKind, said: str) -> None:
    (found,) = parse(line).results
    assert (found.name, found.outcome, found.said) == ("a", outcome, said)


@pytest.mark.parametrize(
    "line", ["ok", "ok then", "not ok", "okay 1 a", "it is not ok 1 a", "", "#", "# # #", "# # ok 1 a", "1..", "1..x"]
)
def test_what_is_no_result(line: str) -> None:
    assert parse(line).results == []


def test_an_output_cut_short_keeps_what_there_is() -> None:
    parsed = parse("\n".join(PING.splitlines()[:6]))
    assert [each.name for each in parsed.results] == ["ping.test_default_v4"]
    assert (parsed.planned, parsed.printed) == (3, 1)


def test_bail_out() -> None:
    assert parse("# ok 1 a\n# Bail out! no memory\n").bail == "no memory"


def test_a_case_that_had_failed_is_not_skipped() -> None:
    (found,) = parse("# # Check failed a not in b\n# not ok 2 x.y # SKIP no\n").results
    assert (found.outcome, found.said) == (ResultKind.NOT_OK, "SKIP no")


def test_a_reason_below_a_result_belongs_to_that_result() -> None:
    """``log_test_result()`` of net/lib.sh prints the reason after the result, behind a tab."""
    text = "# TEST: first   [FAIL]\n# \tping failed\n# TEST: second  [FAIL]\n# TEST: third   [SKIP]\n# \tno device\n"
    first, second, third = parse(text).results
    assert (first.said, first.diagnostics) == ("ping failed", ["ping failed"])
    assert (second.said, second.diagnostics) == ("", [])
    assert (third.outcome, third.said) == (ResultKind.SKIP, "no device")


def test_what_a_test_says_of_packets_is_no_result() -> None:
    (found,) = parse("# # not ok 7 of 9 packets arrived\n# ok 1 a\n").results
    assert (found.name, found.diagnostics) == ("a", ["not ok 7 of 9 packets arrived"])
