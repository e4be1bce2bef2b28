# SPDX-License-Identifier: GPL-2.0-or-later
"""Every fault point of the 82599 does what its text describes, and nothing before it is armed."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import frames
import pytest
from ixgbe_harness import IXSM, MAC, TSE, TXSM, VLE, Harness, context
from nicmodels.models.ixgbe import fault_points
from nicmodels.models.ixgbe.registers import filters, general, interrupt, mac, receive, statistics
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Dot1Q, Ether

if TYPE_CHECKING:
    from collections.abc import Callable

L4E, IPE, L4CS, IPCS, VP = 1 << 30, 1 << 31, 0x20, 0x40, 8
BROADCAST = b"\xff" * 6
MULTICAST = bytes.fromhex("01005e000009")
PROBED: set[str] = set()
OF_TIME = {
    "device.time.stopped",
    *(f"{side}.timestamp.{what}" for side in ("rx", "tx") for what in ("late", "missing")),
}
"""Covered by test_time.py."""


def probe(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Mark a test as covering a fault; `test_all_faults_are_shown` checks that all are covered."""
    PROBED.add(name)
    return lambda function: function


def checksums_right(frame: bytes) -> bool:
    """Whether IP and TCP checksums are what scapy computes."""
    packet = Ether(frame)
    shown = packet[IP].chksum, packet[TCP].chksum
    del packet[IP].chksum, packet[TCP].chksum
    packet = Ether(bytes(packet))
    return shown == (packet[IP].chksum, packet[TCP].chksum)


def seeded(payload: bytes = frames.PAYLOAD[:900], *, segmented: bool = False) -> bytes:
    """A TCP segment as a driver passes it: pseudo-header sum in the checksum, with the length or without."""
    frame = bytearray(frames.tcp(payload=payload, options=False, flags="PA" if segmented else "A"))
    total = sum(struct.unpack(">4H", frame[26:34])) + 6 + (0 if segmented else len(frame) - 34)
    frame[24:26] = b"\0\0"
    if segmented:
        frame[16:18] = b"\0\0"
    struct.pack_into(">H", frame, 50, total % 65535)
    return bytes(frame)


def send_checksummed(harness: Harness) -> list[bytes]:
    return harness.transmit(seeded(), context(), options=IXSM | TXSM)


def send_segmented(harness: Harness) -> list[bytes]:
    return harness.transmit(seeded(segmented=True), context(mss=400), command=TSE, options=IXSM | TXSM)


def test_nothing_is_wrong_without_a_fault(harness: Harness) -> None:
    assert all(checksums_right(frame) for frame in send_checksummed(harness))
    segments = send_segmented(harness)
    assert [len(frame) for frame in segments] == [454, 454, 154]
    assert all(checksums_right(frame) for frame in segments)
    frame = frames.tcp()
    assert [each.data for each in harness.receive(frame)] == [frame]
    assert all(fault.fired == 0 for fault in harness.slot.faults)


@pytest.mark.parametrize("name", ["tx.checksum.wrong", "tx.ip-checksum.wrong"])
@pytest.mark.parametrize("send", [send_checksummed, send_segmented])
@probe("tx.checksum.wrong")
@probe("tx.ip-checksum.wrong")
def test_transmit_checksums(harness: Harness, name: str, send: Callable[[Harness], list[bytes]]) -> None:
    harness.arm(name, queue=0)
    assert not checksums_right(send(harness)[0])
    assert harness.fired(name)


def test_a_fault_keeps_to_its_queue(harness: Harness) -> None:
    harness.arm("tx.checksum.wrong", queue=1)
    assert checksums_right(send_checksummed(harness)[0])
    assert not harness.fired("tx.checksum.wrong")


@pytest.mark.parametrize(("name", "count"), [("tx.frame.dropped", 0), ("tx.frame.duplicated", 2)])
@probe("tx.frame.dropped")
@probe("tx.frame.duplicated")
def test_number_of_frames(harness: Harness, name: str, count: int) -> None:
    harness.arm(name)
    assert len(harness.transmit(frames.ethernet())) == count
    assert harness.done()


