# SPDX-License-Identifier: MIT
"""The fault points that several models have, declared once. The context that `match` can name is in the comment of each group.

`nicmodels list --faults` and the control method `faults.list` print the texts: each states what the device does.
"""

from __future__ import annotations

from nicmodels.faults.points import FaultPoint

LINK_PAUSE_WRONG = FaultPoint("link.pause.wrong", "reports the partner's PAUSE bit (C0) inverted")
LINK_REPORT_STUCK = FaultPoint(
    "link.report.stuck", "keeps reporting the link state and speed of the moment when the fault was armed"
)

TX_FRAMES = (  # queue
    FaultPoint("tx.checksum.wrong", "writes a TCP, UDP or SCTP checksum that is off by one"),
    FaultPoint("tx.ip-checksum.wrong", "writes an IPv4 header checksum that is off by one"),
    FaultPoint("tx.frame.dropped", "completes the descriptor but does not transmit the frame"),
    FaultPoint("tx.frame.duplicated", "transmits the frame twice"),
    FaultPoint("tx.frame.corrupted", "flips a bit in the last byte of the frame"),
    FaultPoint("tx.padding.missing", "does not pad short frames"),
)
TX_SEGMENTS = (  # queue
    FaultPoint("tx.segment.sequence", "gives each segment but the first a TCP sequence number that is one too high"),
    FaultPoint("tx.segment.flags", "leaves FIN and PSH set in all segments"),
    FaultPoint("tx.segment.identification", "gives all segments the same IPv4 identification"),
    FaultPoint("tx.segment.length", "cuts the last byte off the last segment, and adjusts its IP length"),
    FaultPoint("tx.segment.missing", "does not transmit the last segment"),
)
TX_TAGS = (  # queue
    FaultPoint("tx.vlan.missing", "does not insert the VLAN tag"),
    FaultPoint("tx.vlan.wrong", "inserts a tag with the next VLAN id"),
)
TX_TAIL_IGNORED = FaultPoint("tx.queue.stuck", "ignores the tail: the queue hangs")  # queue

RX_FRAMES = (  # queue, where it is known
    FaultPoint("rx.frame.truncated", "reports frames over 1024 bytes as 1024 bytes long"),
    FaultPoint("rx.frame.dropped", "drops the frame and does not count it"),
    FaultPoint("rx.frame.duplicated", "delivers the frame twice"),
    FaultPoint("rx.frame.corrupted", "flips a bit in the last byte of the frame"),
    FaultPoint("rx.frame.reordered", "delivers the frame after the next one"),
)
RX_CHECKSUMS = (  # queue
    FaultPoint("rx.checksum.bad-as-good", "reports a wrong checksum as right"),
    FaultPoint("rx.checksum.good-as-bad", "reports a right checksum as wrong"),
)
RX_CHECKSUM_UNREPORTED = FaultPoint("rx.checksum.unreported", "does not report that it verified a checksum")  # queue
RX_RSS = (  # queue
    FaultPoint("rx.rss.hash", "writes the RSS hash with its lowest bit flipped"),
    FaultPoint("rx.rss.queue", "delivers to the queue after the one that RSS selected"),
)
RX_TAGS = (  # queue, where it is known
    FaultPoint("rx.vlan.not-stripped", "leaves the tag in the frame although stripping is on"),
    FaultPoint("rx.vlan.wrong", "reports the next VLAN id"),
    FaultPoint("rx.vlan.filter-open", "passes all VLANs through the VLAN filter"),
    FaultPoint("rx.vlan.filter-closed", "drops all VLANs in the VLAN filter"),
)
RX_ADDRESSES = (  # no context
    FaultPoint("rx.promiscuous.ignored", "filters by address although promiscuous mode is on"),
    FaultPoint("rx.multicast.ignored", "drops multicast that the multicast table passes"),
    FaultPoint("rx.multicast.open", "passes all multicast, whatever the multicast table"),
    FaultPoint("rx.unicast.open", "passes all unicast"),
    FaultPoint("rx.unicast.ignored", "drops unicast to any address but the permanent one"),
)
RX_LIMITS = (  # no context
    FaultPoint("rx.broadcast.ignored", "drops broadcast"),
    FaultPoint("rx.jumbo.dropped", "drops frames over 1518 bytes, whatever the maximum frame size"),
)
RX_COALESCING_CORRUPTED = FaultPoint(  # queue
    "rx.coalescing.corrupted", "overwrites the last byte of each appended segment with 0"
)

VECTORS = (  # vector
    FaultPoint("interrupt.vector.lost", "does not signal the vector"),
    FaultPoint("interrupt.vector.repeated", "signals the vector twice"),
)
COUNTERS = (  # no context: the counters of good frames and bytes of the port
    FaultPoint("rx.counter.doubled", "counts received frames twice"),
    FaultPoint("rx.counter.bytes", "counts one byte too many for each received frame"),
    FaultPoint("tx.counter.doubled", "counts transmitted frames twice"),
    FaultPoint("tx.counter.bytes", "counts one byte too many for each transmitted frame"),
)
TIMESTAMPS = (  # no context
    FaultPoint("device.time.stopped", "stops the PTP hardware clock"),
    FaultPoint("rx.timestamp.late", "adds a second to the timestamp of a received frame"),
    FaultPoint("rx.timestamp.missing", "does not timestamp a received frame"),
    FaultPoint("tx.timestamp.late", "adds a second to the timestamp of a transmitted frame"),
    FaultPoint("tx.timestamp.missing", "does not timestamp a transmitted frame"),
)
PAUSE_STUCK = FaultPoint("device.pause.stuck", "drops writes to the registers that turn flow control on and off")
LOOPBACK_BROKEN = FaultPoint("device.loopback.broken", "drops the frames that MAC loopback returns")
