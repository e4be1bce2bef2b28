# SPDX-License-Identifier: GPL-2.0-or-later
"""XDP programs: attaching them, what they count, and what they are given to know of frames."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from plugfest.falsify.falsification import Handler, Request, accepts, always, answers, asks, each, errors, skips
from plugfest.machine.agent import AgentError
from plugfest.xdp.adjustment import UNCHANGED
from plugfest.xdp.rx_metadata import PROGRAM, RSS_L4, RSS_L4_PROTOCOLS

ATTACH, LOAD, CLOSE = "agent:link.xdp_attach", "agent:bpf.load", "agent:handle.close"
COUNTERS = "agent:bpf.map_counters"
LRO = "rx-lro"
STATUS, TYPE = (1, 3, 6), 5
"""Places of the kfuncs' return codes, and of the hash's type, in a row of xdp_rx_metadata' map."""

Row = list[int]


def _attaches(params: Mapping[str, Any]) -> bool:
    return params["program"] is not None


def _detaches(params: Mapping[str, Any]) -> bool:
    return params["program"] is None


def _instead(name: str) -> Handler:
    return asks(lambda params: {"object": name} if params["type"] == "xdp" and params["device"] is None else {})


def _link_stays(request: Request) -> Any:
    if request.opened_by(request.params["handle"]) != "bpf.link_create":
        return request.answer()
    request.fired = True
    return None


def _sticks(request: Request) -> Any:
    try:
        return request.answer()
    except AgentError:
        if _attaches(request.params):
            request.fired = True
            request.answer(mode="generic")
        raise


def _without_extack(error: AgentError) -> AgentError:
    return AgentError("attach", error.type, os.strerror(error.errno or errno.EINVAL), error.errno)


def _lro_flipped(features: dict[str, Any]) -> dict[str, Any]:
    active = set(features["active"])
    return {**features, "active": sorted(active ^ {LRO})}


def _down_meanwhile(request: Request) -> Any:
    if not _attaches(request.params):
        return request.answer()
    request.fired = True
    request.call("link.set", ifname=request.params["ifname"], up=False)
    answer = request.answer()
    request.call("link.set", ifname=request.params["ifname"], up=True)
    return answer


def _not_configured(params: Mapping[str, Any]) -> dict[str, Any]:
    return {"value": UNCHANGED.hex()} if len(params["value"]) == 2 * len(UNCHANGED) else {}


def of_map(name: str, change: Callable[[list[Row]], list[Row]]) -> Handler:
    """Change what is read of the map of this name."""
    changed = answers(change)
    return lambda request: (
        changed(request) if request.opened_by(request.params["map"]) == f"map {name}" else request.answer()
    )


def on_one_queue(rows: list[Row]) -> list[Row]:
    """Count everything on queue 0: rows of counters by queue."""
    return [[sum(column) for column in zip(*rows, strict=True)], *([0] * len(row) for row in rows[1:])]


def _of_another_frame(rows: list[Row]) -> list[Row]:
    seen = [at for at, row in enumerate(rows) if row[0]]
    found = list(rows)
    for at, before in zip(seen, (*seen[-1:], *seen[:-1]), strict=True):
        found[at] = rows[before]
    return found


def _each_row(change: Callable[[Row], Sequence[int]]) -> Callable[[list[Row]], list[Row]]:
    return lambda rows: [list(change(row)) for row in rows]


def _loads_another(request: Request) -> Any:
    try:
        return request.answer()
    except AgentError:
        if request.params["object"] != PROGRAM:
            raise
        request.fired = True
        return request.answer(object="xdp_pass")


ROWS = (
    always(
        "program:xdp.not-attached",
        "a program is not attached, but reported as attached",
        {ATTACH: skips(when=_attaches)},
    ),
    always(
        "program:xdp.pass-instead", "the program that only passes is loaded for any other", {LOAD: _instead("xdp_pass")}
    ),
    always("program:xdp.drop-instead", "the program that drops is loaded for any other", {LOAD: _instead("xdp_drop")}),
    always(
        "program:xdp.stays-attached",
        "a program is not detached, but reported as detached",
        {ATTACH: skips(when=_detaches), CLOSE: _link_stays},
    ),
    always(
        "program:xdp.rejected-attach-sticks",
        "a program that was rejected is attached all the same, in generic mode",
        {ATTACH: _sticks},
    ),
    always(
        "program:xdp.error-without-extack",
        "an error comes without its extended acknowledgement",
        each((ATTACH, "agent:bpf.link_create", "agent:ethtool.set"), errors(_without_extack)),
    ),
    always(
        "program:xdp.lro-misreported",
        "large receive offload is reported as the opposite of what it is",
        {"agent:ethtool.get": answers(_lro_flipped, when=lambda params: params["what"] == "features")},
    ),
    always(
        "program:xdp.attached-while-down",
        "each program is attached with the interface taken down for it, as an old driver does",
        {ATTACH: _down_meanwhile},
    ),
    always(
        "program:xdp.announcement-lost",
        "the kernel's notifications of device changes are lost",
        {"agent:netdev.monitor_read": skips([])},
    ),
    always(
        "program:xdp.adjustment-lost",
        "the program is not configured, and passes frames as they are",
        {"agent:bpf.map_update": asks(_not_configured)},
    ),
    always(
        "program:rx-metadata.of-another-frame",
        "each frame's metadata is reported as that of the frame after it",
        {COUNTERS: of_map("rx_metadata", _of_another_frame)},
    ),
    always(
        "program:rx-metadata.invented",
        "metadata that the driver does not have is reported as there, and 0",
        {
            COUNTERS: of_map(
                "rx_metadata", _each_row(lambda row: [0 if at in STATUS else value for at, value in enumerate(row)])
            )
        },
    ),
    always(
        "program:rx-metadata.type-without-ports",
        "the type of each hash is reported as that of one of addresses alone",
        {
            COUNTERS: of_map(
                "rx_metadata",
                _each_row(lambda row: [*row[:TYPE], row[TYPE] & ~(RSS_L4 | RSS_L4_PROTOCOLS), *row[TYPE + 1 :]]),
            )
        },
    ),
    always(
        "program:rx-metadata.error-lost",
        "a program that was rejected is reported as accepted",
        {LOAD: _loads_another, ATTACH: accepts()},
    ),
)
