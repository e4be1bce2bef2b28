# SPDX-License-Identifier: GPL-2.0-or-later
"""pytest's hooks: options, markers, collection. What happens around one test is the `Referee`'s."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from plugfest import known_issues
from plugfest.errors import PlugfestError
from plugfest.journal import Journal
from plugfest.plan import VARIABLE, RunPlan
from plugfest.plugin import hookspecs
from plugfest.plugin.item import FAULT, required
from plugfest.plugin.keeper import Keeper
from plugfest.plugin.live import LiveConsole
from plugfest.plugin.state import KEEPER, REGISTRY
from plugfest.requirement import Registry, requirement_of

if TYPE_CHECKING:
    from plugfest.faults import LocalFaults
    from plugfest.machine import Machine

MARKERS = (
    "fresh_guest: boot a guest for this test alone",
    "budget(seconds): time that this test may take on a guest of speed 1, instead of 30 s",
    "core_warns(pattern): what the test provokes has the kernel's core itself warn in a line like this; no other complaint",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, each with its environment variable."""
    group = parser.getgroup("plugfest", "plugfest: NIC driver conformance")
    group.addoption(
        "--plugfest-plan",
        metavar="FILE",
        default=os.environ.get(VARIABLE),
        help=f"the run's plan, as plugfest run hands it over [{VARIABLE}]",
    )
    group.addoption(
        "--plugfest-known-issues",
        metavar="FILE",
        default=os.environ.get("PLUGFEST_KNOWN_ISSUES", str(known_issues.DEFAULT)),
        help="list of failures that are expected [PLUGFEST_KNOWN_ISSUES]",
    )


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Add the hooks that others may implement."""
    pluginmanager.add_hookspecs(hookspecs)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers and, inside a run, whatever carries it out."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    config.stash[REGISTRY] = Registry()
    path = config.getoption("plugfest_plan")
    if config.option.collectonly:
        return
    if path is None:
        raise pytest.UsageError(
            f"expected a run's plan (--plugfest-plan or {VARIABLE}), found none: these tests need a guest with the "
            "device under test; run them with: plugfest run DRIVER -- PYTEST-ARGUMENTS"
        )
    try:
        plan = RunPlan.load(Path(path))
        journal = Journal(plan.output)
        keeper = Keeper(config, plan, journal)
        issues = known_issues.load(Path(config.getoption("plugfest_known_issues")))
    except PlugfestError as error:
        raise pytest.UsageError(str(error)) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise pytest.UsageError(f"{path}: expected the plan that plugfest run wrote, found {error!r}") from error
    from plugfest.plugin.referee import Referee  # noqa: PLC0415 - brings the runtime, which collecting does not need

    config.stash[KEEPER] = keeper
    config.pluginmanager.register(Referee(config, plan, keeper, journal, issues, LiveConsole()), "plugfest-referee")


def pytest_plugfest_boot(plan: RunPlan, faults: LocalFaults) -> Machine:
    """Boot a guest in QEMU."""
    from plugfest import machine  # noqa: PLC0415 - brings the runtime, which collecting does not need

    return machine.boot(plan, faults=faults)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Under ``--falsify``, run each test once for each fault of its requirement."""
    found = requirement_of(metafunc.function)
    keeper = metafunc.config.stash.get(KEEPER, None)
    if found is None or keeper is None or not keeper.plan.falsify:
        return
    metafunc.fixturenames.append(FAULT)
    metafunc.parametrize(FAULT, found.falsified_by, ids=[f"fault={name}" for name in found.falsified_by])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Register the requirements, and refuse what would bend a verdict."""
    registry = config.stash[REGISTRY]
    for item in items:
        try:
            registry.add(required(item))
        except PlugfestError as error:
            raise pytest.UsageError(str(error)) from error
        for marker in ("xfail", "skip", "skipif"):
            if item.get_closest_marker(marker):
                raise pytest.UsageError(
                    f"{item.nodeid}: found @pytest.mark.{marker}; expected none: what a driver does not claim is "
                    "skipped with unclaimed(what, evidence=…), what is known to fail is listed in known-issues.toml"
                )
        budget = item.get_closest_marker("budget")
        if budget is not None and not (
            len(budget.args) == 1 and isinstance(budget.args[0], int | float) and budget.args[0] > 0
        ):
            raise pytest.UsageError(
                f"{item.nodeid}: expected @pytest.mark.budget(seconds), found arguments {budget.args}"
            )
        warns = item.get_closest_marker("core_warns")
        if warns is not None and not (len(warns.args) == 1 and isinstance(warns.args[0], str) and warns.args[0]):
            raise pytest.UsageError(
                f"{item.nodeid}: expected @pytest.mark.core_warns(pattern), found arguments {warns.args}"
            )
