# SPDX-License-Identifier: GPL-2.0-or-later
"""``tox -e bench``: throughput and times, side by side in one run. Not a test: these figures are for reading.

Quote the ratios: a machine's speed drifts, and what is compared here drifts together.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

_MODEL_TESTS = Path(__file__).parents[1] / "nicmodels"
sys.path[:0] = [str(Path(__file__).parent), str(_MODEL_TESTS), str(_MODEL_TESTS / "xgbe")]

import rates  # noqa: E402 - found by the line above
import suite_cost  # noqa: E402
import throughput  # noqa: E402
from plugfest.errors import InfrastructureError  # noqa: E402
from plugfest.machine import acceleration  # noqa: E402
from plugfest.machine.guest import Guest  # noqa: E402
from plugfest.machine.snapshot import Snapshots  # noqa: E402
from plugfest.machine.virtual import qemu_command  # noqa: E402
from plugfest.provision.kernel import ensure_kernel  # noqa: E402
from plugfest.provision.root import ensure_root  # noqa: E402
from plugfest.provision.settings import ProvisionSettings  # noqa: E402
from plugfest.provision.toolchain import ensure_toolchain  # noqa: E402
from plugfest.run import sandbox  # noqa: E402
from plugfest.run.plan import RunPlan  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

COMPARED_WITH = "igb (QEMU)"


def main() -> int:
    """Measure what was asked for and print it."""
    parser = argparse.ArgumentParser(prog="tox -e bench --", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of TCP through every NIC (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement (default: %(default)s)")
    parser.add_argument("--starts", type=int, default=3, help="cold boots and restores to time (default: %(default)s)")
    parser.add_argument("--no-suite", action="store_true", help="do not run the whole ixgbe suite")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    asked = parser.parse_args()
    settings = ProvisionSettings()
    toolchain, root, kernel = ensure_toolchain(settings), ensure_root(settings), ensure_kernel(settings)
    chosen = acceleration.choose("auto", toolchain, kernel, cache=settings.cache)
    with TemporaryDirectory() as folder:
        plan = RunPlan(
            driver="ixgbe",
            profile=None,
            toolchain=toolchain,
            root=root,
            kernel=kernel,
            acceleration=chosen.name,
            acceleration_reason=chosen.reason,
            output=Path(folder),
            scratch=settings.cache / "run",
            snapshots=settings.cache / "snapshots",
        )
        figures = Path(folder) / "figures.json"
        outcome = sandbox.enter(lambda: _inside(plan, asked, figures), folder=plan.scratch)
        if outcome.status:
            return outcome.status
        found = json.loads(figures.read_text())
    if not asked.no_suite:
        cost = _run_suite()
        kept = settings.cache / "bench" / f"ixgbe-{kernel.release}-{chosen.name}.json"
        Console().print(suite_cost.table(cost, suite_cost.replaced(kept, cost)))
        Console().print(f"kept for the next run in {kept}", highlight=False)
        found["suite"] = asdict(cost)
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=2))
    return 0


def _inside(plan: RunPlan, asked: argparse.Namespace, figures: Path) -> int:
    console = Console()
    console.print(f"QEMU {plan.toolchain.version}, Linux {plan.kernel.release}, {plan.acceleration}", highlight=False)
    starts = _time_starts(plan, asked.starts)
    table = Table("start to the agent's first reply, s", "min", "median", "max")
    for name, seconds in starts.items():
        table.add_row(name, *(f"{value:.2f}" for value in (min(seconds), statistics.median(seconds), max(seconds))))
    console.print(table)

    alone = rates.measure(asked.seconds / 3, asked.rounds)
    console.print(_rates_table(alone))

    compared = throughput.subjects()
    guest = Guest(qemu_command(plan), log=plan.output / "console.log", snapshots=_snapshots(plan), cwd=plan.scratch)
    try:
        throughput.measure(guest, compared, plan.scratch, rounds=asked.rounds, seconds=asked.seconds)
    finally:
        guest.close()
    console.print(_throughput_table(compared))
    console.print(_cost_table(compared))
    found = {
        "starts": starts,
        "alone": [vars(rate) for rate in alone],
        "throughput": [vars(subject) for subject in compared],
    }
    figures.write_text(json.dumps(found))
    return 0


def _snapshots(plan: RunPlan) -> Snapshots:
    assert plan.snapshots is not None
    return Snapshots(plan.snapshots)


def _time_starts(plan: RunPlan, count: int) -> dict[str, list[float]]:
    """Time cold boots and restores by turns."""
    log = plan.output / "starts.log"
    Guest(
        qemu_command(plan), log=log, snapshots=_snapshots(plan), cwd=plan.scratch
    ).close()  # stores a snapshot if there is none
    found: dict[str, list[float]] = {"cold boot": [], "restored from a snapshot": []}
    for _ in range(count):
        for name, snapshots in (("cold boot", None), ("restored from a snapshot", _snapshots(plan))):
            guest = Guest(qemu_command(plan), log=log, snapshots=snapshots, cwd=plan.scratch)
            found[name].append(guest.seconds)
            guest.close()
    return found


def _rates_table(found: list[rates.Rate]) -> Table:
    """Frames a second of CPU time, and the models' ratios to the C loop."""
    subjects = list(found[0].seconds)
    table = Table("alone on a tap, frames a CPU second", *subjects)
    for rate in found:
        cells = []
        for name in subjects:
            ratio = rate.ratio(name)
            shown = "" if ratio is None or name == rates.C_LOOP else f" ({ratio:.2f})"
            cells.append(f"{rate.frames_per_second(name):,.0f}{shown}")
        table.add_row(f"{rate.direction} {rate.size} bytes, {rate.kind}", *cells)
    return table


