# SPDX-License-Identifier: GPL-2.0-or-later
"""Files of the guest: sysfs, procfs, debugfs. Methods ``files.*``."""

from __future__ import annotations

import base64
import glob as pattern
import os
from pathlib import Path

from agent.methods import exposed


@exposed
def read(path: str) -> str:
    """Return the contents of a text file without the final newline."""
    return Path(path).read_text(errors="replace").rstrip("\n")


@exposed
def write(path: str, text: str, create: bool = False) -> None:
    """Write text with one system call, as sysfs requires; the file must exist unless `create`."""
    fd = os.open(path, os.O_WRONLY | (os.O_CREAT | os.O_TRUNC if create else 0), 0o644)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


@exposed
def put(path: str, data: str, executable: bool = False) -> None:
    """Create a file and its folders; `data` is base64."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(base64.b64decode(data))
    target.chmod(0o755 if executable else 0o644)


@exposed
def exists(path: str) -> bool:
    """Return whether the path exists."""
    return Path(path).exists()


@exposed
def glob(path: str) -> list[str]:
    """Return the paths that match a shell pattern, sorted."""
    return sorted(pattern.glob(path))  # noqa: PTH207 - the pattern is absolute


@exposed
def resolve(path: str) -> str:
    """Return the path with its symbolic links followed."""
    return str(Path(path).resolve())


@exposed
def read_many(paths: list[str]) -> dict[str, str | None]:
    """Return the contents of several text files by path, null for one that cannot be read."""
    found: dict[str, str | None] = {}
    for path in paths:
        try:
            found[path] = read(path)
        except OSError:
            found[path] = None
    return found
