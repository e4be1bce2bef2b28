# SPDX-License-Identifier: GPL-2.0-or-later
"""The layers of plugfest: which room may import which, and that names and modules do not go in circles."""

from __future__ import annotations

import ast
from collections import defaultdict
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "runner" / "plugfest"
BASE = "base"
"""The modules that lie in no room: errors, choice, location, deadline, faults."""
ENTRY = {"plugfest.__main__"}
"""What starts the program, above all rooms."""
ORDER = (
    BASE,
    "frames",
    "requirements",
    "provision",
    "run",
    "build",
    "patch",
    "machine",
    "statistics",
    "dut",
    "link",
    "queues",
    "timestamps",
    "traffic",
    "xdp",
    "persistence",
    "falsify",
    "report",
    "certify",
    "findings",
    "history",
    "site",
    "plugin",
    "selftests",
    "matrix",
    "cli",
)
"""Each room may import those before it."""


@cache
def modules() -> dict[str, ast.Module]:
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")
        found[name] = ast.parse(path.read_text())
    return found


def imports() -> dict[str, set[str]]:
    """By module: which others it imports, those of ``if TYPE_CHECKING`` too."""
    known = modules()
    found: dict[str, set[str]] = {}
    for name, tree in known.items():
        mine: set[str] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                mine |= {each.name for each in node.names if each.name in known}
            elif isinstance(node, ast.ImportFrom) and node.module in known:
                names = (f"{node.module}.{each.name}" for each in node.names)
                mine |= {each if each in known else node.module for each in names}
        found[name] = mine - {name}
    return found


def room(module: str) -> str:
    name = module.split(".")[1] if "." in module else ""
    return name if (ROOT / name / "__init__.py").is_file() and name else BASE


def test_every_room_has_its_place() -> None:
    assert {room(module) for module in modules()} == set(ORDER)


def test_rooms_import_in_one_direction() -> None:
    wrong = [
        f"{module} imports {other}"
        for module, others in imports().items()
        for other in others
        if module not in ENTRY and ORDER.index(room(other)) > ORDER.index(room(module))
    ]
    assert wrong == []


def test_frames_stand_alone() -> None:
    outside = {other for module, others in imports().items() if room(module) == "frames" for other in others}
    assert {each for each in outside if room(each) != "frames"} == set()


def test_what_measures_knows_neither_pytest_nor_that_it_is_falsified() -> None:
    views = {"statistics", "dut", "link", "queues", "timestamps", "traffic", "xdp", "persistence"}
    known = {room(other) for module, others in imports().items() if room(module) in views for other in others}
    assert known & {"plugin", "falsify"} == set()
    assert not [module for module, tree in modules().items() if room(module) in views and "pytest" in ast.dump(tree)]


def test_the_machine_knows_no_dut() -> None:
    known = {room(other) for module, others in imports().items() if room(module) == "machine" for other in others}
    assert "dut" not in known


def test_no_module_imports_itself_through_others() -> None:
    try:
        tuple(TopologicalSorter(imports()).static_order())
    except CycleError as error:
        pytest.fail(f"a cycle: {' -> '.join(error.args[1])}")


def test_no_two_public_classes_have_one_name() -> None:
    found = defaultdict(list)
    for module, tree in modules().items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(module)
    assert {name: where for name, where in found.items() if len(where) > 1} == {}
