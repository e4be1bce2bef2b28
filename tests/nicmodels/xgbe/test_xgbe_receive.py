# SPDX-License-Identifier: GPL-2.0-or-later
"""Reception: filters, split headers, checksums, RSS, tags, sizes, full queues, timestamps, counters, faults."""

from __future__ import annotations

import zlib

import pytest
import xgbe_harness as x
from nicmodels.nic.engine import LONG_BURST
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet, Raw
from xgbe_harness import XgbeRig

PAYLOAD = bytes(range(256)) * 40
BROADCAST = b"\xff" * 6
GROUP = bytes.fromhex("01005e7f1234")
STRANGER = bytes.fromhex("027066000099")


def local(to: bytes = x.MAC, size: int = 100, tag: int | None = None) -> bytes:
    head = to + x.PEER + (b"" if tag is None else b"\x81\x00" + tag.to_bytes(2, "big")) + b"\x88\xb5"
    return head + PAYLOAD[:size]


def packet(version: int = 4, transport: Packet | None = None, size: int = 500, *, tag: int | None = None) -> bytes:
    network = IP(src="192.0.2.1", dst="192.0.2.2") if version == 4 else IPv6(src="2001:db8::1", dst="2001:db8::2")
    head = Ether(dst=x.MAC, src=x.PEER)
    if tag is not None:
        head = head / Dot1Q(vlan=tag & 0xFFF, prio=tag >> 13)
    return bytes(head / network / (transport or UDP(sport=9, dport=10)) / Raw(PAYLOAD[:size]))


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    ("transport", "size", "kind"), [(UDP(sport=9, dport=10), 8, 2), (TCP(sport=9, dport=10), 20, 1)]
)
def test_split_headers(harness: XgbeRig, version: int, transport: Packet, size: int, kind: int) -> None:
    frame = packet(version, transport)
    (got,) = harness.receive(frame)
    assert got.data == frame
    assert got.header == 14 + (20 if version == 4 else 40) + size
    assert got.status >> 20 & 15 == kind + (8 if version == 6 else 0)
    assert got.error is None


@pytest.mark.parametrize("size", [46, 200, 242, 243, 1400])
def test_unsplit_frames(harness: XgbeRig, size: int) -> None:
    """The first buffer takes the size of the header buffer, the second the rest."""
    (got,) = harness.receive(local(size=size))
    assert (got.data, got.header) == (local(size=size), 0)


def test_jumbo_frame_takes_descriptors(harness: XgbeRig) -> None:
    harness.write(x.MAC_RCR, harness.read(x.MAC_RCR) | 1 << 8)
    frame = packet(size=8900)
    (got,) = harness.receive(frame)
    assert got.data == frame


def test_without_split_both_buffers_have_rbsz() -> None:
    harness = XgbeRig().link().start(split=False)
    frame = local(size=1400)
    harness.wire.incoming.append(frame)
    harness.device.frame_arrived()
    assert harness.memory.read(x.HEADERS, len(frame)) == frame


def test_giant_frames(harness: XgbeRig) -> None:
    (got,) = harness.receive(local(size=1505))
    assert got.error == 3
    (got,) = harness.receive(local(size=1500))
    assert got.error is None
    assert harness.read(x.MMC_RXOVERSIZE) == 1


def test_length_frames_lose_their_padding(harness: XgbeRig) -> None:
    frame = x.MAC + x.PEER + (20).to_bytes(2, "big") + bytes(46)
    (got,) = harness.receive(frame)
    assert len(got.data) == 34
    harness.write(x.MAC_RCR, harness.read(x.MAC_RCR) & ~6)
    (got,) = harness.receive(local())
    assert got.data == local() + zlib.crc32(local()).to_bytes(4, "little")


def test_address_filters(harness: XgbeRig) -> None:
    def come(*frames: bytes) -> list[bytes]:
        return [each.data[:6] for each in harness.receive(*frames)]

    every = [local(to) for to in (x.MAC, BROADCAST, GROUP, STRANGER)]
    assert come(*every) == [x.MAC, BROADCAST]
    harness.write(x.MAC_PFR, 1 << 4)
    assert come(*every) == [x.MAC, BROADCAST, GROUP]
    harness.write(x.MAC_PFR, 1)
    assert len(come(*every)) == 4
    harness.write(x.MAC_PFR, 1 << 5)
    assert come(*every) == [x.MAC]
    harness.write(x.MAC_PFR, 0)
    harness.write(x.MAC_MACA0HR + 8, 1 << 31 | int.from_bytes(STRANGER[4:], "little"))
    harness.write(x.MAC_MACA0LR + 8, int.from_bytes(STRANGER[:4], "little"))
    assert come(*every) == [x.MAC, BROADCAST, STRANGER]


