# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest certify`` and ``plugfest verify``: what they print, what they write, and their errors."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from plugfest.cli import prepare
from plugfest.errors import InfrastructureError
from plugfest.run import sandbox, testbed
from plugfest.selftests.selftest import CASES, SELFTESTS, ensure_tests
from test_commands import END, PLANNED, REQUIREMENT, result
from test_repeat import BOTH, OTHER

CERTIFY = importlib.import_module("plugfest.cli.certify")
"""The module; the package's name is the command."""
BOOT = {
    "event": "boot", "seconds": 1.0, "how": "a snapshot", "reason": "the first one", "speed": 0.1, "driver": "7.3.4",
    "module": {"file": "ixgbe.ko", "sha256": "cd" * 32, "srcversion": None, "version": None},
    "model": {"name": "ixgbe", "version": "1"},
}  # fmt: skip


def found(verdict: str) -> list[dict]:
    return [PLANNED, BOOT, result(verdict), END]


@pytest.fixture
def key(plugfest) -> Path:
    """A private key in the folder in which the commands run, and ``key.pub``."""
    private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    Path("key").write_bytes(private.private_bytes(*form))
    public = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    Path("key.pub").write_bytes(private.public_key().public_bytes(*public))
    return Path("key")


def certify(plugfest, *more: str):
    """Certify the suite's runs alone."""
    alone = () if "--results" in more else ("--no-selftests",)
    return both(plugfest, *alone, *more)


def both(plugfest, *more: str):
    return plugfest("certify", "ixgbe", "--out", "bundle.tar", "--key", "key", *more)


def test_three_runs_that_agree_are_certified_and_verified(plugfest, runs, key) -> None:
    plans = runs(*[found("pass")] * 3)
    done = certify(plugfest)
    assert done.status == 0, done.err
    assert "ixgbe on Linux 7.3.4+deb13-amd64, plugfest's model of ixgbe (kr): PASSED" in done.out
    assert "1 requirements in 3 runs: 1 passed, 0 exceptions, 0 failed, 0 not claimed" in done.out
    assert done.out.splitlines()[-1].startswith("bundle.tar: signed by SHA256:")
    assert len({plan.seed for plan in plans}) == 3
    assert None not in {plan.seed for plan in plans}
    verified = plugfest("verify", "bundle.tar", "--trust", "key.pub")
    assert verified.status == 0, verified.err
    assert verified.out.splitlines()[0].endswith(": PASSED")
    assert "the key of key.pub" in verified.out
    assert (
        "each as it was signed; what follows from the journals was made again: report.json, report.html, junit.xml and report.tap "
        "of each run, the manifest, the page and the statement"
    ) in verified.out
    assert "whoever that is" in plugfest("verify", "bundle.tar").out


def test_the_runs_are_of_the_chosen_areas(plugfest, runs, key) -> None:
    plans = runs(*[found("pass")] * 3)
    assert certify(plugfest, "--area", "link", "--slow").status == 0
    assert {(plan.areas, plan.slow) for plan in plans} == {(("link",), True)}
    assert "only the areas link; left out: smoke, offload" in plugfest("verify", "bundle.tar").out


def test_arguments_in_the_environment_leave_no_test_out(plugfest, runs, key, monkeypatch) -> None:
    runs(*[found("pass")] * 3)
    monkeypatch.setenv("PYTEST_ADDOPTS", "--deselect link -k nothing")
    assert certify(plugfest).status == 0
    assert "PYTEST_ADDOPTS" not in os.environ


def test_runs_with_arguments_in_the_environment_certify_nothing(plugfest, runs, key, monkeypatch) -> None:
    runs(*[found("pass")] * 3)
    monkeypatch.setenv("PYTEST_ADDOPTS", "--deselect 'a b'")
    assert plugfest("run", "ixgbe", "--repeat", "3", "--shuffle").status == 0
    done = certify(plugfest, "--results", "results/latest")
    assert done.status == 1
    assert "run-1 ran with arguments of pytest (--deselect a b), which may leave tests out" in done.line


def test_a_failure_is_certified_as_one(plugfest, runs, key) -> None:
    runs(*[[BOTH, BOOT, result("pass"), {**result("fail"), **OTHER}, END]] * 3)
    done = certify(plugfest)
    assert done.status == 1
    assert ": FAILED" in done.out
    assert "2 requirements in 3 runs: 1 passed, 0 exceptions, 1 failed, 0 not claimed" in done.out
    verified = plugfest("verify", "bundle.tar", "--trust", "key.pub")
    assert (verified.status, ": FAILED" in verified.out) == (1, True)


