# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest convert``: the report of a run in another format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from plugfest.cli.options import option
from plugfest.errors import InfrastructureError, UsageError
from plugfest.report import document, junit, kcidb, ktap, netdev_ci, tap, text_file
from plugfest.report.document import Document
from plugfest.requirements import known_issues
from plugfest.selftests.session import KNOWN_ISSUES

FORMATS = ("junit", "tap", "ktap", "netdev", "kcidb")
_FOR_OTHERS = ("ktap", "netdev", "kcidb")
"""Formats of systems that take a verdict for the driver's."""


def _convert(
    form: str, found: Document, *, link: str | None, origin: str, executor: str | None, branch: str | None
) -> str:
    match form:
        case "junit":
            return junit.render(found)
        case "tap":
            return tap.render(found)
        case "ktap":
            return ktap.render(found)
        case "netdev":
            return _json(netdev_ci.render(found, executor=executor, branch=branch, link=link))
        case _:
            return _json(
                kcidb.render(
                    found, origin=origin, link=link, issues=[*known_issues.load(), *known_issues.load(KNOWN_ISSUES)]
                )
            )


def _json(found: object) -> str:
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


@click.command()
@click.argument("form", metavar="FORMAT", type=click.Choice(FORMATS))
@click.argument("run", type=click.Path(path_type=Path), default=Path("results/latest"))
@option(
    "--to",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write.  [default: standard output]",
)
@option("--link", metavar="URL", help="Where the run's output folder is published (netdev, kcidb).")
@option("--origin", default="plugfest", show_default=True, metavar="NAME", help="Name of the CI system (kcidb).")
@option("--executor", metavar="NAME", help="Name of the executor (netdev).  [default: plugfest-DRIVER-PROFILE]")
@option(
    "--branch",
    metavar="NAME",
    help="The branch that was tested (netdev).  [default: the kernel's release and the date]",
)
@option(
    "--manifest",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Add the run to this manifest, results.json (netdev); needs --to, and --manifest-url.",
)
@option("--manifest-url", metavar="URL", help="Where the folder of --to is published (netdev).")
def convert(
    form: str,
    run: Path,
    target: Path | None,
    link: str | None,
    origin: str,
    executor: str | None,
    branch: str | None,
    manifest: Path | None,
    manifest_url: str | None,
) -> None:
    """Convert the report of a run into FORMAT: junit, tap, ktap, netdev (netdev CI's executor) or kcidb (KernelCI, v5.3).

    RUN is the run's output folder, or a report.json [default: results/latest].
    """
    for name, url in (("--link", link), ("--manifest-url", manifest_url)):
        if url is not None and not url.startswith(("https://", "http://")):
            raise UsageError(f"{name} {url}: expected a URL, as https://ci.example.org/results, found none; correct it")
    if not kcidb.ORIGIN.fullmatch(origin):
        raise UsageError(f"--origin {origin}: expected lower-case letters, digits and _, found others; choose another")
    if form != "netdev":
        manifest = None
    elif manifest is not None and (target is None or manifest_url is None):
        raise UsageError("--manifest: expected --to and --manifest-url with it, which say what it lists; add them")
    found = document.load(run)
    if form in _FOR_OTHERS:
        document.check_without_faults(found, run)
    text = _convert(form, found, link=link, origin=origin, executor=executor, branch=branch)
    if target is None:
        click.echo(text, nl=False)
        return
    entries = [] if manifest is None else _entries(manifest)
    _write(target, text, "--to")
    if manifest is not None:
        url = f"{manifest_url}".rstrip("/") + f"/{target.name}"
        _write(manifest, _json(netdev_ci.manifest_with(entries, json.loads(text), url)), "--manifest")


def _entries(manifest: Path) -> list[dict[str, Any]]:
    """Read a manifest; a missing one is empty."""
    try:
        entries = json.loads(manifest.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise InfrastructureError(
            f"{manifest}: expected a manifest of netdev's CI, found {error}; repair or move it"
        ) from error
    if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
        raise InfrastructureError(
            f"{manifest}: expected a manifest of netdev's CI, a list of runs, found something else; move it"
        )
    return entries


def _write(path: Path, text: str, named_by: str) -> None:
    try:
        text_file.write(path, text)
    except OSError as error:
        raise InfrastructureError(
            f"{path}: expected to write it, found: {error.strerror}; choose another with {named_by}"
        ) from error
