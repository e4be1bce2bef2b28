# SPDX-License-Identifier: GPL-2.0-or-later
"""What happens around one test, from its attempt in the journal to its verdict."""

from __future__ import annotations

import dataclasses
import re
import signal
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

import pytest

from plugfest.errors import PlugfestError
from plugfest.faults import is_models, of_models
from plugfest.machine.agent import KernelLacksError
from plugfest.machine.machine import DriverLoadError
from plugfest.machine.ssh import CommandFailed
from plugfest.plugin import budget
from plugfest.plugin.artifacts import Recorder
from plugfest.plugin.guest_manager import BootError
from plugfest.plugin.item import fault_of, parameters_of, required
from plugfest.plugin.record import TestRecord
from plugfest.plugin.state import REGISTRY, TEST_RECORD
from plugfest.requirements import known_issues
from plugfest.requirements.verdict import BudgetExceeded, Judgement, PhaseFailure, Verdict, judge

if TYPE_CHECKING:
    from plugfest.machine.console import Problem
    from plugfest.machine.model import ModelClient
    from plugfest.plugin.guest_manager import GuestManager
    from plugfest.plugin.live import LiveConsole
    from plugfest.requirements.known_issues import KnownIssue
    from plugfest.run.journal import Journal
    from plugfest.run.plan import RunPlan

_SHOWN = {
    "falsified": Verdict.PASS,
    "not falsified": Verdict.FAIL,
    "never fired": Verdict.SKIP,
    "skipped": Verdict.SKIP,
    "error": Verdict.ERROR,
}
"""What the console's line of a test under a fault begins with.

A fault that fired in no variant of its test is an error of the run (`plugfest.report.document`), not of the
variant that it does not concern."""


