# SPDX-License-Identifier: GPL-2.0-or-later
"""One worker of a run on several guests: a process with a guest of its own, which runs the tests that the coordinator hands out."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, cast

import pytest

from plugfest.errors import INTERRUPTED, InfrastructureError, PlugfestError
from plugfest.plugin.bases import FailedBase
from plugfest.plugin.state import BASES, GUEST_MANAGER
from plugfest.run import sandbox

if TYPE_CHECKING:
    from plugfest.plugin.channel import Channel
    from plugfest.plugin.live import Live
    from plugfest.requirements.verdict import Verdict
    from plugfest.run.plan import Plan

RegisterVerdicts = Callable[["Plan", "Live"], object]
"""Registers what runs and judges a plan's tests, in place of what did so for another plan."""

INTERRUPTIONS = frozenset({signal.SIGINT, signal.SIGTERM})
"""The signals that end a run."""


class Closeable(Protocol):
    """Something of the coordinator's that a fork inherits."""

    def close(self) -> None:
        """Close it in this process."""


def work(
    session: pytest.Session,
    plan: Plan,
    channel: Channel,
    register_verdicts: RegisterVerdicts,
    inherited: Sequence[Closeable],
) -> NoReturn:
    """Run tests until there are no more, then exit: this is a forked process, and must not return into the coordinator's code.

    It is forked with `INTERRUPTIONS` blocked, for one that came before the first line would raise in the coordinator's code.

    Args:
        session: pytest's, with the collected tests.
        plan: of this guest.
        channel: to the coordinator.
        register_verdicts: registers what runs and judges a plan's tests.
        inherited: what only the coordinator uses.
    """
    status = 1
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTIONS)
        for each in inherited:
            each.close()
        # Not the terminal's foreground: ^C goes to the coordinator, which interrupts each worker once.
        os.setpgid(0, 0)
        _own_streams(session.config)
        sandbox.enter_own_network()
        plan.scratch.mkdir(parents=True, exist_ok=True)
        register_verdicts(plan, _Messages(channel))
        session.config.pluginmanager.register(_Reports(session.config, channel))
        _run(session, channel)
        status = 0
    except KeyboardInterrupt:  # before its first test
        channel.send("stopped", reason="interrupted", exit_status=INTERRUPTED)
    except (PlugfestError, pytest.UsageError) as error:
        channel.send("stopped", reason=str(error), exit_status=InfrastructureError.exit_status)
    except BaseException as error:  # see above
        traceback.print_exc()
        found = f"{type(error).__name__}: {error}"
        reason = f"expected guest {plan.guest}'s process to run the tests, found {found}; please report it, with the traceback"
        channel.send("stopped", reason=reason, exit_status=InfrastructureError.exit_status)
    finally:
        _leave(channel, status)


def _leave(channel: Channel, status: int) -> NoReturn:
    """Say that this worker ends, and exit, whatever interrupts it meanwhile."""
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTIONS)
    finally:
        try:
            channel.send("bye")
            flush_streams()
        finally:
            os._exit(status)


def flush_streams() -> None:
    """Write what has been printed: neither a fork nor `os._exit` does."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody reads it any more; it is closed
            stream.flush()


def _own_streams(config: pytest.Config) -> None:
    """Read nothing, for the terminal stops what reads in its background; capture into files of this process.

    Those of the coordinator have one offset for both.
    """
    manager: Any = config.pluginmanager.getplugin("capturemanager")
    captures = manager is not None and manager.is_globally_capturing()
    if captures:
        manager.stop_global_capturing()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    if captures:
        manager.start_global_capturing()
        manager.suspend_global_capture()


def _run(session: pytest.Session, channel: Channel) -> None:
    session.testsfailed = 0  # those of this worker: one that takes another's place inherits those of all
    try:
        while True:
            channel.send("ready", failed=session.testsfailed)
            message = channel.receive()
            if message is None or message["kind"] != "run":
                break
            for found in message["failed_bases"]:
                session.config.stash[BASES].failed(FailedBase.of(found))
            item = session.items[message["item"]]
            # The next test is not known yet. What is of the session lives on; what is of a module or a class ends with the test.
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=cast("pytest.Item", session))
            if session.shouldstop:
                break
    except KeyboardInterrupt as error:
        session.config.hook.pytest_keyboard_interrupt(excinfo=pytest.ExceptionInfo.from_exception(error))
    except pytest.exit.Exception as error:
        channel.send("stopped", reason=str(error.msg), exit_status=error.returncode)
    finally:
        try:
            runner: Any = session.config.pluginmanager.getplugin("runner")
            runner.pytest_sessionfinish(session)  # undoes what is set up for the session
        finally:
            session.config.stash[GUEST_MANAGER].close()


class _Messages:
    """Sends to the coordinator what is to be seen on the console."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def plan(self, tests: Sequence[str]) -> None:
        """The coordinator knows."""

    def note(self, text: str) -> None:
        self._channel.send("note", text=text)

    def attempt(self, test: str, requirement: str) -> None:
        self._channel.send("attempt", test=test, requirement=requirement)

    def result(self, verdict: Verdict, requirement: str, name: str, seconds: float, reason: str) -> None:
        self._channel.send(
            "result", verdict=verdict, requirement=requirement, name=name, seconds=seconds, reason=reason
        )

    def base_failed(self, found: FailedBase) -> None:
        self._channel.send("base", **dataclasses.asdict(found))

    def blocked(self, test: str) -> None:
        self._channel.send("blocked", test=test)

    def ended(self, test: str, seconds: float) -> None:
        self._channel.send("ended", test=test, seconds=seconds)

    def close(self) -> None:
        """Nothing is left to say."""


class _Reports:
    """Sends pytest's reports to the coordinator, whose plugins write what the user asked of them."""

    def __init__(self, config: pytest.Config, channel: Channel) -> None:
        self._config = config
        self._channel = channel

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        with suppress(TypeError):  # a plugin put something into it that is no JSON
            self._channel.send("report", data=data)
