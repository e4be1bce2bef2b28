# SPDX-License-Identifier: GPL-2.0-or-later
"""The verdict of a case, and the one line that says why."""

from __future__ import annotations

from plugfest.machine.console import Problem
from plugfest.requirements.verdict import Judgement, Verdict
from plugfest.selftests.judgement import judge
from plugfest.selftests.ktap import Result, ResultKind

OOPS = Problem("oops", "Oops: 0000 [#1]", "Oops: 0000 [#1]", fatal=True, line=7, functions=("gve_get_base_stats",))


def test_a_complaint_of_the_kernel_comes_first() -> None:
    assert judge(Result("a", ResultKind.OK), [OOPS]) == Judgement(
        Verdict.CRASH, "Oops: 0000 [#1] in gve_get_base_stats"
    )


def test_xfail_of_upstream_is_a_skip() -> None:
    found = judge(Result("a", ResultKind.XFAIL, "Test only works on netdevsim"))
    assert found == Judgement(Verdict.SKIP, "XFAIL: Test only works on netdevsim")


def test_a_failed_check_is_the_reason() -> None:
    lines = ["Check| At /x.py, line 3, in a:", "Check|     ksft_eq(1, 2)", "Check failed 1 != 2 of it"]
    assert judge(Result("a", ResultKind.NOT_OK, "", lines)) == Judgement(
        Verdict.FAIL, "Check failed 1 != 2 of it: ksft_eq(1, 2)"
    )


def test_an_exception_is_the_reason_with_what_the_command_said() -> None:
    lines = [
        "Exception| Traceback (most recent call last):",
        'Exception|   File "x.py", line 3, in a',
        "Exception| net.lib.py.utils.CmdExitFailure: Command failed",
        "Exception| CMD: ping -c 1",
        "Exception|   EXIT: 1",
        "Exception|   STDERR: unreachable",
    ]
    reason = "net.lib.py.utils.CmdExitFailure: Command failed; CMD: ping -c 1; EXIT: 1; STDERR: unreachable"
    assert judge(Result("a", ResultKind.NOT_OK, "", lines)) == Judgement(Verdict.FAIL, reason)


def test_a_long_reason_is_cut() -> None:
    assert len(judge(Result("a", ResultKind.NOT_OK, "", ["Check failed " + "x" * 1000])).reason) < 310


def test_a_failure_without_a_word_has_a_reason() -> None:
    assert judge(Result("a", ResultKind.NOT_OK)) == Judgement(Verdict.FAIL, "the test says no reason")
