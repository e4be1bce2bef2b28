# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest run --keep``, inside the run's namespaces: the same tests again and again, in a guest that stays up.

A guest costs seconds, a test often less. Whoever writes a test runs it, edits it, and runs it again.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from plugfest.cli.terminal import terminal
from plugfest.plugin.guest_manager import GuestManager
from plugfest.report import console as summary
from plugfest.report.write import write_reports
from plugfest.run import journal
from plugfest.run.plan import VARIABLE, RunPlan

PROMPT = "Press Enter to run the tests again with your edits, or Ctrl-D to end: "


def run_kept(arguments: Sequence[str]) -> int:
    """Run the tests, then again each time that the user presses Enter, until the end of the standard input.

    Each run after the first has an output folder of its own, ``run-2``, ``run-3`` …, in that of the first.

    Args:
        arguments: pytest's.

    Returns:
        The exit status of the last run.
    """
    plan = RunPlan.load(Path(os.environ[VARIABLE]))
    first, number = plan.output, 1
    console = terminal()
    try:
        while True:
            session = _Session()
            pytest.main(list(arguments), plugins=[session])
            if not any(event["event"] == "planned" for event in journal.read(plan.output)):
                console.print("No test was run: see above.")
                status = 3
            else:
                document = write_reports(plan.output)
                summary.render(document, console, folder=plan.output)
                status = int(document["run"]["exit_status"])
            if not _asked_again():
                return status
            number += 1
            plan = _next(plan, first, number)
            _forget(session.root)
    finally:
        GuestManager.close_kept()


def _asked_again() -> bool:
    print(PROMPT, end="", flush=True)  # noqa: T201 - a prompt
    try:
        return bool(sys.stdin.readline())
    except KeyboardInterrupt:
        return False


def _next(plan: RunPlan, first: Path, number: int) -> RunPlan:
    """Prepare the next run's output folder: its plan, and a journal that begins as the first one's."""
    follower = dataclasses.replace(plan, output=first / f"run-{number}")
    begin = next(event for event in journal.read(first) if event["event"] == "run")
    with journal.Journal(follower.output) as written:
        written.write("run", **{name: value for name, value in begin.items() if name not in ("event", "time")})
    path = follower.output / "plan.json"
    follower.dump(path)
    os.environ[VARIABLE] = str(path)
    return follower


def _forget(root: Path) -> None:
    """Have the suite's modules imported anew: pytest takes what it finds imported."""
    for name, module in list(sys.modules.items()):
        source = getattr(module, "__file__", None)
        if source and Path(source).is_relative_to(root):
            del sys.modules[name]


class _Session:
    """Notes pytest's root, the folder of the suite."""

    root = Path()

    def pytest_configure(self, config: pytest.Config) -> None:
        self.root = config.rootpath
