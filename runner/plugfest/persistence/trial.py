# SPDX-License-Identifier: GPL-2.0-or-later
"""One setting over one operation: set, shown to be in effect, and after the operation reported and in effect as before."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from plugfest.dut.operations import NotOfferedError
from plugfest.persistence.setting import EFFECT_TIMEOUT

if TYPE_CHECKING:
    from plugfest.persistence.instruments import Instruments
    from plugfest.persistence.operation import Operation
    from plugfest.persistence.setting import Setting

FAILED = "failed"
"""What an observation has that could not be made: frames did not arrive that do so whatever the setting."""


class Trial:
    """Sets a setting, performs an operation, and compares; the end of the test undoes both."""

    def __init__(
        self,
        instruments: Instruments,
        setting: Setting,
        operation: Operation,
        *,
        evidence: Callable[[str, object], None],
        skip: Callable[..., object],
    ) -> None:
        """Change nothing yet.

        Args:
            instruments: of the test.
            setting: what is to be kept.
            operation: what is done.
            evidence: records what was seen.
            skip: skips what the driver does not offer.
        """
        self._instruments = instruments
        self._setting = setting
        self._operation = operation
        self._evidence = evidence
        self._skip = skip
        self._source = setting.drops.get(operation.name)
        self._default: tuple[Any, Any] = (None, None)
        self._reported: Any = None
        self._observed: Any = None

    def set(self) -> None:
        """Set it to another value than the driver's own: it is reported, and what can be observed shows it.

        Raises:
            AssertionError: it is not in effect.
        """
        setting, instruments = self._setting, self._instruments
        instruments.settings.ready()
        lacking = self._operation.lacking(instruments)
        if lacking is not None:
            self._skip(self._operation.text, evidence=lacking)
        self._operation.prepare(instruments)
        if self._source is not None:
            self._default = (setting.reported(), self._observe())
        try:
            setting.set()
        except NotOfferedError as error:
            self._skip(f"the setting: {setting.name}", evidence=str(error))
        instruments.settings.ready()
        self._reported = setting.reported()
        seen: list[Any] = []

        def shown() -> bool:
            seen[:] = [self._observe()]
            return FAILED not in (seen[0] or {}) and setting.shows(seen[0])

        try:
            instruments.until(shown, what=f"{setting.name} is in effect", timeout=EFFECT_TIMEOUT)
        except AssertionError:
            raise AssertionError(
                f"before {self._operation.name}: {setting.name} is reported as {text(self._reported)}, and is not in effect: "
                f"{text(seen[0])}"
            ) from None
        (self._observed,) = seen
        self._evidence("set", {"reported": self._reported, "observed": self._observed})

    def _observe(self) -> Any:
        try:
            return self._setting.observed()
        except AssertionError as error:
            return {FAILED: str(error)}

    def perform(self) -> None:
        """Perform the operation; where the driver refuses it, nothing may have changed, and the test is skipped."""
        # For who reads the guest's log.
        self._instruments.agent.call("system.log_write", text=f"plugfest: {self._operation.name}")
        try:
            self._operation.perform(self._instruments, self._setting)
        except NotOfferedError as error:
            self.check()
            self._skip(self._operation.text, evidence=str(error))
        self._instruments.settings.ready()

    def check(self) -> None:
        """It is reported and in effect as before the operation, or, where the documents allow that, dropped and reported so.

        Raises:
            AssertionError: it is not.
        """
        setting = self._setting
        reported, wanted = setting.reported(), self._observed
        is_kept = reported == self._reported
        if not is_kept and self._source is not None and reported == self._default[0]:
            self._evidence("dropped", f"{text(reported)}: allowed by {self._source}")
            is_kept, wanted = True, self._default[1]
        seen: list[Any] = []

        def same() -> bool:
            seen[:] = [self._observe()]
            return bool(seen[0] == wanted)

        if not is_kept:
            same()  # one look: no time brings back what is reported as lost
        else:
            with suppress(AssertionError):
                self._instruments.until(same, what=f"{setting.name} is in effect", timeout=EFFECT_TIMEOUT)
        problems = []
        if not is_kept:
            problems.append(f"is reported as {text(reported)}, was {text(self._reported)}")
        if seen[0] != wanted:
            problems.append(f"is not in effect: {text(seen[0])}, was {text(wanted)}")
        assert not problems, f"after {self._operation.name}: {setting.name} {', and '.join(problems)}"


def text(value: Any) -> str:
    """Return a value for people, in one line."""
    return json.dumps(value, ensure_ascii=False)
