# SPDX-License-Identifier: GPL-2.0-or-later
"""The queue API: bindings of memory, NAPI instances, page pools, and what the kernel has allocated."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any

from plugfest.falsify.falsification import (
    Falsification,
    Handlers,
    Later,
    Request,
    accepts,
    always,
    answers,
    asks,
    errors,
    skips,
)
from plugfest.machine.agent import AgentError

NOWHERE = -1
"""A handle of nothing: to close it does nothing."""
NO_BINDING = {"handle": NOWHERE, "id": 0}
BINDS = ("devmem.bind", "devmem.bind_tx", "zcrx.register")
RING = 512
"""Objects that a driver allocates for a ring of as many descriptors."""


def _before(queue: int) -> int:
    return max(0, queue - 1)


def _stays_bound(request: Request) -> Any:
    if request.opened_by(request.params["handle"]) not in BINDS:
        return request.answer()
    request.fired = True
    return None


def _other_errno(error: AgentError) -> AgentError:
    return AgentError("bind", error.type, "", errno.EIO)


def _spoilt(received: dict[str, Any]) -> dict[str, Any]:
    return {**received, "sha256": "spoilt"}


def _another_napi(queues: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**queue, "napi-id": queue.get("napi-id", 0) + 1} for queue in queues]


def _another_interrupt(instances: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**napi, "irq": (napi.get("irq") or 0) + 1} for napi in instances]


def _whole_guest(params: Mapping[str, Any]) -> bool:
    return "ifname" not in params


def _memory_lost() -> Handlers:
    readings = 0

    def more(slab: dict[str, Any]) -> dict[str, Any]:
        nonlocal readings
        readings += 1
        cache = slab["kmalloc-64"]
        return {**slab, "kmalloc-64": {**cache, "active": cache["active"] + RING * readings}}

    return {"agent:system.slab": answers(more)}


ROWS = (
    always(
        "program:qapi.not-bound",
        "memory is not bound to a queue, but reported as bound",
        {
            "agent:devmem.bind": skips(NO_BINDING),
            "agent:devmem.bind_tx": skips(NO_BINDING),
            "agent:zcrx.register": skips(NOWHERE),
        },
    ),
    always(
        "program:qapi.next-queue",
        "memory is bound to the queue before the one that was meant",
        {
            "agent:devmem.bind": asks(lambda params: {"queues": [_before(queue) for queue in params["queues"]]}),
            "agent:zcrx.register": asks(lambda params: {"queue": _before(params["queue"])}),
        },
    ),
    always(
        "program:qapi.stays-bound",
        "memory is not unbound, but reported as unbound",
        {"agent:handle.close": _stays_bound, "agent:worker.end": skips(True)},
    ),
    always(
        "program:qapi.error-lost",
        "a binding that was rejected is reported as made",
        {
            "agent:devmem.bind": accepts(NO_BINDING),
            "agent:devmem.bind_tx": accepts(NO_BINDING),
            "agent:zcrx.register": accepts(NOWHERE),
        },
    ),
    always(
        "program:qapi.other-errno",
        "a binding is rejected with EIO and without an extended acknowledgement",
        {f"agent:{name}": errors(_other_errno) for name in BINDS},
    ),
    always(
        "program:qapi.byte-corrupted",
        "one byte of what was received is read wrong",
        {"agent:devmem.receive": answers(_spoilt), "agent:zcrx.receive": answers(_spoilt)},
    ),
    Falsification(
        "program:qapi.napi-changed",
        "the second reading of the queues shows other NAPI instances",
        lambda: {"agent:netdev.queue_get": Later().answers(_another_napi)},
    ),
    Falsification(
        "program:qapi.interrupt-changed",
        "the second reading of the NAPI instances shows other interrupts",
        lambda: {"agent:netdev.napi_get": Later().answers(_another_interrupt)},
    ),
    always(
        "program:qapi.pool-left",
        "a page pool is reported that waits for its last buffers",
        {"agent:netdev.page_pool_get": answers(lambda pools: [*pools, {"id": 0, "detach-time": 0}], when=_whole_guest)},
    ),
    Falsification(
        "program:qapi.memory-lost",
        "each reading shows as many slab objects more as a ring has descriptors",
        _memory_lost,
    ),
)
