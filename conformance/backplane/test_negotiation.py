# SPDX-License-Identifier: GPL-2.0-or-later
"""Clause 73 negotiation: next pages, arbitration, remote fault, timers, restarts and lost interrupts."""

from __future__ import annotations

from itertools import pairwise

import pytest
from plugfest.link.backplane import SPEEDS, NextPage, best
from plugfest.requirements.requirement import requirement

ARBITRATION = "IEEE 802.3-2022, figure 73-11 (arbitration state diagram)"
NULL = "null"
MESSAGE = {"message": 5, "data": 0x12345}
UNFORMATTED = {"unformatted": 0x2AA}
REMOTE_FAULT, NEXT_PAGE = 13, 15
"""Bits RF and NP of a base page."""
LATE = 0.05
"""Seconds by which the link partner delays each next page; the clause has no timer that would end the wait."""
MOMENTS = ("ABILITY_DETECT", "ACKNOWLEDGE_DETECT", "COMPLETE_ACKNOWLEDGE", "AN_GOOD_CHECK")
FLAPS = 100
INHIBIT = {"10GBASE-KR": 0.510, "10GBASE-KX4": 0.050, "1000BASE-KX": 0.050}
"""Upper bound of link_fail_inhibit_timer in seconds (table 73-7), by technology."""
LOST_INTERRUPT = ("an.interrupt.lost", "link.interrupt.lost")
"""Fault points of the models that lose an interrupt of the negotiation."""
LATE_INTERRUPT = ("an.interrupt.late", "link.interrupt.late")
"""Fault points of the models that delay an interrupt of the negotiation and raise it again."""
REPEATED_INTERRUPT = ("an.interrupt.again", "link.interrupt.again")
"""Fault points of the models that send an interrupt of the negotiation again once the driver has cleared its cause."""


@requirement(
    "CL73-NP-01",
    level="MUST",
    source="IEEE 802.3-2022, 73.7.7 (next page function), 73.7.7.1 (an end sends null pages while its link partner has next pages left)",
    falsified_by=("link.speed.wrong", "program:backplane.not-set"),
)
@pytest.mark.parametrize("late", [0, LATE], ids=["prompt", "late"])
@pytest.mark.parametrize("pages", [[NULL], [MESSAGE], [MESSAGE, UNFORMATTED], [NULL, MESSAGE, UNFORMATTED]], ids=repr)
@pytest.mark.budget(60)
def test_next_pages(link_partner, hcd, restart_partner, wait_for_link, check_traffic, step, pages, late):
    """The driver exchanges all next pages that the link partner sends, even late ones; the base pages determine the link."""
    with step("The link partner restarts negotiation with next pages to send"):
        restart_partner(next_pages=pages, next_page_delay=late)
    with step("The link comes up, and frames pass in both directions"):
        wait_for_link(hcd)
        check_traffic()
    with step(
        "The driver answered each next page with one of its own: with null messages if its base page did not set NP"
    ):
        answers = [NextPage(int(page, 16)) for page in link_partner.get()["received"]["next_pages"]]
        assert len(answers) >= len(pages)
        if not link_partner.base_page_received.bit(NEXT_PAGE):
            assert [str(answer) for answer in answers if not answer.is_null] == []


@requirement(
    "CL73-NP-02",
    level="MUST",
    source="IEEE 802.3-2022, 73.7.7",
    falsified_by=("link.report.stuck", "an.complete.lost", "program:backplane.not-set"),
)
@pytest.mark.budget(90)
def test_endless_pages(link_partner, hcd, wait_for_link, check_no_link, step, wait_for_no_carrier):
    """While the link partner sends next pages without end, there is no link and no carrier; once it stops, the link comes up."""
    with step("The link partner restarts negotiation and sends next pages without end"):
        link_partner.set(misbehave={"pages.endless": True}, restart=True)
        wait_for_no_carrier()
    with step("The driver gives up and retries; there is no carrier at any time"):
        check_no_link()
    with step("The link partner sends no more next pages: the link comes up"):
        link_partner.set(misbehave={"pages.endless": False}, restart=True)
        wait_for_link(hcd)


