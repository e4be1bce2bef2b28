# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest site``: static pages of a history."""

from __future__ import annotations

from pathlib import Path

import click

from plugfest.cli.options import option
from plugfest.history.database import reading
from plugfest.history.timeline import read
from plugfest.site.write import write

TITLE = "NIC drivers against their requirements"


@click.command()
@click.argument("database", metavar="DB", type=click.Path(path_type=Path, dir_okay=False))
@option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("site"),
    show_default=True,
    help="Folder for the pages; its other files are left alone.",
)
@option("--title", default=TITLE, show_default=True, help="Title of the index.")
def site(database: Path, out: Path, title: str) -> None:
    """Write a static site of the history in the file DB: an index, a page for each run and a page for each requirement.

    Open index.html, from the folder or from any web server. Runs whose folder is beside the site, or deeper, are linked.
    """
    with reading(database) as connection:
        timeline = read(connection)
    count = write(timeline, out, title=title)
    click.echo(f"{count} pages; open {out / 'index.html'}")
