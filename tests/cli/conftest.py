# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import dataclasses
import functools
import importlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from command import run
from plugfest.cli import prepare
from plugfest.machine.acceleration import Acceleration
from plugfest.plugin import suite
from plugfest.provision.artifact import GuestRoot, Kernel, Toolchain
from plugfest.run import journal, sandbox
from plugfest.selftests.selftest import CASES, SELFTESTS, Selftest, Selftests

# The package's names are the commands themselves.
certify, selftests, upstream_run = (
    importlib.import_module(f"plugfest.cli.{name}") for name in ("certify", "selftests", "upstream")
)

Collected = tuple[tuple[int, str], list[Any]]


@pytest.fixture(scope="session")
def collected() -> dict[tuple[Any, ...], Collected]:
    """What pytest found and printed, by its arguments."""
    return {}


@pytest.fixture
def plugfest(collected, capfd, monkeypatch, tmp_path):
    """Runs a command in an empty folder, with none of the user's variables."""
    for name in list(os.environ):
        if name.startswith("PLUGFEST_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    really_collect = suite._collect

    def collect(arguments, collector) -> tuple[int, str]:
        """Collect the same suite with the same arguments once, which takes half a second."""
        key = (*arguments, os.environ.get("PYTEST_ADDOPTS"), os.environ.get("PYTEST_PLUGINS"))
        if key not in collected:
            collected[key] = (really_collect(arguments, collector), collector.found)
        ended, collector.found = collected[key]
        return ended

    monkeypatch.setattr(suite, "_collect", collect)

    return functools.partial(run, capfd)


@dataclass
class Inside:
    """Stands in for the sandbox: writes the journal that a run inside would have written.

    Attributes:
        events: of the journal; None to begin nothing.
        outcome: how the payload ends.
        payload: pytest's arguments, or upstream's tests.
    """

    events: list[dict[str, Any]] | None = field(default_factory=list)
    outcome: sandbox.Outcome = field(default_factory=lambda: sandbox.Outcome(0))
    payload: Any = None

    def enter(self, payload: Any, *, folder: Path, **_: Any) -> sandbox.Outcome:
        from plugfest.run.plan import RunPlan

        plan, arguments, *_ = payload.args  # of upstream's tests the plan itself, and those that are selected
        self.payload = list(arguments)
        self.folder = folder
        self.plan = plan if isinstance(plan, RunPlan) else RunPlan.load(plan)
        with journal.Journal(self.plan.output) as written:
            for event in self.events or []:
                fields = dict(event)
                written.write(fields.pop("event"), **fields)
        return self.outcome


@pytest.fixture
def inside(monkeypatch, tmp_path) -> Inside:
    """Provisioning and sandbox replaced, so that commands run without a guest."""
    stand_in = Inside()
    where = tmp_path / "images"
    kernel = Kernel(
        "trixie-backports",
        "7.3.4+deb13-amd64",
        where / "vmlinux",
        where / "initramfs",
        where / "modules.erofs",
        None,
        "k",
    )
    where.mkdir()
    kernel.image.write_bytes(b"vmlinux")
    (where / "packages.json").write_text('{"bash": "5.2.37-2+b10"}')
    monkeypatch.setattr(prepare, "ensure_toolchain", lambda settings: Toolchain(("/opt/qemu",), "11.1.3", "q"))
    monkeypatch.setattr(
        prepare, "ensure_root", lambda settings: GuestRoot(where / "root.erofs", where / "packages.json", "r")
    )
    monkeypatch.setattr(prepare, "ensure_kernel", lambda settings, spec: kernel)
    monkeypatch.setattr(
        prepare.acceleration, "choose", lambda *args, **kwargs: Acceleration("tcg", "TCG was asked for")
    )
    monkeypatch.setattr(sandbox, "enter", stand_in.enter)
    return stand_in


@pytest.fixture
def runs(inside, monkeypatch):
    """Sets the events and outcome of each run in turn; returns the plans of the runs."""
    plans: list[Any] = []

    def prepare(*histories: tuple[list[dict], sandbox.Outcome] | list[dict]) -> list[Any]:
        waiting = list(histories)

        def enter(payload: Any, **more: Any) -> sandbox.Outcome:
            chosen = waiting.pop(0)
            inside.events, inside.outcome = chosen if isinstance(chosen, tuple) else (chosen, sandbox.Outcome(0))
            outcome = inside.enter(payload, **more)
            plans.append(inside.plan)
            return outcome

        monkeypatch.setattr(sandbox, "enter", enter)
        return plans

    return prepare


@pytest.fixture
def upstream(inside, monkeypatch, tmp_path) -> Selftests:
    """Three of upstream's tests, ready for a guest that does not run."""
    tree = tmp_path / "selftests"
    tests = tuple(Selftest("drivers/net", name) for name in ("ping.py", "queues.py", "stats.py"))
    for test in tests:
        file = tree / SELFTESTS / test.collection / test.name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f'"""Tests {test.name}."""\n\n\ndef test_v4(cfg):\n    pass\n')
    library = tree / SELFTESTS / CASES
    library.parent.mkdir(parents=True)
    library.write_text("cli_args.list_tests\n")
    log = tmp_path / "build.log"
    log.write_text("")
    made = Selftests(tree, "a source", tests, {}, log, "d")
    root = prepare.ensure_root(None)
    for module in (certify, selftests):
        monkeypatch.setattr(module, "ensure_kernel", prepare.ensure_kernel)
        monkeypatch.setattr(module, "ensure_tests", lambda settings, kernel: made)
        monkeypatch.setattr(
            module, "ensure_image", lambda settings, tests: dataclasses.replace(root, digest="s", folder=tree)
        )
    monkeypatch.setattr(upstream_run, "ensure_bwrap", lambda settings: ["bwrap"])
    return made
