# SPDX-License-Identifier: GPL-2.0-or-later
"""Segmentation offload (TSO, USO) and scatter-gather: the wire carries the frames that the stack's software would have made."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest
from plugfest.frames.dissect import ACK, CWR, FIN, PSH, TCP, UDP
from plugfest.frames.payload import digest, generate
from plugfest.frames.segmentation import TxRequest
from plugfest.machine.agent import AgentError
from plugfest.requirements.requirement import requirement
from plugfest.traffic.packet_socket import PacketSender

SOURCE = "Documentation/networking/segmentation-offloads.rst; RFC 9293, section 3.1"
TIMESTAMPS = bytes.fromhex("0101080a0000000100000002")
"""TCP options as Linux sends them: two NOPs and the timestamps (RFC 7323)."""
TCP_FEATURE = {4: "tx-tcp-segmentation", 6: "tx-tcp6-segmentation"}
ALL_TSO = tuple(TCP_FEATURE.values())
UDP_FEATURE = "tx-udp-segmentation"
SIZES = (
    # bytes of payload, bytes per segment
    (1448 * 4, 1448),  # a whole number of segments
    (1448 * 4 + 1, 1448),  # one byte more
    (1447 * 3 + 700, 1447),  # odd segments: the checksum's bytes swap places
    (537 * 9 + 536, 537),
    (536 + 1, 536),  # the shortest packet that is segmented
    (88 * 12, 88),  # the smallest MSS that Linux uses (TCP_MIN_SND_MSS with its options)
    (60000, 1440),  # near the upper limit of the IP length field
)
TAG = 100
"""VLAN id."""


def make_requests(ends, version, protocol=TCP):
    """Return one packet of each size, each with its own ports, flags and sequence number."""
    made = []
    for number, (length, segment) in enumerate(SIZES):
        flags = (ACK, ACK | PSH, ACK | PSH | FIN)[number % 3]
        made.append(
            TxRequest(
                ends,
                version,
                generate(number + 1, length),
                segment - (len(TIMESTAMPS) if number % 2 and segment > 1000 else 0),
                protocol=protocol,
                ports=(30000 + number, 31000),
                sequence=(0xFFFFF000 + number) if number % 2 else 1000 * number,  # some wrap
                identification=65534 if number % 2 else number,  # some wrap
                flags=flags,
                options=TIMESTAMPS if number % 2 and protocol == TCP else b"",
            )
        )
    return made


def check_offloaded(result):
    """Expect that the driver got each packet unsegmented, and that the device made the frames."""
    assert sorted(each.segment for each in result.uncut) == sorted(request.segment for request in result.requests)
    if result.frames_cut is not None:
        assert result.frames_cut == sum(len(request.pieces) - 1 for request in result.requests)


FAULTS = ("tx.segment.sequence", "tx.segment.flags", "tx.segment.length", "tx.segment.missing", "tx.checksum.wrong")


def version_of(kernel):
    """Return major and minor version of the guest's kernel."""
    return [int(part) for part in kernel.release.split(".")[:2]]


@requirement(
    "OFFLOAD-TSO-01",
    level="MUST",
    source=f"{SOURCE}; RFC 6864",
    falsified_by=(*FAULTS, "tx.segment.identification", "tx.ip-checksum.wrong"),
)
def test_ipv4(tx_offload, active, step):
    """With TCP segmentation offload over IPv4, the wire carries exactly the frames that the stack would have sent."""
    requests = make_requests(tx_offload.ends, 4)
    with step("Turn TCP segmentation offload on"):
        active(TCP_FEATURE[4])
    with step("Send packets of several lengths, with and without TCP options, with even and odd segment sizes"):
        result = tx_offload.do(requests)
    with step("The driver got each packet unsegmented, and the device made the frames: the offload is in use"):
        check_offloaded(result)
    with step(
        "On the wire, lengths, sequence numbers, flags, identifications, checksums and all bytes of payload are correct"
    ):
        result.check()


@requirement("OFFLOAD-TSO-02", level="MUST", source=SOURCE, falsified_by=FAULTS)
def test_ipv6(tx_offload, active, step):
    """With TCP segmentation offload over IPv6, the wire carries exactly the frames that the stack would have sent."""
    requests = make_requests(tx_offload.ends, 6)
    with step("Turn TCP segmentation offload on"):
        active(TCP_FEATURE[6])
    with step("Send packets of several lengths, with and without TCP options, with even and odd segment sizes"):
        result = tx_offload.do(requests)
    with step("The driver got each packet unsegmented, and the device made the frames: the offload is in use"):
        check_offloaded(result)
    with step("On the wire, lengths, sequence numbers, flags, checksums and all bytes of payload are correct"):
        result.check()


@requirement(
    "OFFLOAD-TSO-03",
    level="MUST",
    source="Documentation/networking/netdev-features.rst",
    falsified_by="program:settings.not-set",
)
def test_off(tx_offload, inactive, step):
    """With TCP segmentation offload off, the driver gets no packet to segment, and the wire carries the same frames."""
    requests = [request for version in (4, 6) for request in make_requests(tx_offload.ends, version)[:3]]
    requests = [request if request.version == 4 else _other_ports(request) for request in requests]
    with step("Turn TCP segmentation offload off"):
        inactive(*ALL_TSO)
    with step("Send packets that need segmentation"):
        result = tx_offload.do(requests)
    with step("The driver got no packet to segment, and the device segmented none"):
        assert {each.segment for each in result.skbs} == {0}
        assert result.frames_cut in (None, 0)
    with step("The wire carries the same frames as with the offload on"):
        result.check()


def _other_ports(request):
    """Return the request with other ports, so that its frames differ from those over IPv4."""
    return replace(request, ports=(request.ports[0] + 100, request.ports[1]))


