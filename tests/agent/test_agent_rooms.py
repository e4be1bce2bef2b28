# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent's modules: which may import which, and that nothing but the standard library is imported."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

AGENT = Path(__file__).parents[2] / "guest-images" / "agent"
ROOMS = ("system", "bpf", "netlink", "ethtool", "sockets", "memory", "process", "hardware")
"""Lowest first: a room imports from itself and from lower ones."""
PROTOCOL = ("methods", "handle")
"""Modules of the root that every room may import."""


def modules() -> dict[str, ast.Module]:
    """All modules by dotted name below `agent`, parsed; a package is named as its folder."""
    found = {}
    for path in sorted(AGENT.rglob("*.py")):
        parts = path.relative_to(AGENT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text())
    return found


def imported(tree: ast.Module) -> set[str]:
    """The dotted names that a module imports, wherever in it, names out of packages of the agent resolved to modules."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level
            assert node.module
            path = AGENT.parent / node.module.replace(".", "/")
            for alias in node.names:
                is_module = (path / f"{alias.name}.py").exists() or (path / alias.name).is_dir()
                found.add(f"{node.module}.{alias.name}" if is_module else node.module)
    return found


def arrows() -> dict[str, set[str]]:
    """For each module of the agent, those that it imports."""
    return {
        name: {each.removeprefix("agent.") for each in imported(tree) if each.startswith("agent.")}
        for name, tree in modules().items()
    }


def test_each_folder_is_a_room() -> None:
    folders = {path.name for path in AGENT.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(ROOMS)
    assert all((AGENT / room / "__init__.py").exists() for room in ROOMS)


def test_a_room_imports_only_from_lower_ones() -> None:
    for name, targets in arrows().items():
        room = name.partition(".")[0]
        if room not in ROOMS:
            continue
        allowed = {*ROOMS[: ROOMS.index(room) + 1], *PROTOCOL}
        above = {target for target in targets if target.partition(".")[0] not in allowed}
        assert not above, f"agent.{name} imports {sorted(above)}; its room may import {sorted(allowed)}"


def test_what_serves_the_protocol_imports_no_room() -> None:
    found = arrows()
    assert not found["methods"]
    assert found["handle"] <= {"methods"}
    assert found["agent"] <= {"methods"}


def test_no_module_imports_itself_by_way_of_others() -> None:
    waiting = arrows()
    while waiting:
        free = {name for name, targets in waiting.items() if not targets & waiting.keys()}
        assert free, f"these import each other: {waiting}"
        waiting = {name: targets for name, targets in waiting.items() if name not in free}


def test_nothing_but_the_standard_library_is_imported() -> None:
    for name, tree in modules().items():
        foreign = {each.partition(".")[0] for each in imported(tree)} - {*sys.stdlib_module_names, "agent"}
        assert not foreign, f"agent.{name} imports {sorted(foreign)}, which the guest does not have"


def test_every_module_with_a_method_is_registered_under_a_name_of_its_own() -> None:
    with_methods = {
        name
        for name, tree in modules().items()
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and any(isinstance(each, ast.Name) and each.id == "exposed" for each in node.decorator_list)
    }
    (registered,) = (
        ast.literal_eval(node.value)
        for node in modules()["methods"].body
        if isinstance(node, ast.Assign) and [ast.unparse(each) for each in node.targets] == ["MODULES"]
    )
    assert set(registered) == with_methods
    prefixes = [name.rpartition(".")[2] for name in registered]
    assert len(set(prefixes)) == len(prefixes)
    rooms = [name.rpartition(".")[0] for name in registered if "." in name]
    assert rooms == sorted(rooms, key=ROOMS.index)
