# SPDX-License-Identifier: GPL-2.0-or-later
"""Which tests are marked `boot`, and what the others are kept from.

Whatever boots a guest, builds a driver or reads a package takes it from the user's cache, by way of the fixture
`provisioning`. So a test is marked for its fixtures, never by hand; the others have no cache and cannot start a real QEMU or bwrap.
"""

from __future__ import annotations

import gc
import os
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from shutil import which
from typing import Any

import pytest
from plugfest.provision.artifact import BuildRoot
from plugfest.provision.build_root import ensure_build_root
from plugfest.provision.kernel import ensure_kernel
from plugfest.provision.settings import ProvisionSettings

CACHE = "XDG_CACHE_HOME"
OWN_CACHE = os.environ.get(CACHE)
"""The user's."""
NO_CACHE = "/dev/null/for-tests-with-the-fixture-provisioning"
"""Nothing can be read or made below a file; the errors of the project and of what it runs name the path."""
LONGEST = 2400
"""Seconds after which a test that boots or is slow has hung; of the others, pyproject.toml has the limit."""
RESERVED = ("qemu-system-x86_64", "bwrap")
"""Programs that only tests marked `boot` may start."""

_without_boot: str | None = None
"""The test that runs, if it is not marked."""
_started: list[str] = []
"""What it started of `RESERVED`."""


@pytest.fixture(scope="session")
def provisioning() -> ProvisionSettings:
    """The user's cache, filled as needed. Every test with this fixture, even by way of others, is marked `boot`."""
    return ProvisionSettings()


@pytest.fixture(scope="session")
def build_root(provisioning: ProvisionSettings) -> BuildRoot:
    """What builds modules for the default channel, fetched once into the cache."""
    return ensure_build_root(provisioning, ensure_kernel(provisioning))


@pytest.hookimpl(tryfirst=True)  # before -m deselects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if provisioning.__name__ in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.boot)
        elif item.get_closest_marker("boot"):
            raise pytest.UsageError(f"{item.nodeid}: expected the fixture provisioning, found the mark boot without it")
        if item.get_closest_marker("boot") or item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(LONGEST))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Keep thousands of collected tests out of what pytest collects as garbage at the end of each run of pytest in a test."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    global _without_boot  # noqa: PLW0603 - an audit hook has no argument of ours
    _without_boot = None if item.get_closest_marker("boot") else item.nodeid
    _started.clear()
    _set_cache(OWN_CACHE if _without_boot is None else NO_CACHE)
    try:
        return (yield)
    finally:
        _without_boot = None
        _set_cache(OWN_CACHE)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Iterator[None]:
    yield
    if _started:  # what the audit hook raised may have been caught
        pytest.fail(_started[0], pytrace=False)


def _set_cache(value: str | None) -> None:
    if value is None:
        os.environ.pop(CACHE, None)
    else:
        os.environ[CACHE] = value


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse to start a program of `RESERVED` in a test without the mark; forked children inherit this."""
    if _without_boot is None or event not in {"subprocess.Popen", "os.exec", "os.posix_spawn"}:
        return
    program, argv = arguments[:2]
    # Debian's QEMU of the cache is an argument of its dynamic linker.
    for each in (program, *argv) if isinstance(argv, list | tuple) else (program,):
        path = os.fsdecode(each)
        if path.rpartition("/")[2] in RESERVED and _is_real(path):
            _started.append(f"{_without_boot}: expected the fixture provisioning in a test that starts {path}")
            raise RuntimeError(_started[-1])


def _is_real(program: str) -> bool:
    """Whether it is no stand-in, as the scripts that tests put into PATH."""
    with suppress(OSError), Path(which(program) or program).open("rb") as file:
        return file.read(4) == b"\x7fELF"
    return False


sys.addaudithook(_audit)


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
