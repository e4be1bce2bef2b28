# SPDX-License-Identifier: MIT
"""Everything this model does wrong on request. The context that `match` can name stands behind each group."""

from __future__ import annotations

from nicmodels.faults.frames import RECEIVED, SEGMENTS, STAMPED, TAGGED, TIME_STOPPED, TRANSMITTED
from nicmodels.faults.points import FaultPoint
from nicmodels.nic.flow_control import PAUSE_STUCK

LINK = (  # no context
    FaultPoint("link.pause.wrong", "tells the partner's PAUSE bit (C0) the other way round"),
    FaultPoint("link.report.stuck", "keeps reporting the link state and speed of the moment it was armed"),
    FaultPoint("link.speed.wrong", "reports 1 Gb/s for a 10 Gb/s link and the other way round"),
    FaultPoint("link.interrupt.lost", "does not set the link status change cause"),
    FaultPoint("link.interrupt.late", "sets the link status change cause 50 ms late"),
)
TRANSMIT = (  # queue
    *TRANSMITTED,
    *SEGMENTS,
    *TAGGED,
    FaultPoint("tx.writeback.lost", "never reports the descriptors done"),
    FaultPoint("tx.queue.stuck", "ignores the tail: the queue hangs"),
)
RECEIVE = (  # queue, where it is known
    *RECEIVED,
    FaultPoint("rx.checksum.bad-as-good", "reports a wrong checksum as right"),
    FaultPoint("rx.checksum.good-as-bad", "reports a right checksum as wrong"),
    FaultPoint("rx.checksum.unreported", "does not say that it has verified a checksum"),
    FaultPoint("rx.rss.hash", "writes the RSS hash with its lowest bit flipped"),
    FaultPoint("rx.rss.queue", "delivers to the queue after the one that RSS gave"),
    FaultPoint("rx.rss.unreported", "reports no RSS type and no hash"),
    FaultPoint("rx.vlan.not-stripped", "leaves the tag in the frame although stripping is on"),
    FaultPoint("rx.vlan.wrong", "reports the next VLAN id"),
    FaultPoint("rx.vlan.filter-open", "lets all VLANs pass the VLAN filter"),
    FaultPoint("rx.vlan.filter-closed", "lets no VLAN pass the VLAN filter"),
    FaultPoint("rx.jumbo.dropped", "drops frames over 1518 bytes, whatever the maximum is"),
    FaultPoint("rx.promiscuous.ignored", "filters by address although promiscuous mode is on"),
    FaultPoint("rx.multicast.ignored", "drops multicast that the table lets pass"),
    FaultPoint("rx.multicast.open", "lets all multicast pass the table"),
    FaultPoint("rx.broadcast.ignored", "drops broadcast"),
    FaultPoint("rx.unicast.open", "lets all unicast pass"),
    FaultPoint("rx.flow-director.ignored", "does not steer by flow director filters"),
    FaultPoint("rx.coalescing.corrupted", "loses the last byte of each appended segment"),
)
INTERRUPT = (  # vector
    FaultPoint("interrupt.vector.lost", "does not signal the vector"),
    FaultPoint("interrupt.vector.repeated", "signals the vector twice"),
)
COUNTERS = (  # no context: the counters of good frames and octets of the port
    FaultPoint("rx.counter.doubled", "counts received frames twice"),
    FaultPoint("rx.counter.bytes", "counts one byte too many for each received frame"),
    FaultPoint("tx.counter.doubled", "counts transmitted frames twice"),
    FaultPoint("tx.counter.bytes", "counts one byte too many for each transmitted frame"),
)
DEVICE = (  # no context
    PAUSE_STUCK,
    FaultPoint("device.reset.incomplete", "leaves rings and queues running over a software reset"),
    FaultPoint("device.eeprom.checksum", "answers EEPROM reads of word 0x10 with a flipped bit"),
    FaultPoint("device.register.stuck", "drops writes to RDBAL and RAL"),
    FaultPoint("device.loopback.broken", "loses the frames that MAC loopback turns around"),
    TIME_STOPPED,
    *STAMPED,
)
ALL = (*LINK, *TRANSMIT, *RECEIVE, *INTERRUPT, *COUNTERS, *DEVICE)
