# SPDX-License-Identifier: MIT
"""Everything this model does wrong on request. The context that `match` can name stands behind each group."""

from __future__ import annotations

from nicmodels.faults.frames import RECEIVED, SEGMENTS, TRANSMITTED
from nicmodels.faults.points import FaultPoint

LINK = (  # no context
    FaultPoint("link.report.stuck", "keeps reporting the link state and speed of the moment it was armed"),
    FaultPoint("link.speed.wrong", "reports half the speed"),
    FaultPoint("link.interrupt.lost", "does not raise the management vector when the link changes"),
    FaultPoint("link.flap.on-queue-command", "takes the link down and up again with each queue command"),
)
TRANSMIT = (  # queue
    *TRANSMITTED,
    *SEGMENTS,
    FaultPoint("tx.vlan.missing", "takes the VLAN tag out of the frame"),
    FaultPoint("tx.vlan.wrong", "changes the VLAN id in the frame's tag to the next"),
    FaultPoint("tx.completion.lost", "never tells that the packet is done"),
    FaultPoint("tx.completion.other-tag", "tells the packet after next as done"),
    FaultPoint("tx.queue.stuck", "ignores the doorbell: the queue hangs"),
)
RECEIVE = (  # queue, where it is known
    *RECEIVED,
    FaultPoint("rx.checksum.bad-as-good", "reports a wrong checksum as right"),
    FaultPoint("rx.checksum.good-as-bad", "reports a right checksum as wrong"),
    FaultPoint("rx.checksum.unreported", "does not say that it has verified a checksum"),
    FaultPoint("rx.rss.hash", "writes the RSS hash with its lowest bit flipped"),
    FaultPoint("rx.rss.queue", "delivers to the queue after the one that RSS gave"),
    FaultPoint("rx.rss.unreported", "reports no hash"),
    FaultPoint("rx.timestamp.late", "stamps the packet with a time a second after it came"),
    FaultPoint("rx.jumbo.dropped", "drops frames over 1518 bytes, whatever the maximum is"),
    FaultPoint("rx.promiscuous.ignored", "drops unicast frames to other addresses than its own, and all multicast"),
    FaultPoint("rx.multicast.ignored", "drops multicast"),
    FaultPoint("rx.broadcast.ignored", "drops broadcast"),
    FaultPoint("rx.vlan.wrong", "changes the VLAN id in the frame's tag to the next"),
    FaultPoint("rx.vlan.filter-closed", "drops frames with a VLAN tag"),
    FaultPoint("rx.flow-director.ignored", "does not steer by flow rules"),
    FaultPoint("rx.coalescing.corrupted", "loses the last byte of each appended segment"),
    FaultPoint("rx.header.unsplit", "puts the header into the packet buffer although it should be split off"),
    FaultPoint("rx.payload.misplaced", "writes the payload into the buffer posted after the one that it reports"),
    FaultPoint("rx.buffer.leaked", "never gives the buffer back: takes another one for the frame"),
    FaultPoint("rx.stopped.dma", "goes on writing the frames of a destroyed queue into the buffers that it had"),
)
QUEUE_COMMANDS = (  # queue
    FaultPoint("rx.queue.create-fails", "answers create_rx_queue with an internal error, and creates none"),
    FaultPoint("rx.queue.destroy-fails", "answers destroy_rx_queue with an internal error, and destroys none"),
    FaultPoint(
        "rx.queue.create-hangs", "never completes create_rx_queue, nor any later command, until the driver resets"
    ),
    FaultPoint(
        "rx.queue.destroy-hangs", "never completes destroy_rx_queue, nor any later command, until the driver resets"
    ),
    FaultPoint("rx.queue.wrong", "creates or destroys the next receive queue as well"),
    FaultPoint("tx.queue.create-fails", "answers create_tx_queue with an internal error, and creates none"),
)
INTERRUPT = (  # vector
    FaultPoint("interrupt.vector.lost", "does not signal the vector"),
    FaultPoint("interrupt.vector.repeated", "signals the vector twice"),
    FaultPoint("interrupt.lost", "forgets an event that comes while the vector is not armed"),
)
DEVICE = (  # no context
    FaultPoint("device.reset.incomplete", "keeps its queues over a reset by the driver"),
    FaultPoint("device.command.stuck", "executes no admin command any more"),
)
ALL = (*LINK, *TRANSMIT, *RECEIVE, *QUEUE_COMMANDS, *INTERRUPT, *DEVICE)
