# SPDX-License-Identifier: GPL-2.0-or-later
"""The frequency of the time stamp counter that an emulated guest's kernel gets."""

from __future__ import annotations

import mmap
from collections.abc import Iterator

import pytest
from plugfest.machine import time_stamp_counter
from plugfest.machine.time_stamp_counter import frequency
from plugfest.machine.virtual import kernel_arguments


@pytest.fixture(autouse=True)
def measured_anew() -> Iterator[None]:
    frequency.cache_clear()
    yield
    frequency.cache_clear()


def test_measurements_agree() -> None:
    found = []
    for _ in range(3):
        frequency.cache_clear()
        found.append(frequency())
    assert found[0] is not None
    assert 400 < found[0] < 10_000
    assert max(found) - min(found) <= 1, "rounding may fall either way"  # type: ignore[type-var, operator]
    assert f"tsc_early_khz={found[-1]}000" in kernel_arguments("tcg").split()


def test_kvm_tells_its_guest_itself() -> None:
    assert "tsc_early_khz" not in kernel_arguments("kvm")


def test_host_that_cannot_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_options: object) -> mmap.mmap:
        raise PermissionError

    monkeypatch.setattr(time_stamp_counter.mmap, "mmap", refuse)
    assert frequency() is None
    assert "tsc_early_khz" not in kernel_arguments("tcg")
    frequency.cache_clear()
    monkeypatch.setattr(time_stamp_counter.platform, "machine", lambda: "aarch64")
    assert frequency() is None
