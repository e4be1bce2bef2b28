# SPDX-License-Identifier: GPL-2.0-or-later
"""What three runs certify, and what is refused."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from made_runs import CONFIG, HASH, KEY, SOURCE, Repeated
from plugfest.certify import bundle
from plugfest.certify.archive import BundleArchive, BundleError
from plugfest.certify.certificate import Certificate
from plugfest.certify.verification import verify

WITHOUT = "without upstream's tests: they were not run"

TWO_DIFFERENCES = (
    "run-1 and run-2 differ in requirements; "
    "run-1 and run-2 differ in the tests: area/test_it.py::test_link_up_03 is in run-2 alone"
)


def made(folder: Path) -> tuple[Certificate, dict[str, bytes]]:
    target = folder.with_name("bundle.tar")
    certificate = bundle.make(folder, target, KEY, driver="ixgbe")
    with BundleArchive(target) as found:
        return certificate, {name: found.read(name, limit=1 << 24) for name in found.members}


def refusal(folder: Path) -> str:
    with pytest.raises(BundleError) as caught:
        bundle.make(folder, folder.with_name("bundle.tar"), KEY, driver="ixgbe")
    assert not folder.with_name("bundle.tar").exists()
    return str(caught.value).removeprefix(f"{folder}: ").removeprefix("no certificate: ")


def statement(files: dict[str, bytes]) -> Any:
    return json.loads(base64.b64decode(json.loads(files["statement.dsse.json"])["payload"]))


def test_three_runs_that_agree(repeated: Repeated) -> None:
    certificate, files = made(repeated({}, {}, {}))
    assert certificate.result == "WARNED"
    found = statement(files)
    assert found["_type"] == "https://in-toto.io/Statement/v1"
    assert found["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert found["subject"] == [
        {"name": "ixgbe.ko", "digest": {"sha256": "cd" * 32}},
        {"name": "linux-7.3.4+deb13-amd64", "digest": {"sha256": HASH}},
    ]
    predicate = found["predicate"]
    assert predicate["result"] == "WARNED"
    assert predicate["passedTests"] == ["LINK-UP-01", "LINK-UP-02"]
    assert predicate["warnedTests"] == ["XDP-XSK-12"]
    assert predicate["failedTests"] == []
    assert {each["name"]: each["digest"]["sha256"] for each in predicate["configuration"]} == {
        name: hashlib.sha256(files[name]).hexdigest() for name in ("testbed.json", "SHA256SUMS")
    }


def test_the_bundle_holds_everything_of_the_runs(repeated: Repeated) -> None:
    folder = repeated({}, {}, {})
    _, files = made(folder)
    assert next(iter(files)) == "index.html"
    kept = (
        "artifacts/XDP-XSK-12/console.txt",
        "journal.jsonl",
        "junit.xml",
        "report.html",
        "report.json",
        "report.tap",
    )
    assert set(files) == {
        "index.html", "SHA256SUMS", "signer.pub", "statement.dsse.json", "testbed.json",
        *(f"run-{number}/{name}" for number in (1, 2, 3) for name in kept),
    }  # fmt: skip
    assert files["run-2/journal.jsonl"] == (folder / "run-2" / "journal.jsonl").read_bytes()
    assert files["signer.pub"].decode().startswith("ssh-ed25519 ")


def test_the_list_of_checksums_is_that_of_sha256sum(repeated: Repeated) -> None:
    _, files = made(repeated({}, {}, {}))
    listed = dict(line.split("  ")[::-1] for line in files["SHA256SUMS"].decode().splitlines())
    assert listed == {
        name: hashlib.sha256(content).hexdigest()
        for name, content in files.items()
        if name not in ("SHA256SUMS", "signer.pub", "statement.dsse.json")
    }


def test_the_manifest(repeated: Repeated) -> None:
    _, files = made(repeated({}, {}, {}))
    found = json.loads(files["testbed.json"])
    assert found["driver"] == {
        "name": "ixgbe",
        "version": "7.3.4",
        "module": {"file": "ixgbe.ko", "sha256": "cd" * 32, "srcversion": "8A3", "version": None},
        "out-of-tree": {},
    }
    assert found["device"]["model"] == "1"
    assert found["kernel"]["release"] == "7.3.4+deb13-amd64"
    assert found["qemu"] == {"version": "11.1.3", "digest": "q", "acceleration": "tcg"}
    assert found["guest"]["packages"] == {"bash": "5.2.37-2+b10"}
    assert found["suite"]["areas"] == ["link", "xdp"]
    assert [run["seed"] for run in found["runs"]] == [41, 42, 43]
    assert found["runs"][0]["verdicts"] == {"pass": 2, "skip": 1, "xfail": 1}
    assert found["selftests"] is None
    assert found["deviations"] == [WITHOUT]
    assert found["known_issues"] == [
        {
            "title": "ixgbe: zero-copy AF_XDP drops frames",
            "link": "https://example.org/1",
            "requirements": ["XDP-XSK-12"],
            "showed": 3,
        }
    ]


def test_the_page_says_what_was_certified(repeated: Repeated) -> None:
    _, files = made(repeated(*[{"result.reason": "<script>alert(1)</script>"}] * 3))
    page = files["index.html"].decode()
    assert "ixgbe <small>on Linux 7.3.4+deb13-amd64: 3 shuffled runs that agree</small>" in page
    assert "WARNED" in page
    assert "ixgbe: zero-copy AF_XDP drops frames" in page
    assert 'href="run-1/report.html#XDP-XSK-12"' in page
    assert "<script" not in page
    assert "SHA256:" not in page, "the page, and so the statement, does not depend on the key"


def test_a_chosen_area_is_a_deviation(repeated: Repeated) -> None:
    certificate, files = made(repeated(*[{"run.options.areas": ["link"], "run.options.confirm": False}] * 3))
    assert certificate.deviations == [
        "only the areas link; left out: smoke, offload, xdp, qstat, qapi, keep, backplane",
        "verdicts against the driver were not confirmed in a fresh guest (--no-confirm)",
        WITHOUT,
    ]
    assert "only the areas link" in files["index.html"].decode()


def test_the_areas_that_another_plugfest_left_out_are_not_known(repeated: Repeated) -> None:
    certificate, _ = made(repeated(*[{"run.options.areas": ["link"], "run.testbed.suite.plugfest": HASH}] * 3))
    assert certificate.deviations == ["only the areas link", WITHOUT]


def test_a_list_of_ones_own_is_a_deviation(repeated: Repeated) -> None:
    certificate, _ = made(repeated(*[{"planned.lists.known_issues": HASH, "planned.lists.quarantine": HASH}] * 3))
    assert certificate.deviations == [
        WITHOUT,
        "a list of known issues of the signer's own, not plugfest's",
        "a quarantine of the signer's own, not plugfest's",
    ]


@pytest.mark.parametrize(
    ("verdicts", "result"),
    [
        ({"XDP-XSK-12": "pass"}, "PASSED"),
        ({"XDP-XSK-12": "quarantined"}, "WARNED"),
        ({"LINK-UP-01": "fail"}, "FAILED"),
        ({"LINK-UP-01": "unstable"}, "FAILED"),
    ],
)
def test_the_result(repeated: Repeated, verdicts: dict[str, str], result: str) -> None:
    certificate, files = made(repeated(verdicts, verdicts, verdicts))
    assert (certificate.result, statement(files)["predicate"]["result"]) == (result, result)


def test_a_test_that_the_quarantine_lists_may_vary_and_is_an_exception(repeated: Repeated) -> None:
    _, files = made(repeated({}, {"LINK-UP-02": "quarantined"}, {}))
    assert statement(files)["predicate"]["warnedTests"] == ["XDP-XSK-12", "LINK-UP-02"]


def test_the_same_runs_make_the_same_bundle(repeated: Repeated) -> None:
    folder = repeated({}, {}, {})
    made(folder)
    first = folder.with_name("bundle.tar").read_bytes()
    for path in folder.rglob("*"):
        os.utime(path, (random.randrange(10**9),) * 2)
    moved = folder.rename(folder.with_name("elsewhere"))
    made(moved)
    assert folder.with_name("bundle.tar").read_bytes() == first


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        (({}, {}), "expected 3 runs, found 2"),
        (({}, {}, {}, {}), "expected 3 runs, found 4"),
        (
            ({}, {"LINK-UP-01": "fail"}, {"LINK-UP-02": "skip"}),
            "LINK-UP-01 (test_link_up_01) was pass, fail, pass; LINK-UP-02 (test_link_up_02) was pass, pass, skip",
        ),
        (({}, {}, {"run.options.seed": 41}), "expected each run in another order, found one order twice"),
        (({}, {"run.options.seed": None}, {}), "run-2 was not shuffled"),
        (({}, {"run.options.faults": ["rx.frame.dropped"]}, {}), "run-2 ran under a fault"),
        (({}, {}, {"run.options.pytest": ["-k", "link"]}), "run-3 ran with arguments of pytest (-k link), which may leave tests out"),
        (({}, {}, {"run.kernel.release": "7.3.5"}), "run-1 and run-3 differ in kernel"),
        (({}, {"boot.module": None}, {}), "run-1 and run-2 differ in the testbed"),
        (({}, {"planned.lists": {"known_issues": "cd" * 32}}, {}), "run-1 and run-2 differ in the testbed"),
        (({}, {"LINK-UP-03": "pass"}, {}), TWO_DIFFERENCES),
        (({}, {"end.reason": "interrupted", "end.exit_status": 130, "end.event": "stopped"}, {}), "run-2 is not complete: interrupted"),
        (({"LINK-UP-01": "skip", "LINK-UP-02": "skip"},) * 3, "expected a requirement that passes, found none"),
    ],
)  # fmt: skip
def test_what_is_refused(repeated: Repeated, runs: tuple[dict[str, Any], ...], message: str) -> None:
    assert refusal(repeated(*runs)) == message


def test_runs_of_another_driver_are_refused(repeated: Repeated) -> None:
    found = refusal(repeated(*[{"run.driver": "gve"}] * 3))
    assert found == "expected runs of ixgbe, found run-1 of gve"


def test_a_run_without_a_testbed_is_refused(repeated: Repeated) -> None:
    folder = repeated({}, {}, {})
    journal = folder / "run-2" / "journal.jsonl"
    first, *rest = journal.read_text().splitlines(keepends=True)
    event = json.loads(first)
    del event["testbed"]
    journal.write_text(json.dumps(event) + "\n" + "".join(rest))
    assert refusal(folder) == "run-2 was made by a plugfest that did not record the testbed"


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    assert refusal(tmp_path / "results") == "expected 3 runs, found 0"


def test_a_link_in_a_run_is_refused(repeated: Repeated) -> None:
    folder = repeated({}, {}, {})
    (folder / "run-1" / "secret").symlink_to("/etc/shadow")
    assert "run-1/secret: expected a file that the run wrote" in refusal(folder)


def test_the_configuration_of_the_kernel_is_in_the_bundle(repeated: Repeated) -> None:
    kernel = {"sha256": HASH, "digest": "k", "config": hashlib.sha256(CONFIG).hexdigest()}
    folder = repeated(*[{"run.testbed.kernel": kernel}] * 3)
    for number in (1, 2, 3):
        (folder / f"run-{number}" / "kernel.config").write_bytes(CONFIG)
    _, files = made(folder)
    assert files["run-1/kernel.config"] == CONFIG
    assert 'href="run-1/kernel.config"' in files["index.html"].decode()


ALL = ({}, {}, {})


def test_the_runs_of_both_kinds(repeated: Repeated) -> None:
    certificate, files = made(repeated(*ALL, selftests=ALL))
    assert certificate.result == "WARNED"
    assert certificate.deviations == []
    predicate = statement(files)["predicate"]
    assert predicate["passedTests"] == ["LINK-UP-01", "LINK-UP-02", "drivers/net:ping.py"]
    assert predicate["warnedTests"] == ["XDP-XSK-12", "drivers/net/hw:irq.py"]
    kept = ("journal.jsonl", "junit.xml", "report.html", "report.json", "report.tap")
    artifact = "artifacts/drivers-net-hw-irq.py-irqs-/console.txt"
    assert {name for name in files if name.startswith("selftests/")} == {
        f"selftests/run-{number}/{name}" for number in (1, 2, 3) for name in (*kept, artifact)
    }


def test_the_manifest_names_upstreams_tests_and_both_guests(repeated: Repeated) -> None:
    _, files = made(repeated(*ALL, selftests=ALL))
    found = json.loads(files["testbed.json"])
    assert found["guest"]["packages"] == {"bash": "5.2.37-2+b10"}
    runs = found["selftests"].pop("runs")
    assert found["selftests"] == {
        "source": SOURCE,
        "sha256": "ef" * 32,
        "tests": 3,
        "cases": 4,
        "chosen": [],
        "disruptive": True,
        "time_limit": 600.0,
        "guest": {
            "cpus": 2,
            "memory": 1024,
            "digest": "s",
            "packages": {"bash": "5.2.37-2+b10", "iperf3": "3.18-2"},
        },
    }
    assert [run["folder"] for run in runs] == ["selftests/run-1", "selftests/run-2", "selftests/run-3"]
    assert [run["seed"] for run in runs] == [71, 72, 73]
    assert found["suite"]["requirements"] == 4
    assert found["known_issues"][0]["requirements"] == ["XDP-XSK-12", "drivers/net/hw:irq.py"]


def test_the_page_has_upstreams_tests_in_a_section_of_their_own(repeated: Repeated) -> None:
    failed = {"drivers/net/stats.py[pause]": "fail"}
    _, files = made(repeated(*ALL, selftests=(failed,) * 3))
    page = files["index.html"].decode()
    before, section = page.split('<h2 id="selftests">Upstream\'s tests</h2>')
    assert "Of 4 requirements" in before
    assert "ping.py" not in before
    assert "Of 4 tests" in section
    assert 'href="selftests/run-1/report.html#drivers/net%3Aping.py"' in section
    assert 'id="drivers/net:ping.py"' in files["selftests/run-1/report.html"].decode()
    row = section[section.index('href="selftests/run-1/report.html#drivers/net%3Astats.py"') :].partition("</tr>")[0]
    assert '<span class="chip fail">1 fail</span>' in row
    assert "reason of drivers/net:stats.py" in row


def test_upstreams_failure_fails_the_certificate(repeated: Repeated) -> None:
    certificate, _ = made(repeated(*ALL, selftests=({"drivers/net/ping.py[v6]": "fail"},) * 3))
    assert (certificate.result, certificate.failed) == ("FAILED", ["drivers/net:ping.py"])


@pytest.mark.parametrize(
    ("changes", "deviation"),
    [
        ({"run.options.pytest": ["ping.py", "rss*"]}, "only upstream's tests ping.py, rss*"),
        (
            {"run.options.disruptive": False},
            "without those of upstream's tests that take the interface down (--not-disruptive)",
        ),
        (
            {"run.options.time_limit": 60.0},
            "60 s, not 600 s, for each of upstream's tests that has no time limit (--time-limit)",
        ),
        (
            {"run.options.confirm": False},
            "verdicts of upstream's tests against the driver were not confirmed in a fresh guest (--no-confirm)",
        ),
    ],
)
def test_what_departs_from_all_of_upstreams_tests(repeated: Repeated, changes: dict[str, Any], deviation: str) -> None:
    certificate, files = made(repeated(*ALL, selftests=(changes,) * 3))
    assert certificate.deviations == [deviation]
    assert deviation.replace("'", "&#39;") in files["index.html"].decode()


def test_why_there_are_none_of_upstreams_tests(repeated: Repeated) -> None:
    reason = {"run.options.without_selftests": "Linux 6.1 has none"}
    certificate, _ = made(repeated(reason, reason, reason))
    assert certificate.deviations == ["without upstream's tests: Linux 6.1 has none"]


@pytest.mark.parametrize(
    ("selftests", "message"),
    [
        (
            ({}, {"drivers/net/ping.py[v4]": "fail"}, {}),
            "drivers/net:ping.py (drivers/net/ping.py[v4]) was pass, fail, pass",
        ),
        (({}, {}, {"run.options.seed": 71}), "selftests: expected each run in another order, found one order twice"),
        (({}, {"run.options.seed": None}, {}), "selftests/run-2 was not shuffled"),
        (({}, {}, {"run.options.pytest": ["ping.py"]}), "selftests/run-1 and selftests/run-3 differ in options"),
        (({}, {}, {"run.testbed.selftests": HASH}), "selftests/run-1 and selftests/run-3 differ in the testbed"),
        (({}, {}, {"run.source": "another"}), "selftests/run-1 and selftests/run-3 differ in the tests' source"),
        (
            ({}, {"drivers/net/ping.py[v9]": "pass"}, {}),
            "selftests/run-1 and selftests/run-2 differ in the tests: drivers/net/ping.py[v9] is in selftests/run-2 alone",
        ),
        (({}, {"run.options.faults": ["rx.frame.dropped"]}, {}), "selftests/run-2 ran under a fault"),
        (({"run.kernel.release": "7.3.5"},) * 3, "run-1 and selftests/run-1 differ in kernel"),
        (({"run.module": "gve"},) * 3, "run-1 and selftests/run-1 differ in module"),
        (({"run.accel.name": "kvm"},) * 3, "run-1 and selftests/run-1 differ in acceleration"),
        (({"run.versions.qemu": "11.2"},) * 3, "run-1 and selftests/run-1 differ in versions"),
        (({"boot.module": None},) * 3, "run-1 and selftests/run-1 differ in the testbed"),
    ],
)  # fmt: skip
def test_what_is_refused_of_upstreams_tests(repeated: Repeated, selftests: Any, message: str) -> None:
    assert refusal(repeated(*ALL, selftests=selftests)) == message


ADVICE = (
    "remove {0}, then: plugfest selftests ixgbe --repeat 3 --shuffle --output {0}, with the options of the suite's runs; "
    "or leave upstream's tests out: --no-selftests"
)


@pytest.mark.parametrize(
    ("selftests", "message"),
    [
        (({}, {}), "selftests: expected 3 runs, found 2"),
        (
            ({}, {}, {"end.reason": "interrupted", "end.exit_status": 130, "end.event": "stopped"}),
            "selftests/run-3 is not complete: interrupted",
        ),
    ],
)
def test_what_to_do_about_upstreams_tests_that_ended_early(repeated: Repeated, selftests: Any, message: str) -> None:
    folder = repeated(*ALL, selftests=selftests)
    assert refusal(folder) == f"{message}; {ADVICE.format(folder / 'selftests')}"


def test_runs_of_upstreams_tests_can_be_left_out(repeated: Repeated) -> None:
    folder = repeated(*ALL, selftests=({}, {}))
    target = folder.with_name("bundle.tar")
    bundle.make(folder, target, KEY, driver="ixgbe", selftests=False)
    certificate = verify(target).certificate
    assert certificate.deviations == [
        "without upstream's tests: there are runs of them, which the signer left out (--no-selftests)"
    ]
    assert certificate.manifest["selftests"] is None
    for run in (1, 2):
        shutil.rmtree(folder / f"selftests/run-{run}")
    assert bundle.make(folder, target, KEY, driver="ixgbe", selftests=False).deviations == [WITHOUT]


@pytest.mark.parametrize("single", [True, False])
def test_a_folder_of_upstreams_tests_without_three_runs_is_refused(repeated: Repeated, single: bool) -> None:
    """A single run in it, as of ``plugfest selftests --output …/selftests``, is not one that was never made."""
    folder = repeated(*ALL, selftests=ALL if single else ())
    upstream = folder / "selftests"
    if single:
        (upstream / "run-1").rename(folder.with_name("alone"))
        shutil.rmtree(upstream)
        folder.with_name("alone").rename(upstream)
    else:
        upstream.mkdir(exist_ok=True)
    assert refusal(folder) == (
        f"{upstream}: expected the runs of upstream's tests, run-1 …, found none; {ADVICE.format(upstream)}"
    )


def test_only_what_a_run_leaves_is_in_the_bundle(repeated: Repeated) -> None:
    folder = repeated(*ALL, selftests=ALL)
    _, files = made(folder)
    left = (
        *("run-1/console.log", "run-1/guest-2/model.log", "selftests/run-2/helpers.log", "selftests/run-2/console.log"),
        *(f"selftests/run-2/artifacts/ping/{name}" for name in ("output.txt", "attempt-2/guest-3/console.txt")),
    )
    other = ("run-1/README", "run-1/artifacts/SMOKE-A-01/wire.pcap", "run-1/guest-2/plan.json", "run-1/helpers.log")
    for name in (*left, *other):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    _, more = made(folder)
    assert set(more) - set(files) == set(left)
    verify(folder.with_name("bundle.tar"))


def test_the_page_of_a_register_trace_is_in_the_bundle(repeated: Repeated) -> None:
    trace = "artifacts/it/trace.txt"
    folder = repeated(*[{"result.artifacts": {"trace.txt": trace}}] * 3)
    for number in (1, 2, 3):
        (folder / f"run-{number}" / trace).write_text("0.000001 R CTRL: 0x00000001\n")
    _, files = made(folder)
    assert b"CTRL" in files["run-2/artifacts/it/trace.html"]
    verify(folder.with_name("bundle.tar"))


def test_upstreams_tests_of_another_driver_are_refused(repeated: Repeated) -> None:
    found = refusal(repeated(*ALL, selftests=({"run.driver": "gve"},) * 3))
    assert found == "expected runs of ixgbe, found selftests/run-1 of gve"


def test_runs_of_one_kind_in_place_of_the_others_are_refused(repeated: Repeated) -> None:
    folder = repeated(*ALL, selftests=ALL)
    (folder / "run-2").rename(folder / "aside")
    (folder / "selftests/run-1").rename(folder / "run-2")
    (folder / "aside").rename(folder / "selftests/run-1")
    assert refusal(folder) == (
        "run-2 is a run of upstream's tests, expected one of the suite; "
        "selftests/run-1 is a run of the suite, expected one of upstream's tests"
    )


@pytest.mark.parametrize(
    "field",
    [f', "selftests": "{"ef" * 32}"', ', "disruptive": true', ', "time_limit": 600.0', f', "source": "{SOURCE}"'],
)
def test_runs_that_do_not_say_what_upstreams_tests_hang_on_are_refused(repeated: Repeated, field: str) -> None:
    folder = repeated(*ALL, selftests=ALL)
    for number in (1, 2, 3):
        journal = folder / f"selftests/run-{number}/journal.jsonl"
        text = journal.read_text()
        assert text.count(field) == 1
        journal.write_text(text.replace(field, ""))
    assert "selftests/run-2 was made by a plugfest that did not record the testbed" in refusal(folder)
