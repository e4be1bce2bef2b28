# SPDX-License-Identifier: GPL-2.0-or-later
"""The suite as files: its areas, how pytest is called on it, and what it requires."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from plugfest.choice import advice
from plugfest.errors import InfrastructureError, UsageError
from plugfest.location import conformance_root
from plugfest.plugin.state import REGISTRY
from plugfest.requirements.requirement import Requirement


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
            hint = advice(area, known, "leave it out for all")
            raise UsageError(f"--area {area}: expected one of {', '.join(known)}; {hint}")
    return list(wanted) or known


def pytest_arguments(wanted: Sequence[str], more: Sequence[str] = (), *, slow: bool = True) -> list[str]:
    """Return pytest's arguments that select areas of the suite.

    Args:
        wanted: areas.
        more: the user's own arguments; test files and node ids among them, within the suite, take the areas' place.
        slow: also what takes minutes each; so does the user who names files; marks of the user's own come after this one, and count.
    """
    root = conformance_root()
    arguments = [
        *("-p", "plugfest.plugin", "-p", "no:cacheprovider", "--import-mode=importlib"),
        *(
            "-p",
            "no:hypothesispytest",
        ),  # where it is installed: its import takes two seconds, and the suite has no use for it
        *(f"--rootdir={root}", f"--confcutdir={root}", "-c", str(root / "pytest.ini"), "-qq", "--disable-warnings"),
    ]
    chosen = [argument for argument in more if _is_path(argument)]
    others = [argument for argument in more if not _is_path(argument)]
    places = [_within(root, argument) for argument in chosen] or [str(root / area) for area in wanted]
    if not (slow or chosen):
        arguments += ["-m", "not slow"]
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
    with _bytecode_in(None):
        status, output = _collect(pytest_arguments(check_areas(wanted)), collector)
    if status != pytest.ExitCode.OK:
        raise InfrastructureError(
            f"the suite in {conformance_root()}: expected to be collected, found {_first_error(output)}"
        )
    return collector.found


def check_selection(arguments: Sequence[str], more: Sequence[str], *, cache: Path) -> None:
    """See that pytest understands its arguments and that they select a test, before anything is fetched or booted.

    The suite's modules stay imported, so that a process forked later collects it in a fraction of the time.

    Args:
        arguments: all of them, from `pytest_arguments`.
        more: those of the user, for the message.
        cache: folder in which pytest may keep the modules as it has rewritten and compiled them.

    Raises:
        UsageError: not so.
        InfrastructureError: the suite cannot be collected.
    """
    words = " ".join(more) or "none"
    with _bytecode_in(cache / "bytecode"):
        status, output = _collect(arguments, _Collector())
    if status == pytest.ExitCode.USAGE_ERROR:
        raise UsageError(
            f"pytest's arguments ({words}): expected what pytest understands, found {_first_error(output)}"
        )
    if status == pytest.ExitCode.NO_TESTS_COLLECTED:
        raise UsageError(
            f"pytest's arguments ({words}): expected to select a test, found none; plugfest requirements lists them"
        )
    if status != pytest.ExitCode.OK:
        raise InfrastructureError(
            f"the suite in {conformance_root()}: expected to be collected, found {_first_error(output)}"
        )


def _collect(arguments: Sequence[str], collector: _Collector) -> tuple[int, str]:
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        status = pytest.main([*arguments, "--collect-only"], plugins=[collector])
    return int(status), output.getvalue()


@contextlib.contextmanager
def _bytecode_in(folder: Path | None) -> Iterator[None]:
    """Keep bytecode in a folder, beside which the suite's own folder stays as it is; None to keep none."""
    before = sys.dont_write_bytecode, sys.pycache_prefix
    sys.dont_write_bytecode = folder is None
    if folder is not None:
        sys.pycache_prefix = str(folder)
    try:
        yield
    finally:
        sys.dont_write_bytecode, sys.pycache_prefix = before


_ERRORS = (
    re.compile(r"^E +(\S.*)", re.MULTILINE),
    re.compile(r": error: (.+)"),
    re.compile(r"^ERROR: (.+)", re.MULTILINE),
)


def _first_error(output: str) -> str:
    """Find the line of pytest's output that names the error: a broken module, a bad argument, anything else."""
    for pattern in _ERRORS:
        found = pattern.search(output)
        if found is not None:
            return found[1].strip()
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"
