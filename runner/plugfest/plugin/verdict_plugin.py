# SPDX-License-Identifier: GPL-2.0-or-later
"""What happens around one test, from its attempt in the journal to its verdict."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import pytest
from _pytest.outcomes import Skipped
from _pytest.runner import runtestprotocol

from plugfest import deadline
from plugfest.dut.settings import NoLinkError
from plugfest.errors import INTERRUPTED, InfrastructureError, PlugfestError
from plugfest.faults import is_models, of_models
from plugfest.machine.agent import KernelLacksError, NeedsModelError
from plugfest.machine.machine import DriverLoadError
from plugfest.machine.ssh import CommandFailed
from plugfest.plugin import bases, budget
from plugfest.plugin.artifacts import Recorder
from plugfest.plugin.bases import FailedBase
from plugfest.plugin.confirmation import Attempt, confirmed
from plugfest.plugin.failure_limit import count_failures
from plugfest.plugin.guest_manager import BootError
from plugfest.plugin.item import fault_of, parameters_of, required
from plugfest.plugin.record import TestRecord
from plugfest.plugin.state import BASES, DEBUGGING, REGISTRY, TEST_RECORD
from plugfest.requirements import quarantine
from plugfest.requirements.base import Base
from plugfest.requirements.known_issues import Expected
from plugfest.requirements.verdict import BudgetExceeded, Judgement, PhaseFailure, Verdict, judge
from plugfest.run.testbed import file_sha256

if TYPE_CHECKING:
    from plugfest.machine.console import Problem
    from plugfest.machine.machine import Machine
    from plugfest.machine.model import ModelClient
    from plugfest.plugin.guest_manager import GuestManager
    from plugfest.plugin.live import Live
    from plugfest.requirements.known_issues import KnownIssues
    from plugfest.requirements.quarantine import Quarantined
    from plugfest.requirements.requirement import Requirement
    from plugfest.run.journal import Journal
    from plugfest.run.plan import Plan

_LISTS = ("known_issues", "quarantine")
"""The lists that a verdict may hang on, as pytest's options name them."""

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


class FreshGuestNeeded(Skipped):
    """A test that asks for a fresh guest has set its fixtures up in a used one: nothing skips it."""


