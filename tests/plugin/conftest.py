# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import dataclasses
import importlib
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

# Not for their names: what pytester finds imported it leaves imported, and importing this anew costs seconds a test.
from made_run import run_event
from plugfest.machine import virtual  # noqa: F401
from plugfest.plugin import fixtures, hooks, verdict_plugin  # noqa: F401
from plugfest.provision.artifact import GuestRoot, Kernel, Toolchain
from plugfest.report import document
from plugfest.run import journal
from plugfest.run.plan import RunPlan

HEADER = """
import time
import pytest
from made_run import run_event
from plugfest.requirements.requirement import requirement as declare
def requirement(identifier="AREA-TEST-01", *, level="MUST", source="a document", falsified_by="value.wrong", **more):
    return declare(identifier, level=level, source=source, falsified_by=falsified_by, **more)
"""

RUN = {name: value for name, value in run_event().items() if name != "event"}


class Suite:
    """Runs a suite of a few lines against the fake machine."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.output = pytester.path / "results"
        self.plan = RunPlan(
            driver="ixgbe",
            profile="kr",
            toolchain=Toolchain(("qemu",), "11.1.3", "q"),
            root=GuestRoot(Path("root.erofs"), Path("packages.json"), "r"),
            kernel=Kernel(
                "trixie", "7.3.4+deb13-amd64", Path("vmlinux"), Path("initramfs"), Path("modules.erofs"), None, "k"
            ),
            acceleration="tcg",
            acceleration_reason="there is no /dev/kvm",
            output=self.output,
            scratch=pytester.path / "scratch",
        )
        here = Path(__file__).parent
        pytester.syspathinsert(here)
        pytester.makeconftest(
            f"import sys; sys.path.insert(0, {str(here)!r})\n"
            "import fakes, pytest\n"
            "@pytest.hookimpl(tryfirst=True)\n"
            "def pytest_plugfest_boot(plan, interposer):\n"
            "    return fakes.boot(plan, interposer)\n"
        )
        fakes = importlib.import_module("fakes")
        fakes.FakeMachine.booted.clear()
        self.machines = fakes.FakeMachine.booted

    def write(self, body: str) -> None:
        area = self.pytester.path / "area"
        area.mkdir(exist_ok=True)
        (area / "test_it.py").write_text(HEADER + body)

    def run(self, body: str, *args: str, forked: bool = False, release: str | None = None, **plan: Any) -> Any:
        self.write(body)
        if release is not None:
            plan["kernel"] = dataclasses.replace(self.plan.kernel, release=release)
        chosen = dataclasses.replace(self.plan, **plan)
        path = self.pytester.path / "plan.json"
        chosen.dump(path)
        shutil.rmtree(self.output, ignore_errors=True)
        with journal.Journal(self.output) as fresh:
            fresh.write(
                "run",
                **{
                    **RUN,
                    "options": {**RUN["options"], "falsify": chosen.falsify, "strict_waits": chosen.strict_waits},
                },
            )
        # Hypothesis' plugin would be imported, and rewritten, in each of these runs: two seconds for nothing.
        arguments = (
            "-p",
            "plugfest.plugin",
            "-p",
            "no:hypothesispytest",
            "-p",
            "no:timeout",
            "-qq",
            f"--plugfest-plan={path}",
            *args,
        )
        # A fork has the plugin imported, which pytest would rather have rewritten.
        quiet = ("-W", "ignore::pytest.PytestAssertRewriteWarning")
        return self._run_forked((*quiet, *arguments)) if forked else self.pytester.runpytest_inprocess(*arguments)

    def _run_forked(self, arguments: tuple[str, ...]) -> pytest.RunResult:
        """Run pytest in a process of its own: a fork of this one, which has imported already what takes a second to import."""
        streams = [self.pytester.path / name for name in ("stdout", "stderr")]
        sys.stdout.flush()
        sys.stderr.flush()
        process = os.fork()
        if process == 0:
            status = int(pytest.ExitCode.INTERNAL_ERROR)
            try:
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                for number, path in enumerate(streams, 1):
                    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
                sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
                signal.signal(signal.SIGINT, signal.default_int_handler)
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                status = int(pytest.main(list(arguments)))
            except BaseException:  # nothing may unwind into the code of the process that was forked
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        try:
            status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        except BaseException:  # it has hung: pytest's faulthandler says where
            os.kill(process, signal.SIGABRT)
            os.waitpid(process, 0)
            raise
        finally:
            out, err = (path.read_text() for path in streams)
            sys.stdout.write(out)
            sys.stderr.write(err)
        known = pytest.ExitCode(status) if status in list(pytest.ExitCode) else status
        return pytest.RunResult(known, out.splitlines(), err.splitlines(), 0.0)

    def document(self) -> Mapping[str, Any]:
        found = document.build(journal.read(self.output))
        document.validate(found, "the test's")
        return found

    def verdicts(self) -> dict[str, str]:
        return {result["test"].rpartition("::")[2]: result["verdict"] for result in self.document()["results"]}

    def only(self) -> Mapping[str, Any]:
        (result,) = self.document()["results"]
        return result


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Suite:
    monkeypatch.delenv("PLUGFEST_PLAN", raising=False)
    return Suite(pytester)
