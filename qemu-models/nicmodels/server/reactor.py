# SPDX-License-Identifier: MIT
"""The event loop of a served model: one thread, epoll, timers of microsecond resolution.

`Reactor` is the `nicmodels.clock.Clock` of a served model and the `EventLoop` of `nicmodels.vfio_user.connection`.
"""

from __future__ import annotations

import contextlib
import heapq
import logging
import select
import time
from collections import deque
from typing import TYPE_CHECKING

from nicmodels.clock import Timer

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

LONGEST_WAIT = 3600.0
"""Seconds that one system call waits: a guest may set a timer that does not fit a time_t."""


def _log(error: Exception) -> None:
    logger.error("a callback failed: %s", error, exc_info=error)


class Reactor:
    """An epoll loop. Callbacks run on the thread that called `run`; none of the methods is thread-safe.

    Attributes:
        failed: takes the exception of a callback, which ends that callback and not the loop; it must not raise.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._readers: dict[int, Callable[[], object]] = {}
        self._writers: dict[int, Callable[[], object]] = {}
        self._edge: set[int] = set()
        self._masks: dict[int, int] = {}
        self._timers: list[Timer] = []
        self._soon: deque[Callable[[], object]] = deque()
        self._stopping = False
        self.failed: Callable[[Exception], object] = _log
        self.now = time.monotonic

    def add_reader(self, fd: int, callback: Callable[[], object], *, edge: bool = False) -> None:
        """Call `callback` while `fd` is readable or hung up; with `edge`, once per arrival.

        Raises:
            ValueError: the descriptor already has a reader.
        """
        if fd in self._readers:
            raise ValueError(f"file descriptor {fd} already has a reader")
        self._readers[fd] = callback
        if edge:
            self._edge.add(fd)
        self._update(fd)

    def remove_reader(self, fd: int) -> None:
        """Remove the reader of `fd`, if it has one."""
        if self._readers.pop(fd, None) is not None:
            self._edge.discard(fd)
            self._update(fd)

    def add_writer(self, fd: int, callback: Callable[[], object]) -> None:
        """Call `callback` while `fd` is writable or hung up."""
        if fd in self._writers:
            raise ValueError(f"file descriptor {fd} already has a writer")
        self._writers[fd] = callback
        self._update(fd)

    def remove_writer(self, fd: int) -> None:
        """Remove the writer of `fd`, if it has one."""
        if self._writers.pop(fd, None) is not None:
            self._update(fd)

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Run `callback` once, `seconds` from now."""
        timer = Timer(self.now() + max(seconds, 0.0), callback)
        heapq.heappush(self._timers, timer)
        return timer

    def call_soon(self, callback: Callable[[], object]) -> None:
        """Run `callback` in the next turn of the loop, after the descriptors that are ready now."""
        self._soon.append(callback)

    def stop(self) -> None:
        """Make `run` return after the current turn; a `run` that has not started returns at once."""
        self._stopping = True

    def run(self) -> None:
        """Run until `stop`."""
        while not self._stopping:
            self.turn()
        self._stopping = False

    def turn(self, timeout: float | None = None) -> None:
        """Wait for an event, at most `timeout` seconds, and run what is due; tests drive the loop with it."""
        for fd, mask in self._wait(timeout):
            if mask & ~select.EPOLLOUT:
                callback = self._readers.get(fd)
                if callback is not None:
                    self._call(callback)
            if mask & ~select.EPOLLIN:
                callback = self._writers.get(fd)
                if callback is not None:
                    self._call(callback)
        for _ in range(len(self._soon)):
            self._call(self._soon.popleft())
        timers = self._timers
        if timers:
            now = self.now()
            while timers and timers[0].when <= now:
                timer = heapq.heappop(timers)
                if not timer.cancelled:
                    self._call(timer.callback)

    def close(self) -> None:
        """Release the epoll descriptor; the registered descriptors stay with their owners."""
        self._epoll.close()

    def _call(self, callback: Callable[[], object]) -> None:
        try:
            callback()
        except Exception as error:
            self.failed(error)

    def _wait(self, timeout: float | None) -> list[tuple[int, int]]:
        timers = self._timers
        while timers and timers[0].cancelled:
            heapq.heappop(timers)
        if self._soon:
            timeout = 0.0
        elif timers:
            due = max(timers[0].when - self.now(), 0.0)
            timeout = due if timeout is None else min(due, timeout)
        if timeout is None:
            return self._epoll.poll(-1, 64)
        if 0.0 < timeout < 0.02:
            # epoll_wait has a resolution of milliseconds; select() on the epoll descriptor has microseconds, which
            # interrupt moderation needs.
            ready, _, _ = select.select((self._epoll,), (), (), timeout)
            if not ready:
                return []
            timeout = 0.0
        return self._epoll.poll(min(timeout, LONGEST_WAIT), 64)

    def _update(self, fd: int) -> None:
        mask = (select.EPOLLIN if fd in self._readers else 0) | (select.EPOLLOUT if fd in self._writers else 0)
        known = self._masks.get(fd)
        if mask == 0:
            if known is not None:
                del self._masks[fd]
                with contextlib.suppress(OSError):  # its owner may have closed it first, which unregisters it
                    self._epoll.unregister(fd)
            return
        if fd in self._edge:
            mask |= select.EPOLLET
        if known is None:
            self._epoll.register(fd, mask)
        else:
            self._epoll.modify(fd, mask)
        self._masks[fd] = mask
