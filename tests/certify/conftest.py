# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from made_runs import VERDICTS, Repeated, events


@pytest.fixture
def repeated(tmp_path: Path) -> Repeated:
    """Writes the folder of a repeated run: ``repeated({}, {"LINK-UP-01": "fail"}, {})``; a dict a run, of verdicts and changes."""

    def write(*runs: Mapping[str, Any]) -> Path:
        folder = tmp_path / "results"
        for number, changes in enumerate(runs, 1):
            verdicts = {**VERDICTS, **{key: value for key, value in changes.items() if "." not in key}}
            lines = events(number, verdicts, {key: value for key, value in changes.items() if "." in key})
            target = folder / f"run-{number}"
            target.mkdir(parents=True)
            (target / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
            (target / "plan.json").write_text('{"scratch": "/home/someone/.cache"}')
            for line in lines:
                for path in line.get("artifacts", {}).values():
                    (target / path).parent.mkdir(parents=True)
                    (target / path).write_text("a console\n")
        return folder

    return write
