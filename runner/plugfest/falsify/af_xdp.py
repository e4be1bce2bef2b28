# SPDX-License-Identifier: GPL-2.0-or-later
"""AF_XDP sockets: their binding, their rings, and what comes to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plugfest.falsify.falsification import Falsification, Handler, Handlers, Request, always, answers, asks, skips
from plugfest.falsify.xdp import COUNTERS, of_map, on_one_queue
from plugfest.xdp.af_xdp import XDP_COPY, XDP_PKT_CONTD, XDP_TX_METADATA, XDP_ZEROCOPY

COMMAND = "agent:af_xdp.ask"
SEND, RECEIVE, REAP, STATISTICS = (f"agent:af_xdp.{name}" for name in ("send", "receive", "reap", "statistics"))


def _command_lost(name: str) -> Handler:
    """A command of the process in the guest is not given; it reports 0."""
    return skips(0, when=lambda params: params["command"].startswith(f"{name} "))


def _in_other_mode(params: Mapping[str, Any]) -> dict[str, Any]:
    words = params["command"].split()
    if words[0] != "open":
        return {}
    return {"command": " ".join([*words[:-1], str(int(words[-1]) ^ (XDP_COPY | XDP_ZEROCOPY))])}


def _without_option(option: int) -> Handler:
    return asks(lambda params: {"options": params["options"] & ~option})


def _last_of_its_packet(buffers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**each, "options": each["options"] & ~XDP_PKT_CONTD} for each in buffers]


def _one_flow() -> Handlers:
    """The sockets' buffers all come to the one that is asked first."""
    first: list[tuple[int, int]] = []
    kept: list[Any] = []

    def receive(request: Request) -> Any:
        socket = (request.params["sockets"], request.params["socket"])
        first[:] = first or [socket]
        found = request.answer()
        if socket != first[0]:
            kept.extend(found)
            request.fired = bool(found)
            return []
        taken, kept[:] = list(kept), []
        request.fired = bool(taken)
        return [*found, *taken]

    return {COUNTERS: of_map("count", on_one_queue), RECEIVE: receive}


ROWS = (
    always(
        "program:af_xdp.other-mode", "a socket is bound in the other of the two modes", {COMMAND: asks(_in_other_mode)}
    ),
    always(
        "program:af_xdp.not-entered",
        "a socket is not entered in the map of its program",
        {COMMAND: _command_lost("map")},
    ),
    always("program:af_xdp.not-filled", "no buffer is posted to a fill ring", {COMMAND: _command_lost("fill")}),
    always(
        "program:af_xdp.completion-lost",
        "the first of several completions is not reported",
        {REAP: answers(lambda completions: completions[1:])},
    ),
    always(
        "program:af_xdp.not-woken", "the kernel is not woken for what is to be sent", {COMMAND: _command_lost("wake")}
    ),
    always(
        "program:af_xdp.not-polled",
        "a socket's system calls do not poll the device",
        {COMMAND: _command_lost("busy-poll")},
    ),
    always(
        "program:af_xdp.napi-lost",
        "a socket is reported to have no NAPI instance",
        {COMMAND: _command_lost("napi")},
    ),
    always(
        "program:af_xdp.statistics-lost",
        "all of a socket's statistics are reported as 0",
        {STATISTICS: answers(lambda found: dict.fromkeys(found, 0))},
    ),
    always(
        "program:af_xdp.metadata-lost",
        "frames are sent without the offloads that were requested for them",
        {SEND: _without_option(XDP_TX_METADATA)},
    ),
    always(
        "program:af_xdp.not-joined",
        "each buffer is reported as the last of its packet",
        {RECEIVE: answers(_last_of_its_packet)},
    ),
    always(
        "program:af_xdp.not-continued",
        "each of several buffers of a frame is sent as a frame of its own",
        {SEND: _without_option(XDP_PKT_CONTD)},
    ),
    Falsification(
        "program:traffic.one-flow",
        "all frames are reported on one queue and on one AF_XDP socket, as those of one flow",
        _one_flow,
    ),
)
