# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run found, as texts for kernel developers."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from made_run import run_event
from plugfest.errors import InfrastructureError
from plugfest.findings import finding
from plugfest.machine.qemu import GUEST_ADDRESS, GUEST_AGENT_PORT
from plugfest.report import document

HOSTILE = "\x1b[2J\x00 end"
CALLS = [
    {"step": "Take it down", "depth": 0},
    {"end": "agent", "method": "link.set", "params": {"ifname": "eth0", "up": False}},
    {"step": "It says so", "depth": 1},
    {"end": "agent", "method": "link.get", "params": {"ifname": "eth0"}, "result": {"state": HOSTILE}},
    {"end": "model", "method": "link.partner", "params": {}},
]


def result(identity: str, verdict: str, **more: Any) -> dict[str, Any]:
    return {
        "event": "result", "test": f"link/test_it.py::test_{identity[-2:]}[a b]", "requirement": identity, "area": "link",
        "level": "MUST", "fault": None, "verdict": verdict, "reason": f"41 instead of 42 {HOSTILE}", "seconds": 1.0,
        "steps": [{"sentence": "Take it down", "depth": 0, "seconds": 1.0, "passed": True}], "evidence": [], "problems": [],
        "known_issue": None, "falsification": None, "artifacts": {}, **more,
    }  # fmt: skip


KNOWN = {"reason": "ixgbe: counts 41 frames", "link": "https://example.org/1"}


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """Makes a run of these results; returns its report and its folder."""

    def make(*results: dict[str, Any]) -> tuple[document.Document, Path]:
        requirements = [
            {
                "id": each["requirement"], "level": "MUST", "area": "link", "source": "Documentation/networking/operstates.rst",
                "sentence": "The driver counts each frame.", "procedure": [], "possible_problems": "", "falsified_by": ["a.b"],
                "falsified_as": "fail", "match": {}, "test": "test_it", "path": "link/test_it.py", "line": 1,
            }
            for each in results
        ]  # fmt: skip
        first = run_event(kernel={"spec": "trixie", "release": "7.3.4"})
        planned = {"event": "planned", "requirements": requirements, "tests": list(results)}
        events = [first, planned, *results, {"event": "end"}]
        folder = tmp_path / "results"
        for each in results:
            for path in each["artifacts"].values():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
        return document.build([{**event, "time": 1e9 + number} for number, event in enumerate(events)]), folder

    return make


def texts(found: document.Document, folder: Path) -> dict[str, str]:
    target = folder.with_name("texts")
    finding.write(finding.findings(found, folder), target)
    return {path.name: path.read_text() for path in target.iterdir()}


def test_each_verdict_against_the_driver_is_a_finding(run) -> None:
    verdicts = ["pass", "fail", "skip", "xfail", "error", "crash", "timeout", "unstable", "miss"]
    results = [result(f"LINK-X-{number:02}", verdict) for number, verdict in enumerate(verdicts, 1)]
    assert sorted(texts(*run(*results))) == [
        "LINK-X-02-a-b.txt", "LINK-X-04-a-b.txt", "LINK-X-06-a-b.txt", "LINK-X-07-a-b.txt", "index.txt",
    ]  # fmt: skip


def test_the_text_of_a_finding(run) -> None:
    kept = {name: f"artifacts/it/{name}" for name in ("calls.txt", "console.txt", "trace.txt", "wire.pcap")}
    found, folder = run(result("LINK-X-01", "fail", artifacts=kept))
    here = folder / "artifacts" / "it"
    (here / "calls.txt").write_text("".join(json.dumps(line) + "\n" for line in CALLS))
    (here / "console.txt").write_text(f"[ 1.0] before\n[ 2.0] plugfest: mark 87\n[ 3.0] link is down{HOSTILE}\n")
    (here / "trace.txt").write_text(
        "".join(f"{number:12.6f} {'RW'[number % 2]} TDT: TDT {number}\n" for number in range(60))
    )
    (here / "wire.pcap").write_bytes(b"no capture")
    lines = texts(found, folder)["LINK-X-01-a-b.txt"].splitlines()
    assert lines[0] == "Subject: ixgbe: fail: The driver counts each frame"
    text = "\n".join(lines)
    assert text.isprintable() or all(char.isprintable() or char == "\n" for char in text)
    assert "Kernel:   Linux 7.3.4 (trixie)" in lines
    assert "Device:   plugfest's model of ixgbe (kr), QEMU 11.1.3, tcg" in lines
    assert "  (Documentation/networking/operstates.rst)" in lines
    assert "  41 instead of 42 \\x1b[2J\\x00 end" in lines
    steps = lines[lines.index("Steps:") : lines.index("The kernel's log of the test:")]
    assert steps == [
        "Steps:",
        "  plugfest shell ixgbe --profile kr --kernel trixie",
        "  guest#   in the guest, by the ssh command that it prints",
        "  model>   in one session with the model's control socket: the line that plugfest shell prints for it",
        "",
        "  Take it down:",
        "    guest# ip link set dev eth0 down",
        "",
        "    It says so:",
        "    guest# ip -d -s link show dev eth0",
        '        {"state": "\\u001b[2J\\u0000 end"}',
        '    model> {"jsonrpc": "2.0", "id": 1, "method": "link.partner", "params": {}}',
        "",
    ]
    assert "  [ 1.0] before" in lines
    assert "mark 87" not in text
    writes = [line.split()[-1] for line in lines if " TDT: " in line]
    assert writes == [str(number) for number in range(21, 60, 2)]
    assert lines[-1] == "  plugfest run ixgbe --profile kr --kernel trixie -- -k LINK-X-01"


