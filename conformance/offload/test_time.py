# SPDX-License-Identifier: GPL-2.0-or-later
"""The hardware clock, and the time stamps that the hardware gives PTP event messages."""

from __future__ import annotations

from itertools import pairwise

import pytest
from plugfest.frames.ptp import EVENTS, covered, over_ethernet, over_udp
from plugfest.requirements.requirement import requirement
from plugfest.timestamps.hardware_clock import (
    NONE,
    OFF,
    ON,
    SECOND,
    HardwareClock,
    Stamping,
)

CLOCK = "Documentation/driver-api/ptp.rst; include/linux/ptp_clock_kernel.h"
STAMPS = "Documentation/networking/timestamping.rst, 3 (hardware timestamping configuration)"
WATCHED = 1.0
"""Seconds, on any guest, over which a rate is measured."""
TOLERANCE = 0.01
"""Of a rate: far more than oscillators differ by (IEEE 1588 asks for 100 ppm), and than a guest's own clock."""
TURNS = 6
"""Seconds, on any guest."""
SHARE = 0.05
"""A change of rate that is measured, where the clock can be made to run so much faster."""
WHOLE = 1_700_000_000 * SECOND
"""A time to set the clock to, nanoseconds: in November 2023."""


@pytest.fixture
def capabilities(dut):
    """What ``ethtool -T`` says."""
    return dut.get("tsinfo") or {}


@pytest.fixture
def clock(guest, dut, capabilities, settings, defer, skip_unsupported):
    """The hardware clock, as it is when the interface has come up; skips where the driver says that there is none."""
    if "phc-index" not in capabilities:
        skip_unsupported("a hardware clock", evidence={"ethtool -T": capabilities})
    # A restart of the device, by whatever ran before, may have stopped it: OFFLOAD-STAMP-04 is what asks that.
    dut.set_link(up=False)
    dut.set_link(up=True)
    settings.ready()
    return HardwareClock(guest.agent, capabilities["phc-index"], defer)


@pytest.fixture
def stamping(guest, dut, remote, clock, defer):  # noqa: ARG001 - skips where there is no clock
    """The interface's time stamps."""
    return Stamping(guest, dut.ifname, remote, defer)


@pytest.fixture
def stamping_received(stamping, capabilities, skip_unsupported):
    """The same; skips where nothing that is received is stamped."""
    if "hardware-receive" not in capabilities["timestamping"]:
        skip_unsupported("hardware time stamps of received frames", evidence={"ethtool -T": capabilities})
    return stamping


@pytest.fixture
def sending(capabilities):
    """What is to be stamped of frames sent, where those received matter: all, unless the driver does not advertise that."""
    return ON if "on" in capabilities.get("tx-types", ()) else OFF


@pytest.fixture
def rate(clock, until):
    """``rate()``: how fast the hardware clock runs, by the guest's own: the least and the most that it can be."""

    def measure():
        first = clock.read()
        last = until(
            lambda: (now := clock.read()).elapsed(first)[0] > WATCHED * SECOND and now,
            what="the guest's own clock advances",
            timeout=5 * WATCHED,
        )
        least, most = last.elapsed(first)
        return (last.time - first.time) / most, (last.time - first.time) / least

    return measure


def refused(refusal, what, skip_unsupported):
    """Skips where the driver refuses to do that to its clock."""
    if refusal is not None:
        skip_unsupported(f"to {what} its clock", evidence=str(refusal))


@requirement(
    "OFFLOAD-PHC-01",
    level="MUST",
    source=f"{CLOCK}, gettimex64",
    falsified_by=("device.time.stopped", "program:clock.skewed"),
)
def test_rate(rate, step, evidence):
    """A hardware clock that the driver says it has can be read, and advances a second in a second, to a hundredth."""
    with step("Read the clock twice, a second apart by the guest's own"):
        least, most = rate()
        evidence("seconds a second", [round(least, 5), round(most, 5)])
    with step("It has advanced as much"):
        assert least < 1 + TOLERANCE
        assert most > 1 - TOLERANCE


@requirement(
    "OFFLOAD-PHC-02", level="MUST", source=f"{CLOCK}, adjfine, max_adj", falsified_by="program:clock.not-changed"
)
def test_pace(clock, rate, skip_unsupported, step, evidence):
    """A clock that is made to run faster, or slower, does so, by as much as it was told, and stops doing so when told."""
    reach = clock.reach
    share = min(SHARE, reach / 2e9)
    evidence("max_adj", reach)
    if share <= 2 * TOLERANCE:
        skip_unsupported("to change its clock's rate by as much as can be measured", evidence={"max_adj": reach})
    for wanted in (share, -share, 0.0):
        with step(f"Make the clock run faster by {wanted:.0%}: it does"):
            refused(clock.try_set_rate(round(wanted * 1e9)), "change the rate of", skip_unsupported)
            least, most = rate()
            evidence(f"seconds a second at {wanted:+}", [round(least, 5), round(most, 5)])
            assert least < 1 + wanted + TOLERANCE
            assert most > 1 + wanted - TOLERANCE


