# SPDX-License-Identifier: GPL-2.0-or-later
"""The cache of everything fetched or built. Each entry is named by the hash of its recipe, and built once and atomically.

An entry is a folder ``KIND-HASH`` with a manifest of its files. It is built in a folder next to it and renamed when it is
complete, so that an interrupted build leaves nothing that looks like an entry.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from plugfest.errors import InfrastructureError
from plugfest.provision.progress import activity, print_line

MANIFEST = ".manifest.json"
_PARTIAL = ".half-"
_REMOVED = ".gone-"
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Entry:
    """An entry of the cache.

    Attributes:
        path: its folder.
        title: description of its contents.
        size: total size of its files in bytes.
        created: time in seconds since the epoch.
        used: time when it was last used, likewise.
    """

    path: Path
    title: str
    size: int
    created: float
    used: float


def digest(*parts: str | bytes) -> str:
    """Hash the parts of a recipe, including their boundaries."""
    state = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        state.update(len(data).to_bytes(8, "little") + data)
    return state.hexdigest()[:24]


def digest_of_files(folder: Path, pattern: str = "**/*") -> str:
    """Hash the names and contents of a recipe's files, except caches of Python and hidden files."""
    parts: list[str | bytes] = []
    for path in sorted(folder.glob(pattern)):
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith("."):
            executable = "x" if path.stat().st_mode & 0o100 else "-"
            parts += [str(path.relative_to(folder)), executable, path.read_bytes()]
    return digest(*parts)


