# SPDX-License-Identifier: GPL-2.0-or-later
"""Text from a guest, made safe for a terminal or a line of a report."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return the text on one line, with control characters escaped.

    A guest's console must not control the user's terminal.
    """
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in " ".join(text.split()))
