# SPDX-License-Identifier: GPL-2.0-or-later
"""The PTP hardware clock: rate, adjustments, and which frames are timestamped."""

from __future__ import annotations

import pytest
import xgbe_harness as x
from plugfest.frames.probe import Ends
from plugfest.frames.ptp import (
    DELAY_REQUEST,
    EVENTS,
    PDELAY_REQUEST,
    PDELAY_RESPONSE,
    SYNC,
    over_ethernet,
    over_udp,
)
from xgbe_harness import XgbeRig

TSENA, FINE, INIT, UPDATE, ADDEND, ALL, DIGITAL, V2 = (1 << bit for bit in (0, 1, 2, 3, 5, 8, 9, 10))
ETHERNET, IPV6, IPV4, EVENT, MASTER, SNAPSHOT, AV8021AS = (1 << bit for bit in (11, 12, 13, 14, 15, 16, 28))
SECOND = 1_000_000_000
TEN_NANOSECONDS = 10 << 16
ENDS = Ends(
    x.MAC.hex(":"), x.PEER.hex(":"), {4: "192.0.2.2", 6: "2001:db8::2"}, {4: "192.0.2.0/24", 6: "2001:db8::/64"}
)


def started(harness: XgbeRig, ratio: float = 1.0) -> None:
    """Run the clock at a ratio of real time: at 125 MHz and 10 ns per step an addend of 0.8 is real time."""
    harness.write(x.MAC_TSCR, TSENA | FINE | DIGITAL)
    harness.write(x.MAC_SSIR, TEN_NANOSECONDS)
    harness.write(x.MAC_TSAR, round(ratio * 0.8 * (1 << 32)))
    harness.write(x.MAC_TSCR, harness.read(x.MAC_TSCR) | ADDEND)


def update(harness: XgbeRig, seconds: int, nanoseconds: int, command: int) -> None:
    harness.write(x.MAC_STSUR, seconds)
    harness.write(x.MAC_STNUR, nanoseconds)
    harness.write(x.MAC_TSCR, harness.read(x.MAC_TSCR) | command)
    assert not harness.read(x.MAC_TSCR) & command, "it clears itself"


def now(harness: XgbeRig) -> int:
    return harness.read(x.MAC_STSR) * SECOND + harness.read(x.MAC_STNR)


@pytest.mark.parametrize("ratio", [1.0, 0.95, 1.05])
def test_rate(harness: XgbeRig, ratio: float) -> None:
    started(harness, ratio)
    update(harness, 100, 0, INIT)
    harness.clock.advance(3.5)
    assert now(harness) == pytest.approx(100 * SECOND + 3.5 * ratio * SECOND, abs=20)


def test_rate_changes_from_now_on(harness: XgbeRig) -> None:
    started(harness)
    harness.clock.advance(2)
    harness.write(x.MAC_TSAR, round(0.4 * (1 << 32)))
    harness.clock.advance(1)
    assert now(harness) == pytest.approx(3 * SECOND, abs=20), "an addend that was not taken yet changes nothing"
    harness.write(x.MAC_TSCR, harness.read(x.MAC_TSCR) | ADDEND)
    harness.clock.advance(2)
    assert now(harness) == pytest.approx(4 * SECOND, abs=20)


@pytest.mark.parametrize("offset", [5 * SECOND, 1_250_000_000, 7, -SECOND, -2_000_000_001, -1, -999_999_999])
def test_update(harness: XgbeRig, offset: int) -> None:
    """To subtract, seconds are in two's complement, and nanoseconds the complement to a second (MAC_STNUR)."""
    update(harness, 1000, 0, INIT)
    harness.write(x.MAC_TSCR, DIGITAL)
    update(harness, 1000, 500, INIT)
    seconds, nanoseconds = divmod(abs(offset), SECOND)
    if offset < 0:
        update(harness, -seconds & 0xFFFF_FFFF, 1 << 31 | SECOND - nanoseconds, UPDATE)
    else:
        update(harness, seconds, nanoseconds, UPDATE)
    harness.write(x.MAC_TSCR, harness.read(x.MAC_TSCR) | TSENA)
    assert now(harness) == 1000 * SECOND + 500 + offset


def test_binary_rollover(harness: XgbeRig) -> None:
    """Without TSCTRLSSR the sub-seconds are of 2^-31 s."""
    harness.write(x.MAC_TSCR, TSENA)
    update(harness, 1, 1 << 30, INIT)
    assert harness.read(x.MAC_STNR) == 1 << 30
    harness.write(x.MAC_TSCR, harness.read(x.MAC_TSCR) | DIGITAL)
    assert harness.read(x.MAC_STNR) == SECOND // 2


def test_reset_stops_the_time(harness: XgbeRig) -> None:
    started(harness)
    update(harness, 9, 0, INIT)
    harness.write(x.DMA_MR, 1)
    harness.clock.advance(1)
    assert now(harness) == 0


def stamped(harness: XgbeRig, frame: bytes) -> bool:
    (got,) = harness.receive(frame)
    assert got.data.startswith(frame)
    return got.time is not None


