# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks whether this machine has what a run needs."""

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
from plugfest.run import run_delay, sandbox

NEEDED_SPACE = 4 << 30
"""Bytes for all images, one kernel and its snapshot, including space for building them."""


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        what: the name of what was checked.
        found: one line: what is there, or what is missing and what to do.
        grade: ``good``, ``note`` (a run works without it) or ``bad``.
    """

    what: str
    found: str
    grade: str


def examine(settings: ProvisionSettings) -> Iterator[Finding]:
    """Check everything that a run needs, without building or fetching anything."""
    yield Finding("Python", f"{platform.python_version()} ({sys.executable})", "good")
    yield _checked("suite", lambda: str(location.conformance_root()))
    yield _checked("recipes", lambda: str(location.recipes_root()))
    yield _checked("/dev/net/tun", _tun)
    yield _namespaces()
    yield _space(settings.cache)
    yield _cache(settings.cache)
    yield _checked("Debian mirror", lambda: debian.mirror(settings))
    yield _checked("Debian keys", lambda: str(debian.keyring()))
    yield _mmdebstrap()
    yield _qemu(settings)
    yield _kvm()
    yield _run_delay()


def _checked(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, look(), "good")
    except PlugfestError as error:
        return Finding(what, str(error), "bad")


def _tun() -> str:
    sandbox.check_host()
    return "can be opened"


def _namespaces() -> Finding:
    account = "root" if os.geteuid() == 0 else "an ordinary user, in a user namespace"
    try:
        outcome = sandbox.enter(lambda: 0, folder=Path(f"/tmp/plugfest-doctor-{os.getpid()}"), writable=[])  # noqa: S108 - removed below
    except PlugfestError as error:
        return Finding("namespaces", str(error), "bad")
    finally:
        shutil.rmtree(f"/tmp/plugfest-doctor-{os.getpid()}", ignore_errors=True)  # noqa: S108
    return Finding("namespaces", f"can be created as {account}", "good" if outcome.status == 0 else "bad")


def _space(cache: Path) -> Finding:
    there = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    enough = free >= NEEDED_SPACE
    found = f"{free / 2**30:.1f} GiB free in {there}"
    return Finding(
        "space",
        found
        if enough
        else f"{found}, but a first run needs {NEEDED_SPACE >> 30} GiB; choose another folder with --cache-dir",
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
        return Finding("mmdebstrap", "not installed; the first run installs it with apt-get", "note")
    return Finding("mmdebstrap", "expected it in PATH, found none; install the package mmdebstrap", "bad")


def _qemu(settings: ProvisionSettings) -> Finding:
    program = shutil.which(settings.qemu or toolchain.QEMU)
    if program is None and settings.qemu:
        return Finding("QEMU", f"expected {settings.qemu} to be a program, found none; correct --qemu", "bad")
    if program is None:
        return Finding("QEMU", "none in PATH; the first run fetches Debian's into the cache", "note")
    version = toolchain.version((program,))
    if toolchain.has_device((program,)):
        return Finding("QEMU", f"{program} {version} has {toolchain.DEVICE}", "good")
    if settings.qemu:
        return Finding(
            "QEMU",
            f"expected {toolchain.DEVICE} in {program}, found {version} without it; choose another QEMU with --qemu",
            "bad",
        )
    return Finding(
        "QEMU",
        f"{program} {version} has no {toolchain.DEVICE} (10.1 and later have); the first run fetches Debian's into the cache",
        "note",
    )


def _kvm() -> Finding:
    path = Path("/dev/kvm")
    if not path.exists():
        return Finding("KVM", "no /dev/kvm: guests run under TCG, which is slower", "note")
    if not os.access(path, os.R_OK | os.W_OK):
        return Finding(
            "KVM", "no permission to open /dev/kvm: guests run under TCG, which is slower; join the group kvm", "note"
        )
    return Finding(
        "KVM",
        "/dev/kvm can be opened; the first run checks whether it can run a guest (--accel auto) and reports the result",
        "note",
    )


def _run_delay() -> Finding:
    if run_delay.counted():
        return Finding("run delay", "counted by the kernel: deadlines are extended while the host is busy", "good")
    return Finding(
        "run delay",
        "not counted (no /proc/self/schedstat): deadlines do not follow a busy host; leave it idle during a run, or boot a kernel "
        "with CONFIG_SCHEDSTATS",
        "note",
    )
