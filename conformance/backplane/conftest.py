# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures of the backplane tests: a DUT that autonegotiates, and a link partner that the test controls."""

from __future__ import annotations

import pytest
from plugfest.deadline import Deadline
from plugfest.deadline import undisturbed as retry_undisturbed
from plugfest.link.backplane import MODES, SPEEDS, best
from plugfest.link.partner import Attempts, LinkPartner, UnreportedLinks, has_ended
from plugfest.machine.interface import RUNNING
from plugfest.machine.stillness import STEADY, Stillness

LINK_TIMEOUT = 12.0
"""Seconds on a guest of speed 1 for the link to settle; a driver that runs the page exchange itself may use a timer of 5 s."""
MAX_TIMEOUT = 60.0
"""Upper bound in seconds of wall time, on any guest: timers of drivers and of the clause do not scale with the guest's speed."""
MIN_ATTEMPTS = 2
"""Negotiations that the driver must start before the test is sure that it does not get a link."""
DISTURBED = 0.1
"""Share of the time in which timers of the clause run that the host may lose in an attempt that counts."""
LONGEST_TIMER = 5.0
"""Seconds of wall time: the longest timer of the known drivers after which they look at the link, or negotiate, again."""
IDLE_TIME = LONGEST_TIMER + 1.0
"""Seconds of wall time after which a driver that has not looked at the link has given up."""
WATCH_TIME = 2 * LONGEST_TIMER + 2.0
"""Seconds of wall time to watch a driver that does not retry."""
UNREPORTED_LINKS = 3
"""Links that the link partner gets, and loses again, without a report by the driver, until the test is sure that it will report none."""


@pytest.fixture
def link_partner(guest, model, dut, defer, settings, skip_unsupported):
    """The link partner of a backplane port; skips if the driver does not support backplane autonegotiation."""
    modes = dut.link_modes()
    if modes is None or "Autoneg" not in modes.supported or not MODES.keys() & modes.supported:
        skip_unsupported("backplane autonegotiation (Clause 73)", evidence={"link modes": modes})
    if "negotiations" not in model.call("link.get"):
        skip_unsupported("a link partner that negotiates", evidence={"link.get": model.call("link.get")})
    settings.ready()
    defer(settings.ready)
    return LinkPartner(guest, dut, defer=defer)


@pytest.fixture
def local_modes(dut, link_partner):  # noqa: ARG001 - skips where there is no backplane
    """The Clause 73 technologies that the driver advertises: ethtool link mode to IEEE name."""
    return {mode: name for mode, name in MODES.items() if mode in dut.link_modes().advertised}


@pytest.fixture
def has_multiple_technologies(local_modes, skip_unsupported):
    """Skips if the port has a single technology."""
    if len(local_modes) < 2:
        skip_unsupported("more than one technology", evidence={"advertised": sorted(local_modes)})


@pytest.fixture
def has_kr(local_modes, skip_unsupported):
    """Skips if the port has no 10GBASE-KR."""
    if "10GBASE-KR" not in local_modes.values():
        skip_unsupported("10GBASE-KR", evidence={"advertised": sorted(local_modes)})


@pytest.fixture
def hcd(link_partner, local_modes):
    """The highest common denominator of what the driver advertises and what the link partner offers by default."""
    return best(local_modes.values(), link_partner.abilities["technologies"])


@pytest.fixture
def lp_advertised(dut, link_partner, skip_unsupported):
    """``lp_advertised()``: the link partner's advertised modes as the driver reports them.

    Skips if the driver reports none although the link is up.
    """
    found = dut.link_modes()
    if not found.peer and link_partner.technology is not None:
        skip_unsupported("the link partner's advertised modes", evidence={"ETHTOOL_A_LINKMODES_PEER": found})
    return lambda: dut.link_modes().peer


@pytest.fixture
def restart_partner(link_partner, until, capped_timeout):
    """``restart_partner(latency=0.02)`` changes the link partner, restarts its negotiation, and waits until it has restarted."""

    def restart(**change):
        before = link_partner.negotiations
        link_partner.set(**change, restart=True)
        until(
            lambda: link_partner.negotiations > before,
            what="the link partner restarts negotiation",
            timeout=capped_timeout(2),
        )

    return restart


@pytest.fixture
def capped_timeout(guest):
    """``capped_timeout(12)``: a timeout for `until`, seconds on a guest of speed 1, at most `MAX_TIMEOUT` of wall time on a slow guest."""
    return lambda seconds: min(seconds, MAX_TIMEOUT * min(1.0, guest.speed))


