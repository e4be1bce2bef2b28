# SPDX-License-Identifier: GPL-2.0-or-later
"""A requirement: what a driver must do, where that is written, and what would show that the test sees it fail."""

from __future__ import annotations

import ast
import functools
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar, get_args

from plugfest.errors import UsageError
from plugfest.requirements.netdev_flags import FLAGS
from plugfest.requirements.verdict import Verdict

Level = Literal["MUST", "SHOULD"]
Function = TypeVar("Function", bound=Callable[..., object])

ATTRIBUTE = "plugfest_requirements"
"""Where the decorator leaves the `Requirement`, a tuple of one or more, on the test function."""

SHAPE = (
    '@requirement("AREA-TOPIC-01", level="MUST", source="IEEE 802.3 … | Documentation/… | include/uapi/…", '
    'falsified_by="fault.point") above a test function whose docstring is the requirement\'s sentence'
)

_ID = re.compile(r"[A-Z][A-Z0-9]*(?:-[A-Z0-9]+)+-\d{2}")
_FAULT = re.compile(r"(?:(?:wire|program):)?[a-z0-9_]+(?:[.-][a-z0-9_]+)*")
_FALSIFIED_AS = (Verdict.FAIL, Verdict.CRASH, Verdict.TIMEOUT)


@dataclass(frozen=True)
class Requirement:
    """One requirement of the suite.

    Attributes:
        id: stable name, as ``XDP-BASIC-03``; never reused.
        level: ``MUST`` or ``SHOULD``, as RFC 2119 has them.
        source: where it is written: an IEEE clause, a kernel document, a UAPI header.
        sentence: the requirement, from the test's docstring, its first paragraph on one line.
        falsified_by: fault points, each of which alone must turn the verdict. Plain names are the model's;
            ``wire:…`` and ``program:…`` are those of `plugfest.falsify`.
        match: limits each fault, as ``{"queue": 3}``.
        falsified_as: the verdict that the faults must bring.
        variant: the parameter of the test that this is the requirement of; empty where the test has only one.
        proves: flags of netdev.yaml, as ``xdp-act:redirect``, that work where advertised if this holds.
        refuses: flags that the driver refuses cleanly where it does not advertise them, if this holds.
        procedure: the sentences of the test's steps, in the order of the source.
        possible_problems: the rest of the docstring: what else may make the test fail.
        test: the function's name.
        path: its file.
        line: its first line.
    """

    id: str
    level: Level
    source: str
    sentence: str
    falsified_by: tuple[str, ...]
    match: Mapping[str, object] = field(default_factory=dict, hash=False)
    falsified_as: Verdict = Verdict.FAIL
    variant: str = ""
    proves: tuple[str, ...] = ()
    refuses: tuple[str, ...] = ()
    procedure: tuple[str, ...] = ()
    possible_problems: str = ""
    test: str = ""
    path: Path = Path()
    line: int = 0

    @property
    def area(self) -> str:
        """The suite's top folder that the test is in, as ``xdp`` of ``xdp/af_xdp/test_rings.py``."""
        return self.place.parts[0]

    @property
    def place(self) -> Path:
        """The test's file, relative to the suite's folder; to its own folder where it is in none of the suite."""
        for folder in self.path.parents:
            if (folder / "pytest.ini").is_file():
                return self.path.relative_to(folder)
        return Path(self.path.parent.name) / self.path.name

    def describe(self) -> dict[str, object]:
        """Return what the journal and report.json hold of it."""
        return {
            "id": self.id,
            "level": self.level,
            "area": self.area,
            "source": self.source,
            "sentence": self.sentence,
            "procedure": list(self.procedure),
            "possible_problems": self.possible_problems,
            "falsified_by": list(self.falsified_by),
            "falsified_as": self.falsified_as,
            "match": dict(self.match),
            "proves": list(self.proves),
            "refuses": list(self.refuses),
            "test": self.test,
            "path": str(self.place),
            "line": self.line,
        }


