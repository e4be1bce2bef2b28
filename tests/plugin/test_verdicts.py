# SPDX-License-Identifier: GPL-2.0-or-later
"""What a test does, and the verdict it gets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

BODIES = {
    "pass": ("assert model.value() == 42", "pass", ""),
    "assertion": ("assert model.value() == 43, 'expected 43, found 42'", "fail", "expected 43, found 42"),
    "bare-assertion": ("assert model.value() == 43", "fail", "assert 42 == 43"),
    "pytest-fail": ("pytest.fail('it is wrong')", "fail", "it is wrong"),
    "command-failed": ("guest.run('false')", "fail", "expected exit status 0, found 1"),
    "command-missing": ("guest.run('missing')", "error", "call: CommandFailed"),
    "until": (
        "until(lambda: False, what='the carrier comes up', timeout=0.01)",
        "fail",
        "expected that the carrier comes up",
    ),
    "bug-in-test": ("raise KeyError('queue')", "error", "call: KeyError: 'queue'"),
    "guest-gone": ("guest.run('die')", "error", "call: GuestGone"),
    "oops": ("guest.run('oops')", "crash", "BUG: kernel NULL pointer dereference"),
    "warn": ("guest.run('warn')", "crash", "WARNING: CPU: 0"),
    "warn-late": ("guest.run('warn-late')", "crash", "WARNING: CPU: 0"),
    "oops-and-assertion": ("guest.run('oops'); assert False", "crash", "BUG: kernel NULL pointer dereference"),
    "skip-with-evidence": ("skip_unsupported('XDP', evidence=guest.run('ethtool'))", "skip", "not supported: XDP"),
    "kernel-lacks": ("skip_kernel_lacks('tcx', evidence='no tcx_link_attach()')", "skip", "the kernel lacks tcx"),
    "kernel-lacks-undo": ("defer(skip_kernel_lacks, 'tcx', evidence='none')", "error", "the kernel lacks tcx: none"),
    "bare-skip": ("pytest.skip('no time')", "error", "skipped without evidence (no time)"),
    "failed-undo": ("defer(guest.run, 'false')", "error", "teardown: UndoError: could not undo"),
    "failed-undo-after-assertion": ("defer(guest.run, 'false'); assert False", "error", "teardown: UndoError"),
    "swallowed-timeout": (
        "try:\n        guest.run('hang')\n    except Exception:\n        pass",
        "timeout",
        "call took more than its 0 s",
    ),
}


@pytest.mark.parametrize(("body", "verdict", "reason"), BODIES.values(), ids=BODIES.keys())
def test_verdict(suite, body: str, verdict: str, reason: str) -> None:
    suite.run(f"""
@pytest.mark.budget(0.3)
@requirement()
def test_it(guest, model, skip_unsupported, skip_kernel_lacks, defer, until):
    '''The value is 42.'''
    {body}
""")
    result = suite.only()
    assert result["verdict"] == verdict
    assert reason in result["reason"] if reason else result["reason"] == ""


def test_what_the_kernel_lacks_skips_from_a_fixture_too(suite) -> None:
    suite.run("""
from plugfest.machine.agent import KernelLacksError

@pytest.fixture
def family(guest):
    raise KernelLacksError("the generic netlink family netdev", "No such file or directory")

@requirement()
def test_it(family):
    '''The value is 42.'''
""")
    assert suite.only()["verdict"] == "skip"
    assert suite.only()["reason"] == "the kernel lacks the generic netlink family netdev"
    assert suite.only()["evidence"] == [
        {"name": "the kernel lacks the generic netlink family netdev", "text": "No such file or directory"}
    ]


def test_a_broken_fixture_is_an_error(suite) -> None:
    suite.run("""
@pytest.fixture
def broken():
    assert False, "the fixture is broken"

@requirement()
def test_it(guest, broken):
    '''The value is 42.'''
""")
    assert suite.only()["verdict"] == "error"
    assert suite.only()["reason"] == "setup: the fixture is broken"


def test_the_document_has_everything_about_a_test(suite) -> None:
    suite.run("""
@requirement(level="SHOULD", source="IEEE 802.3 clause 4")
def test_it(guest, step, evidence):
    '''The driver does it
    at once.

    A slow host may fail this.
    '''
    with step("Ask"):
        evidence("uname", guest.run("uname"))
        with step(f"Ask queue {1 + 1}"):
            pass
    with step("Compare"):
        assert False, "they differ"
    with step("Never reached"):
        pass
""")
    document = suite.document()
    (requirement,) = document["requirements"]
    assert requirement["sentence"] == "The driver does it at once."
    assert requirement["possible_problems"] == "A slow host may fail this."
    assert requirement["procedure"] == ["Ask", "Ask queue {1 + 1}", "Compare", "Never reached"]
    assert (requirement["level"], requirement["source"], requirement["area"]) == (
        "SHOULD",
        "IEEE 802.3 clause 4",
        "area",
    )
    (result,) = document["results"]
    assert result["reason"] == "they differ (step: Compare)"
    steps = [(step["sentence"], step["depth"], step["passed"]) for step in result["steps"]]
    assert steps == [("Ask", 0, True), ("Ask queue 2", 1, True), ("Compare", 0, False)]
    assert result["evidence"] == [{"name": "uname", "text": "$ uname\noutput of uname"}]
    assert document["run"]["versions"]["model"] == "1.2"
    assert document["run"]["complete"] is True
    assert document["run"]["exit_status"] == 1


def test_a_failure_leaves_artifacts_and_a_pass_none(suite) -> None:
    suite.run("""
