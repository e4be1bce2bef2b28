# SPDX-License-Identifier: GPL-2.0-or-later
"""The system time: its rate, what is added to it; and which frames get its stamps."""

from __future__ import annotations

import pytest
import xgbe_rig as x
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
from xgbe_rig import XgbeRig

TSENA, FINE, INIT, UPDATE, ADDEND, ALL, DIGITAL, V2 = (1 << bit for bit in (0, 1, 2, 3, 5, 8, 9, 10))
ETHERNET, IPV6, IPV4, EVENT, MASTER, SNAPSHOT, AV8021AS = (1 << bit for bit in (11, 12, 13, 14, 15, 16, 28))
SECOND = 1_000_000_000
TEN_NANOSECONDS = 10 << 16
ENDS = Ends(
    x.MAC.hex(":"), x.PEER.hex(":"), {4: "192.0.2.2", 6: "2001:db8::2"}, {4: "192.0.2.0/24", 6: "2001:db8::/64"}
)


def started(rig: XgbeRig, ratio: float = 1.0) -> None:
    """Let the time run at a ratio of the real one: 125 MHz, 10 ns a step, so 0.8 is the addend of 1."""
    rig.write(x.MAC_TSCR, TSENA | FINE | DIGITAL)
    rig.write(x.MAC_SSIR, TEN_NANOSECONDS)
    rig.write(x.MAC_TSAR, round(ratio * 0.8 * (1 << 32)))
    rig.write(x.MAC_TSCR, rig.read(x.MAC_TSCR) | ADDEND)


def update(rig: XgbeRig, seconds: int, nanoseconds: int, command: int) -> None:
    rig.write(x.MAC_STSUR, seconds)
    rig.write(x.MAC_STNUR, nanoseconds)
    rig.write(x.MAC_TSCR, rig.read(x.MAC_TSCR) | command)
    assert not rig.read(x.MAC_TSCR) & command, "it clears itself"


def now(rig: XgbeRig) -> int:
    return rig.read(x.MAC_STSR) * SECOND + rig.read(x.MAC_STNR)


@pytest.mark.parametrize("ratio", [1.0, 0.95, 1.05])
def test_rate(rig: XgbeRig, ratio: float) -> None:
    started(rig, ratio)
    update(rig, 100, 0, INIT)
    rig.clock.advance(3.5)
    assert now(rig) == pytest.approx(100 * SECOND + 3.5 * ratio * SECOND, abs=20)


def test_rate_changes_from_now_on(rig: XgbeRig) -> None:
    started(rig)
    rig.clock.advance(2)
    rig.write(x.MAC_TSAR, round(0.4 * (1 << 32)))
    rig.clock.advance(1)
    assert now(rig) == pytest.approx(3 * SECOND, abs=20), "an addend that was not taken yet changes nothing"
    rig.write(x.MAC_TSCR, rig.read(x.MAC_TSCR) | ADDEND)
    rig.clock.advance(2)
    assert now(rig) == pytest.approx(4 * SECOND, abs=20)


@pytest.mark.parametrize("offset", [5 * SECOND, 1_250_000_000, 7, -SECOND, -2_000_000_001, -1, -999_999_999])
def test_update(rig: XgbeRig, offset: int) -> None:
    """To subtract, the seconds are their two's complement, and the nanoseconds what is missing to a second (MAC_STNUR)."""
    update(rig, 1000, 0, INIT)
    rig.write(x.MAC_TSCR, DIGITAL)
    update(rig, 1000, 500, INIT)
    seconds, nanoseconds = divmod(abs(offset), SECOND)
    if offset < 0:
        update(rig, -seconds & 0xFFFF_FFFF, 1 << 31 | SECOND - nanoseconds, UPDATE)
    else:
        update(rig, seconds, nanoseconds, UPDATE)
    rig.write(x.MAC_TSCR, rig.read(x.MAC_TSCR) | TSENA)
    assert now(rig) == 1000 * SECOND + 500 + offset


def test_binary_rollover(rig: XgbeRig) -> None:
    """Without TSCTRLSSR the sub-seconds are of 2^-31 s."""
    rig.write(x.MAC_TSCR, TSENA)
    update(rig, 1, 1 << 30, INIT)
    assert rig.read(x.MAC_STNR) == 1 << 30
    rig.write(x.MAC_TSCR, rig.read(x.MAC_TSCR) | DIGITAL)
    assert rig.read(x.MAC_STNR) == SECOND // 2


