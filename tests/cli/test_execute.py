# SPDX-License-Identifier: GPL-2.0-or-later
"""What the process inside the run's namespaces inherits from the one outside."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from plugfest.cli import execute
from plugfest.errors import InfrastructureError
from plugfest.run import sandbox

PROGRAM = """
import functools, pathlib, pytest
from scapy.layers.inet import IP
from scapy.layers.l2 import Ether
from plugfest.cli import execute
from plugfest.run import sandbox

def main(arguments):
    print(bytes(Ether(dst="02:00:00:00:00:01") / IP(dst="198.18.0.2"))[6:12].hex(), IP(dst="198.18.0.2").src)
    return 0

execute.pytest.main = main
payload = functools.partial(execute.run_pytest, pathlib.Path("plan.json"), ("-q",), keep=False)
sandbox.enter(payload, folder=pathlib.Path("run"))
"""


def test_no_address_of_the_host_is_a_default_inside(tmp_path: Path) -> None:
    """Whatever scapy fills in must not depend on the host's network."""
    try:
        sandbox.check_host()
    except InfrastructureError as error:
        pytest.skip(str(error))
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["000000000000", "0.0.0.0"]


def test_folders_of_files_that_pytest_writes_stay_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    asked = (
        "--junitxml=found.xml",
        "--basetemp",
        "ci/base",
        "--log-file=~/run.log",
        "--durations-min=0.5",
        "--ignore=/x/y.py",
        "-k",
        "xdp",
    )
    assert execute._named_folders(asked) == [tmp_path, tmp_path / "ci", tmp_path / "home"]
    assert (tmp_path / "ci").is_dir()
