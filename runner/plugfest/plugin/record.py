# SPDX-License-Identifier: GPL-2.0-or-later
"""What is recorded while one test runs: steps, evidence, undo."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import pytest

from plugfest.deadline import Wait
from plugfest.machine.agent import AgentClient, result_or_error
from plugfest.machine.call_count import CallCount
from plugfest.machine.call_log import CallLog
from plugfest.requirements.verdict import PhaseFailure


@dataclass
class Step:
    """One step as it ran.

    Attributes:
        sentence: from the test, as the report prints it.
        depth: 0 for a step of the test, 1 for a step within one.
        seconds: how long it took, None while it runs.
        passed: whether it ended without an exception.
    """

    sentence: str
    depth: int
    seconds: float | None = None
    passed: bool = False


@dataclass(frozen=True)
class Evidence:
    """A finding about driver, wire or device, for the reports."""

    name: str
    text: str


@dataclass(frozen=True)
class _Undo:
    """What was deferred.

    Attributes:
        text: the call, for a message.
        action: what to call.
        args: its arguments.
        kwargs: likewise, by name.
    """

    text: str
    action: Callable[..., object]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    @property
    def agent(self) -> AgentClient | None:
        """Whose call it is; None where it is no call of an agent."""
        owner = getattr(self.action, "__self__", None)
        return owner if isinstance(owner, AgentClient) and self.action == owner.call else None

    @property
    def call(self) -> tuple[str, Mapping[str, Any]]:
        """The method and parameters of the agent's call."""
        return self.args[0], self.kwargs

    def run(self) -> object:
        """Do it; returns its result, or the exception that it raised."""
        return result_or_error(self.action, *self.args, **self.kwargs)