@pytest.fixture
def undisturbed(guest, evidence):
    """``undisturbed(negotiate)`` calls what is judged by timers of the clause, which run on wall time.

    A driver that waits for a core of a busy host misses such a timer without a fault of its own: see `plugfest.deadline.undisturbed`.
    ``negotiate(timed)`` does within ``with timed():`` what the timers judge, and nothing else.
    """
    return lambda negotiate: retry_undisturbed(
        negotiate,
        lost=guest.lost,
        allowance=DISTURBED,
        note=lambda why: evidence("an attempt that does not count", why),
    )


@pytest.fixture
def wait_for_outcome(link_partner, until, capped_timeout):
    """``entries = wait_for_outcome(before, negotiations=1)`` waits for a link, or for so many negotiations to end without one.

    Returns the link partner's record of them, from after the entry ``before`` on.
    """

    def wait(before, *, negotiations=1):
        def ended():
            entries = link_partner.record(before)
            return entries if has_ended(entries, negotiations=negotiations) else None

        return until(ended, what="the negotiation ends, with a link or without", timeout=capped_timeout(LINK_TIMEOUT))

    return wait


@pytest.fixture
def wait_for_no_carrier(dut, until, capped_timeout):
    """``wait_for_no_carrier()`` waits until the driver reports that the link is down."""
    return lambda: until(
        lambda: not dut.link_when(carrier=False)["carrier"], what="the carrier is off", timeout=capped_timeout(5)
    )


@pytest.fixture
def wait_for_link(guest, dut, link_partner, until, capped_timeout):
    """``wait_for_link("10GBASE-KR")`` waits until both ends have that link and the driver reports it, stably.

    A driver that polls may still report the previous link. So the link counts only once the carrier has been off since the link
    partner was last changed, or once it stays (`Stillness`). With ``steady=True`` only the latter counts. A link of another technology
    that stays for `WATCH_TIME` fails at once: the driver has settled for it. So do `UNREPORTED_LINKS` that each stayed long enough for
    a driver that polls: the next one would go unreported, too.
    """

    def wait(technology, *, steady=False):
        unreported = UnreportedLinks(link_partner, technology=technology, seconds=STEADY)
        stillness, other = Stillness(lambda: link_partner.looked, lost=guest.lost), None
        what = f"both ends have a {technology} link"

        def check_other(found, negotiations):
            nonlocal other
            if other is None or (found, negotiations) != other[:2]:
                other = (found, negotiations, Deadline.after(WATCH_TIME, lost=guest.lost))
            assert found is None or not other[2].passed, (
                f"expected that {what}; they have had a {found} link for {WATCH_TIME:.0f} s, without another negotiation"
            )

        def check_reported(link):
            if link["carrier"]:
                unreported.reported()
            assert unreported.update() < UNREPORTED_LINKS, (
                f"expected that {what}; the link partner had one {UNREPORTED_LINKS} times, and the driver reported none"
            )

        def is_up():
            found, negotiations = link_partner.technology, link_partner.negotiations
            if found != technology:
                stillness.disturbed()
                check_other(found, negotiations)
                return False
            link = dut.link_when(carrier=True, operstates=RUNNING)
            check_reported(link)
            if not link["carrier"] or link["operstate"] not in RUNNING or dut.link_modes().speed != SPEEDS[technology]:
                stillness.disturbed()
                return False
            if link_partner.renewed(link) and not steady:
                return link_partner.technology == technology
            return stillness.stays((link["carrier-down-count"], negotiations, link_partner.technology))

        until(is_up, what=what, timeout=capped_timeout(LINK_TIMEOUT))

    return wait


