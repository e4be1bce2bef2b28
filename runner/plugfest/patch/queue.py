# SPDX-License-Identifier: GPL-2.0-or-later
"""What to judge: files of one series, a range of commits, or a folder of pending series."""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from plugfest.errors import UsageError
from plugfest.patch.tree import GitTree

ENDINGS = (".patch", ".diff", ".mbox", ".mbx", ".eml", ".txt")
"""What the names of a queue's files end with, perhaps followed by ``.gz``."""
TOGETHER = "together"
"""Name of the submission that applies all series of a queue."""
_LARGEST = 64 << 20
_RESERVED = (TOGETHER, "before")


@dataclass(frozen=True)
class Series:
    """One series of patches.

    Attributes:
        name: for people, and of its folder of reports.
        texts: by file name, the bytes of mails, mailboxes or diffs, in the order in which they apply.
    """

    name: str
    texts: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True)
class Submission:
    """What is applied, built and judged in one go.

    Attributes:
        name: of its folder of reports.
        series: what is applied, in this order.
    """

    name: str
    series: tuple[Series, ...]


@dataclass(frozen=True)
class Pending:
    """A series that waits in a queue, not read yet: it may be anything.

    Attributes:
        name: that no other in the queue has.
        path: of a file, or of a folder of files.
        digest: of its contents.
    """

    name: str
    path: Path
    digest: str

    @property
    def changed(self) -> bool:
        """Whether it has other contents by now, or is gone."""
        return _digest(self.path) != self.digest


def pending(folder: Path) -> list[Pending]:
    """Return the series that wait in a queue: each file, and each folder, of its files in the order of their names.

    Hidden files, and files with other endings than `ENDINGS`, are left out. A name is that of the file or folder without its ending,
    or with it, if another has the same.

    Args:
        folder: of the queue.

    Raises:
        UsageError: it is no folder that can be read.
    """
    try:
        paths = [path for path in _entries(folder) if path.is_dir() or _is_patch(path)]
    except OSError as error:
        raise UsageError(f"{folder}: expected a folder of pending series, found: {error.strerror}; make it") from error
    short = [_name(path) for path in paths]
    return [
        Pending(_shown(path) if short.count(name) > 1 or name in _RESERVED else name, path, _digest(path))
        for path, name in zip(paths, short, strict=True)
    ]


def read(path: Path, name: str | None = None) -> Series:
    """Read a series.

    Args:
        path: of a file, or of a folder of files.
        name: the series'; None for that of the file or folder.

    Raises:
        UsageError: it cannot be read.
    """
    if not path.exists():
        raise UsageError(f"{path}: expected a mail, a mailbox, a diff or a folder of them, found none")
    return Series(name or _name(path), tuple(map(_text, _files(path))))


def submissions(folder: Path) -> list[Submission]:
    """Return the submissions of a queue: each series alone, then, if there are several, all together.

    Args:
        folder: of the queue; see `pending`.

    Raises:
        UsageError: there is no series in it, one has the name of something else, or cannot be read.
    """
    found = [read(each.path, each.name) for each in pending(folder)]
    for series in found:
        if series.name in _RESERVED:
            raise UsageError(f"{folder}: expected no series of the name {series.name}, found one; rename it")
    if not found:
        raise UsageError(f"{folder}: expected files or folders of patches ({', '.join(ENDINGS)}), found none")
    alone = [Submission(series.name, (series,)) for series in found]
    return alone if len(alone) == 1 else [*alone, Submission(TOGETHER, tuple(found))]


def submission(arguments: Sequence[str], tree: Path) -> Submission:
    """Return the submission of what the command line names: files, and ranges of commits, that make one series.

    Args:
        arguments: paths of mails, mailboxes and diffs, or ranges such as ``main..fix``.
        tree: the git tree of the ranges.

    Raises:
        UsageError: there is no such file or range, or it cannot be read.
    """
    texts = []
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            raise UsageError(f"{path}: expected files or one folder, found a folder beside others; give it alone")
        if path.exists():
            texts.append(_text(path))
        elif ".." in argument:
            texts.append((argument, GitTree(tree).mails(argument)))
        else:
            raise UsageError(
                f"{argument}: expected a mail, a mailbox, a diff, a folder of them or a range of commits (A..B), found none"
            )
    return Submission("after", (Series(arguments[0] if len(arguments) == 1 else "the series", tuple(texts)),))


def _entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _files(path: Path) -> list[Path]:
    return [each for each in _entries(path) if _is_patch(each)] if path.is_dir() else [path]


def _digest(path: Path) -> str:
    """Return a hash of a series' files; of what cannot be read, that it cannot."""
    state = hashlib.sha256()
    try:
        for each in _files(path):
            data = each.read_bytes()
            state.update(f"{_shown(each)}\0{len(data)}\0".encode() + data)
    except OSError as error:
        return f"unreadable: {error.strerror}"
    return state.hexdigest()


def _is_patch(path: Path) -> bool:
    return path.is_file() and path.name.removesuffix(".gz").endswith(ENDINGS)


def _name(path: Path) -> str:
    name = _shown(path)
    for ending in (".gz", *ENDINGS):
        name = name.removesuffix(ending)
    return name


def _shown(path: Path) -> str:
    """Return a file's name as text, which it need not be."""
    return os.fsencode(path.name).decode(errors="backslashreplace")


def _text(path: Path) -> tuple[str, bytes]:
    try:
        with path.open("rb") as file:
            compressed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if compressed else path.open("rb") as stream:
            data = stream.read(_LARGEST + 1)
    except (OSError, EOFError) as error:
        raise UsageError(f"{path}: expected mails or a diff, found: {error}") from error
    if len(data) > _LARGEST:
        raise UsageError(f"{path}: expected at most {_LARGEST >> 20} MiB of patches, found more; name the series alone")
    return _shown(path), data
