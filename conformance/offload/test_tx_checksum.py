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
"""Bytes of payload: none, odd and even, around the minimum and the maximum frame; `ROOM` caps them by protocol."""
FEATURES = {4: ("tx-checksum-ipv4", "tx-checksum-ip-generic"), 6: ("tx-checksum-ipv6", "tx-checksum-ip-generic")}
ALL_FEATURES = ("tx-checksum-ipv4", "tx-checksum-ipv6", "tx-checksum-ip-generic")
KINDS = ((TCP, 4), (TCP, 6), (UDP, 4), (UDP, 6))
ROOM = {(TCP, 4): 1460, (TCP, 6): 1440, (UDP, 4): 1472, (UDP, 6): 1452}
"""Bytes of payload that fit in a frame at the standard MTU, by protocol and IP version."""


def make_requests(ends, protocol, version):
    """Return packets of all lengths whose checksum the device has to complete, each with its own ports."""
    made = []
    for number, length in enumerate(LENGTHS):
        payload = generate(number + 1, min(length, ROOM[protocol, version]))
        request = TxRequest(ends, version, payload, protocol=protocol, ports=(30000 + number, 31000))
        made.append(request)
    return made


def zero_sum(ends, version):
    """Return a UDP datagram whose computed checksum is 0: it must be sent as 0xffff, since 0 means no checksum."""
    request = TxRequest(ends, version, bytes(64), protocol=UDP, ports=(30000 + len(LENGTHS), 31000))
    found = transport_checksum(dissect(request.packet()[10:]))
    return TxRequest(ends, version, found.to_bytes(2, "big") + bytes(62), protocol=UDP, ports=request.ports)


@requirement("OFFLOAD-TXCSUM-01", level="MUST", source=SOURCE, falsified_by="tx.checksum.wrong")
@pytest.mark.parametrize(("protocol", "version"), KINDS)
def test_on(tx_offload, active, step, evidence, protocol, version):
    """With transmit checksum offload on, each TCP segment and UDP datagram on the wire has the correct checksum; UDP sends 0 as 0xffff."""
    requests = make_requests(tx_offload.ends, protocol, version)
    if protocol == UDP:
        requests.append(zero_sum(tx_offload.ends, version))
    with step("Turn transmit checksum offload on"):
        evidence("features", active(*FEATURES[version]))
    with step("Send packets of all lengths with the checksum left to the device"):
        result = tx_offload.do(requests)
    with step("The stack passed each packet to the driver with CHECKSUM_PARTIAL: the offload is in use"):
        assert [each.checksum for each in result.uncut] == [Checksum.PARTIAL] * len(requests)
    with step("On the wire each packet is unchanged and has the correct checksum"):
        result.check()
    with step("A UDP checksum that is computed as 0 is on the wire as 0xffff"):
        if protocol == UDP:
            assert dissect(result.frames[-1][0]).checksum == 0xFFFF


@requirement(
    "OFFLOAD-TXCSUM-02",
    level="MUST",
    source=SOURCE,
    falsified_by=("program:settings.not-set", "tx.frame.corrupted"),
)
def test_off(tx_offload, inactive, step):
    """With transmit checksum offload off, the stack requests no checksum, and each packet on the wire has the correct checksum."""
    requests = [request for kind in KINDS for request in make_requests(tx_offload.ends, *kind)]
    with step("Turn transmit checksum offload off"):
        inactive(*ALL_FEATURES)
    with step("Send packets of all lengths, TCP and UDP, IPv4 and IPv6"):
        result = tx_offload.do(requests)
    with step("The stack passed no packet to the driver with CHECKSUM_PARTIAL"):
        assert Checksum.PARTIAL not in {each.checksum for each in result.skbs}
        assert len(result.skbs) >= len(requests)
    with step("On the wire each packet is unchanged and has the correct checksum"):
        result.check()
