# SPDX-License-Identifier: MIT
"""Backplane Ethernet's physical layer: Clause 73 negotiation, Clause 72 training, and the partner at the other end.

`Transceiver` is one end, `Medium` what is between two; `nicmodels.phy.transceiver` says how a model uses them.
`LinkPartner` is the other end, which a test scripts; `VirtualPartner` that of a port without a line.
"""

from nicmodels.phy.abilities import Abilities, Pause, Resolution, Technology, resolve, resolve_pause
from nicmodels.phy.arbitration import Arbitration, LinkControl, State
from nicmodels.phy.event import Event, Kind
from nicmodels.phy.line import FarEnd, Line, PartnerLine, link_methods
from nicmodels.phy.medium import Carrier, Medium, Pages, Port, Silence, TrainingFrames
from nicmodels.phy.page import NULL_PAGE, Codeword
from nicmodels.phy.partner import LinkPartner
from nicmodels.phy.remote import RemoteLine
from nicmodels.phy.timeline import Timeline
from nicmodels.phy.timers import Timers
from nicmodels.phy.training import Training, TrainingState
from nicmodels.phy.transceiver import Transceiver
from nicmodels.phy.virtual import Phase, VirtualPartner

__all__ = [
    "NULL_PAGE",
    "Abilities",
    "Arbitration",
    "Carrier",
    "Codeword",
    "Event",
    "FarEnd",
    "Kind",
    "Line",
    "LinkControl",
    "LinkPartner",
    "Medium",
    "Pages",
    "PartnerLine",
    "Pause",
    "Phase",
    "Port",
    "RemoteLine",
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
    "VirtualPartner",
    "link_methods",
    "resolve",
    "resolve_pause",
]
