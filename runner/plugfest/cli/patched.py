# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest run --patch``: a run of the driver with series of patches, without one before."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from plugfest.build.confinement import Limits
from plugfest.build.errors import BuildError
from plugfest.cli.failure import print_error
from plugfest.cli.prepare import GuestOptions
from plugfest.errors import UsageError
from plugfest.patch import queue
from plugfest.patch.driver import Source, Workshop, check_driver
from plugfest.patch.queue import Series
from plugfest.provision.build_root import check_channel, ensure_build_root, ensure_driver_source
from plugfest.provision.settings import ProvisionSettings
from plugfest.requirements import drivers as registry
from plugfest.run.plan import RunPlan

MODULE = "module"
"""In the output folder: the module, with the output of git and make."""
_ALONE = "alone"


def check_patches(paths: Sequence[Path], driver: registry.Driver, options: GuestOptions) -> tuple[Series, ...]:
    """Check that patches go together with the other arguments, and read them.

    Raises:
        UsageError: they do not, or cannot be read.
    """
    if not paths:
        return ()
    check_driver(driver)
    check_channel(options.kernel)
    for given, what in ((options.modules, "--module"), (options.dry_run, "--dry-run")):
        if given:
            raise UsageError(f"{what} with --patch: expected one of them; leave out one of the two")
    series = tuple(map(queue.read, paths))
    names = [each.name for each in series]
    if len(set(names)) < len(names):
        raise UsageError(f"--patch: expected series with different names, found {', '.join(names)}; rename one")
    return series


def patched(
    ready: RunPlan, series: Sequence[Series], settings: ProvisionSettings, *, limits: Limits, together: bool
) -> RunPlan:
    """Return a run's plan with the driver built with patches, of Debian's source of the run's kernel.

    Args:
        ready: the plan.
        series: to apply, in this order.
        settings: cache and mirror.
        limits: of each build.
        together: leave out, with a line, each series that does not build alone, or does not apply on top of the others.

    Raises:
        BuildError: they do not apply or build; of those that do fewer than two are left, if that is wanted.
        InfrastructureError: nothing can be built here.
    """
    driver = registry.find(ready.driver)
    root = ensure_build_root(settings, ready.kernel)
    source = Source.of_channel(driver, ensure_driver_source(settings, ready.kernel, root))
    workshop = Workshop(settings, root, limits)
    output = ready.output / MODULE
    _, start = workshop.base(driver, source, output / "before")
    if not together:
        module, _ = workshop.build(driver, source, output, series, start)
    else:
        left = []
        for each in series:
            try:
                workshop.build(driver, source, output / _ALONE / each.name, (each,), start)
            except BuildError as error:
                print_error(str(error), error.exit_status)
            else:
                left.append(each)
        module, _, found = workshop.build_together(driver, source, output, left, start)
        for refusal in found.refusals:
            print_error(str(refusal), refusal.exit_status)
        series = found.series
    return dataclasses.replace(
        ready, extra_modules=(module,), in_tree=source.of_kernel, series=tuple(each.name for each in series)
    )
