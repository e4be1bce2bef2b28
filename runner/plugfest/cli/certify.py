# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest certify``: three shuffled runs that agree, of the suite and of upstream's tests, in a bundle that the vendor signs."""

from __future__ import annotations

import dataclasses
import functools
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from plugfest.certify import bundle
from plugfest.certify.archive import BundleError
from plugfest.certify.group import RUNS, Kind
from plugfest.certify.key import PublicKey, signing_key
from plugfest.certify.verification import verify
from plugfest.cli.dry_run import print_commands
from plugfest.cli.execute import Ended, check_unused, default_output, execute, make_latest
from plugfest.cli.options import guest_options, option
from plugfest.cli.prepare import GuestOptions, plan, provenance, settings
from plugfest.cli.repeat import any_seed, repeat
from plugfest.cli.terminal import terminal
from plugfest.cli.upstream import Upstream
from plugfest.cli.verify import show
from plugfest.errors import InfrastructureError, UsageError
from plugfest.plugin import suite
from plugfest.provision.kernel import ensure_kernel
from plugfest.requirements import drivers as registry
from plugfest.run.capacity import choose_guests
from plugfest.run.plan import RunPlan
from plugfest.selftests.image import ensure_image
from plugfest.selftests.selftest import MissingTestsError, ensure_tests

_OF_A_BUNDLE = ("driver", "out", "key", "results", "no_selftests")
"""The parameters that do not only say how to run the tests."""


@dataclasses.dataclass(frozen=True)
class _Runs:
    """What is run, ready to run.

    Attributes:
        suite: the plan of the suite's first run.
        arguments: pytest's.
        upstream: upstream's tests, and the plan of their first run; None if there are none.
        without: why there are none; None if there are some.
    """

    suite: RunPlan
    arguments: Sequence[str]
    upstream: tuple[Upstream, RunPlan] | None
    without: str | None


@click.command()
@click.argument("driver")
@option("--out", required=True, type=click.Path(path_type=Path), help="File for the bundle.")
@option(
    "--key",
    required=True,
    type=click.Path(path_type=Path),
    help="Your Ed25519 private key, in PEM or as ssh-keygen writes it. It is read, and never stored.",
)
@option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False),
    help="Run nothing: take the three runs of the suite in this folder, and those of upstream's tests in its folder selftests. "
    "Goes with --out, --key and --no-selftests alone.",
)
@option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the reports of the runs.  [default: results/DRIVER-KERNEL-TIME; results/latest links to it]",
)
@option("--area", "areas", multiple=True, help="Certify only this area of the suite; may be repeated.")
@option("--slow", is_flag=True, help="Also run the tests of the suite that take minutes each.")
@option(
    "--selftest",
    "names",
    multiple=True,
    metavar="TEST",
    help="Of upstream's tests run only this one, a name as plugfest selftests takes it; may be repeated.",
)
@option(
    "--no-selftests", is_flag=True, help="Leave upstream's tests out, with --results the runs of them that there are."
)
@option(
    "--guests",
    type=click.IntRange(min=1),
    help="How many guests run tests of the suite side by side.  [default: what cores and memory allow, 4 on a small host]",
)
@guest_options
def certify(
    driver: str,
    out: Path,
    key: Path,
    results: Path | None,
    output: Path | None,
    areas: tuple[str, ...],
    slow: bool,
    names: tuple[str, ...],
    no_selftests: bool,
    guests: int | None,
    **rest: Any,
) -> int:
    """Run the suite on DRIVER three times, then upstream's tests three times, each in another random order, and sign what they found.

    Refuses where the three of one kind disagree. --area and --selftest each restrict one kind. Of a kernel whose source has none of
    upstream's tests, the bundle states so. plugfest verify checks the bundle. The exit status is 0 if its result is not FAILED; if no
    bundle can be made, the runs stay, and --results takes them.
    """
    options = GuestOptions(**rest)
    if options.faults:
        raise UsageError("--fault: expected none, a driver on a broken device certifies nothing; use plugfest run")
    registry.find(driver)
    if names and no_selftests:
        raise UsageError("--selftest with --no-selftests: expected one of them; leave out one of the two")
    if results is not None:
        _check_only_results()
    signer = None
    if not options.dry_run:
        _check_target(out)
        # Before the runs, which take long.
        signer = signing_key(key, lambda: _passphrase(key))
    if results is None:
        runs = _plan(driver, options, output, areas, names, slow=slow, guests=guests, no_selftests=no_selftests)
        if signer is None:
            print_commands(runs.suite)
            if runs.upstream is not None:
                print_commands(runs.upstream[1])
            return 0
        results, no_selftests = runs.suite.output, runs.upstream is None
        status = _run(runs, terminal())
        if status not in (0, 1):  # interrupted, or this machine lacks something
            return status
    elif signer is None:
        raise UsageError("--dry-run with --results: expected one of them; there is nothing to run")
    try:
        made = bundle.make(results, out, signer, driver=driver, selftests=not no_selftests)
        _check_made(out, signer.public)
    except OSError as error:
        raise InfrastructureError(
            f"{error.filename or out}: expected to make the bundle, found: {error.strerror}; "
            f"then: plugfest certify {driver} --results {results} --out … --key …"
        ) from error
    console = terminal()
    console.print()
    show(made, console)
    console.print(f"{out}: signed by {signer.public.fingerprint}", markup=False, soft_wrap=True)
    return 1 if made.failed else 0


