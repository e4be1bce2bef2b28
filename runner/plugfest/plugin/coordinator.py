# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the tests on several guests at once.

pytest collects the suite once. Then one worker a guest is forked, in a network namespace of its own, and asks for one test after the
other. The coordinator never boots a guest: it hands out tests, prints their lines, and sees to it that the run goes on or ends as one.
"""

from __future__ import annotations

import dataclasses
import math
import os
import selectors
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from plugfest.errors import InfrastructureError
from plugfest.plugin import budget
from plugfest.plugin.bases import FailedBase
from plugfest.plugin.channel import Channel, Message
from plugfest.plugin.failure_limit import count_failures
from plugfest.plugin.item import required
from plugfest.plugin.state import BASES
from plugfest.plugin.worker import INTERRUPTIONS, RegisterVerdicts, flush_streams, work
from plugfest.requirements.verdict import Verdict

if TYPE_CHECKING:
    from plugfest.plugin.live import LiveConsole
    from plugfest.plugin.pace import Pace
    from plugfest.run.journal import Journal
    from plugfest.run.plan import Plan

WORTH = 10.0
"""Seconds of tests that make another guest worth its start."""

_TICK = 0.5
"""Seconds between two looks at the progress bar."""


@dataclass
class _Worker:
    """One worker.

    Attributes:
        number: of its guest.
        process: its process id.
        channel: to it.
        item: the index of the test that it runs; None if it runs none.
        failed: how many of its tests have failed.
        waits: whether it waits for a test, or for the word that there are no more.
        left: whether it has said that it ends.
        has_fresh_guest: whether its guest is as it was booted, or was given to a test that asks for a fresh one: then it will be replaced
            before the next test in any case, unless that test was skipped.
    """

    number: int
    process: int
    channel: Channel
    item: int | None = None
    failed: int = 0
    waits: bool = False
    left: bool = False
    has_fresh_guest: bool = True


class Coordinator:
    """A pytest plugin: the run's loop, in place of pytest's own."""

    def __init__(
        self, plan: Plan, journal: Journal, live: LiveConsole, pace: Pace, register_verdicts: RegisterVerdicts
    ) -> None:
        """Take what the run is made of.

        Args:
            plan: of the whole run.
            journal: of the whole run.
            live: the console.
            pace: how long the tests take.
            register_verdicts: registers, in a worker, what runs and judges a plan's tests.
        """
        self._plan = plan
        self._journal = journal
        self._live = live
        self._pace = pace
        self._register_verdicts = register_verdicts
        self._guests = 1
        self._started = 0
        self._failed = 0
        self._workers: dict[int, _Worker] = {}
        self._selector = selectors.DefaultSelector()
        self._waiting: list[int] = []
        self._exit: tuple[str, int] | None = None
        self._session: pytest.Session

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Decide on the number of guests: a short run does not pay for the start of many."""
        tests = [item.nodeid for item in session.items]
        worth = math.ceil(self._pace.expected(tests) / WORTH)
        self._live.guests = self._guests = max(1, min(self._plan.guests, len(tests), worth))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Run all tests; None leaves it to pytest, where one guest is enough."""
        if self._guests < 2 or session.testsfailed:
            return None
        self._session = session
        # A random order is kept as it is.
        self._waiting = self._order(session.items) if self._plan.seed is None else list(range(len(session.items)))
        try:
            for _ in range(self._guests):
                self._start()
            while self._workers:
                self._serve()
        except BaseException as error:
            why = "interrupted" if isinstance(error, KeyboardInterrupt) else "internal error"
            try:
                self._live.note(f"{why}: closing the guests")
            finally:
                self._end_workers()
            raise
        if self._exit is not None:
            reason, status = self._exit
            pytest.exit(reason, returncode=status)
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)
        return True

    # --- workers --------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        """Fork a worker."""
        self._started += 1
        plan, others = self._plan.of_guest(self._started), [worker.channel for worker in self._workers.values()]
        ours, theirs = socket.socketpair()
        flush_streams()  # or the worker would print it again
        try:
            # An interruption must find either no worker, or one that is registered and in its own code: see `work`.
            signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTIONS)
            process = os.fork()
            if process == 0:
                work(self._session, plan, Channel(theirs), self._register_verdicts, [ours, self._selector, *others])
            theirs.close()
            worker = _Worker(self._started, process, Channel(ours))
            self._workers[process] = worker
            self._selector.register(worker.channel, selectors.EVENT_READ, worker)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTIONS)

    def _serve(self) -> None:
        """Handle what the workers have sent."""
        for key, _ in self._selector.select(_TICK):
            worker: _Worker = key.data
            messages, closed = worker.channel.arrived()
            for message in messages:
                self._handle(worker, message)
            if closed:
                code = self._reap(worker)
                if not worker.left:
                    self._lose(worker, code)
        self._hand_out()
        self._live.tick()

    def _handle(self, worker: _Worker, message: Message) -> None:
        match message.pop("kind"):
            case "ready":
                worker.item, worker.failed, worker.waits = None, message["failed"], True
            case "report":
                config = self._session.config
                report = config.hook.pytest_report_from_serializable(config=config, data=message["data"])
                # The session would count it: the workers tell how many of their tests have failed.
                log = config.pluginmanager.subset_hook_caller("pytest_runtest_logreport", [self._session])
                log(report=report)
            case "note":
                self._live.note(f"guest {worker.number}: {message['text'].removeprefix('guest: ')}")
            case "attempt":
                self._live.attempt(**message)
            case "result":
                self._live.result(**{**message, "verdict": Verdict(message["verdict"])})
            case "base":
                found = FailedBase.of(message)
                if self._session.config.stash[BASES].failed(found):
                    self._live.base_failed(found)
            case "blocked":
                self._live.blocked(**message)
            case "ended":
                self._live.ended(**message)
            case "stopped":
                self._stop(message["reason"], message["exit_status"])
            case "bye":
                worker.left = True

    def _hand_out(self) -> None:
        """Give each worker that waits its next test, unless the run is to end."""
        session = self._session
        count_failures(session, self._failed + sum(each.failed for each in self._workers.values()))
        over = session.shouldfail or session.shouldstop or self._exit
        for worker in [each for each in self._workers.values() if each.waits]:
            if over or not self._waiting:
                worker.waits = False
                worker.channel.send("end")
            elif not self._base_runs():
                worker.waits = False
                worker.item = self._next(worker)
                self._waiting.remove(worker.item)
                worker.has_fresh_guest = _is_fresh(session.items[worker.item])
                failed = [dataclasses.asdict(each) for each in session.config.stash[BASES]]
                worker.channel.send("run", item=worker.item, failed_bases=failed)

    def _base_runs(self) -> bool:
        """Whether a test runs on which the others stand: they wait for its verdict, which may block them."""
        items = self._session.items
        running = [items[each.item] for each in self._workers.values() if each.item is not None]
        return not self._plan.falsify and any(required(item).base is not None for item in running)

    def _reap(self, worker: _Worker) -> int:
        """Take leave of a worker that has ended; returns its exit status, or minus the signal that killed it."""
        self._selector.unregister(worker.channel)
        worker.channel.close()
        del self._workers[worker.process]
        self._failed += worker.failed
        return os.waitstatus_to_exitcode(os.waitpid(worker.process, 0)[1])

    def _lose(self, worker: _Worker, code: int) -> None:
        """Write down which test a worker that died took along, and start another."""
        if code == -signal.SIGKILL:
            how, remedy = "was killed by SIGKILL", "if memory ran out (dmesg), use fewer --guests"
        else:
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with status {code}"
            remedy = "please report it, with what it has printed"
        doing = "run the tests" if worker.item is None else "run this test to its end"
        reason = f"expected guest {worker.number}'s process to {doing}, found that it {how}; {remedy}"
        if worker.item is None:
            self._stop(reason, InfrastructureError.exit_status)
            return
        test = self._session.items[worker.item].nodeid
        self._failed += 1
        self._journal.write("lost", test=test, reason=reason, durable=True)
        self._live.lost(test, reason)
        if self._waiting:
            self._start()

    def _stop(self, reason: str, status: int) -> None:
        """Hand out no more tests; the run ends when those that run have ended."""
        if self._exit is None:
            self._exit = reason, status
            self._journal.write("stopped", reason=reason, exit_status=status, durable=True)

    def _end_workers(self) -> None:
        """Interrupt the workers, and wait until each has closed its guest."""
        for worker in self._workers.values():
            with suppress(ProcessLookupError):
                os.kill(worker.process, signal.SIGINT)
        self._waiting.clear()
        while self._workers:
            for key, _ in self._selector.select():
                worker = key.data
                _, closed = worker.channel.arrived()
                if closed:
                    self._reap(worker)

    # --- the order of tests ---------------------------------------------------------------------------------------

    def _order(self, items: Sequence[pytest.Item]) -> list[int]:
        """Return the indices of tests: first what the others stand on, then the longest.

        A test that no run has measured counts with its budget.
        """
        seconds = [self._pace.known(item.nodeid) for item in items]
        guessed = [_budget(item) if known is None else known for item, known in zip(items, seconds, strict=True)]
        bases = sum(required(item).base is not None for item in items)  # the first ones: `plugfest.plugin.bases.first`
        return sorted(range(len(guessed)), key=lambda index: -math.inf if index < bases else -guessed[index])

    def _next(self, worker: _Worker) -> int:
        """Return the next test; one that asks for a fresh guest goes to a worker that has one."""
        items = self._session.items
        if worker.has_fresh_guest and self._plan.seed is None and required(items[self._waiting[0]]).base is None:
            return next((index for index in self._waiting if _is_fresh(items[index])), self._waiting[0])
        return self._waiting[0]


def _is_fresh(item: pytest.Item) -> bool:
    return item.get_closest_marker("fresh_guest") is not None


def _budget(item: pytest.Item) -> float:
    marker = item.get_closest_marker("budget")
    return budget.DEFAULT if marker is None else float(marker.args[0])