@probe("tx.frame.corrupted")
def test_corrupted_on_the_way_out(harness: Harness) -> None:
    harness.arm("tx.frame.corrupted")
    frame = frames.ethernet()
    (sent,) = harness.transmit(frame)
    assert sent[:-1] == frame[:-1]
    assert sent[-1] == frame[-1] ^ 1


@probe("tx.segment.sequence")
def test_segment_sequence(harness: Harness) -> None:
    harness.arm("tx.segment.sequence")
    segments = [Ether(frame) for frame in send_segmented(harness)]
    assert [packet[TCP].seq for packet in segments] == [1, 402, 802]
    assert all(checksums_right(bytes(packet)) for packet in segments)


@probe("tx.segment.flags")
def test_segment_flags(harness: Harness) -> None:
    assert [Ether(frame)[TCP].flags for frame in send_segmented(harness)] == ["A", "A", "PA"]
    harness.arm("tx.segment.flags")
    assert [Ether(frame)[TCP].flags for frame in send_segmented(harness)] == ["PA", "PA", "PA"]


@probe("tx.segment.identification")
def test_segment_identification(harness: Harness) -> None:
    assert len({Ether(frame)[IP].id for frame in send_segmented(harness)}) == 3
    harness.arm("tx.segment.identification")
    assert len({Ether(frame)[IP].id for frame in send_segmented(harness)}) == 1


@probe("tx.segment.length")
def test_segment_length(harness: Harness) -> None:
    harness.arm("tx.segment.length")
    segments = send_segmented(harness)
    assert [len(frame) for frame in segments] == [454, 454, 153]
    assert [Ether(frame)[IP].len for frame in segments] == [440, 440, 139]
    assert all(checksums_right(frame) for frame in segments)


@probe("tx.segment.missing")
def test_segment_missing(harness: Harness) -> None:
    harness.arm("tx.segment.missing")
    assert len(send_segmented(harness)) == 2


@pytest.mark.parametrize(("name", "vlan"), [("tx.vlan.missing", None), ("tx.vlan.wrong", 6), (None, 5)])
@probe("tx.vlan.missing")
@probe("tx.vlan.wrong")
def test_vlan_insertion(harness: Harness, name: str | None, vlan: int | None) -> None:
    if name is not None:
        harness.arm(name)
    (sent,) = harness.transmit(frames.ethernet(), context(vlan=5), command=VLE)
    packet = Ether(sent)
    assert (packet[Dot1Q].vlan if Dot1Q in packet else None) == vlan


@probe("tx.padding.missing")
def test_padding(harness: Harness) -> None:
    assert len(harness.transmit(frames.ethernet(size=4))[0]) == 60
    harness.arm("tx.padding.missing")
    assert len(harness.transmit(frames.ethernet(size=4))[0]) == 18


@probe("tx.writeback.lost")
def test_writeback_lost(harness: Harness) -> None:
    harness.arm("tx.writeback.lost")
    assert len(harness.transmit(frames.ethernet())) == 1
    assert not harness.done()


@probe("tx.queue.stuck")
def test_queue_stuck(harness: Harness) -> None:
    harness.arm("tx.queue.stuck", queue=0)
    assert harness.transmit(frames.ethernet()) == []
    assert len(harness.transmit(frames.ethernet(), queue=1)) == 1


def bad(frame: bytes) -> bytes:
    return frame[:-1] + bytes((frame[-1] ^ 1,))