@requirement(
    "CL73-ARB-01",
    level="MUST",
    source=ARBITRATION,
    falsified_by=("link.report.stuck", "an.complete.lost", "program:backplane.not-set"),
)
@pytest.mark.parametrize("what", ["nonce.copied", "echo.wrong", "acknowledge.lost"])
@pytest.mark.budget(90)
def test_misbehaving_partner(
    link_partner,
    hcd,
    wait_for_link,
    check_no_link,
    until,
    step,
    check_traffic,
    what,
    capped_timeout,
    wait_for_no_carrier,
):
    """A negotiation with a wrong nonce, echoed nonce or acknowledge from the link partner brings no link; the next correct one does."""
    with step(f"The link partner restarts negotiation with the fault {what}"):
        link_partner.set(misbehave={what: True}, restart=True)
        wait_for_no_carrier()
        until(
            lambda: link_partner.get()["misbehaviour"][what]["fired"],
            what=f"the fault {what} has fired",
            timeout=capped_timeout(12),
        )
    with step("The driver retries; there is no link and no carrier at any time"):
        check_no_link()
    with step("The link partner negotiates correctly: the link comes up, and frames pass in both directions"):
        link_partner.set(misbehave={what: False}, restart=True)
        wait_for_link(hcd)
        check_traffic()


@requirement(
    "CL73-ARB-04",
    level="MUST",
    source=f"{ARBITRATION}, link_fail_inhibit_timer; 73.10.2",
    falsified_by=("tx.frame.dropped", "an.complete.lost", "program:backplane.not-set"),
)
@pytest.mark.parametrize("technology", sorted(SPEEDS))
@pytest.mark.budget(90)
def test_no_signal(
    link_partner,
    local_modes,
    wait_for_link,
    check_no_link,
    until,
    step,
    skip_unsupported,
    check_traffic,
    evidence,
    technology,
    capped_timeout,
    wait_for_no_carrier,
):
    """If the link partner sends no signal after the negotiation, the driver reports no carrier and negotiates again.

    The link partner still receives the driver's signal, so it may have a link until the driver gives up.
    """
    what = "carrier.absent"
    if technology not in local_modes.values():
        skip_unsupported(technology, evidence={"advertised": sorted(local_modes)})
    with step(f"The link partner offers {technology} alone, and transmits nothing once negotiation is complete"):
        link_partner.set(abilities={"technologies": [technology]}, misbehave={what: True}, restart=True)
        wait_for_no_carrier()
        until(
            lambda: link_partner.get()["misbehaviour"][what]["fired"],
            what="the link partner is silent",
            timeout=capped_timeout(12),
        )
    with step("The driver gives up and negotiates again; there is no carrier at any time"):
        attempts = check_no_link(one_way=True, must_retry=True)
        evidence("negotiations that the driver started", attempts)
        assert attempts > 0
    with step("The link partner transmits: the link comes up, and frames pass in both directions"):
        link_partner.set(misbehave={what: False}, restart=True)
        wait_for_link(technology)
        check_traffic()


@requirement(
    "CL73-ARB-02",
    level="MUST",
    source=f"{ARBITRATION}; 73.7.2",
    falsified_by=("link.speed.wrong", "program:backplane.not-set"),
)
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.budget(60)
def test_restart_during_negotiation(link_partner, hcd, wait_for_link, until, step, moment, capped_timeout):
    """If the link partner restarts in the middle of a negotiation, the driver restarts too, and the link comes up."""
    before = link_partner.negotiations
    with step(f"The link partner restarts negotiation, and restarts it again in state {moment}"):
        link_partner.set(script=[{"restart": True}, {"at": moment, "restart": True}])
        until(
            lambda: link_partner.negotiations >= before + 2,
            what="the link partner has restarted twice",
            timeout=capped_timeout(5),
        )
    with step("The link comes up"):
        wait_for_link(hcd)


@requirement(
    "CL73-ARB-03",
    level="MUST",
    source=f"{ARBITRATION}; 73.10.1 (timers)",
    falsified_by=("link.speed.wrong", "program:backplane.not-set"),
)
@pytest.mark.budget(60)
def test_late_partner(hcd, restart_partner, wait_for_link, step):
    """The link comes up with a link partner whose every signal arrives 20 ms late."""
    with step("The link partner delays all its signals by 20 ms, and restarts negotiation"):
        restart_partner(latency=0.02)
    with step("The link comes up"):
        wait_for_link(hcd)


