# SPDX-License-Identifier: GPL-2.0-or-later
"""A verdict against the driver is confirmed in a fresh guest, or is no such verdict."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from fakes import OOPS, WARN
from plugfest.plugin.guest_manager import GuestManager
from plugfest.report import console, document, junit, tap
from plugfest.report.write import write_reports
from plugfest.run import journal
from rich.console import Console

ONE = """
@pytest.mark.budget(0.3)
@requirement("AREA-TEST-01")
def test_it(guest, skip_unsupported, defer, evidence):
    '''It repeats.'''
    {body}
"""
OTHER = """
@requirement("AREA-TEST-02")
def test_other(guest):
    '''It passes.'''
    {body}
"""
ENDINGS = {
    "pass": "pass",
    "fail": "assert False, 'no'",
    "fail otherwise": "assert False, 'neither'",
    "crash": "guest.run('oops')",
    "another crash": "guest.run('warn')",
    "timeout": "guest.run('hang')",
    "error": "raise KeyError('queue')",
    "skip": "skip_unsupported('XDP', evidence='none')",
}


def twice(first: str, then: str) -> str:
    """Return the body of a test that ends in two ways, by the number of its guest."""
    return f"if guest.number == 0:\n        {ENDINGS[first]}\n    else:\n        {ENDINGS[then]}"


def attempts(result: Any) -> list[tuple[str, str]]:
    return [(each["verdict"], each["reason"]) for each in result["attempts"]]


@pytest.mark.parametrize("ending", ["fail", "crash", "timeout"])
def test_the_same_verdict_twice_is_confirmed(suite, ending: str) -> None:
    suite.run(ONE.format(body=twice(ending, ending)))
    result = suite.only()
    assert result["verdict"] == ending
    assert [verdict for verdict, _ in attempts(result)] == [ending, ending]
    assert len(suite.machines) == 2
    assert suite.document()["run"]["boots"][1]["reason"] == "test_it is to be confirmed"
    assert suite.document()["run"]["exit_status"] == 1


@pytest.mark.parametrize(
    ("first", "then", "reason"),
    [
        ("fail", "fail otherwise", "no (second attempt: neither)"),
        (
            "crash",
            "another crash",
            f"{OOPS[0][15:]} in ixgbe_poll (second attempt: {WARN[1][15:]})",
        ),
    ],
)
def test_both_reasons_are_given(suite, first: str, then: str, reason: str) -> None:
    suite.run(ONE.format(body=twice(first, then)))
    assert (suite.only()["verdict"], suite.only()["reason"]) == (first, reason)


@pytest.mark.parametrize("first", ["fail", "crash", "timeout"])
@pytest.mark.parametrize("then", ["pass", "fail", "crash", "timeout", "error", "skip"])
def test_another_verdict_is_unstable(suite, first: str, then: str) -> None:
    if first == then:
        return
    suite.run(ONE.format(body=twice(first, then)))
    result = suite.only()
    assert result["verdict"] == "unstable"
    assert result["reason"].startswith(f"first {first}: ")
    assert f"; then, in a fresh guest, {then}" in result["reason"]
    assert [verdict for verdict, _ in attempts(result)] == [first, then]
    assert suite.document()["summary"]["unstable"] == 1
    assert suite.document()["run"]["exit_status"] == 1


@pytest.mark.parametrize("ending", ["pass", "error", "skip"])
def test_no_other_verdict_is_confirmed(suite, ending: str) -> None:
    suite.run(ONE.format(body=ENDINGS[ending]))
    assert suite.only()["verdict"] == ending
    assert suite.only()["attempts"] == []
    assert len(suite.machines) == 1


def test_the_attempts_share_nothing(suite) -> None:
    suite.run("""
SETUPS = []

@pytest.fixture
def counted(guest, defer):
    SETUPS.append(guest.number)
    defer(guest.run, "undo")
    yield
    guest.run("teardown")

@requirement()
def test_it(guest, counted, step, evidence):
    '''It repeats.'''
    assert len(SETUPS) == guest.number + 1
    evidence("guest", guest.number)
    with step("Once"):
        assert False, SETUPS
