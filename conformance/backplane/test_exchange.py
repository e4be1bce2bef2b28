# SPDX-License-Identifier: GPL-2.0-or-later
"""The exchange of pages: partners that have more to say, that fall silent, start over, or do it wrong."""

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
"""The bits RF and NP of a base page."""
LATE = 0.05
"""Seconds that the partner takes over each of its next pages; the clause has no timer that would end the wait."""
MOMENTS = ("ABILITY_DETECT", "ACKNOWLEDGE_DETECT", "COMPLETE_ACKNOWLEDGE", "AN_GOOD_CHECK")
FLAPS = 100
INHIBIT = {"10GBASE-KR": 0.510, "10GBASE-KX4": 0.050, "1000BASE-KX": 0.050}
"""Seconds: link_fail_inhibit_timer at its longest (table 73-7), by technology."""
LOST = ("an.interrupt.lost", "link.interrupt.lost")
"""Faults of the models that lose an interrupt of the negotiation."""
WITHHELD = ("an.interrupt.late", "link.interrupt.late")
"""Faults of the models that withhold an interrupt of the negotiation, and reissue it."""


@requirement(
    "CL73-NP-01",
    level="MUST",
    source="IEEE 802.3-2022, 73.7.7 (next page function), 73.7.7.1 (null pages are sent as long as the other end has more)",
    falsified_by=("link.speed.wrong", "program:backplane.not-set"),
)
@pytest.mark.parametrize("late", [0, LATE], ids=["prompt", "late"])
@pytest.mark.parametrize("pages", [[NULL], [MESSAGE], [MESSAGE, UNFORMATTED], [NULL, MESSAGE, UNFORMATTED]], ids=repr)
@pytest.mark.budget(60)
def test_next_pages(link_partner, highest, start_over, linked, check_traffic, step, pages, late):
    """A partner that has next pages, even late ones, is heard to the end; then the ends come to what their base pages say."""
    with step("Give the partner next pages, and let it start over"):
        start_over(next_pages=pages, next_page_delay=late)
    with step("There is a link, and frames go both ways"):
        linked(highest)
        check_traffic()
    with step(
        "The driver has answered each page with one of its own: with null messages, where its base page announces none"
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
def test_endless_pages(link_partner, highest, linked, gives_up, dut, until, step, patience):
    """A partner that never ends brings no link, and no carrier; once it ends, there is a link."""
    with step("Let the partner start over, with another page after each"):
        link_partner.set(misbehave={"pages.endless": True}, restart=True)
        until(lambda: not dut.carrier, what="there is no carrier", timeout=patience(5))
    with step("The driver gives up and tries again, without a carrier at any time"):
        gives_up()
    with step("Let the partner end: there is a link"):
        link_partner.set(misbehave={"pages.endless": False}, restart=True)
        linked(highest)


@requirement(
    "CL73-ARB-01",
    level="MUST",
    source=ARBITRATION,
    falsified_by=("link.report.stuck", "an.complete.lost", "program:backplane.not-set"),
)
@pytest.mark.parametrize("what", ["nonce.copied", "echo.wrong", "acknowledge.lost"])
@pytest.mark.budget(90)
def test_wrong_exchange(link_partner, highest, linked, gives_up, dut, until, step, check_traffic, what, patience):
    """A negotiation in which the partner errs (its nonce, its echo, its acknowledge) comes to no link; the next does."""
    with step(f"Let the partner start over, with {what} until told otherwise"):
        link_partner.set(misbehave={what: True}, restart=True)
        until(lambda: not dut.carrier, what="there is no carrier", timeout=patience(5))
        until(
            lambda: link_partner.get()["misbehaviour"][what]["fired"],
            what="the partner has erred",
            timeout=patience(12),
        )
    with step("The driver tries, and there is neither link nor carrier at any time"):
        gives_up()
    with step("Let it do right: there is a link, and frames go both ways"):
        link_partner.set(misbehave={what: False}, restart=True)
        linked(highest)
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
    local,
    linked,
    gives_up,
    dut,
    until,
    step,
    skip_unsupported,
    check_traffic,
    evidence,
    technology,
    patience,
):
    """A negotiation that is complete, but that no signal of the partner follows, leads to no carrier; the driver negotiates again.

    The partner has the driver's signal, so that it may have a link until the driver gives up.
    """
    what = "carrier.absent"
    if technology not in local.values():
        skip_unsupported(technology, evidence={"advertised": sorted(local)})
    with step(f"Let the partner offer {technology} alone, and transmit nothing once all is agreed"):
        link_partner.set(abilities={"technologies": [technology]}, misbehave={what: True}, restart=True)
        until(lambda: not dut.carrier, what="there is no carrier", timeout=patience(5))
        until(
            lambda: link_partner.get()["misbehaviour"][what]["fired"],
            what="the partner is silent",
            timeout=patience(12),
        )
    with step("The driver gives up and negotiates again, without a carrier at any time"):
        attempts = gives_up(one_way=True)
        evidence("negotiations that the driver began meanwhile", attempts)
        assert attempts > 0
    with step("Let the partner transmit: there is a link, and frames go both ways"):
        link_partner.set(misbehave={what: False}, restart=True)
        linked(technology)
        check_traffic()


