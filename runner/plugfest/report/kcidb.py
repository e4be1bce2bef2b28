# SPDX-License-Identifier: GPL-2.0-or-later
"""KernelCI's KCIDB, schema version 5.3 (package ``kcidb-io``): a checkout, a build, a test for each result, known issues, incidents."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from plugfest.report.document import Document, artifacts, split_test
from plugfest.report.identity import identity
from plugfest.report.text import printable
from plugfest.requirements.known_issues import KnownIssue, Whose
from plugfest.requirements.verdict import Verdict

VERSION = {"major": 5, "minor": 3}
ORIGIN = re.compile(r"[a-z0-9_]+")
"""What the name of a CI system consists of."""

_STATUS = {
    Verdict.PASS: "PASS",
    Verdict.FAIL: "FAIL",
    Verdict.CRASH: "FAIL",
    Verdict.TIMEOUT: "FAIL",
    Verdict.XFAIL: "FAIL",
    Verdict.SKIP: "SKIP",
    Verdict.ERROR: "ERROR",
    Verdict.UNSTABLE: "ERROR",
    Verdict.QUARANTINED: "ERROR",
    Verdict.BLOCKED: "MISS",
    Verdict.MISS: "MISS",
}
_CULPRITS = {
    Whose.DRIVER: "code",
    Whose.CORE: "code",
    Whose.QEMU: "harness",
    Whose.DEVICE: "harness",
    Whose.TEST: "tool",
}
_DIGITS = 12
"""Of a run's identity in its ids: runs of several hosts may have one origin, and begin in one second."""
_EXCERPT = 16384
"""Most characters of a log excerpt."""
_LOG = "console.txt"
"""The artifact that shows best how a test went, if it was kept."""


def render(
    document: Document, *, origin: str = "plugfest", link: str | None = None, issues: Iterable[KnownIssue] = ()
) -> dict[str, Any]:
    """Return the document as a KCIDB report.

    An ``xfail`` is ``FAIL`` with an incident of its known issue. ``unstable`` and ``quarantined`` are ``ERROR``, ``blocked`` is ``MISS``;
    ``misc`` has the exact verdict.

    Args:
        document: the report.
        origin: the name of the CI system, as KernelCI knows it; it must match `ORIGIN`.
        link: the URL under which the run's output folder is published; without it there are no files.
        issues: the known issues, which name whose bug each is.
    """
    run = document["run"]
    profile = run["subject"]["profile"]
    which = identity(document)[:_DIGITS]
    name = ":".join([origin, run["driver"], profile or "", run["kernel"]["release"], run["start"], which])
    culprits = {issue.title: _CULPRITS[issue.whose] for issue in issues}
    found: dict[str, Any] = {"version": VERSION, "checkouts": [_checkout(run, origin, name)]}
    found["builds"] = [
        {
            "id": name,
            "checkout_id": name,
            "origin": origin,
            "architecture": "x86_64",
            "comment": _text(f"Linux {run['kernel']['release']}, built elsewhere ({run['kernel']['spec']})"),
            "misc": {"kernel": run["kernel"], "modules": run["options"]["modules"]},
        }
    ]
    tests = [
        _test(document, result, origin, f"{name}:{number}", name, link)
        for number, result in enumerate(document["results"], 1)
    ]
    found["tests"] = tests
    issued: dict[str, dict[str, Any]] = {}
    incidents = []
    for test, result in zip(tests, document["results"], strict=True):
        issue = result["known_issue"]
        if issue is not None and result["verdict"] == Verdict.XFAIL:
            made = _issue(issue, origin, culprits.get(issue["reason"]))
            issued[made["id"]] = made
            incidents.append(
                {
                    "id": f"{test['id']}:known",
                    "origin": origin,
                    "issue_id": made["id"],
                    "issue_version": made["version"],
                    "test_id": test["id"],
                    "present": True,
                }
            )
    if issued:
        found["issues"] = list(issued.values())
        found["incidents"] = incidents
    return found


def _checkout(run: Mapping[str, Any], origin: str, name: str) -> dict[str, Any]:
    return {
        "id": name,
        "origin": origin,
        "comment": _text(f"Linux {run['kernel']['release']} ({run['kernel']['spec']})"),
        "start_time": run["start"],
        "valid": True,
    }


def _emulation(run: Mapping[str, Any]) -> str:
    """Return what runs the guest; nothing on a real machine."""
    if run["subject"]["kind"] == "hardware":
        return ""
    return f", QEMU {run['versions']['qemu']}, {run['accel']['name']}"


def _test(
    document: Document, result: Mapping[str, Any], origin: str, identifier: str, build: str, link: str | None
) -> dict[str, Any]:
    run = document["run"]
    test, parameters = split_test(result["test"])
    parts = ("plugfest", run["driver"], result["area"], result["requirement"], parameters)
    found: dict[str, Any] = {
        "id": identifier,
        "build_id": build,
        "origin": origin,
        "path": ".".join(re.sub(r"[^a-zA-Z0-9_-]+", "-", part) for part in parts if part),
        "status": _STATUS[Verdict(result["verdict"])],
        "duration": result["seconds"],
        "environment": {
            "comment": _text(f"{run['subject']['text']}{_emulation(run)}"),
            "misc": {"guest": run["guest"], "versions": run["versions"]},
        },
        "misc": {key: result[key] for key in ("verdict", "level", "requirement")} | {"test": test},
    }
    excerpt = "\n".join([result["reason"], *result["problems"]]).strip()
    if excerpt:
        found["log_excerpt"] = _text(excerpt)[:_EXCERPT]
    if result["start"] is not None:
        found["start_time"] = result["start"]
    if link is not None:
        urls = {name: f"{link.rstrip('/')}/{quote(path)}" for name, path in artifacts(result).items()}
        if _LOG in urls:
            found["log_url"] = urls.pop(_LOG)
        found["output_files"] = [{"name": name.replace("/", "-"), "url": url} for name, url in urls.items()]
    return found


def _issue(issue: Mapping[str, Any], origin: str, culprit: str | None) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": f"{origin}:{hashlib.sha256(issue['reason'].encode()).hexdigest()[:16]}",
        "version": 1,
        "origin": origin,
        "report_url": issue["link"],
        "report_subject": printable(issue["reason"]),
        "comment": printable(issue["reason"]),
    }
    if culprit is not None:
        made["culprit"] = {layer: layer == culprit for layer in ("code", "tool", "harness")}
    return made


def _text(text: str) -> str:
    """Return a text without the character that KCIDB's database cannot hold."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
