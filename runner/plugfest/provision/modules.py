# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel's modules: the ones the guest needs, uncompressed, with their index (depmod(8), modules.dep(5))."""

from __future__ import annotations

import gzip
import lzma
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from plugfest.errors import UsageError
from plugfest.provision.unpacked import Unpacked

COMPRESSIONS = (".xz", ".gz", ".zst")
INDEX_FILES = ("modules.order", "modules.builtin", "modules.builtin.modinfo")
NEEDED_FOR_DISKS = ("virtio_pci", "virtio_blk", "erofs", "overlay")
NEEDED_FOR_NETWORK = ("virtio_net",)
NEEDED_TO_BOOT = NEEDED_FOR_DISKS + NEEDED_FOR_NETWORK


def base_name(path: str | PurePosixPath) -> str:
    """Return a module's name as the kernel has it, from its file's path."""
    name = PurePosixPath(path).name
    for ending in (*COMPRESSIONS, ".ko", ".o"):
        name = name.removesuffix(ending)
    return name.replace("-", "_")


class ModuleTree:
    """A folder ``lib/modules/RELEASE``.

    Attributes:
        folder: that folder.
        release: the kernel's.
    """

    def __init__(self, folder: Path, release: str, tools: Unpacked) -> None:
        """Take a folder, with or without its index."""
        self.folder = folder
        self.release = release
        self._tools = tools

    def builtin(self) -> set[str]:
        """Return the names of what the kernel has built in."""
        path = self.folder / "modules.builtin"
        return {base_name(line) for line in path.read_text().split()} if path.exists() else set()

    def dependencies(self) -> dict[str, list[str]]:
        """Return each module's path and those of all that it depends on, deepest last, as modules.dep has them."""
        found = {}
        for line in (self.folder / "modules.dep").read_text().splitlines():
            path, _, needs = line.partition(":")
            found[path] = needs.split()
        return found

    def soft_dependencies(self) -> dict[str, list[str]]:
        """Return, by module's name, the paths of what must be loaded before it though no symbol says so (modules.softdep(5)).

        Such a dependency may be the name of a service, as ``crc32c``, that several modules offer as an alias; the portable one
        among them, by the kernel's custom called ``…_generic``, is enough.
        """
        aliases: dict[str, list[str]] = {}
        for words in self._words("modules.alias"):
            if len(words) == 3 and words[0] == "alias":
                aliases.setdefault(words[1].replace("-", "_"), []).append(words[2])
        by_name = {base_name(path): path for path in self.dependencies()}
        found: dict[str, list[str]] = {}
        for words in self._words("modules.softdep"):
            if len(words) < 3 or words[0] != "softdep":
                continue
            before = " ".join(words[2:]).partition("post:")[0].removeprefix("pre:").split()
            for name in (word.replace("-", "_") for word in before):
                offered = [name] if name in by_name else [each for each in aliases.get(name, []) if each in by_name]
                offered.sort(key=lambda each: not each.endswith("_generic"))
                found.setdefault(words[1].replace("-", "_"), []).extend(by_name[each] for each in offered[:1])
        return found

    def _words(self, name: str) -> list[list[str]]:
        path = self.folder / name
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def index(self) -> None:
        """Write modules.dep and its companions."""
        base = self.folder.parent.parent.parent
        # Debian's depmod looks below usr/lib, others below lib: both names lead here.
        if not (base / "lib").exists():
            (base / "lib").symlink_to("usr/lib")
        self._tools.run("usr/sbin/depmod", ["-b", base, self.release])

    def read(self, path: str) -> bytes:
        """Return a module, uncompressed."""
        data = (self.folder / path).read_bytes()
        match PurePosixPath(path).suffix:
            case ".xz":
                return lzma.decompress(data)
            case ".gz":
                return gzip.decompress(data)
            case ".zst":
                return self._tools.run("usr/bin/zstd", ["-dcq"], stdin=data)
        return data

    def check(self, wanted: Sequence[str]) -> None:
        """See that the kernel has what a guest needs, built in or as modules.

        Raises:
            UsageError: it has not.
        """
        have = self.builtin() | {base_name(path) for path in self.dependencies()}
        missing = [name for name in wanted if name not in have]
        if missing:
            raise UsageError(
                f"kernel {self.release}: expected {', '.join(wanted)} built in or as modules, found no {', '.join(missing)}; "
                "enable VIRTIO_PCI, VIRTIO_BLK, VIRTIO_NET, EROFS_FS and OVERLAY_FS in its configuration"
            )

    def closure(self, wanted: Iterable[str]) -> list[str]:
        """Return the paths of modules and of all that they depend on, softly too, dependencies first."""
        dependencies, soft = self.dependencies(), self.soft_dependencies()
        ordered: dict[str, None] = {}
        begun: set[str] = set()

        def add(path: str) -> None:
            if path in begun:  # done, or a circle of soft dependencies
                return
            begun.add(path)
            for each in (*soft.get(base_name(path), []), *reversed(dependencies.get(path, []))):
                add(each)
            ordered.setdefault(path)

        for path in wanted:
            add(path)
        return list(ordered)

    def named(self, names: Iterable[str]) -> list[str]:
        """Return the paths of the modules of these names; what is built in has none."""
        by_name = {base_name(path): path for path in self.dependencies()}
        return [by_name[name] for name in names if name in by_name]

    def below(self, places: Sequence[str]) -> list[str]:
        """Return the paths of the modules in these folders (or of these names), below ``kernel/``; and all out-of-tree ones."""
        chosen = []
        for path in self.dependencies():
            inside = path.removeprefix("kernel/")
            plain = str(PurePosixPath(inside).parent / PurePosixPath(inside).name.split(".", 1)[0])
            if inside == path or any(plain == place or plain.startswith(f"{place}/") for place in places):
                chosen.append(path)
        return chosen

    def select(self, places: Sequence[str], target: Path) -> ModuleTree:
        """Copy the modules in these folders, with all that they depend on, into another tree, uncompressed and indexed."""
        copy = ModuleTree(target, self.release, self._tools)
        target.mkdir(parents=True)
        for name in INDEX_FILES:
            if (self.folder / name).exists():
                shutil.copy(self.folder / name, target / name)
        for path in self.closure(self.below(places)):
            plain = target / _uncompressed(path)
            plain.parent.mkdir(parents=True, exist_ok=True)
            plain.write_bytes(self.read(path))
        copy.index()
        return copy


def _uncompressed(path: str) -> str:
    for ending in COMPRESSIONS:
        path = path.removesuffix(ending)
    return path


def collect(build: Path, release: str, target: Path, tools: Unpacked) -> ModuleTree:
    """Collect the modules of a kernel build tree as ``make modules_install`` would, without running its makefiles.

    Args:
        build: the tree, built.
        release: the kernel's.
        target: folder ``lib/modules/RELEASE`` to be filled.
        tools: for the index.
    """
    tree = ModuleTree(target, release, tools)
    target.mkdir(parents=True)
    for name in INDEX_FILES:
        if (build / name).exists():
            shutil.copy(build / name, target / name)
    order = build / "modules.order"
    for line in order.read_text().split() if order.exists() else []:
        path = PurePosixPath(line.removeprefix("kernel/")).with_suffix(".ko")
        if (build / path).exists():
            copy = target / "kernel" / path
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(build / path, copy)
    tree.index()
    return tree