class VerdictPlugin:
    """Carries a run out: a pytest plugin, registered only inside a run."""

    def __init__(
        self,
        config: pytest.Config,
        plan: RunPlan,
        guest_manager: GuestManager,
        journal: Journal,
        issues: Sequence[KnownIssue],
        live: LiveConsole,
    ) -> None:
        """Take what the run is made of."""
        self._config = config
        self._plan = plan
        self._guest_manager = guest_manager
        self._journal = journal
        self._issues = issues
        self._live = live
        self._fired = 0
        self._seconds = 0.0
        self._recorder = Recorder(plan.output, "")
        self._interrupted = False
        self._handlers = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Write down everything that is to be tested, before the first test."""
        selected = {required(item) for item in session.items}
        self._journal.write(
            "planned",
            durable=True,
            requirements=[found.describe() for found in self._config.stash[REGISTRY] if found in selected],
            tests=[{**self._identity(item)} for item in session.items],
        )
        self._live.plan(len(session.items))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Attempt, run, judge, replace the guest if it is no longer good."""
        record = item.stash[TEST_RECORD] = TestRecord()
        identity = self._identity(item)
        self._fired, self._seconds = 0, 0.0
        self._journal.write("attempt", durable=True, **identity)
        self._live.attempt(str(identity["requirement"]), required(item).sentence)
        self._recorder = Recorder(self._plan.output, str(identity["test"]))
        outcome = yield
        if not self._interrupted:
            self._conclude(item, record, identity)
        return outcome

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, None, None]:
        """See that there is a guest, then set the test's fixtures up within its budget."""
        record = item.stash[TEST_RECORD]
        if "_machine" in getattr(item, "fixturenames", ()):
            if item.get_closest_marker("fresh_guest") and self._guest_manager.used:
                self._guest_manager.replace(f"{item.name} asks for a fresh one")
            booting = self._guest_manager.current is None
            try:
                machine = self._guest_manager.machine()
            except BootError as error:
                self._journal.write("stopped", reason=str(error), exit_status=error.status, durable=True)
                pytest.exit(str(error), returncode=error.status)
            if booting:
                self._live.note(f"guest: {machine.startup}")
            machine.clear_warn_once()
            self._recorder.start(machine)
            fault = fault_of(item)
            if fault is not None and is_models(fault) and _of_another_model(machine.model, fault):
                subject = self._guest_manager.driver.subject
                record.record("not falsifiable here", f"{self._guest_manager.driver.name} runs on {subject}")
                pytest.skip(f"{fault} is a fault of another model; the subject is {subject}")
        with self._limit(item, "setup"), _skipped_where_kernel_lacks(record):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, None, None]:
        """Run the test itself, under its fault if there is one."""
        self._guest_manager.used = True
        with self._limit(item, "call"), _skipped_where_kernel_lacks(item.stash[TEST_RECORD]):
            fault = fault_of(item)
            if fault is None:
                return (yield)
            with self._armed(fault, required(item).match):
                return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, None, None]:
        """Undo, within a budget of its own."""
        with self._limit(item, "teardown"):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Note what left the phase."""
        report = yield
        record = item.stash[TEST_RECORD]
        self._seconds += report.duration
        if call.excinfo is None:
            return report
        error = call.excinfo.value
        if is_interrupt(error):
            self._stop(item.session)
        if isinstance(error, pytest.skip.Exception):
            record.skipped = str(error.msg)
            return report
        if not record.phase_failures:
            self._recorder.look()
        record.phase_failures.append(
            PhaseFailure(report.when, kind_of(error, report.when), one_line(error, record, report.when))
        )
        record.tracebacks[report.when] = str(report.longrepr)
        if self._plan.falsify or self._known_issue(item) is not None:
            report.outcome = "skipped"
            report.wasxfail = "demanded" if self._plan.falsify else "known issue"
        else:
            record.counted = True
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.CollectReport | pytest.TestReport) -> tuple[str, str, str] | None:
        """Keep pytest's own letters off the console: each test has its line already."""
        return ("", "", "") if isinstance(report, pytest.TestReport) else None

    @pytest.hookimpl
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Write down that the user ended the run."""
        if not isinstance(excinfo.value, pytest.exit.Exception):
            self._stop(None)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Close the guest and the journal."""
        if (session.shouldfail or session.shouldstop) and not self._interrupted:
            self._journal.write("stopped", reason=str(session.shouldfail or session.shouldstop), exit_status=None)
        self._guest_manager.close()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._journal.write("end", pytest_exit_status=int(exitstatus), durable=True)
        self._live.close()

    def _stop(self, session: pytest.Session | None) -> None:
        """Write down that the user ended the run; no verdict comes of the test that was running."""
        if not self._interrupted:
            self._journal.write("stopped", reason="interrupted", exit_status=130, durable=True)
        self._interrupted = True
        if session is not None:
            session.shouldstop = "interrupted"

    def _conclude(self, item: pytest.Item, record: TestRecord, identity: Mapping[str, object]) -> None:
        issue = self._known_issue(item)
        self._guest_manager.drain_console()
        problems, provoked = _split_provoked(self._guest_manager.problems(), item)
        for problem in provoked:
            record.record(f"provoked: {problem.title}", problem.excerpt)
        judgement = judge(
            phase_failures=record.phase_failures,
            problems=[problem.title for problem in problems],
            skipped=record.skipped,
            evidence=bool(record.evidence),
            known_issue=None if issue is None else str(issue),
        )
        fault = self._fault_result(item, judgement)
        failed = judgement.verdict.is_failure if fault is None else fault["outcome"] in ("not falsified", "error")
        if failed or judgement.verdict is Verdict.XFAIL:
            artifacts = self._recorder.keep(console=self._guest_manager.excerpt(), tracebacks=record.tracebacks)
        else:
            self._recorder.drop()
            artifacts = {}
        self._journal.write(
            "result",
            durable=False,
            **identity,
            verdict=judgement.verdict,
            reason=judgement.reason,
            seconds=round(self._seconds, 3),
            steps=[dataclasses.asdict(entry) for entry in record.steps],
            evidence=[dataclasses.asdict(entry) for entry in record.evidence],
            problems=[problem.excerpt for problem in problems],
            known_issue=None if issue is None else {"reason": issue.title, "link": issue.link},
            falsification=fault,
            artifacts=artifacts,
            advertised=None if record.advertised is None else sorted(record.advertised),
        )
        self._show(item, judgement, fault)
        if failed and not record.counted:
            self._count_failure(item.session)
        self._settle(judgement, record, item, sound=not problems)

    def _settle(self, judgement: Judgement, record: TestRecord, item: pytest.Item, *, sound: bool) -> None:
        """Decide whether the next test may have this guest."""
        if self._guest_manager.current is None:
            return
        if not sound:
            self._guest_manager.replace(f"{item.name} left the kernel with a problem")
        elif judgement.verdict is Verdict.TIMEOUT or any(
            failure.phase != "call" or failure.kind != "assertion" for failure in record.phase_failures
        ):
            self._guest_manager.replace(f"{item.name} ended with {judgement.verdict}, its guest may not be as it was")
        elif self._plan.falsify and self._fired:
            self._guest_manager.replace(f"{item.name} ran under a fault")
        elif item.get_closest_marker("fresh_guest") and self._guest_manager.used:
            self._guest_manager.replace(f"{item.name} had a guest of its own")
        else:
            self._guest_manager.settle()

    def _show(self, item: pytest.Item, judgement: Judgement, fault: Mapping[str, Any] | None) -> None:
        verdict, reason = judgement.verdict, judgement.reason
        if fault is not None:
            verdict = _SHOWN[fault["outcome"]]
            found = f"{judgement.verdict} ({judgement.reason})" if judgement.reason else str(judgement.verdict)
            reason = (
                f"{fault['outcome']}: {fault['name']} fired {fault['fired']} times, "
                f"demanded {fault['demanded']}, found {found}"
            )
        self._live.result(verdict, required(item).id, item.name, self._seconds, reason)

    def _count_failure(self, session: pytest.Session) -> None:
        """Count a failure that pytest has not seen as an exception, so that ``-x`` and ``--maxfail`` hold."""
        session.testsfailed += 1
        limit = self._config.getvalue("maxfail")
        if limit and session.testsfailed >= limit:
            session.shouldfail = f"stopping after {session.testsfailed} failures"

    def _fault_result(self, item: pytest.Item, judgement: Judgement) -> dict[str, Any] | None:
        fault = fault_of(item)
        if fault is None:
            return None
        demanded = required(item).falsified_as
        if judgement.verdict is Verdict.SKIP:
            outcome = "skipped"
        elif judgement.verdict is Verdict.ERROR:
            outcome = "error"
        elif not self._fired:
            outcome = "never fired"
        else:
            outcome = "falsified" if judgement.verdict is demanded else "not falsified"
        return {"name": fault, "fired": self._fired, "demanded": demanded, "outcome": outcome}

    @contextmanager
    def _armed(self, fault: str, match: Mapping[str, object]) -> Generator[None]:
        machine = self._guest_manager.current
        if not is_models(fault):
            interposer = self._guest_manager.interposer
            assert interposer is not None
            interposer.arm(fault, match=match)
            try:
                yield
            finally:
                self._fired = interposer.disarm(fault)
            return
        if machine is None or machine.model is None:
            raise PlugfestError(
                f"fault {fault}: expected a test that uses the guest, "
                "found none of guest, dut, wire and model in its arguments"
            )
        client = machine.model
        before = _fired(client.call("faults.list"), fault)
        client.call("faults.arm", name=fault, **({"match": dict(match)} if match else {}))
        try:
            yield
        finally:
            self._fired = _fired(client.call("faults.list"), fault) - before
            client.call("faults.disarm", name=fault)

    @contextmanager
    def _limit(self, item: pytest.Item, phase: str) -> Generator[None]:
        marker = item.get_closest_marker("budget")
        seconds = float(marker.args[0]) if marker else budget.DEFAULT
        machine = self._guest_manager.current
        speed = 1.0 if machine is None else min(1.0, machine.speed)
        with budget.budget(seconds / speed, phase):
            yield

    def _known_issue(self, item: pytest.Item) -> KnownIssue | None:
        if self._plan.falsify:
            return None
        return known_issues.matching(
            self._issues,
            required(item).id,
            self._guest_manager.driver.name,
            self._plan.kernel.release,
            self._plan.profile,
            parameters_of(item),
        )

    def _identity(self, item: pytest.Item) -> dict[str, object]:
        found = required(item)
        return {
            "test": item.nodeid,
            "requirement": found.id,
            "area": found.area,
            "level": found.level,
            "fault": fault_of(item),
        }