@pytest.mark.parametrize(("address", "hashes"), [(GROUP, 1 << 2), (STRANGER, 1 << 1)])
def test_hash_filter(harness: XgbeRig, address: bytes, hashes: int) -> None:
    harness.write(x.MAC_PFR, 1 << 10 | hashes)
    assert harness.receive(local(address)) == []
    value = int(f"{zlib.crc32(address):032b}"[::-1], 2) >> 24
    harness.write(x.MAC_HTR + 4 * (value >> 5), 1 << (value & 31))
    assert len(harness.receive(local(address), local())) == 2, "hash, and perfect match"


def test_vlan_filter(harness: XgbeRig) -> None:
    harness.write(x.MAC_PFR, 1 << 16)
    harness.write(x.MAC_VLANTR, 1 << 16 | 5)
    assert [len(harness.receive(local(tag=tag))) for tag in (5, 0xE005, 6)] == [1, 1, 0]
    assert len(harness.receive(local())) == 1, "what has no tag passes"
    harness.write(x.MAC_VLANTR, 1 << 25 | 1 << 16 | 1)
    crc = 0xFFFFFFFF
    for bit in range(12):
        crc = crc >> 1 ^ (0xEDB88320 if (crc ^ 100 >> bit) & 1 else 0)
    harness.write(x.MAC_VLANHTR, 1 << (int(f"{crc ^ 0xFFFFFFFF:032b}"[::-1], 2) >> 28))
    assert len(harness.receive(local(tag=100))) == 1
    harness.write(x.MAC_VLANHTR, 0)
    assert len(harness.receive(local(tag=100))) == 0


def test_stripping(harness: XgbeRig) -> None:
    harness.write(x.MAC_VLANTR, 1 << 24 | 3 << 21)
    frame = packet(tag=0x6064)
    (got,) = harness.receive(frame)
    assert got.data == frame[:12] + frame[16:]
    assert (got.vlan, got.status >> 16 & 15, got.header) == (0x6064, 9, 42)
    harness.write(x.MAC_VLANTR, 1 << 24)
    (got,) = harness.receive(frame)
    assert got.data == frame


def test_checksum_errors(harness: XgbeRig) -> None:
    """A frame beyond the threshold with a wrong checksum is delivered with the error; a short one is dropped."""
    frame = bytearray(packet())
    frame[-1] ^= 1
    assert [each.error for each in harness.receive(bytes(frame))] == [6]
    frame[24] ^= 1
    assert [each.error for each in harness.receive(bytes(frame))] == [5]
    short = bytearray(packet(size=10))
    short[-1] ^= 1
    assert harness.receive(bytes(short)) == []
    harness.write(harness.channel(x.MTL_RQOMR, 0), harness.read(harness.channel(x.MTL_RQOMR, 0)) | 1 << 6)
    assert [each.error for each in harness.receive(bytes(short))] == [6]
    harness.write(x.MAC_RCR, harness.read(x.MAC_RCR) & ~(1 << 9))
    assert [each.error for each in harness.receive(bytes(short))] == [None]


def toeplitz(key: bytes, data: bytes) -> int:
    bits = int.from_bytes(key, "big")
    value = 0
    for position in range(len(data) * 8):
        if data[position >> 3] >> (7 - position & 7) & 1:
            value ^= bits >> (len(key) * 8 - 32 - position) & 0xFFFFFFFF
    return value


@pytest.mark.parametrize("transport", [UDP, TCP])
def test_rss(harness: XgbeRig, transport: type[Packet]) -> None:
    """Register 9 holds the key's first word, its first byte lowest; the hash's low bits select the channel."""
    key = b"".join(bytes([0x11 * (index + 1) & 0xFF] * 4) for index in reversed(range(10)))
    for port in range(1000, 1010):
        frame = packet(transport=transport(sport=port, dport=80))
        (got,) = harness.receive(frame)
        assert got.hash == toeplitz(key, frame[26:34] + frame[34:38])
        assert got.channel == got.hash % 2
    harness.write(x.MAC_RSSCR, 0)
    (got,) = harness.receive(packet())
    assert (got.hash, got.channel) == (None, 0)


