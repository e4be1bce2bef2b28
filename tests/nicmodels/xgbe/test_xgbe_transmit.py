# SPDX-License-Identifier: GPL-2.0-or-later
"""Transmission: checksums, segmentation, tags, padding, stops, loopback, counters, faults."""

from __future__ import annotations

import pytest
import xgbe_harness as x
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet, Raw
from xgbe_harness import XgbeRig

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
def test_checksums(harness: XgbeRig, version: int, transport: Packet) -> None:
    frame = packet(version, transport)
    assert harness.transmit(spoilt(frame), flags=CIC) == [bytes(frame)]
    assert harness.owned() == []


def test_no_checksum_unless_asked(harness: XgbeRig) -> None:
    frame = spoilt(packet())
    assert harness.transmit(frame) == [frame]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("tag", [None, 0x2064])
def test_segments(harness: XgbeRig, version: int, tag: int | None) -> None:
    """Each segment is what a stack would send for its part; each has the tag."""
    whole = packet(version, TCP(sport=9, dport=10, seq=7, flags="PA"), PAYLOAD[:2500])
    header = spoilt(whole)[:-2500]
    sent = harness.segment(header, PAYLOAD[:2500], 1000, options=INSERT if tag else 0, tag=tag)
    wanted = []
    for number, size in enumerate((1000, 1000, 500)):
        one = packet(version, TCP(sport=9, dport=10, seq=7 + 1000 * number, flags="PA" if number == 2 else "A"))
        one[Raw].load = PAYLOAD[1000 * number : 1000 * number + size]
        if version == 4:
            one[IP].id = 1 + number
        data = bytes(one)
        wanted.append(data if tag is None else data[:12] + b"\x81\x00" + tag.to_bytes(2, "big") + data[12:])
    assert sent == wanted
    account = harness.device.control_methods()["model.counters"]()["tx"][0]
    assert (account["frames"], account["segments"]) == (1, 3)


def test_tag_from_context_and_register(harness: XgbeRig) -> None:
    frame = bytes(packet())
    context = (0, 0, 0, x.OWN | x.CONTEXT | 1 << 16 | 0x3005)
    (sent,) = harness.transmit(frame, context, options=INSERT)
    assert sent[12:16] == b"\x81\x00\x30\x05"
    (sent,) = harness.transmit(frame, options=INSERT)
    assert sent[12:16] == b"\x81\x00\x30\x05", "a context lasts"
    harness.write(x.MAC_VLANIR, 1 << 19 | 0x42)
    (sent,) = harness.transmit(frame, options=INSERT)
    assert sent[12:16] == b"\x88\xa8\x00\x42"


def test_padding_and_none(harness: XgbeRig) -> None:
    assert harness.transmit(bytes(20)) == [bytes(60)]
    assert harness.transmit(bytes(20), flags=1 << 26) == [bytes(20)]
    assert harness.transmit(bytes(64), flags=2 << 26) == [bytes(60)], "the last four bytes are the driver's FCS"


def test_scattered_packet_waits_for_its_end(harness: XgbeRig) -> None:
    frame = bytes(packet())
    harness.memory.write(x.TX_BUFFERS, frame)
    assert harness.send((x.TX_BUFFERS, 0, 50, x.OWN | x.FIRST)) == []
    assert harness.send((x.TX_BUFFERS + 50, 0, len(frame) - 50, x.OWN | x.LAST)) == [frame]


def test_stops_at_what_is_not_its_own(harness: XgbeRig) -> None:
    harness.memory.write(x.TX_BUFFERS, bytes(60))
    assert harness.send((x.TX_BUFFERS, 0, 60, x.FIRST | x.LAST)) == []
    assert harness.read(harness.channel(x.CH_SR, 0)) & 4, "transmit buffer unavailable"


def unlink(harness: XgbeRig) -> None:
    harness.device.control_methods()["link.set"](up=False)
    harness.clock.advance(0.2)


def relink(harness: XgbeRig) -> list[bytes]:
    """Bring the link up again; returns the frames sent then."""
    harness.device.control_methods()["link.set"](up=True)
    harness.cause(2)
    harness.train()
    harness.cause()
    harness.clock.advance(0)
    return harness.wire.sent


def test_without_a_link_packets_wait_in_the_queue_and_then_in_the_ring(harness: XgbeRig) -> None:
    """A queue of 256 bytes: two packets of 200 bytes fit, and the device still owns the third's descriptor."""
    unlink(harness)
    frames = [bytes([number]) * 200 for number in range(4)]
    for frame in frames[:2]:
        assert harness.transmit(frame) == []
    assert harness.owned() == []
    assert harness.read(harness.channel(x.MTL_TQDR, 0)) & 0x10, "the queue is not empty"
    for number, frame in enumerate(frames[2:]):
        harness.memory.write(x.TX_BUFFERS + 4096 * (number + 1), frame)
        harness.send((x.TX_BUFFERS + 4096 * (number + 1), 0, 200, x.OWN | x.FIRST | x.LAST))
    assert harness.owned() == [2, 3]
    assert relink(harness) == frames
    assert harness.owned() == []
    assert not harness.read(harness.channel(x.MTL_TQDR, 0)) & 0x10


