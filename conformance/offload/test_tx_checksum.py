# SPDX-License-Identifier: GPL-2.0-or-later
"""Transmit checksum offload: TCP and UDP, IPv4 and IPv6, on and off."""

from __future__ import annotations

import pytest
from plugfest.dut.skb_trace import Checksum
from plugfest.frames.dissect import TCP, UDP, dissect, transport_checksum
from plugfest.frames.payload import generate
from plugfest.frames.segmentation import TxRequest
from plugfest.requirements.requirement import requirement

SOURCE = "Documentation/networking/checksum-offloads.rst; RFC 1071; RFC 9293, section 3.1; RFC 768"
LENGTHS = (0, 1, 2, 3, 17, 18, 19, 511, 512, 1023, 1459, 1460)
"""Octets of payload: none, odd and even, around the minimum frame and the maximum one; UDP over IPv6 has 8 less room than TCP."""
FEATURES = {4: ("tx-checksum-ipv4", "tx-checksum-ip-generic"), 6: ("tx-checksum-ipv6", "tx-checksum-ip-generic")}
OFF = ("tx-checksum-ipv4", "tx-checksum-ipv6", "tx-checksum-ip-generic")
KINDS = ((TCP, 4), (TCP, 6), (UDP, 4), (UDP, 6))
ROOM = {(TCP, 4): 1460, (TCP, 6): 1440, (UDP, 4): 1472, (UDP, 6): 1452}


def requests(ends, protocol, version):
    """Packets of every length whose checksum is to be completed, each in a flow of its own."""
    made = []
    for number, length in enumerate(LENGTHS):
        payload = generate(number + 1, min(length, ROOM[protocol, version]))
        order = TxRequest(ends, version, payload, protocol=protocol, ports=(30000 + number, 31000))
        made.append(order)
    return made


def zero_sum(ends, version):
    """A UDP datagram whose checksum comes out as 0, which must go as 0xffff: 0 would mean that there is none."""
    order = TxRequest(ends, version, bytes(64), protocol=UDP, ports=(30000 + len(LENGTHS), 31000))
    found = transport_checksum(dissect(order.packet()[10:]))
    return TxRequest(ends, version, found.to_bytes(2, "big") + bytes(62), protocol=UDP, ports=order.ports)


@requirement("OFFLOAD-TXCSUM-01", level="MUST", source=SOURCE, falsified_by="tx.checksum.wrong")
@pytest.mark.parametrize(("protocol", "version"), KINDS)
def test_on(tx_offload, active, step, evidence, protocol, version):
    """With transmit checksum offload on, every TCP segment and UDP datagram has the right checksum on the wire, and never 0."""
    asked = requests(tx_offload.ends, protocol, version)
    if protocol == UDP:
        asked.append(zero_sum(tx_offload.ends, version))
    with step("Turn the offload on"):
        evidence("features", active(*FEATURES[version]))
    with step("Hand over packets of every length, their checksum left to the device"):
        work = tx_offload.do(asked)
    with step("The driver was asked for the checksums: the offload is really used"):
        assert [each.checksum for each in work.uncut] == [Checksum.PARTIAL] * len(asked)
    with step("On the wire each packet is unchanged, and its checksum right"):
        work.check()
    with step("A UDP checksum that comes out as 0 is on the wire as 0xffff"):
        if protocol == UDP:
            assert dissect(work.frames[-1][0]).checksum == 0xFFFF


@requirement(
    "OFFLOAD-TXCSUM-02",
    level="MUST",
    source=SOURCE,
    falsified_by=("program:settings.not-set", "tx.frame.corrupted"),
)
def test_off(tx_offload, inactive, step):
    """With transmit checksum offload off, the device is asked for no checksum, and those on the wire are right all the same."""
    asked = [order for kind in KINDS for order in requests(tx_offload.ends, *kind)]
    with step("Turn the offload off"):
        inactive(*OFF)
    with step("Send packets of every length, TCP and UDP, IPv4 and IPv6"):
        work = tx_offload.do(asked)
    with step("The driver was asked for none of the checksums"):
        assert Checksum.PARTIAL not in {each.checksum for each in work.skbs}
        assert len(work.skbs) >= len(asked)
    with step("On the wire each packet is unchanged, and its checksum right"):
        work.check()
