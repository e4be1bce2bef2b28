# SPDX-License-Identifier: GPL-2.0-or-later
"""Transmission: checksums, segmentation, tags, padding, stops, loopback, counters, faults."""

from __future__ import annotations

import pytest
import xgbe_rig as x
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet, Raw
from xgbe_rig import XgbeRig

CIC = 3 << 16
INSERT = 2 << 14
PAYLOAD = bytes(range(256)) * 12


def packet(version: int = 4, transport: Packet | None = None, payload: bytes = PAYLOAD[:100]) -> Packet:
    network = IP(src="192.0.2.2", dst="192.0.2.1") if version == 4 else IPv6(src="2001:db8::2", dst="2001:db8::1")
    return Ether(dst=x.PEER, src=x.MAC) / network / (transport or UDP(sport=9, dport=10)) / Raw(payload)


def spoilt(frame: Packet) -> bytes:
    """The frame with zeros for its checksums."""
    frame = frame.copy()
    if IP in frame:
        frame[IP].chksum = 0
    for layer in (TCP, UDP):
        if layer in frame:
            frame[layer].chksum = 0
    return bytes(frame)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("transport", [UDP(sport=9, dport=10), TCP(sport=9, dport=10)])
def test_checksums(rig: XgbeRig, version: int, transport: Packet) -> None:
    frame = packet(version, transport)
    assert rig.transmit(spoilt(frame), flags=CIC) == [bytes(frame)]
    assert rig.owned() == []


def test_no_checksum_unless_asked(rig: XgbeRig) -> None:
    frame = spoilt(packet())
    assert rig.transmit(frame) == [frame]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("tag", [None, 0x2064])
def test_segments(rig: XgbeRig, version: int, tag: int | None) -> None:
    """Each frame is what a stack would have made of its part; the tag comes into each."""
    whole = packet(version, TCP(sport=9, dport=10, seq=7, flags="PA"), PAYLOAD[:2500])
    header = spoilt(whole)[:-2500]
    sent = rig.segment(header, PAYLOAD[:2500], 1000, options=INSERT if tag else 0, tag=tag)
    wanted = []
    for number, size in enumerate((1000, 1000, 500)):
        one = packet(version, TCP(sport=9, dport=10, seq=7 + 1000 * number, flags="PA" if number == 2 else "A"))
        one[Raw].load = PAYLOAD[1000 * number : 1000 * number + size]
        if version == 4:
            one[IP].id = 1 + number
        data = bytes(one)
        wanted.append(data if tag is None else data[:12] + b"\x81\x00" + tag.to_bytes(2, "big") + data[12:])
    assert sent == wanted
    account = rig.device.control_methods()["model.counters"]()["tx"][0]
    assert (account["frames"], account["segments"]) == (1, 3)


def test_tag_from_context_and_register(rig: XgbeRig) -> None:
    frame = bytes(packet())
    context = (0, 0, 0, x.OWN | x.CONTEXT | 1 << 16 | 0x3005)
    (sent,) = rig.transmit(frame, context, options=INSERT)
    assert sent[12:16] == b"\x81\x00\x30\x05"
    (sent,) = rig.transmit(frame, options=INSERT)
    assert sent[12:16] == b"\x81\x00\x30\x05", "a context lasts"
    rig.write(x.MAC_VLANIR, 1 << 19 | 0x42)
    (sent,) = rig.transmit(frame, options=INSERT)
    assert sent[12:16] == b"\x88\xa8\x00\x42"


def test_padding_and_none(rig: XgbeRig) -> None:
    assert rig.transmit(bytes(20)) == [bytes(60)]
    assert rig.transmit(bytes(20), flags=1 << 26) == [bytes(20)]
    assert rig.transmit(bytes(64), flags=2 << 26) == [bytes(60)], "the last four bytes are the driver's FCS"


def test_scattered_packet_waits_for_its_end(rig: XgbeRig) -> None:
    frame = bytes(packet())
    rig.memory.write(x.TX_BUFFERS, frame)
    assert rig.send((x.TX_BUFFERS, 0, 50, x.OWN | x.FIRST)) == []
    assert rig.send((x.TX_BUFFERS + 50, 0, len(frame) - 50, x.OWN | x.LAST)) == [frame]


def test_stops_at_what_is_not_its_own(rig: XgbeRig) -> None:
    rig.memory.write(x.TX_BUFFERS, bytes(60))
    assert rig.send((x.TX_BUFFERS, 0, 60, x.FIRST | x.LAST)) == []
    assert rig.read(rig.channel(x.CH_SR, 0)) & 4, "transmit buffer unavailable"


def unlink(rig: XgbeRig) -> None:
    rig.device.control_methods()["link.set"](up=False)
    rig.clock.advance(0.2)


