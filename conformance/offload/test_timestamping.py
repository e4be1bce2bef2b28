# SPDX-License-Identifier: GPL-2.0-or-later
"""The PTP hardware clock (PHC), and hardware timestamps of PTP event messages."""

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
RATE_INTERVAL = 1.0
"""Seconds of wall time over which the test measures a rate."""
TOLERANCE = 0.01
"""Relative error of a rate: far more than the error of oscillators (IEEE 1588 requires 100 ppm) and of the guest's own clock."""
READ_TIME = 6
"""Seconds of wall time for which the test reads the clock continuously."""
RATE_CHANGE = 0.05
"""Relative change of the clock's rate, limited by what the clock supports."""
NEW_TIME = 1_700_000_000 * SECOND
"""Time in nanoseconds to set the clock to: November 2023."""


@pytest.fixture
def capabilities(dut):
    """What ``ethtool -T`` shows."""
    return dut.get("tsinfo") or {}


@pytest.fixture
def clock(guest, dut, capabilities, settings, defer, skip_unsupported):
    """The PHC, as it is after the interface was set up; skips if the driver reports none."""
    if "phc-index" not in capabilities:
        skip_unsupported("a hardware clock", evidence={"ethtool -T": capabilities})
    # A device reset in an earlier test may have stopped the clock, which only OFFLOAD-STAMP-04 is to report.
    dut.set_link(up=False)
    dut.set_link(up=True)
    settings.ready()
    return HardwareClock(guest.agent, capabilities["phc-index"], defer)


@pytest.fixture
def stamping(guest, dut, remote, clock, defer):  # noqa: ARG001 - skips where there is no clock
    """The timestamps of the interface."""
    return Stamping(guest, dut.ifname, remote, defer)


@pytest.fixture
def rx_stamping(stamping, capabilities, skip_unsupported):
    """The timestamps of the interface; skips if the driver does not timestamp received frames."""
    if "hardware-receive" not in capabilities["timestamping"]:
        skip_unsupported("hardware timestamps of received frames", evidence={"ethtool -T": capabilities})
    return stamping


@pytest.fixture
def tx_type(capabilities):
    """The tx_type for tests of received frames: HWTSTAMP_TX_ON if the driver advertises it, else HWTSTAMP_TX_OFF."""
    return ON if "on" in capabilities.get("tx-types", ()) else OFF


@pytest.fixture
def rate(clock, until):
    """``least, most = rate()`` returns bounds of the PHC's rate relative to the guest's own clock."""

    def measure():
        first = clock.read()
        last = until(
            lambda: (now := clock.read()).elapsed(first)[0] > RATE_INTERVAL * SECOND and now,
            what=f"the guest's own clock has advanced by {RATE_INTERVAL} s",
            timeout=5 * RATE_INTERVAL,
        )
        least, most = last.elapsed(first)
        return (last.time - first.time) / most, (last.time - first.time) / least

    return measure


def skip_on_error(error, what, skip_unsupported):
    """Skip if the driver rejects a change of its clock."""
    if error is not None:
        skip_unsupported(what, evidence=str(error))


@requirement(
    "OFFLOAD-PHC-01",
    level="MUST",
    source=f"{CLOCK}, gettimex64",
    falsified_by=("device.time.stopped", "program:clock.skewed"),
)
def test_rate(rate, step, evidence):
    """The PHC that the driver reports is readable, and advances by one second per second, within 1 %."""
    with step("Read the clock twice, one second apart by the guest's own clock"):
        least, most = rate()
        evidence("seconds per second", [round(least, 5), round(most, 5)])
    with step("The clock has advanced by one second, within 1 %"):
        assert least < 1 + TOLERANCE
        assert most > 1 - TOLERANCE


@requirement(
    "OFFLOAD-PHC-02", level="MUST", source=f"{CLOCK}, adjfine, max_adj", falsified_by="program:clock.not-changed"
)
def test_adjust_frequency(clock, rate, skip_unsupported, step, evidence):
    """The PHC runs faster or slower by as much as its frequency is adjusted, and at its nominal rate after an adjustment of 0."""
    max_adj = clock.reach
    change = min(RATE_CHANGE, max_adj / 2e9)
    evidence("max_adj", max_adj)
    if change <= 2 * TOLERANCE:
        skip_unsupported("a measurable adjustment of the clock's frequency", evidence={"max_adj": max_adj})
    for adjustment in (change, -change, 0.0):
        with step(f"Adjust the clock's frequency by {adjustment:.0%}: its rate changes by that much"):
            skip_on_error(
                clock.try_set_rate(round(adjustment * 1e9)), "adjusting the clock's frequency", skip_unsupported
            )
            least, most = rate()
            evidence(f"seconds per second at {adjustment:+}", [round(least, 5), round(most, 5)])
            assert least < 1 + adjustment + TOLERANCE
            assert most > 1 + adjustment - TOLERANCE


