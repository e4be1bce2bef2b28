# SPDX-License-Identifier: GPL-2.0-or-later
"""What a test did: its calls of the guest's agent, the guest's shell, the model and the wire, in order, and what each returned."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, Literal

End = Literal["agent", "shell", "model", "wire"]
"""Who was called."""

MOST = 4000
"""Calls that are kept of one test, the first ones: they are what leads to what it found."""
FRAMES = 32
"""Frames that are kept of one test as they are; of more, a finding needs the number alone."""
_LONGEST, _WIDEST, _DEEPEST = 400, 24, 6
"""Characters of a text, entries of a list or object, and levels, that are kept of a result."""
LONGEST_PARAMETER = 16 << 10
"""Characters of a text that are kept of a call's parameters: those of a frame of 9000 bytes in base64, and not of a module."""
_OWN = frozenset({"agent.ping", "trace.start", "trace.read", "trace.stop", "wire.record", "wire.stop", "faults.list"})
"""Calls that the runner makes for itself around a test."""


class CallLog:
    """The calls of one test at a time; from several threads in the order in which they ended."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        self.begin()

    def begin(self) -> None:
        """Forget all: a test begins."""
        self._lines: list[dict[str, Any]] = []
        self._begin = time.monotonic()
        self._frames = self._dropped = 0
        self._open = True

    def end(self) -> None:
        """Keep no more: the test has failed, and what follows is its undo and the runner's look at the damage."""
        self._open = False

    def step(self, sentence: str, depth: int) -> None:
        """Note that a step of the test begins."""
        self._add({"step": sentence, "depth": depth})

    def call(self, end: End, method: str, params: Mapping[str, Any], *, result: object = None, error: str = "") -> None:
        """Note a call.

        Args:
            end: who was called.
            method: as ``link.set``; of a shell, the command.
            params: of the method; its long texts are cut.
            result: what it returned.
            error: why it failed, empty if it did not.
        """
        if method in _OWN or not self._open:
            return
        line: dict[str, Any] = {"end": end, "method": method, "params": _cut(params)}
        if error:
            line["error"] = error
        elif result is not None:
            line["result"] = shortened(result)
        self._add(line)

    def sent(self, frame: bytes) -> None:
        """Note a frame that the host put on the wire."""
        self._frames += self._open
        if self._open and self._frames <= FRAMES:
            self._add({"end": "wire", "method": "send", "params": {"frame": frame.hex()}})

    def _add(self, line: dict[str, Any]) -> None:
        if len(self._lines) < MOST:
            self._lines.append({"seconds": round(time.monotonic() - self._begin, 6), **line})
        else:
            self._dropped += 1

    def text(self) -> str:
        """Return one JSON object a line: ``{"step": …, "depth": 0}`` or ``{"end": …, "method": …, "params": …, "result": …}``."""
        lines = list(self._lines)
        if self._frames > FRAMES:
            lines.append({"note": f"{self._frames - FRAMES} more frames were put on the wire"})
        if self._dropped:
            lines.append({"note": f"{self._dropped} more calls were made"})
        return "".join(json.dumps(line, default=str) + "\n" for line in lines)


def _cut(value: object) -> object:
    """Return a call's parameters with their long texts cut, each with the number of characters that were left out."""
    if isinstance(value, str) and len(value) > LONGEST_PARAMETER:
        return f"{value[:LONGEST_PARAMETER]}… ({len(value) - LONGEST_PARAMETER} more characters)"
    if isinstance(value, Mapping):
        return {key: _cut(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_cut(each) for each in value]
    return value


def shortened(value: object, depth: int = 0) -> object:
    """Return a JSON value with long texts, lists and objects cut, each with the number of what was left out."""
    if isinstance(value, str):
        return value if len(value) <= _LONGEST else f"{value[:_LONGEST]}… ({len(value) - _LONGEST} more characters)"
    if isinstance(value, Mapping):
        if depth == _DEEPEST:
            return "{…}"
        kept = {str(key): shortened(each, depth + 1) for key, each in list(value.items())[:_WIDEST]}
        return kept if len(value) <= _WIDEST else {**kept, "…": f"{len(value) - _WIDEST} more"}
    if isinstance(value, list | tuple):
        if depth == _DEEPEST:
            return "[…]"
        items = [shortened(each, depth + 1) for each in value[:_WIDEST]]
        return items if len(value) <= _WIDEST else [*items, f"… ({len(value) - _WIDEST} more)"]
    return value if value is None or isinstance(value, bool | int | float) else str(value)[:_LONGEST]
