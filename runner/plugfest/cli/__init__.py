# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from plugfest import __version__
from plugfest.cli import (
    bisect,
    build,
    cache,
    certify,
    compare,
    convert,
    doctor,
    findings,
    history,
    images,
    listing,
    matrix,
    nightly,
    patch,
    report,
    run,
    selftests,
    shell,
    site,
    verify,
)
from plugfest.cli.failure import catch_errors

EXIT_STATUSES = """\b
Exit status:
  0    every verdict is pass, skip, xfail or quarantined (with --falsify: every fault was detected)
  1    a test has the verdict fail, error, crash, timeout, unstable, blocked or miss; of compare, history changes and nightly: a test
       broke; of certify and verify: a certificate says so, or is refused; of build and patch: a source or series is refused
  2    the command line is wrong
  3    this machine or the network lacks something that a run needs; of matrix and nightly: a job has no result
  130  interrupted (SIGINT); 143 by SIGTERM"""


@click.group(
    epilog=EXIT_STATUSES,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 110,
    },
)
@click.version_option(__version__, prog_name="plugfest")
def commands() -> None:
    """Checks whether a NIC driver does what it claims, without hardware.

    plugfest run ixgbe tests Linux's ixgbe on an emulated 82599 and writes reports to results/latest.
    """


for _command in (
    run.run,
    selftests.selftests,
    build.build,
    patch.patch,
    bisect.bisect,
    shell.shell,
    listing.drivers,
    listing.models,
    listing.requirements,
    images.images,
    cache.cache,
    doctor.doctor,
    report.report,
    certify.certify,
    verify.verify,
    findings.findings,
    compare.compare,
    convert.convert,
    history.history,
    site.site,
    matrix.matrix,
    nightly.nightly,
):
    commands.add_command(_command)


def status_of(arguments: Sequence[str]) -> int:
    """Run a command and return its exit status.

    Args:
        arguments: without the program's name.
    """
    return catch_errors(lambda: commands.main(list(arguments), prog_name="plugfest", standalone_mode=False))


def main() -> None:
    """Entry point of the program ``plugfest``."""
    sys.exit(status_of(sys.argv[1:]))
