# SPDX-License-Identifier: MIT
"""The fault points of this model. The context that `match` can name is in the comment of each group."""

from __future__ import annotations

from nicmodels.faults import groups
from nicmodels.faults.points import FaultPoint

LINK = (  # no context
    groups.LINK_PAUSE_WRONG,
    groups.LINK_REPORT_STUCK,
    FaultPoint("link.speed.wrong", "reports 1 Gb/s for a 10 Gb/s link, and 10 Gb/s for a 1 Gb/s link"),
    FaultPoint("link.interrupt.lost", "does not set the link status change cause"),
    FaultPoint("link.interrupt.late", "sets the link status change cause 50 ms late"),
    FaultPoint(
        "link.interrupt.again", "sends the interrupt of a link status change again once the driver has cleared it"
    ),
)
TRANSMIT = (  # queue
    *groups.TX_FRAMES,
    *groups.TX_SEGMENTS,
    *groups.TX_TAGS,
    groups.TX_TAIL_IGNORED,
    FaultPoint("tx.writeback.lost", "never reports the descriptors done"),
)
RECEIVE = (  # queue, where it is known
    *groups.RX_FRAMES,
    *groups.RX_CHECKSUMS,
    groups.RX_CHECKSUM_UNREPORTED,
    *groups.RX_RSS,
    FaultPoint("rx.rss.unreported", "reports no RSS type and no hash"),
    *groups.RX_TAGS,
    *groups.RX_ADDRESSES,
    *groups.RX_LIMITS,
    FaultPoint("rx.flow-director.ignored", "does not steer by flow director filters"),
    groups.RX_COALESCING_CORRUPTED,
)
DEVICE = (  # no context
    groups.PAUSE_STUCK,
    FaultPoint("device.reset.incomplete", "leaves rings and queues running over a software reset"),
    FaultPoint("device.eeprom.checksum", "answers EEPROM reads of word 0x10 with a flipped bit"),
    FaultPoint("device.register.stuck", "drops writes to RDBAL and RAL"),
    groups.LOOPBACK_BROKEN,
    *groups.TIMESTAMPS,
)
ALL = (*LINK, *TRANSMIT, *RECEIVE, *groups.VECTORS, *groups.COUNTERS, *DEVICE)
