# SPDX-License-Identifier: GPL-2.0-or-later
"""Snapshots of a booted guest that has no NIC under test yet: made once for each image, restored by every later run."""

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
"""Part of every key: counted up when what is done before the snapshot changes."""

KEEP = 8
"""Snapshots that are kept; the ones not used longest go first."""

_STATE, _NOTE = "state", "note.json"
_CHUNK = 1 << 20


class SnapshotError(InfrastructureError):
    """A snapshot is not what was written."""


@dataclass(frozen=True)
class Snapshot:
    """One stored snapshot.

    Attributes:
        folder: in the cache.
    """

    folder: Path

    @property
    def state(self) -> Path:
        """QEMU's file."""
        return self.folder / _STATE

    def verify(self) -> None:
        """See that the file is what was written: its length and a checksum of everything but its holes.

        Raises:
            SnapshotError: it is not.
        """
        try:
            note = json.loads((self.folder / _NOTE).read_text())
            size, checksum = fingerprint(self.state)
        except (OSError, ValueError) as error:
            raise SnapshotError(f"snapshot {self.folder.name}: expected to read it, found: {error}") from error
        if (size, checksum) != (note.get("size"), note.get("checksum")):
            raise SnapshotError(
                f"snapshot {self.folder.name}: expected the {note.get('size')} bytes that were written, found others"
            )


def fingerprint(path: Path) -> tuple[int, int]:
    """Return a file's length, and a CRC-32 of what it holds and where.

    Holes are skipped, since most of a snapshot is one. File systems differ in where they see holes, and from one moment to the
    next: so the file is taken in aligned chunks, and one of zeros counts as a hole wherever it is.
    """
    checksum = 0
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        at = 0
        while at < size:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:  # nothing but a hole is left
                break
            at -= at % _CHUNK
            data = os.pread(file.fileno(), _CHUNK, at)
            if data.strip(b"\0"):
                checksum = zlib.crc32(data, zlib.crc32(at.to_bytes(8, "little"), checksum))
            at += _CHUNK
    return size, checksum


def host_cpu() -> str:
    """Identify the host's CPU: a snapshot made by KVM carries its features."""
    wanted = ("vendor_id", "model name", "stepping", "microcode", "flags")
    try:
        lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(line for line in lines if line.split("\t")[0].strip() in wanted)


def key(command: QemuCommand) -> str:
    """Return the name of the snapshot that fits a machine: a hash of all that its state depends on."""
    parts = [
        str(FORMAT),
        command.toolchain.digest,
        command.kernel.digest,
        command.root.digest,
        # the images are named by their digests above; where they lie does not matter
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
        """Use a folder; it need not exist."""
        self.folder = folder

    def find(self, command: QemuCommand) -> Snapshot | None:
        """Return the snapshot of this machine, if there is one."""
        folder = self.folder / key(command)
        try:
            os.utime(folder / _NOTE)  # used now: see `_trim`
        except FileNotFoundError:
            return None
        return Snapshot(folder)

    def create(self, command: QemuCommand, write: Callable[[Path], None]) -> Snapshot:
        """Store the snapshot of this machine, unless another run did so meanwhile.

        Args:
            command: the machine.
            write: writes the state into the path that it is given.

        Raises:
            InfrastructureError: it was not written, as for want of space; nothing is left of it.
        """
        name = key(command)
        with self._locked():
            found = self.find(command)
            if found is not None:
                return found
            half = self.folder / f".half-{name}"
            self._remove(half)
            try:
                half.mkdir(parents=True)
                write(half / _STATE)
                _sync(half / _STATE)
                size, checksum = fingerprint(half / _STATE)
                (half / _NOTE).write_text(json.dumps({"size": size, "checksum": checksum}))
                _sync(half / _NOTE)
                half.rename(self.folder / name)
            except OSError as error:
                raise InfrastructureError(
                    f"expected to write a snapshot to {self.folder}, found: {error.strerror}"
                ) from error
            finally:
                self._remove(half)
            self._trim(name)
        return Snapshot(self.folder / name)

    def discard(self, snapshot: Snapshot) -> None:
        """Delete a snapshot that does not restore."""
        with self._locked():
            self._remove(snapshot.folder)

    def stored(self) -> list[Path]:
        """Return the folders of all snapshots, the one used last first."""
        found = [note.parent for note in self.folder.glob(f"*/{_NOTE}") if not note.parent.name.startswith(".")]
        return sorted(found, key=lambda folder: (folder / _NOTE).stat().st_mtime, reverse=True)

    def prune(self, *, unused_for: float) -> list[Path]:
        """Delete the snapshots not restored within `unused_for` seconds; return their folders as they were."""
        if not self.folder.is_dir():
            return []
        with self._locked():
            old = [folder for folder in self.stored() if time.time() - (folder / _NOTE).stat().st_mtime > unused_for]
            for folder in old:
                self._remove(folder)
        return old

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / ".lock").open("w")
        except OSError as error:
            raise InfrastructureError(f"expected to write to {self.folder}, found: {error.strerror}") from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # released with the file, whatever ends this process
            yield

    def _trim(self, newest: str) -> None:
        stored = [folder for folder in self.folder.iterdir() if (folder / _NOTE).exists() and folder.name != newest]
        stored.sort(key=lambda folder: (folder / _NOTE).stat().st_mtime, reverse=True)
        for folder in stored[KEEP - 1 :]:
            self._remove(folder)

    def _remove(self, folder: Path) -> None:
        # Renamed first: nobody finds a folder that is half deleted. A guest that is being restored from it has its file open.
        doomed = self.folder / f".gone-{folder.name.lstrip('.')}-{os.getpid()}"
        try:
            folder.rename(doomed)
        except FileNotFoundError:
            return
        shutil.rmtree(doomed, ignore_errors=True)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
