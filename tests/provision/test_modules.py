# SPDX-License-Identifier: GPL-2.0-or-later
"""The choice of modules, with what they depend on."""

import gzip
import lzma
from pathlib import Path

import pytest
from plugfest.errors import UsageError
from plugfest.provision.modules import ModuleTree, base_name, module_info
from plugfest.provision.unpacked import Unpacked

DEPENDENCIES = """\
kernel/drivers/net/ethernet/a/card.ko.xz: kernel/lib/top.ko kernel/lib/bottom.ko
kernel/drivers/net/ethernetics.ko:
kernel/drivers/net/virtio_net.ko.gz:
kernel/lib/top.ko: kernel/lib/bottom.ko
kernel/lib/bottom.ko:
kernel/fs/overlayfs/overlay.ko:
updates/own.ko:
"""


class Tools(Unpacked):
    """No depmod: these tests do not need the index of the copy."""

    def run(self, program, _arguments, **_more):
        assert program == "usr/sbin/depmod"
        return b""


@pytest.fixture
def tree(tmp_path: Path) -> ModuleTree:
    folder = tmp_path / "usr/lib/modules/1.2"
    folder.mkdir(parents=True)
    (folder / "modules.dep").write_text(DEPENDENCIES)
    (folder / "modules.builtin").write_text("kernel/drivers/virtio/virtio_pci.ko\nkernel/drivers/block/virtio-blk.ko\n")
    for line in DEPENDENCIES.splitlines():
        path = folder / line.split(":")[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        data = path.name.encode()
        path.write_bytes({".xz": lzma.compress, ".gz": gzip.compress}.get(path.suffix, bytes)(data))
    return ModuleTree(folder, "1.2", Tools(tmp_path))


def test_names():
    assert base_name("kernel/x/virtio-blk.ko.zst") == "virtio_blk"
    assert base_name("x/y.o") == "y"


def test_dependencies_come_first(tree):
    assert tree.closure(tree.below(["drivers/net/ethernet"])) == [
        "kernel/lib/bottom.ko",
        "kernel/lib/top.ko",
        "kernel/drivers/net/ethernet/a/card.ko.xz",
        "updates/own.ko",
    ]


def test_a_place_is_a_folder_or_a_name_not_a_prefix(tree):
    assert "kernel/drivers/net/ethernetics.ko" not in tree.below(["drivers/net/ethernet"])
    assert "kernel/drivers/net/virtio_net.ko.gz" in tree.below(["drivers/net/virtio_net"])


def test_copies_are_uncompressed(tree, tmp_path):
    copy = tree.select(["drivers/net"], tmp_path / "copy/usr/lib/modules/1.2")
    assert (copy.folder / "kernel/drivers/net/ethernet/a/card.ko").read_bytes() == b"card.ko.xz"
    assert (copy.folder / "kernel/drivers/net/virtio_net.ko").read_bytes() == b"virtio_net.ko.gz"
    assert (copy.folder / "kernel/lib/bottom.ko").exists()
    assert not (copy.folder / "kernel/fs").exists()


def test_what_is_missing_is_named(tree):
    tree.check(["virtio_pci", "virtio_blk", "overlay", "virtio_net"])
    with pytest.raises(UsageError, match=r"found no erofs; enable .*EROFS_FS"):
        tree.check(["virtio_pci", "erofs", "overlay"])


def test_soft_dependencies_come_first_too(tree):
    """As libcrc32c before 6.13, which asks for whichever module offers crc32c: without it erofs does not load."""
    extra = ["kernel/lib/crc32c-intel.ko:", "kernel/lib/crc32c_generic.ko: kernel/lib/bottom.ko"]
    (tree.folder / "modules.dep").write_text(DEPENDENCIES + "".join(f"{line}\n" for line in extra))
    (tree.folder / "modules.alias").write_text("# aliases\nalias crc32c crc32c_intel\nalias crc32c crc32c_generic\n")
    (tree.folder / "modules.softdep").write_text(
        "softdep top pre: crc32c absent post: overlay\nsoftdep bottom post: top\nsoftdep crc32c_generic pre: top\n"
    )
    assert tree.closure(["kernel/lib/top.ko"]) == [
        "kernel/lib/bottom.ko",
        "kernel/lib/crc32c_generic.ko",
        "kernel/lib/top.ko",
    ]


def test_what_a_module_says_of_itself(kernel_module):
    says = module_info(kernel_module(b"version=6.3.4\0license=GPL\0parm=a:first\0parm=b:second\0srcversion=ABC"))
    assert says == {"version": "6.3.4", "license": "GPL", "parm": "a:first", "srcversion": "ABC"}


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda _: b"", "no ELF64 file"),
        (lambda _: b"version=1\0" * 20, "no ELF64 file"),
        (lambda whole: whole[:50], "a damaged ELF file"),
        (lambda whole: whole[:-40], "a damaged ELF file"),
        (lambda whole: whole.replace(b".modinfo", b".comment"), "no section .modinfo"),
    ],
)
def test_what_is_no_module(damage, why, kernel_module):
    with pytest.raises(ValueError, match=why):
        module_info(damage(kernel_module(b"version=1\0")))
