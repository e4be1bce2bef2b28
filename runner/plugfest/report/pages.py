# SPDX-License-Identifier: GPL-2.0-or-later
"""Renders a page from its template. Style and script are inline, so that a page works from ``file://`` and loads nothing."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources

import jinja2
from markupsafe import Markup

REPORT = "plugfest.report"
"""The package whose templates have what all pages share: the head, the macros and the style."""


@cache
def _environment(package: str) -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(each) for each in dict.fromkeys([package, REPORT])]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _text(package: str, name: str) -> str:
    return resources.files(package).joinpath("templates", name).read_text(encoding="utf-8")


def render(
    template: str, *, script: str | None, package: str = REPORT, style: str | None = None, **values: object
) -> str:
    """Return a page.

    The page's content security policy allows only this script, by its hash: no text from a guest can run as a script.

    Args:
        template: file name of the template.
        script: file name of the page's script; None for a page without one.
        package: whose templates these files are among.
        style: file name of a style sheet that follows the one of all pages; None for a page that needs no other.
        values: the template's variables.
    """
    text = "" if script is None else _text(package, script)
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    styles = _text(REPORT, "report.css") + ("" if style is None else _text(package, style))
    return (
        _environment(package)
        .get_template(template)
        .render(
            policy=policy,
            style=Markup(styles),  # noqa: S704 - files of this package
            script=Markup(text),  # noqa: S704
            **values,
        )
    )
