# SPDX-License-Identifier: GPL-2.0-or-later
"""A driver's source: Debian's, a folder, a git tree; built as one module."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from plugfest.build import module
from plugfest.build.confinement import Confinement, Limits
from plugfest.build.errors import BuildError, SeriesError
from plugfest.errors import UsageError
from plugfest.patch.driver import Source, Workshop, check_driver, clean, update
from plugfest.patch.queue import Series
from plugfest.provision.artifact import BuildRoot, DriverSource
from plugfest.provision.modules import module_info
from plugfest.provision.settings import ProvisionSettings
from plugfest.provision.toolchain import ensure_bwrap
from plugfest.requirements.drivers import Driver, drivers

FOLDER = "drivers/net/ethernet/acme"
HEARTBEAT = Path(__file__).parents[1] / "build/heartbeat"

Git = Callable[..., str]
Commit = Callable[[str, dict[str, str]], str]


@pytest.fixture
def acme() -> Driver:
    """A driver whose folder is that of the tests' git tree."""
    return dataclasses.replace(drivers()["vmxnet3"], name="acme", module="heartbeat", source=FOLDER)


def test_sources_of_each_kind(git: Git, commit: Commit, tmp_path: Path, acme: Driver) -> None:
    debian = Source.of_channel(acme, DriverSource(tmp_path, "Debian's linux-source-7.3 7.3.4-1"))
    assert (debian.commit, debian.of_kernel) == (None, True)
    commit("acme: next", {f"{FOLDER}/main.c": "next"})
    base = Source.of_tree(acme, tmp_path / "tree", "base")
    assert (base.commit, base.of_kernel) == (git("rev-parse", "base"), False)
    assert base.title == f'{tmp_path}/tree at {base.commit[:12]} ("The driver")'
    plain = tmp_path / "plain"
    (plain / FOLDER).mkdir(parents=True)
    assert Source.of_tree(acme, plain).commit is None
    with pytest.raises(UsageError, match=f"expected a kernel's source with {FOLDER}, found none"):
        Source.of_tree(acme, tmp_path)


def test_each_driver_has_its_place() -> None:
    for name, driver in drivers().items():
        assert driver.source.startswith("drivers/net/")
        if name == "virtio_net":
            with pytest.raises(UsageError, match=r"found drivers/net/virtio_net\.c"):
                check_driver(driver)
        else:
            check_driver(driver)