def _throughput_table(compared: list[throughput.Subject]) -> Table:
    probing = {"plug to netdev, s": [f"{subject.probe_seconds:.2f}" for subject in compared]}
    return _tcp_table(
        "TCP through one guest, Mbit/s", compared, lambda each: (each.transmitted, each.received), more=probing
    )


def _cost_table(compared: list[throughput.Subject]) -> Table:
    return _tcp_table(
        "CPU seconds of QEMU and the model for a gigabyte of TCP",
        compared,
        lambda each: (each.transmit_cost, each.receive_cost),
    )


def _tcp_table(
    title: str,
    compared: list[throughput.Subject],
    both_ways: Callable[[throughput.Subject], tuple[list[float], list[float]]],
    *,
    more: Mapping[str, list[str]] = MappingProxyType({}),
) -> Table:
    """Return a table of what each subject's rounds found, when the guest sends and when it receives, and more columns."""
    references = both_ways(next(subject for subject in compared if subject.name == COMPARED_WITH))
    table = Table(title)
    for direction in ("guest sends", "guest receives"):
        table.add_column(direction)
        table.add_column(f"of {COMPARED_WITH}")
    for name in more:
        table.add_column(name)
    for number, subject in enumerate(compared):
        cells = [subject.name]
        for values, reference in zip(both_ways(subject), references, strict=True):
            cells += [_spread(values), _ratio(values, reference)]
        table.add_row(*cells, *(column[number] for column in more.values()))
    return table


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f})"


def _ratio(values: list[float], reference: list[float]) -> str:
    """Return the median of the rounds' own ratios."""
    return f"{statistics.median(mine / theirs for mine, theirs in zip(values, reference, strict=True)):.2f}"


def _run_suite() -> suite_cost.SuiteCost:
    begin = time.monotonic()
    with TemporaryDirectory() as output:
        command = [sys.executable, "-m", "plugfest", "run", "ixgbe", "--output", f"{output}/suite"]
        status = subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode
        seconds = time.monotonic() - begin
        if status not in (0, 1):  # with any verdict it ran to its end
            raise InfrastructureError(f"expected the suite to be run, found that it ended with status {status}")
        report = json.loads(Path(f"{output}/suite/report.json").read_text())
    return suite_cost.SuiteCost.of(report, seconds)


if __name__ == "__main__":
    sys.exit(main())
