# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run needs of this machine, looked at one by one."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from plugfest import location
from plugfest.errors import PlugfestError
from plugfest.provision import debian, toolchain
from plugfest.provision.cache import Cache
from plugfest.provision.settings import ProvisionSettings
from plugfest.run import sandbox

NEEDED_SPACE = 4 << 30
"""Bytes that all images, one kernel and its snapshot take, with room for building."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: its name.
        found: one line: what is there, or what is missing and what to do.
        grade: ``good``, ``note`` (a run works without it) or ``bad``.
    """

    what: str
    found: str
    grade: str


def examine(settings: ProvisionSettings) -> Iterator[Finding]:
    """Look at everything that a run needs; builds and fetches nothing."""
    yield Finding("Python", f"{platform.python_version()} ({sys.executable})", "good")
    yield _tried("suite", lambda: str(location.conformance_root()))
    yield _tried("recipes", lambda: str(location.recipes_root()))
    yield _tried("/dev/net/tun", _tun)
    yield _namespaces()
    yield _space(settings.cache)
    yield _cache(settings.cache)
    yield _tried("Debian mirror", lambda: debian.mirror(settings))
    yield _tried("Debian keys", lambda: str(debian.keyring()))
    yield _mmdebstrap()
    yield _qemu(settings)
    yield _kvm()


def _tried(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, look(), "good")
    except PlugfestError as error:
        return Finding(what, str(error), "bad")


def _tun() -> str:
    sandbox.check_host()
    return "can be opened"


def _namespaces() -> Finding:
    how = "root" if os.geteuid() == 0 else "a user, in a user namespace"
    try:
        outcome = sandbox.enter(lambda: 0, folder=Path(f"/tmp/plugfest-doctor-{os.getpid()}"))  # noqa: S108 - removed below
    except PlugfestError as error:
        return Finding("namespaces", str(error), "bad")
    finally:
        shutil.rmtree(f"/tmp/plugfest-doctor-{os.getpid()}", ignore_errors=True)  # noqa: S108
    return Finding("namespaces", f"made as {how}", "good" if outcome.status == 0 else "bad")


def _space(cache: Path) -> Finding:
    there = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    enough = free >= NEEDED_SPACE
    found = f"{free / 2**30:.1f} GiB free in {there}"
    return Finding(
        "space",
        found
        if enough
        else f"{found}, {NEEDED_SPACE >> 30} GiB are needed for a first run; name another with --cache-dir",
        "good" if enough else "note",
    )


def _cache(cache: Path) -> Finding:
    entries = Cache(cache).entries()
    size = sum(entry.size for entry in entries) / 2**20
    return Finding(
        "cache", f"{len(entries)} entries, {size:.0f} MiB, in {cache}" if entries else f"empty, in {cache}", "good"
    )


def _mmdebstrap() -> Finding:
    program = shutil.which("mmdebstrap")
    if program:
        return Finding("mmdebstrap", program, "good")
    if os.geteuid() == 0 and shutil.which("apt-get"):
        return Finding("mmdebstrap", "not there; the first run installs it with apt-get", "note")
    return Finding("mmdebstrap", "expected it in PATH, found none; install the package mmdebstrap", "bad")


def _qemu(settings: ProvisionSettings) -> Finding:
    program = shutil.which(settings.qemu or toolchain.QEMU)
    if program is None and settings.qemu:
        return Finding("QEMU", f"expected {settings.qemu} to be a program, found none; mend --qemu", "bad")
    if program is None:
        return Finding("QEMU", "none in PATH; Debian's is fetched into the cache", "note")
    version = toolchain.version((program,))
    if toolchain.has_device((program,)):
        return Finding("QEMU", f"{program} {version} has {toolchain.DEVICE}", "good")
    if settings.qemu:
        return Finding(
            "QEMU", f"expected {toolchain.DEVICE} in {program}, found {version} without it; mend --qemu", "bad"
        )
    return Finding(
        "QEMU", f"{program} {version} has no {toolchain.DEVICE} (10.1 has); Debian's is fetched into the cache", "note"
    )


def _kvm() -> Finding:
    path = Path("/dev/kvm")
    if not path.exists():
        return Finding("KVM", "no /dev/kvm: guests are emulated (TCG), which is slower", "note")
    if not os.access(path, os.R_OK | os.W_OK):
        return Finding("KVM", "/dev/kvm may not be opened: guests are emulated (TCG); join the group kvm", "note")
    return Finding(
        "KVM", "/dev/kvm opens; whether a guest runs on it, a run finds out (plugfest run --accel auto says so)", "note"
    )