def test_a_patched_driver_of_a_tree(
    git: Git,
    commit: Commit,
    tmp_path: Path,
    acme: Driver,
    build_root: BuildRoot,
    provisioning: ProvisionSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From a commit of a git tree to a module; a series changes its version, another does not compile."""
    files = {f"{FOLDER}/{name}": (HEARTBEAT / name).read_text() for name in ("heartbeat.c", "heartbeat.h", "Kbuild")}
    git("rm", "--quiet", "-r", FOLDER)
    commit("acme: a driver that builds", files)
    git("tag", "good")
    header = f"{FOLDER}/heartbeat.h"
    commit("acme: version 2", {header: files[header].replace("1.4.2", "2.0.0")})
    fix = Series("fix", (("fix", git("format-patch", "--stdout", "good..HEAD").encode() + b"\n"),))
    commit("acme: nonsense", {header: "nonsense\n"})
    nonsense = Series("bad", (("bad", git("format-patch", "--stdout", "HEAD~1..HEAD").encode() + b"\n"),))
    source = Source.of_tree(acme, tmp_path / "tree", "good")
    # A cache of its own, but for what is fetched.
    workshop = Workshop(ProvisionSettings(tmp_path / "cache"), build_root, Limits(seconds=300))
    monkeypatch.setattr(module, "ensure_bwrap", lambda _: ensure_bwrap(provisioning))
    before, start = workshop.base(acme, source, tmp_path / "before")
    after, patches = workshop.build(acme, source, tmp_path / "after", (fix,), start)
    fresh, _ = workshop.build(acme, source, tmp_path / "fresh", (fix,))
    assert module_info(before.read_bytes())["version"] == "1.4.2"
    assert [module_info(path.read_bytes())["version"] for path in (after, fresh)] == ["2.0.0", "2.0.0"]
    assert after.read_bytes() == fresh.read_bytes(), "it does not matter what was compiled before"
    begin = time.monotonic()
    assert workshop.base(acme, source, tmp_path / "again")[0].read_bytes() == before.read_bytes()
    assert time.monotonic() - begin < 2, "it is in the cache"
    assert [patch.subject for patch in patches] == ["acme: version 2"]
    assert before.stat().st_size < 100_000, "without what a debugger reads"
    # Another commit of it, in the first one's folder: a file more, and one less.
    commit("acme: another", {header: files[header].replace("1.4.2", "3.0.0"), f"{FOLDER}/more.h": ""})
    git("rm", "--quiet", f"{FOLDER}/more.h")
    (tmp_path / "tree" / FOLDER / "Makefile").write_text(files[f"{FOLDER}/Kbuild"])
    git("rm", "--quiet", f"{FOLDER}/Kbuild")
    git("add", "-A")
    git("commit", "--quiet", "-m", "acme: a Makefile")
    later, _ = workshop.build(acme, Source.of_tree(acme, tmp_path / "tree"), tmp_path / "later", start=start)
    assert module_info(later.read_bytes())["version"] == "3.0.0"
    commit("acme: nothing that builds", {header: "nonsense\n"})
    with pytest.raises(BuildError) as caught:
        workshop.base(acme, Source.of_tree(acme, tmp_path / "tree"), tmp_path / "broken")
    log = Path(str(caught.value).rpartition("all of its output: ")[2])
    assert "error: " in log.read_text(), "it outlives the cache's half-built entry"
    assert not list((tmp_path / "cache").glob(".half-*"))
    with pytest.raises(BuildError, match=r"fix and bad: expected make to succeed, .*heartbeat\.h:1:\d+: error: "):
        workshop.build(acme, source, tmp_path / "bad", (fix, nonsense))
    with pytest.raises(SeriesError, match=rf"bad: expected “acme: nonsense” to apply to .* patch failed: {header}:"):
        workshop.build(acme, source, tmp_path / "worse", (nonsense,))


def test_what_another_build_left_in_a_users_folder(tmp_path: Path) -> None:
    confined = Confinement(tmp_path, [], tmp_path / "work")
    built = ("a.o", ".a.o.cmd", "a.mod", "a.mod.c", "a.mod.o", "a.ko", "modules.order", "Module.symvers", "deep/b.o")
    source = ("a.c", "a.h", "Makefile", "Kbuild", ".clang-format", "deep/b.c", "mod.c")
    for name in (*built, *source):
        confined.write(f"tree/{name}", b"")
    clean(confined, "tree")
    assert {str(path.relative_to("tree")) for path in confined.files("tree")} == set(source)


def test_a_built_folder_gets_another_source(tmp_path: Path) -> None:
    confined, source = Confinement(tmp_path, [], tmp_path / "work"), tmp_path / "source"
    built = confined.build / "tree"
    for folder, files in (
        (built, {"same.c": "1", "changed.c": "1", "gone.h": "1", "same.o": "o", "acme.mod.c": "m", "deep/gone.c": "1"}),
        (source, {"same.c": "1", "changed.c": "2", "new/more.c": "3", "Makefile": "m"}),
    ):
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
            os.utime(folder / name, (1000, 1000))
    # What the build of another commit may have left: the host's files are not its to lead to.
    (tmp_path / "host").mkdir()
    (tmp_path / "host/secret").write_text("of the host")
    (built / "new").symlink_to(tmp_path / "host")
    (built / "Makefile").symlink_to(tmp_path / "host/secret")
    update(confined, "tree", source)
    assert {path.name: path.read_text() for path in (tmp_path / "host").iterdir()} == {"secret": "of the host"}
    assert not (built / "new").is_symlink()
    found = {str(path.relative_to(built)): path.read_text() for path in built.rglob("*") if path.is_file()}
    assert found == {
        "same.c": "1",
        "changed.c": "2",
        "same.o": "o",
        "acme.mod.c": "m",
        "new/more.c": "3",
        "Makefile": "m",
    }
    assert (built / "same.c").stat().st_mtime == 1000
    assert (built / "changed.c").stat().st_mtime > 1000