""")
    first, second = suite.only()["attempts"]
    assert (first["reason"], second["reason"]) == ("[0] (step: Once)", "[0, 1] (step: Once)")
    assert [each["text"] for each in first["evidence"]] == ["0"]
    assert [each["text"] for each in second["evidence"]] == ["1"]
    assert [step["sentence"] for step in second["steps"]] == ["Once"]
    for machine in suite.machines:
        assert [command for command in machine.ssh.commands if command in ("undo", "teardown")] == ["teardown", "undo"]
        assert machine.closed


def test_both_attempts_have_their_artifacts(suite) -> None:
    suite.run(ONE.format(body=twice("crash", "pass")))
    first, second = suite.only()["attempts"]
    assert suite.only()["artifacts"] == first["artifacts"]
    folder = Path(first["artifacts"]["console.txt"]).parent
    assert Path(second["artifacts"]["console.txt"]).parent == folder / "attempt-2"
    for attempt, text in ((first, "BUG: kernel NULL"), (second, "")):
        assert text in (suite.output / attempt["artifacts"]["console.txt"]).read_text()
        assert (suite.output / attempt["artifacts"]["wire.pcap"]).read_bytes() == b"pcap"
        assert (suite.output / attempt["artifacts"]["trace.txt"]).is_file()


def test_no_confirm(suite) -> None:
    suite.run(ONE.format(body=twice("fail", "pass")), confirm=False)
    assert suite.only()["verdict"] == "fail"
    assert suite.only()["attempts"] == []
    assert len(suite.machines) == 1


def test_a_kept_guest_is_not_replaced_for_it(suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GuestManager, "kept", None)  # what this run leaves must be no other's
    suite.run(ONE.format(body=twice("fail", "pass")), keep=True)
    assert suite.only()["verdict"] == "fail"
    assert len(suite.machines) == 1


def test_under_a_fault_nothing_is_confirmed(suite) -> None:
    suite.run(
        "\n@requirement()\ndef test_it(model):\n    '''The value is 42.'''\n    assert model.value() == 42\n",
        falsify=True,
    )
    assert suite.only()["verdict"] == "fail"
    assert suite.only()["falsification"]["outcome"] == "falsified"
    assert len(suite.machines) == 1
    assert suite.document()["run"]["exit_status"] == 0


KNOWN = """
[[issue]]
title = "ixgbe: off by one"
whose = "driver"
requirement = "AREA-TEST-01"
shows = "off by 1"
drivers = ["ixgbe"]
kernels = ""
parameters = ["listed"]
where = ["ixgbe.c"]
reason = "It counts from 1."
link = "https://example.org/1"
"""


def test_a_known_issue_is_not_confirmed(suite, tmp_path) -> None:
    issues = tmp_path / "known.toml"
    issues.write_text(KNOWN)
    suite.run(
        """
@requirement("AREA-TEST-01")
@pytest.mark.parametrize("which", ["listed"])
def test_it(guest, which):
    '''It repeats.'''
    assert False, "off by 1"
