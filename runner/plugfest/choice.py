# SPDX-License-Identifier: GPL-2.0-or-later
"""What to do about an unknown word."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def advice(word: str, known: Iterable[str], otherwise: str) -> str:
    """Name the known words that come close to this one.

    Args:
        word: as the user wrote it.
        known: what it could have been.
        otherwise: what to do where none comes close.
    """
    near = difflib.get_close_matches(word, list(known), n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else otherwise