def test_descriptor_taken_back_from_a_full_queue_stops_it(harness: XgbeRig) -> None:
    """The DMA waits at a descriptor that it does not own, whatever the tail."""
    unlink(harness)
    for _ in range(3):
        harness.transmit(bytes(200))
    assert harness.owned() == [2]
    harness.memory.write(x.TX_RING + 2 * 16, bytes(16))
    assert len(relink(harness)) == 2
    assert harness.transmit(bytes(60)) == [bytes(200)] * 2
    assert harness.owned() == [3]
    assert violations(harness) == [2]


def violations(harness: XgbeRig) -> list[int]:
    """The descriptors at which the device was seen to wait."""
    events = harness.slot.events.after()
    return [event["descriptor"] for event in events if event.get("rule") == "tx.unowned"]


def test_a_descriptor_at_which_the_device_waits_is_noted_again_after_a_while(harness: XgbeRig) -> None:
    for _ in range(3):
        harness.send((x.TX_BUFFERS, 0, 60, x.FIRST | x.LAST))
    assert violations(harness) == [0]
    harness.clock.advance(0.2)
    harness.send((x.TX_BUFFERS, 0, 60, x.FIRST | x.LAST))
    assert violations(harness) == [0, 0]


def test_a_driver_that_hands_over_what_it_sends_breaks_no_rule(harness: XgbeRig) -> None:
    for length in (60, 200, 1500):
        harness.transmit(bytes(length))
    assert violations(harness) == []


def test_frames_leave_when_fec_agrees(harness: XgbeRig) -> None:
    harness.write(harness.channel(x.MTL_TQOMR, 0), 2 << 2 | 2)
    fec = harness.mmd(1, 171)
    harness.mmd_write(1, 171, fec ^ 1)
    assert harness.transmit(bytes(60)) == []
    harness.mmd_write(1, 171, fec)
    assert harness.wire.sent == [bytes(60)]


def test_flush_loses_what_waits(harness: XgbeRig) -> None:
    unlink(harness)
    harness.transmit(bytes(60))
    harness.write(harness.channel(x.MTL_TQOMR, 0), harness.read(harness.channel(x.MTL_TQOMR, 0)) | 1)
    assert not harness.read(harness.channel(x.MTL_TQDR, 0)) & 0x10
    assert relink(harness) == []
    account = harness.device.control_methods()["model.counters"]()["tx"][0]
    assert (account["frames"], account["segments"]) == (1, 0)


def test_paused_queue_keeps_order(harness: XgbeRig) -> None:
    harness.device.transmitter.pause(0.01)
    assert harness.transmit(bytes([1]) * 60) == []
    assert harness.read(harness.channel(x.MTL_TQDR, 0)) & 0x11 == 0x11, "paused, not empty"
    assert harness.transmit(bytes([2]) * 60) == []
    harness.clock.advance(0.011)
    assert harness.wire.sent == [bytes([1]) * 60, bytes([2]) * 60]


def test_stop_and_start(harness: XgbeRig) -> None:
    harness.write(harness.channel(x.CH_TCR, 0), 0)
    assert harness.read(harness.channel(x.MTL_TQDR, 0)) & 0x16 == 0
    assert harness.transmit(bytes(60)) == []
    harness.write(harness.channel(x.CH_TCR, 0), 1)
    harness.clock.advance(0)
    assert harness.wire.sent == [bytes(60)]
    harness.write(harness.channel(x.MTL_TQOMR, 0), 1)
    assert not harness.read(harness.channel(x.MTL_TQOMR, 0)) & 1, "the flush is done"


def test_loopback(harness: XgbeRig) -> None:
    harness.write(x.MAC_RCR, harness.read(x.MAC_RCR) | 1 << 10)
    frame = bytes(Ether(dst=x.MAC, src=x.MAC) / IP() / UDP() / Raw(PAYLOAD[:200]))
    assert harness.transmit(frame) == []
    (got,) = harness.collect()
    assert got.data == frame
    assert got.header == 42
    harness.arm("device.loopback.broken")
    harness.transmit(frame)
    assert harness.collect() == []


def test_pause_is_obeyed(harness: XgbeRig) -> None:
    harness.write(x.MAC_RFCR, 1)
    pause = bytes.fromhex("0180c2000001") + x.PEER + bytes.fromhex("88080001ffff") + bytes(42)
    assert harness.receive(pause) == []
    assert harness.transmit(bytes(60)) == []
    harness.clock.advance(0.01)
    assert harness.wire.sent == [bytes(60)]
    assert harness.read(x.MMC_RXPAUSE) == 1


