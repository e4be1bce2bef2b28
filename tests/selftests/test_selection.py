# SPDX-License-Identifier: GPL-2.0-or-later
"""Which tests a run has."""

from __future__ import annotations

import pytest
from plugfest.errors import UsageError
from plugfest.selftests.selection import Selected, select
from plugfest.selftests.selftest import Selftest

PING, STATS, RSS = (
    Selftest("drivers/net", "ping.py"),
    Selftest("drivers/net", "stats.py"),
    Selftest("drivers/net/hw", "rss_ctx.py"),
)
ALL = (PING, STATS, RSS)


@pytest.mark.parametrize("name", ["ping.py", "ping", "drivers/net:ping.py", "drivers/net/ping.py", "pi*"])
def test_a_name(name: str) -> None:
    assert select(ALL, [name]) == [Selected(PING)]


def test_none_for_all() -> None:
    assert select(ALL, []) == [Selected(PING), Selected(STATS), Selected(RSS)]


def test_a_folder_has_its_own_tests() -> None:
    assert select(ALL, ["drivers/net"]) == [Selected(PING), Selected(STATS)]


def test_cases_join_and_the_order_is_upstreams() -> None:
    assert select(ALL, ["rss_ctx.py", "stats::a", "stats.py::b"]) == [Selected(STATS, ("a", "b")), Selected(RSS)]


def test_a_whole_test_takes_its_cases_in() -> None:
    assert select(ALL, ["stats::a", "stats"]) == [Selected(STATS)]


def test_a_shell_script_runs_no_single_case() -> None:
    script = Selftest("drivers/net", "netcons_basic.sh")
    with pytest.raises(
        UsageError, match="netcons_basic::a: expected a test that runs single cases, found a shell script"
    ):
        select([*ALL, script], ["netcons_basic::a"])
    assert select([*ALL, script], ["drivers/net::a"]) == [Selected(PING, ("a",)), Selected(STATS, ("a",))]


def test_an_unknown_name_gets_advice() -> None:
    with pytest.raises(UsageError, match=r"pong.py: expected one of upstream's tests, .* did you mean ping.py"):
        select(ALL, ["pong.py"])
