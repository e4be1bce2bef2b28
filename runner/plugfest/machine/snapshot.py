# SPDX-License-Identifier: GPL-2.0-or-later
"""Snapshots of a booted guest without a NIC under test: created once for each image, and restored by every later run."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import shutil
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from plugfest.errors import InfrastructureError
from plugfest.machine.qemu import QemuCommand

FORMAT = 2
"""Part of every key: incremented when the preparation of the guest before the snapshot changes."""

KEEP = 8
"""Number of snapshots to keep; the least recently used are deleted first."""

_STATE, _METADATA = "state", "note.json"
_CHUNK = 1 << 20


class SnapshotError(InfrastructureError):
    """A snapshot's file is damaged."""


@dataclass(frozen=True)
class Snapshot:
    """A stored snapshot.

    Attributes:
        folder: its folder in the cache.
    """

    folder: Path

    @property
    def state(self) -> Path:
        """QEMU's migration file."""
        return self.folder / _STATE

    def verify(self) -> None:
        """Check the file's length and the checksum of everything but its holes.

        Raises:
            SnapshotError: the file has changed.
        """
        try:
            metadata = json.loads((self.folder / _METADATA).read_text())
            size, checksum = fingerprint(self.state)
        except (OSError, ValueError) as error:
            raise SnapshotError(f"snapshot {self.folder.name}: expected to read it, found: {error}") from error
        if (size, checksum) != (metadata.get("size"), metadata.get("checksum")):
            raise SnapshotError(
                f"snapshot {self.folder.name}: expected the {metadata.get('size')} bytes that were written, found different contents"
            )


def fingerprint(path: Path) -> tuple[int, int]:
    """Return a file's length, and a CRC-32 of its contents and their offsets.

    Holes are skipped, since they are most of a snapshot. File systems report holes differently, and differently over time, so the
    file is read in aligned chunks, and a chunk of zeros counts as a hole.
    """
    checksum = 0
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        at = 0
        while at < size:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:  # only a hole is left
                break
            at -= at % _CHUNK
            data = os.pread(file.fileno(), _CHUNK, at)
            if data.strip(b"\0"):
                checksum = zlib.crc32(data, zlib.crc32(at.to_bytes(8, "little"), checksum))
            at += _CHUNK
    return size, checksum


def host_cpu() -> str:
    """Identify the host's CPU: a snapshot created under KVM depends on its features."""
    wanted = ("vendor_id", "model name", "stepping", "microcode", "flags")
    try:
        lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(line for line in lines if line.split("\t")[0].strip() in wanted)


def key(command: QemuCommand) -> str:
    """Return the name of the snapshot for a machine: a hash of everything that its state depends on."""
    parts = [
        str(FORMAT),
        command.toolchain.digest,
        command.kernel.digest,
        command.root.digest,
        # the digests above identify the images; their paths do not matter
        *(_without_paths(command)),
        host_cpu() if command.acceleration == "kvm" else "",
    ]
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def _without_paths(command: QemuCommand) -> Iterator[str]:
    paths = {
        str(path): ""
        for path in (command.kernel.image, command.kernel.initramfs, command.kernel.modules, command.root.image)
    }
    for word in command.machine():
        for path in paths:
            word = word.replace(path, "")  # noqa: PLW2901 - stripped of one path after the other
        yield word


class Snapshots:
    """The snapshots in the cache."""

    def __init__(self, folder: Path) -> None:
        """Use a folder, which need not exist."""
        self.folder = folder

    def find(self, command: QemuCommand) -> Snapshot | None:
        """Return the snapshot of this machine, if there is one."""
        folder = self.folder / key(command)
        try:
            os.utime(folder / _METADATA)  # mark it as used: see `_trim`
        except FileNotFoundError:
            return None
        return Snapshot(folder)

    @contextmanager
    def making(self, command: QemuCommand) -> Iterator[None]:
        """Be the only one that boots this machine in order to store its snapshot; wait as long as another does."""
        with self._locked(f".making-{key(command)}"):
            yield

    def create(self, command: QemuCommand, write: Callable[[Path], None]) -> Snapshot:
        """Store a snapshot of this machine, unless another run has stored one in the meantime.

        Args:
            command: the machine.
            write: writes the state to the given path.

        Raises:
            InfrastructureError: it could not be written, for lack of space for example; nothing is left behind.
        """
        name = key(command)
        with self._locked():
            found = self.find(command)
            if found is not None:
                return found
            partial = self.folder / f".half-{name}"
            self._remove(partial)
            try:
                partial.mkdir(parents=True)
                write(partial / _STATE)
                _sync(partial / _STATE)
                size, checksum = fingerprint(partial / _STATE)
                (partial / _METADATA).write_text(json.dumps({"size": size, "checksum": checksum}))
                _sync(partial / _METADATA)
                partial.rename(self.folder / name)
            except OSError as error:
                raise InfrastructureError(
                    f"expected to write a snapshot to {self.folder}, found: {error.strerror}"
                ) from error
            finally:
                self._remove(partial)
            self._trim(name)
        return Snapshot(self.folder / name)

    def discard(self, snapshot: Snapshot) -> None:
        """Delete a snapshot that cannot be restored."""
        with self._locked():
            self._remove(snapshot.folder)

    def stored(self) -> list[Path]:
        """Return the folders of all snapshots, most recently used first."""
        found = [
            metadata.parent
            for metadata in self.folder.glob(f"*/{_METADATA}")
            if not metadata.parent.name.startswith(".")
        ]
        return sorted(found, key=lambda folder: (folder / _METADATA).stat().st_mtime, reverse=True)

    def prune(self, *, unused_for: float) -> list[Path]:
        """Delete the snapshots not restored for `unused_for` seconds; return their former folders."""
        if not self.folder.is_dir():
            return []
        with self._locked():
            old = [
                folder for folder in self.stored() if time.time() - (folder / _METADATA).stat().st_mtime > unused_for
            ]
            for folder in old:
                self._remove(folder)
        return old

    @contextmanager
    def _locked(self, name: str = ".lock") -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / name).open("w")
        except OSError as error:
            raise InfrastructureError(f"expected to write to {self.folder}, found: {error.strerror}") from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel releases it, however this process ends
            yield

    def _trim(self, newest: str) -> None:
        stored = [folder for folder in self.folder.iterdir() if (folder / _METADATA).exists() and folder.name != newest]
        stored.sort(key=lambda folder: (folder / _METADATA).stat().st_mtime, reverse=True)
        for folder in stored[KEEP - 1 :]:
            self._remove(folder)

    def _remove(self, folder: Path) -> None:
        # Rename first, so that no run finds a partly deleted folder. A guest being restored from it has the file open.
        removed = self.folder / f".gone-{folder.name.lstrip('.')}-{os.getpid()}"
        try:
            folder.rename(removed)
        except FileNotFoundError:
            return
        shutil.rmtree(removed, ignore_errors=True)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
