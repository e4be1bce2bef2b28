# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/findings.md is what docs/findings.py makes of the known issues and the suite."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet
from plugfest.requirements.drivers import drivers
from plugfest.requirements.known_issues import KnownIssue, Whose
from plugfest.requirements.requirement import Requirement

SCRIPT = Path(__file__).parents[2] / "docs" / "findings.py"


@pytest.fixture(scope="module")
def findings() -> dict:
    return runpy.run_path(str(SCRIPT))


def test_the_page_is_current(findings) -> None:
    assert findings["PAGE"].read_text(encoding="utf-8") == findings["current"](), "run python docs/findings.py"


def test_a_finding(findings) -> None:
    issue = KnownIssue(
        title="qemu: off by one",
        whose=Whose.QEMU,
        requirements=("A-B-01",),
        drivers=("igb", "e1000e"),
        kernels=SpecifierSet(">=7.3"),
        where=("hw/net/igb.c", "hw/net/igb_core.c:igb_write"),
        reason="It counts from 1.",
        link="https://example.org/1",
        profiles=("std",),
        parameters=("zero-copy",),
        complaint=re.compile("NETDEV WATCHDOG: "),
        intermittent=("A-B-01",),
    )
    requirement = Requirement("A-B-01", "MUST", "a source", "It counts from 0.", ("x.y",))
    tested = {name: drivers()[name] for name in ("igb", "e1000e", "ixgbe")}
    page = findings["render"]([issue], [requirement], tested)
    assert "1 findings" in page
    assert "| [igb](#igb) | Intel 82576 Gigabit | 0 | 0 | 1 | 0 |" in page
    assert "| [ixgbe](#ixgbe) | Intel 82599 10 Gigabit, backplane | 0 | 0 | 0 | 0 |" in page
    assert (
        "## igb\n\n### qemu: off by one\n\n"
        "**Bug of QEMU's device · Linux ≥ 7.3 · drivers igb, e1000e · profiles std · zero-copy only · not in each run**\n\n"
        "It counts from 1.\n\n- Source: `hw/net/igb.c`\n- Source: `hw/net/igb_core.c`, `igb_write()`\n- Reference: <https://example.org/1>\n"
        "- A-B-01 (MUST): It counts from 0.\n- In any test the kernel may complain: `NETDEV WATCHDOG: `\n\n"
        "## e1000e\n\n### qemu: off by one\n\nSee [igb](#igb).\n\n## ixgbe\n"
    ) in page
