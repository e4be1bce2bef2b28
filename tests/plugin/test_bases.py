# SPDX-License-Identifier: GPL-2.0-or-later
"""What others stand on is tested first; once it has failed, they are blocked."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from plugfest.machine.machine import DriverLoadError
from plugfest.report import console
from plugfest.report.write import write_reports
from plugfest.run import journal
from rich.console import Console

# Fixtures of the same names as the suite's, which do nothing on the fake machine.
FIXTURES = """
@pytest.fixture
def dut(guest):
    if guest.load_error is not None:
        raise guest.load_error

@pytest.fixture
def settings(dut):
    '''Changes settings.'''

@pytest.fixture
def peer(settings):
    '''A peer.'''

@pytest.fixture
def check_traffic(peer):
    '''Stands on it by another.'''
"""
TESTS = """
@requirement("AREA-REST-01")
def test_driver_alone(kernel):
    '''It stands on nothing.'''

@requirement("AREA-REST-02")
def test_names(dut):
    '''It stands on a netdev.'''

@requirement("AREA-REST-03")
def test_negotiation(settings):
    '''It stands on a link.'''

@requirement("AREA-REST-04")
def test_traffic(check_traffic):
    '''It stands on a ping.'''

@pytest.mark.stands_on("netdev")
@requirement("AREA-REST-05")
def test_marked(settings):
    '''It stands on less than its fixtures say.'''

@pytest.mark.stands_on(None)
@requirement("AREA-REST-06")
def test_on_nothing(peer):
    '''It stands on nothing.'''
"""
BASES = """
@requirement("AREA-PING-01", base="ping")
def test_ping(peer, guest):
    '''There is a reply.'''
    {ping}

@requirement("AREA-LINK-01", base="link")
def test_link(settings, guest):
    '''There is a link.'''
    {link}

@requirement("AREA-NETDEV-01", base="netdev")
def test_netdev(dut, guest):
    '''There is a netdev.'''
    {netdev}
