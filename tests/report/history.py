# SPDX-License-Identifier: GPL-2.0-or-later
"""Journals of made-up runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from made_run import run_event
from plugfest.report import document
from plugfest.run import journal

HOSTILE = "<script>alert('x')</script> & \"quoted\" # hash \x1b[31m\x00 end"

START = 1_790_000_000.0


class History:
    """Writes the journal of a run, event by event."""

    def __init__(self, *, falsify: bool = False, subject: str = "model") -> None:
        text = "plugfest's model of ixgbe (kr)" if subject == "model" else "QEMU's igb"
        self.events: list[dict[str, Any]] = []
        self._time = START
        self._tests: list[dict[str, Any]] = []
        self._requirements: dict[str, dict[str, Any]] = {}
        about = {"kind": subject, "name": "ixgbe", "profile": "kr" if subject == "model" else None, "text": text}
        accel = {"name": "tcg", "reason": "/dev/kvm opens, but a guest on it did not boot within 5 s"}
        self.add(**run_event({"falsify": falsify}, subject=about, accel=accel))
        self.planned = self.add("planned", requirements=[], tests=[])

    def add(self, event: str, **fields: object) -> dict[str, Any]:
        self._time += 1
        self.events.append({"event": event, "time": self._time, **fields})
        return self.events[-1]

    def boot(self) -> None:
        model = {"name": "ixgbe", "version": "0.1.0", "profile": "kr", "mac": "02:70:66:00:00:01"}
        self.add(
            "boot",
            seconds=1.25,
            how="snapshot",
            reason="the first one",
            speed=0.125,
            model=model,
            driver="7.3.4, srcversion 8A3",
        )

    def plan(
        self, requirement: str, name: str | None = None, *, fault: str | None = None, **more: object
    ) -> dict[str, Any]:
        area = requirement.split("-", maxsplit=1)[0].lower()
        name = name or "test_" + requirement.lower().replace("-", "_")
        path = f"{area}/test_{area}.py"
        self._requirements.setdefault(
            requirement,
            {
                "id": requirement,
                "level": "MUST",
                "area": area,
                "source": "Documentation/networking/operstates.rst",
                "sentence": f"The driver does what {requirement} requires.",
                "procedure": ["Take the partner down", "Bring the partner up"],
                "possible_problems": "",
                "falsified_by": ["link.report.stuck"],
                "falsified_as": "fail",
                "match": {},
                "test": name,
                "path": path,
                "line": 12,
                **more,
            },
        )
        test = {"test": f"{path}::{name}", "requirement": requirement, "area": area, "level": "MUST", "fault": fault}
        self.planned["tests"].append(test)
        self.planned["requirements"] = list(self._requirements.values())
        return test

    def attempt(self, test: Mapping[str, Any]) -> None:
        self.add("attempt", **test)

    def result(self, test: Mapping[str, Any], verdict: str, reason: str = "", **more: object) -> None:
        self.attempt(test)
        fields = {
            "steps": [
                {"sentence": "Take the partner down", "depth": 0, "seconds": 0.25, "passed": True},
                {"sentence": "Bring the partner up", "depth": 0, "seconds": 1.5, "passed": verdict == "pass"},
            ],
            "evidence": [],
            "problems": [],
            "known_issue": None,
            "falsification": None,
            "artifacts": {},
            **more,
        }
        self.add("result", **test, verdict=verdict, reason=reason, seconds=1.75, **fields)

    def tried_twice(self, test: Mapping[str, Any], verdict: str, reason: str) -> None:
        attempt = {"seconds": 1.75, "steps": [], "evidence": [], "problems": [], "artifacts": {}, "start": self._time}
        first, second = {**attempt, "verdict": "fail", "reason": "41"}, {**attempt, "verdict": "pass", "reason": ""}
        self.result(test, verdict, reason, attempts=[first, second])

    def block(self, test: Mapping[str, Any], by: str) -> None:
        nothing = {
            "steps": [],
            "evidence": [],
            "problems": [],
            "known_issue": None,
            "falsification": None,
            "artifacts": {},
        }
        reason = f"stands on {by}, which is fail: no carrier"
        self.add("result", **test, verdict="blocked", reason=reason, seconds=0, blocked_by=by, **nothing)

    def stop(self, reason: str, exit_status: int | None) -> None:
        self.add("stopped", reason=reason, exit_status=exit_status)

    def end(self) -> None:
        self.add("end", pytest_exit_status=0)

    def document(self, **more: Any) -> Mapping[str, Any]:
        found = document.build(self.events, **more)
        document.validate(found, "the test's")
        return found

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / journal.NAME).write_text("".join(json.dumps(event) + "\n" for event in self.events))
