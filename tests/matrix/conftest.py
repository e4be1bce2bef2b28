# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import run
from plugfest.matrix import attempt
from plugfest.run import sandbox
from stand_in import PROGRAM, StandIn, template


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch) -> Iterator[StandIn]:
    home = tmp_path / "stand-in"
    home.mkdir()
    (home / "template.json").write_text(json.dumps(template()))
    made = StandIn(home)
    made.does()
    for name in list(os.environ):
        if name.startswith("PLUGFEST_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("STAND_IN", str(home))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(attempt, "PROGRAM", PROGRAM)
    monkeypatch.setattr(attempt, "LOOK", 0.05)
    monkeypatch.setattr(sandbox, "check_host", lambda: None)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    yield made
    for process in made.processes:
        process.kill()
        process.join()


@pytest.fixture
def plugfest(stand_in, capfd):
    """Runs a command in this process; the jobs are carried out by the stand-in."""
    return functools.partial(run, capfd)


@pytest.fixture
def write(stand_in):
    """Writes a matrix of drivers, with more lines of ``[matrix]`` and ``[run]``."""

    def make(*drivers: str, run: str = "", more: str = "", name: str = "m.toml") -> Path:
        path = Path(name)
        path.write_text(f"[matrix]\ndrivers = {json.dumps(drivers)}\n{more}\n[run]\n{run}\n")
        return path

    return make