@pytest.fixture
def check_no_link(guest, dut, link_partner, until, wait_for_no_carrier, capped_timeout):
    """``check_no_link()`` watches the driver retry and expects no link and no carrier at any time.

    A driver that has not looked at the link for `IDLE_TIME` has given up: it is watched no longer, unless it must retry.

    ``check_no_link("10GBASE-KR")`` expects no link of that technology; others are allowed. ``check_no_link(one_way=True)`` expects no
    carrier; the link partner, which receives the driver's signal, may have a link. Returns how many negotiations the driver started:
    with ``must_retry=True`` it is given all of `WATCH_TIME` for them, even if it does nothing meanwhile.
    """

    def check(technology=None, *, one_way=False, must_retry=False):
        if technology is None:
            wait_for_no_carrier()
            if not one_way and not link_partner.abilities.get("negotiates", True):
                # It has a link for as long as the driver transmits as on the link before.
                def lost():
                    assert not dut.carrier
                    return link_partner.technology is None

                until(lost, what="the link partner has lost its link", timeout=capped_timeout(5))
        attempts, watched = Attempts(link_partner), Deadline.after(WATCH_TIME, lost=guest.lost)
        looks, idle = None, None

        def gave_up():
            nonlocal looks, idle
            now = link_partner.looks
            if idle is None or now != looks:
                looks, idle = now, Deadline.after(IDLE_TIME, lost=guest.lost)
            return now is not None and not must_retry and idle.passed

        def is_done():
            found = link_partner.technology
            if technology:
                assert found != technology
            else:
                assert (dut.carrier, None if one_way else found) == (False, None)
            return attempts.update() >= MIN_ATTEMPTS or gave_up() or watched.passed

        until(
            is_done,
            what=f"the driver has retried or given up, or {WATCH_TIME:.0f} s have passed",
            timeout=2 * WATCH_TIME,
        )
        return attempts.count

    return check


@pytest.fixture
def wait_for_agreement(guest, dut, link_partner, until, capped_timeout):
    """``wait_for_agreement()`` waits until both ends report the same link, and it stays; returns its technology, None if it is down."""

    def wait():
        stillness, found = Stillness(lambda: link_partner.looked, lost=guest.lost), None

        def is_same():
            nonlocal found
            link, reported, technology = dut.link(), dut.link_modes(), link_partner.technology
            if reported.speed != SPEEDS.get(technology) or bool(link["carrier"]) != bool(technology):
                stillness.disturbed()
            found = technology
            return stillness.stays((link["carrier-changes"], technology, reported.speed))

        until(is_same, what="both ends report the same link", timeout=capped_timeout(LINK_TIMEOUT))
        return found

    return wait


@pytest.fixture
def restore_advertisement(dut, settings, defer):
    """``restore_advertisement()`` defers the undo: autonegotiation on, advertising what the driver advertised before the test.

    The verdict is ``error`` if the driver rejects that or does not do it.
    """
    before = dut.link_modes()
    registered = False

    def restore():
        dut.set("linkmodes", autoneg=True, advertised=sorted(before.advertised))
        now = dut.link_modes()
        assert (now.advertised, now.autonegotiation) == (before.advertised, True), (
            f"advertised before the test: {sorted(before.advertised)}; after the undo: {sorted(now.advertised)}"
        )

    def register():
        nonlocal registered
        if not registered:
            registered = True
            defer(restore)

    defer(settings.ready)
    return register


@pytest.fixture
def try_advertise(dut, link_partner, restore_advertisement, until, capped_timeout, evidence):
    """``try_advertise({"10000baseKR/Full"})`` changes which of ``MODES`` the driver advertises; returns the error or None.

    Other modes stay as they are; ``other={"10000baseR_FEC": False}`` removes or adds modes that are not technologies. Waits until
    the link partner has received the new page. An error must leave the settings as they were.
    """
    before = dut.link_modes()

    def change(modes, *, other=None):
        technologies = {MODES[mode] for mode in modes}
        wanted = set(modes) | {mode for mode in before.advertised if mode not in MODES}
        for mode, on in (other or {}).items():
            (wanted.add if on else wanted.discard)(mode)
        negotiations = link_partner.negotiations
        link_partner.mark()
        error = dut.try_set("linkmodes", autoneg=True, advertised=sorted(wanted))
        if error is not None:
            now = dut.link_modes()
            assert (now.advertised, now.autonegotiation) == (before.advertised, before.autonegotiation)
            evidence(f"ethtool -s advertise {', '.join(sorted(wanted))}", str(error))
            return error
        restore_advertisement()
        until(
            lambda: link_partner.negotiations > negotiations,
            what="the driver renegotiates",
            timeout=capped_timeout(5),
        )
        until(
            lambda: (page := link_partner.base_page_seen) is not None and page.technologies == technologies,
            what=f"the link partner receives a base page with {', '.join(sorted(technologies))} alone",
            timeout=capped_timeout(5),
        )
        return None

    return change


@pytest.fixture
def advertise(try_advertise, skip_unsupported):
    """``advertise({"10000baseKR/Full"})``: as `try_advertise`, but skips if the driver rejects the change."""

    def change_or_skip(modes):
        error = try_advertise(modes)
        if error is not None:
            skip_unsupported(
                "changing the advertised modes", evidence=f"ethtool -s advertise {', '.join(sorted(modes))}: {error}"
            )

    return change_or_skip