class VerdictPlugin:
    """Carries a run out: a pytest plugin, registered only inside a run."""

    def __init__(
        self,
        config: pytest.Config,
        plan: Plan,
        guest_manager: GuestManager,
        journal: Journal,
        issues: KnownIssues,
        quarantined: Sequence[Quarantined],
        live: Live,
    ) -> None:
        """Take what the run is made of."""
        self._config = config
        self._plan = plan
        self._guest_manager = guest_manager
        self._journal = journal
        self._issues = issues
        self._quarantined = quarantined
        self._live = live
        self._bases = config.stash[BASES]
        self._now = Attempt(TestRecord(), Recorder(plan.output, ""))
        self._interrupted = self._broken = False
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
            lists={name: file_sha256(Path(self._config.getoption(f"plugfest_{name}"))) for name in _LISTS},
        )
        self._live.plan([item.nodeid for item in session.items])

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        """Attempt a test, confirm what would blame the driver, and write the verdict down."""
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        blocking = None if self._plan.falsify else self._bases.blocking(item)
        if blocking is None:
            self._test(item, nextitem)
        else:
            self._block(item, blocking)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def _test(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        self._live.attempt(item.nodeid, required(item).id)
        begin, booting = time.monotonic(), self._guest_manager.boot_seconds
        attempts = self._attempts(item, nextitem)
        if not self._interrupted:
            self._conclude(item, attempts)
            booting = self._guest_manager.boot_seconds - booting
            self._live.ended(item.nodeid, time.monotonic() - begin - booting)

    def _attempts(self, item: pytest.Item, nextitem: pytest.Item | None) -> list[Attempt]:
        """Attempt a test once; twice if the first verdict is against the driver."""
        first = self._attempt(item, nextitem, 1)
        if self._interrupted or not (self._confirms and first.is_against_the_driver):
            return [first]
        if self._guest_manager.unusable is not None:  # a real machine beyond use: what the one attempt found stands
            return [first]
        self._journal.write("unconfirmed", durable=True, **self._identity(item), **first.describe())
        found = first.judgement
        self._live.note(
            f"{required(item).id} {item.name}: {found.verdict}, to be confirmed in a fresh guest: {found.reason}"
        )
        self._guest_manager.replace(f"{item.name} is to be confirmed")
        item._report_sections.clear()  # the output of the first attempt, which pytest would report as that of the second, too
        return [first, self._attempt(item, nextitem, 2)]

    @property
    def _confirms(self) -> bool:
        """Whether a verdict against the driver is confirmed: not where the failure is demanded, nor where the user wants this guest."""
        plan = self._plan
        return plan.confirm and not (plan.falsify or plan.keep or self._config.stash[DEBUGGING])

    def _attempt(self, item: pytest.Item, nextitem: pytest.Item | None, number: int) -> Attempt:
        """Run a test with its fixtures, and judge what happened."""
        self._journal.write("attempt", durable=True, number=number, **self._identity(item))
        attempt = self._run(item, nextitem, number)
        if attempt.rehearsal and attempt.record.skipped is None and not self._interrupted:
            attempt.recorder.drop()
            self._replace_for(item)
            item._report_sections.clear()
            attempt = self._run(item, nextitem, number)
        if not self._interrupted:
            self._judge(item, attempt, keep=number > 1)
        return attempt

    def _run(self, item: pytest.Item, nextitem: pytest.Item | None, number: int) -> Attempt:
        record = item.stash[TEST_RECORD] = TestRecord()
        attempt = self._now = Attempt(record, Recorder(self._plan.output, item.nodeid, number))
        attempt.reports = runtestprotocol(item, log=False, nextitem=nextitem)
        return attempt

    def _replace_for(self, item: pytest.Item) -> None:
        if not self._guest_manager.used:
            return
        reason, problems = f"{item.name} asks for a fresh one", self._guest_manager.problems()
        if problems:
            reason += f"; while its fixtures were set up in a used one, the kernel reported: {problems[0].title}"
            self._live.note(reason)
        self._guest_manager.replace(reason)

    def _block(self, item: pytest.Item, blocking: FailedBase) -> None:
        """Give a test that cannot pass its verdict, without running it."""
        judgement = Judgement(Verdict.BLOCKED, str(blocking))
        unrun = Attempt(TestRecord(), self._now.recorder, expected=Expected(judgement))
        self._journal.write(
            "result",
            **self._identity(item),
            **unrun.describe(),
            known_issue=None,
            falsification=None,
            blocked_by=blocking.requirement,
        )
        self._live.blocked(item.nodeid)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, None, None]:
        """See that there is a guest, then set the test's fixtures up within its budget."""
        record = item.stash[TEST_RECORD]
        if "_machine" in getattr(item, "fixturenames", ()):
            if item.get_closest_marker("fresh_guest") and self._guest_manager.used:
                # Many are skipped, for which a used guest will do. A debugger would stop in the rehearsal, too.
                self._now.rehearsal = not self._config.stash[DEBUGGING]
                if not self._now.rehearsal:
                    self._replace_for(item)
            booting = self._guest_manager.current is None
            try:
                machine = self._guest_manager.machine()
            except BootError as error:
                self._journal.write("stopped", reason=str(error), exit_status=error.status, durable=True)
                pytest.exit(str(error), returncode=error.status)
            if booting:
                self._live.note(f"guest: {machine.startup}")
            elif machine.load_error is None:
                machine.link_watch.wait_until_steady()
            machine.clear_warn_once()
            record.follow(machine.agent.count, machine.calls)
            self._now.recorder.start(machine)
            fault = fault_of(item)
            if fault is not None and is_models(fault) and _of_another_model(machine.model, fault):
                subject = self._guest_manager.driver.subject
                record.record("not falsifiable here", f"{self._guest_manager.driver.name} runs on {subject}")
                pytest.skip(f"{fault} is a fault of another model; the subject is {subject}")
        with self._limit(item, "setup"), _skipped_for_what_is_lacking(record):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, None, None]:
        """Run the test itself, under its fault if there is one."""
        if self._now.rehearsal:
            # Replaced at once: there is no point in undoing anything in the used one.
            self._now.recorder.drop()
            self._replace_for(item)
            raise FreshGuestNeeded
        self._guest_manager.used = self._now.began = True
        with self._limit(item, "call"), _skipped_for_what_is_lacking(item.stash[TEST_RECORD]):
            fault = fault_of(item)
            if fault is None:
                return (yield)
            with self._armed(fault, required(item), item.stash[TEST_RECORD]):
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
        self._now.seconds += report.duration
        if call.excinfo is None:
            return report
        error = call.excinfo.value
        if is_interrupt(error):
            self._stop(item.session)
        if isinstance(error, FreshGuestNeeded):
            return report
        if isinstance(error, pytest.skip.Exception):
            record.skipped = str(error.msg)
            return report
        if not record.phase_failures:
            self._now.recorder.look()
            record.violations = self._violations()
        record.phase_failures.append(
            PhaseFailure(
                report.when,
                kind_of(error, report.when),
                one_line(error, record, report.when),
                missing(error, report.when, self._guest_manager.current),
            )
        )
        record.tracebacks[report.when] = str(report.longrepr)
        return report

    def _violations(self) -> list[str]:
        machine = self._guest_manager.current
        if machine is None:
            return []
        with suppress(InfrastructureError):
            return machine.violations(self._now.begin)
        return []

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.CollectReport | pytest.TestReport) -> tuple[str, str, str] | None:
        """Keep pytest's own letters off the console: each test has its line already."""
        return ("", "", "") if isinstance(report, pytest.TestReport) else None

    @pytest.hookimpl
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Write down that the user ended the run."""
        if not isinstance(excinfo.value, pytest.exit.Exception):
            self._stop(None)

    @pytest.hookimpl
    def pytest_internalerror(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Write down that a bug ended the run, which is not complete then."""
        reason = f"an internal error: {type(excinfo.value).__name__}: {excinfo.value}"
        self._journal.write("stopped", reason=reason, exit_status=InfrastructureError.exit_status, durable=True)
        self._broken = True

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Close the guest and the journal."""
        if (session.shouldfail or session.shouldstop) and not (self._interrupted or self._broken):
            self._journal.write("stopped", reason=str(session.shouldfail or session.shouldstop), exit_status=None)
        self._guest_manager.close()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._journal.write("end", pytest_exit_status=int(exitstatus), durable=True)
        self._live.close()

    def _stop(self, session: pytest.Session | None) -> None:
        """Write down that the user ended the run; no verdict comes of the test that was running."""
        if not self._interrupted:
            self._journal.write("stopped", reason="interrupted", exit_status=INTERRUPTED, durable=True)
        self._interrupted = True
        if session is not None:
            session.shouldstop = "interrupted"

    def _judge(self, item: pytest.Item, attempt: Attempt, *, keep: bool) -> None:
        """Judge an attempt, and keep what was recorded of it if it did not pass, or on request."""
        record = attempt.record
        self._guest_manager.drain_console()
        attempt.problems, provoked = _split_provoked(self._guest_manager.problems(), item)
        for problem in provoked:
            record.record(f"provoked: {problem.title}", problem.excerpt)
        attempt.expected = self._expected(item, attempt)
        attempt.fault = self._fault_result(item, attempt)
        if keep or _failed(attempt.judgement, attempt.fault) or attempt.judgement.verdict is Verdict.XFAIL:
            attempt.artifacts = attempt.recorder.keep(
                console=self._guest_manager.excerpt(), tracebacks=record.tracebacks
            )
        else:
            attempt.recorder.drop()

    def _conclude(self, item: pytest.Item, attempts: Sequence[Attempt]) -> None:
        first, last = attempts[0], attempts[-1]
        judgement = confirmed(attempts, self._quarantine(item))
        seconds = sum(attempt.seconds for attempt in attempts)
        advertised = [attempt.record.advertised for attempt in attempts if attempt.record.advertised is not None]
        self._journal.write(
            "result",
            durable=False,
            **self._identity(item),
            **{
                **first.describe(),
                "verdict": judgement.verdict,
                "reason": judgement.reason,
                "seconds": round(seconds, 3),
            },
            attempts=[{"start": attempt.start, **attempt.describe()} for attempt in attempts]
            if len(attempts) > 1
            else [],
            **first.expected.describe(required(item).id),
            falsification=first.fault,
            advertised=sorted(set().union(*advertised)) if advertised else None,
        )
        self._show(item, judgement, first.fault, seconds)
        self._note_base(item, attempts, judgement)
        self._report(item, last, failed=_failed(judgement, last.fault))
        self._settle(last, item)

    def _note_base(self, item: pytest.Item, attempts: Sequence[Attempt], judgement: Judgement) -> None:
        """Take note of what the driver does not provide, if each attempt at this test has shown it, though each in its way."""
        if self._plan.falsify or not all(attempt.is_against_the_driver for attempt in attempts):
            return
        # What is missing in a guest of another test counts only where no requirement of the run says whether the driver provides it.
        own, other = required(item).base, attempts[-1].missing
        for base in (own, None if other in bases.selected(item.session.items) else other):
            if base is not None:
                found = FailedBase(base, required(item).id, judgement.verdict, judgement.reason)
                if self._bases.failed(found):
                    self._live.base_failed(found)

    def _report(self, item: pytest.Item, attempt: Attempt, *, failed: bool) -> None:
        """Hand pytest's reports to the other plugins, and count the test as failed once, whatever its phases and attempts."""
        log = self._config.pluginmanager.subset_hook_caller("pytest_runtest_logreport", [item.session])
        for report in attempt.reports:
            if report.failed and not failed:
                report.outcome = "skipped"
                report.wasxfail = str(attempt.judgement.verdict)
            log(report=report)
        if failed:
            count_failures(item.session, item.session.testsfailed + 1)

    def _settle(self, attempt: Attempt, item: pytest.Item) -> None:
        """Decide whether the next test may have this guest."""
        if self._guest_manager.current is None:
            return
        verdict = attempt.judgement.verdict
        if attempt.problems:
            self._guest_manager.replace(f"{item.name} left the kernel with a problem")
        elif verdict is Verdict.TIMEOUT or any(
            failure.phase != "call" or failure.kind != "assertion" for failure in attempt.record.phase_failures
        ):
            self._guest_manager.replace(f"{item.name} ended with {verdict}, its guest may not be as it was")
        elif attempt.record.violations:
            self._guest_manager.replace(
                f"{item.name} ended with {verdict}, and the device noted {attempt.record.violations[0]}"
            )
        elif attempt.record.remainder:
            self._guest_manager.replace(f"{item.name} left {attempt.record.remainder}")
        elif self._plan.falsify and attempt.fired:
            self._guest_manager.replace(f"{item.name} ran under a fault")
        elif item.get_closest_marker("fresh_guest") and attempt.began:
            self._guest_manager.replace(f"{item.name} had a guest of its own")
        else:
            self._guest_manager.settle()

    def _show(self, item: pytest.Item, judgement: Judgement, fault: Mapping[str, Any] | None, seconds: float) -> None:
        verdict, reason = judgement.verdict, judgement.reason
        if fault is not None:
            verdict = _SHOWN[fault["outcome"]]
            found = f"{judgement.verdict} ({judgement.reason})" if judgement.reason else str(judgement.verdict)
            reason = (
                f"{fault['outcome']}: {fault['name']} fired {fault['fired']} times, "
                f"demanded {fault['demanded']}, found {found}"
            )
        self._live.result(verdict, required(item).id, item.name, seconds, reason)

    def _fault_result(self, item: pytest.Item, attempt: Attempt) -> dict[str, Any] | None:
        fault = fault_of(item)
        if fault is None:
            return None
        demanded = required(item).falsified_as
        verdict = attempt.judgement.verdict
        if verdict is Verdict.SKIP:
            outcome = "skipped"
        elif verdict is Verdict.ERROR:
            outcome = "error"
        elif not attempt.fired:
            outcome = "never fired"
        else:
            outcome = "falsified" if verdict is demanded else "not falsified"
        return {"name": fault, "fired": attempt.fired, "demanded": demanded, "outcome": outcome}

    @contextmanager
    def _armed(self, fault: str, falsified: Requirement, record: TestRecord) -> Generator[None]:
        match = falsified.match
        machine = self._guest_manager.current
        if not is_models(fault):
            interposer = self._guest_manager.interposer
            assert interposer is not None
            interposer.arm(fault, match=match)
            try:
                yield
            finally:
                self._now.fired = interposer.disarm(fault)
            return
        if machine is None or machine.model is None:
            raise PlugfestError(
                f"fault {fault}: expected a test that uses the guest, "
                "found none of guest, dut, wire and model in its arguments"
            )
        client = machine.model
        before = _fired(client.call("faults.list"), fault)
        how = {"match": dict(match)} if match else {}
        record.at_step(falsified.fault_from_step, lambda: client.call("faults.arm", name=fault, **how))
        try:
            yield
        finally:
            self._now.fired = _fired(client.call("faults.list"), fault) - before
            client.call("faults.disarm", name=fault)

    @contextmanager
    def _limit(self, item: pytest.Item, phase: str) -> Generator[None]:
        marker = item.get_closest_marker("budget")
        seconds = float(marker.args[0]) if marker else budget.DEFAULT
        machine = self._guest_manager.current
        speed, lost = (1.0, deadline.never) if machine is None else (machine.speed, machine.lost)
        with budget.budget(seconds, phase, speed=speed, lost=lost, note=item.stash[TEST_RECORD].waits.append):
            yield

    def _expected(self, item: pytest.Item, attempt: Attempt) -> Expected:
        """Return an attempt's verdict in the light of the known issues."""
        summaries = [problem.summary for problem in attempt.problems]

        def judged(problems: Sequence[str]) -> Judgement:
            return judge(
                phase_failures=attempt.record.phase_failures,
                problems=problems,
                skipped=attempt.record.skipped,
                evidence=bool(attempt.record.evidence),
            )

        found = judged(summaries)
        if self._plan.falsify:
            return Expected(found)
        # Whatever fails or the kernel complains of once it is beyond use follows from that.
        fatal = next((number for number, problem in enumerate(attempt.problems, 1) if problem.fatal), None)
        aside = judged(()) if fatal is None else None
        return self._issues.expect(
            found, required(item).id, parameters_of(item), summaries[:fatal], aside, attempt.record.violations
        )

    def _quarantine(self, item: pytest.Item) -> Quarantined | None:
        return quarantine.matching(
            self._quarantined,
            required(item).id,
            self._guest_manager.driver.name,
            self._plan.release,
            parameters_of(item),
        )

    def _identity(self, item: pytest.Item) -> dict[str, Any]:
        found = required(item)
        return {
            "test": item.nodeid,
            "requirement": found.id,
            "area": found.area,
            "level": found.level,
            "fault": fault_of(item),
        }