def relink(rig: XgbeRig) -> list[bytes]:
    """Have the link again; gives what left then."""
    rig.device.control_methods()["link.set"](up=True)
    rig.cause(2)
    rig.train()
    rig.cause()
    rig.clock.advance(0)
    return rig.wire.sent


def test_without_a_link_packets_wait_in_the_queue_and_then_in_the_ring(rig: XgbeRig) -> None:
    """A queue of 256 bytes: two packets of 200 go in, the descriptor of the third stays the device's."""
    unlink(rig)
    frames = [bytes([number]) * 200 for number in range(4)]
    for frame in frames[:2]:
        assert rig.transmit(frame) == []
    assert rig.owned() == []
    assert rig.read(rig.channel(x.MTL_TQDR, 0)) & 0x10, "the queue is not empty"
    for number, frame in enumerate(frames[2:]):
        rig.memory.write(x.TX_BUFFERS + 4096 * (number + 1), frame)
        rig.send((x.TX_BUFFERS + 4096 * (number + 1), 0, 200, x.OWN | x.FIRST | x.LAST))
    assert rig.owned() == [2, 3]
    assert relink(rig) == frames
    assert rig.owned() == []
    assert not rig.read(rig.channel(x.MTL_TQDR, 0)) & 0x10


def test_descriptor_taken_back_from_a_full_queue_stops_it(rig: XgbeRig) -> None:
    """The DMA waits at the descriptor that it has come to, whatever the tail says: it is no longer its own."""
    unlink(rig)
    for _ in range(3):
        rig.transmit(bytes(200))
    assert rig.owned() == [2]
    rig.memory.write(x.TX_RING + 2 * 16, bytes(16))
    assert len(relink(rig)) == 2
    assert rig.transmit(bytes(60)) == [bytes(200)] * 2
    assert rig.owned() == [3]


def test_frames_leave_when_fec_agrees(rig: XgbeRig) -> None:
    rig.write(rig.channel(x.MTL_TQOMR, 0), 2 << 2 | 2)
    fec = rig.mmd(1, 171)
    rig.mmd_write(1, 171, fec ^ 1)
    assert rig.transmit(bytes(60)) == []
    rig.mmd_write(1, 171, fec)
    assert rig.wire.sent == [bytes(60)]


def test_flush_loses_what_waits(rig: XgbeRig) -> None:
    unlink(rig)
    rig.transmit(bytes(60))
    rig.write(rig.channel(x.MTL_TQOMR, 0), rig.read(rig.channel(x.MTL_TQOMR, 0)) | 1)
    assert not rig.read(rig.channel(x.MTL_TQDR, 0)) & 0x10
    assert relink(rig) == []
    account = rig.device.control_methods()["model.counters"]()["tx"][0]
    assert (account["frames"], account["segments"]) == (1, 0)


def test_paused_queue_keeps_order(rig: XgbeRig) -> None:
    rig.device.transmitter.pause(0.01)
    assert rig.transmit(bytes([1]) * 60) == []
    assert rig.read(rig.channel(x.MTL_TQDR, 0)) & 0x11 == 0x11, "paused, not empty"
    assert rig.transmit(bytes([2]) * 60) == []
    rig.clock.advance(0.011)
    assert rig.wire.sent == [bytes([1]) * 60, bytes([2]) * 60]


def test_stop_and_start(rig: XgbeRig) -> None:
    rig.write(rig.channel(x.CH_TCR, 0), 0)
    assert rig.read(rig.channel(x.MTL_TQDR, 0)) & 0x16 == 0
    assert rig.transmit(bytes(60)) == []
    rig.write(rig.channel(x.CH_TCR, 0), 1)
    rig.clock.advance(0)
    assert rig.wire.sent == [bytes(60)]
    rig.write(rig.channel(x.MTL_TQOMR, 0), 1)
    assert not rig.read(rig.channel(x.MTL_TQOMR, 0)) & 1, "the flush is done"


def test_loopback(rig: XgbeRig) -> None:
    rig.write(x.MAC_RCR, rig.read(x.MAC_RCR) | 1 << 10)
    frame = bytes(Ether(dst=x.MAC, src=x.MAC) / IP() / UDP() / Raw(PAYLOAD[:200]))
    assert rig.transmit(frame) == []
    (got,) = rig.collect()
    assert got.data == frame
    assert got.header == 42
    rig.arm("device.loopback.broken")
    rig.transmit(frame)
    assert rig.collect() == []


def test_pause_is_obeyed(rig: XgbeRig) -> None:
    rig.write(x.MAC_RFCR, 1)
    pause = bytes.fromhex("0180c2000001") + x.PEER + bytes.fromhex("88080001ffff") + bytes(42)
    assert rig.receive(pause) == []
    assert rig.transmit(bytes(60)) == []
    rig.clock.advance(0.01)
    assert rig.wire.sent == [bytes(60)]
    assert rig.read(x.MMC_RXPAUSE) == 1


