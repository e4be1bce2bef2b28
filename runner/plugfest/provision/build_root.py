# SPDX-License-Identifier: GPL-2.0-or-later
"""What builds a module for one of Debian's kernels: the kernel's headers and compiler, in a root file system of their own.

Debian splits a kernel's headers: ``linux-headers-RELEASE`` has what is generated for one architecture, ``linux-headers-…-common`` the
rest. ``/lib/modules/RELEASE/build`` is the first and ``source`` the second. The kernel's own makefiles know both; a vendor's makefile
often looks for all of it in one of them. So each gets links to what only the other has.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from plugfest.errors import InfrastructureError, UsageError
from plugfest.provision.artifact import BuildRoot, DriverSource, Kernel
from plugfest.provision.cache import Cache, digest
from plugfest.provision.debian import UNUSED, Packages, unpack
from plugfest.provision.kernel import CHANNELS
from plugfest.provision.settings import ProvisionSettings
from plugfest.provision.source import unpack_drivers

FORMAT = 1
"""Part of every key: incremented when this module makes something else."""

PACKAGES = (
    *("base-files", "bash", "bc", "bzip2", "coreutils", "dash", "debianutils", "diffutils", "file", "findutils"),
    *("gawk", "gcc", "git", "grep", "gzip", "hostname", "kmod", "libc6-dev", "libelf-dev", "make", "patch", "perl"),
    *("python3-minimal", "sed", "tar", "util-linux", "xz-utils"),
)
"""What makefiles of kernel modules call, beside what the headers depend on: the compiler, objtool, modpost, pahole."""

BUILD = "build"
"""Mount point of the folder of a confined build: see `plugfest.build.confinement`."""

_KEPT = ("usr/lib/gcc",)
_UNUSED = tuple(name for name in UNUSED if name not in _KEPT)
_MERGED = ("bin", "sbin", "lib", "lib64")
_LINKS = {"awk": "gawk", "cc": "gcc", "sh": "dash", "which": "which.debianutils"}
"""What maintainer scripts would link, had the packages been installed."""
_ACCOUNTS = {
    "etc/passwd": "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/build:/bin/sh\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
}
_UNAME = """#!/bin/sh
# Makefiles ask uname for the kernel that they build for: it is the guest's, not the host's.
case "$*" in
-r | --kernel-release) echo '{release}' ;;
*) exec /usr/bin/uname "$@" ;;
esac
"""
_NOTE = "versions.json"
_MIB = 1 << 20


def check_channel(spec: str) -> None:
    """Check that a module can be built for a kernel.

    Raises:
        UsageError: it is none of Debian's channels.
    """
    if spec not in CHANNELS:
        raise UsageError(
            f"--kernel {spec}: expected one of {', '.join(CHANNELS)}, whose headers and compiler Debian has, found another kernel; "
            "build the module with that kernel's tree (make M=…), and give it to plugfest run with --module"
        )


def ensure_build_root(settings: ProvisionSettings, kernel: Kernel) -> BuildRoot:
    """Return what builds modules for a kernel of one of Debian's channels.

    Args:
        settings: cache and mirror.
        kernel: as `plugfest.provision.kernel.ensure_kernel` returns it.

    Raises:
        UsageError: the kernel is none of a channel.
        InfrastructureError: its headers cannot be fetched.
    """
    check_channel(kernel.spec)
    channel = CHANNELS[kernel.spec]
    headers = f"linux-headers-{kernel.release}"
    packages = Packages((*PACKAGES, headers), channel.suite, channel.backports, _UNUSED)

    def build(target: Path) -> None:
        versions = _unpack(packages, target, settings, kernel)
        furnish(target, kernel.release)
        (target / _NOTE).write_text(json.dumps(versions, indent=1, sort_keys=True))

    path = Cache(settings.cache).get(
        "headers",
        digest(str(FORMAT), packages.recipe()),
        build,
        title=f"headers and compiler of {kernel.release} (Debian packages)",
        size=480 * _MIB,
        space=1200 * _MIB,
    )
    versions = json.loads((path / _NOTE).read_text())
    compiler = _compiler(path, kernel.release, versions)
    return BuildRoot(path, kernel.release, versions[headers], compiler)


def ensure_driver_source(settings: ProvisionSettings, kernel: Kernel, root: BuildRoot) -> DriverSource:
    """Return the source of a kernel's network drivers, of the same version as its headers.

    Raises:
        InfrastructureError: it cannot be fetched.
    """
    channel = CHANNELS[kernel.spec]
    name = "linux-source-" + ".".join(kernel.release.split(".")[:2])
    packages = Packages((f"{name}={root.version}",), channel.suite, channel.backports, _UNUSED)

    def build(target: Path) -> None:
        fetched = target / "packages"
        _unpack(packages, fetched, settings, kernel)
        unpack_drivers(fetched / f"usr/src/{name}.tar.xz", target)
        shutil.rmtree(fetched)

    path = Cache(settings.cache).get(
        "source",
        digest(str(FORMAT), packages.recipe()),
        build,
        title=f"source of the drivers of {kernel.release} (Debian package)",
        size=80 * _MIB,
        space=500 * _MIB,
    )
    return DriverSource(path, f"Debian's {name} {root.version}")


def _unpack(packages: Packages, target: Path, settings: ProvisionSettings, kernel: Kernel) -> dict[str, str]:
    try:
        return unpack(packages, target, settings)
    except InfrastructureError as error:
        # A mirror has the newest kernels of a release alone; the cache may have an older one.
        if re.search(r"package \S+ is not in|Version '\S+' for '\S+' was not found", str(error)):
            raise InfrastructureError(
                f"kernel {kernel.spec}: expected the mirror to have {packages.names[-1]}, found none; the cache has an older kernel "
                f"than the mirror: delete it (plugfest cache prune --days 0), and the newest is fetched"
            ) from error
        raise


def furnish(root: Path, release: str) -> None:
    """Turn unpacked packages into a root that builds modules for a kernel.

    Args:
        root: the packages.
        release: the kernel's.
    """
    make_system(root)
    uname = root / "usr/local/bin/uname"
    uname.write_text(_UNAME.format(release=release))
    uname.chmod(0o755)
    link_headers(root, release)


def make_system(root: Path) -> None:
    """Turn unpacked packages into the root of a confined build: see `plugfest.build.confinement`."""
    _merge_usr(root)
    for name in (BUILD, "dev", "proc", "tmp", "usr/local/bin"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name, text in _ACCOUNTS.items():
        (root / name).write_text(text)
    for name, target in _LINKS.items():
        if (root / "usr/bin" / target).exists() and not (root / "usr/bin" / name).exists():
            (root / "usr/bin" / name).symlink_to(target)


def link_headers(root: Path, release: str) -> None:
    """Make either half of Debian's split headers complete, by links to what only the other has.

    Args:
        root: with ``usr/lib/modules/RELEASE/build`` and ``source``.
        release: the kernel's.

    Raises:
        InfrastructureError: the packages have no such halves.
    """
    halves = {}
    for name in ("build", "source"):
        link = root / "usr/lib/modules" / release / name
        if not link.is_symlink():
            raise InfrastructureError(
                f"expected {link.relative_to(root)} in Debian's headers of {release}, found none; choose another --kernel"
            )
        target = link.readlink()
        halves[name] = root / target.relative_to("/") if target.is_absolute() else (link.parent / target).resolve()
    # All that the architecture's half lacks. The other way round the names that makefiles ask for: kbuild takes a source folder with
    # a configuration for one that needs cleaning, unless that is where it builds.
    _link_missing(halves["source"], halves["build"])
    for name in ("include/generated", "arch/x86/include/generated", "Module.symvers"):
        there, here = halves["build"] / name, halves["source"] / name
        if there.exists() and not here.exists():
            here.symlink_to(_relative(there, here.parent))


def _link_missing(source: Path, target: Path) -> None:
    for entry in sorted(source.iterdir()):
        mine = target / entry.name
        if mine.is_dir() and not mine.is_symlink() and entry.is_dir() and not entry.is_symlink():
            _link_missing(entry, mine)
        elif not mine.exists() and not mine.is_symlink():
            mine.symlink_to(_relative(entry, target))


def _relative(path: Path, start: Path) -> Path:
    shared = next(folder for folder in (start, *start.parents) if path.is_relative_to(folder))
    climbs = len(start.relative_to(shared).parts)
    return Path(*[".."] * climbs) / path.relative_to(shared)


def _merge_usr(root: Path) -> None:
    """Move what older packages have in ``/bin``, ``/lib`` … into ``/usr``, as an installed system has it."""
    for name in _MERGED:
        old, new = root / name, root / "usr" / name
        if old.is_symlink():
            continue
        new.mkdir(parents=True, exist_ok=True)
        if old.is_dir():
            _move_into(old, new)
        old.symlink_to(f"usr/{name}")


def _move_into(old: Path, new: Path) -> None:
    for entry in list(old.iterdir()):
        target = new / entry.name
        if target.is_dir() and not target.is_symlink() and entry.is_dir() and not entry.is_symlink():
            _move_into(entry, target)
        elif target.exists() or target.is_symlink():
            entry.unlink()  # /bin/which and /usr/bin/which are one file of one package
        else:
            entry.rename(target)
    old.rmdir()


def _compiler(root: Path, release: str, versions: dict[str, str]) -> str:
    """Return name and version of the compiler that the headers name."""
    variables = (root / f"usr/src/linux-headers-{release}/.kernelvariables").read_text()
    found = re.search(r"\$\(CROSS_COMPILE\)(gcc-\d+)", variables)
    name = found[1] if found else "gcc"
    version = next((versions[each] for each in (name, f"{name}-x86-64-linux-gnu") if each in versions), "?")
    return f"{name} {version}"
