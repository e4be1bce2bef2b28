# SPDX-License-Identifier: GPL-2.0-or-later
"""An installed wheel has the suite and the recipes, and finds them."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(folder),
        str(ROOT),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (made,) = folder.glob("plugfest-*.whl")
    return made


def test_it_holds_what_a_run_needs(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in (
        "nicmodels/__main__.py",
        "nicmodels/template/device.py.in",
        "plugfest/cli/__init__.py",
        "plugfest/requirements/known-issues.toml",
        "plugfest/report/templates/report.html",
        "plugfest/report/templates/report.css",
        "plugfest/report/templates/report.js",
        "plugfest/report/templates/table.html",
        "plugfest/report/templates/table.js",
        "plugfest/site/templates/index.html",
        "plugfest/site/templates/site.css",
        "plugfest/report/schema/report.schema.json",
        "plugfest/conformance/pytest.ini",
        "plugfest/conformance/xdp/test_features.py",
        "plugfest/guest-images/init",
        "plugfest/guest-images/kernel-arguments",
    ):
        assert name in names
    assert not any("__pycache__" in name for name in names)
    assert any(name.endswith("licenses/LICENSES/MIT.txt") for name in names)
    (scripts,) = [name for name in names if name.endswith(".dist-info/entry_points.txt")]
    assert b"nicmodels = nicmodels.__main__:main\n" in zipfile.ZipFile(wheel).read(scripts)


def test_it_finds_the_suite_and_the_recipes(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    program = (
        "import plugfest.location as l, plugfest.plugin.suite as s, nicmodels\n"
        "print(l.conformance_root(), l.recipes_root(), nicmodels.__file__, len(s.collect()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    suite, recipes, models, count = done.stdout.split()
    assert (suite, recipes) == (str(tmp_path / "plugfest/conformance"), str(tmp_path / "plugfest/guest-images"))
    assert models.startswith(str(tmp_path))
    assert int(count) > 30
