# SPDX-License-Identifier: GPL-2.0-or-later
"""The cache: entries are whole or not there, built once, and repaired when damaged."""

import errno
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
from plugfest.errors import InfrastructureError
from plugfest.provision.cache import MANIFEST, Cache, digest, digest_of_files

KEY = "0123abcd"


def fill(folder: Path) -> None:
    (folder / "file").write_text("contents")
    (folder / "link").symlink_to("file")


def get(cache: Cache, build=fill, *, space: int = 0) -> Path:
    return cache.get("kind", KEY, build, title="a thing", size=1, space=space)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def leftovers(cache: Cache) -> list[str]:
    return [path.name for path in cache.root.iterdir() if path.name.startswith((".half-", ".gone-"))]


def test_built_once(cache):
    path = get(cache)
    assert (path / "file").read_text() == "contents"

    def never(_folder):
        raise AssertionError("built twice")

    assert get(cache, never) == path


@pytest.mark.parametrize("damage", ["truncate", "remove", "manifest"])
def test_damage_is_reported_and_repaired(cache, capsys, damage):
    path = get(cache)
    match damage:
        case "truncate":
            (path / "file").write_text("c")
        case "remove":
            (path / "file").unlink()
        case "manifest":
            (path / MANIFEST).write_text("{")
    assert (get(cache) / "file").read_text() == "contents"
    assert "is damaged" in capsys.readouterr().err


def test_verify_reads_the_contents(cache):
    path = get(cache)
    (entry,) = cache.entries()
    assert cache.verify(entry) is None
    (path / "file").write_text("CONTENTS")
    assert get(cache) == path  # the length is right: only verify reads it all
    assert "file" in cache.verify(entry)


def test_failed_build_leaves_nothing(cache):
    def fail(folder):
        fill(folder)
        raise InfrastructureError("no")

    with pytest.raises(InfrastructureError, match="no"):
        get(cache, fail)
    assert not leftovers(cache)
    assert not cache.entries()
    get(cache)


def test_full_disk_is_one_line(cache):
    def fail(_folder):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(InfrastructureError, match=r"expected \d+ MiB free .* found \d+ MiB; free some") as found:
        get(cache, fail)
    assert "\n" not in str(found.value)


def test_lack_of_space_is_reported_before_the_build(cache):
    with pytest.raises(InfrastructureError, match="MiB free"):
        get(cache, lambda _folder: pytest.fail("built all the same"), space=1 << 60)


def test_no_permission_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InfrastructureError, match="--cache-dir"):
        get(Cache(tmp_path / "file"))


def _build_slowly(root: str, begun, log: str) -> None:
    def build(folder: Path) -> None:
        begun.set()
        with Path(log).open("a") as file:
            file.write("built\n")
        time.sleep(0.5)
        fill(folder)

    get(Cache(Path(root)), build)


def test_two_processes_share_a_build(tmp_path):
    spawn = multiprocessing.get_context("fork")
    begun, log = spawn.Event(), tmp_path / "log"
    both = [spawn.Process(target=_build_slowly, args=(str(tmp_path / "cache"), begun, str(log))) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(30)
        assert process.exitcode == 0
    assert log.read_text() == "built\n"


def test_killed_build_leaves_no_entry(tmp_path):
    spawn = multiprocessing.get_context("fork")
    begun = spawn.Event()
    process = spawn.Process(target=_build_slowly, args=(str(tmp_path / "cache"), begun, str(tmp_path / "log")))
    process.start()
    assert begun.wait(30)
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)
    cache = Cache(tmp_path / "cache")
    assert not cache.entries()
    assert leftovers(cache)
    cache.get("other", KEY, fill, title="another thing", size=1, space=0)
    assert not leftovers(cache)
    assert (get(cache) / "file").read_text() == "contents"


def test_prune_takes_only_what_is_old(cache):
    old = get(cache)
    new = cache.get("kind", "new", fill, title="a new thing", size=1, space=0)
    long_ago = time.time() - 1000
    os.utime(old / MANIFEST, (long_ago, long_ago))
    assert [entry.path for entry in cache.prune(unused_for=500)] == [old]
    assert not old.exists()
    assert new.exists()


def test_use_keeps_an_entry_young(cache):
    path = get(cache)
    os.utime(path / MANIFEST, (0, 0))
    get(cache)
    assert not cache.prune(unused_for=500)


def test_digest_knows_the_boundaries_of_its_parts():
    assert digest("ab", "c") != digest("a", "bc")


def test_digest_of_files_knows_names_modes_and_contents(tmp_path):
    (tmp_path / "a").write_text("1")
    first = digest_of_files(tmp_path)
    (tmp_path / "a").chmod(0o755)
    second = digest_of_files(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    third = digest_of_files(tmp_path)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__/b.pyc").touch()
    assert len({first, second, third}) == 3
    assert digest_of_files(tmp_path) == third