@requirement(
    "OFFLOAD-TSO-04",
    level="MUST",
    source="RFC 3168, section 6.1.2; Documentation/networking/segmentation-offloads.rst, ECN",
    falsified_by=("tx.checksum.wrong", "tx.frame.dropped"),
)
def test_congestion_flag(tx_offload, active, step):
    """Only the first frame of a segmented packet with CWR has CWR set, whether the device or the stack segments it."""
    requests = [
        TxRequest(
            tx_offload.ends,
            version,
            generate(version, 5000),
            1400,
            ports=(30000 + version, 31000),
            flags=ACK | PSH | CWR,
        )
        for version in (4, 6)
    ]
    with step("Turn TCP segmentation offload on"):
        active(*ALL_TSO)
    with step("Send packets with CWR"):
        result = tx_offload.do(requests)
    with step("On the wire, only the first frame of each packet has CWR set"):
        result.check()


@requirement(
    "OFFLOAD-TSO-05",
    level="MUST",
    source=f"{SOURCE}; IEEE 802.1Q, clause 9.6",
    falsified_by=("tx.vlan.missing", "tx.vlan.wrong", "tx.frame.dropped"),
)
def test_tagged(tx_offload, active, guest, kernel, settings, defer, step, skip_kernel_lacks):
    """Each frame of a segmented packet on a VLAN has the tag, whether the device or the stack segments it."""
    requests = [
        TxRequest(tx_offload.ends, version, generate(version, 5000), 1400, ports=(30000, 31000), tag=TAG)
        for version in (4, 6)
    ]
    with step("Turn TCP segmentation offload on, and create a VLAN interface"):
        active(*ALL_TSO)
        vlan = settings.add_vlan(TAG)
    with step("Send packets on the VLAN interface"):
        try:
            result = tx_offload.do(requests, packet_sender=PacketSender(guest, vlan, defer))
        except AgentError as error:
            # validate_xmit_skb() has dropped it on the way to the VLAN interface: 6.1 does, 6.12 does not.
            if error.errno != errno.ENOMEM or version_of(kernel) >= [6, 12]:
                raise
            skip_kernel_lacks("segmenting a packet socket's packet in software on a VLAN interface", evidence=error)
    with step("On the wire each frame has the tag and is otherwise as without a VLAN"):
        result.check()


@requirement(
    "OFFLOAD-TSO-06",
    level="MUST",
    source=SOURCE,
    falsified_by=("tx.segment.sequence", "tx.checksum.wrong"),
)
@pytest.mark.parametrize("mss", [None, 537])
def test_stream(peer, active, trace_skbs, step, mss):
    """A TCP stream that the device segments arrives complete and unchanged, with the default MSS and with an odd one."""
    length = 300_007
    with step("Turn TCP segmentation offload on"):
        active(*ALL_TSO)
    with step("Send a TCP stream from the DUT"), trace_skbs() as seen:
        received = peer.from_dut(4, length, mss=mss)
    with step("The stream arrives complete and unchanged"):
        assert (received.length, received.sha256) == (length, digest(1, length))
    with step("The driver got packets to segment, with segments of at most the MSS"):
        sizes = {each.segment for each in seen.sent() if each.segment}
        assert sizes, "the driver got no packet to segment"
        assert mss is None or max(sizes) <= mss


@requirement(
    "OFFLOAD-USO-01",
    level="MUST",
    source="Documentation/networking/segmentation-offloads.rst, UDP segmentation; RFC 768",
    falsified_by=("tx.checksum.wrong", "tx.segment.missing"),
)
@pytest.mark.parametrize("version", [4, 6])
def test_udp(tx_offload, active, step, skip_unsupported, kernel, version):
    """With UDP segmentation offload, each datagram on the wire has its own length, identification and checksum."""
    if version_of(kernel) < [6, 2]:
        skip_unsupported("UDP segmentation by packet sockets", evidence=f"kernel {kernel.release}; needs 6.2 or later")
    requests = [
        TxRequest(
            tx_offload.ends, version, generate(number, length), segment, protocol=UDP, ports=(30000 + number, 31000)
        )
        for number, (length, segment) in enumerate([(4000, 1000), (4001, 1000), (7 * 333 + 1, 333)])
    ]
    with step("Turn UDP segmentation offload on"):
        active(UDP_FEATURE)
    with step("Send packets of several datagrams each"):
        result = tx_offload.do(requests)
    with step("The driver got each packet unsegmented: the offload is in use"):
        check_offloaded(result)
    with step("On the wire, lengths, identifications, checksums and all bytes of payload are correct"):
        result.check()


@requirement(
    "OFFLOAD-SG-01",
    level="MUST",
    source="Documentation/networking/netdev-features.rst, transmit DMA (NETIF_F_SG)",
    falsified_by=("tx.frame.corrupted", "program:settings.not-set"),
)
def test_scatter_gather(tx_offload, active, inactive, step):
    """With scatter-gather on, the driver sends packets in page fragments unchanged; with it off, the driver gets only linear packets."""
    requests = [
        TxRequest(tx_offload.ends, 4, generate(1, 60000), 1440),
        TxRequest(tx_offload.ends, 4, generate(2, 1400), ports=(30001, 31000)),
    ]
    with step(
        "Turn scatter-gather on, and send packets with most of their data in page fragments: the wire carries them unchanged"
    ):
        active("tx-scatter-gather")
        result = tx_offload.do(requests)
        assert any(each.linear < each.length for each in result.skbs), "the driver got no packet with page fragments"
        result.check()
    with step("Turn scatter-gather off: each packet that the driver gets is linear, and the wire carries the same"):
        inactive("tx-scatter-gather")
        result = tx_offload.do(requests)
        assert [each for each in result.skbs if each.linear != each.length] == []
        result.check()
