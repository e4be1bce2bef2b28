# SPDX-License-Identifier: GPL-2.0-or-later
"""The Kernel Test Anything Protocol, version 1 (Documentation/dev-tools/ktap.rst): requirements, and the variants of each nested."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from plugfest.report.document import Document, split_test
from plugfest.report.text import printable
from plugfest.requirements.verdict import Verdict

_DIRECTIVES = {
    Verdict.SKIP: "SKIP",
    Verdict.XFAIL: "XFAIL",
    Verdict.QUARANTINED: "XFAIL",
    Verdict.TIMEOUT: "TIMEOUT",
    Verdict.ERROR: "ERROR",
    Verdict.UNSTABLE: "ERROR",
    Verdict.BLOCKED: "ERROR",
    Verdict.MISS: "ERROR",
}
_INDENT = "  "


def render(document: Document) -> str:
    """Return the document as KTAP.

    ``skip``, ``xfail`` and ``quarantined`` are ``ok`` with a directive, as kselftest prints them; every other verdict but ``pass``
    is ``not ok``. Above each of these, diagnostic lines have the verdict, the reason and what the kernel complained of. A requirement
    with variants is ``not ok`` if one of them is. ``time=NNNms``, which netdev's CI reads, ends each result. An incomplete run ends with
    ``Bail out!``.
    """
    return "\n".join(_lines(document)) + "\n"


def _lines(document: Document) -> Iterator[str]:
    run = document["run"]
    variants: dict[str, list[Mapping[str, Any]]] = {}
    for result in document["results"]:
        variants.setdefault(result["requirement"], []).append(result)
    yield "KTAP version 1"
    yield f"1..{len(variants)}"
    yield f"# {_plain(run['driver'])} on {_plain(run['subject']['text'])}, Linux {_plain(run['kernel']['release'])}"
    for number, (requirement, results) in enumerate(variants.items(), 1):
        if len(results) == 1 and not split_test(results[0]["test"])[1]:
            yield from _result(number, requirement, results[0])
            continue
        yield from (_INDENT + line for line in _nested(results))
        yield _summary(number, requirement, results)
    if not run["complete"]:
        yield f"Bail out! {_plain(run['interrupted'])}"


def _nested(results: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "KTAP version 1"
    yield f"1..{len(results)}"
    for number, result in enumerate(results, 1):
        test, parameters = split_test(result["test"])
        yield from _result(number, parameters or test.rpartition("::")[2], result)


def _result(number: int, name: str, result: Mapping[str, Any]) -> Iterator[str]:
    verdict, reason = Verdict(result["verdict"]), printable(result["reason"])
    if verdict not in (Verdict.PASS, Verdict.SKIP):
        yield f"# {verdict}: {reason}"
        for problem in result["problems"]:
            yield from (f"# {printable(line)}" for line in problem.splitlines())
    words = [_DIRECTIVES.get(verdict, ""), reason if verdict in _DIRECTIVES else "", _time([result])]
    yield f"{_outcome(verdict)} {number} {_plain(name)} # {' '.join(filter(None, words))}"


def _summary(number: int, requirement: str, results: Sequence[Mapping[str, Any]]) -> str:
    verdicts = {Verdict(result["verdict"]) for result in results}
    outcome = "not ok" if "not ok" in map(_outcome, verdicts) else "ok"
    directive = ""
    if outcome == "ok":
        directive = (
            "SKIP " if verdicts == {Verdict.SKIP} else "XFAIL " if verdicts - {Verdict.PASS, Verdict.SKIP} else ""
        )
    return f"{outcome} {number} {_plain(requirement)} # {directive}{_time(results)}"


def _outcome(verdict: Verdict) -> str:
    return "not ok" if verdict.is_failure else "ok"


def _time(results: Sequence[Mapping[str, Any]]) -> str:
    return f"time={sum(result['seconds'] for result in results) * 1000:.0f}ms"


def _plain(text: str) -> str:
    """Return a description: any words, on one line, without the sign that ends it."""
    return printable(text).replace("#", "_")
