# SPDX-License-Identifier: GPL-2.0-or-later
"""The rules of docs/writing-a-requirement.md that a look at the source can check, held for each file of the suite."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from plugfest.location import conformance_root

ROOT = conformance_root()
FILES = sorted(ROOT.rglob("*.py"))
IMPORTABLE = {*sys.stdlib_module_names, "pytest", "plugfest"}


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


@pytest.fixture(params=FILES, ids=lambda path: str(path.relative_to(ROOT)))
def tree(request: pytest.FixtureRequest) -> ast.Module:
    return parsed(request.param)


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the line and the top-level package of each import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "" if node.level else (node.module or "").partition(".")[0]


def is_call_of(node: ast.AST, module: str, name: str) -> bool:
    """Whether a node is ``module.name(…)`` or ``name(…)``."""
    if not isinstance(node, ast.Call):
        return False
    function = node.func
    if isinstance(function, ast.Attribute):
        return function.attr == name and isinstance(function.value, ast.Name) and function.value.id == module
    return isinstance(function, ast.Name) and function.id == name


def requirements(function: ast.FunctionDef) -> list[ast.Call]:
    return [node for node in function.decorator_list if is_call_of(node, "", "requirement")]


def driver_name_uses(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield each way in which a file learns which driver it runs on: the fixture, the run's plan, ``ethtool -i``.

    ``assert info["driver"] == …`` judges what the driver reports, and is allowed.
    """
    judged = {id(part) for node in ast.walk(tree) if isinstance(node, ast.Assert) for part in ast.walk(node)}
    for function in functions(tree):
        for argument in (*function.args.args, *function.args.kwonlyargs):
            if argument.arg == "driver":
                yield argument.lineno, "the fixture driver"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "driver" and ast.unparse(node.value).endswith("plan"):
            yield node.lineno, ast.unparse(node)
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("driver.name", "driver.module", "guest.driver"):
            yield node.lineno, ast.unparse(node)
        is_key = isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant)
        if is_key and node.slice.value == "driver" and id(node) not in judged:
            yield node.lineno, ast.unparse(node)


def test_there_are_files() -> None:
    assert {path.name for path in FILES} >= {"conftest.py", "test_carrier.py"}


def test_imports_only_the_standard_library_pytest_and_plugfest(tree: ast.Module) -> None:
    assert [(line, name) for line, name in imported(tree) if name not in IMPORTABLE] == []


def test_asks_for_no_driver_name(tree: ast.Module) -> None:
    assert list(driver_name_uses(tree)) == []


def test_never_sleeps(tree: ast.Module) -> None:
    assert [node.lineno for node in ast.walk(tree) if is_call_of(node, "time", "sleep")] == []


def test_each_test_is_a_requirement_with_a_sentence(tree: ast.Module) -> None:
    for function in functions(tree):
        if function.name.startswith("test_"):
            assert requirements(function), f"{function.name} has no @requirement"
            assert ast.get_docstring(function), f"{function.name} has no docstring"


def test_step_sentences_are_literals_or_f_strings(tree: ast.Module) -> None:
    for node in ast.walk(tree):
        if is_call_of(node, "", "step") and isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            (sentence,) = node.args
            is_literal = isinstance(sentence, ast.Constant) and isinstance(sentence.value, str)
            assert is_literal or isinstance(sentence, ast.JoinedStr), f"line {node.lineno}: {ast.unparse(sentence)}"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def test_x(driver): ...", ["the fixture driver"]),
        ("if dut.driver_info()['driver'] in NAMES: ...", ["dut.driver_info()['driver']"]),
        ("name = guest.plan.driver", ["guest.plan.driver"]),
        ("if guest.driver.module == 'gve': ...", ["guest.driver"]),
        ("assert info['driver'] == expected", []),
    ],
)
def test_a_driver_name_is_found(source: str, found: list[str]) -> None:
    assert [name for _, name in driver_name_uses(ast.parse(source))] == found


@pytest.mark.parametrize("source", ["import scapy.all", "from scapy.packet import Raw", "from . import other"])
def test_a_foreign_import_is_found(source: str) -> None:
    assert [name for _, name in imported(ast.parse(source)) if name not in IMPORTABLE] != []


@pytest.mark.parametrize("source", ["time.sleep(1)", "sleep(1)"])
def test_a_sleep_is_found(source: str) -> None:
    assert any(is_call_of(node, "time", "sleep") for node in ast.walk(ast.parse(source)))
