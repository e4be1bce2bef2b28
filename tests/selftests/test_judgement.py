# SPDX-License-Identifier: GPL-2.0-or-later
"""The verdict of a case, and the one line that says why."""

from __future__ import annotations

import pytest
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
    assert judge(Result("a", ResultKind.NOT_OK, "", diagnostics=lines)) == Judgement(
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
    assert judge(Result("a", ResultKind.NOT_OK, "", diagnostics=lines)) == Judgement(Verdict.FAIL, reason)


def test_a_long_reason_is_cut() -> None:
    assert len(judge(Result("a", ResultKind.NOT_OK, "", diagnostics=["Check failed " + "x" * 1000])).reason) < 310


def test_a_failure_without_a_word_has_a_reason() -> None:
    assert judge(Result("a", ResultKind.NOT_OK)) == Judgement(Verdict.FAIL, "the test says no reason")


def failed(command: str, said: str) -> Judgement:
    lines = [
        "Exception| lib.CmdExitFailure: Command failed",
        f"Exception| {command}",
        "Exception|   EXIT: 2",
        f"Exception|   STDERR: {said}",
    ]
    return judge(Result("a", ResultKind.NOT_OK, "", diagnostics=lines))


def test_what_the_remote_hosts_kernel_lacks_shows_nothing_about_the_driver() -> None:
    found = failed("CMD[remote]: ip link add link wire0 ms0 type macsec encrypt on", "Error: Unknown device type.")
    said = "the kernel of this machine, the remote host's, does not know `ip link add link wire0 ms0 type macsec encrypt on`"
    assert found == Judgement(Verdict.SKIP, said)


def test_what_the_guests_kernel_lacks_is_left_to_the_test() -> None:
    assert failed("CMD: ip link add ms0 type macsec", "Error: Unknown device type.").verdict is Verdict.FAIL


def test_what_an_older_ethtool_lacks_shows_nothing_about_the_driver() -> None:
    found = failed("CMD: ethtool --json -l eth0", "ethtool: bad command line argument(s)")
    assert found == Judgement(Verdict.SKIP, "the guest's ethtool does not know `ethtool --json -l eth0`")


@pytest.mark.parametrize(
    ("line", "program"),
    [
        ("./../../../net/forwarding/lib.sh: line 421: bc: command not found", "bc"),
        ("Exception|   STDERR: /bin/sh: 1: bpftrace: not found", "bpftrace"),
        ("Exception|   STDERR: bash: line 1: socat: command not found", "socat"),
        (
            "env: \N{LEFT SINGLE QUOTATION MARK}tshark\N{RIGHT SINGLE QUOTATION MARK}: No such file or directory",
            "tshark",
        ),
        ("timeout: failed to run command 'nft': No such file or directory", "nft"),
    ],
)
def test_a_program_that_the_guest_does_not_have_is_an_error(line: str, program: str) -> None:
    lines = [line, "Check failed 1 != 2", "TEST: it works [FAIL]"]
    found = judge(Result("a", ResultKind.NOT_OK, diagnostics=lines))
    assert found == Judgement(Verdict.ERROR, f"the test calls {program}, which the guest does not have")


def test_a_program_that_python_does_not_find_is_an_error() -> None:
    lines = [
        'Exception|   File "/usr/lib/python3.13/subprocess.py", line 1974, in _execute_child',
        "Exception|     raise child_exception_type(errno_num, err_msg, err_filename)",
        "Exception| FileNotFoundError: [Errno 2] No such file or directory: 'devlink'",
    ]
    found = judge(Result("a", ResultKind.NOT_OK, diagnostics=lines))
    assert found == Judgement(Verdict.ERROR, "the test calls devlink, which the guest does not have")
    assert judge(Result("a", ResultKind.NOT_OK, diagnostics=lines[2:])).verdict is Verdict.FAIL  # it opens a file


@pytest.mark.parametrize(
    "line", ["sh: 1: ./xdp_helper: not found", "Error: eth0: not found", "Check failed: command not found in 'x'"]
)
def test_what_is_no_program_and_not_found_stays_a_failure(line: str) -> None:
    assert judge(Result("a", ResultKind.NOT_OK, diagnostics=[line])).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    "said",
    ["RTNETLINK answers: Operation not permitted", "sh: cannot create /proc/sys/net/x: Read-only file system"],
)
def test_what_the_remote_host_does_not_allow_shows_nothing_about_the_driver(said: str) -> None:
    found = failed("CMD[remote]: ip netns add x", said)
    assert found == Judgement(
        Verdict.SKIP, f"the remote host does not allow `ip netns add x`: {said.rpartition(': ')[2]}"
    )
    assert failed("CMD: ip netns add x", said).verdict is Verdict.FAIL


