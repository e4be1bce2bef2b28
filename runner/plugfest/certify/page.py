# SPDX-License-Identifier: GPL-2.0-or-later
"""``index.html`` of a bundle: what was certified, against what, with which exceptions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from plugfest.certify.certificate import RUNS, WARNED, Certificate
from plugfest.report import pages
from plugfest.requirements.verdict import Verdict


@dataclass(frozen=True)
class _Row:
    """A requirement that does not just pass.

    Attributes:
        requirement: of the document.
        verdict: the worst of its tests.
        reasons: what its tests found, each once.
    """

    requirement: dict[str, Any]
    verdict: Verdict
    reasons: list[str]


def render(certificate: Certificate) -> bytes:
    """Return the page."""
    verdicts = certificate.verdicts
    passed = certificate.requirements(Verdict.PASS)
    skipped = certificate.requirements(Verdict.SKIP)
    page = pages.render(
        "certificate.html",
        script=None,
        result=certificate.result,
        tone={"PASSED": "pass", "WARNED": "xfail", "FAILED": "fail"}[certificate.result],
        manifest=certificate.manifest,
        runs=RUNS,
        counts=[
            ("pass", len(passed), "pass in all runs"),
            ("xfail", len(certificate.requirements(*WARNED)), "are exceptions, listed below"),
            ("fail", len(certificate.failed), "fail"),
            ("skip", len(skipped), "are not claimed by the driver, or not offered by the kernel"),
        ],
        total=len(verdicts),
        failed=_rows(certificate, certificate.failed),
        warned=_rows(certificate, certificate.requirements(*WARNED)),
        skipped=_rows(certificate, skipped),
    )
    return page.encode()


def _rows(certificate: Certificate, wanted: list[str]) -> list[_Row]:
    reasons: dict[str, dict[str, None]] = {identity: {} for identity in wanted}
    for run in certificate.runs:
        for result in run.document["results"]:
            if result["requirement"] in reasons and result["verdict"] == certificate.verdicts[result["requirement"]]:
                issue = result["known_issue"]
                known = issue is not None and result["verdict"] == Verdict.XFAIL
                reasons[result["requirement"]].setdefault(issue["reason"] if known else result["reason"])
    described = {each["id"]: each for each in certificate.document["requirements"]}
    return [_Row(described[each], certificate.verdicts[each], list(reasons[each])) for each in wanted]
