# SPDX-License-Identifier: GPL-2.0-or-later
"""What a falsification is: a name, and what it does to which calls."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from plugfest.machine.agent import AgentError

Ask = Callable[[str, Mapping[str, Any]], Any]
"""Carries out a method with these parameters, and returns what it answers."""


@dataclass
class Request:
    """One call of a test's, before it is carried out.

    Attributes:
        method: as ``link.get``.
        params: of the method.
        fired: whether the caller got something else than the truth, or something else was done than it asked for.
    """

    method: str
    params: Mapping[str, Any]
    _ask: Ask
    _opened_by: Callable[[int], str]
    fired: bool = field(default=False)

    def answer(self, **changes: Any) -> Any:
        """Carry it out, with these parameters changed, and return the answer."""
        return self._ask(self.method, {**self.params, **changes})

    def call(self, method: str, **params: Any) -> Any:
        """Carry out another method at the same end, and return its answer."""
        return self._ask(method, params)

    def opened_by(self, handle: int) -> str:
        """Return the method that opened a handle, ``map NAME`` for a map of a BPF program; empty where that is not known."""
        return self._opened_by(handle)


Handler = Callable[[Request], Any]
"""Returns what the caller gets, or raises it; sets `Request.fired` where that is not the truth."""

Handlers = Mapping[str, Handler]
"""By end and method, as ``agent:link.get``, ``model:model.counters``, ``wire:send``."""


@dataclass(frozen=True)
class Falsification:
    """One way to falsify.

    Attributes:
        name: ``program:subject.what`` or ``wire:subject.what``, by which a requirement names it.
        text: what then happens, one line.
        make: returns what is done to which calls; anew each time that it is armed, since some remember what they saw.
    """

    name: str
    text: str
    make: Callable[[], Handlers]

    @property
    def methods(self) -> frozenset[str]:
        """The calls that it applies to."""
        return frozenset(self.make())


def always(name: str, text: str, handlers: Handlers) -> Falsification:
    """Return a falsification that remembers nothing."""
    return Falsification(name, text, lambda: handlers)


def each(methods: Iterable[str], handler: Handler) -> dict[str, Handler]:
    """Do the same to several methods."""
    return dict.fromkeys(methods, handler)


def _always(_params: Mapping[str, Any]) -> bool:
    return True


def answers(change: Callable[[Any], Any], when: Callable[[Mapping[str, Any]], bool] = _always) -> Handler:
    """Carry the call out, and change its answer."""

    def handler(request: Request) -> Any:
        truth = request.answer()
        if not when(request.params):
            return truth
        changed = change(copy.deepcopy(truth))
        request.fired = changed != truth
        return changed

    return handler


def skips(result: Any = None, when: Callable[[Mapping[str, Any]], bool] = _always) -> Handler:
    """Do not carry the call out, and answer as if it had been."""

    def handler(request: Request) -> Any:
        if not when(request.params):
            return request.answer()
        request.fired = True
        return result

    return handler


def asks(change: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> Handler:
    """Carry the call out with other parameters.

    Args:
        change: returns those that differ.
    """

    def handler(request: Request) -> Any:
        changes = {name: value for name, value in change(request.params).items() if request.params.get(name) != value}
        request.fired = bool(changes)
        return request.answer(**changes)

    return handler


def accepts(result: Any = None) -> Handler:
    """Answer as if the kernel had accepted what it rejected."""

    def handler(request: Request) -> Any:
        try:
            return request.answer()
        except AgentError as error:
            if error.errno is None:
                raise
            request.fired = True
            return result

    return handler


def errors(change: Callable[[AgentError], AgentError]) -> Handler:
    """Report another error than the kernel's."""

    def handler(request: Request) -> Any:
        try:
            return request.answer()
        except AgentError as error:
            if error.errno is None:
                raise
            request.fired = True
            raise change(error) from error

    return handler


class Later:
    """Leaves the first answer of each method as it is, and changes every later one."""

    def __init__(self) -> None:
        """Nothing was answered yet."""
        self._seen: set[str] = set()

    def answers(self, change: Callable[[Any], Any]) -> Handler:
        """Change the second answer, and each after it."""
        changed = answers(change)

        def handler(request: Request) -> Any:
            if request.method in self._seen:
                return changed(request)
            truth = request.answer()
            self._seen.add(request.method)
            return truth

        return handler


class Reverted:
    """Leaves answers as they are until a mark in the guest's log, and then gives the first answer that there was to the same question."""

    def __init__(self) -> None:
        """Nothing was answered, and nothing marked."""
        self._first: dict[str, Any] = {}
        self._marked = False

    def mark(self) -> Handler:
        """Carry a call out, and revert from then on."""

        def handler(request: Request) -> Any:
            self._marked = True
            return request.answer()

        return handler

    def answers(
        self,
        part: Callable[[Any], Any] = lambda answer: answer,
        whole: Callable[[Any, Any], Any] = lambda _answer, part: part,
        when: Callable[[Mapping[str, Any]], bool] = _always,
    ) -> Handler:
        """Give the first answer.

        Args:
            part: returns what of an answer is reverted.
            whole: returns an answer with such a part in it.
            when: for which parameters.
        """

        def handler(request: Request) -> Any:
            truth = request.answer()
            if not when(request.params):
                return truth
            key = json.dumps([request.method, request.params], sort_keys=True)
            if not self._marked:
                self._first.setdefault(key, copy.deepcopy(part(truth)))
            if not self._marked or key not in self._first:
                return truth
            changed = whole(truth, copy.deepcopy(self._first[key]))
            request.fired = changed != truth
            return changed

        return handler


class AfterChange:
    """Leaves answers as they are until the test changes something, and changes every later one.

    Attributes:
        count: how many changes there have been.
    """

    def __init__(self) -> None:
        """Nothing was changed yet."""
        self.count = 0

    def watch(self, methods: Iterable[str]) -> dict[str, Handler]:
        """Count calls of these methods as changes."""

        def handler(request: Request) -> Any:
            self.count += 1
            return request.answer()

        return each(methods, handler)

    def answers(self, change: Callable[[Any], Any]) -> Handler:
        """Change the answer where there was a change before it."""
        changed = answers(change)
        return lambda request: changed(request) if self.count else request.answer()