@pytest.mark.parametrize(
    ("name", "frame", "errors", "checked"),
    [
        (None, frames.tcp(), 0, L4CS),
        (None, bad(frames.tcp()), L4E, L4CS),
        ("rx.checksum.bad-as-good", bad(frames.tcp()), 0, L4CS),
        ("rx.checksum.good-as-bad", frames.tcp(), L4E, L4CS),
        ("rx.checksum.unreported", frames.tcp(), 0, 0),
    ],
)
@probe("rx.checksum.bad-as-good")
@probe("rx.checksum.good-as-bad")
@probe("rx.checksum.unreported")
def test_receive_checksums(harness: Harness, name: str | None, frame: bytes, errors: int, checked: int) -> None:
    if name is not None:
        harness.arm(name, queue=0)
    (received,) = harness.receive(frame)
    assert received.status & (L4E | IPE) == errors
    assert received.status & L4CS == checked


def spread(harness: Harness) -> None:
    harness.write(filters.MRQC, 1 | 0x33 << 16)
    for index in range(10):
        harness.write(filters.RSSRK, 0x01234567 * (index + 1) & 0xFFFFFFFF, index)


@probe("rx.rss.hash")
@probe("rx.rss.queue")
@probe("rx.rss.unreported")
def test_receive_side_scaling(harness: Harness) -> None:
    spread(harness)
    (right,) = harness.receive(frames.tcp())
    assert right.info & 0xF == 1
    assert right.queue == 0
    harness.arm("rx.rss.hash")
    (wrong,) = harness.receive(frames.tcp())
    assert wrong.hash == right.hash ^ 1
    harness.slot.faults["rx.rss.hash"].disarm()
    harness.arm("rx.rss.queue", queue=0)
    assert harness.receive(frames.tcp())[0].queue == 1
    harness.slot.faults["rx.rss.queue"].disarm()
    harness.arm("rx.rss.unreported")
    (silent,) = harness.receive(frames.tcp())
    assert (silent.info & 0xF, silent.hash) == (0, 0)


@probe("rx.vlan.not-stripped")
@probe("rx.vlan.wrong")
def test_vlan_stripping(harness: Harness) -> None:
    harness.write(receive.RXDCTL, 1 << 25 | 1 << 30)
    frame = frames.ethernet(vlan=5)
    (right,) = harness.receive(frame)
    assert (right.data, right.vlan, right.status & VP) == (frame[:12] + frame[16:], 5, VP)
    harness.arm("rx.vlan.wrong")
    assert harness.receive(frame)[0].vlan == 6
    harness.slot.faults["rx.vlan.wrong"].disarm()
    harness.arm("rx.vlan.not-stripped")
    (left,) = harness.receive(frame)
    assert (left.data, left.status & VP) == (frame, 0)


@probe("rx.vlan.filter-open")
@probe("rx.vlan.filter-closed")
def test_vlan_filter(harness: Harness) -> None:
    harness.write(filters.VLNCTRL, 0x8100 | 1 << 30)
    harness.write(filters.VFTA, 1 << 5)
    assert len(harness.receive(frames.ethernet(vlan=5), frames.ethernet(vlan=6))) == 1
    harness.arm("rx.vlan.filter-open")
    assert len(harness.receive(frames.ethernet(vlan=6))) == 1
    harness.slot.faults["rx.vlan.filter-open"].disarm()
    harness.arm("rx.vlan.filter-closed")
    assert harness.receive(frames.ethernet(vlan=5)) == []


@probe("rx.frame.truncated")
def test_truncated(harness: Harness) -> None:
    harness.arm("rx.frame.truncated", queue=0)
    frame = frames.ethernet(size=1200)
    assert harness.receive(frame)[0].data == frame[:1024]


@pytest.mark.parametrize(("name", "count"), [("rx.frame.dropped", 0), ("rx.frame.duplicated", 2)])
@probe("rx.frame.dropped")
@probe("rx.frame.duplicated")
def test_number_of_received_frames(harness: Harness, name: str, count: int) -> None:
    harness.arm(name)
    assert len(harness.receive(frames.tcp())) == count
    if name == "rx.frame.dropped":
        assert harness.read(statistics.TPR) == 0


@probe("rx.frame.corrupted")
def test_corrupted_on_the_way_in(harness: Harness) -> None:
    harness.arm("rx.frame.corrupted")
    frame = frames.ethernet()
    assert harness.receive(frame)[0].data == bad(frame)


