# SPDX-License-Identifier: GPL-2.0-or-later
"""``report.tap``: Test Anything Protocol, version 13."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from plugfest.report.document import Document, artifacts
from plugfest.report.text import printable
from plugfest.requirements.verdict import Verdict


def render(document: Document) -> str:
    """Return the document as TAP 13.

    ``skip`` is ``ok … # SKIP``, ``xfail`` and ``quarantined`` are ``not ok … # TODO``; every other verdict but ``pass`` is ``not ok``. The
    YAML block has the verdict. An incomplete run ends with ``Bail out!``.
    """
    return "\n".join(_lines(document)) + "\n"


def _lines(document: Document) -> Iterator[str]:
    run = document["run"]
    yield "TAP version 13"
    yield f"1..{len(document['results'])}"
    yield f"# {run['driver']} on {run['subject']['text']}, Linux {run['kernel']['release']}, {run['accel']['name']}"
    for number, result in enumerate(document["results"], 1):
        yield _line(number, result)
        if result["verdict"] not in (Verdict.PASS, Verdict.SKIP) or result["reason"]:
            yield "  ---"
            yield f"  verdict: {result['verdict']}"
            yield f"  requirement: {result['requirement']}"
            yield f"  level: {result['level']}"
            yield f"  reason: {_quoted(result['reason'])}"
            yield f"  seconds: {result['seconds']}"
            if result["artifacts"]:
                yield "  artifacts:"
                yield from (f"    - {_quoted(path)}" for path in artifacts(result).values())
            yield "  ..."
    if not run["complete"]:
        yield f"Bail out! {_plain(run['interrupted'])}"


def _line(number: int, result: dict[str, Any]) -> str:
    verdict = Verdict(result["verdict"])
    title = f"{number} - {result['requirement']} {_plain(result['test'])}"
    if verdict is Verdict.SKIP:
        return f"ok {title} # SKIP {_plain(result['reason'])}"
    if verdict in (Verdict.XFAIL, Verdict.QUARANTINED):
        return f"not ok {title} # TODO {_plain(result['reason'])}"
    return f"{'ok' if verdict is Verdict.PASS else 'not ok'} {title}"


def _plain(text: str) -> str:
    return printable(text).replace("#", "\\#")


def _quoted(text: str) -> str:
    escaped = printable(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
