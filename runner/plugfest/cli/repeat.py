# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest run --repeat``: the suite again and again, and which verdicts varied."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from rich.console import Console

from plugfest.cli.execute import Ended, check_unused, execute, make_latest, shown
from plugfest.errors import INTERRUPTED
from plugfest.report import repetition
from plugfest.report.repetition import PREFIX, Run
from plugfest.requirements.verdict import Verdict
from plugfest.run.plan import RunPlan


def repeat(
    ready: RunPlan, arguments: Sequence[str], user_arguments: Sequence[str], console: Console, *, count: int, load: int
) -> int:
    """Run the suite several times, each time into a folder of its own, and compare the verdicts.

    The comparison is written anew after each run, so that whatever ends the command leaves one of the runs that there are.

    Args:
        ready: the plan of the first run, but for the folder; each run's seed is one more than that of the one before.
        arguments: all of pytest's arguments.
        user_arguments: those that the user gave.
        console: for the summaries.
        count: how many runs.
        load: how many of them under load, the last ones.

    Returns:
        The exit status: 0 if each test had one verdict in all runs, and no run failed.
    """
    check_unused(ready.output)
    make_latest(ready.output)
    runs: list[Run] = []
    found, status = None, 0
    interrupted: str | None = None
    for number in range(1, count + 1):
        plan = dataclasses.replace(
            ready,
            output=ready.output / f"{PREFIX}{number}",
            seed=None if ready.seed is None else ready.seed + number - 1,
            loaded=number > count - load,
        )
        console.print(f"\nrun {number} of {count}{_kind(plan)}", soft_wrap=True)
        try:
            ended: Ended = execute(plan, arguments, user_arguments, console)
        except KeyboardInterrupt:  # while a report was made
            interrupted, status = "interrupted", INTERRUPTED
        else:
            runs.append(Run(plan.output.name, ended.document))
            if ended.interrupted is not None:
                interrupted, status = f"interrupted ({ended.interrupted})", ended.status
            elif all(result["verdict"] == Verdict.MISS for result in ended.document["results"]):
                # The next run would not find a guest either.
                interrupted, status = ended.document["run"]["interrupted"], ended.status
        if runs:
            found = repetition.build(runs, count, interrupted)
            repetition.write(found, ready.output)
        if interrupted:
            break
    if found is not None:
        repetition.render(found, console, folder=shown(ready.output))
        status = status or found["exit_status"]
    return status


def _kind(plan: RunPlan) -> str:
    words = ["" if plan.seed is None else f", in the order of seed {plan.seed}", ", under load" if plan.loaded else ""]
    return "".join(words)
