# SPDX-License-Identifier: GPL-2.0-or-later
"""Segmentation by the device: what is handed over in one piece must be on the wire as the stack would have cut it."""

from __future__ import annotations

import pytest
from plugfest.frames.dissect import ACK, CWR, FIN, PSH, TCP, UDP
from plugfest.frames.payload import digest, generate
from plugfest.frames.segmentation import TxRequest
from plugfest.requirements.requirement import requirement
from plugfest.traffic.packet_socket import PacketSender

SOURCE = "Documentation/networking/segmentation-offloads.rst; RFC 9293, section 3.1"
TIMESTAMPS = bytes.fromhex("0101080a0000000100000002")
"""TCP options as Linux sends them: two fillers and the timestamps (RFC 7323)."""
TCP_FEATURE = {4: "tx-tcp-segmentation", 6: "tx-tcp6-segmentation"}
ALL_TSO = tuple(TCP_FEATURE.values())
UDP_FEATURE = "tx-udp-segmentation"
SIZES = (
    # octets of payload, octets a segment
    (1448 * 4, 1448),  # a whole number of segments
    (1448 * 4 + 1, 1448),  # one octet over
    (1447 * 3 + 700, 1447),  # odd segments: the checksum's octets change places
    (537 * 9 + 536, 537),
    (536 + 1, 536),  # the shortest that is cut at all
    (88 * 12, 88),  # the smallest that Linux asks for (TCP_MIN_SND_MSS and its options)
    (60000, 1440),  # near the longest that IP can say
)
TAG = 100


def requests(ends, version, protocol=TCP):
    """One packet a size, in flows of their own, each with other flags and sequence numbers."""
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


def check_cut(work):
    """Expect that the driver was handed each packet whole, and that the device made the frames."""
    assert sorted(each.segment for each in work.uncut) == sorted(order.segment for order in work.requests)
    if work.frames_cut is not None:
        assert work.frames_cut == sum(len(order.pieces) - 1 for order in work.requests)


FAULTS = ("tx.segment.sequence", "tx.segment.flags", "tx.segment.length", "tx.segment.missing", "tx.checksum.wrong")


@requirement(
    "OFFLOAD-TSO-01",
    level="MUST",
    source=f"{SOURCE}; RFC 6864",
    falsified_by=(*FAULTS, "tx.segment.identification", "tx.ip-checksum.wrong"),
)
def test_ipv4(tx_offload, active, step):
    """TCP segmentation offload over IPv4 puts on the wire exactly the frames that the stack would have sent."""
    asked = requests(tx_offload.ends, 4)
    with step("Turn the offload on"):
        active(TCP_FEATURE[4])
    with step("Hand over packets of several sizes, with and without options, to be cut at even and odd sizes"):
        work = tx_offload.do(asked)
    with step("The driver got each in one piece, and the device made the frames: the offload is really used"):
        check_cut(work)
    with step("On the wire: sizes, sequence numbers, flags, identifications, checksums, and the payload to the octet"):
        work.check()


@requirement("OFFLOAD-TSO-02", level="MUST", source=SOURCE, falsified_by=FAULTS)
def test_ipv6(tx_offload, active, step):
    """TCP segmentation offload over IPv6 puts on the wire exactly the frames that the stack would have sent."""
    asked = requests(tx_offload.ends, 6)
    with step("Turn the offload on"):
        active(TCP_FEATURE[6])
    with step("Hand over packets of several sizes, with and without options, to be cut at even and odd sizes"):
        work = tx_offload.do(asked)
    with step("The driver got each in one piece, and the device made the frames: the offload is really used"):
        check_cut(work)
    with step("On the wire: sizes, sequence numbers, flags, checksums, and the payload to the octet"):
        work.check()


@requirement(
    "OFFLOAD-TSO-03",
    level="MUST",
    source="Documentation/networking/netdev-features.rst",
    falsified_by="program:settings.not-set",
)
def test_off(tx_offload, inactive, step):
    """With TCP segmentation offload off, the device is handed no packet to cut, and the wire carries the same frames."""
    asked = [order for version in (4, 6) for order in requests(tx_offload.ends, version)[:3]]
    asked = [order if order.version == 4 else _other_ports(order) for order in asked]
    with step("Turn the offload off"):
        inactive(*ALL_TSO)
    with step("Send packets that have to be cut"):
        work = tx_offload.do(asked)
    with step("The driver got none to be cut, and the device cut none"):
        assert {each.segment for each in work.skbs} == {0}
        assert work.frames_cut in (None, 0)
    with step("The wire carries what it carries with the offload on"):
        work.check()


def _other_ports(order):
    return TxRequest(**{**vars(order), "ports": (order.ports[0] + 100, order.ports[1])})


