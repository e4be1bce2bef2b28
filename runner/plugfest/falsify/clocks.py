# SPDX-License-Identifier: GPL-2.0-or-later
"""Clocks, and the timestamps that they give frames."""

from __future__ import annotations

from typing import Any

from plugfest.falsify.falsification import always, answers, each, skips

HOUR = 3600 * 10**9


def _ahead(reading: list[int]) -> list[int]:
    before, time, after = reading
    return [before, time + HOUR, after]


def _skewed(reading: list[int]) -> list[int]:
    before, time, after = reading
    return [before, time + after // 50, after]


def _device_ahead(clock: dict[str, Any]) -> dict[str, Any]:
    return clock if clock["now"] is None else {**clock, "now": int(clock["now"]) + HOUR}


def _without_time(found: dict[str, Any] | None) -> dict[str, Any] | None:
    # Not None: the test would wait for a stamp until its timeout.
    return found and {**found, "stamp": 0}


ROWS = (
    always(
        "program:clocks.ahead",
        "every clock is read an hour ahead",
        {
            "model:model.clock": answers(_device_ahead),
            "agent:phc.read": answers(_ahead),
            "agent:system.nanoseconds": answers(lambda found: {name: now + HOUR for name, now in found.items()}),
        },
    ),
    always(
        "program:clock.not-changed",
        "a change of the hardware clock is not made, but reported as made",
        each(("agent:phc.adjust_frequency", "agent:phc.step", "agent:phc.set"), skips()),
    ),
    always(
        "program:clock.skewed",
        "each reading of the hardware clock is too high by a fiftieth of the guest's uptime",
        {
            "agent:phc.read": answers(_skewed),
            "agent:phc.series": answers(lambda readings: [_skewed(reading) for reading in readings]),
        },
    ),
    always(
        "program:stamp.lost",
        "the timestamp of a received frame is not reported, that of a sent one is reported as 0",
        {
            "agent:packet.receive": answers(
                lambda frames: [{name: each[name] for name in each if name != "stamp"} for each in frames]
            ),
            "agent:packet.tx_timestamp": answers(_without_time),
        },
    ),
    always(
        "program:stamp.not-set",
        "the interface is not configured to stamp frames, but reported as configured",
        {"agent:phc.set_hwtstamp": skips()},
    ),
)
