# SPDX-License-Identifier: GPL-2.0-or-later
"""Stored snapshots: what they depend on, and that a damaged or half-made one is never restored."""

from __future__ import annotations

import dataclasses
import errno
import os
import threading
from pathlib import Path

import pytest
from plugfest.errors import InfrastructureError
from plugfest.machine import snapshot as snapshots_module
from plugfest.machine.qemu import QemuCommand
from plugfest.machine.snapshot import KEEP, SnapshotError, Snapshots, fingerprint, key
from plugfest.provision.artifact import GuestRoot, Kernel, Toolchain

MIB = 1 << 20


@pytest.fixture
def command(kernel: Kernel, root: GuestRoot) -> QemuCommand:
    return QemuCommand(Toolchain(("qemu",), "11.1.3", "qemu-digest"), kernel, root, "tcg", "console=ttyS0")


@pytest.fixture
def store(tmp_path: Path) -> Snapshots:
    return Snapshots(tmp_path / "snapshots")


def sparse(path: Path) -> None:
    """Write what a snapshot looks like: little data at fixed places in a long file."""
    with path.open("wb") as file:
        for at in (0, 5 * MIB + 12345, 40 * MIB - 7):
            file.seek(at)
            file.write(os.urandom(10_000))
        file.truncate(64 * MIB)


def names(store: Snapshots) -> list[str]:
    return sorted(path.name for path in store.folder.iterdir() if path.name != ".lock")


@pytest.mark.parametrize(
    "change",
    [
        {"cpus": 1},
        {"memory": 512},
        {"acceleration": "kvm"},
        {"arguments": "console=ttyS0 quiet"},
        {"toolchain": Toolchain(("qemu",), "11.1.3", "another")},
        {"root": GuestRoot(Path("/root.erofs"), Path("/packages.json"), "another")},
    ],
)
def test_key_changes_with_the_machine(command: QemuCommand, change: dict[str, object]) -> None:
    assert key(dataclasses.replace(command, **change)) != key(command)  # type: ignore[arg-type]


def test_key_changes_with_the_kernel_but_not_with_paths_and_ports(command: QemuCommand, tmp_path: Path) -> None:
    moved = dataclasses.replace(command.kernel, image=tmp_path / "elsewhere" / "vmlinux")
    assert key(dataclasses.replace(command, kernel=moved, ssh_port=22022)) == key(command)
    assert key(dataclasses.replace(command, kernel=dataclasses.replace(moved, digest="another"))) != key(command)


def test_key_of_kvm_has_the_hosts_cpu(command: QemuCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    kvm = dataclasses.replace(command, acceleration="kvm")
    before = key(kvm), key(command)
    monkeypatch.setattr(snapshots_module, "host_cpu", lambda: "another")
    assert key(kvm) != before[0]
    assert key(command) == before[1]


def test_created_found_verified(store: Snapshots, command: QemuCommand) -> None:
    assert store.find(command) is None
    made = store.create(command, sparse)
    found = store.find(command)
    assert found == made
    found.verify()
    assert names(store) == [key(command)]


@pytest.mark.parametrize("at", [0, 5 * MIB + 12345, 40 * MIB + 2, 50 * MIB])
def test_one_changed_byte_is_found(store: Snapshots, command: QemuCommand, at: int) -> None:
    made = store.create(command, sparse)
    with made.state.open("r+b") as file:
        file.seek(at)
        before = file.read(1)
        file.seek(at)
        file.write(bytes([before[0] ^ 1]))
    with pytest.raises(SnapshotError, match="expected the 67108864 bytes that were written, found different contents"):
        made.verify()


def test_truncation_and_loss_are_found(store: Snapshots, command: QemuCommand) -> None:
    made = store.create(command, sparse)
    os.truncate(made.state, 30 * MIB)
    with pytest.raises(SnapshotError):
        made.verify()
    made.state.unlink()
    with pytest.raises(SnapshotError, match="No such file"):
        made.verify()


def test_fingerprint_does_not_depend_on_where_the_holes_are(tmp_path: Path) -> None:
    """A copy that turned holes into zeros is the same snapshot."""
    sparse(tmp_path / "a")
    (tmp_path / "b").write_bytes((tmp_path / "a").read_bytes())
    assert fingerprint(tmp_path / "a") == fingerprint(tmp_path / "b")


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), InfrastructureError("QEMU's migration failed")]
)
def test_failed_write_leaves_nothing(store: Snapshots, command: QemuCommand, error: Exception) -> None:
    def write(path: Path) -> None:
        path.write_bytes(b"half")
        raise error

    with pytest.raises(InfrastructureError):
        store.create(command, write)
    assert names(store) == []
    assert store.find(command) is None


def test_what_an_interrupted_run_left_is_not_found_and_replaced(store: Snapshots, command: QemuCommand) -> None:
    half = store.folder / f".half-{key(command)}"
    half.mkdir(parents=True)
    (half / "state").write_bytes(b"half")
    assert store.find(command) is None
    store.create(command, sparse).verify()
    assert names(store) == [key(command)]


def test_two_runs_write_one(store: Snapshots, command: QemuCommand) -> None:
    writing, proceed = threading.Event(), threading.Event()
    count = []

    def write(path: Path) -> None:
        count.append(1)
        writing.set()
        assert proceed.wait(10)
        sparse(path)

    threads = [threading.Thread(target=store.create, args=(command, write)) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert writing.wait(10)
    proceed.set()
    for thread in threads:
        thread.join()
    assert len(count) == 1


def test_discarded_is_gone_and_an_open_one_stays_readable(store: Snapshots, command: QemuCommand) -> None:
    made = store.create(command, sparse)
    with made.state.open("rb") as file:
        store.discard(made)
        store.discard(made)
        assert len(file.read()) == 64 * MIB
    assert names(store) == []


def test_least_recently_used_go_first(store: Snapshots, command: QemuCommand) -> None:
    commands = [dataclasses.replace(command, memory=100 + number) for number in range(KEEP + 2)]
    for number, each in enumerate(commands[:KEEP]):
        made = store.create(each, sparse)
        os.utime(made.folder / "note.json", (1000 + number, 1000 + number))
    assert store.find(commands[0]) is not None  # used, so the next one is the oldest
    for each in commands[KEEP:]:
        store.create(each, sparse)
    assert store.find(commands[0]) is not None
    assert store.find(commands[1]) is None
    assert store.find(commands[2]) is None
    assert len(names(store)) == KEEP


def test_folder_that_cannot_be_written(command: QemuCommand, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InfrastructureError, match="expected to write to"):
        Snapshots(tmp_path / "file" / "snapshots").create(command, sparse)
