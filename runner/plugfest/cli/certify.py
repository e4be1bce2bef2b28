# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest certify``: three shuffled runs that agree, in a bundle that the vendor signs."""

from __future__ import annotations

import dataclasses
import os
import secrets
import sys
from pathlib import Path
from typing import Any

import click

from plugfest.certify import bundle
from plugfest.certify.archive import BundleError
from plugfest.certify.certificate import RUNS
from plugfest.certify.key import PublicKey, signing_key
from plugfest.certify.verification import verify
from plugfest.cli.dry_run import print_commands
from plugfest.cli.execute import default_output
from plugfest.cli.options import guest_options, option
from plugfest.cli.prepare import GuestOptions, plan, settings
from plugfest.cli.repeat import repeat
from plugfest.cli.terminal import terminal
from plugfest.cli.verify import show
from plugfest.errors import InfrastructureError, UsageError
from plugfest.plugin import suite
from plugfest.requirements import drivers as registry
from plugfest.run.capacity import choose_guests
from plugfest.run.plan import RunPlan

_OF_A_BUNDLE = ("driver", "out", "key", "results")
"""The parameters that do not say how to run the suite."""


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
    help="Do not run the suite: take the three runs in this folder. Goes with --out and --key alone.",
)
@option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the reports of the runs.  [default: results/DRIVER-KERNEL-TIME; results/latest links to it]",
)
@option("--area", "areas", multiple=True, help="Certify only this area of the suite; may be repeated.")
@option("--slow", is_flag=True, help="Also run the tests that take minutes each.")
@option(
    "--guests",
    type=click.IntRange(min=1),
    help="How many guests run tests side by side.  [default: what cores and memory allow, 4 on a small host]",
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
    guests: int | None,
    **rest: Any,
) -> int:
    """Run the suite on DRIVER three times, each in another random order, and sign what it found.

    Refuses where the three disagree. plugfest verify checks the bundle. The exit status is 0 if its result is not FAILED; if no
    bundle can be made, the runs stay, and --results takes them.
    """
    options = GuestOptions(**rest)
    if options.faults:
        raise UsageError("--fault: expected none, a driver on a broken device certifies nothing; use plugfest run")
    registry.find(driver)
    if results is not None:
        _check_only_results()
    signer = None
    if not options.dry_run:
        _check_target(out)
        # Before the runs, which take long.
        signer = signing_key(key, lambda: _passphrase(key))
    if results is None:
        ready, arguments = _plan(driver, options, output, areas, slow=slow, guests=guests)
        if signer is None:
            print_commands(ready)
            return 0
        results = ready.output
        status = repeat(ready, arguments, (), terminal(), count=RUNS, load=0)
        if status not in (0, 1):  # interrupted, or this machine lacks something
            return status
    elif signer is None:
        raise UsageError("--dry-run with --results: expected one of them; there is nothing to run")
    try:
        made = bundle.make(results, out, signer, driver=driver)
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
    *,
    slow: bool,
    guests: int | None,
) -> tuple[RunPlan, list[str]]:
    """Return the plan of the first run, and pytest's arguments."""
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
        seed=secrets.randbelow(1_000_000),
        areas=areas,
        slow=slow,
    )
    return (default_output(ready) if output is None else ready), arguments


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
        raise BundleError(f"{error}; the bundle was removed: run the suite again") from error


def _passphrase(key: Path) -> str:
    if not sys.stdin.isatty():
        raise UsageError(
            f"--key {key}: expected a terminal to ask for its passphrase, found none; use a terminal, or another key"
        )
    asked: str = click.prompt(f"passphrase of {key}", hide_input=True, err=True)
    return asked
