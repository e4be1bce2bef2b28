# SPDX-License-Identifier: GPL-2.0-or-later
"""The suite as files: its areas, how pytest is called on it, and what it requires."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from plugfest.errors import InfrastructureError, UsageError
from plugfest.location import conformance_root
from plugfest.plugin.state import REGISTRY
from plugfest.requirement import Requirement


def areas() -> list[str]:
    """Return the suite's areas: the folders that hold tests, sorted."""
    root = conformance_root()
    return sorted(path.name for path in root.iterdir() if path.is_dir() and any(path.glob("test_*.py")))


def check_areas(wanted: Sequence[str]) -> list[str]:
    """Return the areas asked for, or all.

    Raises:
        UsageError: there is no such area; the message lists all.
    """
    known = areas()
    for area in wanted:
        if area not in known:
            raise UsageError(f"--area {area}: expected one of {', '.join(known)}")
    return list(wanted) or known


def pytest_arguments(wanted: Sequence[str], more: Sequence[str] = ()) -> list[str]:
    """Return pytest's arguments that select areas of the suite.

    Args:
        wanted: areas.
        more: the user's own arguments; test files and node ids among them, within the suite, take the areas' place.
    """
    root = conformance_root()
    arguments = [
        *("-p", "plugfest.plugin", "-p", "no:cacheprovider", "--import-mode=importlib"),
        *(f"--rootdir={root}", f"--confcutdir={root}", "-c", str(root / "pytest.ini"), "-qq", "--disable-warnings"),
    ]
    chosen = [argument for argument in more if _is_path(argument)]
    others = [argument for argument in more if not _is_path(argument)]
    places = [_within(root, argument) for argument in chosen] or [str(root / area) for area in wanted]
    return [*arguments, *others, *places]


def _is_path(argument: str) -> bool:
    return not argument.startswith("-") and argument.partition("::")[0].endswith(".py")


def _within(root: Path, argument: str) -> str:
    """Find a test file that the user named from the suite's folder, from its parent or from here."""
    file, separator, rest = argument.partition("::")
    for candidate in (root / file, root.parent / file, Path(file)):
        if candidate.is_file():
            return f"{candidate.resolve()}{separator}{rest}"
    raise UsageError(
        f"{argument}: expected a test file of the suite, as {areas()[0]}/test_….py; "
        "plugfest requirements lists what there is"
    )


class _Collector:
    def __init__(self) -> None:
        self.found: list[Requirement] = []

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        registry = session.config.stash[REGISTRY]
        self.found = list(registry)


def collect(wanted: Sequence[str] = ()) -> list[Requirement]:
    """Read the suite's requirements without running it.

    Args:
        wanted: areas; none for all.

    Raises:
        UsageError: there is no such area.
        InfrastructureError: the suite cannot be collected.
    """
    collector = _Collector()
    arguments = [*pytest_arguments(check_areas(wanted)), "--collect-only"]
    said = io.StringIO()
    keep = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            status = pytest.main(arguments, plugins=[collector])
    finally:
        sys.dont_write_bytecode = keep
    if status != pytest.ExitCode.OK:
        lines = [line for line in said.getvalue().splitlines() if line.startswith(("E ", "ERROR"))] or [
            "nothing was said"
        ]
        raise InfrastructureError(
            f"the suite in {conformance_root()}: expected to be collected, found {lines[0].removeprefix('E').strip()}"
        )
    return collector.found
