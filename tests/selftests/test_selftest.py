# SPDX-License-Identifier: GPL-2.0-or-later
"""The tests in a kernel's source: which there are, and what is said of helpers that did not build."""

from __future__ import annotations

import dataclasses
import io
import tarfile
from pathlib import Path

import pytest
from plugfest.errors import InfrastructureError
from plugfest.provision.artifact import Kernel
from plugfest.provision.cache import Cache
from plugfest.provision.debian import MissingPackageError, Packages
from plugfest.provision.settings import ProvisionSettings
from plugfest.provision.source import unpack_parts
from plugfest.selftests import selftest
from plugfest.selftests.execution import limit_of
from plugfest.selftests.selftest import (
    PARTS,
    SELFTESTS,
    MissingTestsError,
    Selftest,
    Selftests,
    ensure_tests,
    listed,
    unbuilt,
)
from plugfest.selftests.session import sentence

MAKEFILE = """\
# SPDX-License-Identifier: GPL-2.0
TEST_INCLUDES := $(wildcard lib/py/*.py) \\
    ../../net/lib.sh \\

TEST_GEN_FILES := \\
    napi_id_helper \\
# end of TEST_GEN_FILES

TEST_PROGS := \\
    gro.py \\
    ping.py \\
# end of TEST_PROGS

TEST_PROGS_EXTENDED := \\
    port_split.py \\
# end of TEST_PROGS_EXTENDED

TEST_PROGS += late.sh

include ../../lib.mk
"""


def made(tmp_path: Path) -> Path:
    selftests = tmp_path / SELFTESTS
    for folder, names in {
        "drivers/net": ("ping.py", "napi_id_helper.c"),
        "drivers/net/hw": ("iou-zcrx.c", "ncdevmem.c", "nk.bpf.c"),
        "net/lib": ("csum.c", "xdp.bpf.c"),
    }.items():
        (selftests / folder).mkdir(parents=True)
        (selftests / folder / "Makefile").write_text(MAKEFILE if folder == "drivers/net" else "")
        for name in names:
            (selftests / folder / name).write_text("run iou-zcrx")
    return selftests


def test_the_makefiles_list_the_tests(tmp_path: Path) -> None:
    names = [str(each) for each in listed(made(tmp_path))]
    assert names == [f"drivers/net:{name}" for name in ("gro.py", "ping.py", "late.sh", "port_split.py")]


def test_what_did_not_build_has_its_reason(tmp_path: Path) -> None:
    log = (
        "Makefile:13: excluding iouring tests, liburing not installed or too old\n"
        "ncdevmem.c:77:10: fatal error: netdev-user.h: No such file or directory\n"
    )
    built = {"net/lib/csum", "net/lib/xdp.bpf.o", "drivers/net/napi_id_helper"}
    assert unbuilt(made(tmp_path), built, log) == {
        "iou-zcrx": "excluding iouring tests, liburing not installed or too old",
        "ncdevmem": "ncdevmem.c:77:10: fatal error: netdev-user.h: No such file or directory",
        "nk.bpf.o": "its makefile did not build it",
    }


def test_a_test_lacks_the_helpers_that_it_names(tmp_path: Path) -> None:
    made(tmp_path)
    ping = Selftest("drivers/net", "ping.py")
    found = Selftests(tmp_path, "", (ping,), {"iou-zcrx": "too old", "zcrx": "no"}, tmp_path, "")
    assert found.lacking(ping) == {"iou-zcrx": "too old", "zcrx": "no"}
    assert Selftests(tmp_path, "", (ping,), {"iou": "too old", "crx": "no"}, tmp_path, "").lacking(ping).keys() <= {
        "iou"
    }


@pytest.mark.parametrize(
    ("settings", "limit"), [("timeout=360\n", 360.0), ("timeout=0\n", 600.0), ("", 45.0), (None, 45.0)]
)
def test_the_time_limit_is_that_of_the_folder(tmp_path: Path, settings: str | None, limit: float) -> None:
    folder = made(tmp_path) / "drivers/net"
    if settings is not None:
        (folder / "settings").write_text(settings)
    assert limit_of(Selftest("drivers/net", "ping.py"), tmp_path, 600.0) == limit


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            '#!/usr/bin/env python3\n# SPDX-License-Identifier: GPL-2.0\n\n"""\nTests of it,\nall.\n\nMore.\n"""\n',
            "Tests of it, all.",
        ),
        ('#!/usr/bin/env python3\n# SPDX-License-Identifier: GPL-2.0\n\nimport os\n"""no"""\n', ""),
        (
            "#!/bin/bash\n# SPDX-License-Identifier: GPL-2.0\n\n# Checks that\n# it works.\nx=1\n",
            "Checks that it works.",
        ),
        ("", ""),
    ],
)
def test_what_a_test_says_of_itself(text: str, wanted: str) -> None:
    assert sentence(text) == wanted


