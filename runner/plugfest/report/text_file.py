# SPDX-License-Identifier: GPL-2.0-or-later
"""How a text file that others may be reading is written."""

from __future__ import annotations

from pathlib import Path


def write(path: Path, text: str) -> None:
    """Write a text file as a whole, or leave the old one as it was and nothing else.

    Raises:
        OSError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        # A name of a file may be no UTF-8; in JSON, what such a character becomes is an escape of it.
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")
        partial.replace(path)
    except BaseException:
        # Not after a success: then the name may already be that of another process's.
        partial.unlink(missing_ok=True)
        raise
