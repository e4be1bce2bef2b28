# SPDX-License-Identifier: GPL-2.0-or-later
"""Manages the run's guest: boots it when first needed, and replaces it when a test has broken it."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar

from plugfest.errors import InfrastructureError, PlugfestError
from plugfest.falsify.falsifier import Falsifier
from plugfest.faults import is_models
from plugfest.machine.agent import AgentError, AgentTimeout
from plugfest.requirements.drivers import Driver

if TYPE_CHECKING:
    import pytest

    from plugfest.machine.console import Problem
    from plugfest.machine.machine import Machine
    from plugfest.run.journal import Journal
    from plugfest.run.plan import Plan


class BootError(PlugfestError):
    """No guest, so no more tests: the run ends.

    Attributes:
        status: the exit status of what went wrong.
    """

    def __init__(self, cause: PlugfestError) -> None:
        """Take what went wrong."""
        super().__init__(str(cause))
        self.status = cause.exit_status


class GuestManager:
    """Owns the guest of one run.

    Attributes:
        plan: what the run is.
        driver: the driver under test.
        interposer: what changes answers on the runner's side; None in a run that falsifies nothing there.
        kept: the manager of the run before, in a process that runs the suite again and again (``--keep``).
        boot_seconds: duration of all boots so far.
        used: whether the body of a test has begun in the guest; what its fixtures skip leaves it as it was.
    """

    kept: ClassVar[GuestManager | None] = None

    def __init__(self, config: pytest.Config, plan: Plan, journal: Journal) -> None:
        """Boot nothing yet."""
        self.plan = plan
        self.driver: Driver = plan.tested
        self._lasting = [name for name in plan.faults if not is_models(name)]
        self.interposer = Falsifier() if plan.falsify or self._lasting else None
        self.used = False
        self.boot_seconds = 0.0
        self._config = config
        self._journal = journal
        self._machine: Machine | None = None
        self._mark = 0
        self._reason = "the first one"
        self._described = False
        self._unusable: str | None = None
        if self.kept is not None:
            self._keep(self.kept)

    def _keep(self, before: GuestManager) -> None:
        """Take over the guest of the run before, if it left one; a test that asks for a fresh guest must not get it."""
        self.interposer, self._machine = before.interposer, before._machine
        if self._machine is not None:
            self._mark, self.used = self._machine.console.mark(), True
            self._note_boot(0.0, "kept from the run before")

    def machine(self) -> Machine:
        """Return a guest that no test has broken.

        Raises:
            BootError: it did not boot.
        """
        if self._machine is None:
            if self._unusable is not None:
                raise BootError(InfrastructureError(self._unusable))
            begin = time.monotonic()
            try:
                booted: Machine = self._config.hook.pytest_plugfest_boot(
                    config=self._config, plan=self.plan, interposer=self.interposer
                )
                self._arm_lasting()
            except PlugfestError as error:
                raise BootError(error) from error
            self._machine, self._mark, self.used = booted, 0, False
            self._note_boot(time.monotonic() - begin, self._reason)
        return self._machine

    def _arm_lasting(self) -> None:
        """Arm what the user wants for the whole run; not before the guest is up, whose start is not what is tested."""
        if self.interposer is not None:
            for name in self._lasting:
                self.interposer.arm(name)

    def _note_boot(self, seconds: float, reason: str) -> None:
        machine = self._machine
        assert machine is not None
        self.boot_seconds += seconds
        self._journal.write(
            "boot",
            seconds=seconds,
            reason=reason,
            how=machine.startup,
            speed=machine.speed,
            driver=machine.driver_version(),
            # The same in all guests of a run; it takes an emulated guest a second.
            module=None if self._described else machine.module_file(),
            model=None if machine.model is None else machine.model.call("model.describe"),
        )
        self._described = True

    @property
    def current(self) -> Machine | None:
        """The guest, if one runs."""
        return self._machine

    @property
    def unusable(self) -> str | None:
        """Why no other machine can follow this one; None where one can, as a guest can follow any other."""
        if self._unusable is None and self._machine is not None:
            return self._machine.unusable(self.problems())
        return self._unusable

    def drain_console(self) -> None:
        """Wait until the console has received all that the kernel logged, so that a test is blamed only for its own problems.

        A guest that does not answer is left alone: its last message has arrived, or never will.
        """
        if self._machine is not None and self._machine.alive():
            with suppress(AgentError, AgentTimeout, InfrastructureError):
                self._machine.synchronize()

    def problems(self) -> list[Problem]:
        """Return what the guest's kernel reported since the last `settle`."""
        return [] if self._machine is None else self._machine.console.problems_since(self._mark)

    def excerpt(self) -> str:
        """Return the console's text since the last `settle`."""
        return "" if self._machine is None else self._machine.console.text_since(self._mark)

    def settle(self) -> None:
        """Attribute nothing that the console has received so far to the next test."""
        if self._machine is not None:
            self._mark = self._machine.console.mark()

    def lost(self) -> bool:
        """Return whether the guest is gone or unusable, so that nothing can be undone in it."""
        return self._machine is None or not self._machine.alive() or any(problem.fatal for problem in self.problems())

    def replace(self, reason: str) -> None:
        """Close the guest; the next test gets a fresh one."""
        self._unusable = self.unusable
        machine, self._machine = self._machine, None
        self._reason, self.used = reason, False
        if self.interposer is not None:
            for name in self._lasting:
                self.interposer.disarm(name)
        if machine is not None:
            machine.close()

    def close(self) -> None:
        """Close the guest at the end of the run, or keep it for the next."""
        if self.plan.keep:
            GuestManager.kept = self
        else:
            self.replace("none")

    @classmethod
    def close_kept(cls) -> None:
        """Close a guest that was kept."""
        if cls.kept is not None:
            cls.kept.replace("none")