def test_timestamp(rig: XgbeRig) -> None:
    rig.write(x.MAC_TSCR, 0x201)
    rig.write(x.MAC_IER, 1 << 12)
    rig.transmit(bytes(60), options=1 << 30)
    assert rig.read(x.MAC_ISR) & 1 << 12
    assert rig.read(x.MAC_TSSR) & 1 << 15
    rig.read(x.MAC_TXSNR)
    rig.read(x.MAC_TXSSR)
    assert not rig.read(x.MAC_TSSR)


def test_counters(rig: XgbeRig) -> None:
    """Octets to the FCS, cleared by reading, all of them by MMC_CR.CR, none while frozen."""
    rig.write(x.MMC_CR, 4)
    rig.transmit(x.PEER + bytes(54))
    assert [rig.read(each) for each in (x.MMC_TXOCTETS, x.MMC_TXFRAMES, x.MMC_TX64, x.MMC_TXUNICAST)] == [64, 1, 1, 1]
    assert rig.read(x.MMC_TXOCTETS) == 0
    rig.write(x.MMC_CR, 4 | 8)
    rig.transmit(bytes(60))
    assert rig.read(x.MMC_TXFRAMES) == 0
    rig.write(x.MMC_CR, 0)
    rig.transmit(bytes(60))
    assert rig.read(x.MMC_TXFRAMES) == rig.read(x.MMC_TXFRAMES) == 1
    rig.write(x.MMC_CR, 1)
    assert rig.read(x.MMC_TXFRAMES) == 0


def test_wide_counter_carries(rig: XgbeRig) -> None:
    rig.write(x.MMC_CR, 1 << 4 | 1 << 5)
    rig.transmit(bytes(60))
    assert rig.read(x.MMC_TXOCTETS) == (0xFFFF_FFF0 + 64) & 0xFFFF_FFFF
    assert rig.read(x.MMC_TXOCTETS + 4) == 0


FAULTY = {
    "tx.checksum.wrong": lambda good, bad: len(bad) == 1 and bad[0] != good[0],
    "tx.ip-checksum.wrong": lambda good, bad: bad[0][:24] == good[0][:24] and bad[0] != good[0],
    "tx.frame.dropped": lambda _good, bad: bad == [],
    "tx.frame.duplicated": lambda good, bad: bad == good * 2,
    "tx.frame.corrupted": lambda good, bad: bad[0][:-1] == good[0][:-1] and bad[0] != good[0],
    "tx.queue.stuck": lambda _good, bad: bad == [],
}


@pytest.mark.parametrize("name", FAULTY)
def test_frame_faults(rig: XgbeRig, name: str) -> None:
    frame = packet()
    good = rig.transmit(spoilt(frame), flags=CIC)
    rig.arm(name, queue=0)
    assert FAULTY[name](good, rig.transmit(spoilt(frame), flags=CIC))
    assert rig.fired(name)


@pytest.mark.parametrize(
    "name",
    ["tx.segment.sequence", "tx.segment.flags", "tx.segment.identification", "tx.segment.length", "tx.segment.missing"],
)
def test_segment_faults(rig: XgbeRig, name: str) -> None:
    header = spoilt(packet(4, TCP(sport=9, dport=10, flags="FPA"), PAYLOAD[:2500]))[:-2500]
    good = rig.segment(header, PAYLOAD[:2500], 1000)
    rig.arm(name, queue=0)
    assert rig.segment(header, PAYLOAD[:2500], 1000) != good
    assert rig.fired(name)


def test_tag_and_other_faults(rig: XgbeRig) -> None:
    context = (0, 0, 0, x.OWN | x.CONTEXT | 1 << 16 | 5)
    rig.arm("tx.vlan.wrong")
    (sent,) = rig.transmit(bytes(60), context, options=INSERT)
    assert sent[14:16] == b"\0\6"
    rig.arm("tx.vlan.missing")
    assert rig.transmit(bytes(60), options=INSERT) == [bytes(60)]
    rig.arm("tx.padding.missing")
    assert rig.transmit(bytes(20)) == [bytes(20)]
    rig.arm("tx.writeback.lost")
    assert rig.transmit(bytes(60))
    assert rig.owned()
    rig.write(x.MMC_CR, 5)
    rig.arm("tx.counter.doubled")
    rig.arm("tx.counter.bytes")
    rig.transmit(bytes(60))
    assert (rig.read(x.MMC_TXFRAMES), rig.read(x.MMC_TXOCTETS)) == (2, 129)


def test_tagged_payload_is_parsed(rig: XgbeRig) -> None:
    frame = Ether(dst=x.PEER, src=x.MAC) / Dot1Q(vlan=5) / packet()[IP]
    assert rig.transmit(spoilt(frame), flags=CIC) == [bytes(frame)]