def test_reset_stops_the_time(rig: XgbeRig) -> None:
    started(rig)
    update(rig, 9, 0, INIT)
    rig.write(x.DMA_MR, 1)
    rig.clock.advance(1)
    assert now(rig) == 0


def stamped(rig: XgbeRig, frame: bytes) -> bool:
    (got,) = rig.receive(frame)
    assert got.data.startswith(frame)
    return got.time is not None


MASKS = {
    "Sync, without a path delay": (EVENT, {SYNC}),
    "Delay_Req, without a path delay": (EVENT | MASTER, {DELAY_REQUEST}),
    "all of two": (0, {SYNC, DELAY_REQUEST}),
    "all of four": (SNAPSHOT, set(EVENTS)),
    "Sync, and path delays": (SNAPSHOT | EVENT, {SYNC, PDELAY_REQUEST, PDELAY_RESPONSE}),
    "Delay_Req, and path delays": (SNAPSHOT | EVENT | MASTER, {DELAY_REQUEST, PDELAY_REQUEST, PDELAY_RESPONSE}),
    "two, whatever the others say": (2 * SNAPSHOT | EVENT, {SYNC, DELAY_REQUEST}),
    "path delays alone": (3 * SNAPSHOT | EVENT, {PDELAY_REQUEST, PDELAY_RESPONSE}),
}


@pytest.mark.parametrize("what", MASKS)
def test_messages(rig: XgbeRig, what: str) -> None:
    """The table of SNAPTYPSEL, TSEVNTENA and TSMSTRENA."""
    bits, wanted = MASKS[what]
    rig.write(x.MAC_TSCR, TSENA | DIGITAL | V2 | ETHERNET | bits)
    assert {kind for kind in EVENTS if stamped(rig, over_ethernet(ENDS, kind, 1).frame)} == wanted


def test_general_messages(rig: XgbeRig) -> None:
    """Follow_Up and its like are stamped where not only events are."""
    follow_up = bytearray(over_ethernet(ENDS, SYNC, 1).frame)
    follow_up[14] = 8
    rig.write(x.MAC_TSCR, TSENA | V2 | ETHERNET)
    assert stamped(rig, bytes(follow_up))
    rig.write(x.MAC_TSCR, TSENA | V2 | ETHERNET | EVENT)
    assert not stamped(rig, bytes(follow_up))


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
def test_layers(rig: XgbeRig, bits: int, wanted: set[str]) -> None:
    rig.write(x.MAC_TSCR, TSENA | DIGITAL | bits)
    assert {name for name, frame in LAYERS.items() if stamped(rig, frame)} == wanted
    rig.write(x.MAC_TSCR, bits)
    assert not any(stamped(rig, frame) for frame in LAYERS.values()), "the time does not run"


def test_stamp_waits_or_is_overwritten(rig: XgbeRig) -> None:
    """A second stamp that would overwrite one that was not taken is missed, unless TXTSSTSM lets it."""
    started(rig)
    stamps = []
    for overwrite in (0, 1 << 24):
        rig.write(x.MAC_TSCR, rig.read(x.MAC_TSCR) | overwrite)
        for _ in range(2):
            rig.clock.advance(0.1)
            rig.transmit(bytes(60), options=1 << 30)
        nanoseconds = rig.read(x.MAC_TXSNR)
        stamps.append((nanoseconds >> 31, rig.read(x.MAC_TXSSR) * SECOND + (nanoseconds & ~(1 << 31))))
    assert stamps == [(1, pytest.approx(SECOND // 10, abs=20)), (0, pytest.approx(SECOND * 4 // 10, abs=20))]


def test_stamps_go_wrong(rig: XgbeRig) -> None:
    started(rig)
    rig.write(x.MAC_TSCR, rig.read(x.MAC_TSCR) | ALL)
    frame = LAYERS["Ethernet"]
    rig.arm("rx.timestamp.late")
    (late,) = rig.receive(frame)
    assert late.time == (1, 0)
    rig.arm("rx.timestamp.missing")
    assert not stamped(rig, frame)
    rig.arm("tx.timestamp.late")
    rig.transmit(bytes(60), options=1 << 30)
    assert (rig.read(x.MAC_TXSNR), rig.read(x.MAC_TXSSR)) == (0, 1)
    rig.arm("tx.timestamp.missing")
    rig.transmit(bytes(60), options=1 << 30)
    assert not rig.read(x.MAC_TSSR)
    rig.arm("device.time.stopped")
    before = now(rig)
    rig.clock.advance(1)
    assert now(rig) == before
