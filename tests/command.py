# SPDX-License-Identifier: GPL-2.0-or-later
"""A command of plugfest, run in the process of the tests."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from plugfest import cli


@dataclass
class Finished:
    """What a command printed, and its exit status."""

    status: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The one line of an error; there must be no other."""
        (line,) = [line for line in self.err.splitlines() if line]
        assert line.startswith("plugfest: ")
        assert "Traceback" not in self.out + self.err
        return line.removeprefix("plugfest: ")


def run(capfd: pytest.CaptureFixture[str], *arguments: str) -> Finished:
    """Run a command."""
    capfd.readouterr()
    status = cli.status_of(arguments)
    captured = capfd.readouterr()
    return Finished(status, captured.out, captured.err)