@requirement(
    "CL73-RF-01",
    level="MUST",
    source="IEEE 802.3-2022, 73.6.7 (remote fault), 45.2.7.2",
    falsified_by=("link.speed.wrong", "program:backplane.not-set"),
)
@pytest.mark.budget(60)
def test_remote_fault(
    link_partner, hcd, wait_for_link, wait_for_agreement, until, check_traffic, step, evidence, capped_timeout
):
    """While the link partner signals a remote fault, both ends report the same link state; when it clears the fault, the link comes up.

    The clause leaves open whether there is a link during a remote fault; a link that is up must carry frames. The driver has no fault
    of its own to signal.
    """
    technologies = link_partner.abilities["technologies"]
    with step("The link partner sets the remote fault bit in its base page"):
        before = link_partner.negotiations
        link_partner.offer(*technologies, remote_fault=True)
        until(
            lambda: link_partner.negotiations > before and link_partner.base_page_received is not None,
            what="the driver has answered",
            timeout=capped_timeout(12),
        )
        assert link_partner.get()["abilities"]["remote_fault"]
    with step(
        "The driver's page has no remote fault; both ends have a link and frames pass in both directions, or neither has one"
    ):
        found = wait_for_agreement()
        evidence("link during the remote fault", str(found))
        assert found in (hcd, None)
        assert not link_partner.base_page_seen.bit(REMOTE_FAULT)
        if found is not None:
            check_traffic()
    with step("The link partner clears the remote fault: the link comes up, and frames pass in both directions"):
        link_partner.offer(*technologies)
        wait_for_link(hcd)
        check_traffic()


@requirement(
    "CL73-FLAP-01",
    level="MUST",
    source="Documentation/networking/operstates.rst",
    falsified_by=("link.speed.wrong", "program:backplane.not-set", "program:qapi.memory-lost"),
)
@pytest.mark.budget(150)
def test_flap_storm(
    link_partner, hcd, wait_for_link, dut, guest, until, defer, check_traffic, leak_check, traffic, step, evidence
):
    """After a hundred losses of the link partner's signal of a few milliseconds each, the link is as before and no memory has leaked."""
    half = FLAPS // 2

    def check_link():
        check_traffic()
        traffic.discard()  # datagrams still queued in the sockets are not a leak

    def flap():
        with step(f"The link partner flaps {half} times"):
            last = link_partner.negotiations
            link_partner.set(flap={"times": half, "down": 0.005, "up": 0.02})
            until(
                lambda: link_partner.negotiations > last and not link_partner.get()["flapping"],
                what="the link partner has flapped",
                timeout=20,
            )
        with step("The link comes up, and frames pass in both directions"):
            wait_for_link(hcd, steady=True)
            check_link()

    check_link()
    before, started = dut.link(), link_partner.negotiations
    monitor = guest.agent.call("link.monitor_open")
    defer(guest.agent.call, "handle.close", handle=monitor)
    readings = leak_check.rounds(flap, half)
    # A driver that polls need not see each loss.
    with step("carrier_down_count rose as much as carrier_up_count: by at least 1, and at most by 1 per negotiation"):
        now, negotiations = dut.link(), link_partner.negotiations - started
        names = ("carrier-up-count", "carrier-down-count", "carrier-changes")
        ups, downs, changes = (now[name] - before[name] for name in names)
        reported = guest.agent.call("link.monitor_read", monitor=monitor, ifname=dut.ifname)
        lost = losses([each["carrier"] for each in reported])
        evidence(
            "carrier losses",
            {
                "carrier_down_count": downs,
                "netlink notifications": lost,
                "the link partner's negotiations": negotiations,
            },
        )
        assert (ups, changes) == (downs, ups + downs)
        assert 1 <= downs <= negotiations
    with step("Netlink notified user space of the loss, and no more often than it was counted"):
        assert 1 <= lost <= downs
        assert reported[-1]["carrier"]
    with step("No kernel allocation grew by the number of flaps in each round"):
        grown = leak_check.grown(readings, half)
        assert not grown, "; ".join(grown)


def losses(carriers):
    """Return how many carrier losses a sequence of notified carrier states has; the carrier was on before it."""
    return sum(then and not now for then, now in pairwise([True, *carriers]))


def printable(entry):
    """Return an entry of the link partner's record as a line of text."""
    return " ".join(str(value) for name, value in entry.items() if name not in ("sequence", "time"))


def outcomes(entries):
    """Return the times at which negotiations came to their last state, and those at which the link came up, by the partner's record."""
    checks = [each["time"] for each in entries if each.get("state") == "AN_GOOD_CHECK"]
    return checks, [each["time"] for each in entries if each["event"] == "link up"]


