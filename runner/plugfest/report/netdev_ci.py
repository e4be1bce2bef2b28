# SPDX-License-Identifier: GPL-2.0-or-later
"""What netdev's CI (NIPA) fetches from an executor: the JSON of a run, and the manifest that lists the runs.

Source: linux-netdev/nipa, ``contest/remote/lib/fetcher.py``, ``contest/results-collector.py`` and ``ui/status.js``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from plugfest.report.document import Document, split_test
from plugfest.report.fingerprint import fingerprint
from plugfest.requirements.verdict import Verdict

_RESULTS = {
    Verdict.PASS: "pass",
    Verdict.SKIP: "skip",
    Verdict.XFAIL: "skip",
    Verdict.QUARANTINED: "skip",
}
"""All others are ``fail``."""

MANIFEST_LIMIT = 500
"""Most entries of a manifest: the newest."""
_TEST_LIMIT, _SUBTEST_LIMIT = 128, 256
"""Widths in characters of the CI's columns."""


def render(
    document: Document, *, executor: str | None = None, branch: str | None = None, link: str | None = None
) -> dict[str, Any]:
    """Return the JSON of a run.

    A test is a requirement; its variants, if it has any, are nested. ``retry`` is the verdict of the second attempt. ``device`` is always
    there: it makes the CI ignore a test until it has been stable.

    Args:
        document: the report.
        executor: the name that the CI knows; by default ``plugfest-DRIVER``, with the model's profile.
        branch: what was tested; by default the kernel's release and the start of the run, in the form in which the CI's branches end.
        link: the URL under which the run's output folder is published.
    """
    run = document["run"]
    start = datetime.fromisoformat(run["start"])
    variants: dict[str, list[Mapping[str, Any]]] = {}
    for result in document["results"]:
        variants.setdefault(result["requirement"], []).append(result)
    profile = run["subject"]["profile"]
    found: dict[str, Any] = {
        "executor": executor or _name(f"plugfest-{run['driver']}{f'-{profile}' if profile else ''}"),
        "branch": branch or f"{run['kernel']['release']}-{start:%Y-%m-%d--%H-%M}",
        "start": str(start),
        "end": str(start + timedelta(seconds=run["seconds"])),
    }
    if link is not None:
        found["link"] = link
    found["device"] = {
        "driver": run["driver"],
        "versions": {
            "fixed": {"device": run["subject"]["text"]},
            "stored": {},
            "running": {name: version for name, version in run["versions"].items() if name != "host"},
        },
    }
    found["results"] = [
        _test(requirement, results, link, upstream="kind" in run) for requirement, results in variants.items()
    ]
    return found


def _test(
    requirement: str, results: Sequence[Mapping[str, Any]], link: str | None, *, upstream: bool
) -> dict[str, Any]:
    cases = [_case(result) for result in results]
    for number, case in enumerate(cases, 1):
        # The CI knows a subtest by its reduced name alone.
        if any(case["test"] == other["test"] for other in cases[: number - 1]):
            case["test"] = f"{case['test'][: _SUBTEST_LIMIT - 5]}-{number}"
    found: dict[str, Any] = {
        "group": _name(f"{'selftests' if upstream else 'plugfest'}-{results[0]['area']}"),
        # Upstream's tests have the names by which the CI knows them from its own executors.
        "test": _name(requirement.partition(":")[2] if upstream else requirement)[:_TEST_LIMIT],
        "result": _worst(case["result"] for case in cases),
        "time": round(sum(result["seconds"] for result in results), 3),
    }
    if link is not None:
        found["link"] = f"{link.rstrip('/')}/report.html#{requirement}"
    if any("retry" in case for case in cases):
        found["retry"] = _worst(case.get("retry", case["result"]) for case in cases)
    crashes = [
        fingerprint(problem)
        for result in results
        if result["verdict"] == Verdict.CRASH
        for problem in result["problems"]
    ]
    if crashes:
        found["crashes"] = list(dict.fromkeys(crashes))
    if len(results) > 1 or split_test(results[0]["test"])[1]:
        found["results"] = cases
    return found


def _case(result: Mapping[str, Any]) -> dict[str, Any]:
    test, parameters = split_test(result["test"])
    found: dict[str, Any] = {
        "test": _name(parameters or test.rpartition("::")[2])[:_SUBTEST_LIMIT],
        "result": _RESULTS.get(result["verdict"], "fail"),
        "time": round(result["seconds"], 3),
    }
    # Of a quarantined test the CI must see no failure either: then there is nothing to retry.
    if found["result"] == "fail" and len(result["attempts"]) > 1:
        found["retry"] = _RESULTS.get(result["attempts"][1]["verdict"], "fail")
    return found


def _worst(found: Any) -> str:
    results = set(found)
    return next(result for result in ("fail", "pass", "skip") if result in results)


def _name(text: str) -> str:
    """Return a name of the characters that the CI keeps in one."""
    return re.sub(r"[^0-9A-Za-z]+", "-", text).strip("-") or "no-name"


def manifest_with(entries: Sequence[Mapping[str, Any]], run: Mapping[str, Any], url: str) -> list[dict[str, Any]]:
    """Return a manifest with a run.

    Args:
        entries: of the manifest as it was; that of the same branch and executor is replaced.
        run: what `render` returned.
        url: where the JSON of the run is published.

    Returns:
        The newest `MANIFEST_LIMIT` entries.
    """
    entry = {key: run[key] for key in ("branch", "executor")}
    kept = [dict(each) for each in entries if {key: each.get(key) for key in entry} != entry]
    return [*kept, {**entry, "url": url}][-MANIFEST_LIMIT:]
