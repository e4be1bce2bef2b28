# SPDX-License-Identifier: GPL-2.0-or-later
"""pytest's hooks: options, markers, collection. What happens around one test is the `VerdictPlugin`'s."""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from plugfest.errors import PlugfestError
from plugfest.plugin import bases, hookspecs
from plugfest.plugin.bases import Bases
from plugfest.plugin.guest_manager import GuestManager
from plugfest.plugin.item import FAULT, fault_of, required
from plugfest.plugin.live import Live, LiveConsole
from plugfest.plugin.pace import Pace
from plugfest.plugin.state import BASES, DEBUGGING, GUEST_MANAGER, PACE, REGISTRY
from plugfest.requirements import known_issues, quarantine
from plugfest.requirements.requirement import Registry, requirements_of
from plugfest.run.journal import Journal
from plugfest.run.load import HostLoad
from plugfest.run.order import place
from plugfest.run.plan import VARIABLE, HardwarePlan, Plan, RunPlan
from plugfest.run.plan import load as load_plan
from plugfest.run.subject import subject_of

if TYPE_CHECKING:
    from plugfest.faults import Interposer
    from plugfest.machine.machine import Machine

_VERDICTS = "plugfest-verdicts"
"""The name of what runs and judges tests, among pytest's plugins."""