def kernel(spec: str, image: Path) -> Kernel:
    return Kernel(spec, "7.3.4", image, image, image, None, "k")


def test_an_image_that_is_not_of_debian_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(b"Linux version 7.3.4 (me@here) #1")
    with pytest.raises(InfrastructureError, match="expected the version of Debian's package in its image, found none"):
        ensure_tests(ProvisionSettings(cache=tmp_path), kernel("trixie-backports", image))


def test_a_tree_without_tests_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        MissingTestsError, match=r"found no Documentation/netlink there; name a channel or a complete tree"
    ):
        ensure_tests(ProvisionSettings(cache=tmp_path), kernel(str(tmp_path), tmp_path))


def test_nothing_is_fetched_for_a_kernel_older_than_the_tests(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(b"Linux version 6.1.0-50-amd64 (x) #1 SMP Debian 6.1.180-1 (2026-09-21)")
    older = dataclasses.replace(kernel("bookworm", image), release="6.1.0-50-amd64")
    with pytest.raises(MissingTestsError, match=r"found none in that of Linux 6\.1\.0-50-amd64; upstream has these"):
        ensure_tests(ProvisionSettings(cache=tmp_path / "cache"), older)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            MissingPackageError(
                "package linux-source-7.3 7.3.4-1 is not in trixie of http://me:secret@mirror/debian; use"
            ),
            (
                "kernel trixie-backports: expected the mirror to have Debian's linux-source-7.3 7.3.4-1, found none; the cache has an "
                "older kernel than the mirror: delete it (plugfest cache prune --days 0), and the newest is fetched"
            ),
        ),
        (InfrastructureError("expected x to respond"), "expected x to respond"),
    ],
)
def test_a_source_that_cannot_be_fetched_is_no_kernel_without_tests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: InfrastructureError, message: str
) -> None:
    """A certificate without upstream's tests says why: that is no place for a mirror, whose address may have a password."""
    image = tmp_path / "image"
    image.write_bytes(b"Linux version 7.3.4+deb13-amd64 (x) #1 SMP Debian 7.3.4-1 (2026-09-21)")

    def fetch(packages: Packages, *_: object) -> None:
        assert packages.names == ("linux-source-7.3=7.3.4-1",)
        raise error

    monkeypatch.setattr(selftest, "ensure_tools", lambda settings: tmp_path)
    monkeypatch.setattr(selftest, "unpack", fetch)
    with pytest.raises(InfrastructureError) as caught:
        ensure_tests(ProvisionSettings(cache=tmp_path / "cache"), kernel("trixie-backports", image))
    assert str(caught.value) == message


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A user's tree that has all that tests are built of, with a file in each folder."""
    top = tmp_path / "linux"
    for part in PARTS:
        path = top / part
        path.parent.mkdir(parents=True, exist_ok=True)
        if part in {"Kbuild", "Kconfig", "MAINTAINERS", "Makefile"}:
            path.write_text("")
        else:
            path.mkdir(exist_ok=True)
    folders = ("tools/net/ynl", "Documentation/netlink/specs", "include/uapi", "arch/x86/include/uapi", "tools/lib/bpf")
    tests = [f"{SELFTESTS}/{name}" for name in ("drivers/net", "kselftest", "net/lib", "net/forwarding")]
    for folder in (*folders, *tests):
        (top / folder).mkdir(parents=True, exist_ok=True)
    for file in ("drivers/net/Makefile", "net/lib.sh", "Makefile", "lib.mk"):
        (top / SELFTESTS / file).write_text("")
    return top


