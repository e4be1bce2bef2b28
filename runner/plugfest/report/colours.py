# SPDX-License-Identifier: GPL-2.0-or-later
"""The verdicts' colours on the console."""

from __future__ import annotations

from plugfest.requirements.verdict import Verdict

STYLES = {
    Verdict.PASS: "green",
    Verdict.FAIL: "bold red",
    Verdict.SKIP: "yellow",
    Verdict.XFAIL: "magenta",
    Verdict.ERROR: "bold bright_red",
    Verdict.CRASH: "bold white on red",
    Verdict.TIMEOUT: "bold dark_orange",
    Verdict.UNSTABLE: "bold yellow",
    Verdict.QUARANTINED: "blue",
    Verdict.BLOCKED: "bold bright_black",
    Verdict.MISS: "bold cyan",
}
"""rich styles."""
