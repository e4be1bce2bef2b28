# SPDX-License-Identifier: GPL-2.0-or-later
"""Bytes that both ends can make, and so check without sending them around; guest-images/agent/sockets/payload.py makes the same.

The stream of seed s is the SHAKE-128 output of s in decimal, 65,521 bytes of it (a prime, so that whole lost or doubled blocks
and pages show), over and over.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

_PERIOD = 65521


@lru_cache(8)
def _period(seed: int) -> bytes:
    return hashlib.shake_128(str(seed).encode()).digest(_PERIOD)


def generate(seed: int, length: int) -> bytes:
    """Return the first `length` bytes of a stream."""
    return (_period(seed) * (length // _PERIOD + 1))[:length]


def digest(seed: int, length: int) -> str:
    """Return the SHA-256 of the first `length` bytes of a stream, in hexadecimal digits."""
    return hashlib.sha256(generate(seed, length)).hexdigest()