@probe("rx.frame.reordered")
def test_reordered(harness: Harness) -> None:
    harness.slot.faults["rx.frame.reordered"].arm(times=1)
    first, second, third = (frames.ethernet(size=size) for size in (100, 101, 102))
    assert [each.data for each in harness.receive(first, second, third)] == [second, first, third]


@probe("rx.jumbo.dropped")
def test_jumbo_dropped(harness: Harness) -> None:
    harness.write(mac.HLREG0, 0x407)
    harness.write(mac.MAXFRS, 9000 << 16)
    frame = frames.tcp(payload=bytes(3000))
    assert harness.receive(frame)[0].data == frame
    harness.arm("rx.jumbo.dropped")
    assert harness.receive(frame) == []


@probe("rx.promiscuous.ignored")
@probe("rx.unicast.open")
@probe("rx.broadcast.ignored")
def test_address_filters(harness: Harness) -> None:
    other = frames.ethernet(to=bytes.fromhex("020000000099"))
    assert harness.receive(other) == []
    harness.arm("rx.unicast.open")
    assert len(harness.receive(other)) == 1
    harness.slot.faults["rx.unicast.open"].disarm()
    harness.write(filters.FCTRL, 1 << 9 | 1 << 10)
    assert len(harness.receive(other)) == 1
    harness.arm("rx.promiscuous.ignored")
    assert harness.receive(other) == []
    assert len(harness.receive(frames.ethernet(to=BROADCAST))) == 1
    harness.arm("rx.broadcast.ignored")
    assert harness.receive(frames.ethernet(to=BROADCAST)) == []


@probe("rx.unicast.ignored")
def test_second_unicast_address(harness: Harness) -> None:
    other = bytes.fromhex("020000000099")
    harness.write(filters.RAL, int.from_bytes(other[:4], "little"), 1)
    harness.write(filters.RAH, int.from_bytes(other[4:], "little") | 1 << 31, 1)
    own = harness.device.mac
    assert [len(harness.receive(frames.ethernet(to=each))) for each in (own, other)] == [1, 1]
    harness.arm("rx.unicast.ignored")
    assert [len(harness.receive(frames.ethernet(to=each))) for each in (own, other)] == [1, 0]


@probe("rx.multicast.ignored")
@probe("rx.multicast.open")
def test_multicast_filter(harness: Harness) -> None:
    frame = frames.ethernet(to=MULTICAST)
    assert harness.receive(frame) == []
    harness.arm("rx.multicast.open")
    assert len(harness.receive(frame)) == 1
    harness.slot.faults["rx.multicast.open"].disarm()
    harness.write(filters.MCSTCTRL, 4)
    vector = (MULTICAST[4] >> 4) | MULTICAST[5] << 4
    harness.write(filters.MTA, 1 << (vector & 31), vector >> 5)
    assert len(harness.receive(frame)) == 1
    harness.arm("rx.multicast.ignored")
    assert harness.receive(frame) == []


@probe("rx.coalescing.corrupted")
def test_coalescing_corrupted(harness: Harness) -> None:
    harness.write(receive.RSCCTL, 1 | 3 << 2)
    segments = [frames.tcp(sequence=1 + 500 * index, payload=b"\x11" * 500) for index in range(3)]
    (merged,) = harness.receive(*segments)
    assert merged.data[66:] == b"\x11" * 1500
    harness.arm("rx.coalescing.corrupted", queue=0)
    (merged,) = harness.receive(*segments)
    assert merged.data[66:] == b"\x11" * 999 + b"\0" + b"\x11" * 499 + b"\0"


