# SPDX-License-Identifier: GPL-2.0-or-later
"""How the plugin is used, and misused: each misuse is one line that shows the right form."""

from __future__ import annotations

import pytest

GOOD = """
@requirement()
def test_it(guest):
    '''It lives.'''
"""

MISUSE = {
    "no-requirement": (
        "def test_it(guest):\n    '''It lives.'''\n",
        ["a test of no requirement; expected @requirement("],
    ),
    "no-docstring": (
        "@requirement()\ndef test_it(guest):\n    pass\n",
        ["test_it has no docstring; expected @requirement("],
    ),
    "bad-id": (
        "@requirement('link')\ndef test_it():\n    'It.'\n",
        ["the id is not AREA-TOPIC-NN", "expected @requirement("],
    ),
    "bad-level": ("@requirement(level='MAY')\ndef test_it():\n    'It.'\n", ["level 'MAY' is neither MUST nor SHOULD"]),
    "no-source": ("@requirement(source=' ')\ndef test_it():\n    'It.'\n", ["no source"]),
    "no-fault": (
        "@requirement(falsified_by=())\ndef test_it():\n    'It.'\n",
        ["falsified_by=() names no fault point"],
    ),
    "bad-demand": (
        "@requirement(falsified_as='pass')\ndef test_it():\n    'It.'\n",
        ["not one of fail, crash, timeout"],
    ),
    "bad-flag": (
        "@requirement(proves='xdp-act:basics')\ndef test_it():\n    'It.'\n",
        ["'xdp-act:basics' is not a flag of netdev.yaml: xdp-act:basic, "],
    ),
    "twice": (
        GOOD + GOOD.replace("test_it", "test_other"),
        ["AREA-TEST-01 is declared twice", "choose a new id for the second"],
    ),
    "xfail": ("@pytest.mark.xfail" + GOOD, ["found @pytest.mark.xfail", "known-issues.toml"]),
    "skip": ("@pytest.mark.skip('x')" + GOOD, ["found @pytest.mark.skip;", "skip_unsupported(what, evidence=…)"]),
    "budget": ("@pytest.mark.budget" + GOOD, ["expected @pytest.mark.budget(seconds), found arguments ()"]),
}


@pytest.mark.parametrize(("body", "messages"), MISUSE.values(), ids=MISUSE.keys())
def test_misuse(suite, body: str, messages: list[str]) -> None:
    result = suite.run(body)
    assert result.ret in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.INTERRUPTED)
    output = result.stdout.str() + result.stderr.str()
    for message in messages:
        assert message in output
    assert suite.machines == []


def test_a_missing_argument_shows_the_right_form(suite) -> None:
    result = suite.run("@declare('AREA-TEST-01', level='MUST')\ndef test_it():\n    'It.'\n")
    assert "expected @requirement(" in result.stdout.str()


def test_outside_a_run_there_is_one_line(suite) -> None:
    suite.write(GOOD)
    result = suite.pytester.runpytest_subprocess("-p", "plugfest.plugin")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in result.stderr.lines if line.strip()]
    assert line.startswith("ERROR: expected a run's plan")
    assert line.endswith("plugfest run DRIVER -- PYTEST-ARGUMENTS")


