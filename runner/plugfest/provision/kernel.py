# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel to boot: a stock Debian kernel, by channel, a build tree, or a boot image and its modules."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from plugfest.errors import InfrastructureError, UsageError
from plugfest.location import recipes_root
from plugfest.provision.artifact import Kernel
from plugfest.provision.boot_image import BootImage
from plugfest.provision.cache import Cache, digest, fingerprint
from plugfest.provision.cpio import Archive
from plugfest.provision.debian import Packages, unpack
from plugfest.provision.erofs import make_image
from plugfest.provision.modules import NEEDED_FOR_DISKS, NEEDED_FOR_NETWORK, NEEDED_TO_BOOT, ModuleTree, collect
from plugfest.provision.root import listed
from plugfest.provision.settings import ProvisionSettings
from plugfest.provision.toolchain import IMAGE_PACKAGES, ensure_image_tools
from plugfest.provision.unpacked import Unpacked

CHANNELS = {
    "trixie-backports": Packages(("linux-image-amd64",), "trixie", backports=True),
    "trixie": Packages(("linux-image-amd64",), "trixie"),
    "bookworm": Packages(("linux-image-amd64",), "bookworm"),
}
"""Debian's stock kernels: 7.3, 6.12 and 6.1 at the time of writing."""

DEFAULT_CHANNEL = "trixie-backports"
FORMAT = 4
"""Part of every key: incremented when the build steps here change."""

_IMAGE, _INITRAMFS, _MODULES, _RELEASE, _CONFIG = "kernel", "initramfs.cpio", "modules.erofs", "release", "config"
_MIB = 1 << 20
_SIZE, _SPACE = 145 * _MIB, 1000 * _MIB


def check_kernel(spec: str) -> None:
    """Check that a kernel exists, before anything is fetched for it.

    Raises:
        UsageError: it is neither a channel nor a file or folder.
    """
    if spec not in CHANNELS:
        _places(spec)


def _places(spec: str) -> tuple[Path, Path | None]:
    """Return a build tree and None; or an image and the folder of its modules, if one is given.

    Raises:
        UsageError: there is no such file or folder.
    """
    first, _, second = spec.partition(":")
    path = Path(first).expanduser()
    if path.is_file() or (path.is_dir() and not second):
        return path.resolve(), Path(second).expanduser().resolve() if second else None
    raise UsageError(
        f"kernel {spec!r}: expected one of {', '.join(CHANNELS)}, a kernel build tree, or a bzImage, found none; choose another --kernel"
    )


def ensure_kernel(settings: ProvisionSettings, spec: str = DEFAULT_CHANNEL) -> Kernel:
    """Return a kernel that boots, with its initramfs and modules.

    Args:
        settings: cache and mirror.
        spec: a channel of `CHANNELS`; a kernel build tree; ``BZIMAGE`` (with its modules in the host's ``/lib/modules``) or
            ``BZIMAGE:MODULES``, with a folder ``…/lib/modules/RELEASE``.

    Raises:
        UsageError: there is no such kernel, or it lacks what a guest needs.
        InfrastructureError: it cannot be fetched or built.
    """
    packages = CHANNELS.get(spec)
    if packages is not None:
        return _ensure(
            settings, spec, packages.recipe(), lambda scratch, tools: _unpack(scratch, packages, settings, tools)
        )
    path, modules = _places(spec)
    return _from_tree(settings, spec, path) if path.is_dir() else _from_image(settings, spec, path, modules)


@dataclass(frozen=True)
class _Prepared:
    """A kernel before it is packed.

    Attributes:
        image: what a boot loader loads.
        modules: its modules.
        config: the file of its configuration, which need not exist.
    """

    image: BootImage
    modules: ModuleTree
    config: Path


def _ensure(
    settings: ProvisionSettings, spec: str, recipe: str, prepare: Callable[[Path, Unpacked], _Prepared]
) -> Kernel:
    recipes = recipes_root()
    start = recipes / "initramfs-init"
    places = listed(recipes / "modules")
    key = digest(str(FORMAT), recipe, IMAGE_PACKAGES.recipe(), start.read_bytes(), *places)
    tools = ensure_image_tools(settings)

    def build(target: Path) -> None:
        with tempfile.TemporaryDirectory(dir=target) as name:
            scratch = Path(name)
            prepared = prepare(scratch, tools)
            image, modules = prepared.image, prepared.modules
            modules.check(NEEDED_TO_BOOT)
            chosen = modules.select(places, scratch / "chosen/usr/lib/modules" / modules.release)
            vmlinux = image.vmlinux(lambda stream: tools.run("usr/bin/zstd", ["-dcq"], stdin=stream))
            (target / _IMAGE).write_bytes(vmlinux if vmlinux is not None else image.data)
            (target / _INITRAMFS).write_bytes(initramfs(modules, tools, start.read_bytes()))
            make_image(tools, chosen.folder.parent, target / _MODULES, name=f"modules-{key}")
            (target / _RELEASE).write_text(modules.release)
            if prepared.config.is_file():
                (target / _CONFIG).write_bytes(prepared.config.read_bytes())

    path = Cache(settings.cache).get("kernel", key, build, title=f"kernel {spec}", size=_SIZE, space=_SPACE)
    return Kernel(
        spec=spec,
        release=(path / _RELEASE).read_text(),
        image=path / _IMAGE,
        initramfs=path / _INITRAMFS,
        modules=path / _MODULES,
        config=path / _CONFIG if (path / _CONFIG).exists() else None,
        digest=fingerprint(path),
    )


