# SPDX-License-Identifier: GPL-2.0-or-later
"""Turns the command line into the plan of a run."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from plugfest import __version__
from plugfest.choice import advice
from plugfest.errors import UsageError
from plugfest.faults import is_models, of_models
from plugfest.machine import acceleration
from plugfest.provision.artifact import GuestRoot
from plugfest.provision.debian import mirror
from plugfest.provision.kernel import check_kernel, ensure_kernel
from plugfest.provision.modules import NEEDED_TO_BOOT, base_name, module_info
from plugfest.provision.progress import print_line
from plugfest.provision.root import ensure_root
from plugfest.provision.settings import ProvisionSettings, default_cache
from plugfest.provision.toolchain import ensure_toolchain
from plugfest.requirements import drivers as registry
from plugfest.run import sandbox, testbed
from plugfest.run.plan import Plan, RunPlan


@dataclass(frozen=True)
class GuestOptions:
    """The options of every command that boots a guest; see `plugfest.cli.options.guest_options`."""

    kernel: str
    accel: acceleration.Choice
    profile: str | None
    modules: tuple[Path, ...]
    cpus: int
    memory: int
    fresh: bool
    faults: tuple[str, ...]
    dry_run: bool
    cache_dir: Path | None
    mirror: str | None
    qemu: str | None


def settings(cache_dir: Path | None, mirror: str | None, qemu: str | None) -> ProvisionSettings:
    """Return the settings for provisioning."""
    return ProvisionSettings(cache=cache_dir.absolute() if cache_dir else default_cache(), mirror=mirror, qemu=qemu)


def plan(name: str, options: GuestOptions, output: Path, root: GuestRoot | None = None) -> RunPlan:
    """Check the arguments, then provision what the run needs.

    Args:
        name: of the driver.
        options: of the guest.
        output: folder for the reports.
        root: of the guest; None for the one that every guest has.

    Raises:
        UsageError: unknown driver, profile, kernel or fault point, a module that is not a ``.ko`` file, a mirror that is not a URL.
        InfrastructureError: something cannot be fetched, built or run.
    """
    driver = registry.find(name)
    profile = registry.check_profile(driver, options.profile)
    modules = tuple(_module(path) for path in options.modules)
    _check_faults(driver, options.faults)
    wanted = settings(options.cache_dir, options.mirror, options.qemu)
    # Report problems of the arguments and of this machine before the first download, which takes minutes.
    check_kernel(options.kernel)
    if wanted.mirror:
        mirror(wanted)
    if not options.dry_run:
        sandbox.check_host()
    toolchain = ensure_toolchain(wanted)
    chosen_root = ensure_root(wanted) if root is None else root
    kernel = ensure_kernel(wanted, options.kernel)
    _note_other_kernels(modules, kernel.release)
    chosen = acceleration.choose(options.accel, toolchain, kernel, cache=wanted.cache)
    return RunPlan(
        driver=driver.name,
        profile=profile,
        toolchain=toolchain,
        root=chosen_root,
        kernel=kernel,
        acceleration=chosen.name,
        acceleration_reason=chosen.reason,
        output=output,
        scratch=wanted.cache / "run",
        snapshots=None if options.fresh else wanted.cache / "snapshots",
        extra_modules=modules,
        faults=options.faults,
        cpus=options.cpus,
        memory=options.memory,
        durations=wanted.cache / "durations" / _durations(driver.name, profile, kernel.release, chosen.name),
    )


def _durations(driver: str, profile: str | None, release: str, acceleration: str) -> str:
    """Return the name of the file with the seconds of each test: what they depend on most."""
    return "-".join(word for word in (driver, profile, release, acceleration) if word) + ".json"


def _module(path: Path) -> Path:
    if not path.is_file() or path.suffix != ".ko":
        found = "no such file" if not path.exists() else "something else"
        raise UsageError(
            f"--module {path}: expected a kernel module (.ko), found {found}; build it against the kernel of --kernel"
        )
    try:
        module_info(path.read_bytes())
    except ValueError as error:
        raise UsageError(
            f"--module {path}: expected a kernel module (.ko), found {error}; build it against the kernel of --kernel"
        ) from error
    if base_name(path.name) in NEEDED_TO_BOOT:
        raise UsageError(
            f"--module {path}: expected a module that a guest boots without, found one that it has loaded by then; "
            "build a kernel with it, and name its tree with --kernel"
        )
    return path.resolve()


def _note_other_kernels(modules: Sequence[Path], release: str) -> None:
    """Say which modules were built for another kernel: this one may still take them, if it checks each symbol's version."""
    for path in modules:
        built_for = module_info(path.read_bytes()).get("vermagic", "").partition(" ")[0]
        if built_for and built_for != release:
            print_line(
                f"note: {path.name} was built for Linux {built_for}, and the guest runs {release}: it may refuse it"
            )


def _check_faults(driver: registry.Driver, faults: Sequence[str]) -> None:
    for name in filter(is_models, faults):
        if not isinstance(driver.subject, registry.ModelSubject):
            raise UsageError(
                f"--fault {name}: expected a driver that runs on a model, found that {driver.name} runs on "
                f"{driver.subject}; omit it"
            )
        known = of_models(driver.subject.model)
        if name not in known:
            hint = advice(name, known, "`python -m nicmodels list --faults` lists them")
            raise UsageError(
                f"--fault {name}: expected a fault point of the model {driver.subject.model}, found none; {hint}"
            )


def provenance(plan: RunPlan, pytest_arguments: Sequence[str]) -> dict[str, object]:
    """Return the fields of the journal's ``run`` event."""
    driver = registry.find(plan.driver)
    subject = driver.subject
    is_model = isinstance(subject, registry.ModelSubject)
    assert not isinstance(subject, registry.HardwareSubject), "a plan of guests has a device of theirs"
    return {
        "driver": driver.name,
        "module": driver.module,
        "subject": {
            "kind": "model" if is_model else "qemu",
            "name": subject.model if isinstance(subject, registry.ModelSubject) else subject.device,
            "profile": plan.profile,
            "text": f"plugfest's model of {subject.model} ({plan.profile})"
            if isinstance(subject, registry.ModelSubject)
            else str(subject),
        },
        "kernel": {"spec": plan.kernel.spec, "release": plan.kernel.release},
        "accel": {"name": plan.acceleration, "reason": plan.acceleration_reason},
        "versions": {
            "plugfest": __version__,
            "qemu": plan.toolchain.version,
            "python": platform.python_version(),
            "host": os.uname().release,
        },
        "guest": {"cpus": plan.cpus, "memory": plan.memory},
        "options": options_of(plan, pytest_arguments),
        "testbed": testbed.describe(plan),
    }


def options_of(plan: Plan, pytest_arguments: Sequence[str]) -> dict[str, object]:
    """Return the field ``options`` of the journal's ``run`` event."""
    return {
        "falsify": plan.falsify,
        "strict_known": plan.strict_known,
        "confirm": plan.confirm,
        "strict_waits": plan.strict_waits,
        "faults": list(plan.faults),
        "modules": [str(path) for path in plan.extra_modules],
        "series": list(plan.series),
        "pytest": [*shlex.split(os.environ.get("PYTEST_ADDOPTS", "")), *pytest_arguments],
        "guests": plan.guests,
        "seed": plan.seed,
        "load": plan.loaded,
        "areas": list(plan.areas),
        "slow": plan.slow,
    }
