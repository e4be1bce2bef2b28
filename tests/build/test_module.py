# SPDX-License-Identifier: GPL-2.0-or-later
"""Building out-of-tree modules: both styles of makefiles, what fails and how, and what is brought out."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from plugfest.build import module
from plugfest.build.confinement import Confinement, Limits
from plugfest.build.errors import BuildError, LimitError
from plugfest.errors import UsageError
from plugfest.provision.artifact import BuildRoot
from plugfest.provision.modules import module_info
from plugfest.provision.settings import ProvisionSettings

HEARTBEAT = Path(__file__).with_name("heartbeat")
MAKEFILES = {
    "two parts": """
ifneq ($(KERNELRELEASE),)
obj-m := heartbeat.o
else
KDIR ?= /lib/modules/$(shell uname -r)/build
all:
	$(MAKE) -C $(KDIR) M=$(CURDIR) modules
endif
""",
    "all in build": """
obj-m := heartbeat.o
KSRC := /lib/modules/$(shell uname -r)/build
$(foreach each,include/linux/netdevice.h include/uapi/linux/ethtool.h arch/x86/include/asm/ptrace.h include/generated/autoconf.h,\\
  $(if $(wildcard $(KSRC)/$(each)),,$(error no $(each) in $(KSRC))))
default:
	$(MAKE) -C $(KSRC) M=$(PWD) modules
""",
    "all in source": """
obj-m := heartbeat.o
KSRC := /lib/modules/$(shell uname -r)/source
$(foreach each,include/linux/netdevice.h include/generated/utsrelease.h include/generated/autoconf.h Module.symvers,\\
  $(if $(wildcard $(KSRC)/$(each)),,$(error no $(each) in $(KSRC))))
default:
	grep -q $(shell uname -r) $(KSRC)/include/generated/utsrelease.h
	$(MAKE) -C $(KSRC) O=/lib/modules/$(shell uname -r)/build M=$(PWD) modules
