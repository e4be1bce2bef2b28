# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's C programs, compiled and linked once per version of their sources."""

from __future__ import annotations

import tempfile
from pathlib import Path

from plugfest.errors import InfrastructureError
from plugfest.location import recipes_root
from plugfest.provision.cache import Cache, digest, digest_of_files
from plugfest.provision.settings import ProvisionSettings
from plugfest.provision.toolchain import BUILDER_PACKAGES, COMPILER, LINKER, ensure_builder, include_flags

FORMAT = 1
"""Part of the key: incremented when this module builds something else."""

FLAGS = ("-O2", "-fPIE", "-Wall", "-Werror", "-nostdinc")
LIBRARIES = ("libxdp.so", "libbpf.so", "libc.so.6")
"""Libraries to link with; packages of the guest have them."""

_FOLDER = "usr/lib/x86_64-linux-gnu"
_LOADER = "/lib64/ld-linux-x86-64.so.2"


def ensure_programs(settings: ProvisionSettings) -> Path:
    """Return the folder of programs, ``NAME`` for each ``guest-images/programs/NAME.c``.

    Raises:
        InfrastructureError: a program does not compile, or the compiler cannot be fetched.
    """
    sources = recipes_root() / "programs"
    key = digest(str(FORMAT), BUILDER_PACKAGES.recipe(), *FLAGS, *LIBRARIES, digest_of_files(sources, "*.c"))

    def build(target: Path) -> None:
        builder = ensure_builder(settings)
        headers = include_flags(builder)
        libraries = builder.root / _FOLDER
        linked = [libraries / name for name in LIBRARIES]
        for source in sorted(sources.glob("*.c")):
            with tempfile.TemporaryDirectory(dir=target) as scratch:
                compiled = Path(scratch) / "compiled.o"
                ends = (libraries / "Scrt1.o", libraries / "crti.o", compiled, libraries / "crtn.o")
                try:
                    builder.run(COMPILER, [*FLAGS, *headers, "-c", source, "-o", compiled])
                    arguments: list[str | Path] = [
                        "-pie",
                        "-dynamic-linker",
                        _LOADER,
                        "-rpath-link",
                        libraries,
                        "-o",
                        target / source.stem,
                    ]
                    builder.run(LINKER, [*arguments, *ends, *linked])
                except InfrastructureError as error:
                    raise InfrastructureError(f"{source}: {error}") from error

    return Cache(settings.cache).get("programs", key, build, title="programs in C", size=1 << 17, space=16 << 20)