@requirement(
    "CL73-ARB-02",
    level="MUST",
    source=f"{ARBITRATION}; 73.7.2",
    falsified_by=("link.speed.wrong", "program:backplane.not-set"),
)
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.budget(60)
def test_restart_amid(link_partner, highest, linked, until, step, moment, patience):
    """A partner that starts over in the midst of the exchange finds the driver starting over with it."""
    before = link_partner.negotiations
    with step(f"Let the partner start over, and again when it is in {moment}"):
        link_partner.set(script=[{"restart": True}, {"at": moment, "restart": True}])
        until(
            lambda: link_partner.negotiations >= before + 2,
            what="the partner has started over twice",
            timeout=patience(5),
        )
    with step("There is a link"):
        linked(highest)


@requirement(
    "CL73-ARB-03",
    level="MUST",
    source=f"{ARBITRATION}; 73.10.1 (timers)",
    falsified_by=("link.speed.wrong", "program:backplane.not-set"),
)
@pytest.mark.budget(60)
def test_late_partner(highest, start_over, linked, step):
    """A partner whose every signal is 20 ms late is waited for."""
    with step("Let the partner's signals be late, and start over"):
        start_over(latency=0.02)
    with step("There is a link"):
        linked(highest)


@requirement(
    "CL73-RF-01",
    level="MUST",
    source="IEEE 802.3-2022, 73.6.7 (remote fault), 45.2.7.2",
    falsified_by=("link.speed.wrong", "program:backplane.not-set"),
)
@pytest.mark.budget(60)
def test_remote_fault(link_partner, highest, linked, agreed, until, check_traffic, step, evidence, patience):
    """While a partner signals a remote fault, both ends say the same of the link; when it takes that back, there is one.

    Whether there is a link meanwhile the clause leaves open; one that there is carries frames. The driver has no fault to signal.
    """
    technologies = link_partner.abilities["technologies"]
    with step("Let the partner's page have the remote fault"):
        before = link_partner.negotiations
        link_partner.offer(*technologies, remote_fault=True)
        until(
            lambda: link_partner.negotiations > before and link_partner.base_page_received is not None,
            what="the driver has answered",
            timeout=patience(12),
        )
        assert link_partner.get()["abilities"]["remote_fault"]
    with step(
        "The driver's page has no remote fault; both ends have a link, of frames that go both ways, or neither has"
    ):
        found = agreed()
        evidence("the link while the partner signals a remote fault", str(found))
        assert found in (highest, None)
        assert not link_partner.base_page_seen.bit(REMOTE_FAULT)
        if found is not None:
            check_traffic()
    with step("Take it back: there is a link, and frames go both ways"):
        link_partner.offer(*technologies)
        linked(highest)
        check_traffic()


