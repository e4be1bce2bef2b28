# SPDX-License-Identifier: GPL-2.0-or-later
"""How many guests a machine can run."""

from __future__ import annotations

from pathlib import Path

import pytest
from plugfest.errors import UsageError
from plugfest.run import capacity

EACH = 1024 + capacity.OVERHEAD


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A host with two cores; its files lie in this folder."""
    monkeypatch.setattr(capacity.os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(capacity, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(capacity, "_CGROUP", tmp_path)
    return tmp_path


def memory(host: Path, mebibytes: int) -> None:
    (host / "meminfo").write_text(f"MemTotal: 99999999 kB\nMemFree: 1 kB\nMemAvailable:   {mebibytes << 10} kB\n")


@pytest.mark.parametrize(
    ("free", "cores", "guests"),
    [(64 * EACH, 2, 4), (64 * EACH, 8, 8), (64 * EACH, 64, capacity.MOST), (3 * EACH, 8, 3), (100, 2, 1)],
)
def test_the_default_is_what_cores_and_memory_allow(
    host: Path, monkeypatch: pytest.MonkeyPatch, free: int, cores: int, guests: int
) -> None:
    memory(host, free)
    monkeypatch.setattr(capacity.os, "sched_getaffinity", lambda _: set(range(cores)))
    assert capacity.choose_guests(None, 1024) == guests


def test_a_container_has_what_its_limits_leave(host: Path) -> None:
    memory(host, 10_000)
    (host / "memory.max").write_text(f"{4000 << 20}\n")
    (host / "memory.current").write_text(f"{1700 << 20}\n")
    (host / "memory.stat").write_text(f"anon 5\ninactive_anon 1\ninactive_file {700 << 20}\nactive_file 9\n")
    (host / "cpu.max").write_text("150000 100000\n")
    assert capacity.free_memory() == 3000
    assert capacity.cores() == 2
    (host / "cpu.max").write_text("50000 100000\n")
    assert capacity.cores() == 1


def test_a_container_without_limits_has_what_the_host_has(host: Path) -> None:
    memory(host, 10_000)
    (host / "memory.max").write_text("max\n")
    (host / "memory.current").write_text("1\n")
    (host / "cpu.max").write_text("max 100000\n")
    assert (capacity.free_memory(), capacity.cores()) == (10_000, 2)


def test_more_than_memory_allows(host: Path) -> None:
    memory(host, 2 * EACH + 100)
    assert capacity.choose_guests(2, 1024) == 2
    with pytest.raises(UsageError, match=rf"--guests 3: expected at most 2, .* found {2 * EACH + 100} MiB free"):
        capacity.choose_guests(3, 1024)


def test_one_guest_is_never_too_many(host: Path) -> None:
    memory(host, 100)
    assert capacity.choose_guests(1, 1024) == 1


def test_a_host_that_does_not_tell_its_memory(host: Path) -> None:
    assert capacity.free_memory() is None
    assert capacity.choose_guests(9, 1024) == 9
