# SPDX-License-Identifier: GPL-2.0-or-later
"""``report.json``: everything about one run, made from its journal. Every other report is made from it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

from plugfest.errors import InfrastructureError, UsageError
from plugfest.report import kept, text_file
from plugfest.report.flags import matrix
from plugfest.requirements.verdict import Verdict

SCHEMA_PATH = Path(__file__).with_name("schema") / "report.schema.json"
SCHEMA_VERSION = 1

Document = Mapping[str, Any]
"""A report, as the schema at `SCHEMA_PATH` describes it."""

_RUN_KEYS = ("driver", "module", "subject", "kernel", "accel", "versions", "guest", "options")
_SELFTESTS_KEYS = ("kind", "source")
"""What only a run of upstream's tests has."""
_COSTS = ("calls", "waited", "idle", "tight_waits")
"""What a journal of an older version lacks."""

_TELLING = frozenset({Verdict.PASS, Verdict.FAIL, Verdict.XFAIL, Verdict.CRASH, Verdict.TIMEOUT})
"""The verdicts that say something about a known issue."""

_BAD_FALSIFICATIONS = frozenset({"not falsified", "never fired", "error", "miss"})


def build(events: Sequence[Mapping[str, Any]], *, died: str | None = None, status: int | None = None) -> Document:
    """Make the document of a run from the events of its journal.

    Args:
        events: as `plugfest.run.journal.read` returns them.
        died: how the run was ended, if the journal does not have it: "killed by signal 9".
        status: the exit status of a run that was ended; by default the journal's, or 3.

    Raises:
        InfrastructureError: the journal has no 'run' event.
    """
    run = next((event for event in events if event["event"] == "run"), None)
    if run is None:
        raise InfrastructureError(
            "the journal: expected a 'run' event, found none; the run ended before its first test, run it again"
        )
    nothing: Mapping[str, Any] = {"requirements": [], "tests": []}
    planned = next((event for event in events if event["event"] == "planned"), nothing)
    boots = [event for event in events if event["event"] == "boot"]
    stopped = next((event for event in reversed(events) if event["event"] == "stopped"), None)
    ended = any(event["event"] == "end" for event in events)
    interrupted = (
        stopped["reason"] if stopped else None if ended else died or "the run ended without a reason in its journal"
    )
    tests = _with_cases(planned["tests"], events)
    results = list(_results(events, tests, interrupted or "the run ended first"))
    document: dict[str, Any] = {
        "schema": SCHEMA_VERSION,
        "run": {
            **{key: run[key] for key in _RUN_KEYS},
            **{key: run[key] for key in _SELFTESTS_KEYS if key in run},
            "start": datetime.fromtimestamp(run["time"], UTC).isoformat(timespec="seconds"),
            "seconds": round(events[-1]["time"] - run["time"], 3),
            "complete": ended and stopped is None,
            "interrupted": interrupted,
            "boots": [
                {"seconds": round(boot["seconds"], 3), "how": boot["how"], "reason": boot["reason"]} for boot in boots
            ],
        },
        "requirements": planned["requirements"],
        "results": results,
        "summary": {verdict.value: sum(result["verdict"] == verdict for result in results) for verdict in Verdict},
    }
    model = next((boot["model"] for boot in boots if boot["model"]), None)
    if model is not None:
        document["run"]["versions"] = {**run["versions"], "model": str(model.get("version", "?"))}
        document["run"]["subject"] = {**run["subject"], "description": model}
    driver = next((boot["driver"] for boot in boots if boot["driver"]), None)
    if driver is not None:
        document["run"]["versions"] = {**document["run"]["versions"], "driver": driver}
    if "testbed" in run:
        module = next((boot["module"] for boot in boots if boot["module"]), None)
        document["run"]["testbed"] = {**run["testbed"], "module": module, "lists": planned.get("lists", {})}
    if boots:
        document["run"]["guest"] = {**run["guest"], "speed": round(boots[0]["speed"], 3)}
    if run["options"]["falsify"]:
        document["falsification"] = _falsification(results)
    else:
        finished = [event for event in events if event["event"] == "result"]
        document["flags"] = matrix(planned["requirements"], results, finished)
        document["kept"] = kept.matrix(planned["requirements"], results)
        document["known_issues"] = _known_issues(finished)
    if stopped is not None:
        early = stopped["exit_status"] if status is None else status
    else:
        early = None if ended else InfrastructureError.exit_status if status is None else status
    document["run"]["exit_status"] = exit_status(document, early)
    return document


_TRIED = ("verdict", "reason", "seconds", "steps", "evidence", "problems", "artifacts")
"""What an attempt at a test leaves."""
_FOUND = (*_TRIED, "known_issue", "falsification")