""",
}


@pytest.fixture
def driver(tmp_path: Path) -> Path:
    """A copy of the out-of-tree driver."""
    return shutil.copytree(HEARTBEAT, tmp_path / "driver")


def build(root: BuildRoot, folder: Path, output: Path, **limits: float) -> module.Built:
    with module.confinement(ProvisionSettings(), root, Limits(**limits)) as confined:  # type: ignore[arg-type]
        confined.take(folder)
        return module.build_folder(confined, root, "", output)


@pytest.mark.parametrize("style", ["Kbuild", *MAKEFILES])
def test_each_style_of_makefile_builds(build_root: BuildRoot, driver: Path, tmp_path: Path, style: str) -> None:
    if style in MAKEFILES:
        (driver / "Kbuild").unlink()
        (driver / "Makefile").write_text(MAKEFILES[style])
    before = sorted(driver.iterdir())
    made = build(build_root, driver, tmp_path / "out")
    (path,) = made.modules
    assert path == tmp_path / "out/heartbeat.ko"
    info = module_info(path.read_bytes())
    assert info["version"] == "1.4.2"
    assert info["vermagic"].startswith(f"{build_root.release} ")
    assert sorted(driver.iterdir()) == before, "the user's folder is as it was"


def test_a_source_that_does_not_compile(build_root: BuildRoot, driver: Path, tmp_path: Path) -> None:
    source = driver / "heartbeat.c"
    source.write_text(source.read_text().replace("netif_carrier_on(dev);", "netif_carrier_on(div);"))
    with pytest.raises(BuildError, match=r"heartbeat\.c:16:\d+: error: .div. undeclared"):
        build(build_root, driver, tmp_path / "out")
    assert "CC [M]" in (tmp_path / "out/build.log").read_text()


def test_a_makefile_without_an_end(build_root: BuildRoot, driver: Path, tmp_path: Path) -> None:
    (driver / "Makefile").write_text("all:\n\twhile :; do :; done\n")
    builds = ProvisionSettings().cache / "builds"
    before = set(builds.glob("*"))
    with pytest.raises(LimitError, match=r"the build: expected at most 2 s \(--build-seconds\)"):
        build(build_root, driver, tmp_path / "out", seconds=2)
    assert set(builds.iterdir()) <= before | {builds / ".lock"}


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        (
            "  CC [M]  a.o\n/build/a.c:3:1: error: expected ';'\nmake[1]: *** [x] Error 1\n",
            "a.c:3:1: error: expected ';'",
        ),
        ('ERROR: modpost: "foo" [/build/a.ko] undefined!\nmake: *** [y] Error 2\n', 'modpost: "foo" [a.ko] undefined!'),
        ("/build/b.c:1:10: fatal error: none.h: No such file\n", "b.c:1:10: fatal error: none.h: No such file"),
        ("Makefile:3: *** no headers.  Stop.\n", "Makefile:3: *** no headers.  Stop."),
        ("odd\nlast words\n\n", "last words"),
        ("", "no output"),
        (f"a.c:1:1: error: {'x' * 999}", f"a.c:1:1: error: {'x' * 284}…"),
    ],
)
def test_the_line_that_says_why(log: str, expected: str) -> None:
    assert module.first_error(log) == expected


def test_only_modules_are_brought_out(tmp_path: Path, kernel_module: Callable[[bytes], bytes]) -> None:
    """What a makefile leaves under a module's name may be a link to a file of the host, or a pipe."""
    confined = Confinement(tmp_path, [], tmp_path / "work")
    secret = tmp_path / "secret"
    secret.write_bytes(kernel_module(b"license=GPL\0"))
    (confined.build / "link.ko").symlink_to(secret)
    os.mkfifo(confined.build / "pipe.ko")
    (confined.build / "folder.ko").mkdir()
    (confined.build / "deep").symlink_to(tmp_path)
    (confined.build / "true.ko").write_bytes(kernel_module(b"license=GPL\0"))
    (tmp_path / "out").mkdir()
    found = list(module.bring_out(confined, "", tmp_path / "out"))
    assert found == [tmp_path / "out/true.ko"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["true.ko"]


def test_a_folder_that_became_a_link_is_not_followed(tmp_path: Path, kernel_module: Callable[[bytes], bytes]) -> None:
    confined = Confinement(tmp_path, [], tmp_path / "work")
    (tmp_path / "host/deep").mkdir(parents=True)
    (tmp_path / "host/deep/secret.ko").write_bytes(kernel_module(b"license=GPL\0"))
    (confined.build / "tree").symlink_to(tmp_path / "host")
    for folder in ("tree", "tree/deep"):
        assert list(module.bring_out(confined, folder, tmp_path)) == []
    confined.give("tree", tmp_path / "given")
    assert not (tmp_path / "given").exists()


@pytest.mark.parametrize("name", ["a\x1b[2J.ko", "a\nb.ko", "-.ko", "\udcff.ko", "a b.ko"])
def test_a_name_that_a_terminal_would_obey(tmp_path: Path, kernel_module: Callable[[bytes], bytes], name: str) -> None:
    confined = Confinement(tmp_path, [], tmp_path / "work")
    (confined.build / name).write_bytes(kernel_module(b"license=GPL\0"))
    if name == "-.ko":
        assert list(module.bring_out(confined, "", tmp_path)) == [tmp_path / name]
        return
    with pytest.raises(BuildError, match="expected modules' names of letters, digits") as caught:
        list(module.bring_out(confined, "", tmp_path))
    assert str(caught.value).isprintable()


def test_modules_that_are_large_together(tmp_path: Path, kernel_module: Callable[[bytes], bytes]) -> None:
    """With holes they took little of the build folder's space; outside they would take all of it."""
    confined = Confinement(tmp_path, [], tmp_path / "work", Limits(space=1))
    for name in ("a.ko", "b.ko"):
        (confined.build / name).write_bytes(kernel_module(b"license=GPL\0"))
        os.truncate(confined.build / name, 600 << 10)
    with pytest.raises(BuildError, match="expected at most 1 MiB of modules, found more"):
        list(module.bring_out(confined, "", tmp_path))


def test_builds_side_by_side_and_what_killed_ones_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder is removed by whether a process holds its lock: process ids mean nothing in another container with the same cache."""
    monkeypatch.setattr(module, "ensure_bwrap", lambda settings: ("bwrap",))
    settings, root = ProvisionSettings(tmp_path), BuildRoot(tmp_path, "7.3.4", "7.3.4-1", "gcc")
    left = tmp_path / "builds/1-killed"
    (left / "build").mkdir(parents=True)
    with module.confinement(settings, root, Limits()) as first:
        assert not left.exists()
        with module.confinement(settings, root, Limits()) as second:
            assert first.build.is_dir()
            assert second.build.is_dir()
        assert first.build.is_dir()
        assert not second.build.exists()
    assert [path.name for path in (tmp_path / "builds").iterdir()] == [".lock"]


def test_what_is_no_module_is_named(tmp_path: Path) -> None:
    confined = Confinement(tmp_path, [], tmp_path / "work")
    (confined.build / "false.ko").write_bytes(b"text")
    with pytest.raises(BuildError, match=r"false\.ko: expected a kernel module, found no ELF64 file"):
        list(module.bring_out(confined, "", tmp_path))


def test_a_folder_without_a_makefile_names_those_below(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected the folder of a driver's source, found none"):
        module.check_folder(tmp_path / "none")
    with pytest.raises(UsageError, match="name the folder with the driver's makefile"):
        module.check_folder(tmp_path)
    (tmp_path / "src").mkdir()
    (tmp_path / "src/Makefile").touch()
    with pytest.raises(UsageError, match=f"did you mean {tmp_path}/src"):
        module.check_folder(tmp_path)
    module.check_folder(tmp_path / "src")
