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
GUEST = "guest-"
"""What the folder of one guest of several begins with; its number follows."""


def make_folder(folder: Path) -> None:
    """Create a folder for reports, if it does not exist.

    Raises:
        InfrastructureError: it cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(folder, error) from error


def _unusable(folder: Path, error: OSError) -> InfrastructureError:
    return InfrastructureError(
        f"{folder}: expected a folder to write the reports to, found: {error.strerror}; "
        "choose another folder with --output"
    )


class Journal:
    """The journal of one run, or of one guest of it, open for appending.

    Events: ``run`` (driver, device, kernel and host), ``planned`` (requirements and tests), ``boot``, ``attempt``, ``unconfirmed``
    (the first of two attempts), ``cases`` (of one of upstream's tests, which tells them as it runs), ``result``, ``lost`` (a test whose
    process ended under it), ``stopped`` (why the run, or that of one guest, ended early), ``end``. In a run of several guests, ``boot``,
    ``attempt``, ``unconfirmed`` and ``result`` are in the journals of the guests, and ``stopped`` may be in either.
    """

    def __init__(self, folder: Path, name: str = NAME) -> None:
        """Open the journal in a run's output folder.

        Args:
            folder: made if it is missing.
            name: of the file.

        Raises:
            InfrastructureError: the journal cannot be written.
        """
        self.path = folder / name
        make_folder(folder)
        try:
            self._file: TextIO = self.path.open("a", encoding="utf-8")
        except OSError as error:
            raise _unusable(folder, error) from error

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

    def fileno(self) -> int:
        """Return the file's descriptor, for a lock."""
        return self._file.fileno()

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
    """Read a journal, or that of a run with those of its guests, in the order of time; skips a last line that a crash cut off.

    Each event of a guest's own journal has its number under ``guest``.

    Args:
        path: one journal, or the output folder that holds it.

    Raises:
        InfrastructureError: there is no journal, or a line other than the last is damaged.
    """
    if not path.is_dir():
        return _read(path)
    events = _read(path / NAME)
    guests = list(path.glob(f"{GUEST}*/{NAME}"))
    for each in guests:
        number = int(each.parent.name.removeprefix(GUEST))
        events += [{**event, "guest": number} for event in _read(each)]
    return sorted(events, key=lambda event: event["time"]) if guests else events


def _read(path: Path) -> list[Mapping[str, Any]]:
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
