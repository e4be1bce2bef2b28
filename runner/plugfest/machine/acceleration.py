# SPDX-License-Identifier: GPL-2.0-or-later
"""Chooses KVM or TCG by running a guest, because a /dev/kvm that can be opened may still be unable to run one.

With the nested virtualization of some clouds, KVM creates a virtual machine, but then stops it in instruction emulation ("KVM
internal error") or lets it spin without output. A small test program might run where a kernel does not, so the probe boots the stock
kernel: it must get as far as reporting that there is no root file system.
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
from plugfest.machine.qemu import MachineConfig, Qemu
from plugfest.provision.artifact import Kernel, Toolchain
from plugfest.provision.progress import activity

Choice = Literal["auto", "kvm", "tcg"]
CHOICES: tuple[Choice, ...] = ("auto", "kvm", "tcg")

OUTPUT_TIMEOUT = 3.0
"""Seconds until the kernel's first output: KVM takes 0.1 s, TCG 0.5 s."""

START_TIMEOUT = 10.0
"""Seconds until the kernel has started: KVM takes 1 s, TCG 3 s."""

FAILURE_LIFETIME = 3600.0
"""Seconds for which a failed probe is cached: it may have failed because the host was busy."""

DEVICE = Path("/dev/kvm")
_ARGUMENTS = "console=ttyS0 panic=-1"
_STARTED = re.compile(r"Unable to mount root fs|Run /\S+ as init process")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Acceleration:
    """The chosen accelerator.

    Attributes:
        name: ``kvm`` or ``tcg``.
        reason: why it was chosen, in one sentence.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class KvmProbe:
    """Whether KVM runs a guest on this host.

    Attributes:
        works: whether it does.
        reason: what the probe found.
        seconds: duration of the probe.
    """

    works: bool
    reason: str
    seconds: float


@dataclass(frozen=True)
class _ProbeMachine(MachineConfig):
    """The smallest machine that runs the stock kernel."""

    def machine(self) -> list[str]:
        return [
            *("-nodefaults", "-no-user-config", "-display", "none", "-action", "reboot=shutdown"),
            *("-accel", "kvm", "-cpu", "host", "-m", "256M", "-machine", "q35"),
            *("-kernel", str(self.kernel.image), "-append", _ARGUMENTS),
        ]


def choose(wanted: Choice, toolchain: Toolchain, kernel: Kernel, *, cache: Path | None = None) -> Acceleration:
    """Choose KVM or TCG.

    Args:
        wanted: ``auto`` chooses KVM if it runs a guest; ``kvm`` requires that; ``tcg`` does not probe KVM.
        toolchain: QEMU.
        kernel: the kernel to probe with.
        cache: folder in which to cache the result, until the host reboots or QEMU or kernel change; a failed probe is cached for
            an hour.

    Raises:
        UsageError: `wanted` is none of the three.
        InfrastructureError: `wanted` is ``kvm``, and KVM does not run a guest on this host.
    """
    if wanted not in CHOICES:
        raise UsageError(f"acceleration {wanted!r}: expected one of {', '.join(CHOICES)}")
    if wanted == "tcg":
        return Acceleration("tcg", "TCG was requested")
    result = _cached_probe(toolchain, kernel, cache)
    if result.works:
        return Acceleration("kvm", f"KVM runs a guest on this host: {result.reason}")
    if wanted == "kvm":
        raise InfrastructureError(f"expected KVM to run a guest, found that {result.reason}; use --accel tcg, or auto")
    return Acceleration("tcg", f"no KVM: {result.reason}")


def probe(toolchain: Toolchain, kernel: Kernel, *, device: Path = DEVICE) -> KvmProbe:
    """Run the kernel under KVM; takes little more than `START_TIMEOUT` seconds at most."""
    begin = time.monotonic()

    def result(works: bool, reason: str) -> KvmProbe:
        return KvmProbe(works, reason, round(time.monotonic() - begin, 2))

    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return result(False, f"there is no {device}")
    except OSError as error:
        return result(False, f"{device} cannot be opened ({error.strerror})")
    try:
        # Log to /dev/null, so that no file is left behind, however this process ends; the console keeps its lines in memory.
        qemu = Qemu(_ProbeMachine(toolchain, kernel), log=Path(os.devnull))
    except InfrastructureError as error:
        return result(False, f"QEMU does not start with KVM: {error}")
    try:
        return result(*_observe(qemu, begin))
    finally:
        qemu.quit()


def _observe(qemu: Qemu, begin: float) -> tuple[bool, str]:
    console: Console = qemu.console
    while True:
        lines = console.lines_since(0)
        if any(_STARTED.search(line) for line in lines):
            return True, f"the kernel started in {time.monotonic() - begin:.1f} s"
        stopped = _stopped(qemu)
        if stopped is not None:
            return False, stopped
        waited = time.monotonic() - begin
        if not lines and waited > OUTPUT_TIMEOUT:
            return False, f"the guest's kernel had no output for {OUTPUT_TIMEOUT:.0f} s"
        if waited > START_TIMEOUT:
            return (
                False,
                f"the guest's kernel did not start within {START_TIMEOUT:.0f} s; its last output: {console.tail(1)}",
            )
        console.wait_for_change(0.1)


def _stopped(qemu: Qemu) -> str | None:
    """Return why the guest stopped; None while it is running."""
    if not qemu.alive():
        output = [
            line for line in qemu.output().splitlines() if re.search(r"KVM|kvm|hardware error|entry failed", line)
        ]
        return f"QEMU ended under KVM: {output[0].strip() if output else qemu.exit_reason()}"
    with suppress(InfrastructureError):
        status = str(qemu.qmp.execute("query-status", timeout=2.0)["status"])
        if status in ("internal-error", "guest-panicked", "io-error", "shutdown"):
            output = [line for line in qemu.output().splitlines() if "KVM" in line or "error" in line]
            return f"KVM stopped the guest ({status}): {output[0].strip() if output else 'no reason given'}"
    return None


def _cached_probe(toolchain: Toolchain, kernel: Kernel, cache: Path | None) -> KvmProbe:
    """Return the cached result of an earlier run, or probe KVM and cache the result."""
    if cache is None:
        return probe(toolchain, kernel)
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
            "device": _device_access(),
        }
        file.seek(0)
        with suppress(ValueError, KeyError, TypeError):
            stored = json.loads(file.read())
            cached = KvmProbe(**stored["probe"])
            if {name: stored[name] for name in circumstances} == circumstances and (
                cached.works or 0 <= time.time() - stored["at"] < FAILURE_LIFETIME
            ):
                return cached
        with activity("checking whether KVM runs a guest on this host"):
            result = probe(toolchain, kernel)
        file.seek(0)
        file.truncate()
        json.dump({**circumstances, "at": time.time(), "probe": asdict(result)}, file)
        return result


def _device_access() -> str:
    """Return whether this user can open /dev/kvm; part of the conditions under which a result is valid."""
    if not DEVICE.exists():
        return "absent"
    return "open" if os.access(DEVICE, os.R_OK | os.W_OK) else "closed"
