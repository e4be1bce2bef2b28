# SPDX-License-Identifier: GPL-2.0-or-later
"""The files that belong to a run: those that it must have, and those that it may have beside them."""

from __future__ import annotations

import re

from plugfest.certify.group import Kind
from plugfest.report.artifact import table_page
from plugfest.report.document import Document, artifacts
from plugfest.run import testbed

REPORTS = ("report.json", "report.html", "junit.xml", "report.tap")

_GUEST = r"guest-[1-9][0-9]{0,3}/"
_LOGS = r"(journal\.jsonl|console\.log|model\.log)"
_MORE = {
    Kind.SUITE: re.compile(rf"({_GUEST})?{_LOGS}"),
    # Each test's output is kept, a report names that of one that does not pass.
    Kind.SELFTESTS: re.compile(
        rf"{_LOGS}|helpers\.log|artifacts/[^/]+/(attempt-[2-9]/)?({_GUEST})?(output|console|dmesg)\.txt"
    ),
}
"""Files that no report names."""


class RunFiles:
    """The files of one run, by their paths in its folder.

    Attributes:
        required: its reports, its kernel's configuration, what was kept of each test.
    """

    def __init__(self, document: Document) -> None:
        """Take the names from a run's report."""
        run = document["run"]
        self.required: list[str] = [*REPORTS]
        if run["testbed"]["kernel"]["config"] is not None:
            self.required.append(testbed.CONFIG)
        for result in document["results"]:
            self.required += artifacts(result).values()
        pages = filter(None, map(table_page, self.required))
        self._named = frozenset([*self.required, *pages])
        self._more = _MORE[Kind(run.get("kind", Kind.SUITE))]

    def have(self, path: str) -> bool:
        """Whether a file belongs to the run: a page that shows a capture or a register trace, and a log, does too."""
        return path in self._named or self._more.fullmatch(path) is not None