def test_the_commands_load_the_modules_of_the_run(run) -> None:
    found, folder = run(result("LINK-X-01", "fail"))
    found["run"]["options"]["modules"] = ["/home/someone/ixgbe.ko", "libeth 2.ko"]
    lines = texts(found, folder)["LINK-X-01-a-b.txt"].splitlines()
    more = "ixgbe --profile kr --kernel trixie --module ixgbe.ko --module 'libeth 2.ko'"
    assert lines[-1] == f"  plugfest run {more} -- -k LINK-X-01"


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_the_session_with_the_agent_is_one(run) -> None:
    found, folder = run(result("LINK-X-01", "fail", artifacts={"calls.txt": "artifacts/it/calls.txt"}))
    made = {"end": "agent", "method": "af_xdp.start", "params": {}}
    (folder / "artifacts/it/calls.txt").write_text(json.dumps(made) + "\n")
    lines = texts(found, folder)["LINK-X-01-a-b.txt"].splitlines()
    (command,) = [line.partition(" in one session of: ")[2] for line in lines if line.startswith("  agent>   ")]
    (typed,) = [line.partition("agent> ")[2] for line in lines if line.startswith("    agent> ")]
    address = f"/dev/tcp/{GUEST_ADDRESS}/{GUEST_AGENT_PORT}"
    assert address in command
    with socket.create_server(("127.0.0.1", 0)) as agent:
        agent.settimeout(30)
        here = command.replace(address, f"/dev/tcp/127.0.0.1/{agent.getsockname()[1]}") + "; wait"
        with subprocess.Popen(["bash", "-c", here], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as bash:
            connection, _ = agent.accept()
            with connection, connection.makefile("rw") as lines_of_agent:
                connection.settimeout(30)
                assert bash.stdin is not None
                bash.stdin.write(typed + "\n")
                bash.stdin.flush()
                assert json.loads(lines_of_agent.readline())["method"] == "af_xdp.start"
                lines_of_agent.write('{"id": 1, "result": 5}\n')
            assert bash.communicate(timeout=30)[0] == '{"id": 1, "result": 5}\n'


def test_an_older_run_has_the_sentences_of_its_steps(run) -> None:
    text = texts(*run(result("LINK-X-01", "fail")))["LINK-X-01-a-b.txt"]
    assert "Steps (the run did not keep the commands):\n  Take it down\n" in text


def test_a_known_issue_is_the_subject_and_lists_its_findings(run) -> None:
    reason = f"{KNOWN['reason']}, {KNOWN['link']} (found: fail: 41 instead of 42)"
    results = [result(f"LINK-X-{number:02}", "xfail", reason=reason, known_issue=KNOWN) for number in (1, 2)]
    found = texts(*run(*results))
    text = found["LINK-X-01-a-b.txt"]
    assert text.startswith("Subject: ixgbe: counts 41 frames\n")
    assert "\nFound:\n  41 instead of 42\n" in text
    assert "\nKnown issue:\n  ixgbe: counts 41 frames\n  https://example.org/1\n" in text
    assert found["index.txt"] == "ixgbe: counts 41 frames\n  LINK-X-01-a-b.txt\n  LINK-X-02-a-b.txt\n"


def test_what_the_kernel_complained_of_is_shown_instead_of_its_log(run) -> None:
    problem = "[ 9.0] BUG: kernel NULL pointer dereference\n[ 9.0] RIP: 0010:ixgbe_poll+0x10"
    text = texts(*run(result("LINK-X-01", "crash", problems=[problem])))["LINK-X-01-a-b.txt"]
    assert "The kernel's log of the test:\n  [ 9.0] BUG: kernel NULL pointer dereference\n  [ 9.0] RIP" in text


def test_a_path_that_leads_out_of_the_run_is_not_read(run) -> None:
    found, folder = run(result("LINK-X-01", "fail", artifacts={"console.txt": "../secret.txt"}))
    folder.with_name("secret.txt").write_text("secret")
    assert "secret" not in texts(found, folder)["LINK-X-01-a-b.txt"]


def test_two_variants_have_a_file_each(run) -> None:
    results = [result("LINK-X-01", "fail", test=f"link/test_it.py::test_it[{name}]") for name in ("a b", "a-b")]
    assert sorted(texts(*run(*results))) == ["LINK-X-01-a-b-.txt", "LINK-X-01-a-b.txt", "index.txt"]


def test_calls_that_were_edited(run) -> None:
    found, folder = run(result("LINK-X-01", "fail", artifacts={"calls.txt": "artifacts/it/calls.txt"}))
    (folder / "artifacts/it/calls.txt").write_text("no JSON\n")
    with pytest.raises(InfrastructureError, match=r"calls\.txt: expected JSON lines, found something else"):
        texts(found, folder)


def test_a_folder_that_cannot_be_written(run, tmp_path: Path) -> None:
    found, folder = run(result("LINK-X-01", "fail"))
    (tmp_path / "file").write_text("")
    with pytest.raises(InfrastructureError, match="file/texts: expected a folder to write the findings to"):
        finding.write(finding.findings(found, folder), tmp_path / "file" / "texts")