@requirement(
    "OFFLOAD-PHC-03", level="MUST", source=f"{CLOCK}, adjtime, settime64", falsified_by="program:clock.not-changed"
)
def test_adjust_and_set_time(clock, skip_unsupported, step, evidence):
    """After an adjustment by an offset, or after it is set, the PHC shows that time, to the fraction of a second."""
    for offset in (10 * SECOND, -3 * SECOND, 250_000_000, -1_750_000_000, 1, -1):
        with step(f"Adjust the clock by {offset} ns: it advances by that much more than has elapsed"):
            first = clock.read()
            skip_on_error(clock.try_step(offset), "adjusting the clock by an offset", skip_unsupported)
            last = clock.read()
            least, most = last.elapsed(first)
            found = last.time - first.time - offset
            evidence(f"nanoseconds beyond {offset}, and bounds of the elapsed time", [found, [max(0, least), most]])
            assert -TOLERANCE * SECOND <= found <= most * (1 + TOLERANCE) + TOLERANCE * SECOND
    with step("Set the clock: it shows that time plus the elapsed time"):
        before = clock.read()
        skip_on_error(clock.try_set(NEW_TIME), "setting the clock", skip_unsupported)
        last = clock.read()
        assert NEW_TIME <= last.time <= NEW_TIME + (last.after - before.after) * (1 + TOLERANCE)


@requirement(
    "OFFLOAD-PHC-04",
    level="MUST",
    source=f"{CLOCK}, gettimex64",
    falsified_by=("device.time.stopped", "program:clock.skewed"),
)
@pytest.mark.budget(60)
def test_monotonic(clock, step, evidence):
    """The PHC never goes back and never runs ahead of the elapsed time, also when a second ends.

    If seconds and nanoseconds are in separate registers, a second may end between the two register reads.
    """
    with step(f"Read the clock continuously for {READ_TIME} s"):
        readings = clock.series(READ_TIME)
        evidence("readings", len(readings))
    with step("No reading is before the previous one, or ahead of it by more than the elapsed time"):
        wrong = [
            f"{after.time - before.time} ns after {before.time}, in at most {after.after - before.before} ns"
            for before, after in pairwise(readings)
            if not after.follows(before)
        ]
        assert wrong == []
    with step("From the first reading to the last, the clock has advanced by the elapsed time"):
        least, most = readings[-1].elapsed(readings[0])
        advanced = readings[-1].time - readings[0].time
        assert least * (1 - TOLERANCE) <= advanced <= most * (1 + TOLERANCE)


@pytest.fixture
def filters(rx_stamping, capabilities, traffic, skip_unsupported):  # noqa: ARG001 - skips where nothing is stamped
    """The rx filters that the driver advertises and that cover PTP event messages, with "all" last."""
    found = [name for name in capabilities["rx-filters"] if any(covered(name, traffic.ends))]
    if not found:
        skip_unsupported("an rx filter for PTP", evidence={"ethtool -T": capabilities})
    return sorted(found, key=lambda each: (each == "all", each))


@pytest.fixture
def check_stamps(rx_stamping, tx_type, clock, traffic):
    """``check_stamps(name)`` sets that rx filter, and returns a line for each wrong timestamp of a message that the filter covers."""

    def check(name):
        error = rx_stamping.try_set_filter(sent=tx_type, received=name)
        assert error is None, f"the driver advertises the rx filter {name}, but rejects it: {error}"
        wrong = []
        for message in covered(name, traffic.ends):
            before = clock.read().time
            stamp = rx_stamping.receive(message.frame)
            after = clock.read().time
            if stamp is None:
                wrong.append(f"{name}: no timestamp of {message.name}")
            elif not before <= stamp <= after:
                wrong.append(
                    f"{name}: the timestamp of {message.name} is {stamp - before} ns after the first reading, "
                    f"expected 0 to {after - before}"
                )
        return wrong

    return check


@pytest.fixture
def reset_stamping(rx_stamping, settings, dut):
    """``reset_stamping()`` turns timestamping off, and sets the interface down and up, so that no earlier rx filter is in effect."""

    def reset():
        assert rx_stamping.try_set_filter(sent=OFF, received=NONE) is None
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
def test_received(filters, check_stamps, reset_stamping, step, evidence):
    """With each advertised rx filter, the driver timestamps each event message that the filter covers with its time of arrival.

    The timestamp must lie between the PHC's time before the frame is sent and the PHC's time after it is received.
    """
    evidence("filters", filters)
    wrong = []
    for name in filters:
        with step(
            f"Set the interface down and up, and set the rx filter {name}: each message that it covers has a correct timestamp"
        ):
            reset_stamping()
            wrong += check_stamps(name)
    assert wrong == []


