# SPDX-License-Identifier: GPL-2.0-or-later
"""A requirement: what a driver must do, where that is specified, and the faults that show that its test can fail."""

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
from plugfest.requirements.base import Base
from plugfest.requirements.netdev_flags import FLAGS
from plugfest.requirements.verdict import Verdict

Level = Literal["MUST", "SHOULD"]
Function = TypeVar("Function", bound=Callable[..., object])

ATTRIBUTE = "plugfest_requirements"
"""The attribute of a test function in which the decorator stores its tuple of `Requirement`."""

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
        level: ``MUST`` or ``SHOULD``, as in RFC 2119.
        source: where it is specified: an IEEE clause, a kernel document, a UAPI header.
        sentence: the requirement: the first paragraph of the test's docstring, on one line.
        falsified_by: fault points, each of which must change the verdict on its own. Names without a prefix are the model's,
            ``wire:…`` and ``program:…`` are those of `plugfest.falsify`.
        match: restricts each fault, as ``{"queue": 3}``.
        falsified_as: the verdict that the faults must cause.
        variant: the parameter of the test that this requirement belongs to; empty if the test has one requirement.
        proves: flags of netdev.yaml, as ``xdp-act:redirect``, that a pass shows to work on a driver that advertises them.
        refuses: flags for which a pass shows a clean error on a driver that does not advertise them.
        base: what others stand on, if this requirement says whether the driver provides it; such requirements are tested first.
        keeps: the setting that must stay in effect over each of the test's operations; empty if the requirement is not of that kind.
        fault_from_step: the step of the test with which the model's faults begin, from 1: the steps before it see a sound device.
        procedure: the sentences of the test's steps, in source order.
        possible_problems: the rest of the docstring: other reasons for the test to fail.
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
    base: Base | None = None
    keeps: str = ""
    fault_from_step: int = 1
    possible_problems: str = ""
    test: str = ""
    path: Path = Path()
    line: int = 0
    function: Callable[..., object] | None = field(default=None, compare=False, repr=False)

    @functools.cached_property
    def procedure(self) -> tuple[str, ...]:
        """The steps of the test; read when they are asked for, since that takes longer than importing the test."""
        return () if self.function is None else procedure_of(self.function)

    @property
    def area(self) -> str:
        """The suite's top folder that the test is in, as ``xdp`` of ``xdp/af_xdp/test_rings.py``."""
        return self.place.parts[0]

    @property
    def place(self) -> Path:
        """The test's file, relative to the suite's folder, or to its own folder if it is not part of a suite."""
        for folder in self.path.parents:
            if (folder / "pytest.ini").is_file():
                return self.path.relative_to(folder)
        return Path(self.path.parent.name) / self.path.name

    def describe(self) -> dict[str, object]:
        """Return its entry in the journal and in report.json."""
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
            "base": self.base,
            "keeps": self.keeps or None,
            "fault_from_step": self.fault_from_step,
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
    base: Literal["netdev", "link", "ping"] | None = None,
    keeps: str = "",
    fault_from_step: int = 1,
) -> Callable[[Function], Function]:
    """Declare the requirement that a test function checks; use it several times for one requirement per variant of the test.

    Args:
        identifier: as ``XDP-BASIC-03``.
        level: ``MUST`` or ``SHOULD``.
        source: where the requirement is specified.
        falsified_by: the fault points, each of which must change the verdict on its own.
        match: restricts the faults.
        falsified_as: the verdict that they must cause.
        variant: the parameter, of the test or of one of its fixtures, with which it checks this requirement.
        proves: flags of netdev.yaml that a pass shows to work, on a driver that advertises them.
        refuses: flags for which a pass shows a clean error, on a driver that does not advertise them.
        base: what others stand on, if this says whether the driver provides it: if it fails, they are blocked.
        keeps: the setting that stays in effect over each of the test's operations, a name in `plugfest.persistence.table`.
        fault_from_step: the faults of the model begin with this step of the test.

    Raises:
        UsageError: an argument or the docstring is missing or malformed; the message shows the correct form.
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
            raise wrong(f"{flag!r} is not a flag of netdev.yaml: {', '.join(FLAGS)}")
    if falsified_as not in _FALSIFIED_AS:
        raise wrong(f"falsified_as={falsified_as!r} is not one of fail, crash, timeout")
    if base is not None and base not in set(Base):
        raise wrong(f"base={base!r} is not one of {', '.join(Base)}")

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
            base=None if base is None else Base(base),
            keeps=keeps,
            fault_from_step=fault_from_step,
            possible_problems=problems,
            test=function.__name__,
            path=Path(function.__code__.co_filename),
            line=function.__code__.co_firstlineno,
            function=function,
        )
        others = requirements_of(function)
        if others and (not variant or any(other.variant in ("", variant) for other in others)):
            raise wrong(f"{function.__name__} has several requirements, and each needs its own variant=…")
        setattr(function, ATTRIBUTE, (found, *others))
        return function

    return declare


def split_docstring(text: str) -> tuple[str, str]:
    """Split a docstring into its first paragraph (one line) and the rest."""
    first, _, rest = text.strip().partition("\n\n")
    return " ".join(first.split()), rest.strip()


def procedure_of(function: Callable[..., object]) -> tuple[str, ...]:
    """Read the steps of a test from its source: each ``with step("…")``, nested ones too, in order.

    So the reports have the whole procedure of a test that was skipped or failed at its first step. Replacement fields of an f-string
    become ``{expression}``.
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
    """Return the requirements of a test function, in source order."""
    while isinstance(function, functools.partial):
        function = function.func
    found: tuple[Requirement, ...] = getattr(function, ATTRIBUTE, ())
    return found


class Registry:
    """The requirements of a collected suite, in collection order."""

    def __init__(self) -> None:
        """Start empty."""
        self._by_id: dict[str, Requirement] = {}

    def add(self, found: Requirement) -> None:
        """Add a requirement; adding the same one again, for a parametrized test, has no effect.

        Raises:
            UsageError: another test has the same id.
        """
        known = self._by_id.setdefault(found.id, found)
        if (known.path, known.test) != (found.path, found.test):
            raise UsageError(
                f"requirement {found.id} is declared twice: {known.path}:{known.line} ({known.test}) and "
                f"{found.path}:{found.line} ({found.test}); choose a new id for the second"
            )

    def __iter__(self) -> Iterator[Requirement]:
        """Iterate in collection order."""
        return iter(self._by_id.values())

    def __len__(self) -> int:
        """Count the requirements."""
        return len(self._by_id)
