# SPDX-License-Identifier: MIT
"""A limit on the lines of the log: a guest, or a model that fails again and again, must not fill a disk."""

from __future__ import annotations

import logging
from collections import Counter

LINES = 100
"""Lines of each message, whatever its arguments. What is beyond is still counted and recorded where it is reported."""


class LogLimit(logging.Filter):
    """Lets the first lines of each message through; the last of them says so.

    Args:
        lines: how many.
    """

    def __init__(self, lines: int = LINES) -> None:
        super().__init__()
        self._lines = lines
        self._seen: Counter[tuple[str, str]] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is logged."""
        message = (record.name, str(record.msg))
        if self._seen[message] >= self._lines:
            return False
        self._seen[message] += 1
        if self._seen[message] == self._lines:
            record.msg = f"{record.msg} (the last line of this kind)"
        return True
