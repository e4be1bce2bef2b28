# SPDX-License-Identifier: MIT
"""A frame as a chain of buffers, split without unnecessary copies."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nicmodels.offload.checksum import Buffer


def length(buffers: Iterable[Buffer]) -> int:
    """The number of bytes in a chain."""
    return sum(map(len, buffers))


def part(buffers: Iterable[Buffer], start: int, end: int) -> list[memoryview]:
    """Views of the bytes from `start` up to `end`; fewer if the chain is shorter."""
    views = []
    for buffer in buffers:
        size = len(buffer)
        if start < size and end > 0:
            views.append(memoryview(buffer)[max(start, 0) : end])
        start -= size
        end -= size
        if end <= 0:
            break
    return views


def behead(buffers: Sequence[Buffer], size: int) -> tuple[bytearray, list[memoryview]]:
    """Split off the header: a writable copy of the first `size` bytes, and views of the rest.

    Raises:
        ValueError: the chain is shorter.
    """
    head = bytearray().join(part(buffers, 0, size))
    if len(head) != size:
        raise ValueError(f"expected a frame of at least {size} bytes to hold its headers; found {len(head)}")
    return head, part(buffers, size, length(buffers))
