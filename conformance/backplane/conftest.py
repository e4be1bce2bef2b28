# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of backplane negotiation share: a DUT that negotiates, and a link partner that can be told anything."""

from __future__ import annotations

import time

import pytest
from plugfest.deadline import Deadline
from plugfest.dut.settings import STEADY
from plugfest.link.backplane import MODES, SPEEDS, best
from plugfest.link.partner import Attempts, LinkPartner

CONVERGED = 12.0
"""Seconds, on a guest of speed 1, in which a driver that runs the exchange itself has come to a link: its own patience may be 5 s."""
LONGEST = 60.0
"""Seconds, on any guest, that a link or its loss is waited for: timers of drivers and of the clause do not stretch with the guest."""
ATTEMPTS = 2
WATCHED = 12.0
"""Seconds, on any guest, that an absence is watched where the driver does not try again: twice the longest known patience, 5 s."""


@pytest.fixture
def link_partner(guest, model, dut, defer, settings, skip_unsupported):
    """The link partner of a backplane port; skips where the driver claims none."""
    modes = dut.link_modes()
    if modes is None or "Autoneg" not in modes.supported or not MODES.keys() & modes.supported:
        skip_unsupported("negotiation on a backplane (clause 73)", evidence={"link modes": modes})
    if "negotiations" not in model.call("link.get"):
        skip_unsupported("a link partner that negotiates", evidence={"link.get": model.call("link.get")})
    settings.ready()
    defer(settings.ready)
    return LinkPartner(guest, dut, defer=defer)


@pytest.fixture
def local(dut, link_partner):  # noqa: ARG001 - skips where there is no backplane
    """The clause's technologies that the driver advertises, by ethtool's names."""
    return {mode: name for mode, name in MODES.items() if mode in dut.link_modes().advertised}


@pytest.fixture
def several(local, skip_unsupported):
    """Skips where the port has a single technology."""
    if len(local) < 2:
        skip_unsupported("several technologies", evidence={"advertised": sorted(local)})


@pytest.fixture
def kr(local, skip_unsupported):
    """Skips where the port has no 10GBASE-KR."""
    if "10GBASE-KR" not in local.values():
        skip_unsupported("10GBASE-KR", evidence={"advertised": sorted(local)})


@pytest.fixture
def highest(link_partner, local):
    """What the ends come to when nothing is in the way."""
    return best(local.values(), link_partner.abilities["technologies"])


@pytest.fixture
def peer_modes(dut, link_partner, skip_unsupported):
    """``peer_modes()``: what the driver tells of the partner; skips where it tells nothing of a partner that has much to tell."""
    found = dut.link_modes()
    if not found.peer and link_partner.technology is not None:
        skip_unsupported("to tell what the partner advertises", evidence={"ETHTOOL_A_LINKMODES_PEER": found})
    return lambda: dut.link_modes().peer


@pytest.fixture
def start_over(link_partner, until, patience):
    """``start_over(latency=0.02)`` tells the partner that, and to start over; waits until it does."""

    def tell(**change):
        before = link_partner.negotiations
        link_partner.set(**change, restart=True)
        until(lambda: link_partner.negotiations > before, what="the partner starts over", timeout=patience(2))

    return tell


@pytest.fixture
def patience(guest):
    """``patience(12)``: so many seconds on a guest of speed 1, as `until` takes them, but no more than `LONGEST` on a slow one."""
    return lambda seconds: min(seconds, LONGEST * min(1.0, guest.speed))


@pytest.fixture
def linked(dut, link_partner, until, patience):
    """``linked("10GBASE-KR")`` waits until both ends have that link, the driver says so, and it is there to stay.

    ``linked(None)`` waits until none has. There to stay is a carrier of which the driver cannot still find out that the link below it
    has been renewed: it has been off since the partner was told something, or on, over one negotiation, for long enough. ``linked(…,
    steady=True)`` takes only the latter.
    """

    def wait(technology, *, steady=False):
        since, before = time.monotonic(), None

        def there():
            nonlocal since, before
            link, told = dut.link(), dut.link_modes()
            if technology is None:
                return link_partner.technology is None and not link["carrier"] and told.speed is None
            now = (
                link["carrier-down-count"],
                link_partner.negotiations,
                link_partner.technology,
                bool(link["carrier"]),
                told.speed,
            )
            if now != before:
                since, before = time.monotonic(), now
            if now[2:] != (technology, True, SPEEDS[technology]) or link["operstate"] not in ("up", "unknown"):
                return False
            return (link_partner.renewed(link) and not steady) or time.monotonic() - since > STEADY

        until(there, what=f"the link is {technology or 'down'} to both ends", timeout=patience(CONVERGED))

    return wait