def test_runs_that_disagree_are_refused_and_stay(plugfest, runs, key) -> None:
    runs(found("pass"), found("fail"), found("pass"))
    done = certify(plugfest)
    assert done.status == 1
    assert "no certificate: SMOKE-A-01 (test_it) was pass, fail, pass" in done.line
    assert not Path("bundle.tar").exists()
    assert len(list(Path("results/latest").glob("run-*/report.json"))) == 3


def test_a_bundle_of_runs_that_there_are(plugfest, runs, key) -> None:
    runs(*[found("pass")] * 3)
    assert certify(plugfest).status == 0
    first = Path("bundle.tar").read_bytes()
    Path("bundle.tar").unlink()
    assert certify(plugfest, "--results", "results/latest").status == 0
    assert Path("bundle.tar").read_bytes() == first


def test_a_variable_for_other_commands_does_not_concern_runs_that_there_are(plugfest, runs, key, monkeypatch) -> None:
    runs(*[found("pass")] * 3)
    assert plugfest("run", "ixgbe", "--repeat", "3", "--shuffle").status == 0
    monkeypatch.setenv("PLUGFEST_GUESTS", "2")
    assert certify(plugfest, "--results", "results/latest").status == 0
    monkeypatch.setenv("PLUGFEST_DRY_RUN", "1")
    assert "there is nothing to run" in certify(plugfest, "--results", "results/latest").line


def test_a_bundle_that_verify_would_refuse_is_not_left(plugfest, runs, key) -> None:
    runs(*[[PLANNED, BOOT, {**result("pass"), "artifacts": {"console.txt": "artifacts/it/console.txt"}}, END]] * 3)
    done = certify(plugfest)
    assert done.status == 1
    assert done.line == (
        "bundle.tar: run-1/artifacts/it/console.txt is missing: the report of run-1 names it; "
        "the bundle was removed: make the runs of that kind again"
    )
    assert not Path("bundle.tar").exists()


def test_an_interrupted_run_makes_no_bundle(plugfest, runs, key) -> None:
    runs(found("pass"), ([PLANNED], sandbox.Outcome(130, signal.SIGINT)))
    done = certify(plugfest)
    assert done.status == 130
    assert not Path("bundle.tar").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "none/b"], "--out none/b: expected a folder to write to, found none"),
        (["--out", "key"], "--out key: expected a new file, found one; choose another"),
        (["--key", "none"], "--key none: expected the file of a key, found: No such file or directory"),
        (["--key", "key.pub"], "--key key.pub: expected an Ed25519 private key, found something else; make one with"),
        (["--fault", "rx.frame.dropped"], "a driver on a broken device certifies nothing; use plugfest run"),
        (["--dry-run", "--results", "results"], "--dry-run with --results: expected one of them"),
        (["--area", "lnik"], "did you mean link"),
        (["--selftest", "ping.py", "--no-selftests"], "--selftest with --no-selftests: expected one of them"),
        *(
            (
                [*option, "--results", "results"],
                f"{option[0]} with --results: expected one of them, the runs have been made",
            )
            for option in (
                ["--area", "link"],
                ["--slow"],
                ["--guests", "2"],
                ["--kernel", "trixie"],
                ["--module", "x.ko"],
                ["--output", "o"],
                ["--selftest", "ping.py"],
            )
        ),
    ],
)
def test_bad_arguments_are_found_before_the_runs(plugfest, runs, key, arguments: list[str], message: str) -> None:
    plans = runs()
    done = plugfest("certify", "ixgbe", "--out", "bundle.tar", "--key", "key", *arguments)
    assert (done.status, plans) == (2, [])
    assert message in done.line


def test_an_encrypted_key_wants_a_terminal(plugfest, runs, key) -> None:
    private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    encryption = serialization.BestAvailableEncryption(b"secret")
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    key.write_bytes(private.private_bytes(*form))
    plans = runs()
    done = certify(plugfest)
    assert (done.status, plans) == (2, [])
    assert "expected a terminal to ask for its passphrase" in done.line


