# SPDX-License-Identifier: GPL-2.0-or-later
"""Made-up runs of several nights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from history import History
from plugfest.report import document

DAY = 86400.0
OOPS = """\
[   60.023630] BUG: kernel NULL pointer dereference, address: 00000000000000a0
[   60.030359] RIP: 0010:gve_get_rx_queue_stats+0x17/0x50 [gve]
[   60.048000] Call Trace:
[   60.048778]  netdev_stat_queue_sum+0x120/0x250
[   60.066931]  </TASK>
"""
FINGERPRINT = "BUG: kernel NULL pointer dereference in gve_get_rx_queue_stats < netdev_stat_queue_sum"


def night(
    folder: Path,
    number: int,
    verdicts: Mapping[str, str],
    *,
    driver: str = "ixgbe",
    profile: str | None = "kr",
    kernel: str = "trixie-backports",
    release: str = "7.3.4+deb13-amd64",
    **options: Any,
) -> Path:
    """Write the report of one night's run.

    Args:
        folder: the run's output folder.
        number: of the night.
        verdicts: by requirement, or by requirement and parameters: ``LINK-A-01[copy]``. A ``crash`` has `OOPS`.
        driver: under test.
        profile: of its model.
        kernel: as the user gave it.
        release: what that was.
        options: of the run, beside those that `History` sets.
    """
    made = History(falsify=options.pop("falsify", False))
    run = made.events[0]
    run["driver"] = run["module"] = run["subject"]["name"] = driver
    run["subject"] |= {"profile": profile, "text": f"plugfest's model of {driver} ({profile})"}
    run["kernel"] = {"spec": kernel, "release": release}
    run["options"] |= options
    for name, verdict in verdicts.items():
        requirement, bracket, parameters = name.partition("[")
        test = made.plan(requirement, f"test_{requirement.lower().replace('-', '_')}{bracket}{parameters}")
        more: dict[str, Any] = {"problems": [OOPS]} if verdict == "crash" else {}
        if verdict == "xfail":
            more["known_issue"] = {"reason": f"{driver}: off by one", "link": "https://example.org/1"}
        if verdict == "blocked":
            made.block(test, "LINK-UP-01")
        elif verdict in ("unstable", "quarantined"):
            made.tried_twice(test, verdict, "first fail: 41; then pass")
        elif verdict != "miss":
            made.result(test, verdict, "" if verdict in ("pass", "crash") else f"{verdict} of {name}", **more)
    if "miss" in verdicts.values():
        made.stop("interrupted", 130)
    made.end()
    for event in made.events:
        event["time"] += number * DAY
        for attempt in event.get("attempts", ()):
            attempt["start"] += number * DAY
    made.write(folder)
    document.write(made.document(), folder / "report.json")
    return folder
