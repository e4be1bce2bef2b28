# SPDX-License-Identifier: GPL-2.0-or-later
"""Stands in for ``plugfest run`` in a process of its own: does what the scenario in the folder ``$STAND_IN`` has for its driver.

Without plugfest, so that it starts at once. ``begun-DRIVER-N`` and ``ended-DRIVER-N`` have when its N-th run began and ended.
"""

from __future__ import annotations

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
    # Whoever sees that a run has begun may interrupt it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    driver, output = ARGUMENTS[1], Path(value("--output") or "")
    (HOME / f"environment-{driver}").write_text(json.dumps(dict(os.environ)))
    number = number_of(driver)
    steps = json.loads((HOME / "scenario.json").read_text()).get(driver, [{}])
    step = steps[min(number, len(steps)) - 1]
    template = json.loads((HOME / "template.json").read_text())
    sys.stdout.write(f"{driver}, run {number}\n")
    journal = (output / "journal.jsonl").open("x")
    for event in template["journal"]:
        event["time"] = time.time()
        if event["event"] == "run":
            change(event, driver)
        if event["event"] != "end":
            journal.write(json.dumps(event) + "\n")
            journal.flush()
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        begin = time.monotonic()
        while not go_on(step, driver, begin):
            time.sleep(0.01)
    except KeyboardInterrupt:
        (HOME / f"interrupted-{driver}-{number}").touch()
        if step.get("stubborn"):
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            time.sleep(600)
        time.sleep(step.get("ending", 0.0))
        (HOME / f"ended-by-itself-{driver}-{number}").touch()
        return 130
    if "kill" in step:
        os.kill(os.getpid(), step["kill"])
    if "error" in step:
        sys.stderr.write(f"plugfest: {step['error']}\n")
        return int(step.get("status", 3))
    report = template["report"]
    change(report["run"], driver)
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


def change(run: dict, driver: str) -> None:
    run["driver"] = driver
    run["subject"]["profile"] = value("--profile")
    run["kernel"]["spec"] = value("--kernel")


def go_on(step: dict, driver: str, begin: float) -> bool:
    if step.get("wait"):
        return (HOME / f"go-{driver}").exists()
    return time.monotonic() - begin >= step.get("seconds", 0.0)


if __name__ == "__main__":
    sys.exit(main())
