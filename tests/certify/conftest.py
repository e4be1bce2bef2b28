# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from made_runs import Repeated, write_runs


@pytest.fixture
def repeated(tmp_path: Path) -> Repeated:
    """Writes the folder of repeated runs: ``repeated({}, {"LINK-UP-01": "fail"}, {})``; a dict a run, of verdicts and changes.

    With ``selftests`` upstream's tests too, likewise; a change has a dot and no slash.
    """

    def write(*runs: Mapping[str, Any], selftests: Sequence[Mapping[str, Any]] = ()) -> Path:
        folder = tmp_path / "results"
        write_runs(folder, runs, selftests)
        return folder

    return write
