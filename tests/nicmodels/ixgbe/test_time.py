# SPDX-License-Identifier: GPL-2.0-or-later
"""The PTP hardware clock of the 82599: rate, adjustments, and which frames are timestamped."""

from __future__ import annotations

import ixgbe_harness as x
import pytest
from ixgbe_harness import Harness
from nicmodels.models.ixgbe.registers import filters
from nicmodels.models.ixgbe.registers import security as r
from plugfest.frames.probe import Ends
from plugfest.frames.ptp import EVENTS, SYNC, over_ethernet, over_udp

TEN_GIGABIT = 1 << 24 | 0x66666666 >> 7
"""TIMINCA as Linux sets it: 6.4 ns per period, with 21 binary places."""
SHIFT = 21
SECOND = 1_000_000_000
RX_ENABLE, TX_ENABLE, VALID = 1 << 4, 1 << 4, 1
L4_V1, L2_L4_V2, EVENTS_V2 = 1 << 1, 2 << 1, 5 << 1
PORT = 319 << 16
STAMPED = 1 << 16
PTP_FILTER = 1 << 31 | 1 << 30 | 0x88F7
STAMP = 1 << 19
ENDS = Ends(
    x.MAC.hex(":"), x.PEER.hex(":"), {4: "192.0.2.2", 6: "2001:db8::2"}, {4: "192.0.2.0/24", 6: "2001:db8::/64"}
)


def now(harness: Harness) -> int:
    """Nanoseconds."""
    return (harness.read(r.SYSTIML) | harness.read(r.SYSTIMH) << 32) >> SHIFT


@pytest.fixture
def started(harness: Harness) -> Harness:
    """The clock runs, from zero."""
    harness.write(r.TIMINCA, TEN_GIGABIT)
    harness.write(r.SYSTIML, 0)
    harness.write(r.SYSTIMH, 0)
    return harness


def test_rate(started: Harness) -> None:
    started.clock.advance(2.5)
    assert now(started) == pytest.approx(2.5 * SECOND, rel=1e-6)


def test_rate_by_increment(started: Harness) -> None:
    started.clock.advance(1)
    started.write(r.TIMINCA, 1 << 24 | int((0x66666666 >> 7) * 1.05))
    started.clock.advance(2)
    assert now(started) == pytest.approx(3.1 * SECOND, rel=1e-6)
    started.write(r.TIMINCA, 2 << 24 | 0x66666666 >> 7)
    started.clock.advance(2)
    assert now(started) == pytest.approx(4.1 * SECOND, rel=1e-6), "each second period only"