def test_fixed_and_address_channels(harness: XgbeRig) -> None:
    harness.write(x.MTL_RQDCMR, 1)
    assert [each.channel for each in harness.receive(local())] == [1]
    harness.write(x.MTL_RQDCMR, 0x80)
    harness.write(x.MAC_MACA0HR, int.from_bytes(x.MAC[4:], "little") | 1 << 16)
    assert [each.channel for each in harness.receive(local())] == [1]


def test_queue_fills_and_drains(harness: XgbeRig) -> None:
    """Without descriptors frames wait in the queue; those without room are dropped and counted; none is reordered."""
    frames = [local(size=1000 + number) for number in range(70)]
    harness.wire.incoming.extend(frames)
    harness.device.frame_arrived()
    assert harness.read(harness.channel(x.CH_SR, 0)) & 1 << 7, "receive buffer unavailable"
    waiting = harness.read(harness.channel(x.MTL_RQDR, 0)) >> 16
    lost = harness.read(x.MMC_RXOVERFLOW)
    assert waiting + lost == 70 - (x.RING - 1)
    got = harness.collect()
    harness.clock.advance(0)
    got += harness.collect()
    assert [each.data for each in got] == frames[: len(frames) - lost]
    assert harness.read(harness.channel(x.MTL_RQDR, 0)) == 0


def test_flow_control_leaves_frames_with_the_partner(harness: XgbeRig) -> None:
    harness.write(x.MAC_QTFCR, 2)
    harness.write(harness.channel(x.MTL_RQOMR, 0), 31 << 16 | 1 << 7)
    frames = [local(size=1000 + number) for number in range(LONG_BURST + 30)]
    harness.wire.incoming.extend(frames)
    harness.device.frame_arrived()
    assert harness.wire.incoming
    got = []
    for _ in range(8):
        got += harness.collect()
        harness.clock.advance(0)
    assert [each.data for each in got] == frames
    assert harness.read(x.MMC_RXOVERFLOW) == 0


def test_timestamp_descriptor(harness: XgbeRig) -> None:
    harness.write(x.MAC_STSUR, 77)
    harness.write(x.MAC_TSCR, 0x305)
    (got,) = harness.receive(packet())
    assert got.time is not None
    assert got.time[0] == 77
    harness.write(x.MAC_TSCR, 0x0001_0001 | 0x200 | 1 << 10 | 1 << 13)
    (got,) = harness.receive(packet())
    assert got.time is None
    sync = bytes(Ether(dst=x.MAC, src=x.PEER) / IP() / UDP(dport=319) / Raw(bytes((0, 2)) + bytes(42)))
    (got,) = harness.receive(sync)
    assert got.time is not None


def test_counters(harness: XgbeRig) -> None:
    harness.write(x.MAC_PFR, 1 << 4)
    harness.receive(local(), local(BROADCAST), local(GROUP), local(STRANGER), local(tag=5))
    size = len(local()) + 4
    found = [harness.read(each) for each in (x.MMC_RXFRAMES, x.MMC_RXUNICAST, x.MMC_RXBROADCAST, x.MMC_RXMULTICAST)]
    assert found == [4, 2, 1, 1]
    assert harness.read(x.MMC_RXOCTETS) == 4 * size + 4
    assert harness.read(x.MMC_RXVLAN) == 1
    account = harness.device.control_methods()["model.counters"]()["rx"]
    assert sum(each["bytes"] for each in account) == 4 * (size - 4) + 4


def test_counter_interrupt(harness: XgbeRig) -> None:
    """A counter at half of its range sets its interrupt until it is read."""
    harness.write(x.MMC_CR, 1 << 4)
    harness.write(x.MMC_RIER, 0x7FFFFF)
    for _ in range(20):
        harness.receive(local(size=1505))
    assert harness.read(x.MMC_RISR) & 1 << 9
    assert harness.read(x.MAC_ISR) & 1 << 9
    assert harness.read(x.DMA_ISR) & 1 << 17
    for offset in range(0x900, 0x9C0, 4):
        harness.read(offset)
    assert not harness.read(x.MMC_RISR) & 1 << 9


