# SPDX-License-Identifier: GPL-2.0-or-later
"""The documentation is correct: its numbers, its example, its fixtures, its links."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import plugfest.plugin.fixtures
import pytest
from plugfest.plugin import suite
from plugfest.requirements import known_issues
from plugfest.requirements.drivers import drivers
from plugfest.requirements.known_issues import Subject
from plugfest.requirements.requirement import requirements_of

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_readmes_numbers() -> None:
    readme = text("README.md")
    ids = {found.id for found in suite.collect()}
    assert f"\n{len(ids)} requirements, each with its source" in readme
    issues = known_issues.load()
    assert f"has all {len(issues)}, each with its symptom" in readme
    assert len(drivers()) == 7, "the README lists seven drivers"
    named = re.findall(r"\b[A-Z0-9]+(?:-[A-Z0-9]+)+-\d{2}\b", readme)
    assert set(named) <= ids


def test_the_readmes_findings_are_listed() -> None:
    """Each bullet names a driver, and a requirement that a known issue of it makes fail on Linux 7.3."""
    bullets = re.findall(r"^- \*\*(\w+)\*\*[^*]*?\(([A-Z0-9-]+-\d{2})\)", text("README.md"), re.MULTILINE)
    assert len(bullets) == 5
    for driver, requirement in bullets:
        assert any(
            issue.applies(requirement, Subject(driver, "7.3.4"), ["zero-copy"]) for issue in known_issues.load()
        ), driver


def example() -> str:
    code, *_ = re.findall(r"```python\n(.*?)```", text("docs/writing-a-requirement.md"), re.DOTALL)
    return str(code)


def test_the_example_is_a_requirement(tmp_path) -> None:
    path = tmp_path / "test_example.py"
    path.write_text(example(), encoding="utf-8")
    (found,) = requirements_of(runpy.run_path(str(path))["test_half_ring"])
    assert found.id == "SMOKE-EXAMPLE-01"
    assert found.sentence == "With receive rings of half the size, frames go both ways, once and unchanged."
    assert len(found.procedure) == 2
    known = {fault for each in suite.collect() for fault in each.falsified_by}
    assert set(found.falsified_by) <= known


def test_the_fixtures_are_there() -> None:
    table = text("docs/writing-a-requirement.md").partition("## The fixtures")[2].partition("\n## ")[0]
    listed = {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    sources = [*Path(plugfest.plugin.fixtures.__path__[0]).glob("*.py"), ROOT / "conformance" / "conftest.py"]
    defined = {
        name
        for path in sources
        for name in re.findall(r"^@pytest\.fixture.*\ndef (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert len(listed) >= 20
    assert listed <= defined


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_error_lines_are_those_of_the_source() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "runner" / "plugfest").rglob("*.py"))
    cells = re.findall(r"^\| (`.*?) \|", text("docs/troubleshooting.md"), re.MULTILINE)
    lines = [line for cell in cells for line in re.findall(r"`(.*?)`", cell)]
    assert len(lines) > 20
    for line in lines:
        for piece in re.split(r"…|'x'|\bx\b|\bN\b|/dev/net/tun|/etc/apt|107|127\.0\.0\.1|vfio-user-pci", line):
            assert piece.strip(" :;,") in source, line