def requirement(
    identifier: str,
    *,
    level: Level | Literal[""] = "",
    source: str = "",
    falsified_by: str | tuple[str, ...] = (),
    match: Mapping[str, object] | None = None,
    falsified_as: Literal["fail", "crash", "timeout"] = "fail",
    variant: str = "",
    proves: str | tuple[str, ...] = (),
    refuses: str | tuple[str, ...] = (),
) -> Callable[[Function], Function]:
    """Declare a test function to be the test of one requirement, or, used several times, of one for each variant of the test.

    Args:
        identifier: as ``XDP-BASIC-03``.
        level: ``MUST`` or ``SHOULD``.
        source: where the requirement is written.
        falsified_by: the fault points that must turn the verdict, each alone.
        match: limits the faults.
        falsified_as: the verdict that they must bring.
        variant: the parameter, of the test or of one of its fixtures, under which it tests this requirement.
        proves: flags of netdev.yaml that this shows to work, on a driver that advertises them.
        refuses: flags that this shows to be refused cleanly, by a driver that does not advertise them.

    Raises:
        UsageError: a part is missing or malformed, or there is no docstring; the message shows the right form.
    """

    def wrong(found: str) -> UsageError:
        return UsageError(f"requirement {identifier!r}: {found}; expected {SHAPE}")

    if not isinstance(identifier, str) or not _ID.fullmatch(identifier):
        raise wrong("the id is not AREA-TOPIC-NN in capitals")
    if level == "" or level not in get_args(Level):
        raise wrong(f"level {level!r} is neither MUST nor SHOULD")
    if not isinstance(source, str) or not source.strip():
        raise wrong("no source")
    faults = (falsified_by,) if isinstance(falsified_by, str) else tuple(falsified_by)
    if not faults or not all(isinstance(fault, str) and _FAULT.fullmatch(fault) for fault in faults):
        raise wrong(f"falsified_by={falsified_by!r} names no fault point")
    proven, refused = ((named,) if isinstance(named, str) else tuple(named) for named in (proves, refuses))
    for flag in (*proven, *refused):
        if flag not in FLAGS:
            raise wrong(f"{flag!r} is no flag of netdev.yaml: {', '.join(FLAGS)}")
    if falsified_as not in _FALSIFIED_AS:
        raise wrong(f"falsified_as={falsified_as!r} is none of fail, crash, timeout")

    def declare(function: Function) -> Function:
        sentence, problems = split_docstring(inspect.getdoc(function) or "")
        if not sentence:
            raise wrong(f"{function.__name__} has no docstring")
        found = Requirement(
            id=identifier,
            level=level,
            source=source.strip(),
            sentence=sentence,
            falsified_by=faults,
            match=dict(match or {}),
            falsified_as=Verdict(falsified_as),
            variant=variant,
            proves=proven,
            refuses=refused,
            procedure=procedure_of(function),
            possible_problems=problems,
            test=function.__name__,
            path=Path(function.__code__.co_filename),
            line=function.__code__.co_firstlineno,
        )
        others = requirements_of(function)
        if others and (not variant or any(other.variant in ("", variant) for other in others)):
            raise wrong(f"{function.__name__} has another requirement, and not each has a variant=… of its own")
        setattr(function, ATTRIBUTE, (found, *others))
        return function

    return declare


def split_docstring(text: str) -> tuple[str, str]:
    """Split a docstring into its first paragraph (one line) and the rest."""
    first, _, rest = text.strip().partition("\n\n")
    return " ".join(first.split()), rest.strip()


def procedure_of(function: Callable[..., object]) -> tuple[str, ...]:
    """Read the steps of a test from its source: each ``with step("…")``, nested ones too, in order.

    A test that was skipped, or that failed at its first step, still prints its whole procedure. An f-string's holes
    show as ``{expression}``.
    """
    try:
        source = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        return ()
    return tuple(_steps(ast.parse(source)))


def _steps(tree: ast.AST) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "step" and node.args:
            sentence = _sentence(node.args[0])
            if sentence is not None:
                yield sentence
        yield from _steps(node)


def _sentence(node: ast.expr) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else "{" + ast.unparse(part.value) + "}"
            for part in node.values
            if isinstance(part, ast.Constant | ast.FormattedValue)
        )
    return None


def requirements_of(function: object) -> tuple[Requirement, ...]:
    """Return the requirements that a test function was declared for, in the order of the source."""
    while isinstance(function, functools.partial):
        function = function.func
    found: tuple[Requirement, ...] = getattr(function, ATTRIBUTE, ())
    return found


class Registry:
    """The requirements of one collected suite, in the order of collection."""

    def __init__(self) -> None:
        """Start empty."""
        self._by_id: dict[str, Requirement] = {}

    def add(self, found: Requirement) -> None:
        """Add one; the same function may come again (parametrized tests).

        Raises:
            UsageError: another test has this id.
        """
        known = self._by_id.setdefault(found.id, found)
        if (known.path, known.test) != (found.path, found.test):
            raise UsageError(
                f"requirement {found.id} is declared twice: {known.path}:{known.line} ({known.test}) and "
                f"{found.path}:{found.line} ({found.test}); give the second an id of its own"
            )

    def __iter__(self) -> Iterator[Requirement]:
        """Iterate in the order of collection."""
        return iter(self._by_id.values())

    def __len__(self) -> int:
        """Count the requirements."""
        return len(self._by_id)