@pytest.mark.parametrize(("name", "count"), [(None, 1), ("interrupt.vector.lost", 0), ("interrupt.vector.repeated", 2)])
@probe("interrupt.vector.lost")
@probe("interrupt.vector.repeated")
def test_interrupts(harness: Harness, name: str | None, count: int) -> None:
    if name is not None:
        harness.arm(name, vector=3)
    harness.write(interrupt.GPIE, 1 << 4)
    harness.write(interrupt.IVAR, 0x83)
    harness.write(interrupt.EIMS_EX, 0xFFFFFFFF)
    harness.receive(frames.tcp())
    assert harness.device.interrupts.raised[3] == count


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (None, {"GPRC": 1, "GORCL": 104, "GPTC": 1, "GOTCL": 104}),
        ("rx.counter.doubled", {"GPRC": 2, "GORCL": 208}),
        ("rx.counter.bytes", {"GPRC": 1, "GORCL": 105}),
        ("tx.counter.doubled", {"GPTC": 2, "GOTCL": 208}),
        ("tx.counter.bytes", {"GPTC": 1, "GOTCL": 105}),
    ],
)
@probe("rx.counter.doubled")
@probe("rx.counter.bytes")
@probe("tx.counter.doubled")
@probe("tx.counter.bytes")
def test_counters_of_good_frames(harness: Harness, name: str | None, expected: dict[str, int]) -> None:
    """The fault changes the registers, but not the model's own counts and the queues' counters."""
    if name is not None:
        harness.arm(name)
    frame = frames.ethernet(size=86)
    harness.receive(frame)
    harness.transmit(frame)
    assert {register: harness.read(getattr(statistics, register)) for register in expected} == expected
    assert [harness.read(getattr(statistics, register), 0) for register in ("QPRC", "QBRC_L", "QPTC", "QBTC_L")] == [
        1,
        100,
    ] * 2
    counters = harness.device.control_methods()["model.counters"]()
    assert counters["rx"][0] == {"frames": 1, "bytes": 100, "dropped": 0}
    assert counters["tx"][0] == {"frames": 1, "bytes": 100, "segments": 1, "segment_bytes": 100}


@probe("rx.flow-director.ignored")
def test_flow_director_ignored(harness: Harness) -> None:
    harness.write(filters.FDIRCTRL, 1 | 1 << 4)
    for register in (filters.FDIRTCPM, filters.FDIRSIP4M, filters.FDIRDIP4M):
        harness.write(register, 0xFFFFFFFF)
    harness.write(filters.FDIRM, 0b111111)
    harness.write(filters.FDIRHASH, 1 << 16)
    harness.write(filters.FDIRCMD, 1 | 2 << 5 | 1 << 11 | 1 << 15 | 1 << 16)
    assert harness.receive(frames.tcp())[0].queue == 1
    harness.arm("rx.flow-director.ignored")
    assert harness.receive(frames.tcp())[0].queue == 0


LINKS_UP, SPEED = 1 << 30, 3 << 28


@probe("link.report.stuck")
@probe("link.speed.wrong")
@probe("link.interrupt.lost")
def test_link_reports(harness: Harness) -> None:
    harness.write(interrupt.EIMC, 0xFFFFFFFF)
    harness.read(interrupt.EICR)
    assert harness.read(mac.LINKS) & (LINKS_UP | SPEED) == LINKS_UP | SPEED
    harness.arm("link.speed.wrong")
    assert harness.read(mac.LINKS) & SPEED == 2 << 28
    harness.slot.faults["link.speed.wrong"].disarm()
    harness.arm("link.interrupt.lost")
    harness.device.link.partner.set(up=False)
    harness.clock.advance(0.1)
    assert harness.read(mac.LINKS) & LINKS_UP == 0
    assert harness.read(interrupt.EICR) & 1 << 20 == 0
    harness.slot.faults["link.interrupt.lost"].disarm()
    harness.arm("link.report.stuck")
    harness.device.link.partner.set(up=True)
    harness.clock.advance(0.1)
    assert harness.read(mac.LINKS) & LINKS_UP == 0
    harness.slot.faults["link.report.stuck"].disarm()
    assert harness.read(mac.LINKS) & LINKS_UP