@requirement(
    "OFFLOAD-TSO-04",
    level="MUST",
    source="RFC 3168, section 6.1.2; Documentation/networking/segmentation-offloads.rst, ECN",
    falsified_by=("tx.checksum.wrong", "tx.frame.dropped"),
)
def test_congestion_flag(tx_offload, active, step):
    """Of a packet with CWR only the first frame has it, whether device or stack cuts such packets."""
    asked = [
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
    with step("Turn the offload on"):
        active(*ALL_TSO)
    with step("Hand over packets with CWR"):
        work = tx_offload.do(asked)
    with step("Only the first frame of each has it"):
        work.check()


@requirement(
    "OFFLOAD-TSO-05",
    level="MUST",
    source=f"{SOURCE}; IEEE 802.1Q, clause 9.6",
    falsified_by=("tx.vlan.missing", "tx.vlan.wrong", "tx.frame.dropped"),
)
def test_tagged(tx_offload, active, guest, dut, defer, step):
    """Each frame of a packet that was sent on a VLAN has its tag, whether device or stack cuts such packets."""
    asked = [
        TxRequest(tx_offload.ends, version, generate(version, 5000), 1400, ports=(30000, 31000), tag=TAG)
        for version in (4, 6)
    ]
    with step("Turn the offload on, and make a VLAN interface"):
        active(*ALL_TSO)
        guest.agent.call("link.add_vlan", ifname=dut.ifname, vlan=TAG, name="vlan0")
        defer(guest.agent.call, "link.delete", ifname="vlan0")
        guest.agent.call("link.set", ifname="vlan0", up=True)
    with step("Hand over packets on it"):
        work = tx_offload.do(asked, packet_sender=PacketSender(guest.agent, "vlan0", defer))
    with step("Each frame has the tag, and all else is as without"):
        work.check()


@requirement(
    "OFFLOAD-TSO-06",
    level="MUST",
    source=SOURCE,
    falsified_by=("tx.segment.sequence", "tx.checksum.wrong"),
)
@pytest.mark.parametrize("mss", [None, 537])
def test_stream(peer, active, trace_skbs, step, mss):
    """A TCP stream that the device segments arrives whole, with the usual and with an odd segment size."""
    length = 300_007
    with step("Turn the offload on"):
        active(*ALL_TSO)
    with step("Have the DUT send a stream by TCP"), trace_skbs() as seen:
        got = peer.from_dut(4, length, mss=mss)
    with step("It arrives whole"):
        assert (got.length, got.sha256) == (length, digest(1, length))
    with step("The driver was handed packets to be cut at that size"):
        sizes = {each.segment for each in seen.sent() if each.segment}
        assert sizes, "no packet was handed over to be cut"
        assert mss is None or max(sizes) <= mss


@requirement(
    "OFFLOAD-USO-01",
    level="MUST",
    source="Documentation/networking/segmentation-offloads.rst, UDP segmentation; RFC 768",
    falsified_by=("tx.checksum.wrong", "tx.segment.missing"),
)
@pytest.mark.parametrize("version", [4, 6])
def test_udp(tx_offload, active, step, skip_unsupported, kernel, version):
    """UDP segmentation offload puts each datagram on the wire with its own length, identification and checksum."""
    if [int(part) for part in kernel.release.split(".")[:2]] < [6, 2]:
        skip_unsupported("UDP segmentation by packet sockets", evidence=f"kernel {kernel.release}: since 6.2")
    asked = [
        TxRequest(
            tx_offload.ends, version, generate(number, length), segment, protocol=UDP, ports=(30000 + number, 31000)
        )
        for number, (length, segment) in enumerate([(4000, 1000), (4001, 1000), (7 * 333 + 1, 333)])
    ]
    with step("Turn the offload on"):
        active(UDP_FEATURE)
    with step("Hand over packets of several datagrams"):
        work = tx_offload.do(asked)
    with step("The driver got each in one piece: the offload is really used"):
        check_cut(work)
    with step("On the wire: lengths, identifications, checksums, and the payload to the octet"):
        work.check()


@requirement(
    "OFFLOAD-SG-01",
    level="MUST",
    source="Documentation/networking/netdev-features.rst, transmit DMA (NETIF_F_SG)",
    falsified_by=("tx.frame.corrupted", "program:settings.not-set"),
)
def test_scatter_gather(tx_offload, active, inactive, step):
    """Packets in scattered pieces of memory are sent unchanged; with the feature off none are handed to the driver."""
    asked = [
        TxRequest(tx_offload.ends, 4, generate(1, 60000), 1440),
        TxRequest(tx_offload.ends, 4, generate(2, 1400), ports=(30001, 31000)),
    ]
    with step("Turn it on, and send packets of which most is in page fragments"):
        active("tx-scatter-gather")
        work = tx_offload.do(asked)
        assert any(each.linear < each.length for each in work.skbs), "nothing was handed over in fragments"
        work.check()
    with step("Turn it off: all that is handed over is in one piece, and the wire carries the same"):
        inactive("tx-scatter-gather")
        work = tx_offload.do(asked)
        assert [each for each in work.skbs if each.linear != each.length] == []
        work.check()