def test_a_folder_without_runs(plugfest, key) -> None:
    Path("empty").mkdir()
    done = certify(plugfest, "--results", "empty")
    assert (done.status, done.line) == (1, "empty: no certificate: expected 3 runs, found 0")


def test_a_bundle_cut_short(plugfest, runs, key) -> None:
    runs(*[found("pass")] * 3)
    certify(plugfest)
    whole = Path("bundle.tar").read_bytes()
    Path("bundle.tar").write_bytes(whole[: len(whole) // 2])
    done = plugfest("verify", "bundle.tar")
    assert done.status == 1
    assert "bundle.tar: it is cut short" in done.line


def test_another_key(plugfest, runs, key) -> None:
    runs(*[found("pass")] * 3)
    certify(plugfest)
    other = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()
    form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    Path("other.pem").write_bytes(other.public_bytes(*form))
    done = plugfest("verify", "bundle.tar", "--trust", "other.pem")
    assert done.status == 1
    assert "the key of --trust: someone else signed it" in done.line
    done = plugfest("verify", "bundle.tar", "--trust", "bundle.tar")
    assert (done.status, "expected an Ed25519 public key" in done.line) == (2, True)


def test_what_is_no_bundle(plugfest, key) -> None:
    done = plugfest("verify", "key")
    assert done.status == 1
    assert done.line == "key: it is cut short: it ends within the header of the first file"
    assert (
        plugfest("verify", "none").line
        == "none: expected a bundle, found: No such file or directory; name the file of one"
    )


PING = {
    "test": "drivers/net/ping.py", "requirement": "drivers/net:ping.py", "area": "drivers/net", "level": "SHOULD", "fault": None,
}  # fmt: skip
CASE = {**PING, "test": "drivers/net/ping.py[test_v4]"}


def pinged(verdict: str) -> list[dict]:
    """The journal of a run of one of upstream's tests, without the event ``run``."""
    planned = {
        "event": "planned",
        "requirements": [{**REQUIREMENT, "id": "drivers/net:ping.py", "level": "SHOULD", "area": "drivers/net"}],
        "tests": [PING],
    }
    cases = {"event": "cases", "test": "drivers/net/ping.py", "tests": [CASE]}
    return [planned, BOOT, {"event": "attempt", **PING}, cases, {**result(verdict), **CASE}, END]


def test_upstreams_tests_are_certified_after_the_suite(plugfest, runs, key, upstream) -> None:
    plans = runs(*[found("pass")] * 3, *[pinged("pass")] * 3)
    done = both(plugfest, "--area", "smoke")
    assert done.status == 0, done.err
    folders = [str(plan.output.relative_to(Path("results/latest").resolve())) for plan in plans]
    assert folders == [*(f"run-{number}" for number in (1, 2, 3)), *(f"selftests/run-{number}" for number in (1, 2, 3))]
    assert [plan.root.digest for plan in plans] == ["r"] * 3 + ["s"] * 3
    for three in (plans[:3], plans[3:]):
        assert len({plan.seed for plan in three} - {None}) == 3
    assert {plan.guests for plan in plans[3:]} == {1}
    assert not Path("results/latest/latest").exists()
    verified = plugfest("verify", "bundle.tar", "--trust", "key.pub")
    assert verified.status == 0, verified.err
    lines = verified.out.splitlines()
    assert "1 requirements in 3 runs: 1 passed, 0 exceptions, 0 failed, 0 not claimed" in lines
    assert "1 of upstream's tests in 3 runs: 1 passed, 0 exceptions, 0 failed, 0 skipped" in lines
    assert not [line for line in lines if "only upstream" in line or "without upstream" in line]
    report = json.loads(Path("results/latest/selftests/run-2/report.json").read_text())["run"]
    assert (report["kind"], report["source"]) == ("selftests", "a source")
    assert report["testbed"]["selftests"] == testbed.tree_sha256(upstream.tree)
    Path("bundle.tar").unlink()
    assert both(plugfest, "--results", "results/latest").status == 0


def test_a_chosen_test_and_a_vendors_module(plugfest, runs, key, upstream, kernel_module) -> None:
    module = Path("ixgbe.ko")
    module.write_bytes(kernel_module(b"license=GPL\0"))
    plans = runs(*[found("pass")] * 3, *[pinged("pass")] * 3)
    done = both(plugfest, "--selftest", "ping", "--module", str(module))
    assert done.status == 0, done.err
    assert "only upstream's tests ping" in done.out.splitlines()
    assert {plan.extra_modules for plan in plans} == {(module.resolve(),)}


def test_a_failure_of_upstreams_tests_is_certified_as_one(plugfest, runs, key, upstream) -> None:
    runs(*[found("pass")] * 3, *[pinged("fail")] * 3)
    done = both(plugfest)
    assert (done.status, ": FAILED" in done.out) == (1, True)
    assert "1 of upstream's tests in 3 runs: 0 passed, 0 exceptions, 1 failed, 0 skipped" in done.out


def test_upstreams_tests_do_not_run_if_the_suites_runs_disagree(plugfest, runs, key, upstream) -> None:
    plans = runs(found("pass"), found("skip"), found("pass"))
    done = both(plugfest)
    assert (done.status, len(plans)) == (1, 3)
    assert "no certificate: SMOKE-A-01 (test_it) was pass, skip, pass" in done.line


def test_upstreams_tests_that_disagree_are_refused(plugfest, runs, key, upstream) -> None:
    runs(*[found("pass")] * 3, pinged("pass"), pinged("skip"), pinged("pass"))
    done = both(plugfest)
    assert done.status == 1
    assert "no certificate: drivers/net:ping.py (drivers/net/ping.py[test_v4]) was pass, skip, pass" in done.line
    assert not Path("bundle.tar").exists()


def test_an_interrupted_run_of_upstreams_tests_makes_no_bundle(plugfest, runs, key, upstream) -> None:
    runs(*[found("pass")] * 3, pinged("pass"), (pinged("pass")[:1], sandbox.Outcome(143, signal.SIGTERM)))
    done = both(plugfest)
    assert done.status == 143
    assert not Path("bundle.tar").exists()
    folder = "results/latest/selftests"
    assert both(plugfest, "--results", "results/latest").line == (
        "results/latest: no certificate: selftests: expected 3 runs, found 2; "
        f"remove {folder}, then: plugfest selftests ixgbe --repeat 3 --shuffle --output {folder}, with the options of the suite's runs; "
        "or leave upstream's tests out: --no-selftests"
    )
    without = both(plugfest, "--no-selftests", "--results", "results/latest")
    assert without.status == 0, without.err
    left_out = "without upstream's tests: there are runs of them, which the signer left out (--no-selftests)"
    assert left_out in plugfest("verify", "bundle.tar").out.splitlines()
    Path("bundle.tar").unlink()
    shutil.rmtree(folder)
    runs(*[pinged("pass")] * 3)
    again = plugfest("selftests", "ixgbe", "--repeat", "3", "--shuffle", "--output", folder)
    assert again.status == 0, again.err
    assert both(plugfest, "--results", "results/latest").status == 0
    assert "1 of upstream's tests in 3 runs: 1 passed" in plugfest("verify", "bundle.tar").out


def test_a_kernel_without_upstreams_tests_is_certified_without(plugfest, runs, key, upstream, monkeypatch) -> None:
    """Bookworm's: no source is fetched to find that out."""
    plans = runs(*[found("pass")] * 3)
    monkeypatch.setattr(CERTIFY, "ensure_tests", ensure_tests)
    older = dataclasses.replace(prepare.ensure_kernel(None, ""), spec="bookworm", release="6.1.0-50-amd64")
    for module in (CERTIFY, prepare):
        monkeypatch.setattr(module, "ensure_kernel", lambda settings, spec: older)
    line = (
        "without upstream's tests: expected tools/testing/selftests/drivers/net/hw in its source, "
        "found none in that of Linux 6.1.0-50-amd64"
    )
    named = both(plugfest, "--kernel", "bookworm", "--selftest", "ping.py")
    assert (named.status, plans) == (2, [])
    assert "upstream has these tests since 6.10, choose another --kernel" in named.line
    done = both(plugfest, "--kernel", "bookworm")
    assert (done.status, len(plans)) == (0, 3)
    assert line in done.out.splitlines()[0]
    assert line in plugfest("verify", "bundle.tar").out.splitlines()


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (
            InfrastructureError("a mirror that does not respond"),
            3,
            "a mirror that does not respond; --no-selftests leaves",
        ),
        (None, 2, "pong.py: expected one of upstream's tests, found none of that name; did you mean ping.py"),
    ],
)
def test_what_upstreams_tests_lack_is_found_before_the_runs(
    plugfest, runs, key, upstream, monkeypatch, error, status: int, message: str
) -> None:
    plans = runs()

    def fail(*_: object) -> None:
        raise error

    if error is not None:
        monkeypatch.setattr(CERTIFY, "ensure_image", fail)
    done = both(plugfest, "--selftest", "ping.py" if error else "pong.py")
    assert (done.status, plans) == (status, [])
    assert message in done.line


