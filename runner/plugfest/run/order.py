# SPDX-License-Identifier: GPL-2.0-or-later
"""The random order of tests (``--shuffle``)."""

from __future__ import annotations

import hashlib


def place(seed: int, test: str) -> bytes:
    """Return where a test stands in the order of a seed, a sort key: of two tests the same one comes first, whatever else is selected."""
    return hashlib.blake2b(f"{seed} {test}".encode(), digest_size=16).digest()