@contextmanager
def _skipped_where_kernel_lacks(record: TestRecord) -> Generator[None]:
    """Skip a test that needs what the guest's kernel does not have: that shows nothing about the driver."""
    try:
        yield
    except KernelLacksError as lack:
        record.skip(f"the kernel lacks {lack.what}", lack.evidence)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """Interrupt the run, once: what is under way to end it must not be interrupted in turn."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def is_interrupt(error: BaseException) -> bool:
    """Return whether an exception is an interruption, or a group that hides one: pytest groups what its finalizers raise."""
    if isinstance(error, BaseExceptionGroup):
        return any(is_interrupt(inner) for inner in error.exceptions)
    return isinstance(error, KeyboardInterrupt)


def kind_of(error: BaseException, phase: str) -> str:
    """Return the kind of an exception, one of those that `PhaseFailure.kind` lists.

    A checked command that fails in the guest counts as an assertion about the driver, unless the shell could not find or run
    the program (exit status 126 and 127).
    """
    if isinstance(error, BudgetExceeded):
        return "timeout"
    if isinstance(error, CommandFailed):
        return "assertion" if phase == "call" and error.result.exit_status not in (126, 127) else "error"
    if isinstance(error, DriverLoadError):
        return "driver"
    if isinstance(error, AssertionError | pytest.fail.Exception):
        return "assertion"
    if isinstance(error, TimeoutError) and not isinstance(error, PlugfestError):
        return "timeout"
    return "error"


def one_line(error: BaseException, record: TestRecord, phase: str) -> str:
    """Return an exception's message on one line, with the step that it ended."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    if isinstance(error, AssertionError | pytest.fail.Exception | BudgetExceeded):
        message = text or "an assertion without a message"
    else:
        message = f"{type(error).__name__}: {text}" if text else type(error).__name__
    step = record.failing_step if phase == "call" else None
    return f"{message} (step: {step})" if step else message


def _split_provoked(problems: Sequence[Problem], item: pytest.Item) -> tuple[list[Problem], list[Problem]]:
    """Split the kernel's problems into those that count and those that the test provokes, as its marker declares.

    A fatal problem always counts.
    """
    marker = item.get_closest_marker("provokes")
    provoked = [
        problem
        for problem in problems
        if marker is not None and not problem.fatal and re.search(marker.args[0], problem.title)
    ]
    return [problem for problem in problems if problem not in provoked], provoked


def _of_another_model(model: ModelClient | None, fault: str) -> bool:
    """Whether another model has this fault point and this one has not: not every NIC has an EEPROM or an address filter.

    A point that no model has is False: arming it is then an error.
    """
    if model is None:
        return True
    return all(each["name"] != fault for each in model.call("faults.list")) and fault in of_models()


def _fired(points: Sequence[Mapping[str, Any]], name: str) -> int:
    return next((int(point["fired"]) for point in points if point["name"] == name), 0)
