# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's BPF programs, compiled once per version of their sources."""

from __future__ import annotations

from pathlib import Path

from plugfest.errors import InfrastructureError
from plugfest.location import recipes_root
from plugfest.provision.cache import Cache, digest, digest_of_files
from plugfest.provision.settings import ProvisionSettings
from plugfest.provision.toolchain import BUILDER_PACKAGES, COMPILER, ensure_builder, include_flags

FLAGS = ("-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-Werror", "-nostdinc")
"""``-g`` generates the BTF from which libbpf reads the maps."""


def ensure_bpf(settings: ProvisionSettings) -> Path:
    """Return the folder of compiled programs, ``NAME.o`` for each ``guest-images/bpf/NAME.c``.

    Raises:
        InfrastructureError: a program does not compile, or the compiler cannot be fetched.
    """
    sources = recipes_root() / "bpf"
    key = digest(BUILDER_PACKAGES.recipe(), *FLAGS, digest_of_files(sources, "*.[ch]"))

    def build(target: Path) -> None:
        builder = ensure_builder(settings)
        headers = include_flags(builder)
        for source in sorted(sources.glob("*.c")):
            try:
                builder.run(COMPILER, [*FLAGS, *headers, "-c", source, "-o", target / f"{source.stem}.o"])
            except InfrastructureError as error:
                raise InfrastructureError(f"{source}: {error}") from error

    return Cache(settings.cache).get("bpf", key, build, title="BPF programs", size=1 << 17, space=16 << 20)
