# SPDX-License-Identifier: GPL-2.0-or-later
"""``--repeat`` and ``--shuffle``: a run again and again, each in another order, and which verdicts varied."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable

from rich.console import Console

from plugfest.cli.execute import Ended, shown
from plugfest.cli.options import ANY_SEED
from plugfest.errors import INTERRUPTED, UsageError
from plugfest.report import repetition
from plugfest.report.repetition import PREFIX, Run
from plugfest.requirements.verdict import Verdict
from plugfest.run.plan import RunPlan

Execute = Callable[[RunPlan, Console], Ended]
"""Carries one run out, writes its reports and prints the summary."""


def seed_of(shuffle: str | None) -> int | None:
    """Return the seed of the order; None if the tests run in their own.

    Args:
        shuffle: the value of ``--shuffle``.

    Raises:
        UsageError: it is no whole number.
    """
    if shuffle is None:
        return None
    if shuffle == ANY_SEED:
        return any_seed()
    if not shuffle.isascii() or not shuffle.isdecimal():
        raise UsageError(
            f"--shuffle {shuffle}: expected a seed, a whole number from 0, or nothing; found something else; "
            "write --shuffle after DRIVER, or --shuffle=SEED"
        )
    return int(shuffle)


def any_seed() -> int:
    """Return a seed by chance."""
    return secrets.randbelow(1_000_000)


def run_once(ready: RunPlan, execute: Execute, console: Console) -> int:
    """Carry out one run, which says how to have its order again.

    Returns:
        The exit status.
    """
    if ready.seed is not None:
        console.print(f"in the order of seed {ready.seed}; --shuffle={ready.seed} repeats it", soft_wrap=True)
    return execute(ready, console).status


def repeat(ready: RunPlan, execute: Execute, console: Console, *, count: int, load: int = 0) -> int:
    """Carry out several runs, each into a folder of its own, and compare the verdicts.

    The comparison is written anew after each run, so that whatever ends the command leaves one of the runs that there are.

    Args:
        ready: the plan of the first run, but for the folder, which holds no run; each run's seed is one more than that of the one before.
        execute: carries out one of them.
        console: for the summaries.
        count: how many runs.
        load: how many of them under load, the last ones.

    Returns:
        The exit status: 0 if each test had one verdict in all runs, and no run failed.
    """
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
            ended = execute(plan, console)
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
