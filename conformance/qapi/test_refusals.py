# SPDX-License-Identifier: GPL-2.0-or-later
"""What must be refused: with the errno that the kernel's interface gives it, and nothing changed."""

from __future__ import annotations

import errno

from plugfest.requirement import requirement

OPS = "include/net/netdev_queues.h, struct netdev_queue_mgmt_ops"


def whole(dut, view):
    """Everything that a refused binding might have changed."""
    return {
        "queues": view.states(),
        "page pools": sorted(pool["id"] for pool in view.pools()),
        "rings": dut.get("rings"),
        "channels": dut.get("channels"),
        "features": dut.features(),
        "carrier changes": dut.link()["carrier-changes"],
    }


@requirement(
    "QAPI-REFUSE-01",
    level="MUST",
    source=f"{OPS}; net/core/netdev-genl.c, netdev_nl_bind_rx_doit",
    falsified_by=("program:qapi.refusal-lost", "program:qapi.other-errno"),
)
def test_no_queue_management(dut, kind, allocate, view, crossing, step, unclaimed, evidence):
    """A driver that does not stop and start single queues refuses to bind memory, with EOPNOTSUPP, and stays intact."""
    memory = allocate(kind)
    with step("Read the queues, page pools, rings, channels and features"):
        before = whole(dut, view)
    with step("Ask to bind memory to the last receive queue"):
        refused = memory.ask(dut.queues() - 1)
        evidence("refusal", str(refused))
        if refused is None or refused.errno in {errno.EINVAL, errno.ERANGE}:
            unclaimed("the lack of queue management", evidence=f"binding gave {refused}")
    with step("It is refused with EOPNOTSUPP, and everything is as it was"):
        assert refused.errno == errno.EOPNOTSUPP, str(refused)
        assert whole(dut, view) == before
    with step("Frames cross the link both ways, once and unchanged"):
        crossing.both_ways()
