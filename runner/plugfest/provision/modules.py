# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel's modules: those that the guest needs, uncompressed, with their index (depmod(8), modules.dep(5))."""

from __future__ import annotations

import gzip
import lzma
import shutil
import struct
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
    """Return a module's name in the kernel, from the path of its file."""
    name = PurePosixPath(path).name
    for ending in (*COMPRESSIONS, ".ko", ".o"):
        name = name.removesuffix(ending)
    return name.replace("-", "_")


def module_info(module: bytes) -> dict[str, str]:
    """Return what a module says of itself, as modinfo(8) prints it: ``version``, ``license``, ``vermagic`` …; the first of each.

    Args:
        module: an ELF64 file, little-endian, with its section ``.modinfo``.

    Raises:
        ValueError: it is none.
    """
    try:
        if module[:6] != b"\x7fELF\x02\x01":
            raise ValueError("no ELF64 file")
        (table,) = struct.unpack_from("<Q", module, 40)  # Elf64_Ehdr: e_shoff; then e_shentsize, e_shnum, e_shstrndx
        size, count, names = struct.unpack_from("<HHH", module, 58)
        # Elf64_Shdr: sh_name, sh_offset, sh_size
        sections = [struct.unpack_from("<I20xQQ", module, table + number * size) for number in range(count)]
        start = sections[names][1]
        for name, offset, length in sections:
            if module.startswith(b".modinfo\0", start + name):
                fields = (each.partition(b"=") for each in reversed(module[offset : offset + length].split(b"\0")))
                return {key.decode(): value.decode(errors="replace") for key, equals, value in fields if equals}
    except (struct.error, IndexError) as error:
        raise ValueError("a damaged ELF file") from error
    raise ValueError("no section .modinfo")


class ModuleTree:
    """A folder ``lib/modules/RELEASE``.

    Attributes:
        folder: the folder.
        release: the kernel's release.
    """

    def __init__(self, folder: Path, release: str, tools: Unpacked) -> None:
        """Use a folder, with or without its index."""
        self.folder = folder
        self.release = release
        self._tools = tools

    def builtin(self) -> set[str]:
        """Return the names of the built-in modules."""
        path = self.folder / "modules.builtin"
        return {base_name(line) for line in path.read_text().split()} if path.exists() else set()

    def dependencies(self) -> dict[str, list[str]]:
        """Return each module's path and the paths of its dependencies, deepest last, as in modules.dep."""
        found = {}
        for line in (self.folder / "modules.dep").read_text().splitlines():
            path, _, needs = line.partition(":")
            found[path] = needs.split()
        return found

    def soft_dependencies(self) -> dict[str, list[str]]:
        """Return, by module name, the paths of its soft dependencies, which must be loaded before it (modules.softdep(5)).

        A soft dependency may be an alias, such as ``crc32c``, that several modules provide; one of them, the portable one, which the
        kernel names ``…_generic`` by convention, is enough.
        """
        aliases: dict[str, list[str]] = {}
        for fields in self._fields("modules.alias"):
            if len(fields) == 3 and fields[0] == "alias":
                aliases.setdefault(fields[1].replace("-", "_"), []).append(fields[2])
        by_name = {base_name(path): path for path in self.dependencies()}
        found: dict[str, list[str]] = {}
        for fields in self._fields("modules.softdep"):
            if len(fields) < 3 or fields[0] != "softdep":
                continue
            before = " ".join(fields[2:]).partition("post:")[0].removeprefix("pre:").split()
            for name in (each.replace("-", "_") for each in before):
                offered = [name] if name in by_name else [each for each in aliases.get(name, []) if each in by_name]
                offered.sort(key=lambda each: not each.endswith("_generic"))
                found.setdefault(fields[1].replace("-", "_"), []).extend(by_name[each] for each in offered[:1])
        return found

    def _fields(self, name: str) -> list[list[str]]:
        path = self.folder / name
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def index(self) -> None:
        """Write modules.dep and the other index files."""
        base = self.folder.parent.parent.parent
        # Debian's depmod looks below usr/lib, others below lib; a link makes both work.
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
        """Check that the kernel has what a guest needs, built in or as modules.

        Raises:
            UsageError: something is missing.
        """
        have = self.builtin() | {base_name(path) for path in self.dependencies()}
        missing = [name for name in wanted if name not in have]
        if missing:
            raise UsageError(
                f"kernel {self.release}: expected {', '.join(wanted)} built in or as modules, found no {', '.join(missing)}; "
                "enable VIRTIO_PCI, VIRTIO_BLK, VIRTIO_NET, EROFS_FS and OVERLAY_FS in its configuration"
            )

    def closure(self, wanted: Iterable[str]) -> list[str]:
        """Return the paths of modules and all their dependencies, including soft ones, dependencies first."""
        dependencies, soft = self.dependencies(), self.soft_dependencies()
        ordered: dict[str, None] = {}
        begun: set[str] = set()

        def add(path: str) -> None:
            if path in begun:  # done, or a cycle of soft dependencies
                return
            begun.add(path)
            for each in (*soft.get(base_name(path), []), *reversed(dependencies.get(path, []))):
                add(each)
            ordered.setdefault(path)

        for path in wanted:
            add(path)
        return list(ordered)

    def named(self, names: Iterable[str]) -> list[str]:
        """Return the paths of the modules with these names, except built-in ones."""
        by_name = {base_name(path): path for path in self.dependencies()}
        return [by_name[name] for name in names if name in by_name]

    def below(self, places: Sequence[str]) -> list[str]:
        """Return the paths of the modules below ``kernel/`` in these folders or with these names, and of all out-of-tree modules."""
        chosen = []
        for path in self.dependencies():
            inside = path.removeprefix("kernel/")
            plain = str(PurePosixPath(inside).parent / PurePosixPath(inside).name.split(".", 1)[0])
            if inside == path or any(plain == place or plain.startswith(f"{place}/") for place in places):
                chosen.append(path)
        return chosen

    def select(self, places: Sequence[str], target: Path) -> ModuleTree:
        """Copy the modules in these folders, with all dependencies, into another tree, uncompressed and indexed."""
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
    """Collect the modules of a kernel build tree like ``make modules_install``, but without running its makefiles.

    Args:
        build: the tree, after a build.
        release: the kernel's release.
        target: folder ``lib/modules/RELEASE`` to create.
        tools: the programs that write the index.
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
