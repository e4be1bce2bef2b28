# SPDX-License-Identifier: GPL-2.0-or-later
"""Payload that either end of a connection generates and checks by itself.

The stream of seed `s` repeats the first 65521 bytes of the SHAKE-128 output of ``s`` in decimal. The period is a prime, so
that lost or duplicated blocks and pages change the data.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PERIOD = 65521


@lru_cache(8)
def block(seed: int) -> bytes:
    """Return one period of the stream of a seed."""
    return hashlib.shake_128(str(seed).encode()).digest(PERIOD)


def generate(seed: int, length: int, offset: int = 0) -> bytes:
    """Return `length` bytes of the stream, from `offset`."""
    period = block(seed)
    start = offset % PERIOD
    return (period[start:] + period * (length // PERIOD + 1))[:length]


def chunks(seed: int, length: int, size: int) -> Iterator[bytes]:
    """Yield the first `length` bytes of the stream in pieces of `size`."""
    for at in range(0, length, size):
        yield generate(seed, min(size, length - at), at)