@requirement(
    "OFFLOAD-PHC-03", level="MUST", source=f"{CLOCK}, adjtime, settime64", falsified_by="program:clock.not-changed"
)
def test_set(clock, skip_unsupported, step, evidence):
    """A clock that is put forward or back by a time, or set to one, shows that, whole seconds and parts of one."""
    for offset in (10 * SECOND, -3 * SECOND, 250_000_000, -1_750_000_000, 1, -1):
        with step(f"Put the clock forward by {offset / SECOND} s: it shows that much more than has passed"):
            first = clock.read()
            refused(clock.try_step(offset), "put forward", skip_unsupported)
            last = clock.read()
            least, most = last.elapsed(first)
            found = last.time - first.time - offset
            evidence(f"nanoseconds beyond {offset}", [found, [max(0, least), most]])
            assert -TOLERANCE * SECOND <= found <= most * (1 + TOLERANCE) + TOLERANCE * SECOND
    with step("Set the clock: it shows that time, and what has passed since"):
        before = clock.read()
        refused(clock.try_set(WHOLE), "set", skip_unsupported)
        last = clock.read()
        assert WHOLE <= last.time <= WHOLE + (last.after - before.after) * (1 + TOLERANCE)


@requirement(
    "OFFLOAD-PHC-04",
    level="MUST",
    source=f"{CLOCK}, gettimex64",
    falsified_by=("device.time.stopped", "program:clock.skewed"),
)
@pytest.mark.budget(60)
def test_readings_agree(clock, step, evidence):
    """No reading of the clock contradicts the one before it: none goes back, or ahead of what has passed, at the turn of a second either.

    Where seconds and nanoseconds are registers of their own, a second may turn between the reading of one and of the other.
    """
    with step(f"Read the clock without a pause, over the turn of {TURNS} seconds"):
        readings = clock.series(TURNS)
        evidence("readings", len(readings))
    with step("Each follows from the one before"):
        wrong = [
            f"{after.time - before.time} ns after {before.time}, in at most {after.after - before.before} ns"
            for before, after in pairwise(readings)
            if not after.follows(before)
        ]
        assert wrong == []
    with step("All together, the clock has advanced as much as has passed"):
        least, most = readings[-1].elapsed(readings[0])
        advanced = readings[-1].time - readings[0].time
        assert least * (1 - TOLERANCE) <= advanced <= most * (1 + TOLERANCE)


@pytest.fixture
def filters(stamping_received, capabilities, traffic, skip_unsupported):  # noqa: ARG001 - skips where nothing is stamped
    """What the driver advertises that covers PTP's event messages, the one that takes all last."""
    found = [name for name in capabilities["rx-filters"] if any(covered(name, traffic.ends))]
    if not found:
        skip_unsupported("a filter for PTP", evidence={"ethtool -T": capabilities})
    return sorted(found, key=lambda each: (each == "all", each))


@pytest.fixture
def faultless(stamping_received, sending, clock, traffic):
    """``faultless(name)``: has a filter set, and returns what is wrong with the stamps of what it covers, a line each."""

    def check(name):
        refusal = stamping_received.try_set_filter(sent=sending, received=name)
        assert refusal is None, f"{name} is advertised, and refused: {refusal}"
        wrong = []
        for message in covered(name, traffic.ends):
            before = clock.read().time
            stamp = stamping_received.receive(message.frame)
            after = clock.read().time
            if stamp is None:
                wrong.append(f"{name}: no stamp of {message.name}")
            elif not before <= stamp <= after:
                wrong.append(f"{name}: {message.name} stamped {stamp - before} ns after, of {after - before}")
        return wrong

    return check


@pytest.fixture
def afresh(stamping_received, settings, dut):
    """``afresh()``: has nothing stamped, and takes the interface down and up, so that nothing is left of what was set before."""

    def reset():
        assert stamping_received.try_set_filter(sent=OFF, received=NONE) is None
        settings.set_link(up=False)
        dut.set_link(up=True)
        settings.ready()

    return reset


WRONG_STAMPS = ("rx.timestamp.late", "rx.timestamp.missing", "program:stamp.lost", "program:stamp.not-set")


@requirement(
    "OFFLOAD-STAMP-01",
    level="MUST",
    source=f"{STAMPS}; include/uapi/linux/net_tstamp.h, enum hwtstamp_rx_filters",
    falsified_by=WRONG_STAMPS,
)
@pytest.mark.budget(200)
def test_received(filters, faultless, afresh, step, evidence):
    """With each filter that the driver advertises, each event message that it covers is stamped with the time when it came.

    That is: a time of the hardware clock, between what it showed before the frame was sent and what it showed after it had come.
    """
    evidence("filters", filters)
    wrong = []
    for name in filters:
        with step(
            f"Take the interface down and up, and have {name} stamped: each message that it covers is, with its time"
        ):
            afresh()
            wrong += faultless(name)
    assert wrong == []


