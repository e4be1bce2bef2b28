# SPDX-License-Identifier: MIT
"""Backplane Ethernet's physical layer: Clause 73 negotiation, Clause 72 training, and the partner at the other end.

`Transceiver` is one end, `Medium` connects two; `nicmodels.phy.transceiver` shows how a model uses them.
`LinkPartner` is the other end, which a test scripts; `VirtualSwitchPort` is the other end of a port without a PHY.
"""

from nicmodels.phy.abilities import Abilities, Pause, Resolution, Technology, resolve, resolve_pause
from nicmodels.phy.arbitration import Arbitration, LinkControl, State
from nicmodels.phy.event import Event, Kind
from nicmodels.phy.link_segment import LinkSegment, LocalSegment, PartnerControl, link_methods
from nicmodels.phy.looks import Looks
from nicmodels.phy.medium import Carrier, Medium, Pages, Port, Silence, TrainingFrames
from nicmodels.phy.page import NULL_PAGE, Codeword
from nicmodels.phy.partner import LinkPartner
from nicmodels.phy.remote_segment import RemoteSegment
from nicmodels.phy.timeline import Timeline
from nicmodels.phy.timers import Timers
from nicmodels.phy.training import Training, TrainingState
from nicmodels.phy.transceiver import Transceiver
from nicmodels.phy.virtual_switch import Phase, VirtualSwitchPort

__all__ = [
    "NULL_PAGE",
    "Abilities",
    "Arbitration",
    "Carrier",
    "Codeword",
    "Event",
    "Kind",
    "LinkControl",
    "LinkPartner",
    "LinkSegment",
    "LocalSegment",
    "Looks",
    "Medium",
    "Pages",
    "PartnerControl",
    "Pause",
    "Phase",
    "Port",
    "RemoteSegment",
    "Resolution",
    "Silence",
    "State",
    "Technology",
    "Timeline",
    "Timers",
    "Training",
    "TrainingFrames",
    "TrainingState",
    "Transceiver",
    "VirtualSwitchPort",
    "link_methods",
    "resolve",
    "resolve_pause",
]