@requirement("AREA-TEST-01")
def test_good(guest):
    '''Good.'''

@requirement("AREA-TEST-02")
def test_bad(guest, step, defer):
    '''Bad.'''
    defer(guest.run, "undo")
    with step("Warn"):
        guest.run("warn")
    assert False, "no"
""")
    good, bad = suite.document()["results"]
    assert good["artifacts"] == {}
    assert set(bad["artifacts"]) == {
        "calls.txt",
        "console.txt",
        "counters.txt",
        "dmesg.txt",
        "model.json",
        "trace.txt",
        "traceback.txt",
        "wire.pcap",
    }
    folder = suite.output
    calls = [json.loads(line) for line in (folder / bad["artifacts"]["calls.txt"]).read_text().splitlines()]
    assert [call.get("step") or call["method"] for call in calls] == ["Warn", "warn"], (
        "without the undo after the failure"
    )
    assert "WARNING: CPU: 0" in (folder / bad["artifacts"]["console.txt"]).read_text()
    assert (folder / bad["artifacts"]["wire.pcap"]).read_bytes() == b"pcap"
    assert "R RDH[3]: RDH 0x00000007" in (folder / bad["artifacts"]["trace.txt"]).read_text()
    assert "W RDH: 0x00000007" in (folder / bad["artifacts"]["trace.txt"]).read_text()
    assert '"enabled": true' in (folder / bad["artifacts"]["model.json"]).read_text()
    assert "ip -s -s link" in (folder / bad["artifacts"]["counters.txt"]).read_text()
    assert 'assert False, "no"' in (folder / bad["artifacts"]["traceback.txt"]).read_text()
    assert "output of dmesg" in (folder / bad["artifacts"]["dmesg.txt"]).read_text()
    assert [path.name for path in (folder / "artifacts").iterdir()] == [Path(bad["artifacts"]["wire.pcap"]).parent.name]
    assert bad["problems"][0].startswith("[   12.000000] ------------[ cut here ]")


def test_a_missing_artifact_has_its_reason(suite) -> None:
    suite.run("""
@requirement()
def test_it(guest):
    '''The guest lives.'''
    guest.run("die")
""")
    result = suite.only()
    assert "dmesg.txt" not in result["artifacts"]
    assert "the guest is gone" in (suite.output / result["artifacts"]["dmesg.missing.txt"]).read_text()


def test_undo_runs_backwards_and_all_of_it(suite) -> None:
    suite.run("""
@requirement()
def test_it(guest, defer):
    '''It is undone.'''
    defer(guest.run, "first")
    defer(guest.run, "false")
    defer(guest.run, "third")
    assert False
""")
    counters, *undo, dmesg = suite.machines[0].ssh.commands
    assert counters.startswith("ip -s -s link"), "the counters at the failure, before anything was undone"
    assert (undo, dmesg) == (["third", "false", "first"], "dmesg")
    assert "`false` in the guest" in suite.only()["reason"]


def test_nothing_is_undone_in_a_guest_that_crashed(suite) -> None:
    suite.run("""
@requirement()
def test_it(guest, defer):
    '''It lives.'''
    defer(guest.run, "undo")
    guest.run("oops")
""")
    assert "undo" not in suite.machines[0].ssh.commands
    assert suite.only()["verdict"] == "crash"


PROVOKED = r"WARNING: .* something"


@pytest.mark.parametrize(
    ("pattern", "command", "verdict"),
    [
        (PROVOKED, "warn", "pass"),
        (PROVOKED, "warn-late", "pass"),
        (PROVOKED, "uname", "pass"),
        (r"WARNING: .* nothing", "warn", "crash"),
        (r"BUG: |Oops", "oops", "crash"),
    ],
)
def test_a_provoked_problem_is_evidence(suite, pattern: str, command: str, verdict: str) -> None:
    suite.run(f"""
@pytest.mark.provokes({pattern!r})
@requirement()
def test_it(guest):
    '''The kernel warns.'''
    guest.run({command!r})
""")
    result = suite.only()
    assert result["verdict"] == verdict
    provoked = [each for each in result["evidence"] if each["name"].startswith("provoked: WARNING: CPU: 0")]
    assert len(provoked) == (verdict == "pass" and command != "uname")
    assert all("cut here" in each["text"] for each in provoked)


def test_a_provoked_problem_is_expected_in_its_test_only(suite) -> None:
    suite.run(
        f"""
@pytest.mark.provokes({PROVOKED!r})
@requirement("AREA-TEST-01")
def test_first(guest):
    '''The kernel warns.'''
    guest.run("warn")

@requirement("AREA-TEST-02")
def test_second(guest):
    '''The kernel logs nothing.'''
    guest.run("uname")

@requirement("AREA-TEST-03")
def test_third(guest):
    '''The kernel logs nothing.'''
    guest.run("warn")
""",
        confirm=False,
    )
    assert suite.verdicts() == {"test_first": "pass", "test_second": "pass", "test_third": "crash"}
    assert len(suite.machines) == 1


@pytest.mark.parametrize("arguments", ["", "'['", "'.*'", "3", "'a', 'b'"])
def test_provokes_needs_a_pattern(suite, arguments: str) -> None:
    result = suite.run(f"""
@pytest.mark.provokes({arguments})
@requirement()
def test_it(guest):
    '''The kernel warns.'''
""")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines("*expected @pytest.mark.provokes(pattern)*")