@pytest.fixture
def gives_up(dut, link_partner, until, patience):
    """``gives_up()`` watches the ends try in vain, several times where the driver does: no link, and no carrier, at any time asked.

    ``gives_up("10GBASE-KR")``: no link of that, whatever other the ends may come to. ``gives_up(one_way=True)``: no carrier; the
    partner, to which the driver's signal comes, may have a link. Returns how often the driver began to negotiate.
    """

    def wait(technology=None, *, one_way=False):
        if technology is None:
            until(lambda: not dut.carrier, what="there is no carrier", timeout=patience(5))
        attempts, enough = Attempts(link_partner), Deadline.after(WATCHED)

        def tried():
            found = link_partner.technology
            if technology:
                assert found != technology
            else:
                assert (dut.carrier, None if one_way else found) == (False, None)
            return attempts.update() >= ATTEMPTS or enough.passed

        until(tried, what="the driver has tried again, or been watched for long enough", timeout=2 * WATCHED)
        return attempts.count

    return wait


@pytest.fixture
def agreed(dut, link_partner, until, patience):
    """``agreed()`` waits until both ends say the same of the link, and have for `STEADY`; returns its technology, None without one."""

    def wait():
        since, before = time.monotonic(), None

        def same():
            nonlocal since, before
            link, told, technology = dut.link(), dut.link_modes(), link_partner.technology
            now = (link["carrier-changes"], technology, told.speed)
            if now != before or told.speed != SPEEDS.get(technology) or bool(link["carrier"]) != bool(technology):
                since, before = time.monotonic(), now
            return time.monotonic() - since > STEADY

        until(same, what="both ends say the same of the link", timeout=patience(CONVERGED))
        return before[1]

    return wait


@pytest.fixture
def negotiates_as_before(dut, settings, defer):
    """``negotiates_as_before()``: from now on the test's end has the driver advertise what it did before, and negotiate.

    The test is an error where the driver refuses that, or has not done it.
    """
    before = dut.link_modes()
    registered = False

    def put_back():
        dut.set("linkmodes", autoneg=True, advertised=sorted(before.advertised))
        now = dut.link_modes()
        assert (now.advertised, now.autonegotiation) == (before.advertised, True), (
            f"advertised before: {sorted(before.advertised)}; put back, {sorted(now.advertised)}"
        )

    def register():
        nonlocal registered
        if not registered:
            registered = True
            defer(put_back)

    defer(settings.steady)
    return register


@pytest.fixture
def advertise(dut, link_partner, negotiates_as_before, until, patience, skip_unsupported, evidence):
    """``advertise({"10000baseKR/Full"})`` has the driver advertise these of ``MODES``, all else as before: it negotiates anew.

    Skips where the driver refuses, with its words, unless ``may_refuse=True``: then it returns whether that was done.
    ``other={"10000baseR_FEC": False}`` takes modes off, or adds them, that are not technologies.
    """
    before = dut.link_modes()

    def make(modes, *, other=None, may_refuse=False):
        ours = {MODES[mode] for mode in modes}
        wanted = set(modes) | {mode for mode in before.advertised if mode not in MODES}
        for mode, on in (other or {}).items():
            (wanted.add if on else wanted.discard)(mode)
        started = link_partner.negotiations
        link_partner.mark()
        refusal = dut.try_set("linkmodes", autoneg=True, advertised=sorted(wanted))
        if refusal is not None:
            now = dut.link_modes()
            assert (now.advertised, now.autonegotiation) == (before.advertised, before.autonegotiation)
            if may_refuse:
                evidence(f"ethtool -s advertise {', '.join(sorted(wanted))}", str(refusal))
                return False
            skip_unsupported(
                "to change what is advertised", evidence=f"ethtool -s advertise {sorted(wanted)}: {refusal}"
            )
        negotiates_as_before()
        until(lambda: link_partner.negotiations > started, what="the driver negotiates anew", timeout=patience(5))
        until(
            lambda: (page := link_partner.base_page_seen) is not None and page.technologies == ours,
            what=f"the partner hears of {', '.join(sorted(ours))} alone",
            timeout=patience(5),
        )
        return True

    return make