def test_a_case_that_no_test_has_is_found_before_the_runs(plugfest, runs, key, upstream) -> None:
    plans = runs()
    for name, message in (
        ("ping.py::test_v9", "expected one of the test's cases, found none of that name; did you mean test_v4?"),
        ("ping.py::other", "expected one of the test's cases, found none of that name; name the test alone"),
    ):
        done = both(plugfest, "--selftest", name)
        assert (done.status, done.line) == (2, f"drivers/net:{name}: {message}")
    (upstream.tree / SELFTESTS / CASES).write_text("def ksft_run(cases):")
    done = both(plugfest, "--selftest", "ping.py::test_v4")
    assert (done.status, plans) == (2, [])
    assert done.line == (
        "drivers/net:ping.py::test_v4: expected a test that runs single cases, found that those of this kernel run all; name the test alone"
    )


def test_runs_of_upstreams_tests_that_there_are_go_with_those_of_the_suite(plugfest, runs, key, upstream) -> None:
    runs(*[found("pass")] * 3, *[pinged("pass")] * 3)
    for command, folder in (("run", "out"), ("selftests", "out/selftests")):
        done = plugfest(command, "ixgbe", "--repeat", "3", "--shuffle", "--output", folder)
        assert done.status == 0, done.err
    assert certify(plugfest, "--results", "out").status == 0
    assert "1 of upstream's tests in 3 runs: 1 passed" in plugfest("verify", "bundle.tar").out