@requirement(
    "CL73-TIME-01",
    level="MUST",
    source="IEEE 802.3-2022, 73.10.2 (link_fail_inhibit_timer: 500 to 510 ms of 10GBASE-KR, 40 to 50 ms without training)",
    falsified_by=(
        "tx.frame.dropped",
        "link.speed.wrong",
        "an.training.ignored",
        "an.page.late",
        "program:backplane.not-set",
    ),
)
@pytest.mark.budget(60)
@pytest.mark.parametrize("technology", sorted(SPEEDS))
def test_link_fail_inhibit(
    link_partner,
    local_modes,
    wait_for_link,
    step,
    skip_unsupported,
    check_traffic,
    evidence,
    technology,
    settings,
    wait_for_no_carrier,
    wait_for_outcome,
    undisturbed,
):
    """If both ends are ready, the first negotiation brings the link up, within link_fail_inhibit_timer of the end of the page exchange.

    If the HCD is not the highest technology of the port, the driver may need a second negotiation, after it has changed its mode.
    """
    if technology not in local_modes.values():
        skip_unsupported(technology, evidence={"advertised": sorted(local_modes)})
    highest = best(local_modes.values(), SPEEDS)

    allowed = 1 if technology == highest else 2
    before = None

    def negotiate(timed):
        nonlocal before
        with step("There is a link, also after an attempt that did not count"):
            settings.ready()
        with step(f"The link partner is set to offer {technology} alone, and is silent until the carrier is off"):
            link_partner.set(up=False, abilities={"technologies": [technology]})
            wait_for_no_carrier()
            before = link_partner.record()[-1]["sequence"]
        with step("The link partner transmits, and both ends negotiate"), timed():
            link_partner.set(up=True)
            entries = wait_for_outcome(before, negotiations=allowed)
        with step("The first negotiation in which each end received the other's pages brought the link up, in time"):
            evidence(
                "record of the link partner",
                [
                    f"{each['time'] - entries[0]['time']:.4f} {printable(each)}"
                    for each in entries
                    if each["event"] != "training"
                ],
            )
            checks, links = outcomes(entries)
            evidence("negotiations", len(checks))
            assert links
            assert len(checks) <= allowed
            duration = links[-1] - checks[-1]
            evidence("seconds from AN_GOOD_CHECK to the link", round(duration, 4))
            assert duration < INHIBIT[technology]

    undisturbed(negotiate)
    with step("The link comes up, and frames pass in both directions"):
        wait_for_link(technology)
        check_traffic()
    with step("It needed no further negotiation"):
        checks, links = outcomes(link_partner.record(before))
        assert len(checks) <= allowed
        assert len(links) <= allowed


@requirement(
    "CL73-RESTART-01",
    level="MUST",
    source="Documentation/networking/ethtool-netlink.rst; ethtool(8), -r; IEEE 802.3-2022, 45.2.7.1 (7.0.9)",
    falsified_by=("tx.frame.dropped", "program:backplane.not-set"),
)
@pytest.mark.budget(60)
def test_restart_on_request(
    dut, link_partner, hcd, restart_partner, wait_for_link, until, skip_unsupported, check_traffic, step, capped_timeout
):
    """`ethtool -r` starts a new negotiation, which brings up the same link."""
    with step("Bring the link up, and restart autonegotiation by `ethtool -r`"):
        restart_partner(latency=0.001)
        wait_for_link(hcd)
        before = link_partner.negotiations
        link_partner.mark()
        error = dut.try_restart_autoneg()
        if error is not None:
            skip_unsupported("a restart of autonegotiation", evidence=f"ethtool -r: {error}")
    with step("The driver negotiates again: the link comes up, and frames pass in both directions"):
        until(lambda: link_partner.negotiations > before, what="the driver negotiates", timeout=capped_timeout(5))
        wait_for_link(hcd)
        check_traffic()


class InterruptFault:
    """One of the device's fault points of interrupts.

    Attributes:
        name: of the fault point.
    """

    def __init__(self, name, model, until, timeout):
        self.name = name
        self._model = model
        self._until = until
        self._timeout = timeout
        self._before = 0

    def _count(self):
        return self._model.call("faults.fired", name=self.name)[self.name]

    def arm(self, *, times):
        """Have the fault fire so many times; each time if None."""
        self._before = self._count()
        self._model.call("faults.arm", name=self.name, times=times)

    def disarm(self):
        """Have it fire no more. Idempotent."""
        self._model.call("faults.disarm", name=self.name)

    def fired(self):
        """Wait until it has fired since it was armed; returns how often it has."""
        return self._until(
            lambda: self._count() - self._before, what=f"the fault {self.name} has fired", timeout=self._timeout
        )


@pytest.fixture
def interrupt_fault(model, defer, until, capped_timeout, skip_unsupported):
    """``fault = interrupt_fault(LOST_INTERRUPT)``: the one of these fault points that the device has; skips if it has none."""

    def find(faults):
        names = [each["name"] for each in model.call("faults.list")]
        name = next((name for name in faults if name in names), None)
        if name is None:
            skip_unsupported("interrupts of the negotiation", evidence=names)
        fault = InterruptFault(name, model, until, capped_timeout(12))
        defer(fault.disarm)
        return fault

    return find


