# SPDX-License-Identifier: GPL-2.0-or-later
"""Fault points: those of the models, and those on the runner's side (``wire:…``, ``program:…``).

A model's are armed over its control socket (`nicmodels.faults`). Those on the runner's side change what comes in from the guest's
agent, the model and the wire: the clients ask an `Interposer` where the run has one (`plugfest.falsify`).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, Literal, Protocol

from plugfest.choice import advice
from plugfest.errors import UsageError

End = Literal["agent", "model", "wire"]
"""Who answers a call."""

Call = Callable[[str, Mapping[str, Any]], Any]
"""Carries out a method with these parameters, and returns what it answers."""


class Interposer(Protocol):
    """Stands between a client and its callers."""

    def __call__(self, end: End, method: str, params: Mapping[str, Any], call: Call) -> Any:
        """Return what the caller gets; `call` carries the method out."""


def is_models(name: str) -> bool:
    """Whether a fault point is one of a model's, not of this side."""
    return not name.startswith(("wire:", "program:"))


@cache
def of_models(*names: str) -> frozenset[str]:
    """Return the fault points of these models; without a name, of all."""
    command = [sys.executable, "-m", "nicmodels", "list", "--faults", *names]
    return frozenset(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def check_local(names: Iterable[str], known: Iterable[str]) -> None:
    """Check that those fault points which are not a model's are among those known.

    Raises:
        UsageError: one is not; the message names what it may have meant.
    """
    for name in names:
        if not is_models(name) and name not in known:
            hint = advice(name, known, "`plugfest requirements --format json` names them")
            raise UsageError(f"--fault {name}: expected a fault point of the suite, found none; {hint}")
