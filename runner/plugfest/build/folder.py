# SPDX-License-Identifier: GPL-2.0-or-later
"""A folder in which strangers' programs have written: what is in it, they chose. Here no symbolic link is followed, no pipe is
waited for, and no depth is too deep.

Each path is opened one component after the other (openat(2) with O_NOFOLLOW): a link may stand in the place of any folder of it.
"""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from plugfest.errors import InfrastructureError

DEEPEST = 64
"""Folders within each other that are read: Python's own walks, and paths of at most 4096 bytes, end at some depth."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Usage:
    """What a folder takes.

    Attributes:
        size: of all files, bytes; one with holes counts as it would without, for so it is copied.
        files: and folders, links and whatever else has a name.
        depth: of the deepest folder, up to `DEEPEST` + 1; below that nothing is counted.
        closed: there is a folder that its owner may not read, so that nobody knows what it takes.
    """

    size: int
    files: int
    depth: int
    closed: bool


def measure(top: Path, most_files: int) -> Usage:
    """Measure a folder, in which programs may write meanwhile.

    Args:
        top: the folder.
        most_files: after so many no more are counted.
    """
    counted = _Counted()
    with _opened(top) as start:
        # Depth first, with one open folder for each level.
        pending = [(os.dup(start), counted.look(start))]
        deepest, closed = 0, False
        try:
            while pending and counted.files <= most_files and deepest <= DEEPEST:
                parent, names = pending[-1]
                if not names:
                    os.close(pending.pop()[0])
                    continue
                try:
                    child = os.open(names.pop(), _FOLDER, dir_fd=parent)
                except OSError as error:  # else it is gone by now, or a link
                    closed = closed or error.errno == errno.EACCES
                    continue
                pending.append((child, counted.look(child)))
                deepest = max(deepest, len(pending) - 1)
        finally:
            for descriptor, _ in pending:
                os.close(descriptor)
    return Usage(counted.size, counted.files, deepest, closed)


@dataclass
class _Counted:
    size: int = 0
    files: int = 0

    def look(self, descriptor: int) -> list[str]:
        """Count what a folder has; return the names of its folders."""
        folders = []
        with suppress(OSError), os.scandir(descriptor) as entries:
            for entry in entries:
                self.files += 1
                with suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    self.size += max(status.st_size, status.st_blocks * 512)
                    if stat.S_ISDIR(status.st_mode):
                        folders.append(entry.name)
        return folders


def remove(top: Path) -> None:
    """Remove a folder, however deep: rm(1) climbs down without recursion and without paths."""
    for program in (
        ["rm", "-rf"],
        ["chmod", "-R", "u+rwx"],
        ["rm", "-rf"],
    ):  # an owner may have closed a folder to itself
        if top.exists():
            subprocess.run([*program, "--", str(top)], stdin=subprocess.DEVNULL, capture_output=True, check=False)


def read(top: Path, name: str | PurePosixPath, largest: int) -> bytes | None:
    """Return the contents of a regular file; None for anything else, or if it is larger than `largest` bytes."""
    path = PurePosixPath(name)
    try:
        with _folder(top, path.parent) as parent:
            descriptor = os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > largest:
            return None
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(largest)
    finally:
        os.close(descriptor)


def write(top: Path, name: str | PurePosixPath, data: bytes) -> None:
    """Write a file, in place of a link or whatever else has its name, or that of one of its folders and is none.

    Raises:
        InfrastructureError: it cannot be written; a folder has its name.
    """
    path = PurePosixPath(name)
    try:
        with _folder(top, path.parent, make=True) as parent:
            _unlink(path.name, parent)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(path.name, flags, 0o644, dir_fd=parent), "wb") as file:  # noqa: PTH123 - a descriptor
                file.write(data)
    except OSError as error:
        raise InfrastructureError(f"{top / path}: expected to write it, found: {error.strerror}") from error


def unlink(top: Path, name: str | PurePosixPath) -> None:
    """Remove a file, or what is in its place; one that there is not stays so."""
    path = PurePosixPath(name)
    with suppress(OSError), _folder(top, path.parent) as parent:
        _unlink(path.name, parent)


def files(top: Path, below: str | PurePosixPath = "") -> Iterator[PurePosixPath]:
    """Give the regular files of a folder and those below it, sorted, by their paths from `top`.

    Args:
        top: the folder.
        below: the part of it that is wanted, a path in it.
    """
    start = PurePosixPath(below)
    pending = [start]
    while pending:
        place = pending.pop()
        if len(place.parts) - len(start.parts) > DEEPEST:
            continue
        found, folders = [], []
        with suppress(OSError), _folder(top, place) as descriptor, os.scandir(descriptor) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(place / entry.name)
                elif entry.is_file(follow_symlinks=False):
                    found.append(place / entry.name)
        yield from sorted(found)
        pending += sorted(folders, reverse=True)


@contextmanager
def _opened(top: Path) -> Iterator[int]:
    descriptor = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _folder(top: Path, place: PurePosixPath, *, make: bool = False) -> Iterator[int]:
    """Open a folder below another, without following a link; make what is missing, or is none, if that is wanted."""
    if place.is_absolute() or ".." in place.parts:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    with _opened(top) as start:
        current = os.dup(start)
        try:
            for name in place.parts:
                if make and not _is_folder(name, current):
                    _unlink(name, current)
                    os.mkdir(name, 0o755, dir_fd=current)
                below = os.open(name, _FOLDER, dir_fd=current)
                os.close(current)
                current = below
            yield current
        finally:
            os.close(current)


def _is_folder(name: str, parent: int) -> bool:
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _unlink(name: str, parent: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=parent)