class CacheOfKeys(Exception):  # noqa: N818 - ends `ensure_tests` once it has the key
    """A cache that has nothing and builds nothing."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def get(self, kind: str, key: str, *_: object, **__: object) -> Path:
        self.key = f"{kind}-{key}"
        raise self


def key_of(tree: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(selftest, "Cache", CacheOfKeys)
    with pytest.raises(CacheOfKeys) as found:
        ensure_tests(ProvisionSettings(cache=tree), kernel(str(tree), tree))
    return found.value.key


@pytest.mark.parametrize("name", ["Makefile", "settings", "config", "lib/py/env.py", "data.old", "link"])
def test_a_change_of_a_trees_tests_changes_the_key(tree: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    before = key_of(tree, monkeypatch)
    file = tree / SELFTESTS / "drivers/net" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    if name == "link":
        file.symlink_to("Makefile")
    else:
        file.write_text("timeout=0")
    assert key_of(tree, monkeypatch) != before


@pytest.mark.parametrize("name", ["a.o", "a.a", "a.d", ".a.o.cmd", "__pycache__/a.pyc"])
def test_what_was_built_in_a_tree_is_no_part_of_it(tree: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    before = key_of(tree, monkeypatch)
    file = tree / SELFTESTS / "drivers/net" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("x")
    assert key_of(tree, monkeypatch) == before


class Copied(Exception):  # noqa: N818 - ends `ensure_tests` before it builds anything
    """What was copied of a tree."""


def test_what_was_built_in_a_tree_is_not_copied(tree: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    target = tmp_path / "entry"
    target.mkdir()
    tests = tree / SELFTESTS / "drivers/net"
    for name in ("settings", "a.py", "a.o", "a.d", ".a.o.cmd"):
        (tests / name).write_text("x")
    (tree / SELFTESTS / "drivers/net/hw").mkdir()
    (tree / SELFTESTS / "drivers/net/hw/Makefile").write_text("")
    (tree / SELFTESTS / "kvm").mkdir()

    def stop(_settings: ProvisionSettings) -> tuple[str, ...]:
        raise Copied(*(path.name for path in target.rglob("*")))

    monkeypatch.setattr(selftest, "ensure_tools", lambda _settings: tmp_path)
    monkeypatch.setattr(selftest, "ensure_bwrap", stop)
    monkeypatch.setattr(Cache, "get", lambda _self, _kind, _key, build, **_: build(target))
    with pytest.raises(Copied) as found:
        ensure_tests(ProvisionSettings(cache=tmp_path), kernel(str(tree), tree))
    assert {"settings", "a.py", "lib.mk"} <= set(found.value.args)
    assert not {"a.o", "a.d", ".a.o.cmd", "kvm"} & set(found.value.args)


def archive(path: Path, names: list[str]) -> Path:
    with tarfile.open(path, "w:xz") as made_archive:
        for name in names:
            member = tarfile.TarInfo(f"linux-source-7.3/{name}")
            member.size = 1
            made_archive.addfile(member, io.BytesIO(b"x"))
    return path


def test_the_wanted_parts_are_unpacked(tmp_path: Path) -> None:
    source = archive(
        tmp_path / "linux.tar.xz", ["Makefile", "arch/x86/a", "drivers/b", "tools/lib/c", "tools/lib/d/e", "z"]
    )
    unpack_parts(source, tmp_path / "tree", ("Makefile", "arch/x86", "tools/lib"), ("tools/lib/d",))
    assert sorted(
        str(path.relative_to(tmp_path / "tree")) for path in (tmp_path / "tree").rglob("*") if path.is_file()
    ) == [
        "Makefile",
        "arch/x86/a",
        "tools/lib/c",
    ]


def test_a_part_that_is_missing_is_named(tmp_path: Path) -> None:
    source = archive(tmp_path / "linux.tar.xz", ["Makefile", "tools/lib/c"])
    with pytest.raises(InfrastructureError, match=r"expected arch/x86 in linux.tar.xz, found none"):
        unpack_parts(source, tmp_path / "tree", ("Makefile", "arch/x86", "tools/lib"))


def test_an_archive_cut_short_is_named(tmp_path: Path) -> None:
    source = archive(tmp_path / "linux.tar.xz", ["Makefile", "tools/lib/c"])
    source.write_bytes(source.read_bytes()[:60])
    with pytest.raises(InfrastructureError, match=r"expected a kernel's source in linux.tar.xz, found: "):
        unpack_parts(source, tmp_path / "tree", ("Makefile", "zzz"))