@requirement(
    "OFFLOAD-STAMP-05",
    level="MUST",
    source=f"{STAMPS}, SIOCSHWTSTAMP: the filter set last is in effect",
    falsified_by=WRONG_STAMPS,
)
@pytest.mark.budget(120)
def test_filters_in_turn(filters, check_stamps, reset_stamping, step):
    """With rx filters set one after another, the driver timestamps each event message that the last one covers with its time of arrival."""
    wrong = []
    with step("Set the interface down and up"):
        reset_stamping()
    for name in filters:
        with step(f"Set the rx filter {name}: each message that it covers has a correct timestamp"):
            wrong += check_stamps(name)
    assert wrong == []


@requirement(
    "OFFLOAD-STAMP-02",
    level="MUST",
    source=f"{STAMPS}, HWTSTAMP_TX_ON; SOF_TIMESTAMPING_TX_HARDWARE",
    falsified_by=("tx.timestamp.late", "tx.timestamp.missing", "program:stamp.lost"),
)
@pytest.mark.budget(60)
def test_sent(stamping, clock, capabilities, traffic, skip_unsupported, step, evidence):
    """For each sent event message that requests it, the driver reports a hardware timestamp of the time of sending."""
    if "hardware-transmit" not in capabilities["timestamping"] or "on" not in capabilities["tx-types"]:
        skip_unsupported("hardware timestamps of sent frames", evidence={"ethtool -T": capabilities})
    with step("Turn timestamping of sent frames on (HWTSTAMP_TX_ON)"):
        error = stamping.try_set_filter(sent=ON, received=NONE)
        assert error is None, f"the driver advertises HWTSTAMP_TX_ON, but rejects it: {error}"
    last = 0
    for number, message in enumerate(EVENTS):
        for each in (
            over_ethernet(traffic.ends_back, message, number),
            over_udp(traffic.ends_back, message, number, 4),
            over_udp(traffic.ends_back, message, number, 6),
        ):
            with step(
                f"Send {each.name}: its timestamp is between the clock's times before and after, and later than the previous one"
            ):
                before = clock.read().time
                stamp = stamping.send(each.frame)
                after = clock.read().time
                assert stamp is not None, f"no timestamp of {each.name}"
                evidence(
                    f"{each.name}: nanoseconds from the first reading to the timestamp, and to the second reading",
                    [stamp - before, after - before],
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
def test_filter_none(rx_stamping, tx_type, filters, traffic, step):
    """With HWTSTAMP_FILTER_NONE, the driver timestamps no received frame."""
    name = filters[-1]
    message = next(covered(name, traffic.ends))
    with step(f"Set the rx filter {name}: a received {message.name} has a timestamp"):
        assert rx_stamping.try_set_filter(sent=tx_type, received=name) is None
        assert rx_stamping.receive(message.frame) is not None
    with step("Set the rx filter none: the same message has no timestamp"):
        assert rx_stamping.try_set_filter(sent=tx_type, received=NONE) is None
        assert rx_stamping.now()[1] == NONE
        assert rx_stamping.receive(message.frame) is None


@requirement(
    "OFFLOAD-STAMP-04",
    level="MUST",
    source=f"{STAMPS}, SIOCGHWTSTAMP; Documentation/networking/netdevices.rst, ndo_stop and ndo_open",
    falsified_by=("rx.timestamp.missing", "device.time.stopped", "program:stamp.lost"),
)
@pytest.mark.budget(90)
def test_after_reset(rx_stamping, tx_type, clock, filters, traffic, settings, dut, step, evidence):
    """After down and up and after a change of MTU, the PHC runs, and the driver timestamps according to the rx filter that it reports."""
    name = filters[-1]
    message = next(covered(name, traffic.ends))
    for what, change in (
        ("lower the MTU", lambda: settings.set_link(mtu=dut.mtu - 100)),
        ("set the interface down and up", lambda: settings.set_link(up=False) or dut.set_link(up=True)),
    ):
        with step(f"Set the rx filter {name}, and {what}: the clock runs"):
            assert rx_stamping.try_set_filter(sent=tx_type, received=name) is None
            change()
            settings.ready()
            before = clock.read()
            reported = rx_stamping.now()[1]
            evidence(f"rx filter that the driver reports ({what})", reported)
        with step(f"A received {message.name} has a correct timestamp if the reported rx filter covers it, else none"):
            stamp = rx_stamping.receive(message.frame)
            after = clock.read()
            assert after.time > before.time, "the clock has stopped"
            if reported == NONE:
                assert stamp is None, "a timestamp, although the driver reports the rx filter none"
            else:
                assert stamp is not None, (
                    f"no timestamp of {message.name}, although the driver reports the rx filter {reported}"
                )
                assert before.time <= stamp <= after.time