@contextmanager
def _skipped_for_what_is_lacking(record: TestRecord) -> Generator[None]:
    """Skip a test that needs what the kernel, or a real machine, does not have: that shows nothing about the driver."""
    try:
        yield
    except KernelLacksError as lack:
        record.skip(f"the kernel lacks {lack.what}", lack.evidence)
    except NeedsModelError as lack:
        record.skip(f"needs the model: {lack.what}", lack.evidence)


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
    if isinstance(error, DriverLoadError) or (isinstance(error, NoLinkError) and phase == "setup"):
        return "driver"
    if isinstance(error, AssertionError | pytest.fail.Exception):
        return "assertion"
    if isinstance(error, TimeoutError) and not isinstance(error, PlugfestError):
        return "timeout"
    return "error"


def missing(error: BaseException, phase: str, machine: Machine | None) -> Base | None:
    """Return what an exception shows the driver never to have provided in this guest; None if it shows no such thing."""
    if machine is not None and error is machine.load_error:
        return Base.NETDEV
    if isinstance(error, NoLinkError) and error.never and phase == "setup":
        return Base.LINK
    return None


def one_line(error: BaseException, record: TestRecord, phase: str) -> str:
    """Return an exception's message on one line, with the step that it ended."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    if isinstance(error, AssertionError | pytest.fail.Exception | BudgetExceeded):
        message = text or "an assertion without a message"
    else:
        message = f"{type(error).__name__}: {text}" if text else type(error).__name__
    step = record.failing_step if phase == "call" else None
    if step:
        message += f" (step: {step})"
    if record.violations:
        message += f" (the device noted: {', '.join(record.violations)})"
    return message


def _failed(judgement: Judgement, fault: Mapping[str, Any] | None) -> bool:
    """Whether a test makes the run fail: its verdict, or under a fault what came of that."""
    return judgement.verdict.is_failure if fault is None else fault["outcome"] in ("not falsified", "error")


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