def initramfs(modules: ModuleTree, tools: Unpacked, start: bytes) -> bytes:
    """Return the initramfs, which mounts the disks.

    It contains busybox, the modules for the disks and for the management NIC, a list of each in load order, and init. The modules for
    the network are loaded after those for the disks.
    """
    archive = Archive()
    for folder in ("bin", "dev", "proc", "sys", "modules"):
        archive.folder(folder)
    archive.node("dev/console", 5, 1)
    archive.file("bin/busybox", (tools.root / "usr/bin/busybox").read_bytes(), 0o755)
    disks = modules.closure(modules.named(NEEDED_FOR_DISKS))
    network = [path for path in modules.closure(modules.named(NEEDED_FOR_NETWORK)) if path not in disks]
    for purpose, paths in (("disks", disks), ("network", network)):
        names = [Path(path).name.split(".", 1)[0] + ".ko" for path in paths]
        for name, path in zip(names, paths, strict=True):
            archive.file(f"modules/{name}", modules.read(path))
        archive.file(f"modules/for-{purpose}", "".join(f"{name}\n" for name in names).encode())
    archive.file("init", start, 0o755)
    return archive.finish()


def _unpack(scratch: Path, packages: Packages, settings: ProvisionSettings, tools: Unpacked) -> _Prepared:
    root = scratch / "packages"
    unpack(packages, root, settings)
    for base in ("usr/lib/modules", "lib/modules"):  # bookworm's packages predate the merged /usr
        for folder in sorted((root / base).glob("*/kernel")):
            release = folder.parent.name
            if base == "lib/modules":
                (root / "usr/lib").mkdir(parents=True, exist_ok=True)
                (root / "lib/modules").rename(root / "usr/lib/modules")
            modules = root / "usr/lib/modules" / release
            image = next(
                (path for path in (modules / "vmlinuz", root / f"boot/vmlinuz-{release}") if path.exists()), None
            )
            if image is None:
                raise InfrastructureError(
                    f"expected vmlinuz of kernel {release} in Debian's packages, found none; choose another --kernel"
                )
            tree = ModuleTree(modules, release, tools)
            _index_apart(root, tree)
            return _Prepared(BootImage(image.read_bytes(), str(image)), tree, _config(modules, root / "boot"))
    raise InfrastructureError(
        f"expected a kernel in the packages of {packages.suite}, found none; specify another mirror with --mirror"
    )


def _config(modules: Path, boot: Path) -> Path:
    """Return the file of a kernel's configuration: beside its modules, as newer packages of Debian have it, or beside its image."""
    return modules / "config" if (modules / "config").exists() else boot / f"config-{modules.name}"


def _index_apart(root: Path, tree: ModuleTree) -> None:
    """Index a tree of unpacked packages; move aside /lib, which may have files of other packages that are not needed."""
    library = root / "lib"
    if library.is_dir() and not library.is_symlink():
        library.rename(root / "lib.packages")
    tree.index()


def _from_tree(settings: ProvisionSettings, spec: str, tree: Path) -> Kernel:
    image = tree / "arch/x86/boot/bzImage"
    if not image.is_file():
        raise UsageError(
            f"kernel {spec!r}: expected a built kernel tree with arch/x86/boot/bzImage, found none; "
            "build it (make) or choose another --kernel"
        )
    boot = BootImage(image.read_bytes(), str(image))

    def prepare(scratch: Path, tools: Unpacked) -> _Prepared:
        modules = collect(tree, boot.release, scratch / "tree/usr/lib/modules" / boot.release, tools)
        return _Prepared(boot, modules, tree / ".config")

    return _ensure(settings, spec, _state(image, *sorted(tree.glob("modules.*")), *_built(tree)), prepare)


def _from_image(settings: ProvisionSettings, spec: str, image: Path, modules: Path | None) -> Kernel:
    boot = BootImage(image.read_bytes(), str(image))
    folder = modules or Path("/lib/modules") / boot.release
    if not (folder / "kernel").is_dir():
        raise UsageError(f"kernel {spec!r}: expected its modules at {folder}, found none; name them as BZIMAGE:MODULES")

    def prepare(_scratch: Path, tools: Unpacked) -> _Prepared:
        return _Prepared(boot, ModuleTree(folder, boot.release, tools), _config(folder, image.parent))

    return _ensure(settings, spec, _state(image, folder / "modules.dep"), prepare)


def _built(tree: Path) -> list[Path]:
    order = tree / "modules.order"
    if not order.exists():
        return []
    paths = [(tree / line.removeprefix("kernel/")).with_suffix(".ko") for line in order.read_text().split()]
    return [path for path in paths if path.exists()]


def _state(*paths: Path) -> str:
    """Return a hash of the state of files that a build changes, without reading them."""
    stats = [(path, path.stat()) for path in paths]
    return digest(*(f"{path} {status.st_size} {status.st_mtime_ns}" for path, status in stats))