"""


def suite_of(**failing: str) -> str:
    bodies = {"netdev": "pass", "link": "pass", "ping": "pass", **failing}
    return FIXTURES + TESTS + BASES.format(**bodies)


def test_bases_come_first_in_their_order(suite) -> None:
    suite.run(suite_of())
    assert list(suite.verdicts()) == [
        "test_netdev",
        "test_link",
        "test_ping",
        "test_driver_alone",
        "test_names",
        "test_negotiation",
        "test_traffic",
        "test_marked",
        "test_on_nothing",
    ]
    assert set(suite.verdicts().values()) == {"pass"}


@pytest.mark.parametrize(
    ("base", "blocked"),
    [
        ("netdev", {"test_link", "test_ping", "test_names", "test_negotiation", "test_traffic", "test_marked"}),
        ("link", {"test_ping", "test_negotiation", "test_traffic"}),
        ("ping", {"test_traffic"}),
    ],
)
@pytest.mark.parametrize("how", ["assert False, 'gone'", "guest.run('oops')"])
@pytest.mark.parametrize("confirm", [True, False])
def test_what_stands_on_a_failed_base_is_blocked(suite, base: str, blocked: set[str], how: str, confirm: bool) -> None:
    result = suite.run(suite_of(**{base: how}), confirm=confirm)
    verdicts = suite.verdicts()
    failed = verdicts.pop(f"test_{base}")
    assert failed == ("crash" if "oops" in how else "fail")
    assert {test for test, verdict in verdicts.items() if verdict == "blocked"} == blocked
    assert {verdict for test, verdict in verdicts.items() if test not in blocked} <= {"pass"}
    found = suite.document()
    assert found["run"]["exit_status"] == 1
    assert result.ret == 1
    for each in found["results"]:
        if each["verdict"] == "blocked":
            assert each["blocked_by"] == f"AREA-{base.upper()}-01"
            assert each["reason"].startswith(f"stands on AREA-{base.upper()}-01, which is {failed}: ")
            assert (each["seconds"], each["start"], each["steps"]) == (0, None, [])
    attempted = [event["test"] for event in journal.read(suite.output) if event["event"] == "attempt"]
    assert not any(test in name for test in blocked for name in attempted)


@pytest.mark.parametrize(
    "how", ["raise RuntimeError", "if guest.number == 0:\n        assert False", "pytest.skip('bare')"]
)
def test_an_attempt_that_is_not_against_the_driver_blocks_nothing(suite, how: str) -> None:
    suite.run(suite_of(link=how))
    assert "blocked" not in suite.verdicts().values()
    assert suite.verdicts()["test_link"] in ("error", "unstable")


def test_two_attempts_that_fail_differently_block(suite) -> None:
    """Neither guest had a link, whatever else each had."""
    suite.run(suite_of(link="if guest.number == 0:\n        assert False, 'gone'\n    guest.run('oops')"))
    verdicts = suite.verdicts()
    assert (verdicts.pop("test_netdev"), verdicts.pop("test_link")) == ("pass", "unstable")
    assert {test for test, verdict in verdicts.items() if verdict == "blocked"} == {
        "test_ping",
        "test_negotiation",
        "test_traffic",
    }
    (reason,) = {each["reason"] for each in suite.document()["results"] if each["verdict"] == "blocked"}
    assert reason.startswith(
        "stands on AREA-LINK-01, which is unstable: first fail: gone; then, in a fresh guest, crash: "
    )


def test_a_base_that_is_not_selected(suite) -> None:
    suite.run(suite_of(link="assert False"), "-k", "negotiation")
    assert suite.verdicts() == {"test_negotiation": "pass"}


def test_the_console_says_once_what_is_blocked(suite) -> None:
    result = suite.run(suite_of(link="assert False, 'no carrier'"), forked=True)
    said = [line for line in result.outlines if line.startswith("blocked")]
    assert said == ["blocked is all that stands on AREA-LINK-01, which is fail: no carrier"]
    assert [line.split()[2] for line in result.outlines if line.startswith("[")] == [
        "AREA-NETDEV-01",
        "AREA-LINK-01",
        "AREA-REST-01",
        "AREA-REST-02",
        "AREA-REST-05",
        "AREA-REST-06",
    ]


def test_blocked_tests_do_not_count_as_more_failures(suite) -> None:
    suite.run(suite_of(netdev="assert False"), "--maxfail=2")
    assert suite.document()["run"]["complete"]
    suite.run(suite_of(netdev="assert False"), "-x")
    assert set(suite.verdicts().values()) == {"fail", "miss"}


def test_under_a_fault_nothing_is_blocked(suite) -> None:
    suite.run(
        FIXTURES
        + """
@requirement("AREA-NETDEV-01", base="netdev")
def test_netdev(dut, model):
    '''There is a netdev.'''
    assert model.value() == 42

@requirement("AREA-REST-01")
def test_rest(dut, model):
    '''It is right.'''
    assert model.value() == 42
""",
        falsify=True,
    )
    assert set(suite.verdicts().values()) == {"fail"}
    assert suite.document()["run"]["exit_status"] == 0


@pytest.fixture
def no_netdev(suite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Boot guests in which the driver creates no netdev."""
    fakes = importlib.import_module("fakes")
    before = fakes.FakeMachine.__init__

    def init(self: Any, *arguments: Any) -> None:
        before(self, *arguments)
        self.load_error = DriverLoadError("expected ixgbe to create a netdev within 10 s, found none")

    monkeypatch.setattr(fakes.FakeMachine, "__init__", init)


@pytest.mark.usefixtures("no_netdev")
def test_no_netdev_is_one_failure(suite) -> None:
    suite.run(suite_of())
    verdicts = suite.verdicts()
    assert verdicts.pop("test_netdev") == "fail"
    assert verdicts.pop("test_driver_alone") == "pass"
    assert verdicts.pop("test_on_nothing") == "fail"
    assert set(verdicts.values()) == {"blocked"}