@requirement(
    "CL73-IRQ-01",
    level="MUST",
    source="Documentation/networking/operstates.rst; IEEE 802.3-2022, 45.2.7.2 (status bits stay latched until they are read)",
    falsified_by=("link.speed.wrong", "tx.frame.dropped"),
)
@pytest.mark.budget(90)
def test_interrupt_lost(link_partner, hcd, interrupt_fault, wait_for_link, check_traffic, step):
    """If an interrupt of the negotiation is lost, the driver brings the link up nevertheless, by a timer of its own."""
    fault = interrupt_fault(LOST_INTERRUPT)
    with step("The link partner restarts negotiation, and the device loses one interrupt"):
        fault.arm(times=1)
        link_partner.set(restart=True)
        fault.fired()
    with step("The link comes up, and frames pass in both directions"):
        wait_for_link(hcd, steady=True)
        check_traffic()


@pytest.fixture
def negotiations_under(link_partner, settings, wait_for_no_carrier, wait_for_outcome, undisturbed):
    """``negotiations_under(fault, times=1)`` has the ends negotiate while interrupts have a fault.

    The link partner is silent until the carrier is off. The first negotiation in which each end receives the other's pages must bring the
    link up. Returns a function that returns how many negotiations have come so far since then, and how many of them brought the link up.
    """

    def begin(fault, times):
        before = None

        def negotiate(timed):
            nonlocal before
            # An attempt that did not count has left the fault armed.
            fault.disarm()
            settings.ready()
            link_partner.set(up=False)
            wait_for_no_carrier()
            before = link_partner.record()[-1]["sequence"]
            fault.arm(times=times)
            with timed():
                link_partner.set(up=True)
                wait_for_outcome(before)
            fault.fired()
            assert counted() == (1, 1)

        def counted():
            return tuple(map(len, outcomes(link_partner.record(before))))

        undisturbed(negotiate)
        return counted

    return begin


@requirement(
    "CL73-IRQ-02",
    level="MUST",
    source="IEEE 802.3-2022, 45.2.7.2 (status bits stay latched until they are read), 73.10.2 (link_fail_inhibit_timer)",
    falsified_by=("an.reissue.lost", "link.speed.wrong", "tx.frame.dropped", "program:backplane.not-set"),
)
@pytest.mark.parametrize("times", [1, None], ids=["one", "each"])
@pytest.mark.budget(90)
def test_interrupt_late(hcd, interrupt_fault, negotiations_under, wait_for_link, check_traffic, step, evidence, times):
    """If an interrupt of the negotiation is late, the first negotiation still brings the link up.

    The device raises one interrupt, or each, 50 ms late, while its cause still stands.
    """
    fault = interrupt_fault(LATE_INTERRUPT)
    with step(
        "The link partner transmits, and the device delays one interrupt, or each: the first negotiation brings the link up"
    ):
        negotiations = negotiations_under(fault, times)
    with step("The link comes up, and frames pass in both directions"):
        wait_for_link(hcd, steady=True)
        check_traffic()
    with step("It needed no further negotiation"):
        evidence("interrupts delayed", fault.fired())
        assert negotiations() == (1, 1)


@requirement(
    "CL73-IRQ-03",
    level="MUST",
    source="IEEE 802.3-2022, 45.2.7.2 (status bits stay latched until they are read), 73.10.2 (link_fail_inhibit_timer)",
    falsified_by=("an.complete.lost", "link.speed.wrong", "tx.frame.dropped", "program:backplane.not-set"),
)
@pytest.mark.parametrize("times", [1, None], ids=["one", "each"])
@pytest.mark.budget(90)
def test_interrupt_again(hcd, interrupt_fault, negotiations_under, wait_for_link, check_traffic, step, evidence, times):
    """If an interrupt of the negotiation comes again, without a cause, the first negotiation still brings the link up.

    It comes as soon as the driver has cleared the cause: what the driver has read by then, and not yet acted on, must not be lost.
    """
    fault = interrupt_fault(REPEATED_INTERRUPT)
    with step(
        "The link partner transmits, and the device sends one interrupt again, or each: the first negotiation brings the link up"
    ):
        negotiations = negotiations_under(fault, times)
    with step("The link comes up, and frames pass in both directions"):
        wait_for_link(hcd, steady=True)
        check_traffic()
    with step("It needed no further negotiation"):
        evidence("interrupts repeated", fault.fired())
        assert negotiations() == (1, 1)