MASKS = {
    "Sync, without a path delay": (EVENT, {SYNC}),
    "Delay_Req, without a path delay": (EVENT | MASTER, {DELAY_REQUEST}),
    "all of two": (0, {SYNC, DELAY_REQUEST}),
    "all of four": (SNAPSHOT, set(EVENTS)),
    "Sync, and path delays": (SNAPSHOT | EVENT, {SYNC, PDELAY_REQUEST, PDELAY_RESPONSE}),
    "Delay_Req, and path delays": (SNAPSHOT | EVENT | MASTER, {DELAY_REQUEST, PDELAY_REQUEST, PDELAY_RESPONSE}),
    "two, whatever the others are": (2 * SNAPSHOT | EVENT, {SYNC, DELAY_REQUEST}),
    "path delays alone": (3 * SNAPSHOT | EVENT, {PDELAY_REQUEST, PDELAY_RESPONSE}),
}


@pytest.mark.parametrize("what", MASKS)
def test_messages(harness: XgbeRig, what: str) -> None:
    """The table of SNAPTYPSEL, TSEVNTENA and TSMSTRENA."""
    bits, wanted = MASKS[what]
    harness.write(x.MAC_TSCR, TSENA | DIGITAL | V2 | ETHERNET | bits)
    assert {kind for kind in EVENTS if stamped(harness, over_ethernet(ENDS, kind, 1).frame)} == wanted


def test_general_messages(harness: XgbeRig) -> None:
    """Follow_Up and other general messages are timestamped if not only events are."""
    follow_up = bytearray(over_ethernet(ENDS, SYNC, 1).frame)
    follow_up[14] = 8
    harness.write(x.MAC_TSCR, TSENA | V2 | ETHERNET)
    assert stamped(harness, bytes(follow_up))
    harness.write(x.MAC_TSCR, TSENA | V2 | ETHERNET | EVENT)
    assert not stamped(harness, bytes(follow_up))


LAYERS = {
    "Ethernet": over_ethernet(ENDS, SYNC, 1).frame,
    "IPv4": over_udp(ENDS, SYNC, 1, 4).frame,
    "IPv6": over_udp(ENDS, SYNC, 1, 6).frame,
    "IPv4, version 1": over_udp(ENDS, SYNC, 1, 4, 1).frame,
    "IPv6, version 1": over_udp(ENDS, SYNC, 1, 6, 1).frame,
}


@pytest.mark.parametrize(
    ("bits", "wanted"),
    [
        (V2 | ETHERNET, {"Ethernet"}),
        (V2 | IPV4, {"IPv4"}),
        (V2 | IPV6 | IPV4 | ETHERNET, {"Ethernet", "IPv4", "IPv6"}),
        (IPV4 | IPV6, {"IPv4, version 1", "IPv6, version 1"}),
        (AV8021AS | IPV4 | ETHERNET, {"Ethernet"}),
        (ALL, set(LAYERS)),
        (V2, set()),
    ],
)
def test_layers(harness: XgbeRig, bits: int, wanted: set[str]) -> None:
    harness.write(x.MAC_TSCR, TSENA | DIGITAL | bits)
    assert {name for name, frame in LAYERS.items() if stamped(harness, frame)} == wanted
    harness.write(x.MAC_TSCR, bits)
    assert not any(stamped(harness, frame) for frame in LAYERS.values()), "the time does not run"


def test_stamp_waits_or_is_overwritten(harness: XgbeRig) -> None:
    """A second timestamp is missed if the first has not been read, unless TXTSSTSM allows overwriting."""
    started(harness)
    stamps = []
    for overwrite in (0, 1 << 24):
        harness.write(x.MAC_TSCR, harness.read(x.MAC_TSCR) | overwrite)
        for _ in range(2):
            harness.clock.advance(0.1)
            harness.transmit(bytes(60), options=1 << 30)
        nanoseconds = harness.read(x.MAC_TXSNR)
        stamps.append((nanoseconds >> 31, harness.read(x.MAC_TXSSR) * SECOND + (nanoseconds & ~(1 << 31))))
    assert stamps == [(1, pytest.approx(SECOND // 10, abs=20)), (0, pytest.approx(SECOND * 4 // 10, abs=20))]


def test_stamps_go_wrong(harness: XgbeRig) -> None:
    started(harness)
    harness.write(x.MAC_TSCR, harness.read(x.MAC_TSCR) | ALL)
    frame = LAYERS["Ethernet"]
    harness.arm("rx.timestamp.late")
    (late,) = harness.receive(frame)
    assert late.time == (1, 0)
    harness.arm("rx.timestamp.missing")
    assert not stamped(harness, frame)
    harness.arm("tx.timestamp.late")
    harness.transmit(bytes(60), options=1 << 30)
    assert (harness.read(x.MAC_TXSNR), harness.read(x.MAC_TXSSR)) == (0, 1)
    harness.arm("tx.timestamp.missing")
    harness.transmit(bytes(60), options=1 << 30)
    assert not harness.read(x.MAC_TSSR)
    harness.arm("device.time.stopped")
    before = now(harness)
    harness.clock.advance(1)
    assert now(harness) == before
