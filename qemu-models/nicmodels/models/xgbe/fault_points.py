# SPDX-License-Identifier: MIT
"""The fault points of this model. The context that `match` can name is in the comment of each group.

The hardware has no per-queue counters, flow rules or coalescing, and its descriptors report only wrong checksums, not
verified ones: the faults that other models have of these are missing here.
"""

from __future__ import annotations

from nicmodels.faults import groups
from nicmodels.faults.points import FaultPoint

LINK = (  # no context
    FaultPoint("link.fec.wrong", "reports the partner's FEC bits (F0 and F1) inverted"),
    groups.LINK_PAUSE_WRONG,
    groups.LINK_REPORT_STUCK,
    FaultPoint("link.speed.wrong", "reports KX for KR, and KR for KX, in the partner's base page"),
)
AUTONEGOTIATION = (  # cause, where there is one: page, incompatible, complete
    FaultPoint("an.interrupt.lost", "sets the cause of an auto-negotiation interrupt, but sends none"),
    FaultPoint(
        "an.interrupt.late",
        "withholds an auto-negotiation interrupt, and reissues it 50 ms later if its cause is still set",
    ),
    FaultPoint("an.interrupt.again", "sends an auto-negotiation interrupt again once the driver has cleared its cause"),
    FaultPoint("an.reissue.lost", "does not reissue the auto-negotiation interrupt when the driver requests it"),
    FaultPoint("an.page.late", "reports a received page 600 ms late"),
    FaultPoint("an.page.stale", "keeps reporting the base page of the previous negotiation"),
    FaultPoint("an.complete.lost", "never reports that the negotiation is complete"),
    FaultPoint("an.training.ignored", "does not start link training when the driver requests it"),
    FaultPoint("an.training.failed", "fails link training"),
    FaultPoint("an.latch.missing", "does not latch the loss of the link in the PCS status"),
    FaultPoint("an.mailbox.stuck", "never completes a command of the firmware's mailbox"),
)
TRANSMIT = (  # queue
    *groups.TX_FRAMES,
    *groups.TX_SEGMENTS,
    *groups.TX_TAGS,
    groups.TX_TAIL_IGNORED,
    FaultPoint("tx.writeback.lost", "never returns the descriptors"),
)
RECEIVE = (  # queue, where it is known
    *groups.RX_FRAMES,
    *groups.RX_CHECKSUMS,
    *groups.RX_RSS,
    FaultPoint("rx.rss.unreported", "does not mark the hash as valid"),
    *groups.RX_TAGS,
    *groups.RX_ADDRESSES,
    *groups.RX_LIMITS,
    FaultPoint("rx.split.off", "does not split headers although header split is on"),
)
DEVICE = (  # no context
    groups.PAUSE_STUCK,
    FaultPoint("device.reset.incomplete", "leaves rings and channels running over a software reset"),
    FaultPoint("device.eeprom.checksum", "does not mark the station address as valid, as with a broken EEPROM"),
    FaultPoint("device.register.stuck", "drops writes to RDLR_LO, MACALR and the hash table"),
    groups.LOOPBACK_BROKEN,
    *groups.TIMESTAMPS,
)
ALL = (*LINK, *AUTONEGOTIATION, *TRANSMIT, *RECEIVE, *groups.VECTORS, *groups.COUNTERS, *DEVICE)
