# SPDX-License-Identifier: GPL-2.0-or-later
"""KVM or TCG: decided by running a guest, because a /dev/kvm that opens may still run none.

Some clouds' nested virtualization creates a virtual machine, then stops it in instruction emulation ("KVM internal error"),
or lets it spin without a word. A few instructions of our own might well run where a kernel does not, so the proof is the
stock kernel itself: it must come through its whole start, to where it finds that there is no root file system.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from plugfest.errors import InfrastructureError, UsageError
from plugfest.machine.console import Console
from plugfest.machine.qemu import Machinery, Qemu
from plugfest.provision.artifact import Kernel, Toolchain
from plugfest.provision.progress import activity

Wanted = Literal["auto", "kvm", "tcg"]
WANTED: tuple[Wanted, ...] = ("auto", "kvm", "tcg")

SILENCE = 3.0
"""Seconds until the first word of the kernel: KVM takes a tenth of one, TCG half of one."""

LIMIT = 10.0
"""Seconds until the kernel has come through its start: KVM takes one, TCG three."""

LAPSE = 3600.0
"""Seconds for which it is taken for granted that KVM runs no guest: a host that was busy may have been too slow to show it."""

DEVICE = Path("/dev/kvm")
_ARGUMENTS = "console=ttyS0 panic=-1"
_PROVEN = re.compile(r"Unable to mount root fs|Run /\S+ as init process")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Acceleration:
    """The decision.

    Attributes:
        name: ``kvm`` or ``tcg``.
        reason: why, in one sentence.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class Proof:
    """Whether KVM runs a guest here.

    Attributes:
        works: it does.
        reason: how that showed.
        seconds: how long it took to find out.
    """

    works: bool
    reason: str
    seconds: float


@dataclass(frozen=True)
class _Probe(Machinery):
    """The smallest machine that runs the stock kernel."""

    def machine(self) -> list[str]:
        return [
            *("-nodefaults", "-no-user-config", "-display", "none", "-action", "reboot=shutdown"),
            *("-accel", "kvm", "-cpu", "host", "-m", "256M", "-machine", "q35"),
            *("-kernel", str(self.kernel.image), "-append", _ARGUMENTS),
        ]


def choose(wanted: Wanted, toolchain: Toolchain, kernel: Kernel, *, cache: Path | None = None) -> Acceleration:
    """Decide between KVM and TCG.

    Args:
        wanted: ``auto`` takes KVM where it is proven to run a guest; ``kvm`` demands it; ``tcg`` asks nothing.
        toolchain: QEMU.
        kernel: a kernel that a guest would run.
        cache: folder in which the proof is kept, for as long as the host is not rebooted and QEMU and kernel are the same;
            that KVM runs nothing is kept for an hour.

    Raises:
        UsageError: `wanted` is none of the three.
        InfrastructureError: KVM was demanded, and does not run a guest here.
    """
    if wanted not in WANTED:
        raise UsageError(f"acceleration {wanted!r}: expected one of {', '.join(WANTED)}")
    if wanted == "tcg":
        return Acceleration("tcg", "TCG was asked for")
    proof = _remembered(toolchain, kernel, cache)
    if proof.works:
        return Acceleration("kvm", f"KVM runs a guest here: {proof.reason}")
    if wanted == "kvm":
        raise InfrastructureError(f"expected KVM to run a guest, found that {proof.reason}; use --accel tcg, or auto")
    return Acceleration("tcg", f"no KVM: {proof.reason}")


def prove(toolchain: Toolchain, kernel: Kernel, *, device: Path = DEVICE) -> Proof:
    """Find out by running the kernel; takes at most `LIMIT` seconds and a little."""
    begin = time.monotonic()

    def result(works: bool, reason: str) -> Proof:
        return Proof(works, reason, round(time.monotonic() - begin, 2))

    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return result(False, f"there is no {device}")
    except OSError as error:
        return result(False, f"{device} does not open ({error.strerror})")
    try:
        # No file is left behind, however this process ends; what the console said is in memory.
        qemu = Qemu(_Probe(toolchain, kernel), log=Path(os.devnull))
    except InfrastructureError as error:
        return result(False, f"QEMU does not start with it: {error}")
    try:
        return result(*_observe(qemu, begin))
    finally:
        qemu.quit()


def _observe(qemu: Qemu, begin: float) -> tuple[bool, str]:
    console: Console = qemu.console
    while True:
        lines = console.lines_since(0)
        if any(_PROVEN.search(line) for line in lines):
            return True, f"the kernel came through its start in {time.monotonic() - begin:.1f} s"
        stopped = _stopped(qemu)
        if stopped is not None:
            return False, stopped
        waited = time.monotonic() - begin
        if not lines and waited > SILENCE:
            return False, f"a guest starts but says nothing for {SILENCE:.0f} s: the kernel does not run"
        if waited > LIMIT:
            return (
                False,
                f"a guest's kernel does not come through its start in {LIMIT:.0f} s; it last said: {console.tail(1)}",
            )
        console.wait_for_change(0.1)


def _stopped(qemu: Qemu) -> str | None:
    """Tell why the guest no longer runs; None while it does."""
    if not qemu.alive():
        said = [line for line in qemu.said().splitlines() if re.search(r"KVM|kvm|hardware error|entry failed", line)]
        return f"QEMU ends with it: {said[0].strip() if said else qemu.epitaph()}"
    with suppress(InfrastructureError):
        status = str(qemu.qmp.execute("query-status", timeout=2.0)["status"])
        if status in ("internal-error", "guest-panicked", "io-error", "shutdown"):
            said = [line for line in qemu.said().splitlines() if "KVM" in line or "error" in line]
            return f"it stops the guest ({status}): {said[0].strip() if said else 'no reason given'}"
    return None


def _remembered(toolchain: Toolchain, kernel: Kernel, cache: Path | None) -> Proof:
    """Prove, or take the proof of an earlier run since the host was booted."""
    if cache is None:
        return prove(toolchain, kernel)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        file = (cache / "acceleration.json").open("a+")
    except OSError as error:
        raise InfrastructureError(
            f"expected to write to {cache}, found: {error.strerror}; set XDG_CACHE_HOME"
        ) from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        circumstances = {
            "boot": _BOOT_ID.read_text().strip(),
            "qemu": toolchain.digest,
            "kernel": kernel.digest,
            "device": _access(),
        }
        file.seek(0)
        with suppress(ValueError, KeyError, TypeError):
            stored = json.loads(file.read())
            kept = Proof(**stored["proof"])
            if {name: stored[name] for name in circumstances} == circumstances and (
                kept.works or 0 <= time.time() - stored["at"] < LAPSE
            ):
                return kept
        with activity("finding out whether KVM runs a guest here"):
            proof = prove(toolchain, kernel)
        file.seek(0)
        file.truncate()
        json.dump({**circumstances, "at": time.time(), "proof": asdict(proof)}, file)
        return proof


def _access() -> str:
    """Tell what an earlier proof presumed of /dev/kvm: the same user may be let in later."""
    if not DEVICE.exists():
        return "absent"
    return "open" if os.access(DEVICE, os.R_OK | os.W_OK) else "closed"