class Cache:
    """The cache's folder with all entries."""

    def __init__(self, root: Path) -> None:
        """Use a folder, which need not exist."""
        self.root = root

    def get(self, kind: str, key: str, build: Callable[[Path], None], *, title: str, size: int, space: int) -> Path:
        """Return the entry with this key; build it if it does not exist or is damaged.

        Args:
            kind: first part of the folder's name, as ``kernel``.
            key: hash of the recipe.
            build: fills the given empty folder.
            title: description of its contents, as ``QEMU 11.1``; shown while it is built.
            size: approximate size of the finished entry in bytes, for the progress bar.
            space: bytes of free space that the build needs at most.

        Raises:
            InfrastructureError: no space, no permission, or what `build` raises.
        """
        path = self.root / f"{kind}-{key}"
        damage = self._damage(path) if path.exists() else None
        if path.exists() and damage is None:
            self._touch(path)
            return path
        with self._locked(path.name, title):
            if path.exists():
                damage = self._damage(path)
                if damage is None:
                    return path
                print_line(f"cache: {path.name} is damaged ({damage}); building it again")
                self._remove(path)
            self._sweep(path.name)
            self._check_space(space, title)
            # A unique name: children of a killed build may still write to their folder.
            partial = Path(tempfile.mkdtemp(dir=self.root, prefix=f"{_PARTIAL}{path.name}."))
            partial.chmod(0o755)
            try:
                with activity(title, lambda: _size(partial) / size):
                    build(partial)
                    _write_manifest(partial, title)
                partial.rename(path)
                _sync(self.root)
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    raise self._no_space(space, title) from error
                raise InfrastructureError(f"{title}: expected to write to {partial}, found: {error}") from error
            except InfrastructureError as error:
                if os.strerror(errno.ENOSPC) in str(error):  # from a program's output
                    raise self._no_space(space, title) from error
                raise
            finally:
                if partial.exists():
                    self._remove(partial)
        return path

    def entries(self) -> list[Entry]:
        """Return all entries, most recently used first."""
        found = []
        for manifest in self.root.glob(f"*/{MANIFEST}"):
            if manifest.parent.name.startswith("."):
                continue
            try:
                note = json.loads(manifest.read_text())
                size = sum(size for size, _ in note["files"].values())
                found.append(Entry(manifest.parent, note["title"], size, note["created"], manifest.stat().st_mtime))
            except (OSError, ValueError, KeyError, TypeError):
                found.append(Entry(manifest.parent, "damaged", 0, 0.0, 0.0))
        return sorted(found, key=lambda entry: entry.used, reverse=True)

    def verify(self, entry: Entry) -> str | None:
        """Read an entry completely; return what is wrong with it, or None."""
        return self._damage(entry.path, contents=True)

    def remove(self, entry: Entry) -> None:
        """Delete an entry, after any build of it in progress has ended."""
        with self._locked(entry.path.name, f"remove {entry.path.name}"):
            self._remove(entry.path)

    def prune(self, *, unused_for: float) -> list[Entry]:
        """Delete the entries not used for `unused_for` seconds; return them."""
        old = [entry for entry in self.entries() if time.time() - entry.used > unused_for]
        for entry in old:
            self.remove(entry)
        return old

    def _damage(self, path: Path, *, contents: bool = False) -> str | None:
        try:
            files = json.loads((path / MANIFEST).read_text())["files"]
            for name, (size, checksum) in files.items():
                file = path / name
                if file.lstat().st_size != size:
                    return f"{name}: expected {size} bytes, found {file.lstat().st_size}"
                if contents and _checksum(file) != checksum:
                    return f"{name}: its contents changed"
        except FileNotFoundError as error:
            return f"{Path(error.filename).name} is missing"
        except (OSError, ValueError, KeyError, TypeError) as error:
            return f"{MANIFEST}: {error}"
        return None

    @contextmanager
    def _locked(self, name: str, title: str) -> Iterator[None]:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock = (self.root / f".lock-{name}").open("w")
        except OSError as error:
            raise InfrastructureError(
                f"expected to write to the cache {self.root}, found: {error.strerror}; choose another folder with --cache-dir"
            ) from error
        with lock:  # the kernel releases it, however this process ends
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print_line(f"{title}: waiting for another run that is building it")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _sweep(self, building: str) -> None:
        """Delete the remains of interrupted builds and removals; the caller holds the lock of the entry `building`."""
        for left in self.root.glob(f"{_REMOVED}*"):
            shutil.rmtree(left, ignore_errors=True)
        for left in self.root.glob(f"{_PARTIAL}*"):
            name = left.name.removeprefix(_PARTIAL).rpartition(".")[0]
            if name == building:
                shutil.rmtree(left, ignore_errors=True)
                continue
            with (self.root / f".lock-{name}").open("w") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue  # another process is building it
                shutil.rmtree(left, ignore_errors=True)

    def _check_space(self, space: int, title: str) -> None:
        if shutil.disk_usage(self.root).free < space:
            raise self._no_space(space, title)

    def _no_space(self, space: int, title: str) -> InfrastructureError:
        free = shutil.disk_usage(self.root).free
        return InfrastructureError(
            f"{title}: expected {space >> 20} MiB free in {self.root}, found {free >> 20} MiB; "
            "free some space (plugfest cache prune), or choose another folder with --cache-dir"
        )

    def _touch(self, path: Path) -> None:
        try:
            os.utime(path / MANIFEST)
        except PermissionError:
            return  # a cache that belongs to another user can still be read

    def _remove(self, path: Path) -> None:
        # Rename first, so that no run finds a partly deleted entry.
        removed = self.root / f"{_REMOVED}{path.name.lstrip('.')}-{os.getpid()}"
        path.rename(removed)
        shutil.rmtree(removed, ignore_errors=True)


def fingerprint(entry: Path) -> str:
    """Return a hash of an entry's contents: packages of the same recipe change over time.

    Args:
        entry: a folder that `Cache.get` returned.
    """
    return digest(json.dumps(json.loads((entry / MANIFEST).read_text())["files"], sort_keys=True))


def _write_manifest(folder: Path, title: str) -> None:
    files = {}
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            if path.is_symlink() or path.is_file():
                files[str(path.relative_to(folder))] = (path.lstat().st_size, _checksum(path))
    note = {"title": title, "created": time.time(), "files": files}
    (folder / MANIFEST).write_text(json.dumps(note))
    # After a power failure files may be truncated; the manifest shows that, so it is synced itself.
    _sync(folder / MANIFEST)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _size(folder: Path) -> int:
    """Return the total size of a folder's files while another process writes to it."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += Path(parent, name).lstat().st_size
    return total


def _checksum(path: Path) -> str:
    state = hashlib.sha256()
    if path.is_symlink():
        state.update(os.fsencode(path.readlink()))
        return state.hexdigest()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            state.update(block)
    return state.hexdigest()
