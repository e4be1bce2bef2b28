# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest verify``: whether a bundle is what was signed, and follows from its journals."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from plugfest.certify.certificate import Certificate
from plugfest.certify.group import WARNED, Kind
from plugfest.certify.key import trusted_key
from plugfest.certify.verification import verify as verify_bundle
from plugfest.cli.options import option
from plugfest.cli.terminal import terminal
from plugfest.report.text import printable
from plugfest.requirements.verdict import Verdict

_WORDS = {Kind.SUITE: ("requirements", "not claimed"), Kind.SELFTESTS: ("of upstream's tests", "skipped")}
"""What the console calls what a kind of runs has, and what of it was skipped."""


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@option(
    "--trust",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The public key whose signature is wanted, in PEM or as ssh-keygen writes it.  [default: anyone's]",
)
def verify(bundle: Path, trust: Path | None) -> int:
    """Verify a bundle of plugfest certify.

    Checks who signed it, each file's hash, that no file is missing or added, and that verdicts and reports follow from the journals. Names
    what is wrong. The exit status is 0 if the bundle is sound and its result is not FAILED.
    """
    found = verify_bundle(bundle, None if trust is None else trusted_key(trust))
    console = terminal()
    show(found.certificate, console)
    owner = f"the key of {trust}" if trust is not None else "whoever that is: --trust KEY says whose signature you want"
    console.print(f"signed by {found.key.fingerprint}, {owner}", markup=False, soft_wrap=True)
    made_again = (
        "what follows from the journals was made again: report.json, report.html, junit.xml and report.tap of each run, "
        "the manifest, the page and the statement"
        if found.same_program
        else "the verdicts and the statement follow from the journals; another plugfest made reports, manifest and page, "
        "which were compared by their hashes only"
    )
    console.print(f"{found.files} files, each as it was signed; {made_again}", soft_wrap=True)
    return 1 if found.certificate.failed else 0


def show(certificate: Certificate, console: Console) -> None:
    """Print what a bundle certifies."""
    manifest = certificate.manifest
    subject = f"{manifest['driver']['name']} on Linux {manifest['kernel']['release']}, {manifest['device']['text']}"
    style = {"PASSED": "bold green", "WARNED": "bold yellow", "FAILED": "bold red"}[certificate.result]
    console.print(printable(subject), style="bold", end=": ", markup=False, soft_wrap=True)
    console.print(certificate.result, style=style)
    for group in certificate.groups:
        what, skipped = _WORDS[group.kind]
        counts = (
            f"{len(group.requirements(Verdict.PASS))} passed",
            f"{len(group.requirements(*WARNED))} exceptions",
            f"{len(group.failed)} failed",
            f"{len(group.requirements(Verdict.SKIP))} {skipped}",
        )
        console.print(f"{len(group.verdicts)} {what} in {len(group.runs)} runs: {', '.join(counts)}", soft_wrap=True)
    for line in manifest["deviations"]:
        console.print(printable(line), markup=False, soft_wrap=True)
