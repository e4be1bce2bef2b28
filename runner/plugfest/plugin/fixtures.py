# SPDX-License-Identifier: GPL-2.0-or-later
"""The fixtures that the suite's tests use.

All are function-scoped: a guest that a test broke is replaced before the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NoReturn, Protocol, TypeVar

import pytest

from plugfest import deadline
from plugfest.plugin.state import GUEST_MANAGER, TEST_RECORD
from plugfest.provision.artifact import Kernel
from plugfest.requirements.drivers import Driver

if TYPE_CHECKING:
    from plugfest.dut.dut import Dut
    from plugfest.faults import LocalFaults
    from plugfest.machine.agent import AgentClient
    from plugfest.machine.console import Console
    from plugfest.machine.machine import Machine
    from plugfest.machine.model import ModelClient
    from plugfest.machine.remote import Remote
    from plugfest.machine.ssh import CommandResult, SshSession
    from plugfest.plugin.test_record import TestRecord

Value = TypeVar("Value")


class Until(Protocol):
    """Waits for a condition; see `plugfest.deadline.until`."""

    def __call__(self, condition: Callable[[], Value], *, what: str, timeout: float = ...) -> Value:
        """Return the condition's first true value.

        Args:
            condition: called again and again.
            what: what is waited for, as "the carrier comes up"; part of the message when it does not come.
            timeout: seconds on a guest of speed 1; a slower guest gets more.

        Raises:
            AssertionError: it did not become true in time.
        """


class GuestHandle:
    """The guest under test: its shell, its agent, its speed.

    Attributes:
        machine: everything else, for tests of the machine itself.
    """

    def __init__(self, machine: Machine) -> None:
        """Wrap a booted machine."""
        self.machine = machine

    @property
    def ssh(self) -> SshSession:
        """The SSH session."""
        return self.machine.ssh

    @property
    def agent(self) -> AgentClient:
        """The resident agent."""
        return self.machine.agent

    @property
    def console(self) -> Console:
        """The serial console."""
        return self.machine.console

    @property
    def speed(self) -> float:
        """How fast the guest is: 1 is a KVM guest on an idle laptop, 0.1 is ten times slower."""
        return self.machine.speed

    def run(self, command: str, *, check: bool = True, timeout: float | None = None) -> CommandResult:
        """Run a shell command in the guest; see `plugfest.machine.ssh.SshSession.run`."""
        return self.ssh.run(command, check=check, timeout=timeout)


@pytest.fixture
def _machine(request: pytest.FixtureRequest) -> Machine:
    """The machine of this test: the run's, or a fresh one where the test or its predecessor made that necessary."""
    return request.config.stash[GUEST_MANAGER].machine()


@pytest.fixture
def _test_record(request: pytest.FixtureRequest) -> TestRecord:
    """The record of this test."""
    node: pytest.Item = request.node
    return node.stash[TEST_RECORD]


@pytest.fixture
def guest(_machine: Machine) -> GuestHandle:
    """The guest: ``run``, ``agent``, ``speed``."""
    return GuestHandle(_machine)


@pytest.fixture
def dut(_machine: Machine) -> Dut:
    """The interface under test, as the driver tells it."""
    return _machine.dut


@pytest.fixture
def remote(_machine: Machine) -> Remote:
    """The other end of the wire."""
    return _machine.remote


@pytest.fixture
def model(_machine: Machine, driver: Driver, skip_unsupported: Callable[..., NoReturn]) -> ModelClient:
    """The device, as its model tells it; skips where the subject is no model of ours."""
    if _machine.model is None:
        skip_unsupported("the subject has no model to ask", evidence=f"driver {driver.name} runs on {driver.subject}")
    return _machine.model


@pytest.fixture
def kernel(request: pytest.FixtureRequest) -> Kernel:
    """The guest's kernel."""
    return request.config.stash[GUEST_MANAGER].plan.kernel


@pytest.fixture
def driver(request: pytest.FixtureRequest) -> Driver:
    """The driver under test, as the registry describes it."""
    return request.config.stash[GUEST_MANAGER].driver


@pytest.fixture
def faults(request: pytest.FixtureRequest) -> LocalFaults:
    """The fault points on the runner's side: ``if faults["program:…"]:``."""
    return request.config.stash[GUEST_MANAGER].faults


@pytest.fixture
def step(_test_record: TestRecord) -> Callable[[str], AbstractContextManager[None]]:
    """``with step("Take the partner down"):`` one step of the procedure; the sentence is a literal or an f-string."""
    return _test_record.step


@pytest.fixture
def evidence(_test_record: TestRecord) -> Callable[[str, object], None]:
    """``evidence("ethtool -i", guest.run(…))`` keeps what was seen, for the reports."""
    return _test_record.record


@pytest.fixture
def advertises(_test_record: TestRecord) -> Callable[[Iterable[str]], None]:
    """``advertises({"xdp-act:basic"})`` keeps which flags of netdev.yaml the driver advertises, for the reports' matrix."""
    return _test_record.advertise


@pytest.fixture
def skip_unsupported(_test_record: TestRecord) -> Callable[..., NoReturn]:
    """``skip_unsupported("zero-copy AF_XDP", evidence=features)`` skips: the driver does not claim it, and this shows so."""

    def skip(what: str, *, evidence: object) -> NoReturn:
        _test_record.record(f"not supported: {what}", evidence)
        pytest.skip(f"not supported: {what}")

    return skip


@pytest.fixture
def defer(_test_record: TestRecord, request: pytest.FixtureRequest) -> Iterator[Callable[..., None]]:
    """``defer(guest.run, "ip link del …")`` registers the undo of a change as it is made; a failed undo is an error."""
    yield _test_record.defer
    if request.config.stash[GUEST_MANAGER].lost():
        _test_record.abandon_undo()
    else:
        _test_record.undo()


@pytest.fixture
def until(_machine: Machine) -> Until:
    """``until(condition, what="the carrier comes up", timeout=2)`` waits, longer on a slow guest."""

    def wait(condition: Callable[[], Value], *, what: str, timeout: float = 5.0) -> Value:
        return deadline.until(condition, what=what, timeout=timeout, speed=_machine.speed)

    return wait
