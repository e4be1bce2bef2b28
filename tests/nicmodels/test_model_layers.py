# SPDX-License-Identifier: GPL-2.0-or-later
"""The layers of `nicmodels`: imports go down, no modules import each other in a circle, and nothing of plugfest is imported."""

from __future__ import annotations

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import nicmodels
import pytest

ROOT = Path(nicmodels.__file__).parent
LAYERS = (
    {"clock", "events", "ethernet"},
    {"failures", "violations"},
    {"pci"},
    {"vfio_user"},
    {"registers", "wire"},
    {"rings", "offload"},
    {"faults"},
    {"phy"},
    {"nic"},
    {"models"},
    {"server", "new_model"},
    {"__main__"},
)
"""Bottom up. Folders of one layer do not import each other."""
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


@cache
def modules() -> dict[str, Path]:
    """All modules of the package but itself."""
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = ("nicmodels", *path.relative_to(ROOT).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    del found["nicmodels"]
    return found


def imported(path: Path) -> set[str]:
    """The names that a module imports, in its functions and under TYPE_CHECKING too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: expected absolute imports"
            assert node.module is not None
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name for name in whole if name in modules()} or {node.module}
    return names


@cache
def graph() -> dict[str, set[str]]:
    """Module to the modules of the package that it imports."""
    return {name: {each for each in imported(path) if each in modules()} for name, path in modules().items()}


def folder(module: str) -> str:
    """The part of the package that a module belongs to."""
    return module.split(".")[1]


def test_every_part_has_a_layer() -> None:
    assert {folder(name) for name in modules()} == set(LEVEL)


def test_imports_go_down() -> None:
    upward = [
        f"{name} -> {other}"
        for name, others in graph().items()
        for other in others
        if folder(name) != folder(other) and LEVEL[folder(other)] >= LEVEL[folder(name)]
    ]
    assert upward == []


def test_no_circles() -> None:
    try:
        TopologicalSorter(graph()).prepare()
    except CycleError as error:
        pytest.fail(f"modules import each other in a circle: {' -> '.join(error.args[1])}")


def test_models_do_not_import_each_other() -> None:
    models = [name for name in graph() if name.startswith("nicmodels.models.") and name.count(".") > 2]
    assert models
    for name in models:
        others = {each.split(".")[2] for each in graph()[name] if each.startswith("nicmodels.models.")}
        assert others <= {name.split(".")[2]}, name


def test_nothing_of_plugfest() -> None:
    for name, path in modules().items():
        assert not [each for each in imported(path) if each.split(".")[0] == "plugfest"], name


def test_only_the_base_class_counts_resets() -> None:
    """Who counts one by hand leaves out the event, or the faults that end with it."""
    sources = [*modules().values(), *(ROOT / "template").glob("*.py.in")]
    assert [str(path.relative_to(ROOT)) for path in sources if ".resets[" in path.read_text()] == ["nic/device.py"]