OLD = [
    "Exception| lib.CmdExitFailure: Command failed",
    "Exception| CMD: ethtool --json -l eth0",
    "Exception|   EXIT: 1",
    "Exception|   STDERR: ethtool: bad command line argument(s)",
]


def test_the_cause_of_an_exception_counts() -> None:
    lines = [*OLD, "Exception|", "Exception| The above exception was the direct cause of the following exception:"]
    lines.append("Exception| ValueError: no channels")
    found = judge(Result("a", ResultKind.NOT_OK, diagnostics=lines))
    assert found == Judgement(Verdict.SKIP, "the guest's ethtool does not know `ethtool --json -l eth0`")


def test_what_failed_after_a_failed_check_is_no_excuse_for_it() -> None:
    found = judge(Result("a", ResultKind.NOT_OK, diagnostics=["Check failed 1 != 2", *OLD]))
    assert found == Judgement(Verdict.FAIL, "Check failed 1 != 2")


def test_what_failed_in_what_a_case_deferred_is_no_excuse_for_it() -> None:
    lines = [f"Defer {line}" for line in OLD]
    lines += ["Exception| lib.KsftFailEx: the link is down", "Defer Exception| ValueError: no channels"]
    assert judge(Result("a", ResultKind.NOT_OK, diagnostics=lines)).verdict is Verdict.FAIL


def test_a_skip_before_there_are_cases_is_one() -> None:
    lines = ["Traceback (most recent call last):", "net.lib.py.ksft.KsftSkipEx: no netconsole"]
    assert judge(Result("", ResultKind.NOT_OK, "exit=1", diagnostics=lines)) == Judgement(Verdict.SKIP, "no netconsole")


def test_a_family_that_the_kernel_lacks_shows_nothing_about_the_driver() -> None:
    lines = ["net.ynl.pyynl.lib.ynl.YnlException: Family 'psp' not supported by the kernel"]
    found = judge(Result("", ResultKind.NOT_OK, "exit=1", diagnostics=lines))
    assert found == Judgement(Verdict.SKIP, "the guest's kernel has no netlink family psp")


def test_a_check_that_an_older_ethtool_fails_shows_nothing_about_the_driver() -> None:
    found = judge(
        Result("a", ResultKind.NOT_OK, diagnostics=["Check failed x not in ethtool: bad command line argument(s)"])
    )
    assert found.verdict is Verdict.SKIP


def test_a_skip_says_what_the_test_said_of_it() -> None:
    assert (
        judge(Result("a", ResultKind.SKIP, diagnostics=["sleep: no", "skipped: no such NIC"])).reason
        == "skipped: no such NIC"
    )
    assert judge(Result("a", ResultKind.SKIP, diagnostics=["sleep: no"])).reason == "the test says no reason"


def test_a_failure_that_says_no_more_than_its_directive_has_that_reason() -> None:
    assert judge(Result("a", ResultKind.NOT_OK, "SKIP no such NIC")) == Judgement(Verdict.FAIL, "SKIP no such NIC")


def test_an_exception_of_the_plainest_kind_is_the_reason() -> None:
    said = [
        "Exception| Traceback (most recent call last):",
        "Exception| Exception: Waiting for port listen",
        "Exception|",
    ]
    assert judge(Result("a", ResultKind.NOT_OK, "", said)) == Judgement(
        Verdict.FAIL, "Exception: Waiting for port listen"
    )
