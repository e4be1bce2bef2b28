# SPDX-License-Identifier: GPL-2.0-or-later
"""What a real machine gets for a run: the agent, the BPF programs, and the C programs with the libraries that they need."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from plugfest.location import recipes_root
from plugfest.provision.bpf import ensure_bpf
from plugfest.provision.cache import Cache, digest
from plugfest.provision.programs import ensure_programs
from plugfest.provision.root import agent_digest
from plugfest.provision.settings import ProvisionSettings
from plugfest.provision.toolchain import BUILDER_PACKAGES, ensure_builder

FORMAT = 1
"""Part of the key: incremented when this module makes something else."""
ARCHIVE = "agent.tar.gz"

LOADER = "ld-linux-x86-64.so.2"
LIBRARIES = ("libbpf.so.1", "libc.so.6", "libelf.so.1", "libxdp.so.1", "libz.so.1", "libzstd.so.1")
"""What the programs need, with their loader: a machine's own libraries may be older, or missing."""
_FOLDER = "usr/lib/x86_64-linux-gnu"
_START = """#!/bin/sh
here=${{0%/*}}
exec "$here/../lib/{loader}" --library-path "$here/../lib" "$here/../binaries/{name}" "$@"
"""


def ensure_agent_archive(settings: ProvisionSettings) -> Path:
    """Return the archive, made once per version of its sources: ``agent``, ``bpf``, ``programs``, ``binaries`` and ``lib``.

    Raises:
        InfrastructureError: something does not compile, or cannot be fetched.
    """
    bpf, programs = ensure_bpf(settings), ensure_programs(settings)
    key = digest(str(FORMAT), BUILDER_PACKAGES.recipe(), agent_digest(recipes_root()), bpf.name, programs.name, _START)

    def build(target: Path) -> None:
        libraries = ensure_builder(settings).root / _FOLDER
        with tarfile.open(target / ARCHIVE, "w:gz") as archive:
            _add_folder(archive, recipes_root() / "agent", "agent", "**/*.py")
            _add_folder(archive, bpf, "bpf", "*.o")
            for path in sorted(programs.iterdir()):
                if path.name.startswith("."):
                    continue
                archive.add(path, f"binaries/{path.name}", filter=_owned_by_root)
                _add_text(archive, f"programs/{path.name}", _START.format(loader=LOADER, name=path.name))
            for name in (LOADER, *LIBRARIES):
                archive.add((libraries / name).resolve(), f"lib/{name}", filter=_owned_by_root)

    path = Cache(settings.cache).get(
        "agent", key, build, title="agent for a real machine", size=2 << 20, space=16 << 20
    )
    return path / ARCHIVE


def _add_folder(archive: tarfile.TarFile, folder: Path, name: str, pattern: str) -> None:
    for path in sorted(folder.glob(pattern)):
        archive.add(path, f"{name}/{path.relative_to(folder)}", filter=_owned_by_root)


def _add_text(archive: tarfile.TarFile, name: str, text: str) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(text.encode()), 0o755
    archive.addfile(member, io.BytesIO(text.encode()))


def _owned_by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member