def test_timestamp(harness: XgbeRig) -> None:
    harness.write(x.MAC_TSCR, 0x201)
    harness.write(x.MAC_IER, 1 << 12)
    harness.transmit(bytes(60), options=1 << 30)
    assert harness.read(x.MAC_ISR) & 1 << 12
    assert harness.read(x.MAC_TSSR) & 1 << 15
    harness.read(x.MAC_TXSNR)
    harness.read(x.MAC_TXSSR)
    assert not harness.read(x.MAC_TSSR)


def test_counters(harness: XgbeRig) -> None:
    """Bytes up to the FCS; cleared by reading, all by MMC_CR.CR, and not counted while frozen."""
    harness.write(x.MMC_CR, 4)
    harness.transmit(x.PEER + bytes(54))
    assert [harness.read(each) for each in (x.MMC_TXOCTETS, x.MMC_TXFRAMES, x.MMC_TX64, x.MMC_TXUNICAST)] == [
        64,
        1,
        1,
        1,
    ]
    assert harness.read(x.MMC_TXOCTETS) == 0
    harness.write(x.MMC_CR, 4 | 8)
    harness.transmit(bytes(60))
    assert harness.read(x.MMC_TXFRAMES) == 0
    harness.write(x.MMC_CR, 0)
    harness.transmit(bytes(60))
    assert harness.read(x.MMC_TXFRAMES) == harness.read(x.MMC_TXFRAMES) == 1
    harness.write(x.MMC_CR, 1)
    assert harness.read(x.MMC_TXFRAMES) == 0


def test_wide_counter_carries(harness: XgbeRig) -> None:
    harness.write(x.MMC_CR, 1 << 4 | 1 << 5)
    harness.transmit(bytes(60))
    assert harness.read(x.MMC_TXOCTETS) == (0xFFFF_FFF0 + 64) & 0xFFFF_FFFF
    assert harness.read(x.MMC_TXOCTETS + 4) == 0


FAULTY = {
    "tx.checksum.wrong": lambda good, bad: len(bad) == 1 and bad[0] != good[0],
    "tx.ip-checksum.wrong": lambda good, bad: bad[0][:24] == good[0][:24] and bad[0] != good[0],
    "tx.frame.dropped": lambda _good, bad: bad == [],
    "tx.frame.duplicated": lambda good, bad: bad == good * 2,
    "tx.frame.corrupted": lambda good, bad: bad[0][:-1] == good[0][:-1] and bad[0] != good[0],
    "tx.queue.stuck": lambda _good, bad: bad == [],
}


@pytest.mark.parametrize("name", FAULTY)
def test_frame_faults(harness: XgbeRig, name: str) -> None:
    frame = packet()
    good = harness.transmit(spoilt(frame), flags=CIC)
    harness.arm(name, queue=0)
    assert FAULTY[name](good, harness.transmit(spoilt(frame), flags=CIC))
    assert harness.fired(name)


@pytest.mark.parametrize(
    "name",
    ["tx.segment.sequence", "tx.segment.flags", "tx.segment.identification", "tx.segment.length", "tx.segment.missing"],
)
def test_segment_faults(harness: XgbeRig, name: str) -> None:
    header = spoilt(packet(4, TCP(sport=9, dport=10, flags="FPA"), PAYLOAD[:2500]))[:-2500]
    good = harness.segment(header, PAYLOAD[:2500], 1000)
    harness.arm(name, queue=0)
    assert harness.segment(header, PAYLOAD[:2500], 1000) != good
    assert harness.fired(name)


def test_tag_and_other_faults(harness: XgbeRig) -> None:
    context = (0, 0, 0, x.OWN | x.CONTEXT | 1 << 16 | 5)
    harness.arm("tx.vlan.wrong")
    (sent,) = harness.transmit(bytes(60), context, options=INSERT)
    assert sent[14:16] == b"\0\6"
    harness.arm("tx.vlan.missing")
    assert harness.transmit(bytes(60), options=INSERT) == [bytes(60)]
    harness.arm("tx.padding.missing")
    assert harness.transmit(bytes(20)) == [bytes(20)]
    harness.arm("tx.writeback.lost")
    assert harness.transmit(bytes(60))
    assert harness.owned()
    harness.write(x.MMC_CR, 5)
    harness.arm("tx.counter.doubled")
    harness.arm("tx.counter.bytes")
    harness.transmit(bytes(60))
    assert (harness.read(x.MMC_TXFRAMES), harness.read(x.MMC_TXOCTETS)) == (2, 129)


def test_tagged_payload_is_parsed(harness: XgbeRig) -> None:
    frame = Ether(dst=x.PEER, src=x.MAC) / Dot1Q(vlan=5) / packet()[IP]
    assert harness.transmit(spoilt(frame), flags=CIC) == [bytes(frame)]
