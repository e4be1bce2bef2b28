# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames for chosen queues, a different number for each, so that a counter of the wrong queue shows.

Source: Documentation/networking/scaling.rst, RSS; include/uapi/linux/ethtool.h, ETHTOOL_GRXFH.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from plugfest.frames.dissect import TCP, UDP, dissect
from plugfest.frames.probe import Ends
from plugfest.frames.segmentation import TxRequest
from plugfest.frames.toeplitz import (
    FLOWS,
    IP_DESTINATION,
    IP_SOURCE,
    PORT_DESTINATION,
    PORT_SOURCE,
    hashed,
    queues_of,
    toeplitz,
)
from plugfest.machine.agent import AgentError
from plugfest.statistics.queue_counters import Account, of_frames, total

if TYPE_CHECKING:
    from plugfest.dut.dut import Dut, Rss
    from plugfest.statistics.accounts import Measurement

FEWEST = 5
STEP = 3
"""Frames for queue 0, and how many more for each further one."""
ADDRESSES = IP_SOURCE | IP_DESTINATION
ALL_FIELDS = ADDRESSES | PORT_SOURCE | PORT_DESTINATION
CLOSED = 9
"""A closed port."""
FIRST_SOURCE, TRIED = 20000, 2048
"""Source ports to choose from."""


def frame_count(queue: int) -> int:
    """Return how many frames to send to a queue: a different number for each."""
    return FEWEST + STEP * queue


def reported_fields(dut: Dut, protocol: int, version: int) -> int | None:
    """Return which fields of a flow enter the hash, as the driver reports; None where it does not."""
    try:
        found = dut.agent.call("ethtool.hash_fields", ifname=dut.ifname, flow=FLOWS[protocol, version])
    except AgentError as error:
        if error.errno is None:
            raise
        return None
    return int(found) & ALL_FIELDS


def hash_fields(dut: Dut, protocol: int, version: int) -> int:
    """Return the same; where the driver does not report them: addresses, and the ports of TCP."""
    found = reported_fields(dut, protocol, version)
    if found is None:
        return ALL_FIELDS if protocol == TCP else ADDRESSES
    return found


def frames_for_queue(dut: Dut, rss: Rss, ends: Ends) -> dict[int, list[bytes]]:
    """Return frames for each queue of the indirection table that differ in their source port, and in nothing else of the flow.

    Args:
        dut: reports which fields it hashes.
        rss: its key and table.
        ends: addresses, to the DUT.

    Returns:
        By queue; empty where no source port enters the hash.
    """
    protocol = next((each for each in (UDP, TCP) if hash_fields(dut, each, 4) & PORT_SOURCE), None)
    if protocol is None:
        return {}
    fields = hash_fields(dut, protocol, 4)
    wanted = {queue: frame_count(queue) for queue in sorted(set(rss.table))}
    found: dict[int, list[bytes]] = {queue: [] for queue in wanted}
    for port in range(FIRST_SOURCE, FIRST_SOURCE + TRIED):
        frame = TxRequest(ends, 4, b"aimed" * 20, protocol=protocol, ports=(port, CLOSED)).finished()
        queue = queues_of([toeplitz(rss.key, hashed(dissect(frame), fields))], list(rss.table))[0]
        if len(found[queue]) < wanted[queue]:
            found[queue].append(frame)
        if all(len(found[each]) == count for each, count in wanted.items()):
            break
    return found


def miscounted(measured: Measurement, frames: Mapping[int, Sequence[bytes]], direction: str = "rx") -> list[str]:
    """Return which counters rose by another amount than was sent to their queues.

    Background traffic, as neighbour discovery, may be counted by any queue.

    Args:
        measured: over which the frames went.
        frames: by queue.
        direction: rx or tx.
    """
    counted = measured.queues.rx if direction == "rx" else measured.queues.tx
    whole = measured.wire_rx if direction == "rx" else measured.wire_tx
    wanted = {queue: of_frames(sent) for queue, sent in frames.items()}
    others = whole - total(wanted.values())
    wrong = []
    for queue in sorted(counted.keys() | wanted.keys()):
        more = counted.get(queue, Account()) - wanted.get(queue, Account())
        if not (0 <= more.frames <= others.frames and 0 <= more.bytes <= others.bytes):
            wrong.append(
                f"{direction} queue {queue} counted {counted.get(queue, Account())}, was sent {wanted.get(queue, Account())}"
            )
    return wrong
