# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest run --keep``: the guest stays up, and an edited test runs in it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from plugfest.deadline import Deadline, poll
from plugfest.provision.settings import ProvisionSettings
from plugfest.run import journal

TEST = '''
from plugfest.requirements.requirement import requirement

@requirement("SMOKE-KEEP-01", level="MUST", source="a document", falsified_by="wire:frame.lost")
def test_it(guest):
    """The guest runs a command."""
    assert guest.run("echo {text}").stdout == "hello\\n"
'''
TIMEOUT = 120


def verdicts(folder: Path) -> list[str]:
    path = folder / journal.NAME
    return [event["verdict"] for event in journal.read(path) if event["event"] == "result"] if path.exists() else []


def test_an_edited_test_runs_in_the_same_guest(provisioning: ProvisionSettings, tmp_path: Path) -> None:
    suite = tmp_path / "conformance"
    (suite / "smoke").mkdir(parents=True)
    (suite / "pytest.ini").write_text("[pytest]\naddopts = -p plugfest.plugin --strict-markers\n")
    test = suite / "smoke" / "test_keep.py"
    test.write_text(TEST.format(text="goodbye"))
    output = tmp_path / "output"
    program = (
        "import pathlib, sys\n"
        "from plugfest import location\n"
        f"location.conformance_root = lambda: pathlib.Path({str(suite)!r})\n"
        "from plugfest.cli import main\n"
        "sys.exit(main())\n"
    )
    command = [sys.executable, "-c", program, "run", "ixgbe", "--area", "smoke", "--keep", "--output", str(output)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env={**os.environ, "NO_COLOR": "1"}) as run:
        assert run.stdin is not None
        poll(lambda: verdicts(output), Deadline.after(TIMEOUT))
        test.write_text(TEST.format(text="hello"))
        run.stdin.write(b"\n")
        run.stdin.flush()
        poll(lambda: verdicts(output / "run-2"), Deadline.after(TIMEOUT))
        run.stdin.close()
        status = run.wait(TIMEOUT)
    assert (verdicts(output), verdicts(output / "run-2"), status) == (["fail"], ["pass"], 0)
    reasons = [event["reason"] for event in journal.read(output / "run-2") if event["event"] == "boot"]
    assert reasons == ["kept from the run before"]
