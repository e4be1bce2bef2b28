# SPDX-License-Identifier: GPL-2.0-or-later
"""The time that a run loses because its host is busy: its processes are ready to run, and wait for a core.

Linux counts it for each thread as run delay, whose sum is the second field of ``/proc/PID/task/TID/schedstat``, in nanoseconds
(Documentation/scheduler/sched-stats.rst). A deadline that is extended by it follows what the host does now.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")


def counted(proc: Path = _PROC) -> bool:
    """Whether this kernel counts run delays; one without CONFIG_SCHED_INFO has no file, or zeros in it."""
    try:
        return int((proc / "self" / "schedstat").read_bytes().split()[0]) > 0
    except (OSError, IndexError):
        return False


class _Thread:
    """One thread's times; the file stays open, so that reading takes a microsecond or two."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._before = 0.0
        self.growth()

    def growth(self) -> float:
        """Return the seconds that it has waited for a core since the last call; 0 for a thread that has ended."""
        _, now = self._times()
        before, self._before = self._before, max(now, self._before)
        return self._before - before

    def ran(self) -> float:
        """Return the seconds for which it has had a core; 0 for a thread that has ended."""
        return self._times()[0]

    def _times(self) -> tuple[float, float]:
        try:
            ran, waited, _ = os.pread(self._file, 64, 0).split()
        except (OSError, ValueError):  # ESRCH: it has ended
            return 0.0, 0.0
        return int(ran) / 1e9, int(waited) / 1e9

    def close(self) -> None:
        os.close(self._file)


class RunDelay:
    """Counts the time that the processes of a run wait for a core: the runner's main thread, and each process passed to `watch`.

    The processes of a run wait for each other, so their delays add up. The threads of one process are taken to wait side by side, as
    QEMU's virtual CPUs do: the longest delay counts.
    """

    def __init__(self, proc: Path = _PROC) -> None:
        """Begin to count.

        Args:
            proc: where procfs is mounted.
        """
        self._proc = proc
        self._lock = threading.RLock()  # a signal's handler may ask while the main thread does
        self._processes: dict[int, list[_Thread]] = {}
        self._seconds: dict[int, float] = {}
        # The main thread, whose id is that of the process. Python's own record of it is the parent's in a forked process.
        self._watch(os.getpid(), [str(os.getpid())])

    def watch(self, pid: int) -> None:
        """Count a process with the threads that it has now."""
        with suppress(OSError):  # it has ended already
            self._watch(pid, [path.name for path in (self._proc / str(pid) / "task").iterdir()])

    def _watch(self, pid: int, threads: list[str]) -> None:
        found = []
        for thread in threads:
            with suppress(OSError):
                found.append(_Thread(self._proc / str(pid) / "task" / thread / "schedstat"))
        with self._lock:
            self._forget(pid)
            self._processes[pid] = found

    def seconds(self, pid: int | None = None) -> float:
        """Return the seconds lost since the beginning; 0 on a kernel that does not count them.

        Args:
            pid: by this process; by all together if None.
        """
        with self._lock:
            for each, threads in self._processes.items():
                growth = max((thread.growth() for thread in threads), default=0.0)
                self._seconds[each] = self._seconds.get(each, 0.0) + growth
            return sum(self._seconds.values()) if pid is None else self._seconds.get(pid, 0.0)

    def ran(self, pid: int) -> float:
        """Return the seconds for which the threads of a watched process have had a core; 0 on a kernel that does not count them."""
        with self._lock:
            return sum(thread.ran() for thread in self._processes.get(pid, ()))

    def _forget(self, pid: int) -> None:
        for thread in self._processes.pop(pid, ()):
            thread.close()

    def close(self) -> None:
        """Count no more. Idempotent."""
        with self._lock:
            for pid in list(self._processes):
                self._forget(pid)
