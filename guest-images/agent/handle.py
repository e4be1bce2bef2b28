# SPDX-License-Identifier: GPL-2.0-or-later
"""Things that stay open between two requests: sockets, monitors, programs, processes. Methods ``handle.*``."""

from __future__ import annotations

import itertools
import threading
from contextlib import suppress
from typing import Protocol, TypeVar

from agent.methods import exposed


class Closable(Protocol):
    """What can be kept."""

    def close(self) -> None:
        """Give it back; must not block."""


class UnknownHandleError(LookupError):
    """The number belongs to nothing that is open, or to something of another kind."""


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
    """Keep `thing` open and return its number."""
    number = next(_numbers)
    _open[number] = thing
    owned().add(number)
    return number


def get(number: int, kind: type[Kept]) -> Kept:
    """Return what was kept under `number`.

    Raises:
        UnknownHandleError: nothing is, or it is not a `kind`.
    """
    thing = _open.get(number)
    if not isinstance(thing, kind):
        raise UnknownHandleError(f"handle {number} is no open {kind.__name__} but {type(thing).__name__}")
    return thing


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
    """Close what a method returned as `handle`; closing twice is no error."""
    thing = _open.pop(handle, None)
    owned().discard(handle)
    if thing is not None:
        thing.close()


@exposed
def count() -> int:
    """Return how many handles are open."""
    return len(_open)