@dataclass
class TestRecord:
    """One test's record, from setup to teardown.

    Attributes:
        steps: in the order they began.
        evidence: in the order it came.
        phase_failures: the exceptions of the phases.
        violations: what the device's model had noted of the driver when the first phase failed.
        remainder: what the driver keeps of the test though it was undone, so that no other test may have the guest.
        skipped: the reason, when the test skipped itself.
        tracebacks: of each phase that an exception left.
        advertised: the flags of netdev.yaml that the driver was seen to advertise; None where nobody asked.
        waits: those that ended in time: the calls of ``until``, and the phases of the test, which have a budget.
        waited: seconds spent in ``until``, without calls of the agent that wait in the guest.
        idle: of these, the seconds in which time itself was waited for, without such calls outside ``until``.
    """

    steps: list[Step] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
    phase_failures: list[PhaseFailure] = field(default_factory=list)
    violations: Sequence[str] = ()
    remainder: str | None = None
    skipped: str | None = None
    tracebacks: dict[str, str] = field(default_factory=dict)
    advertised: set[str] | None = None
    waits: list[Wait] = field(default_factory=list)
    waited: float = 0.0
    idle: float = 0.0
    _depth: int = 0
    _waiting: bool = False
    _calls: CallCount = field(default_factory=CallCount)
    _before: CallCount = field(default_factory=CallCount)
    _undo: list[_Undo] = field(default_factory=list)
    _awaited: tuple[int, Callable[[], object]] | None = None
    _log: CallLog | None = None

    @contextmanager
    def step(self, sentence: str) -> Iterator[None]:
        """Do one step of the procedure; its sentence goes into the reports."""
        entry = Step(sentence, self._depth)
        self.steps.append(entry)
        if self._depth == 0 and self._awaited is not None and self._begun() == self._awaited[0]:
            self._awaited[1]()
        if self._log is not None:
            self._log.step(sentence, self._depth)
        self._depth += 1
        begin = time.monotonic()
        try:
            yield
            entry.passed = True
        finally:
            self._depth -= 1
            entry.seconds = time.monotonic() - begin

    def at_step(self, number: int, action: Callable[[], object]) -> None:
        """Do something as a step begins that is not within another: as step 1 begins the test itself, which begins now."""
        if number == 1:
            action()
        else:
            self._awaited = (number, action)

    def _begun(self) -> int:
        return sum(step.depth == 0 for step in self.steps)

    def follow(self, calls: CallCount, log: CallLog) -> None:
        """Count and log the calls of the test from now on."""
        self._calls, self._before = calls, dataclasses.replace(calls)
        self._log = log
        log.begin()

    @contextmanager
    def waiting(self) -> Iterator[Callable[[float], None]]:
        """Count the time of the body as waited, without that of calls which count their own; a wait within another counts once.

        Yields:
            A function that takes the seconds of the wait in which time itself was waited for. Calls whose ``timeout`` passed in the
            body are not counted so: the wait goes on after them.
        """
        if self._waiting:
            yield lambda _seconds: None
            return
        self._waiting = True
        begin, idle = time.monotonic() - self._calls.waiting, self._calls.idle
        try:
            yield self._idle
        finally:
            self._waiting = False
            self.waited += time.monotonic() - self._calls.waiting - begin
            self._calls.idle = idle

    def _idle(self, seconds: float) -> None:
        self.idle += seconds

    def cost(self) -> dict[str, object]:
        """Return what the test cost, for the journal: calls of the agent, seconds waited and idle, and the waits that were tight."""
        return {
            "calls": self._calls.calls - self._before.calls,
            "waited": round(self.waited + self._calls.waiting - self._before.waiting, 3),
            "idle": round(self.idle + self._calls.idle - self._before.idle, 3),
            "tight_waits": [
                {
                    "what": wait.what,
                    "seconds": round(wait.seconds, 3),
                    "limit": round(wait.limit, 3),
                    "share": round(wait.share, 3),
                }
                for wait in self.waits
                if wait.tight
            ],
        }

    def record(self, name: str, value: object) -> None:
        """Keep a piece of evidence; a command's result is kept as its command line and output."""
        self.evidence.append(Evidence(name, as_text(value)))

    def skip(self, reason: str, evidence: object) -> NoReturn:
        """End the test as skipped, for a reason that `evidence` shows."""
        self.record(reason, evidence)
        pytest.skip(reason)

    def advertise(self, flags: Iterable[str]) -> None:
        """Keep which flags the driver advertises now, beside those that it was seen to advertise before."""
        self.advertised = (self.advertised or set()).union(flags)

    def defer(self, action: Callable[..., object], *args: object, **kwargs: object) -> None:
        """Register an undo, to be run when the test ends, the last one first."""
        words = [repr(arg) for arg in args] + [f"{key}={value!r}" for key, value in kwargs.items()]
        text = f"{getattr(action, '__qualname__', repr(action))}({', '.join(words)})"
        self._undo.append(_Undo(text, action, args, kwargs))

    def undo(self) -> None:
        """Run what was deferred, all of it; calls of one agent that follow each other go in one exchange.

        Raises:
            UndoError: one or more failed.
        """
        failures: list[str] = []
        while self._undo:
            group = [self._undo.pop()]
            agent = group[0].agent
            while agent is not None and self._undo and self._undo[-1].agent is agent:
                group.append(self._undo.pop())
            # Every undo must get its turn; all failures are raised together below.
            results = [group[0].run()] if agent is None else agent.try_batch([each.call for each in group])
            failures += [
                f"{each.text}: {type(result).__name__}: {result}"
                for each, result in zip(group, results, strict=True)
                if isinstance(result, Exception)
            ]
        if failures:
            raise UndoError(failures)

    def abandon_undo(self) -> int:
        """Forget what was deferred, because the guest it would undo in is gone; returns how many."""
        count = len(self._undo)
        self._undo.clear()
        return count

    @property
    def failing_step(self) -> str | None:
        """The innermost step that an exception left, or None."""
        broken = [entry for entry in self.steps if entry.seconds is not None and not entry.passed]
        return max(broken, key=lambda entry: entry.depth).sentence if broken else None


class UndoError(Exception):
    """A change that a test made could not be undone."""

    def __init__(self, failures: list[str]) -> None:
        """Take one line for each failed undo."""
        super().__init__("could not undo " + "; ".join(failures))
        self.failures = failures


def as_text(value: object) -> str:
    """Turn a piece of evidence into text."""
    command, stdout = getattr(value, "command", None), getattr(value, "stdout", None)
    if isinstance(command, str) and isinstance(stdout, str):
        stderr, status = getattr(value, "stderr", ""), getattr(value, "exit_status", 0)
        ending = f"\n[exit status {status}]" if status else ""
        return f"$ {command}\n{stdout}{stderr}".rstrip() + ending
    return value if isinstance(value, str) else repr(value)
