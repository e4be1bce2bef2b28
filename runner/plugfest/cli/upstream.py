# SPDX-License-Identifier: GPL-2.0-or-later
"""Carries one run of upstream's tests out: the tests in the run's namespaces, then the reports."""

from __future__ import annotations

import functools
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from plugfest.cli.execute import Ended, carry_out
from plugfest.cli.prepare import provenance
from plugfest.errors import PlugfestError
from plugfest.provision.settings import ProvisionSettings
from plugfest.provision.toolchain import ensure_bwrap
from plugfest.requirements import known_issues
from plugfest.run import journal, testbed
from plugfest.run.plan import RunPlan
from plugfest.run.subject import subject_of
from plugfest.run.time_limit import OWN_LIMIT
from plugfest.selftests.remote_host import RemoteHost
from plugfest.selftests.selection import Selected, check_cases, in_order, select
from plugfest.selftests.selftest import Selftests
from plugfest.selftests.session import KNOWN_ISSUES, Session


@dataclass(frozen=True)
class Upstream:
    """What runs of upstream's tests have in common, beside the plan.

    Attributes:
        tests: those of the kernel's source.
        names: what the user wants of them; none for all.
        provision: cache and mirror.
        own_limit: time limit, seconds on a guest of speed 1, of tests for which upstream has none.
        disruptive: whether a test may take the interface down.
    """

    tests: Selftests
    names: tuple[str, ...]
    provision: ProvisionSettings
    own_limit: float = OWN_LIMIT
    disruptive: bool = True

    def selected(self) -> list[Selected]:
        """Return the tests that are wanted, in upstream's order.

        Raises:
            UsageError: there is no such test, it runs no single cases, or its source has nothing of a wanted case's name.
        """
        found = select(self.tests.tests, self.names)
        check_cases(self.tests, found)
        return found

    def describe(self, ready: RunPlan) -> dict[str, Any]:
        """Return the fields of the journal's ``run`` event."""
        found: dict[str, Any] = provenance(ready, ())
        return {
            "kind": "selftests",
            "source": self.tests.title,
            **found,
            # Variables for pytest do not concern these tests.
            "options": {
                **found["options"],
                "pytest": list(self.names),
                "disruptive": self.disruptive,
                "time_limit": self.own_limit,
            },
            "testbed": {**found["testbed"], "selftests": testbed.tree_sha256(self.tests.tree)},
        }

    def execute(self, ready: RunPlan, console: Console) -> Ended:
        """Run the tests in the run's namespaces, write the reports and print the summary.

        Args:
            ready: the plan; its output folder holds no run, and its root has the tests.
            console: for the summary.

        Raises:
            InfrastructureError: the run did not start.
        """
        selected = self.selected()
        bwrap = ensure_bwrap(self.provision)
        listed = [*known_issues.load(), *known_issues.load(KNOWN_ISSUES)]
        issues = known_issues.KnownIssues(listed, subject_of(ready))
        journal.make_folder(ready.output)
        shutil.copyfile(self.tests.log, ready.output / "helpers.log")
        payload = functools.partial(self._inside, ready, in_order(selected, ready.seed), bwrap, issues)
        return carry_out(ready, console, payload, functools.partial(self.describe, ready))

    def _inside(
        self, ready: RunPlan, selected: Sequence[Selected], bwrap: Sequence[str], issues: known_issues.KnownIssues
    ) -> int:
        """Run the tests in the run's namespaces."""
        assert ready.root.folder is not None
        try:
            with journal.Journal(ready.output) as written:
                remote = RemoteHost(bwrap, ready.root.folder, ready.scratch / "remote")
                session = Session(
                    ready, self.tests, issues, remote, written, own_limit=self.own_limit, disruptive=self.disruptive
                )
                session.run(selected)
        except PlugfestError as error:
            print(f"plugfest: {error}", file=sys.stderr)  # noqa: T201 - the run's own process has no other way
            return error.exit_status
        return 0
