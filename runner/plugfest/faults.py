# SPDX-License-Identifier: GPL-2.0-or-later
"""Fault points on the runner's side: of the wire end (``remote:…``) and of the suite's own programs (``program:…``).

They complement the model's own (`nicmodels.faults`), which are armed over the control socket. A point is declared once,
where the code that can misbehave is; the plugin arms it on the run's `LocalFaults`; the code asks
``if faults["remote:tcp.reset"]:``.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache

from plugfest.choice import advice
from plugfest.errors import UsageError

_DECLARED: dict[str, str] = {}


def is_models(name: str) -> bool:
    """Tell whether a fault point is one of a model's, not of this side."""
    return not name.startswith(("wire:", "program:"))


@cache
def of_models(*names: str) -> frozenset[str]:
    """Return the fault points of these models; without a name, of all."""
    command = [sys.executable, "-m", "nicmodels", "list", "--faults", *names]
    return frozenset(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def declare(name: str, text: str) -> str:
    """Declare a fault point and return its name.

    Args:
        name: ``remote:subject.what`` or ``program:subject.what``.
        text: what then happens, one line.

    Raises:
        UsageError: the name has no such prefix, or was declared with another text.
    """
    if is_models(name):
        raise UsageError(f"fault point {name!r}: expected wire:… or program:…; the model declares its own")
    if _DECLARED.setdefault(name, text) != text:
        raise UsageError(f"fault point {name!r} is declared twice, with different texts")
    return name


def declared() -> Mapping[str, str]:
    """Return all declared points and what each does."""
    return dict(_DECLARED)


@dataclass
class _Armed:
    match: Mapping[str, object]
    times: int | None
    fired: int = 0


@dataclass
class LocalFaults:
    """The armed fault points of one run, and how often each fired."""

    _armed: dict[str, _Armed] = field(default_factory=dict)

    def arm(self, name: str, *, times: int | None = None, match: Mapping[str, object] | None = None) -> None:
        """Arm a point.

        Args:
            name: a declared point.
            times: how often it may fire; None for always.
            match: fires only where the asking code's context has these values.

        Raises:
            UsageError: nobody declared it.
        """
        if name not in _DECLARED:
            known = ", ".join(sorted(_DECLARED)) or "none"
            raise UsageError(f"no fault point {name!r}; declared ones: {known}")
        self._armed[name] = _Armed(dict(match or {}), times)

    def disarm(self, name: str) -> int:
        """Disarm a point and return how often it fired."""
        armed = self._armed.pop(name, None)
        return armed.fired if armed else 0

    def fired(self, name: str) -> int:
        """Return how often an armed point has fired."""
        return self._armed[name].fired if name in self._armed else 0

    def fires(self, name: str, **context: object) -> bool:
        """Ask, at the point itself, whether to misbehave now; a yes is recorded as a firing."""
        armed = self._armed.get(name)
        if armed is None or (armed.times is not None and armed.fired >= armed.times):
            return False
        if any(context.get(key) != value for key, value in armed.match.items()):
            return False
        armed.fired += 1
        return True

    def __getitem__(self, name: str) -> bool:
        """Ask without context."""
        return self.fires(name)


def check_local(names: Iterable[str]) -> None:
    """See that those fault points which are not a model's are declared; what declares them has been imported by then.

    Raises:
        UsageError: one is not; the message names what it may have meant.
    """
    for name in names:
        if not is_models(name) and name not in _DECLARED:
            hint = advice(name, _DECLARED, "`plugfest requirements --format json` names them")
            raise UsageError(f"--fault {name}: expected a fault point of the suite, found none; {hint}")
