# SPDX-License-Identifier: GPL-2.0-or-later
"""What lies in a folder that strangers' programs have written, and where it leads."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest
from plugfest.build import folder
from plugfest.errors import InfrastructureError


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A folder of strangers, beside a file of the host that none of them may reach."""
    (tmp_path / "host").mkdir()
    (tmp_path / "host/secret.ko").write_text("of the host")
    made = tmp_path / "build"
    made.mkdir()
    return made


@pytest.fixture
def deep(top: Path) -> Iterator[Path]:
    """Deeper than Python's recursion goes, and than a path may be long."""
    here = os.open(top, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("a", dir_fd=here)
        below = os.open("a", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    yield top
    folder.remove(top)  # pytest, which removes it some sessions later, cannot


def test_what_it_takes(top: Path) -> None:
    (top / "a/b").mkdir(parents=True)
    (top / "a/b/file").write_bytes(bytes(10_000))
    with (top / "holes").open("wb") as file:
        file.truncate(50 << 20)
    (top / "link").symlink_to("/")
    found = folder.measure(top, 1000)
    assert (found.files, found.depth, found.closed) == (5, 2, False)
    assert 50 << 20 < found.size < 51 << 20, "a copy has no holes"


def test_no_depth_is_too_deep(deep: Path) -> None:
    assert folder.measure(deep, 10_000).depth == folder.DEEPEST + 1
    (deep / "a/file.ko").touch()
    assert list(folder.files(deep)) == [PurePosixPath("a/file.ko")]
    folder.remove(deep)
    assert not deep.exists()


def test_counting_ends(top: Path) -> None:
    for number in range(50):
        (top / f"f{number}").mkdir()
        (top / f"f{number}/x").touch()
    assert 60 <= folder.measure(top, 60).files < 70


def test_a_closed_folder_is_known(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read all; an ordinary user's builds run as that user, and may close a folder to it."""
    (top / "closed").mkdir()
    own = os.open

    def closed(path: str, *arguments: int, **more: int) -> int:
        if path == "closed":
            raise PermissionError(errno.EACCES, "")
        return own(path, *arguments, **more)

    monkeypatch.setattr(os, "open", closed)
    assert folder.measure(top, 10).closed


@pytest.mark.parametrize("name", ["link.ko", "away/secret.ko", "a/away/secret.ko", "pipe.ko", "a", "../host/secret.ko"])
def test_only_its_own_regular_files_are_read(top: Path, name: str) -> None:
    (top / "a").mkdir()
    for link in ("away", "a/away"):
        (top / link).symlink_to(top.parent / "host")
    (top / "link.ko").symlink_to(top.parent / "host/secret.ko")
    os.mkfifo(top / "pipe.ko")
    (top / "a/true.ko").write_text("module")
    assert folder.read(top, name, 1000) is None
    assert folder.read(top, "a/true.ko", 1000) == b"module"
    assert folder.read(top, "a/true.ko", 5) is None
    assert list(folder.files(top)) == [PurePosixPath("a/true.ko")]
    assert list(folder.files(top, "away")) == []


@pytest.mark.parametrize(
    "name", ["new", "a/b/new", "link", "away/secret.ko", "a/away/deep/secret.ko", "file/new", "pipe"]
)
def test_what_is_written_stays_in_it(top: Path, name: str) -> None:
    (top / "a").mkdir()
    for link in ("away", "a/away"):
        (top / link).symlink_to(top.parent / "host")
    (top / "link").symlink_to(top.parent / "host/secret.ko")
    (top / "file").touch()
    os.mkfifo(top / "pipe")
    folder.write(top, name, b"written")
    assert folder.read(top, name, 1000) == b"written"
    assert (top.parent / "host/secret.ko").read_text() == "of the host"
    assert [path.name for path in (top.parent / "host").iterdir()] == ["secret.ko"]


def test_what_is_removed_is_its_own(top: Path) -> None:
    (top / "away").symlink_to(top.parent / "host")
    for name in ("away/secret.ko", "none", "none/none"):
        folder.unlink(top, name)
    assert (top.parent / "host/secret.ko").exists()
    folder.unlink(top, "away")
    assert not list(top.iterdir())


def test_what_cannot_be_written(top: Path) -> None:
    (top / "a").mkdir()
    with pytest.raises(InfrastructureError, match="build/a: expected to write it, found: "):
        folder.write(top, "a", b"")
    with pytest.raises(InfrastructureError, match="expected to write it"):
        folder.write(top, "../host/new", b"")
