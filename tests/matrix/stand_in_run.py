# SPDX-License-Identifier: GPL-2.0-or-later
"""Stands in for ``plugfest run`` in a process of its own: does what the scenario in the folder ``$STAND_IN`` has for its driver.

Without plugfest, so that it starts at once. ``begun-DRIVER-N`` and ``ended-DRIVER-N`` have when its N-th run began and ended. With
patches, ``DRIVER`` is the driver's name and, after a plus each, those of the files: ``ixgbe+fix``.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
import time
from pathlib import Path

HOME = Path(os.environ["STAND_IN"])
ARGUMENTS = sys.argv[1:]


def value(option: str) -> str | None:
    return ARGUMENTS[ARGUMENTS.index(option) + 1] if option in ARGUMENTS else None


def number_of(driver: str) -> int:
    number = 1
    while True:
        try:
            with (HOME / f"begun-{driver}-{number}").open("x") as file:
                file.write(json.dumps({"time": time.time(), "pid": os.getpid(), "arguments": ARGUMENTS}))
            return number
        except FileExistsError:
            number += 1


def main() -> int:
    # Whoever sees that a run has begun may interrupt it; it is asked for below, with who sent it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    output = Path(value("--output") or "")
    paths = [Path(path) for option, path in itertools.pairwise(ARGUMENTS) if option == "--patch"]
    series = [os.fsencode(path.stem).decode(errors="backslashreplace") for path in paths]
    driver = "+".join([ARGUMENTS[1], *series])
    (HOME / f"environment-{driver}").write_text(json.dumps(dict(os.environ)))
    number = number_of(driver)
    steps = json.loads((HOME / "scenario.json").read_text()).get(driver, [{}])
    step = steps[min(number, len(steps)) - 1]
    template = json.loads((HOME / "template.json").read_text())
    sys.stdout.write(f"{driver}, run {number}\n")
    if "refused" in step:
        sys.stderr.write(f"plugfest: {step['refused']}\n")
        return 1
    journal = (output / "journal.jsonl").open("x")
    for event in template["journal"]:
        event["time"] = time.time()
        if event["event"] == "run":
            change(event, series, step)
        if event["event"] != "end":
            journal.write(json.dumps(event) + "\n")
            journal.flush()
    begin = time.monotonic()
    while not go_on(step, driver, begin):
        if (sender := interrupted(0.01)) is not None:
            end(step, driver, number, sender)
            return 130
    if "kill" in step:
        os.kill(os.getpid(), step["kill"])
    if "error" in step:
        sys.stderr.write(f"plugfest: {step['error']}\n")
        return int(step.get("status", 3))
    report = template["report"]
    change(report["run"], series, step)
    report["run"]["exit_status"] = step.get("status", 0)
    report["run"]["start"] = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
    for result in report["results"]:
        result["verdict"] = step.get("verdict", "pass")
        result["start"] = f"{report['run']['start'][:19]}.{os.getpid() % 1000:03}+00:00"
    report["summary"] = {**dict.fromkeys(report["summary"], 0), step.get("verdict", "pass"): len(report["results"])}
    text = json.dumps(report)
    (output / "report.json").write_text(text[: len(text) // 2] if step.get("torn") else text)
    (output / "report.html").write_text(f"<!DOCTYPE html><title>{driver}</title>")
    (HOME / f"ended-{driver}-{number}").write_text(str(time.time()))
    return int(step.get("status", 0))


def change(run: dict, series: list[str], step: dict) -> None:
    run["driver"] = ARGUMENTS[1]
    run["subject"]["profile"] = value("--profile")
    run["kernel"]["spec"] = value("--kernel")
    run["kernel"]["release"] = step.get("release", run["kernel"]["release"])
    if series:
        run["options"] |= {"series": series, "modules": [f"{value('--output')}/module/{ARGUMENTS[1]}.ko"]}


def interrupted(seconds: float) -> int | None:
    """Wait for SIGINT; return the process that sent it."""
    received = signal.sigtimedwait({signal.SIGINT}, seconds)
    return None if received is None else received.si_pid


def end(step: dict, driver: str, number: int, sender: int) -> None:
    """Take the time to end that the scenario has, and write who interrupted it, each time."""
    senders = [sender]
    (HOME / f"interrupted-{driver}-{number}").touch()
    until = time.monotonic() + (600 if step.get("stubborn") else step.get("ending", 0.0))
    while (left := until - time.monotonic()) > 0:
        if (sender := interrupted(left)) is not None:
            senders.append(sender)
    (HOME / f"ended-by-itself-{driver}-{number}").write_text(json.dumps(senders))


def go_on(step: dict, driver: str, begin: float) -> bool:
    if step.get("wait"):
        return (HOME / f"go-{driver}").exists()
    return time.monotonic() - begin >= step.get("seconds", 0.0)


if __name__ == "__main__":
    sys.exit(main())
