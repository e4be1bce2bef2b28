# SPDX-License-Identifier: GPL-2.0-or-later
"""``junit.xml``, for CI systems: a test suite for each area."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from junitparser import Error, Failure, JUnitXml, Properties, Property, Skipped, TestCase, TestSuite

from plugfest.report.document import Document, artifacts
from plugfest.requirements.verdict import OF_THE_DRIVER, Verdict

_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(document: Document, path: Path) -> None:
    """Write the document as JUnit XML: see `render`."""
    path.write_text(render(document), encoding="utf-8")


def render(document: Document) -> str:
    """Return the document as JUnit XML, whose encoding is UTF-8.

    ``fail``, ``crash`` and ``timeout`` are failures; ``error``, ``unstable``, ``blocked`` and ``miss``, which show nothing
    certain about the driver, are errors; ``skip``, ``xfail`` and ``quarantined`` are skipped. The exact verdict is the
    element's type and a property of the case. Each suite's properties have the provenance.
    """
    sentences = {entry["id"]: entry for entry in document["requirements"]}
    whole = JUnitXml(name=f"plugfest {document['run']['driver']}")
    for area in dict.fromkeys(result["area"] for result in document["results"]):
        suite = TestSuite(f"{document['run']['driver']}.{area}")
        suite.timestamp = document["run"]["start"]
        for name, value in _provenance(document["run"]).items():
            suite.add_property(name, _clean(value))
        for result in document["results"]:
            if result["area"] == area:
                suite.add_testcase(_case(result, sentences[result["requirement"]]))
        whole.add_testsuite(suite)
    whole.update_statistics()  # type: ignore[no-untyped-call]
    written = io.BytesIO()
    whole.write(written, pretty=True)
    return written.getvalue().decode("utf-8")


def _provenance(run: Mapping[str, Any]) -> dict[str, str]:
    return {
        "driver": run["driver"],
        "module": run["module"],
        "subject": run["subject"]["text"],
        "kernel": run["kernel"]["release"],
        "accel": f"{run['accel']['name']}: {run['accel']['reason']}",
        **{f"version.{name}": version for name, version in run["versions"].items()},
    }


def _case(result: Mapping[str, Any], requirement: Mapping[str, Any]) -> TestCase:
    case = TestCase(
        _clean(f"{result['requirement']} {result['test'].rpartition('::')[2]}"), result["area"], result["seconds"]
    )
    properties = Properties()  # type: ignore[no-untyped-call]
    for name, value in (
        ("requirement", result["requirement"]),
        ("verdict", result["verdict"]),
        ("level", result["level"]),
        ("source", requirement["source"]),
        ("sentence", requirement["sentence"]),
        *((f"artifact.{name}", path) for name, path in artifacts(result).items()),
    ):
        properties.add_property(Property(name, _clean(value)))
    case.append(properties)  # type: ignore[no-untyped-call]
    verdict, reason = Verdict(result["verdict"]), _clean(result["reason"])
    if verdict in OF_THE_DRIVER:
        outcome = Failure(reason, verdict.value)
        outcome.text = _clean("\n\n".join(result["problems"])) or reason
        case.result = [outcome]
    elif verdict.is_failure:
        case.result = [Error(reason, verdict.value)]
    elif verdict is not Verdict.PASS:
        case.result = [Skipped(reason, verdict.value)]
    return case


def _clean(text: str) -> str:
    """Replace the characters that XML 1.0 does not allow, such as a console's control characters."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