@probe("link.interrupt.late")
def test_link_interrupt_late(harness: Harness) -> None:
    harness.read(interrupt.EICR)
    harness.arm("link.interrupt.late")
    harness.device.link.partner.set(up=False)
    harness.clock.advance(0.04)
    assert harness.read(mac.LINKS) & LINKS_UP == 0
    assert harness.read(interrupt.EICR) & 1 << 20 == 0
    harness.clock.advance(0.02)
    assert harness.read(interrupt.EICR) & 1 << 20


@probe("link.interrupt.again")
def test_link_interrupt_again(harness: Harness) -> None:
    harness.write(interrupt.GPIE, 1 << 4)
    harness.write(interrupt.IVAR_MISC, 0x8300)
    harness.write(interrupt.EIMS, 1 << 20)
    harness.read(interrupt.EICR)
    harness.slot.faults["link.interrupt.again"].arm(times=1)
    raised = harness.device.interrupts.raised
    before = sum(raised)
    harness.device.link.partner.set(up=False)
    harness.clock.advance(0.1)
    assert sum(raised) == before + 1
    harness.write(interrupt.EICR, 1 << 20)
    assert harness.fired("link.interrupt.again")
    assert sum(raised) == before + 2
    harness.write(interrupt.EICR, 1 << 20)
    assert sum(raised) == before + 2


@probe("device.reset.incomplete")
def test_reset_incomplete(harness: Harness) -> None:
    harness.arm("device.reset.incomplete")
    harness.write(general.CTRL, 1 << 26)
    assert harness.read(receive.RXDCTL) & 1 << 25
    harness.slot.faults["device.reset.incomplete"].disarm()
    harness.write(general.CTRL, 1 << 26)
    assert not harness.read(receive.RXDCTL) & 1 << 25


@probe("device.eeprom.checksum")
def test_eeprom_fault(harness: Harness) -> None:
    def checksum() -> int:
        total = 0
        for word in range(0x40):
            harness.write(general.EERD, word << 2 | 1)
            total += harness.read(general.EERD) >> 16
        return total & 0xFFFF

    assert checksum() == 0xBABA
    harness.arm("device.eeprom.checksum")
    assert checksum() != 0xBABA


@probe("device.register.stuck")
def test_register_stuck(harness: Harness) -> None:
    harness.arm("device.register.stuck")
    harness.write(receive.RDBAL, 0x5555_5500, 1)
    assert harness.read(receive.RDBAL, 1) != 0x5555_5500


@probe("device.loopback.broken")
def test_loopback(harness: Harness) -> None:
    harness.write(mac.HLREG0, 0x403 | 1 << 15)
    frame = frames.ethernet(to=MAC)
    assert harness.transmit(frame) == []
    assert [each.data for each in harness.collect()] == [frame]
    harness.arm("device.loopback.broken")
    harness.transmit(frame)
    assert harness.collect() == []


@probe("link.pause.wrong")
@probe("device.pause.stuck")
def test_flow_control(harness: Harness) -> None:
    pause = harness.read(mac.ANLP1) & 1 << 10
    harness.arm("link.pause.wrong")
    assert harness.read(mac.ANLP1) & 1 << 10 != pause
    flow_control = harness.device.control_methods()["model.flow_control"]
    harness.write(mac.MFLCN, 1 << 3)
    harness.write(receive.FCCFG, 1 << 3)
    assert flow_control() == {"transmit": True, "receive": True}
    harness.arm("device.pause.stuck")
    harness.write(mac.MFLCN, 0)
    harness.write(receive.FCCFG, 2 << 3)
    assert flow_control() == {"transmit": True, "receive": True}
    harness.slot.faults["device.pause.stuck"].disarm()
    harness.write(receive.FCCFG, 2 << 3)
    assert flow_control() == {"transmit": False, "receive": True}, "flow control by priority is another"


def test_all_faults_are_shown() -> None:
    assert {point.name for point in fault_points.ALL} == PROBED | OF_TIME


def test_each_fault_has_a_line_of_text() -> None:
    for point in fault_points.ALL:
        assert len(point.text.splitlines()) == 1
