# SPDX-License-Identifier: MIT
"""Finds PTP messages in frames.

Source: IEEE 1588-2019, 13.3 (header) and Annexes C to E (encapsulation); IEEE 1588-2002, Annex D (version 1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nicmodels.offload.headers import UDP

if TYPE_CHECKING:
    from nicmodels.offload.headers import Headers

ETHERTYPE = 0x88F7
EVENT_PORT = 319
SYNC, DELAY_REQUEST, PDELAY_REQUEST, PDELAY_RESPONSE = 0, 1, 2, 3
FOLLOW_UP, DELAY_RESPONSE, PDELAY_FOLLOW_UP, MANAGEMENT = 8, 9, 0xA, 0xD
ETHERNET = 2
"""The layer of a message directly over Ethernet; otherwise it is the IP version."""
HEADER = 34
_CONTROL = 32
_VERSION_1 = {0: SYNC, 1: DELAY_REQUEST, 2: FOLLOW_UP, 3: DELAY_RESPONSE, 4: MANAGEMENT}
"""Message types of version 1, by its control field."""


class Message(NamedTuple):
    """A PTP message.

    Attributes:
        version: 1 or 2.
        kind: messageType, as version 2 numbers them.
        layer: `ETHERNET`, 4 or 6.
        offset: of its header in the frame.
    """

    version: int
    kind: int
    layer: int
    offset: int


def find(frame: memoryview, headers: Headers, port: int = EVENT_PORT) -> Message | None:
    """The PTP message in a frame: over Ethernet, or over UDP to a PTP port; None if there is none of version 1 or 2."""
    if headers.ethertype == ETHERTYPE:
        layer, at = ETHERNET, headers.l3_offset
    elif headers.l4 == UDP and frame[headers.l4_offset + 2] << 8 | frame[headers.l4_offset + 3] == port:
        layer, at = headers.version, headers.payload_offset
    else:
        return None
    if len(frame) < at + HEADER:
        return None
    version = frame[at + 1] & 0xF
    if version == 2:
        return Message(2, frame[at] & 0xF, layer, at)
    kind = _VERSION_1.get(frame[at + _CONTROL])
    return None if version != 1 or kind is None else Message(1, kind, layer, at)