def _plan(
    driver: str,
    options: GuestOptions,
    output: Path | None,
    areas: tuple[str, ...],
    names: tuple[str, ...],
    *,
    slow: bool,
    guests: int | None,
    no_selftests: bool,
) -> _Runs:
    """Check and provision all that the runs need, so that none of them ends for want of it."""
    # It may leave tests out, and is not the suite's.
    os.environ.pop("PYTEST_ADDOPTS", None)
    chosen = registry.find(driver)
    wanted = suite.check_areas(areas) if areas else [area for area in suite.areas() if area in chosen.areas]
    arguments = suite.pytest_arguments(wanted, (), slow=slow)
    guests = choose_guests(guests, options.memory)
    cache = settings(options.cache_dir, options.mirror, options.qemu).cache
    suite.check_selection(arguments, (), cache=cache)
    ready = dataclasses.replace(
        plan(driver, options, Path() if output is None else output.absolute()),
        guests=guests,
        seed=any_seed(),
        areas=areas,
        slow=slow,
    )
    if output is None:
        ready = default_output(ready)
    folder = ready.output / Kind.SELFTESTS.folder
    if not options.dry_run:
        check_unused(ready.output)
        check_unused(folder)
    without, upstream = "--no-selftests", None
    if not no_selftests:
        try:
            upstream = _upstream(driver, options, names, folder)
        except MissingTestsError as error:
            if names:
                raise
            without = f"expected {error.wanted}, found {error.found}"
    return _Runs(ready, arguments, upstream, without if upstream is None else None)


def _upstream(driver: str, options: GuestOptions, names: tuple[str, ...], output: Path) -> tuple[Upstream, RunPlan]:
    """Return upstream's tests and the plan of their first run.

    Raises:
        MissingTestsError: the kernel has none.
        UsageError: one of the names is that of no test, or of no case of one.
        InfrastructureError: they cannot be fetched or built.
    """
    provision = settings(options.cache_dir, options.mirror, options.qemu)
    try:
        tests = ensure_tests(provision, ensure_kernel(provision, options.kernel))
        upstream = Upstream(tests, names, provision)
        upstream.selected()
        root = ensure_image(provision, tests)
    except InfrastructureError as error:
        raise InfrastructureError(f"{error}; --no-selftests leaves upstream's tests out") from error
    return upstream, dataclasses.replace(plan(driver, options, output, root), guests=1, seed=any_seed())


def _run(runs: _Runs, console: Console) -> int:
    """Make the runs; upstream's tests only if those of the suite agree.

    Returns:
        The exit status of what ended them, or 0 or 1.

    Raises:
        BundleError: those of the suite certify nothing.
    """
    make_latest(runs.suite.output)
    if runs.without is not None:
        console.print(f"without upstream's tests: {runs.without}", markup=False, soft_wrap=True)
    run_suite = functools.partial(_run_suite, arguments=runs.arguments, without=runs.without)
    status = repeat(runs.suite, run_suite, console, count=RUNS)
    if status not in (0, 1) or runs.upstream is None:
        return status
    bundle.read(runs.suite.output, runs.suite.driver, selftests=False)
    upstream, ready = runs.upstream
    console.print("\nupstream's tests", style="bold")
    return repeat(ready, upstream.execute, console, count=RUNS)


def _run_suite(ready: RunPlan, console: Console, *, arguments: Sequence[str], without: str | None) -> Ended:
    return execute(ready, console, arguments, (), functools.partial(_described, ready, without))


def _described(ready: RunPlan, without: str | None) -> Mapping[str, object]:
    """Return the fields of the journal's ``run`` event, with why there are none of upstream's tests."""
    found: dict[str, Any] = provenance(ready, ())
    if without is not None:
        found["options"]["without_selftests"] = without
    return found


def _check_only_results() -> None:
    """Check that no option of a run was given beside ``--results``; a variable of the environment may be for other commands.

    Raises:
        UsageError: one was.
    """
    context = click.get_current_context()
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if given and name not in _OF_A_BUNDLE:
            raise UsageError(
                f"{parameter.opts[0]} with --results: expected one of them, the runs have been made; leave out {parameter.opts[0]}"
            )


def _check_target(out: Path) -> None:
    """Check that the bundle can be written.

    Raises:
        UsageError: it cannot.
    """
    if out.exists() or out.is_symlink():
        raise UsageError(f"--out {out}: expected a new file, found one; choose another")
    if not out.absolute().parent.is_dir():
        raise UsageError(f"--out {out}: expected a folder to write to, found none; make {out.absolute().parent}")


def _check_made(out: Path, key: PublicKey) -> None:
    """Verify the bundle as whoever gets it will, and remove it if it is not sound: a file that a report names may be gone.

    Raises:
        BundleError: it is not.
    """
    try:
        verify(out, key)
    except BundleError as error:
        out.unlink()
        raise BundleError(f"{error}; the bundle was removed: make the runs of that kind again") from error


def _passphrase(key: Path) -> str:
    if not sys.stdin.isatty():
        raise UsageError(
            f"--key {key}: expected a terminal to ask for its passphrase, found none; use a terminal, or another key"
        )
    asked: str = click.prompt(f"passphrase of {key}", hide_input=True, err=True)
    return asked
