# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest run --guests 2`` with real guests: run to its end, interrupted, and killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from plugfest.deadline import Deadline, poll
from plugfest.provision.settings import ProvisionSettings
from plugfest.run import journal

TIMEOUT = 240
TESTS = "SMOKE or LINK-CARRIER or LINK-DOWN"


@pytest.fixture
def start(provisioning: ProvisionSettings, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts a run into the folder ``out``."""
    started: list[subprocess.Popen[bytes]] = []

    def run(*options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "plugfest", "run", "ixgbe", "--guests", "2", "--output", str(tmp_path / "out")]
        # Not measured yet, the tests count with two seconds each: enough for two guests.
        started.append(subprocess.Popen([*command, *options, "--", "-k", TESTS]))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.wait()


def events(folder: Path, kind: str) -> list[dict]:
    if not (folder / journal.NAME).exists():
        return []
    return [dict(event) for event in journal.read(folder) if event["event"] == kind]


def wait_for_both(folder: Path, kind: str) -> None:
    both = poll(lambda: {event["guest"] for event in events(folder, kind)} == {1, 2}, Deadline.after(TIMEOUT))
    assert both, f"the journals have no event {kind} of both guests"


def descendants(process: int) -> list[int]:
    """The processes below one, and itself."""
    found = [process]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


def left(processes: list[int]) -> list[str]:
    """Those that still run."""
    names = []
    for process in processes:
        path = Path("/proc", str(process), "stat")
        if path.exists() and path.read_text().rpartition(")")[2].split()[0] != "Z":
            names.append(Path("/proc", str(process), "cmdline").read_text().replace("\0", " ")[:80])
    return names


def test_two_guests_run_the_tests_side_by_side(start, tmp_path: Path) -> None:
    assert start().wait(TIMEOUT) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert {result["verdict"] for result in report["results"]} <= {"pass", "skip", "xfail"}
    assert report["run"]["complete"] is True
    found = events(tmp_path / "out", "attempt")
    assert {event["guest"] for event in found} == {1, 2}
    assert len({event["test"] for event in found}) == len(report["results"])
    assert (tmp_path / "out" / "guest-2" / "console.log").stat().st_size
    page = (tmp_path / "out" / "report.html").read_text()
    assert 'href="guest-1/console.log"' in page


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_both(start, tmp_path: Path, number: signal.Signals) -> None:
    run = start()
    wait_for_both(tmp_path / "out", "attempt")
    processes = descendants(run.pid)
    os.kill(run.pid, number)
    assert run.wait(60) == 128 + number
    assert left(processes) == []
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["run"]["interrupted"] == "interrupted"
    assert report["summary"]["miss"] >= 2


def test_a_runner_that_is_killed_leaves_nothing_but_its_journals(start, tmp_path: Path) -> None:
    run = start()
    wait_for_both(tmp_path / "out", "attempt")
    processes = descendants(run.pid)
    assert len(processes) >= 8  # runner, launcher, init, coordinator; of each guest a worker and QEMU
    run.kill()
    run.wait()
    poll(lambda: not left(processes), Deadline.after(10))
    assert left(processes) == []
    done = subprocess.run(
        [sys.executable, "-m", "plugfest", "report", str(tmp_path / "out")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    running = {each["test"] for each in report["results"] if "was running when the run ended" in each["reason"]}
    begun, ended = ({event["test"] for event in events(tmp_path / "out", kind)} for kind in ("attempt", "result"))
    assert running == begun - ended
    assert running