def _results(
    events: Sequence[Mapping[str, Any]], tests: Sequence[Mapping[str, Any]], why: str
) -> Iterable[dict[str, Any]]:
    attempted = _first_of_each(events, "attempt")
    unconfirmed = _first_of_each(events, "unconfirmed")
    finished = {event["test"]: event for event in events if event["event"] == "result"}
    lost = {event["test"]: event["reason"] for event in events if event["event"] == "lost"}
    for test in tests:
        identity = {key: test[key] for key in ("requirement", "area", "level", "test")}
        attempt, result = attempted.get(test["test"]), finished.get(test["test"])
        start = None if attempt is None else _moment(attempt["time"])
        if result is not None and "start" in result:  # of a case, which its test has attempted
            start = _moment(result["start"])
        if result is not None:
            yield {
                **identity,
                "start": start,
                **{key: result[key] for key in _FOUND},
                **{key: result[key] for key in (*_COSTS, "guest") if key in result},
                "attempts": [
                    {**{key: each[key] for key in _TRIED}, "start": _moment(each["start"])}
                    for each in result.get("attempts", ())
                ],
                "blocked_by": result.get("blocked_by"),
            }
        else:
            how = f"its process ended: {lost[test['test']]}" if test["test"] in lost else f"the run ended: {why}"
            yield {**identity, "start": start, **_missed(test, attempt, unconfirmed.get(test["test"]), how)}