@pytest.mark.parametrize(
    ("name", "frame", "check"),
    [
        ("rx.checksum.good-as-bad", packet(), lambda got: got[0].error == 6),
        ("rx.rss.queue", packet(), lambda got: got[0].channel == 1 - got[0].hash % 2),
        ("rx.rss.unreported", packet(), lambda got: got[0].hash is None),
        ("rx.split.off", packet(), lambda got: got[0].header == 0),
        ("rx.frame.truncated", local(size=1400), lambda got: len(got[0].data) == 1024),
        ("rx.frame.dropped", local(), lambda got: got == []),
        ("rx.frame.duplicated", local(), lambda got: len(got) == 2),
        ("rx.frame.corrupted", local(), lambda got: got[0].data[-1] ^ 1 == local()[-1]),
        ("rx.jumbo.dropped", packet(size=1480, tag=5), lambda got: got == []),
        ("rx.multicast.open", local(GROUP), lambda got: len(got) == 1),
        ("rx.broadcast.ignored", local(BROADCAST), lambda got: got == []),
        ("rx.unicast.open", local(STRANGER), lambda got: len(got) == 1),
    ],
)
def test_faults(harness: XgbeRig, name: str, frame: bytes, check: object) -> None:
    harness.write(x.MAC_RCR, harness.read(x.MAC_RCR) | 1 << 8)
    harness.arm(name)
    assert callable(check)
    assert check(harness.receive(frame))
    assert harness.fired(name)


def test_second_unicast_address_fault(harness: XgbeRig) -> None:
    harness.write(x.MAC_MACA0HR + 8, 1 << 31 | int.from_bytes(STRANGER[4:], "little"))
    harness.write(x.MAC_MACA0LR + 8, int.from_bytes(STRANGER[:4], "little"))
    assert len(harness.receive(local(STRANGER))) == 1
    harness.arm("rx.unicast.ignored")
    assert [len(harness.receive(local(each))) for each in (x.MAC, STRANGER)] == [1, 0]


def test_rss_hash_fault(harness: XgbeRig) -> None:
    (good,) = harness.receive(packet())
    harness.arm("rx.rss.hash")
    (bad,) = harness.receive(packet())
    assert good.hash is not None
    assert bad.hash == good.hash ^ 1


def test_bad_checksum_as_good(harness: XgbeRig) -> None:
    frame = bytearray(packet())
    frame[-1] ^= 1
    harness.arm("rx.checksum.bad-as-good")
    assert [each.error for each in harness.receive(bytes(frame))] == [None]


def test_filter_faults(harness: XgbeRig) -> None:
    harness.write(x.MAC_PFR, 1)
    harness.arm("rx.promiscuous.ignored")
    assert harness.receive(local(STRANGER)) == []
    harness.write(x.MAC_PFR, 1 << 4)
    harness.arm("rx.multicast.ignored")
    assert harness.receive(local(GROUP)) == []
    harness.write(x.MAC_PFR, 1 << 16)
    harness.write(x.MAC_VLANTR, 1 << 24 | 3 << 21 | 1 << 16 | 5)
    harness.arm("rx.vlan.wrong")
    assert harness.receive(local(tag=5))[0].vlan == 6
    harness.arm("rx.vlan.not-stripped")
    assert harness.receive(local(tag=5))[0].data == local(tag=5)
    harness.arm("rx.vlan.filter-open")
    assert len(harness.receive(local(tag=9))) == 1
    harness.slot.faults["rx.vlan.filter-open"].disarm()
    harness.arm("rx.vlan.filter-closed")
    assert harness.receive(local(tag=5)) == []


def test_reordered(harness: XgbeRig) -> None:
    harness.slot.faults["rx.frame.reordered"].arm(times=1)
    assert [len(each.data) for each in harness.receive(local(size=100), local(size=200))] == [214, 114]


def test_counter_and_register_faults(harness: XgbeRig) -> None:
    harness.arm("rx.counter.doubled")
    harness.arm("rx.counter.bytes")
    harness.receive(local())
    assert harness.read(x.MMC_RXFRAMES) == 2
    assert harness.read(x.MMC_RXOCTETS) == 2 * (len(local()) + 4) + 1
    harness.arm("device.register.stuck")
    before = harness.read(x.CH_RDLR)
    harness.write(x.CH_RDLR, 0x1000)
    harness.write(x.MAC_HTR, 5)
    harness.write(x.MAC_MACA0LR, 5)
    assert (harness.read(x.CH_RDLR), harness.read(x.MAC_HTR)) == (before, 0)
    assert harness.fired("device.register.stuck") == 3