@requirement(
    "OFFLOAD-STAMP-05",
    level="MUST",
    source=f"{STAMPS}, SIOCSHWTSTAMP: the filter is what was set last",
    falsified_by=WRONG_STAMPS,
)
@pytest.mark.budget(120)
def test_filters_in_turn(filters, faultless, afresh, step):
    """One filter set after another, each message that the last one covers is stamped, whatever was set before."""
    wrong = []
    with step("Take the interface down and up"):
        afresh()
    for name in filters:
        with step(f"Have {name} stamped: each message that it covers is, with its time"):
            wrong += faultless(name)
    assert wrong == []


@requirement(
    "OFFLOAD-STAMP-02",
    level="MUST",
    source=f"{STAMPS}, HWTSTAMP_TX_ON; SOF_TIMESTAMPING_TX_HARDWARE",
    falsified_by=("tx.timestamp.late", "tx.timestamp.missing", "program:stamp.lost"),
)
@pytest.mark.budget(60)
def test_sent(stamping, clock, capabilities, traffic, skip_unsupported, step, evidence):
    """Each event message whose time of sending is asked for gets it, one after the other: a time of the hardware clock."""
    if "hardware-transmit" not in capabilities["timestamping"] or "on" not in capabilities["tx-types"]:
        skip_unsupported("hardware time stamps of sent frames", evidence={"ethtool -T": capabilities})
    with step("Have the frames stamped that are sent"):
        refusal = stamping.try_set_filter(sent=ON, received=NONE)
        assert refusal is None, f"advertised, and refused: {refusal}"
    last = 0
    for number, message in enumerate(EVENTS):
        for each in (
            over_ethernet(traffic.ends_back, message, number),
            over_udp(traffic.ends_back, message, number, 4),
            over_udp(traffic.ends_back, message, number, 6),
        ):
            with step(
                f"Send {each.name}: its stamp is between what the clock shows before and after, and after the one before"
            ):
                before = clock.read().time
                stamp = stamping.send(each.frame)
                after = clock.read().time
                assert stamp is not None, f"no stamp of {each.name}"
                evidence(
                    f"{each.name}: nanoseconds from before to the stamp, and to after", [stamp - before, after - before]
                )
                assert before <= stamp <= after
                assert stamp > last
                last = stamp


@requirement(
    "OFFLOAD-STAMP-03",
    level="MUST",
    source=f"{STAMPS}, HWTSTAMP_FILTER_NONE: none",
    falsified_by="program:stamp.not-set",
)
def test_none(stamping_received, sending, filters, traffic, step):
    """Once no frame is to be stamped any more, none is."""
    name = filters[-1]
    message = next(covered(name, traffic.ends))
    with step(f"Have {name} stamped: {message.name} is"):
        assert stamping_received.try_set_filter(sent=sending, received=name) is None
        assert stamping_received.receive(message.frame) is not None
    with step("Have none stamped: it is not"):
        assert stamping_received.try_set_filter(sent=sending, received=NONE) is None
        assert stamping_received.now()[1] == NONE
        assert stamping_received.receive(message.frame) is None


@requirement(
    "OFFLOAD-STAMP-04",
    level="MUST",
    source=f"{STAMPS}, SIOCGHWTSTAMP; Documentation/networking/netdevices.rst, ndo_stop and ndo_open",
    falsified_by=("rx.timestamp.missing", "device.time.stopped", "program:stamp.lost"),
)
@pytest.mark.budget(90)
def test_after_reset(stamping_received, sending, clock, filters, traffic, settings, dut, step, evidence):
    """After the interface was down and up, and after a change of its MTU, the clock runs, and what the driver tells is stamped."""
    name = filters[-1]
    message = next(covered(name, traffic.ends))
    for what, do in (
        ("change the MTU", lambda: settings.set_link(mtu=dut.mtu - 100)),
        ("take the interface down and up", lambda: settings.set_link(up=False) or dut.set_link(up=True)),
    ):
        with step(f"Have {name} stamped, and {what}: the clock runs"):
            assert stamping_received.try_set_filter(sent=sending, received=name) is None
            do()
            settings.ready()
            before = clock.read()
            told = stamping_received.now()[1]
            evidence(f"told to be stamped, after: {what}", told)
        with step(f"A {message.name} is stamped with its time if the driver still tells that it stamps it"):
            stamp = stamping_received.receive(message.frame)
            after = clock.read()
            assert after.time > before.time, "the clock stands still"
            if told == NONE:
                assert stamp is None, "stamped, though the driver tells that none is"
            else:
                assert stamp is not None, f"no stamp of {message.name}, though the driver tells that {told} is stamped"
                assert before.time <= stamp <= after.time
