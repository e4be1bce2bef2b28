# SPDX-License-Identifier: GPL-2.0-or-later
"""A folder for the stand-in's runs, and what tests ask of a matrix."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.context import ForkProcess as Process
from pathlib import Path
from typing import Any

from made_run import run_event
from plugfest import cli
from plugfest.deadline import Deadline, poll
from plugfest.matrix import ledger
from plugfest.report import document

PROGRAM = (sys.executable, "-IS", str(Path(__file__).with_name("stand_in_run.py")))
"""What carries out a job in plugfest's place."""

TIMEOUT = 60.0
"""Seconds that anything takes at most on a busy host."""

TESTS = [
    {
        "test": f"smoke/test_it.py::test_{name}",
        "requirement": f"SMOKE-{name.upper()}-01",
        "area": "smoke",
        "level": "MUST",
    }
    for name in ("a", "b", "c")
]


def template() -> dict[str, Any]:
    """The journal and the report of a run of three tests that pass."""
    about = {"level": "MUST", "area": "smoke", "source": "a document", "sentence": "It works.", "procedure": []}
    about |= {"possible_problems": "", "falsified_by": ["a.b"], "falsified_as": "fail", "match": {}, "line": 1}
    requirements = [
        {"id": test["requirement"], "test": "test_it", "path": "smoke/test_it.py", **about} for test in TESTS
    ]
    nothing = {"steps": [], "evidence": [], "problems": [], "known_issue": None, "falsification": None, "artifacts": {}}
    journal = [
        run_event(),
        {"event": "planned", "requirements": requirements, "tests": [{**test, "fault": None} for test in TESTS]},
        *(
            {"event": "result", **test, "fault": None, "verdict": "pass", "reason": "", "seconds": 1.0, **nothing}
            for test in TESTS
        ),
        {"event": "end", "pytest_exit_status": 0},
    ]
    journal = [{**event, "time": 1_790_000_000.0 + number} for number, event in enumerate(journal)]
    return {"journal": journal, "report": document.build(journal)}


@dataclass
class StandIn:
    """The folder in which the stand-in's runs find what to do, and leave what they did."""

    home: Path
    processes: list[Process] = field(default_factory=list)
    watches: list[object] = field(default_factory=list)

    def does(self, **steps: Sequence[Mapping[str, Any]]) -> None:
        """Set what the runs of each driver do, one after the other; the last one repeats."""
        (self.home / "scenario.json").write_text(json.dumps(steps))

    def runs(self, driver: str) -> list[dict[str, Any]]:
        """What began, in order."""
        found = sorted(self.home.glob(f"begun-{driver}-*"), key=lambda path: int(path.name.rpartition("-")[2]))
        # A file whose process has not written it yet is of a run that has not begun.
        return [json.loads(text) for path in found if (text := path.read_text())]

    def ended(self, driver: str) -> int:
        return len([*self.home.glob(f"ended-{driver}-*")])

    def interrupted(self, driver: str) -> int:
        return len([*self.home.glob(f"interrupted-{driver}-*")])

    def ended_by_itself(self, driver: str) -> int:
        """How many interrupted runs have ended before they were killed."""
        return len([*self.home.glob(f"ended-by-itself-{driver}-*")])

    def interrupted_by(self, driver: str) -> list[int]:
        """The processes that interrupted the only run, each as often as it did."""
        (path,) = self.home.glob(f"ended-by-itself-{driver}-*")
        found: list[int] = json.loads(path.read_text())
        return found

    def go(self, *drivers: str) -> None:
        """Let the runs of drivers that wait go on."""
        for driver in drivers:
            (self.home / f"go-{driver}").touch()

    def start(self, *arguments: str) -> Process:
        """Start plugfest in a process of its own, a fork of this one: importing everything again would take a second."""
        process = multiprocessing.get_context("fork").Process(target=_run, args=(self.home / "log", arguments))
        self.processes.append(process)
        process.start()
        return process

    def log(self) -> str:
        """What the processes printed."""
        return (self.home / "log").read_text()


def _run(log: Path, arguments: Sequence[str]) -> None:
    os.setpgid(0, 0)  # as a shell starts a job: what a terminal sends goes to this process and its children alone
    with log.open("ab", buffering=0) as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
    status = cli.status_of(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def end(process: Process, number: signal.Signals | None = None) -> int:
    """Send a signal, if one is given, wait until a process has ended, and return its exit status."""
    if number is not None:
        os.kill(process.pid or 0, number)
    process.join(TIMEOUT)
    assert process.exitcode is not None, f"it has not ended within {TIMEOUT} s"
    return process.exitcode


def wait_for(condition: Callable[[], object], what: str) -> None:
    assert poll(lambda: bool(condition()), Deadline.after(TIMEOUT)), f"within {TIMEOUT} s not: {what}"


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    lines = (folder / ledger.NAME).read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == kind]


def counted(folder: Path) -> dict[str, list[str]]:
    """By job: the outcomes that count, of which there must be one."""
    found: dict[str, list[str]] = {}
    for event in events(folder, "end"):
        if "outcome" in event:
            found.setdefault(event["job"], []).append(event["outcome"])
    return found


def latest(parent: str = "results") -> Path:
    """The output folder of the newest matrix."""
    return max(Path(parent).glob(f"*/{ledger.NAME}")).parent.absolute()
