# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's root file system, a read-only image: Debian packages, our init, the agent, BPF programs and C programs."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from plugfest.location import recipes_root
from plugfest.provision.artifact import GuestRoot
from plugfest.provision.bpf import ensure_bpf
from plugfest.provision.cache import Cache, digest, digest_of_files, fingerprint
from plugfest.provision.debian import UNUSED, Packages, unpack
from plugfest.provision.erofs import make_image
from plugfest.provision.programs import ensure_programs
from plugfest.provision.settings import ProvisionSettings
from plugfest.provision.toolchain import IMAGE_PACKAGES, ensure_image_tools
from plugfest.provision.unpacked import Unpacked

FORMAT = 4
"""Part of the key: incremented when this module builds something else."""

_IMAGE, _PACKAGES, _FOLDER = "root.erofs", "packages.json", "root"
_UNUSED = ("usr/lib/python3*/test",)
_MERGED = ("bin", "sbin", "lib", "lib64")
_FOLDERS = ("dev", "proc", "sys", "run", "tmp", "root", "etc", "var", "usr/lib/modules", "usr/local")
_ACCOUNTS = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "etc/shadow": "root:*:20000:0:99999:7:::\nnobody:*:20000:0:99999:7:::\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/hosts": "127.0.0.1 localhost plugfest\n::1 localhost\n",
    "etc/hostname": "plugfest\n",
    "etc/shells": "/bin/sh\n/bin/bash\n",
    "etc/nsswitch.conf": "hosts: files\npasswd: files\ngroup: files\n",
}
_LINKS = {
    **dict.fromkeys(("reboot", "poweroff", "halt", "vi", "nc", "less"), "busybox"),
    # Debian makes these by update-alternatives, which runs when a package is configured: here they are only unpacked.
    "awk": "gawk",
    "which": "which.debianutils",
}
"""Programs by other names, in usr/bin; busybox, where there is no such program."""
_MIB = 1 << 20


@dataclass(frozen=True)
class Addition:
    """What a guest's root has beside what every guest has.

    Attributes:
        title: what for, as ``upstream's tests``.
        packages: Debian packages; their dependencies come with them.
        files: a folder that is copied into the root; None for packages alone.
        place: its path there.
        digest: identifies its contents.
        unused: folders of the packages that are left out.
        folder: keep the root as a folder, too, so that a remote host can have the same.
    """

    title: str
    packages: tuple[str, ...]
    files: Path | None = None
    place: str = ""
    digest: str = ""
    unused: tuple[str, ...] = ()
    folder: bool = False


def ensure_root(settings: ProvisionSettings, addition: Addition | None = None) -> GuestRoot:
    """Return the guest's root; build it if the cache has none of this recipe.

    Args:
        settings: cache and mirror.
        addition: what it has beside that.

    Raises:
        InfrastructureError: packages cannot be fetched, or something does not build.
    """
    recipes = recipes_root()
    more, unused = ((), ()) if addition is None else (addition.packages, addition.unused)
    packages = Packages((*listed(recipes / "packages"), *more), backports=True, unused=(*UNUSED, *unused))
    bpf = ensure_bpf(settings)
    programs = ensure_programs(settings)
    key = digest(
        str(FORMAT),
        packages.recipe(),
        IMAGE_PACKAGES.recipe(),
        (recipes / "init").read_bytes(),
        (recipes / "fstab").read_bytes(),
        agent_digest(recipes),
        bpf.name,
        programs.name,
        *(() if addition is None else (addition.digest, *addition.unused)),
    )
    tools = ensure_image_tools(settings)

    def build(target: Path) -> None:
        with tempfile.TemporaryDirectory(dir=target) as scratch:
            root = Path(scratch) / "root"
            versions = unpack(packages, root, settings)
            furnish(root, recipes, bpf=bpf, programs=programs)
            if addition is not None and addition.files is not None:
                shutil.copytree(addition.files, root / addition.place, symlinks=True)
            compile_python(root)
            make_image(tools, root, target / _IMAGE, name=f"root-{key}")
            (target / _PACKAGES).write_text(json.dumps(versions, indent=1, sort_keys=True))
            if addition is not None and addition.folder:
                root.rename(target / _FOLDER)

    title = f"guest root{'' if addition is None else f' with {addition.title}'} (Debian packages)"
    size = 100 * _MIB if addition is None else 500 * _MIB
    path = Cache(settings.cache).get("root", key, build, title=title, size=size, space=5 * size)
    folder = path / _FOLDER if addition is not None and addition.folder else None
    return GuestRoot(image=path / _IMAGE, packages=path / _PACKAGES, digest=fingerprint(path), folder=folder)


def agent_digest(recipes: Path) -> str:
    """Hash the agent's modules, in all its folders."""
    return digest_of_files(recipes / "agent", "**/*.py")


def listed(path: Path) -> tuple[str, ...]:
    """Read a recipe's list: one entry per line, # begins a comment."""
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return tuple(line for line in lines if line)


def furnish(root: Path, recipes: Path, *, bpf: Path, programs: Path) -> None:
    """Turn unpacked packages into a system: add accounts, links, our init and the agent, and what is compiled for the guest."""
    for pattern in _UNUSED:
        for path in root.glob(pattern):
            shutil.rmtree(path)
    for name in _FOLDERS:
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in _MERGED:
        if not (root / name).is_symlink():
            (root / name).symlink_to(f"usr/{name}")
    for name, text in _ACCOUNTS.items():
        (root / name).write_text(text)
    for name, target in _LINKS.items():
        if not any((root / folder / name).exists() for folder in ("usr/sbin", "usr/bin")):
            preferred = (root / "usr/bin" / target).exists()
            (root / "usr/bin" / name).symlink_to(target if preferred else "busybox")
    (root / "usr/sbin/init").unlink(missing_ok=True)
    shutil.copy(recipes / "fstab", root / "etc/fstab")
    shutil.copy(recipes / "init", root / "usr/sbin/init")
    (root / "usr/sbin/init").chmod(0o755)
    home = root / "usr/lib/plugfest"
    shutil.copytree(recipes / "agent", home / "agent", ignore=shutil.ignore_patterns("__pycache__", "*.md"))
    for name, folder in (("bpf", bpf), ("programs", programs)):
        shutil.copytree(folder, home / name, ignore=shutil.ignore_patterns(".*"))


def compile_python(root: Path) -> None:
    """Compile the standard library and the agent to bytecode, with the guest's own Python.

    An emulated guest would spend seconds on it at every boot.
    """
    interpreter = next(iter(sorted((root / "usr/bin").glob("python3.[0-9]*"))))
    own = Unpacked(root)
    library = root / "usr/lib" / interpreter.name
    arguments = ["-I", "-B", "-m", "compileall", "-q"]
    # By hash, not by time: the image has no modification times. -f, because a module may have bytecode by time already.
    arguments += ["-f", "--invalidation-mode", "unchecked-hash"]
    arguments += ["-s", str(root), "-p", "/", str(library), str(root / "usr/lib/plugfest/agent")]
    own.run(f"usr/bin/{interpreter.name}", arguments, env={"PYTHONHOME": str(root / "usr")})