@pytest.mark.parametrize("content", ["", "{}", '{"driver": "ixgbe"}', None])
def test_an_invalid_plan(suite, content: str | None) -> None:
    suite.write(GOOD)
    path = suite.pytester.path / "plan.json"
    if content is not None:
        path.write_text(content)
    result = suite.pytester.runpytest_subprocess("-p", "plugfest.plugin", f"--plugfest-plan={path}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in result.stderr.lines if line.strip()]
    assert "expected the plan that plugfest run wrote" in line


def test_collecting_needs_no_plan(suite) -> None:
    suite.write(GOOD)
    result = suite.pytester.runpytest_inprocess("-p", "plugfest.plugin", "--collect-only", "-q")
    assert result.ret == 0
    assert "test_it" in result.stdout.str()


def test_pytests_own_arguments(suite) -> None:
    two = GOOD + "    assert False\n" + GOOD.replace("test_it", "test_other").replace("()", "('AREA-TEST-02')", 1)
    suite.run(two, "-k", "other")
    assert suite.verdicts() == {"test_other": "pass"}
    suite.run(two, "-k", "AREA-TEST-02")
    assert suite.verdicts() == {"test_other": "pass"}
    suite.run(two, "-x")
    assert suite.verdicts() == {"test_it": "fail", "test_other": "miss"}
    assert suite.document()["run"]["exit_status"] == 1


def test_x_stops_at_a_crash_that_raised_nothing(suite) -> None:
    suite.run(
        GOOD + "    guest.run('warn')\n" + GOOD.replace("test_it", "test_other").replace("()", "('AREA-TEST-02')", 1),
        "-x",
    )
    assert suite.verdicts() == {"test_it": "crash", "test_other": "miss"}
    assert "stopping after 1 failures" in suite.document()["run"]["interrupted"]


ISSUE = """[[issue]]
title = "ixgbe: off by one"
whose = "driver"
requirement = "AREA-TEST-01"
shows = "it is off by"
drivers = ["ixgbe"]
kernels = ">=7,<7.4"
where = ["ixgbe.c"]
reason = "It counts from 1."
link = "https://example.org/1"
"""
KNOWN = "ixgbe: off by one, https://example.org/1"


@pytest.fixture
def listed(tmp_path):
    """Writes a list of known issues; returns the argument that names it."""

    def write(text: str) -> str:
        path = tmp_path / "known.toml"
        path.write_text(text)
        return f"--plugfest-known-issues={path}"

    return write


@pytest.mark.parametrize(
    ("body", "release", "verdict", "reason"),
    [
        ("assert False, 'it is off by 1'", None, "xfail", f"{KNOWN} (found: fail: it is off by 1)"),
        ("pass", None, "pass", f"known issue did not show: {KNOWN}"),
        ("raise RuntimeError('it is off by 1')", None, "error", "call: RuntimeError: it is off by 1"),
        ("assert False, 'it is off by 1'", "7.4.0", "fail", "it is off by 1"),
        ("assert False, 'no'", None, "fail", f"no (a known issue is listed, but shows otherwise: {KNOWN})"),
        ("guest.run('warn'); assert False, 'it is off by 1'", None, "crash", "WARNING: CPU: 0"),
    ],
)
def test_known_issues(suite, listed, body: str, release: str | None, verdict: str, reason: str) -> None:
    suite.run(f"{GOOD}    {body}\n", listed(ISSUE), "-x", release=release)
    result = suite.only()
    assert result["verdict"] == verdict
    assert result["reason"].startswith(reason)
    issue = {"reason": "ixgbe: off by one", "link": "https://example.org/1"}
    assert result["known_issue"] == (None if release else issue)
    failed = verdict not in ("xfail", "pass")
    assert suite.document()["run"]["exit_status"] == failed
    assert [each["showed"] for each in suite.document()["known_issues"]] == (
        [] if release or verdict == "error" else [verdict == "xfail"]
    )


def test_the_environment_names_a_list_of_known_issues(suite, listed, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed(ISSUE)
    monkeypatch.setenv("PLUGFEST_KNOWN_ISSUES", str(tmp_path / "known.toml"))
    suite.run(f"{GOOD}    assert False, 'it is off by 1'\n")
    assert suite.only()["verdict"] == "xfail"


def test_a_malformed_list_of_known_issues(suite, listed) -> None:
    result = suite.run(GOOD, listed("[[issue]]\n"))
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_what_the_device_noted_is_part_of_the_reason_and_may_be_known(suite, listed) -> None:
    known = listed(ISSUE.replace('requirement = "AREA-TEST-01"\nshows = "it is off by"', 'violation = "tx.unowned"'))
    two = GOOD + "    guest.noted = ['tx.unowned (queue 0)']\n    assert False, 'it sends nothing'\n"
    two += GOOD.replace("test_it", "test_other").replace("()", "('AREA-TEST-02')", 1) + "    assert False, 'as ever'\n"
    suite.run(two, known, confirm=False)
    assert suite.verdicts() == {"test_it": "xfail", "test_other": "fail"}
    reasons = [row["reason"] for row in suite.document()["results"]]
    assert "it sends nothing (the device noted: tx.unowned (queue 0))" in reasons[0]
    assert "noted" not in reasons[1]
    assert len(suite.machines) == 2, "the queue of the first guest stands still"


@pytest.mark.parametrize("body", ["guest.run('warn')", "guest.run('warn-late')"])
def test_a_complaint_of_the_kernel_is_known_in_any_test(suite, listed, body: str) -> None:
    two = f"{GOOD}    {body}\n" + GOOD.replace("test_it", "test_other").replace("()", "('AREA-TEST-02')", 1)
    suite.run(
        two,
        listed(
            ISSUE.replace('requirement = "AREA-TEST-01"\nshows = "it is off by"', 'complaint = "WARNING: .* something"')
        ),
        "-x",
    )
    assert suite.verdicts() == {"test_it": "xfail", "test_other": "pass"}
    (row,) = suite.document()["known_issues"]
    assert (row["requirement"], row["showed"], row["unseen"]) == (None, 1, False)
    assert len(suite.machines) == 2, "the guest is not used again"


@pytest.mark.parametrize(
    ("body", "complaint", "verdict"),
    [
        ("guest.run('warn-late'); assert False, 'anything'", "WARNING: .* something", "fail"),
        ("guest.run('warn-late'); guest.run('hang')", "WARNING: .* something", "timeout"),
        ("guest.run('warn-late'); assert False, 'it is off by 1'", "WARNING: .* something", "xfail"),
        ("guest.run('warn-late'); raise RuntimeError", "WARNING: .* something", "xfail"),
        ("guest.run('oops')", "BUG: .* ixgbe_poll", "xfail"),
        ("guest.run('oops'); assert False, 'anything'", "BUG: .* ixgbe_poll", "xfail"),
    ],
)
def test_a_known_complaint_hides_no_failure_of_the_same_test(
    suite, listed, body: str, complaint: str, verdict: str
) -> None:
    """Unless the kernel is beyond use, whence whatever fails may follow."""
    more = ISSUE.replace("off by one", "it complains").replace(
        'requirement = "AREA-TEST-01"\nshows = "it is off by"', f'complaint = "{complaint}"'
    )
    suite.run(f"\n@pytest.mark.budget(0.3){GOOD}    {body}\n", listed(ISSUE + more))
    result = suite.only()
    assert result["verdict"] == verdict
    aside = " (the kernel also complained, as known: ixgbe: it complains, https://example.org/1)"
    assert result["reason"].endswith(aside) == (verdict != "xfail")


def test_a_vendors_module_has_no_issues_but_those_that_name_it(suite, listed, tmp_path, kernel_module) -> None:
    module = tmp_path / "ixgbe.ko"
    module.write_bytes(kernel_module(b"version=6.3.4\0"))
    body = GOOD + "    assert False, 'it is off by 1'\n"
    for more, verdict in (
        ("", "fail"),
        ('modules = { ixgbe = ">=6.2,<6.4" }\n', "xfail"),
        ('modules = { ixgbe = "<6" }\n', "fail"),
    ):
        suite.run(body, listed(ISSUE + more), extra_modules=(module,), release="6.12.57")
        assert suite.only()["verdict"] == verdict


def test_a_known_issue_of_some_parameters_only(suite, listed) -> None:
    suite.run(
        """
@requirement("AREA-TEST-01")
@pytest.mark.parametrize("kind", ["a", "b"])
def test_it(guest, kind):
    '''It is a.'''
    assert kind == "a", "it is off by 1"
""",
        listed(ISSUE + 'parameters = ["b"]\n'),
    )
    assert suite.verdicts() == {"test_it[a]": "pass", "test_it[b]": "xfail"}
    assert "did not show" not in suite.document()["results"][0]["reason"]


def test_the_console_has_a_line_for_each_test_and_no_escapes(suite) -> None:
    result = suite.run(
        """
@requirement("AREA-TEST-01")
def test_good(guest):
    '''Good.'''
    print("output")

@requirement("AREA-TEST-02")
def test_bad(guest):
    '''Bad.'''
    assert False, "expected [bold]7[/bold], found 8"
""",
        forked=True,
    )
    lines = [line for line in result.outlines if line]
    assert lines.pop(0) == "guest: snapshot"
    assert lines[0].startswith("[1/2] pass    AREA-TEST-01       test_good ")
    assert lines[1].startswith(
        "AREA-TEST-02 test_bad: fail, to be confirmed in a fresh guest: expected [bold]7[/bold], found 8"
    )
    assert lines[2] == "guest: snapshot"
    assert lines[3].startswith("[2/2] fail    AREA-TEST-02       test_bad ")
    assert lines[4].strip() == "expected [bold]7[/bold], found 8"
    assert len(lines) == 5
    assert "\x1b" not in result.stdout.str()


def test_advertised_flags_are_in_the_matrix(suite) -> None:
    suite.run(
        "@requirement(proves='xdp-act:redirect')\ndef test_it(advertises):\n    'It.'\n"
        "    advertises({'xdp-act:basic'})\n    advertises({'xdp-act:redirect'})\n"
    )
    rows = {row["flag"]: (row["advertised"], row["works"]) for row in suite.document()["flags"]}
    assert rows["xdp-act:basic"] == (True, {})
    assert rows["xdp-act:redirect"] == (True, {"pass": 1})
    assert rows["xdp-act:rx-sg"] == (False, {})