""",
        f"--plugfest-known-issues={issues}",
    )
    assert suite.only()["verdict"] == "xfail"
    assert suite.only()["attempts"] == []


@pytest.mark.parametrize("limit", ["-x", "--maxfail=2"])
def test_a_test_counts_once(suite, limit: str) -> None:
    """Its attempts and its phases are one failure."""
    failing = "defer(guest.run, 'false')\n    assert False"
    suite.run(
        ONE.format(body=twice("fail", "fail"))
        + OTHER.format(body="pass").replace("test_other", "test_2").replace("(guest)", "(guest, defer)")
        + OTHER.replace("-02", "-03")
        .replace("test_other", "test_3")
        .replace("(guest)", "(guest, defer)")
        .format(body=failing)
        + OTHER.replace("-02", "-04").replace("test_other", "test_4").format(body="pass"),
        limit,
    )
    rest = ["miss"] * 3 if limit == "-x" else ["pass", "error", "miss"]
    assert list(suite.verdicts().values()) == ["fail", *rest]


def test_x_stops_after_the_confirmation(suite) -> None:
    suite.run(ONE.format(body=twice("fail", "pass")) + OTHER.format(body="pass"), "-x")
    assert suite.verdicts() == {"test_it": "unstable", "test_other": "miss"}


def test_an_expected_failure_does_not_count(suite, tmp_path) -> None:
    issues = tmp_path / "known.toml"
    issues.write_text(KNOWN.replace('parameters = ["listed"]\n', ""))
    result = suite.run(
        ONE.format(body="assert False, 'off by 1'") + OTHER.format(body="pass"),
        "-x",
        f"--plugfest-known-issues={issues}",
    )
    assert suite.verdicts() == {"test_it": "xfail", "test_other": "pass"}
    assert result.ret == 0


@pytest.mark.parametrize("number", [9, 2])
def test_a_run_that_ends_during_the_second_attempt(suite, number: int) -> None:
    """What the first attempt found is kept, but is no verdict."""
    body = f"if guest.number == 0:\n        assert False, 'no'\n    import os; os.kill(os.getpid(), {number})"
    suite.run(ONE.format(body=body) + OTHER.format(body="pass"), forked=True)
    first, other = suite.document()["results"]
    assert (first["verdict"], other["verdict"]) == ("miss", "miss")
    assert first["reason"].startswith(
        "not confirmed: the first attempt ended with fail (no), and during the second the run ended: "
    )
    assert (suite.output / first["artifacts"]["traceback.txt"]).is_file()
    assert other["reason"].startswith("never started: ")


def test_both_attempts_are_in_the_journal_before_the_verdict(suite) -> None:
    suite.run(ONE.format(body=twice("fail", "fail")))
    events = [event for event in journal.read(suite.output) if event["event"] in ("attempt", "unconfirmed", "result")]
    assert [event["event"] for event in events] == ["attempt", "unconfirmed", "attempt", "result"]
    assert [event["number"] for event in events if event["event"] == "attempt"] == [1, 2]
    assert events[1]["verdict"] == "fail"


def test_no_guest_for_the_second_attempt_ends_the_run(suite) -> None:
    suite.run(ONE.format(body=twice("fail", "pass")), release="7.3.4-flaky")
    assert suite.only()["verdict"] == "miss"
    assert suite.only()["reason"].startswith("not confirmed: the first attempt ended with fail (no)")
    assert suite.document()["run"]["exit_status"] == 3


def test_a_test_without_a_guest_is_confirmed_too(suite) -> None:
    suite.run("\n@requirement()\ndef test_it(kernel):\n    '''It is newer.'''\n    assert kernel.release == '8'\n")
    assert suite.only()["verdict"] == "fail"
    assert len(suite.only()["attempts"]) == 2
    assert suite.machines == []


def test_pytest_reports_the_second_attempt_alone(suite) -> None:
    body = "print('guest', guest.number)\n    assert False"
    suite.run(ONE.format(body=body), "--junitxml=own.xml", "-o", "junit_logging=all")
    text = (suite.pytester.path / "own.xml").read_text()
    assert "guest 1" in text
    assert "guest 0" not in text
    assert 'failures="1"' in text


def test_every_report_has_a_place_for_it(suite) -> None:
    suite.run(ONE.format(body=twice("crash", "pass")))
    found = write_reports(suite.output)
    page = (suite.output / "report.html").read_text()
    assert '<section class="cards" id="unstable">' in page
    assert "First attempt: " in page
    assert "Second attempt, in a fresh guest: " in page
    assert 'href="artifacts/area-test_it.py-test_it/attempt-2/wire.pcap"' in page
    assert "attempt-2/trace.html" in page
    assert 'name="verdict" value="unstable"' in page
    assert re.search('<error [^>]*type="unstable"', (suite.output / "junit.xml").read_text())
    assert "attempt-2/trace.txt" in (suite.output / "junit.xml").read_text()
    lines = (suite.output / "report.tap").read_text()
    assert "not ok 1 - AREA-TEST-01" in lines
    assert "verdict: unstable" in lines
    assert "attempt-2/trace.txt" in lines
    shown = Console(record=True, width=200)
    console.render(found, shown, folder=suite.output)
    text = shown.export_text()
    assert "unstable AREA-TEST-01 (MUST) It repeats." in text
    assert "attempt-2: console.txt" in text
    assert document.artifacts(found["results"][0])["attempt-2/wire.pcap"].endswith("attempt-2/wire.pcap")
    assert junit.__doc__
    assert tap.__doc__


QUARANTINE = """
[[test]]
requirement = "AREA-TEST-01"
drivers = ["ixgbe"]
kernels = ">=7"
reason = "It hangs on the
host's speed."
""".replace("the\nhost", "the host")


@pytest.fixture
def quarantined(suite, tmp_path) -> Any:
    path = tmp_path / "quarantine.toml"
    path.write_text(QUARANTINE)

    def run(body: str, **more: Any) -> Any:
        return suite.run(body, f"--plugfest-quarantine={path}", "-x", **more)

    return run


def test_a_quarantined_test_that_is_unstable_does_not_fail_the_run(suite, quarantined) -> None:
    result = quarantined(ONE.format(body=twice("fail", "pass")) + OTHER.format(body="pass"))
    assert suite.verdicts() == {"test_it": "quarantined", "test_other": "pass"}
    first = suite.document()["results"][0]
    assert first["reason"] == "It hangs on the host's speed. (found: first fail: no; then, in a fresh guest, pass)"
    assert len(first["attempts"]) == 2
    assert suite.document()["summary"]["quarantined"] == 1
    assert suite.document()["run"]["exit_status"] == 0
    assert result.ret == 0
    found = write_reports(suite.output)
    assert '<section class="cards" id="quarantined">' in (suite.output / "report.html").read_text()
    assert re.search('<skipped [^>]*type="quarantined"', (suite.output / "junit.xml").read_text())
    assert "# TODO It hangs on the host's speed." in (suite.output / "report.tap").read_text()
    shown = Console(record=True, width=200)
    console.render(found, shown)
    assert "quarantined AREA-TEST-01 (MUST)" in shown.export_text()


@pytest.mark.parametrize(
    ("first", "then", "verdict"), [("fail", "fail", "fail"), ("crash", "crash", "crash"), ("pass", "pass", "pass")]
)
def test_the_quarantine_hides_no_other_verdict(suite, quarantined, first: str, then: str, verdict: str) -> None:
    quarantined(ONE.format(body=twice(first, then)))
    assert suite.only()["verdict"] == verdict


def test_the_environment_names_a_quarantine(suite, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "quarantine.toml").write_text(QUARANTINE)
    monkeypatch.setenv("PLUGFEST_QUARANTINE", str(tmp_path / "quarantine.toml"))
    suite.run(ONE.format(body=twice("fail", "pass")))
    assert suite.only()["verdict"] == "quarantined"


@pytest.mark.parametrize(("first", "then"), [("fail", "crash"), ("crash", "timeout"), ("timeout", "fail")])
def test_the_quarantine_excuses_no_two_failures_that_differ(suite, quarantined, first: str, then: str) -> None:
    quarantined(ONE.format(body=twice(first, then)))
    assert suite.only()["verdict"] == "unstable"
    assert suite.document()["run"]["exit_status"] == 1


@pytest.mark.parametrize("more", [{"driver": "igb"}, {"release": "6.12.1"}])
def test_the_quarantine_is_of_drivers_and_kernels(suite, quarantined, more: dict[str, str]) -> None:
    quarantined(ONE.format(body=twice("fail", "pass")), **more)
    assert suite.only()["verdict"] == "unstable"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[[test]]\n", "test 1 has no valid 'requirement'"),
        ("[[tests]]\n", "found tests"),
        ("test = [1]\n", "found test"),
        ("[[test]", "expected TOML"),
        (QUARANTINE.replace('"AREA-TEST-01"', '[""]'), "no valid 'requirement'"),
        (QUARANTINE.replace(">=7", "new"), "kernels = 'new'"),
        (QUARANTINE + "why = 'x'\n", "the unknown key why"),
        (QUARANTINE + "parameters = [1]\n", "no valid 'parameters'"),
        (QUARANTINE.replace("reason", "cause"), "no valid 'reason'"),
        (None, "expected a quarantine, found: No such file"),
    ],
)
def test_a_malformed_quarantine(suite, tmp_path, text: str | None, found: str) -> None:
    path = tmp_path / "quarantine.toml"
    if text is not None:
        path.write_text(text)
    result = suite.run(ONE.format(body="pass"), f"--plugfest-quarantine={path}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert any(found in line for line in result.errlines), result.errlines
