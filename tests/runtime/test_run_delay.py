# SPDX-License-Identifier: GPL-2.0-or-later
"""The time that a run loses because its host is busy."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from plugfest.provision.settings import ProvisionSettings
from plugfest.run import doctor
from plugfest.run.run_delay import RunDelay, counted


class Procfs:
    """A procfs with threads whose run delays the test sets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def delay(self, pid: int, thread: int, nanoseconds: int) -> None:
        path = self.folder / str(pid) / "task" / str(thread) / "schedstat"
        path.parent.mkdir(parents=True, exist_ok=True)
        # in place, as procfs does: the reader keeps the file open
        with path.open("r+b" if path.exists() else "wb") as file:
            file.write(b"%-20d %-20d 7\n" % (nanoseconds * 3, nanoseconds))


@pytest.fixture
def procfs(tmp_path: Path) -> Procfs:
    made = Procfs(tmp_path)
    made.delay(os.getpid(), os.getpid(), 5_000_000_000)
    return made


def test_delay_before_the_beginning_does_not_count(procfs: Procfs) -> None:
    delay = RunDelay(procfs.folder)
    assert delay.seconds() == 0
    procfs.delay(os.getpid(), os.getpid(), 5_250_000_000)
    assert delay.seconds() == pytest.approx(0.25)
    assert delay.seconds() == pytest.approx(0.25)


def test_a_forked_process_counts_itself(tmp_path: Path) -> None:
    """Its main thread has another id than that of the process that it was forked from."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        procfs = Procfs(tmp_path)
        procfs.delay(os.getpid(), os.getpid(), 1_000_000_000)
        delay = RunDelay(procfs.folder)
        procfs.delay(os.getpid(), os.getpid(), 3_000_000_000)
        os.write(writing, str(round(delay.seconds())).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        assert answer.read() == "2"


def test_processes_add_up_and_of_threads_the_longest_delay_counts(procfs: Procfs) -> None:
    procfs.delay(10, 10, 0)
    procfs.delay(10, 11, 0)
    procfs.delay(20, 20, 0)
    delay = RunDelay(procfs.folder)
    delay.watch(10)
    delay.watch(20)
    procfs.delay(10, 10, 1_000_000_000)
    procfs.delay(10, 11, 3_000_000_000)
    procfs.delay(20, 20, 500_000_000)
    assert delay.seconds() == pytest.approx(3.5)
    assert delay.seconds(10) == pytest.approx(3)
    # Another thread is the busiest from now on.
    procfs.delay(10, 10, 2_500_000_000)
    assert delay.seconds() == pytest.approx(5)


def test_time_on_a_core_is_of_all_threads(procfs: Procfs) -> None:
    procfs.delay(10, 10, 1_000_000_000)
    procfs.delay(10, 11, 500_000_000)
    delay = RunDelay(procfs.folder)
    assert delay.ran(10) == 0
    delay.watch(10)
    assert delay.ran(10) == pytest.approx(4.5)


def test_kernel_without_run_delays_loses_nothing(tmp_path: Path) -> None:
    delay = RunDelay(tmp_path)
    delay.watch(10)
    assert delay.seconds() == 0
    assert not counted(tmp_path)


def test_zeros_are_a_kernel_without_run_delays(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "schedstat").write_text("0 0 0\n")
    assert not counted(tmp_path)


@pytest.mark.parametrize(
    ("there", "grade", "found"), [(True, "good", "deadlines are extended"), (False, "note", "leave it idle")]
)
def test_doctor_says_whether_deadlines_follow_the_host(
    monkeypatch: pytest.MonkeyPatch, there: bool, grade: str, found: str
) -> None:
    monkeypatch.setattr(doctor.run_delay, "counted", lambda: there)
    (finding,) = [each for each in doctor.examine(ProvisionSettings()) if each.what == "run delay"]
    assert finding.grade == grade
    assert found in finding.found


def test_process_that_has_ended_loses_no_more() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    delay = RunDelay()
    delay.watch(process.pid)
    process.communicate(b"\n")
    found = delay.seconds(process.pid)
    assert delay.seconds(process.pid) == found
    delay.watch(process.pid)
    delay.close()
    delay.close()


@contextmanager
def load(processes: int, cpu: int) -> Iterator[None]:
    """Keep one CPU busy."""
    command = [sys.executable, "-c", f"import os; os.sched_setaffinity(0, [{cpu}])\nwhile True: pass"]
    started = [subprocess.Popen(command) for _ in range(processes)]
    try:
        yield
    finally:
        for each in started:
            each.kill()
            each.wait()


@pytest.mark.skipif(not counted(), reason="this kernel does not count run delays")
def test_busy_host_is_seen() -> None:
    """A process that shares its CPU with three others waits for most of its time."""
    cpu = min(os.sched_getaffinity(0))
    command = [sys.executable, "-c", f"import os; os.sched_setaffinity(0, [{cpu}])\nwhile True: pass"]
    process = subprocess.Popen(command)
    try:
        with load(3, cpu):
            time.sleep(0.5)
            delay = RunDelay()
            delay.watch(process.pid)
            begin = time.monotonic()
            time.sleep(1.0)
            share = delay.seconds(process.pid) / (time.monotonic() - begin)
    finally:
        process.kill()
        process.wait()
    assert 0.4 < share < 1.3, "a delay is counted when it ends, so the first may have begun earlier"


@pytest.mark.skipif(not counted(), reason="this kernel does not count run delays")
def test_reading_is_cheap() -> None:
    """Deadlines read it at each poll, of which the shortest is 5 ms after the one before."""
    delay = RunDelay()
    best = min(_timed(delay) for _ in range(200))
    assert best < 0.001


def _timed(delay: RunDelay) -> float:
    begin = time.perf_counter()
    delay.seconds()
    return time.perf_counter() - begin
