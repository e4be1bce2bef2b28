# SPDX-License-Identifier: GPL-2.0-or-later
"""Objects that stay open between requests: sockets, monitors, programs, processes. Methods ``handle.*``."""

from __future__ import annotations

import itertools
import threading
from contextlib import suppress
from typing import Protocol, TypeVar

from agent.methods import exposed


class Closable(Protocol):
    """An object that can be kept open."""

    def close(self) -> None:
        """Release it; must not block."""


class UnknownHandleError(LookupError):
    """No open object has this number, or the object is of another type."""


Kept = TypeVar("Kept")

_numbers = itertools.count(1)
_open: dict[int, Closable] = {}
_owner = threading.local()


def owned() -> set[int]:
    """Return the handles that the calling thread's connection opened."""
    if not hasattr(_owner, "handles"):
        _owner.handles = set()
    handles: set[int] = _owner.handles
    return handles


def keep(thing: Closable) -> int:
    """Keep an object open and return its handle."""
    number = next(_numbers)
    _open[number] = thing
    owned().add(number)
    return number


def get(number: int, kind: type[Kept]) -> Kept:
    """Return the object of a handle.

    Raises:
        UnknownHandleError: there is none, or it is not a `kind`.
    """
    thing = _open.get(number)
    if not isinstance(thing, kind):
        raise UnknownHandleError(f"handle {number} is no open {kind.__name__} but {type(thing).__name__}")
    return thing


def is_open(number: int) -> bool:
    """Whether a handle's object is still open."""
    return number in _open


def close_owned() -> None:
    """Close what the calling thread's connection left open."""
    for number in owned():
        thing = _open.pop(number, None)
        if thing is not None:
            with suppress(OSError):
                thing.close()
    owned().clear()


@exposed
def close(handle: int) -> None:
    """Close the object of a handle; closing it twice is no error."""
    thing = _open.pop(handle, None)
    owned().discard(handle)
    if thing is not None:
        thing.close()


@exposed
def count() -> int:
    """Return the number of open handles."""
    return len(_open)