def test_an_output_folder_with_runs_of_upstreams_tests(plugfest, runs, key, upstream) -> None:
    plans = runs(*[pinged("pass")] * 3)
    plugfest("selftests", "ixgbe", "--repeat", "3", "--output", "out/selftests")
    done = both(plugfest, "--output", "out")
    assert (done.status, len(plans)) == (2, 3)
    assert "found the journal of another run; choose another" in done.line
    dry = both(plugfest, "--output", "out", "--dry-run")
    assert (dry.status, len(plans)) == (0, 3), dry.err
    assert dry.out.count("/opt/qemu") == 2


def test_an_empty_folder_for_upstreams_runs_does_not_hinder_the_suites(plugfest, runs, key, upstream) -> None:
    runs(*[found("pass")] * 3, *[pinged("pass")] * 3)
    Path("out/selftests").mkdir(parents=True)
    assert both(plugfest, "--output", "out").status == 0


def test_findings_of_a_run(plugfest, inside) -> None:
    inside.events = [BOTH, BOOT, result("pass"), {**result("fail"), **OTHER}, END]
    assert plugfest("run", "ixgbe").status == 1
    done = plugfest("findings", "results/latest", "--out", "texts")
    assert done.status == 0
    assert done.out.splitlines() == [
        "texts/SMOKE-A-02-test-other.txt: ixgbe: fail: It works",
        "1 findings, listed in texts/index.txt",
    ]
    assert Path("texts/SMOKE-A-02-test-other.txt").is_file()


@pytest.mark.parametrize(
    "command",
    [["findings", "--out", "texts"], ["convert", "ktap"], ["convert", "netdev"], ["convert", "kcidb"]],
    ids=str,
)
@pytest.mark.parametrize("options", [["--falsify"], ["--fault", "rx.frame.dropped"]], ids=str)
def test_what_a_run_with_faults_finds_is_not_for_others(
    plugfest, inside, command: list[str], options: list[str]
) -> None:
    inside.events = found("fail")
    plugfest("run", "ixgbe", *options)
    done = plugfest(*command, "results/latest")
    assert (done.status, done.out) == (2, "")
    assert done.line == (
        "results/latest: expected a run of the driver as it is, found one with faults armed (--falsify, --fault); choose another"
    )
    assert not Path("texts").exists()


def test_findings_of_no_run(plugfest) -> None:
    done = plugfest("findings", ".", "--out", "texts")
    assert (done.status, done.line) == (
        2,
        ".: expected a run's journal, journal.jsonl, found none; name the output folder of one run",
    )