def _with_cases(tests: Sequence[Mapping[str, Any]], events: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Put the cases of a test in its place, where it had some: upstream's tests tell them as they run."""
    cases = {event["test"]: event["tests"] for event in events if event["event"] == "cases"}
    return [each for test in tests for each in cases.get(test["test"], [test])]


def _first_of_each(events: Iterable[Mapping[str, Any]], kind: str) -> dict[str, Mapping[str, Any]]:
    """Return the first event of a kind of each test."""
    found: dict[str, Mapping[str, Any]] = {}
    for event in events:
        if event["event"] == kind:
            found.setdefault(event["test"], event)
    return found


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _missed(
    test: Mapping[str, Any], attempt: Mapping[str, Any] | None, unconfirmed: Mapping[str, Any] | None, how: str
) -> dict[str, Any]:
    """Return what is known of a test without a verdict; what a first attempt found is no verdict until it is confirmed."""
    fault = test.get("fault")
    nothing = {"seconds": 0.0, "steps": [], "evidence": [], "problems": [], "artifacts": {}}
    if unconfirmed is not None:
        reason = (
            f"not confirmed: the first attempt ended with {unconfirmed['verdict']} ({unconfirmed['reason']}), "
            f"and during the second {how}"
        )
    elif attempt is not None:
        reason = f"this test was running when {how}"
    else:
        reason = f"never started: {how.partition(': ')[2]}"
    return {
        **(nothing if unconfirmed is None else {key: unconfirmed[key] for key in nothing}),
        "verdict": Verdict.MISS.value,
        "reason": reason,
        "known_issue": None,
        "falsification": None if fault is None else {"name": fault, "fired": 0, "demanded": "fail", "outcome": "miss"},
        "attempts": [],
        "blocked_by": None,
    }


def artifacts(result: Mapping[str, Any]) -> dict[str, str]:
    """Return path by name of all artifacts of a result; those of a second attempt are named ``attempt-2/NAME``."""
    found = dict(result["artifacts"])
    for number, attempt in enumerate(result["attempts"][1:], 2):
        found |= {f"attempt-{number}/{name}": path for name, path in attempt["artifacts"].items()}
    return found


def split_test(test: str) -> tuple[str, str]:
    """Split pytest's node id into the test and its subtest, the parameters; the subtest is empty if there are none."""
    name, bracket, parameters = test.partition("[")
    return (name, parameters.removesuffix("]")) if bracket else (test, "")


def observed(result: Mapping[str, Any]) -> str:
    """Return the reason of a result without the known issue that `plugfest.requirements.known_issues` puts into it."""
    reason, issue = str(result["reason"]), result["known_issue"]
    if issue is None:
        return reason
    known = f"{issue['reason']}, {issue['link']}"
    if reason.startswith(f"known issue did not show: {known}"):
        return "The known issue did not show."
    if reason.startswith(f"{known} ("):
        return reason.removeprefix(f"{known} (").removesuffix(")")
    return reason.replace(f" (a known issue is listed, but shows otherwise: {known})", "")


def has_faults(document: Document) -> bool:
    """Whether a run had faults armed: for each test (``--falsify``), or for its whole length (``--fault``)."""
    options = document["run"]["options"]
    return bool(options["falsify"] or options["faults"])


def check_without_faults(document: Document, name: str | Path) -> None:
    """Check that a report is of the driver as it is.

    Args:
        document: the report.
        name: what to call it, such as its folder.

    Raises:
        UsageError: the run had faults armed, and so says nothing about the driver.
    """
    if has_faults(document):
        raise UsageError(
            f"{name}: expected a run of the driver as it is, found one with faults armed (--falsify, --fault); choose another"
        )


def blockers(document: Document) -> dict[str, int]:
    """Return the ids of the failed requirements that tests stand on, and how many tests each blocks, in the order of the run."""
    found: dict[str, int] = {}
    for result in document["results"]:
        if result["blocked_by"] is not None:
            found[result["blocked_by"]] = found.get(result["blocked_by"], 0) + 1
    return found


def _known_issues(finished: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Join what each known issue did in the tests that it concerned and that say something about the driver."""
    rows: dict[tuple[str, str | None], dict[str, Any]] = {}
    for event in finished:
        for issue in event.get("expected", ()):
            if event["verdict"] not in _TELLING or (event["verdict"] == Verdict.XFAIL and not issue["showed"]):
                continue
            row = rows.setdefault(
                (issue["title"], issue["requirement"]),
                {
                    **{key: issue[key] for key in ("title", "link", "requirement", "intermittent")},
                    "tests": [],
                    "showed": 0,
                },
            )
            row["tests"].append(event["test"])
            row["showed"] += issue["showed"]
    return [{**row, "unseen": not row["showed"] and not row["intermittent"]} for row in rows.values()]


def _falsification(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Join the variants of each test. At least one of them must detect the fault; it need not affect the others."""
    joined: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for result in results:
        if result["falsification"] is not None:
            joined.setdefault((result["requirement"], result["falsification"]["name"]), []).append(result)
    table = []
    for (requirement, fault), variants in joined.items():
        outcomes = {variant["falsification"]["outcome"] for variant in variants}
        worst = next(
            (o for o in ("error", "miss", "not falsified", "falsified", "never fired", "skipped") if o in outcomes),
            "error",
        )
        table.append(
            {
                "requirement": requirement,
                "fault": fault,
                "demanded": variants[0]["falsification"]["demanded"],
                "found": sorted({variant["verdict"] for variant in variants}),
                "fired": sum(variant["falsification"]["fired"] for variant in variants),
                "outcome": worst,
            }
        )
    return table


def exit_status(document: Document, stopped: int | None) -> int:
    """Return the status that the command exits with.

    Args:
        document: the report, without its exit status.
        stopped: the exit status of what ended the run early; None if it has none, or if the run was not ended early.

    Returns:
        0 if no verdict is a failure (under ``--falsify``: if each fault led to the expected verdict); 1 if one is, if a wait was
        tight under ``--strict-waits``, or if a known issue that applies did not show under ``--strict-known``; 3 if
        no guest could run the tests or the run was killed; 130 if the user interrupted it.
    """
    if stopped is not None:
        return stopped
    results = document["results"]
    if "falsification" in document:
        bad = any(row["outcome"] in _BAD_FALSIFICATIONS for row in document["falsification"])
    else:
        bad = any(Verdict(result["verdict"]).is_failure for result in results)
        bad = bad or (strict_waits(document) and bool(tight_waits(document)))
        if document["run"]["options"].get("strict_known"):
            bad = bad or any(row["unseen"] for row in document["known_issues"])
    return 1 if bad or not document["run"]["complete"] else 0


def strict_waits(document: Document) -> bool:
    """Whether a tight wait is a failure of the run."""
    return bool(document["run"]["options"].get("strict_waits", False))


def tight_waits(document: Document) -> list[dict[str, Any]]:
    """Return the waits that used more than half of their deadline, the tightest first, each with its requirement and test.

    Under ``--falsify`` there are none: a driver with a fault may well be slow.
    """
    if "falsification" in document:
        return []
    found = [
        {"requirement": result["requirement"], "test": result["test"], **wait}
        for result in document["results"]
        for wait in result.get("tight_waits", ())
    ]
    return sorted(found, key=lambda wait: -float(wait["share"]))


@cache
def _validator() -> jsonschema.Draft202012Validator:
    schema = json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())


def validate(document: object, origin: str) -> None:
    """Check a document against the schema.

    Args:
        document: parsed JSON.
        origin: where it comes from, for the error message.

    Raises:
        InfrastructureError: it does not match the schema; the message names the field, or the newer version.
    """
    version = document.get("schema") if isinstance(document, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise InfrastructureError(
            f"{origin}: expected a report of schema {SCHEMA_VERSION}, found schema {version} of a newer plugfest; upgrade this one"
        )
    error = jsonschema.exceptions.best_match(_validator().iter_errors(document))
    if error is not None:
        raise InfrastructureError(
            f"{origin}: not a report of schema {SCHEMA_VERSION}: {error.json_path}: {error.message[:200]}"
        )


def write(document: Document, path: Path) -> None:
    """Validate the document and write it atomically."""
    validate(document, str(path))
    text_file.write(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def load(path: Path) -> Document:
    """Read a report.

    Args:
        path: ``report.json``, or the output folder that holds it.

    Raises:
        InfrastructureError: there is none, or it does not match the schema.
    """
    if path.is_dir():
        path /= "report.json"
    try:
        document: Document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InfrastructureError(f"{path}: expected a report.json, found {error}") from error
    validate(document, str(path))
    return document