@pytest.mark.usefixtures("no_netdev")
def test_the_first_test_without_a_netdev_fails_where_the_base_is_not_selected(suite) -> None:
    suite.run(suite_of(), "-k", "REST and not on_nothing")
    assert suite.verdicts() == {
        "test_driver_alone": "pass",
        "test_names": "fail",
        "test_negotiation": "blocked",
        "test_traffic": "blocked",
        "test_marked": "blocked",
    }
    reasons = {result["blocked_by"] for result in suite.document()["results"]}
    assert reasons == {None, "AREA-REST-02"}


@pytest.mark.parametrize(("never", "second"), [(True, "blocked"), (False, "fail")])
def test_a_link_that_never_came_is_a_failure_in_setup_too(suite, never: bool, second: str) -> None:
    """A link that a fixture has lost blocks nothing."""
    suite.run(f"""
from plugfest.dut.settings import NoLinkError

@pytest.fixture
def link_partner(guest):
    raise NoLinkError("expected that eth0 has carrier", never={never})

@requirement("AREA-TEST-01")
def test_first(link_partner):
    '''First.'''

@requirement("AREA-TEST-02")
def test_second(link_partner):
    '''Second.'''
""")
    assert suite.verdicts() == {"test_first": "fail", "test_second": second}
    assert suite.document()["results"][0]["reason"] == "expected that eth0 has carrier"


def test_what_a_base_was_found_to_provide_is_not_missing_later(suite) -> None:
    """A link that comes in one guest and not in the next two is no link that never comes."""
    suite.run("""
from plugfest.dut.settings import NoLinkError

@pytest.fixture
def link_partner(guest):
    if guest.number:
        raise NoLinkError("expected that eth0 has carrier", never=True)

@requirement("AREA-LINK-01", base="link")
def test_link(link_partner):
    '''There is a link.'''

@pytest.mark.fresh_guest
@requirement("AREA-TEST-01")
def test_first(link_partner):
    '''First.'''

@pytest.mark.fresh_guest
@requirement("AREA-TEST-02")
def test_second(link_partner):
    '''Second.'''
""")
    assert suite.verdicts() == {"test_link": "pass", "test_first": "fail", "test_second": "fail"}


def test_the_reports_lead_with_the_cause(suite) -> None:
    other = "\n@requirement('AREA-ALONE-01')\ndef test_alone(kernel):\n    '''It is newer.'''\n    assert False\n"
    suite.run(FIXTURES + other + TESTS + BASES.format(netdev="pass", link="assert False, 'no carrier'", ping="pass"))
    found = write_reports(suite.output)
    page = (suite.output / "report.html").read_text()
    assert 'The cause: <a href="#AREA-LINK-01">AREA-LINK-01</a> is' in page
    assert "3 tests stand on it and were not run." in page
    assert page.index('id="failures"') < page.index('id="blocked"')
    failures = page[page.index('id="failures"') : page.index('id="blocked"')]
    assert failures.index('id="AREA-LINK-01"') < failures.index('id="AREA-ALONE-01"')
    shown = Console(record=True, width=200)
    console.render(found, shown)
    text = shown.export_text()
    assert (
        text.index("fail AREA-LINK-01")
        < text.index("fail AREA-ALONE-01")
        < text.index("blocked 3 tests stand on AREA-LINK-01")
    )
    assert (suite.output / "junit.xml").read_text().count('type="blocked"') == 3
    assert (suite.output / "report.tap").read_text().count("verdict: blocked") == 3


@pytest.mark.parametrize("arguments", ["", "'wire'", "'link', 'ping'", "3"])
def test_stands_on_needs_a_base(suite, arguments: str) -> None:
    result = suite.run(f"""
@pytest.mark.stands_on({arguments})
@requirement()
def test_it(guest):
    '''It.'''
""")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines("*expected @pytest.mark.stands_on(base), one of netdev, link, ping and None*")


def test_a_base_that_there_is_not(suite) -> None:
    result = suite.run("@requirement(base='wire')\ndef test_it(guest):\n    'It.'\n")
    assert "base='wire' is not one of netdev, link, ping" in result.stdout.str() + result.stderr.str()
