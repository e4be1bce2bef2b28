# SPDX-License-Identifier: GPL-2.0-or-later
"""Which tests a run has."""

from __future__ import annotations

from pathlib import Path

import pytest
from plugfest.errors import UsageError
from plugfest.selftests.selection import Selected, check_cases, select
from plugfest.selftests.selftest import CASES, SELFTESTS, Selftest, Selftests

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


PLAIN = """
from lib.py import NetDrvEnv
from theirs import (check_rx,
                    check_tx)

def test_v4(cfg):
    def inner():
        pass

test_made = maker("made")
"""
VARIANTS = """
@ksft_variants([KsftNamedVariant("ipv4", 4)])
def test(cfg, version):
    pass
"""
RENAMED = """
def builder(name):
    def f(cfg):
        pass
    f.__name__ = name
"""
MAIN = """
if __name__ == "__main__":
    main()
"""


@pytest.fixture
def with_source(tmp_path: Path):
    """Makes tests of this source, of a kernel whose library lists cases."""

    def make(text: str, library: str = "parser.list_tests") -> Selftests:
        for name, content in ((CASES, library), (f"{PING.collection}/{PING.name}", text)):
            file = tmp_path / SELFTESTS / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        return Selftests(tmp_path, "", (PING,), {}, tmp_path, "")

    return make


@pytest.mark.parametrize(
    ("text", "case"),
    [
        *((PLAIN, case) for case in ("test_v4", "test_*", "test_v?", "*v[46]", "check_tx", "test_made", "*", "inner")),
        *((VARIANTS, case) for case in ("test.ipv4", "test.*", "test*", "test?ipv4", "te*ipv4", "*ipv4", "test", "t[e]*4")),
        (VARIANTS, "test.of_a_list_that_is_made"),
        *((text, "any.thing") for text in (RENAMED, "KsftCaseFunction('a', f, ())", "from theirs import *", "def f(:")),
    ],
)  # fmt: skip
def test_what_may_be_a_case(with_source, text: str, case: str) -> None:
    check_cases(with_source(text + (MAIN if "(:" not in text else "")), [Selected(PING, (case,))])


@pytest.mark.parametrize(
    ("text", "case"),
    [
        *((PLAIN, case) for case in ("test_v6", "test", "test.v4", "v*", "v4", "test_v4.x", "test_v[5-9]")),
        *((VARIANTS, case) for case in ("tset.ipv4", "ipv4", "tests.*", "other*")),
        ("", "test"),
    ],
)
def test_what_is_no_case(with_source, text: str, case: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_cases(with_source(text + MAIN), [Selected(PING), Selected(PING, ("*", case) if text else (case,))])
    assert str(caught.value).startswith(
        f"drivers/net:ping.py::{case}: expected one of the test's cases, found none of that name; "
    )


def test_a_kernel_whose_tests_run_all_cases(with_source) -> None:
    """That of trixie, 6.12: its library has no ``-l`` and no ``-t``."""
    tests = with_source(PLAIN, "def ksft_run(cases=None):")
    check_cases(tests, [Selected(PING)])
    with pytest.raises(UsageError, match=r"ping.py::test_v4: expected a test that runs single cases, found that those"):
        check_cases(tests, [Selected(PING, ("test_v4",))])
