# SPDX-License-Identifier: GPL-2.0-or-later
"""The journal of a run, written as it goes, so that a run that is killed still has a report.

One JSON object per line, appended and never changed. ``attempt`` is on disk before its test starts: whatever a test does to the
guest, the run or the machine, the journal shows which test it was.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from plugfest.errors import InfrastructureError

NAME = "journal.jsonl"


class Journal:
    """The journal of one run, open for appending.

    Events: ``run`` (driver, device, kernel and host), ``planned`` (requirements and tests), ``boot``, ``attempt``, ``result``,
    ``stopped`` (why the run ended early), ``end``.
    """

    def __init__(self, folder: Path) -> None:
        """Open the journal in a run's output folder.

        Raises:
            InfrastructureError: the journal cannot be written.
        """
        self.path = folder / NAME
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file: TextIO = self.path.open("a", encoding="utf-8")
        except OSError as error:
            raise InfrastructureError(
                f"{folder}: expected a folder to write the reports to, found: {error.strerror}; "
                "choose another folder with --output"
            ) from error

    def write(self, event: str, *, durable: bool = False, **fields: object) -> None:
        """Append one event.

        Args:
            event: the kind of event.
            durable: wait until it is on disk.
            fields: JSON values; paths and enums become strings.
        """
        self._file.write(json.dumps({"event": event, "time": time.time(), **fields}, default=str) + "\n")
        self._file.flush()
        if durable:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Journal:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()


def read(path: Path) -> list[Mapping[str, Any]]:
    """Read a journal; skips a last line that a crash cut off.

    Args:
        path: the journal, or the output folder that holds it.

    Raises:
        InfrastructureError: there is no journal, or a line other than the last is damaged.
    """
    if path.is_dir():
        path /= NAME
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InfrastructureError(
            f"{path}: expected the journal of a run, found: {error.strerror}; name the output folder of a run"
        ) from error
    events: list[Mapping[str, Any]] = []
    for number, line in enumerate(lines, 1):
        try:
            events.append(json.loads(line))
        except json.JSONDecodeError:
            if number == len(lines):
                break
            raise InfrastructureError(
                f"{path}: expected JSON in line {number}, found something else: the journal was edited; run the suite again"
            ) from None
    return events