MARKERS = (
    "fresh_guest: boot a guest for this test alone",
    "budget(seconds): time that this test may take on a guest of speed 1, instead of 30 s",
    "slow: takes minutes; run with plugfest run --slow",
    "stands_on(base): what must work for this test to show anything (netdev, link, ping, or None), instead of what its fixtures say",
    "provokes(pattern): what the kernel may complain of because this test makes it so: a regular expression on the first line",
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
    group.addoption(
        "--plugfest-quarantine",
        metavar="FILE",
        default=os.environ.get("PLUGFEST_QUARANTINE", str(quarantine.DEFAULT)),
        help="list of tests whose verdict does not repeat [PLUGFEST_QUARANTINE]",
    )


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Add the hooks that others may implement."""
    pluginmanager.add_hookspecs(hookspecs)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers and, inside a run, whatever carries it out."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    config.stash[REGISTRY] = Registry()
    config.stash[BASES] = Bases()
    path = config.getoption("plugfest_plan")
    if config.option.collectonly:
        return
    if path is None:
        raise pytest.UsageError(
            f"expected a run's plan (--plugfest-plan or {VARIABLE}), found none: these tests need a guest with the "
            "device under test; run them with: plugfest run DRIVER -- PYTEST-ARGUMENTS"
        )
    try:
        plan = load_plan(Path(path))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise pytest.UsageError(f"{path}: expected the plan that plugfest run wrote, found {error!r}") from error
    pace = config.stash[PACE] = Pace(plan.durations)
    debugging = config.stash[DEBUGGING] = bool(config.getoption("usepdb") or config.getoption("trace"))
    live = LiveConsole(pace, bar=not debugging)
    try:
        journal = _register_verdicts(config, plan, live)
    except PlugfestError as error:
        raise pytest.UsageError(str(error)) from error
    if plan.guests > 1 and not debugging:
        from plugfest.plugin.coordinator import Coordinator  # noqa: PLC0415 - as in `_register_verdicts`

        coordinator = Coordinator(plan, journal, live, pace, functools.partial(_register_verdicts, config))
        config.pluginmanager.register(coordinator, "plugfest-coordinator")


def _register_verdicts(config: pytest.Config, plan: Plan, live: Live) -> Journal:
    """Register what runs and judges the tests of a plan, in place of what did so for another one.

    Returns:
        The journal that it writes.

    Raises:
        PlugfestError: the journal cannot be written, or a list of known issues or of quarantined tests cannot be read.
    """
    from plugfest.plugin.verdict_plugin import VerdictPlugin  # noqa: PLC0415 - imports the machine, which collection does not need

    journal = Journal(plan.guest_output)
    guest_manager = GuestManager(config, plan, journal)
    listed = known_issues.load(Path(config.getoption("plugfest_known_issues")))
    issues = known_issues.KnownIssues(listed, subject_of(plan))
    quarantined = quarantine.load(Path(config.getoption("plugfest_quarantine")))
    config.stash[GUEST_MANAGER] = guest_manager
    if config.pluginmanager.has_plugin(_VERDICTS):
        config.pluginmanager.unregister(name=_VERDICTS)
    config.pluginmanager.register(
        VerdictPlugin(config, plan, guest_manager, journal, issues, quarantined, live), _VERDICTS
    )
    return journal


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Start the load, if there is to be one."""
    guest_manager = session.config.stash.get(GUEST_MANAGER, None)
    if guest_manager is not None and guest_manager.plan.loaded:
        session.config.add_cleanup(HostLoad().close)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Keep how long the tests took, for the next run."""
    pace = session.config.stash.get(PACE, None)
    if pace is not None:
        pace.save()


@pytest.hookimpl(trylast=True, specname="pytest_collection_modifyitems")
def pytest_order_items(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the tests into the random order, if there is to be one; but first, whatever orders them, what the others stand on."""
    guest_manager = config.stash.get(GUEST_MANAGER, None)
    seed = None if guest_manager is None else guest_manager.plan.seed
    if seed is not None:
        items.sort(key=lambda item: place(seed, item.nodeid))
    items[:] = bases.first(items)


def pytest_plugfest_boot(plan: Plan, interposer: Interposer | None) -> Machine:
    """Boot a guest in QEMU, or have a real machine in a fresh state."""
    from plugfest.machine import real, virtual  # noqa: PLC0415 - import the machine, which collection does not need

    if isinstance(plan, HardwarePlan):
        return real.boot(plan, interposer=interposer)
    assert isinstance(plan, RunPlan)
    return virtual.boot(plan, interposer=interposer)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Under ``--falsify``, run each test once for each fault of its requirement."""
    found = requirements_of(metafunc.function)
    guest_manager = metafunc.config.stash.get(GUEST_MANAGER, None)
    if not found or guest_manager is None or not guest_manager.plan.falsify:
        return
    faults = list(dict.fromkeys(fault for each in found for fault in each.falsified_by))
    metafunc.fixturenames.append(FAULT)
    metafunc.parametrize(FAULT, faults, ids=[f"fault={name}" for name in faults])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Register the requirements, and reject markers that would change a verdict."""
    registry = config.stash[REGISTRY]
    # Without the faults that are only of another variant's requirement.
    items[:] = [item for item in items if fault_of(item) in (None, *required(item).falsified_by)]
    for item in items:
        try:
            registry.add(required(item))
        except PlugfestError as error:
            raise pytest.UsageError(str(error)) from error
        item.extra_keyword_matches.add(required(item).id)  # for -k
        for marker in ("xfail", "skip", "skipif"):
            if item.get_closest_marker(marker):
                raise pytest.UsageError(
                    f"{item.nodeid}: found @pytest.mark.{marker}; expected none: what a driver does not support is "
                    "skipped with skip_unsupported(what, evidence=…), what is known to fail is listed in known-issues.toml"
                )
        budget = item.get_closest_marker("budget")
        if budget is not None and not (
            len(budget.args) == 1 and isinstance(budget.args[0], int | float) and budget.args[0] > 0
        ):
            raise pytest.UsageError(
                f"{item.nodeid}: expected @pytest.mark.budget(seconds), found arguments {budget.args}"
            )
        bases.stands_on(item)
        provokes = item.get_closest_marker("provokes")
        if provokes is not None and not (len(provokes.args) == 1 and _is_pattern(provokes.args[0])):
            raise pytest.UsageError(
                f"{item.nodeid}: expected @pytest.mark.provokes(pattern), a regular expression that the empty line does not "
                f"match, found arguments {provokes.args}"
            )


def _is_pattern(text: object) -> bool:
    """Whether a text is a regular expression, and one that does not match everything."""
    if not isinstance(text, str):
        return False
    try:
        return re.search(text, "") is None
    except re.error:
        return False