def test_rate_by_speed(started: Harness) -> None:
    """The counted clock is ten times slower at 1 Gb/s; without a link it is that of 10 Gb/s."""
    started.clock.advance(1)
    partner = started.device.control_methods()["link.set"]
    partner(speed=1000)
    started.clock.advance(0.5)
    assert started.device.link.speed == 1000
    before = now(started)
    assert SECOND < before < 1.5 * SECOND
    started.clock.advance(1)
    assert now(started) - before == pytest.approx(SECOND // 10, rel=1e-6)
    partner(up=False)
    before = now(started)
    started.clock.advance(1)
    assert now(started) - before == pytest.approx(SECOND, rel=0.2)


@pytest.mark.parametrize("sign", [1, -1])
def test_adjustment(started: Harness, sign: int) -> None:
    started.clock.advance(10)
    before = now(started)
    offset = 3 * SECOND << SHIFT
    started.write(r.TIMADJL, offset & 0xFFFF_FFFF)
    started.write(r.TIMADJH, offset >> 32 | (sign < 0) << 31)
    assert now(started) == before + sign * 3 * SECOND


def received(harness: Harness, frame: bytes) -> tuple[bool, int | None]:
    """Whether the descriptor reports a timestamp, and the timestamp in nanoseconds, which is read."""
    (got,) = harness.receive(frame)
    valid = bool(harness.read(r.TSYNCRXCTL) & VALID)
    stamp = (harness.read(r.RXSTMPL) | harness.read(r.RXSTMPH) << 32) >> SHIFT
    assert not harness.read(r.TSYNCRXCTL) & VALID, "reading the high half takes it"
    assert valid == bool(got.status & STAMPED)
    return valid, stamp if valid else None


FRAMES = {
    "Ethernet": over_ethernet(ENDS, SYNC, 1).frame,
    "IPv4": over_udp(ENDS, SYNC, 1, 4).frame,
    "IPv6": over_udp(ENDS, SYNC, 1, 6).frame,
    "Delay_Req": over_udp(ENDS, 1, 1, 4).frame,
    "Sync of version 1": over_udp(ENDS, SYNC, 1, 4, 1).frame,
    "Delay_Req of version 1": over_udp(ENDS, 1, 1, 4, 1).frame,
}


@pytest.mark.parametrize(
    ("control", "message", "wanted"),
    [
        (RX_ENABLE | EVENTS_V2, PORT, {"Ethernet", "IPv4", "IPv6", "Delay_Req"}),
        (RX_ENABLE | L4_V1, PORT, {"Sync of version 1"}),
        (RX_ENABLE | L4_V1, PORT | 1, {"Delay_Req of version 1"}),
        (RX_ENABLE | L2_L4_V2, PORT | 1 << 8, {"Delay_Req"}),
        (RX_ENABLE, PORT, {"Ethernet"}),
        (RX_ENABLE | EVENTS_V2, 320 << 16, {"Ethernet"}),
        (EVENTS_V2, PORT, set()),
    ],
)
def test_messages(started: Harness, control: int, message: int, wanted: set[str]) -> None:
    started.write(filters.ETQF, PTP_FILTER, 3)
    started.write(r.TSYNCRXCTL, control)
    started.write(r.RXMTRL, message)
    assert {name for name, frame in FRAMES.items() if received(started, frame)[0]} == wanted


def test_without_a_filter_no_frame_of_ethernet(started: Harness) -> None:
    started.write(r.TSYNCRXCTL, RX_ENABLE | EVENTS_V2)
    started.write(r.RXMTRL, PORT)
    assert not received(started, FRAMES["Ethernet"])[0]
    assert all(received(started, over_udp(ENDS, kind, 1, 4).frame)[0] for kind in EVENTS)


def test_one_stamp_at_a_time(started: Harness) -> None:
    started.write(r.TSYNCRXCTL, RX_ENABLE | EVENTS_V2)
    started.write(r.RXMTRL, PORT)
    started.clock.advance(1)
    first, second = started.receive(FRAMES["IPv4"]), None
    started.clock.advance(1)
    second = started.receive(FRAMES["IPv6"])
    assert [each.status & STAMPED for each in (*first, *second)] == [STAMPED, 0]
    assert started.read(r.RXSATRH) >> 16 == 1, "the message's number"
    stamp = (started.read(r.RXSTMPL) | started.read(r.RXSTMPH) << 32) >> SHIFT
    assert stamp == pytest.approx(SECOND, rel=1e-3)
    assert received(started, FRAMES["IPv6"])[0]


def test_sent(started: Harness) -> None:
    def send(stamp: int) -> int | None:
        started.clock.advance(1)
        started.transmit(bytes(60), command=stamp)
        if not started.read(r.TSYNCTXCTL) & VALID:
            return None
        return (started.read(r.TXSTMPL) | started.read(r.TXSTMPH) << 32) >> SHIFT

    assert send(STAMP) is None
    started.write(r.TSYNCTXCTL, TX_ENABLE)
    assert send(0) is None
    assert send(STAMP) == pytest.approx(3 * SECOND, rel=1e-3)
    started.arm("tx.timestamp.late")
    assert send(STAMP) == pytest.approx(5 * SECOND, rel=1e-3)
    started.arm("tx.timestamp.missing")
    assert send(STAMP) is None


def test_stamps_go_wrong(started: Harness) -> None:
    started.write(r.TSYNCRXCTL, RX_ENABLE | EVENTS_V2)
    started.write(r.RXMTRL, PORT)
    started.clock.advance(1)
    started.arm("rx.timestamp.late")
    assert received(started, FRAMES["IPv4"]) == (True, pytest.approx(2 * SECOND, rel=1e-3))
    started.arm("rx.timestamp.missing")
    assert received(started, FRAMES["IPv4"]) == (False, None)
    started.arm("device.time.stopped")
    before = now(started)
    started.clock.advance(1)
    assert now(started) == before
