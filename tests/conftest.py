# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from plugfest.provision.artifact import BuildRoot
from plugfest.provision.build_root import ensure_build_root
from plugfest.provision.kernel import ensure_kernel
from plugfest.provision.settings import ProvisionSettings


@pytest.fixture(scope="session")
def build_root() -> BuildRoot:
    """What builds modules for the default channel, fetched once into the cache."""
    settings = ProvisionSettings()
    return ensure_build_root(settings, ensure_kernel(settings))


@pytest.fixture(scope="session")
def kernel_module() -> Callable[[bytes], bytes]:
    """Makes an ELF64 file with no more than the section .modinfo and the sections' names."""

    def make(modinfo: bytes) -> bytes:
        names = b"\0.modinfo\0.shstrtab\0"
        at = 64 + len(modinfo)
        sections = [(0, 0, 0), (1, 64, len(modinfo)), (10, at, len(names))]
        header = struct.pack(
            "<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 1, 62, 1, 0, 0, at + len(names), 0, 64, 0, 0, 64, 3, 2
        )
        table = (struct.pack("<IIQQQQIIQQ", name, 1, 0, 0, start, size, 0, 0, 1, 0) for name, start, size in sections)
        return header + modinfo + names + b"".join(table)

    return make
