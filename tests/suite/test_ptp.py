# SPDX-License-Identifier: GPL-2.0-or-later
"""PTP event messages as the suite makes them, read by scapy's dissector, and which a filter covers."""

from __future__ import annotations

import pytest
from plugfest.frames.probe import Ends
from plugfest.frames.ptp import EVENTS, LENGTHS, NAMES, covered, over_ethernet, over_udp
from plugfest.timestamps.hardware_clock import FILTERS
from scapy.layers.inet import UDP
from scapy.layers.l2 import Ether

ENDS = Ends(
    "02:70:66:00:00:01",
    "02:00:00:00:00:02",
    {4: "198.18.0.2", 6: "2001:db8::2"},
    {4: "198.18.0.0/16", 6: "2001:db8::/64"},
)
COUNTS = {
    "none": 0,
    "all": 12,
    "some": 12,
    "ptpv1-l4-event": 4,
    "ptpv1-l4-sync": 2,
    "ptpv1-l4-delay-req": 2,
    "ptpv2-l4-event": 8,
    "ptpv2-l4-sync": 2,
    "ptpv2-l4-delay-req": 2,
    "ptpv2-l2-event": 4,
    "ptpv2-l2-sync": 1,
    "ptpv2-l2-delay-req": 1,
    "ptpv2-event": 12,
    "ptpv2-sync": 3,
    "ptpv2-delay-req": 3,
    "ntp-all": 0,
}


@pytest.mark.parametrize("name", FILTERS)
def test_what_a_filter_covers(name: str) -> None:
    made = list(covered(name, ENDS))
    assert len(made) == COUNTS[name]
    assert len({each.frame for each in made}) == len(made)
    if "sync" in name:
        assert all(each.name.startswith("Sync") for each in made)


@pytest.mark.parametrize("message", EVENTS)
def test_over_ethernet(message: int) -> None:
    packet = Ether(over_ethernet(ENDS, message, 7).frame)
    assert (packet.dst, packet.type) == (ENDS.destination_mac, 0x88F7)
    body = bytes(packet.payload)
    assert (body[0] & 15, body[1] & 15, int.from_bytes(body[2:4], "big")) == (message, 2, len(body))
    assert len(body) == LENGTHS[message]
    assert int.from_bytes(body[30:32], "big") == 7
    assert NAMES[message] in over_ethernet(ENDS, message, 7).name


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("ptp", [1, 2])
def test_over_udp(version: int, ptp: int) -> None:
    raw = over_udp(ENDS, 1, 9, version, ptp).frame
    packet = Ether(raw)
    datagram = packet[UDP]
    checksum = datagram.chksum
    del datagram.chksum
    assert Ether(bytes(packet))[UDP].chksum == checksum
    assert datagram.dport == 319
    body = bytes(datagram.payload)
    assert body[1] & 15 == ptp
    assert int.from_bytes(body[30:32], "big") == 9
    assert body[32] == 1, "the control field of Delay_Req"
