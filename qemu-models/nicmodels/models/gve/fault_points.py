# SPDX-License-Identifier: MIT
"""The fault points of this model. The context that `match` can name is in the comment of each group."""

from __future__ import annotations

from nicmodels.faults import groups
from nicmodels.faults.points import FaultPoint

LINK = (  # no context
    groups.LINK_REPORT_STUCK,
    FaultPoint("link.speed.wrong", "reports half the speed"),
    FaultPoint("link.interrupt.lost", "does not raise the management vector when the link changes"),
    FaultPoint("link.flap.on-queue-command", "takes the link down and up again with each queue command"),
)
TRANSMIT = (  # queue
    *groups.TX_FRAMES,
    *groups.TX_SEGMENTS,
    FaultPoint("tx.vlan.missing", "removes the VLAN tag from the frame"),
    FaultPoint("tx.vlan.wrong", "changes the frame's VLAN id to the next"),
    FaultPoint("tx.completion.lost", "never completes the packet"),
    FaultPoint("tx.completion.other-tag", "completes the packet after the next one in its place"),
    FaultPoint("tx.queue.stuck", "ignores the doorbell: the queue hangs"),
)
RECEIVE = (  # queue, where it is known
    *groups.RX_FRAMES,
    *groups.RX_CHECKSUMS,
    groups.RX_CHECKSUM_UNREPORTED,
    *groups.RX_RSS,
    FaultPoint("rx.rss.unreported", "reports no hash"),
    FaultPoint("rx.timestamp.late", "adds a second to the timestamp of a packet"),
    *groups.RX_LIMITS,
    FaultPoint("rx.promiscuous.ignored", "drops unicast frames to other addresses than its own, and all multicast"),
    FaultPoint("rx.multicast.ignored", "drops multicast"),
    FaultPoint("rx.vlan.wrong", "changes the frame's VLAN id to the next"),
    FaultPoint("rx.vlan.filter-closed", "drops frames with a VLAN tag"),
    FaultPoint("rx.flow-director.ignored", "does not steer by flow rules"),
    groups.RX_COALESCING_CORRUPTED,
    FaultPoint("rx.header.unsplit", "writes the header into the packet buffer instead of the header buffer"),
    FaultPoint("rx.payload.misplaced", "writes the payload into the buffer posted after the one that it reports"),
    FaultPoint("rx.buffer.leaked", "never returns the buffer, and takes another one for the frame"),
    FaultPoint("rx.stopped.dma", "keeps writing frames for a destroyed queue into the buffers that the queue had"),
)
QUEUE_COMMANDS = (  # queue
    FaultPoint("rx.queue.create-fails", "fails create_rx_queue with an internal error, and creates no queue"),
    FaultPoint("rx.queue.destroy-fails", "fails destroy_rx_queue with an internal error, and destroys no queue"),
    FaultPoint(
        "rx.queue.create-hangs", "never completes create_rx_queue, nor any later command, until the driver resets"
    ),
    FaultPoint(
        "rx.queue.destroy-hangs", "never completes destroy_rx_queue, nor any later command, until the driver resets"
    ),
    FaultPoint("rx.queue.wrong", "creates or destroys the next receive queue as well"),
    FaultPoint("tx.queue.create-fails", "fails create_tx_queue with an internal error, and creates no queue"),
)
INTERRUPT = (  # vector
    *groups.VECTORS,
    FaultPoint("interrupt.lost", "loses an event that occurs while the vector is not armed"),
)
DEVICE = (  # no context
    FaultPoint("device.reset.incomplete", "keeps its queues over a reset by the driver"),
    FaultPoint("device.command.stuck", "executes no admin command any more"),
)
ALL = (*LINK, *TRANSMIT, *RECEIVE, *QUEUE_COMMANDS, *INTERRUPT, *DEVICE)
