# SPDX-License-Identifier: GPL-2.0-or-later
"""How long each test takes, as the last run measured it: for the order of the tests and the time that is left."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

UNKNOWN = 2.0
"""Seconds that a test is taken to last that no run has measured, until this run has ended some."""


class Pace:
    """The seconds of each test, by pytest's node id; those of this run take the place of the last one's."""

    def __init__(self, path: Path | None) -> None:
        """Read the seconds of the last run.

        Args:
            path: a file in the cache; None to know nothing and keep nothing. A file that is missing or damaged is an empty one.
        """
        self._path = path
        self._known: dict[str, float] = {}
        self._measured: dict[str, float] = {}
        self._pending: dict[str, None] = {}
        self._running: dict[str, float] = {}
        if path is not None:
            with suppress(OSError, ValueError, TypeError, AttributeError):
                self._known = {str(test): float(seconds) for test, seconds in json.loads(path.read_text()).items()}

    def known(self, test: str) -> float | None:
        """Return the seconds of a test in the last run; None if it was not in it."""
        return self._known.get(test)

    def plan(self, tests: Iterable[str]) -> None:
        """Set the tests that follow."""
        self._pending = dict.fromkeys(tests)

    def begin(self, test: str) -> None:
        """Note that a test begins."""
        self._pending.pop(test, None)
        self._running[test] = time.monotonic()

    def end(self, test: str, seconds: float) -> None:
        """Note that a test has ended.

        Args:
            test: its node id.
            seconds: all that it took, but for the boot of its guest.
        """
        self._running.pop(test, None)
        self._measured[test] = round(seconds, 3)

    def forget(self, test: str) -> None:
        """Note that a test is over without a duration: it was lost, or blocked."""
        self._pending.pop(test, None)
        self._running.pop(test, None)

    def left(self, guests: int = 1) -> float:
        """Estimate the seconds until the last test ends, on a number of guests side by side."""
        now = time.monotonic()
        # Of copies: the thread that draws the bar asks, too.
        running = [max(0.0, self._expected(test) - (now - begin)) for test, begin in list(self._running.items())]
        pending = [self._expected(test) for test in list(self._pending)]
        return max([(sum(running) + sum(pending)) / guests, *running, *pending])

    def expected(self, tests: Iterable[str]) -> float:
        """Estimate the seconds that tests take in one guest."""
        return sum(map(self._expected, tests))

    def _expected(self, test: str) -> float:
        known = self._known.get(test)
        if known is not None:
            return known
        new = [seconds for name, seconds in list(self._measured.items()) if name not in self._known]
        return sum(new) / len(new) if new else UNKNOWN

    def save(self) -> None:
        """Keep what this run has measured for the next; a cache that cannot be written is left as it is."""
        if self._path is None or not self._measured:
            return
        merged: Mapping[str, float] = {**self._known, **self._measured}
        partial = self._path.with_name(f".{self._path.name}-{os.getpid()}")
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(merged, indent=0, sort_keys=True) + "\n")
            partial.replace(self._path)
