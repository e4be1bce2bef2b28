# SPDX-License-Identifier: GPL-2.0-or-later
"""An agent or a model whose answers an interposer changes, as those of a run that falsifies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from plugfest.falsify.falsifier import Falsifier
from plugfest.faults import End
from plugfest.machine.agent import result_or_error


class Falsified:
    """Asks another, through an interposer.

    Attributes:
        interposer: of the run.
    """

    def __init__(self, other: Any, *names: str, end: End = "agent") -> None:
        self.interposer = Falsifier()
        self._other = other
        self._end: End = end
        for name in names:
            self.interposer.arm(name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._other, name)

    def try_batch(self, calls: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Any]:
        return [result_or_error(self.call, method, **params) for method, params in calls]

    def call(self, method: str, /, **params: Any) -> Any:
        return self.interposer(self._end, method, params, lambda name, own: self._other.call(name, **own))
