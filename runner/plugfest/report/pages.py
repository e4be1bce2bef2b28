# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes a page of a template, with its style and script in it: a page needs no other file and loads none."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources

import jinja2
from markupsafe import Markup


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("plugfest.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _text(name: str) -> str:
    return resources.files("plugfest.report").joinpath("templates", name).read_text(encoding="utf-8")


def render(template: str, *, script: str, **values: object) -> str:
    """Return a page.

    Its content security policy allows this script alone, by its hash: text out of a guest can never become one.

    Args:
        template: file name of the template.
        script: file name of the script that stands in the page.
        values: what the template names.
    """
    text = _text(script)
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return (
        _environment()
        .get_template(template)
        .render(
            policy=policy,
            style=Markup(_text("report.css")),  # noqa: S704 - files of this package
            script=Markup(text),  # noqa: S704
            **values,
        )
    )