@requirement(
    "CL73-FLAP-01",
    level="MUST",
    source="Documentation/networking/operstates.rst",
    falsified_by=("link.speed.wrong", "program:backplane.not-set", "program:qapi.memory-lost"),
)
@pytest.mark.budget(150)
def test_flap_storm(
    link_partner, highest, linked, dut, guest, until, defer, check_traffic, leak_check, traffic, step, evidence
):
    """After a hundred losses of the partner's signal, of some milliseconds each, the link is as it was, and nothing has leaked."""
    readings = []

    def take_stock():
        check_traffic()
        traffic.discard()  # what waits in the sockets is no residue
        readings.append(leak_check.read())

    take_stock()
    before, started = dut.link(), link_partner.negotiations
    monitor = guest.agent.call("link.monitor_open")
    defer(guest.agent.call, "handle.close", handle=monitor)
    for _half in range(2):
        with step(f"Let the partner flap {FLAPS // 2} times"):
            last = link_partner.negotiations
            link_partner.set(flap={"times": FLAPS // 2, "down": 0.005, "up": 0.02})
            until(
                lambda last=last: link_partner.negotiations > last and not link_partner.get()["flapping"],
                what="the partner has flapped",
                timeout=20,
            )
        with step("There is a link, and frames go both ways"):
            linked(highest, steady=True)
            take_stock()
    # A driver that looks only now and then need not see each loss.
    with step("The carrier was counted as often down as up: at least once, and at most once for each negotiation"):
        now, negotiations = dut.link(), link_partner.negotiations - started
        names = ("carrier-up-count", "carrier-down-count", "carrier-changes")
        ups, downs, changes = (now[name] - before[name] for name in names)
        told = guest.agent.call("link.monitor_read", monitor=monitor, ifname=dut.ifname)
        lost = losses([each["carrier"] for each in told])
        evidence(
            "carrier", {"lost": downs, "losses that netlink told": lost, "negotiations of the partner": negotiations}
        )
        assert (ups, changes) == (downs, ups + downs)
        assert 1 <= downs <= negotiations
    with step("Netlink told that it was lost, and no more often than it was counted"):
        assert 1 <= lost <= downs
        assert told[-1]["carrier"]
    with step("Nothing of the kernel's memory has grown by as much as the partner flapped, both times"):
        grown = leak_check.grown(readings, FLAPS // 2)
        assert not grown, "; ".join(grown)


def losses(carriers):
    """How often the carrier went, in what notifications tell of it one after the other, from where there was one."""
    return sum(then and not now for then, now in pairwise([True, *carriers]))


def told(entry):
    """A line of the partner's record, for people to read."""
    return " ".join(str(value) for name, value in entry.items() if name not in ("sequence", "time"))


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
def test_in_time(
    link_partner, local, linked, dut, until, step, skip_unsupported, check_traffic, evidence, technology, patience
):
    """Between ends that are both ready, the first negotiation leads to the link: no timer of either ends it before.

    From the exchange's end to the link pass less than link_fail_inhibit_timer. For another technology than the highest of both a
    driver may need one negotiation more, which tells it to change its mode.
    """
    if technology not in local.values():
        skip_unsupported(technology, evidence={"advertised": sorted(local)})
    with step(f"Let the partner offer {technology} alone, and silence it until there is no carrier"):
        link_partner.set(up=False, abilities={"technologies": [technology]})
        until(lambda: not dut.carrier, what="there is no carrier", timeout=patience(5))
        before = link_partner.record()[-1]["sequence"]
    with step("Turn it on: there is a link, and frames go both ways"):
        link_partner.set(up=True)
        linked(technology)
        check_traffic()
    highest = best(local.values(), SPEEDS)
    with step("It was the first negotiation in which the ends heard each other that led there, in time"):
        entries = link_partner.record(before)
        evidence(
            "what the partner did",
            [
                f"{each['time'] - entries[0]['time']:.4f} {told(each)}"
                for each in entries
                if each["event"] != "training"
            ],
        )
        checks = [each["time"] for each in entries if each.get("state") == "AN_GOOD_CHECK"]
        links = [each["time"] for each in entries if each["event"] == "link up"]
        evidence("negotiations", len(checks))
        assert len(links) == 1 if technology == highest else links
        assert len(checks) <= (1 if technology == highest else 2)
        took = links[-1] - checks[-1]
        evidence("seconds from AN_GOOD_CHECK to the link", round(took, 4))
        assert took < INHIBIT[technology]


@requirement(
    "CL73-RESTART-01",
    level="MUST",
    source="Documentation/networking/ethtool-netlink.rst; ethtool(8), -r; IEEE 802.3-2022, 45.2.7.1 (7.0.9)",
    falsified_by=("tx.frame.dropped", "program:backplane.not-set"),
)
@pytest.mark.budget(60)
def test_restart_on_request(
    dut, link_partner, highest, start_over, linked, until, skip_unsupported, check_traffic, step, patience
):
    """A restart that is asked for starts a negotiation, and leads to the same link."""
    with step("Ask for it, where the driver offers it"):
        start_over(latency=0.001)
        linked(highest)
        before = link_partner.negotiations
        link_partner.mark()
        refusal = dut.try_restart_autoneg()
        if refusal is not None:
            skip_unsupported("to restart negotiation", evidence=f"ethtool -r: {refusal}")
    with step("The driver negotiates anew: there is a link, and frames go both ways"):
        until(lambda: link_partner.negotiations > before, what="the driver negotiates anew", timeout=patience(5))
        linked(highest)
        check_traffic()


@pytest.fixture
def interrupts_spoilt(model, defer, until, patience, skip_unsupported):
    """``spoil = interrupts_spoilt(LOST)``: by that of these faults which the device has; skips where it has none.

    ``count = spoil(negotiate, times=1)`` arms it, has a negotiation started, and waits until it has fired; ``count()`` is how often it has.
    """

    def find(faults):
        names = [each["name"] for each in model.call("faults.list")]
        name = next((name for name in faults if name in names), None)
        if name is None:
            skip_unsupported("a device whose negotiation interrupts the driver", evidence=names)

        def spoil(negotiate, *, times):
            before = model.call("faults.fired", name=name)[name]

            def count():
                return model.call("faults.fired", name=name)[name] - before

            defer(model.call, "faults.disarm", name=name)
            model.call("faults.arm", name=name, times=times)
            negotiate()
            until(lambda: count() > 0, what=f"the fault {name} has fired", timeout=patience(12))
            return count

        return spoil

    return find


@requirement(
    "CL73-IRQ-01",
    level="MUST",
    source="Documentation/networking/operstates.rst; IEEE 802.3-2022, 45.2.7.2 (what the status says stays until it is read)",
    falsified_by=("link.speed.wrong", "tx.frame.dropped"),
)
@pytest.mark.budget(90)
def test_interrupt_lost(link_partner, highest, interrupts_spoilt, linked, check_traffic, step):
    """A driver to which an interrupt of the negotiation gets lost comes to a link nevertheless, by its own patience."""
    lose = interrupts_spoilt(LOST)
    with step("Lose one interrupt of the next negotiation"):
        lose(lambda: link_partner.set(restart=True), times=1)
    with step("There is a link, and frames go both ways"):
        linked(highest, steady=True)
        check_traffic()


@requirement(
    "CL73-IRQ-02",
    level="MUST",
    source="IEEE 802.3-2022, 45.2.7.2 (what the status says stays until it is read), 73.10.2 (link_fail_inhibit_timer)",
    falsified_by=("an.reissue.lost", "link.speed.wrong", "tx.frame.dropped", "program:backplane.not-set"),
)
@pytest.mark.parametrize("times", [1, None], ids=["one", "each"])
@pytest.mark.budget(90)
def test_interrupt_reissued(
    link_partner, highest, interrupts_spoilt, dut, linked, until, patience, check_traffic, step, evidence, times
):
    """An interrupt of the negotiation that is withheld, and reissued while its cause stands, delays the link and costs no negotiation.

    One, or each, comes 50 ms late: the first negotiation in which the ends hear each other leads to the link nevertheless.
    """
    withhold = interrupts_spoilt(WITHHELD)
    with step("Silence the partner until there is no carrier"):
        link_partner.set(up=False)
        until(lambda: not dut.carrier, what="there is no carrier", timeout=patience(5))
        before = link_partner.record()[-1]["sequence"]
    with step(
        f"Withhold {'one interrupt' if times else 'each interrupt'} of the next negotiation, and turn the partner on"
    ):
        withheld = withhold(lambda: link_partner.set(up=True), times=times)
    with step("There is a link, and frames go both ways"):
        linked(highest, steady=True)
        check_traffic()
    with step("It was the first negotiation in which the ends heard each other that led there"):
        entries = link_partner.record(before)
        evidence("interrupts withheld", withheld())
        checks = sum(each.get("state") == "AN_GOOD_CHECK" for each in entries)
        links = sum(each["event"] == "link up" for each in entries)
        assert (checks, links) == (1, 1)
