# SPDX-License-Identifier: MIT
"""Everything this model does wrong on request. The context that `match` can name stands behind each group.

What other models have and this one has not, the hardware has no part for: counters know no queue, descriptors do not say
that a checksum was verified (only that it was wrong), and there are neither flow rules nor coalescing of frames.
"""

from __future__ import annotations

from nicmodels.faults.frames import RECEIVED, SEGMENTS, STAMPED, TAGGED, TIME_STOPPED, TRANSMITTED
from nicmodels.faults.points import FaultPoint
from nicmodels.nic.flow_control import PAUSE_STUCK

LINK = (  # no context
    FaultPoint("link.fec.wrong", "tells the partner's FEC bits (F0 and F1) the other way round"),
    FaultPoint("link.pause.wrong", "tells the partner's PAUSE bit (C0) the other way round"),
    FaultPoint("link.report.stuck", "keeps reporting the link state of the moment it was armed"),
    FaultPoint("link.speed.wrong", "tells the other technology in the partner's base page: KX for KR, and KR for KX"),
)
AUTONEGOTIATION = (  # cause, where there is one: page, incompatible, complete
    FaultPoint("an.interrupt.lost", "sets the cause of an auto-negotiation interrupt, but sends none"),
    FaultPoint(
        "an.interrupt.late",
        "withholds an auto-negotiation interrupt, and reissues it 50 ms later if its cause still stands",
    ),
    FaultPoint("an.reissue.lost", "does not send the auto-negotiation interrupt again when asked to"),
    FaultPoint("an.page.late", "tells of a received page 600 ms late"),
    FaultPoint("an.page.stale", "keeps showing the base page of the negotiation before"),
    FaultPoint("an.complete.lost", "never says that the negotiation is complete"),
    FaultPoint("an.training.ignored", "does not start link training when it is told to"),
    FaultPoint("an.training.failed", "lets link training fail"),
    FaultPoint("an.latch.missing", "does not latch the loss of the link in the PCS status"),
    FaultPoint("an.mailbox.stuck", "never finishes a command of the firmware's mailbox"),
)
TRANSMIT = (  # queue
    *TRANSMITTED,
    *SEGMENTS,
    *TAGGED,
    FaultPoint("tx.writeback.lost", "never gives the descriptors back"),
    FaultPoint("tx.queue.stuck", "ignores the tail: the queue hangs"),
)
RECEIVE = (  # queue, where it is known
    FaultPoint("rx.checksum.bad-as-good", "reports a wrong checksum as right"),
    FaultPoint("rx.checksum.good-as-bad", "reports a right checksum as wrong"),
    FaultPoint("rx.rss.hash", "writes the RSS hash with its lowest bit flipped"),
    FaultPoint("rx.rss.queue", "delivers to the channel after the one that RSS gave"),
    FaultPoint("rx.rss.unreported", "does not say that the hash is valid"),
    FaultPoint("rx.vlan.not-stripped", "leaves the tag in the frame although stripping is on"),
    FaultPoint("rx.vlan.wrong", "reports the next VLAN id"),
    FaultPoint("rx.vlan.filter-open", "lets all VLANs pass the VLAN filter"),
    FaultPoint("rx.vlan.filter-closed", "lets no VLAN pass the VLAN filter"),
    FaultPoint("rx.split.off", "does not split headers although that is on"),
    *RECEIVED,
    FaultPoint("rx.jumbo.dropped", "drops frames over 1518 bytes, whatever the maximum is"),
    FaultPoint("rx.promiscuous.ignored", "filters by address although promiscuous mode is on"),
    FaultPoint("rx.multicast.ignored", "drops multicast that the table lets pass"),
    FaultPoint("rx.multicast.open", "lets all multicast pass the table"),
    FaultPoint("rx.broadcast.ignored", "drops broadcast"),
    FaultPoint("rx.unicast.open", "lets all unicast pass"),
)
INTERRUPT = (  # vector
    FaultPoint("interrupt.vector.lost", "does not signal the vector"),
    FaultPoint("interrupt.vector.repeated", "signals the vector twice"),
)
COUNTERS = (  # no context: the management counters know no queue
    FaultPoint("rx.counter.doubled", "counts received frames twice"),
    FaultPoint("rx.counter.bytes", "counts one byte too many for each received frame"),
    FaultPoint("tx.counter.doubled", "counts transmitted frames twice"),
    FaultPoint("tx.counter.bytes", "counts one byte too many for each transmitted frame"),
)
DEVICE = (  # no context
    PAUSE_STUCK,
    FaultPoint("device.reset.incomplete", "leaves rings and channels running over a software reset"),
    FaultPoint("device.eeprom.checksum", "does not say that the station address is valid, as with a broken EEPROM"),
    FaultPoint("device.register.stuck", "drops writes to RDLR_LO, MACALR and the hash table"),
    FaultPoint("device.loopback.broken", "loses the frames that MAC loopback turns around"),
    TIME_STOPPED,
    *STAMPED,
)
ALL = (*LINK, *AUTONEGOTIATION, *TRANSMIT, *RECEIVE, *INTERRUPT, *COUNTERS, *DEVICE)
