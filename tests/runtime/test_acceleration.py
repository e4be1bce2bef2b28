# SPDX-License-Identifier: GPL-2.0-or-later
"""KVM is chosen only where it has booted a kernel."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from plugfest.errors import InfrastructureError, UsageError
from plugfest.machine import acceleration
from plugfest.machine.acceleration import choose, probe
from plugfest.provision.artifact import Kernel, Toolchain

Make = Callable[[str], Toolchain]


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /dev/kvm that opens."""
    path = tmp_path / "kvm"
    path.touch()
    monkeypatch.setattr(acceleration, "DEVICE", path)
    # A QEMU that answers must have the time for it on a busy machine; one that does not has a test that waits in vain.
    monkeypatch.setattr(acceleration, "OUTPUT_TIMEOUT", 60.0)
    monkeypatch.setattr(acceleration, "START_TIMEOUT", 60.0)
    return path


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch, device: Path) -> None:
    """Time limits for a QEMU that never answers."""
    monkeypatch.setattr(acceleration, "OUTPUT_TIMEOUT", 0.4)


@pytest.mark.parametrize(
    ("behaviour", "works", "reason"),
    [
        ("boots", True, "the kernel started in "),
        ("stops", False, "KVM stopped the guest (internal-error): KVM internal error. Suberror: 1"),
        (
            "dies",
            False,
            "QEMU does not start with KVM: expected QEMU to start, found: QEMU ended with exit status 1: -accel kvm: failed",
        ),
    ],
)
def test_proof(fake_toolchain: Make, kernel: Kernel, device: Path, behaviour: str, works: bool, reason: str) -> None:
    result = probe(fake_toolchain(behaviour), kernel, device=device)
    assert result.works is works
    assert result.reason.startswith(reason), result.reason
    assert result.seconds < 60


@pytest.mark.usefixtures("impatient")
def test_a_kernel_without_output(fake_toolchain: Make, kernel: Kernel, device: Path) -> None:
    result = probe(fake_toolchain("silent"), kernel, device=device)
    assert (result.works, result.reason) == (False, "the guest's kernel had no output for 0 s")
    assert result.seconds < 30


def test_a_kernel_that_stops_on_the_way(
    fake_toolchain: Make, kernel: Kernel, device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Long enough for the first line of a process that starts on a busy machine.
    monkeypatch.setattr(acceleration, "START_TIMEOUT", 4.0)
    result = probe(fake_toolchain("vanishes"), kernel, device=device)
    assert not result.works
    assert result.reason.startswith(
        "the guest's kernel did not start within 4 s; its last output: [    0.000000] Linux version"
    )


def test_no_device(fake_toolchain: Make, kernel: Kernel, tmp_path: Path) -> None:
    assert probe(fake_toolchain("boots"), kernel, device=tmp_path / "none").reason == f"there is no {tmp_path / 'none'}"


def test_device_that_does_not_open(fake_toolchain: Make, kernel: Kernel, tmp_path: Path) -> None:
    result = probe(fake_toolchain("boots"), kernel, device=tmp_path)
    assert (result.works, result.reason) == (False, f"{tmp_path} cannot be opened (Is a directory)")


def test_auto(fake_toolchain: Make, kernel: Kernel, device: Path) -> None:
    decision = choose("auto", fake_toolchain("boots"), kernel)
    assert decision.name == "kvm"
    assert decision.reason.startswith("KVM runs a guest on this host: the kernel started in")
    decision = choose("auto", fake_toolchain("stops"), kernel)
    assert decision.name == "tcg"
    assert decision.reason.startswith("no KVM: KVM stopped the guest (internal-error)")


@pytest.mark.usefixtures("impatient")
def test_kvm_that_was_requested_and_does_not_run(fake_toolchain: Make, kernel: Kernel, device: Path) -> None:
    with pytest.raises(
        InfrastructureError,
        match=r"expected KVM to run a guest, found that the guest's kernel had no output for .*; use --accel tcg, or auto",
    ):
        choose("kvm", fake_toolchain("silent"), kernel)


def test_tcg_asks_nothing(kernel: Kernel) -> None:
    assert choose("tcg", Toolchain(("/nowhere",), "", ""), kernel).name == "tcg"


def test_unknown_acceleration(kernel: Kernel) -> None:
    with pytest.raises(UsageError, match="acceleration 'hvf': expected one of auto, kvm, tcg"):
        choose("hvf", Toolchain(("/nowhere",), "", ""), kernel)  # type: ignore[arg-type]


def test_result_is_cached_until_something_changes(
    fake_toolchain: Make, kernel: Kernel, device: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[str] = []
    real = acceleration.probe
    monkeypatch.setattr(
        acceleration,
        "probe",
        lambda toolchain, kernel: runs.append(toolchain.digest) or real(toolchain, kernel, device=device),
    )
    cache = tmp_path / "cache"
    first = choose("auto", fake_toolchain("boots"), kernel, cache=cache)
    assert choose("auto", fake_toolchain("boots"), kernel, cache=cache) == first
    assert len(runs) == 1
    choose("auto", fake_toolchain("stops"), kernel, cache=cache)  # another QEMU
    assert len(runs) == 2
    device.unlink()
    assert choose("auto", fake_toolchain("stops"), kernel, cache=cache).reason == f"no KVM: there is no {device}"
    boot = tmp_path / "boot_id"
    boot.write_text("another boot")
    monkeypatch.setattr(acceleration, "_BOOT_ID", boot)
    choose("auto", fake_toolchain("stops"), kernel, cache=cache)
    assert len(runs) == 4
    choose("auto", fake_toolchain("stops"), dataclasses.replace(kernel, digest="another kernel"), cache=cache)
    assert len(runs) == 5


@pytest.mark.parametrize(("behaviour", "proofs"), [("stops", 2), ("boots", 1)])
def test_a_failure_of_kvm_is_cached_for_an_hour(
    fake_toolchain: Make,
    kernel: Kernel,
    device: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    behaviour: str,
    proofs: int,
) -> None:
    runs: list[str] = []
    real = acceleration.probe
    monkeypatch.setattr(
        acceleration,
        "probe",
        lambda toolchain, kernel: runs.append(toolchain.digest) or real(toolchain, kernel, device=device),
    )
    choose("auto", fake_toolchain(behaviour), kernel, cache=tmp_path)
    choose("auto", fake_toolchain(behaviour), kernel, cache=tmp_path)
    assert len(runs) == 1
    file = tmp_path / "acceleration.json"
    stored = json.loads(file.read_text())
    file.write_text(json.dumps({**stored, "at": stored["at"] - acceleration.FAILURE_LIFETIME}))
    choose("auto", fake_toolchain(behaviour), kernel, cache=tmp_path)
    assert len(runs) == proofs


@pytest.mark.parametrize("content", ["", "not JSON", "[]", '{"boot": 1}', json.dumps({"probe": {}})])
def test_a_damaged_cache_is_replaced(
    fake_toolchain: Make, kernel: Kernel, device: Path, tmp_path: Path, content: str
) -> None:
    (tmp_path / "acceleration.json").write_text(content)
    assert choose("auto", fake_toolchain("boots"), kernel, cache=tmp_path).name == "kvm"
