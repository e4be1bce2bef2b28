# SPDX-License-Identifier: GPL-2.0-or-later
"""What stands between a test and its answers while the run falsifies: the clients of agent, model and wire consult it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plugfest.errors import UsageError
from plugfest.falsify.falsification import Ask, Handler, Handlers, Request
from plugfest.falsify.table import TABLE

if TYPE_CHECKING:
    from plugfest.faults import Call, End

AGENT_CALL = ("agent", "worker.call")
"""By which a process of the guest carries out one of the agent's methods; that method counts."""
OPENS = ("bpf.link_create", "zcrx.register")
"""Methods whose answer is a handle; others have it under ``handle``."""


@dataclass
class _Armed:
    handlers: Handlers
    match: Mapping[str, object]
    times: int | None
    fired: int = 0

    def covers(self, key: str, params: Mapping[str, Any]) -> bool:
        """Whether it applies to a call now."""
        return (
            key in self.handlers
            and (self.times is None or self.fired < self.times)
            and all(params.get(name) == value for name, value in self.match.items())
        )


class Falsifier:
    """The armed falsifications of one run, and how often each fired. Clients may call it from several threads."""

    def __init__(self) -> None:
        """Arm nothing yet: every call gets its true answer."""
        self._armed: dict[str, _Armed] = {}
        self._opened: dict[tuple[int | None, int], str] = {}
        self._lock = threading.Lock()

    def arm(self, name: str, *, match: Mapping[str, object] | None = None, times: int | None = None) -> None:
        """Arm a falsification.

        Args:
            name: as the table has it.
            match: fires only for calls with these parameters.
            times: how often it may fire; None for always.

        Raises:
            UsageError: there is none of this name.
        """
        if name not in TABLE:
            raise UsageError(f"no falsification {name!r}; `plugfest requirements --format json` names those in use")
        self._armed[name] = _Armed(TABLE[name].make(), dict(match or {}), times)

    def disarm(self, name: str) -> int:
        """Disarm a falsification and return how often it fired."""
        armed = self._armed.pop(name, None)
        return armed.fired if armed else 0

    def __call__(self, end: End, method: str, params: Mapping[str, Any], call: Call) -> Any:
        """Carry out a call as the armed falsifications have it.

        Args:
            end: who is asked.
            method: of that end.
            params: of the method.
            call: carries it out.

        Returns:
            What the caller gets.
        """
        worker: int | None = None
        ask: Ask = call
        if (end, method) == AGENT_CALL:
            outer = params
            worker, method, params = outer["worker"], outer["method"], outer["params"]

            def ask(name: str, inner: Mapping[str, Any]) -> Any:
                return call("worker.call", {**outer, "method": name, "params": inner})

        def truth(name: str, own: Mapping[str, Any]) -> Any:
            found = ask(name, own)
            if end == "agent":
                self._remember(worker, name, found)
            return found

        answer: Ask = truth
        key = f"{end}:{method}"
        for armed in reversed([each for each in self._armed.values() if each.covers(key, params)]):
            answer = self._through(armed, armed.handlers[key], method, answer, worker)
        return answer(method, params)

    def _through(self, armed: _Armed, handler: Handler, falsified: str, ask: Ask, worker: int | None) -> Ask:
        def through(method: str, params: Mapping[str, Any]) -> Any:
            if method != falsified:  # what another falsification asks besides
                return ask(method, params)
            request = Request(method, params, ask, lambda handle: self._opened.get((worker, handle), ""))
            try:
                return handler(request)
            finally:
                if request.fired:
                    with self._lock:
                        armed.fired += 1

        return through

    def _remember(self, worker: int | None, method: str, found: Any) -> None:
        """Keep which method opened which handle."""
        if method == "bpf.load":
            self._opened.update({(worker, handle): f"map {name}" for name, handle in found["maps"].items()})
        elif method in OPENS:
            self._opened[worker, found] = method
        elif isinstance(found, dict) and isinstance(found.get("handle"), int):
            self._opened[worker, found["handle"]] = method
