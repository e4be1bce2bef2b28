# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest drivers``, ``models`` and ``requirements``: lists of each."""

from __future__ import annotations

import json
import subprocess
import sys

import click
from rich import box
from rich.markup import escape
from rich.table import Table

from plugfest.cli.options import option
from plugfest.cli.terminal import terminal
from plugfest.errors import InfrastructureError
from plugfest.plugin.suite import collect
from plugfest.requirements.drivers import Driver, ModelSubject
from plugfest.requirements.drivers import drivers as registry
from plugfest.requirements.requirement import Requirement


def table(*columns: str) -> Table:
    """Return an empty table in the commands' common style."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def show(made: Table) -> None:
    """Print a table; to a file or pipe, at full width."""
    terminal(width=240).print(made)


@click.command()
def drivers() -> None:
    """List the drivers that can be tested, and the device that each runs on."""
    made = table("driver", "what it drives", "device", "PCI ids", "offers")
    for driver in registry().values():
        ids = ", ".join(f"{vendor:04x}:{device:04x}" for vendor, device in driver.pci_ids)
        made.add_row(driver.name, driver.title, _subject(driver), ids, ", ".join(driver.claims))
    show(made)


def _subject(driver: Driver) -> str:
    if isinstance(driver.subject, ModelSubject):
        return "\n".join(
            [str(driver.subject), *(f"--profile {name}: {text}" for name, text in driver.subject.profiles.items())]
        )
    return str(driver.subject)


@click.command()
def models() -> None:
    """List the NIC models, and the profiles of each."""
    listed = subprocess.run([sys.executable, "-m", "nicmodels", "list"], capture_output=True, text=True, check=False)
    if listed.returncode:
        last = (listed.stderr.strip().splitlines() or ["nothing"])[-1]
        raise InfrastructureError(
            f"python -m nicmodels list: expected exit status 0, found {listed.returncode}: {last}; reinstall plugfest"
        )
    click.echo(listed.stdout, nl=False)


@click.command()
@option("--area", "areas", multiple=True, help="Only this area of the suite; may be repeated.")
@option(
    "--format",
    "form",
    type=click.Choice(["table", "markdown", "json"]),
    default="table",
    show_default=True,
    help="How to print them.",
)
def requirements(areas: tuple[str, ...], form: str) -> None:
    """List the suite's requirements, each with its source and procedure."""
    found = collect(areas)
    if form == "json":
        click.echo(json.dumps([requirement.describe() for requirement in found], indent=2, ensure_ascii=False))
    elif form == "markdown":
        click.echo("\n".join(_markdown(requirement) for requirement in found))
    else:
        made = table("requirement", "level", "sentence", "source", "falsified by")
        for requirement in found:
            made.add_row(
                requirement.id,
                requirement.level,
                escape(requirement.sentence),
                escape(requirement.source),
                escape(", ".join(requirement.falsified_by)),
            )
        show(made)


def _markdown(requirement: Requirement) -> str:
    lines = [
        f"## {requirement.id} ({requirement.level})",
        "",
        requirement.sentence,
        "",
        f"Source: {requirement.source}",
        "",
    ]
    if requirement.procedure:
        lines += ["Procedure:", "", *(f"{n}. {step}" for n, step in enumerate(requirement.procedure, 1)), ""]
    if requirement.possible_problems:
        lines += [requirement.possible_problems, ""]
    lines += [f"Falsified by: {', '.join(f'`{fault}`' for fault in requirement.falsified_by)}", ""]
    return "\n".join(lines)
