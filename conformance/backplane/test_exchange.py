# SPDX-License-Identifier: GPL-2.0-or-later
"""The exchange of pages: partners that have more to say, that fall silent, start over, or do it wrong."""

from __future__ import annotations

import pytest
from plugfest.backplane import NOT_TOLD
from plugfest.requirement import requirement

ARBITRATION = "IEEE 802.3-2022, figure 73-11 (arbitration state diagram)"
NULL = "null"
MESSAGE = {"message": 5, "data": 0x12345}
UNFORMATTED = {"unformatted": 0x2AA}
MOMENTS = ("ABILITY_DETECT", "ACKNOWLEDGE_DETECT", "COMPLETE_ACKNOWLEDGE", "AN_GOOD_CHECK")
FLAPS = 100


@requirement(
    "CL73-NP-01",
    level="MUST",
    source="IEEE 802.3-2022, 73.7.7 (next page function), 73.7.7.1 (null pages are sent as long as the other end has more)",
    falsified_by=("link.speed.wrong", NOT_TOLD),
)
@pytest.mark.parametrize("pages", [[NULL], [MESSAGE], [MESSAGE, UNFORMATTED], [NULL, MESSAGE, UNFORMATTED]], ids=repr)
@pytest.mark.budget(60)
def test_next_pages(far, highest, start_over, linked, crossing, step, pages):
    """A partner that has next pages is heard to the end, and the ends then come to what their base pages say."""
    with step("Give the partner next pages, and let it start over"):
        start_over(next_pages=pages)
    with step("There is a link, and frames go both ways"):
        linked(highest)
        crossing.both_ways()
    with step("The driver has answered each page with one of its own"):
        assert len(far.get()["received"]["next_pages"]) >= len(pages)


@requirement("CL73-NP-02", level="MUST", source="IEEE 802.3-2022, 73.7.7", falsified_by=("link.report.stuck", NOT_TOLD))
@pytest.mark.budget(90)
def test_endless_pages(far, highest, linked, gives_up, dut, until, step):
    """A partner that never ends brings no link, and no carrier; once it ends, there is a link."""
    with step("Let the partner start over, with another page after each"):
        far.tell(misbehave={"pages.endless": True}, restart=True)
        until(lambda: not dut.carrier, what="there is no carrier", timeout=5)
    with step("The driver gives up and tries again, without a carrier at any time"):
        gives_up()
    with step("Let the partner end: there is a link"):
        far.tell(misbehave={"pages.endless": False}, restart=True)
        linked(highest)


@requirement("CL73-ARB-01", level="MUST", source=ARBITRATION, falsified_by=("link.report.stuck", NOT_TOLD))
@pytest.mark.parametrize("what", ["nonce.copied", "echo.wrong", "acknowledge.lost"])
@pytest.mark.budget(90)
def test_wrong_exchange(far, highest, linked, dut, until, step, crossing, what):
    """A negotiation in which the partner errs (its nonce, its echo, its acknowledge) comes to no link; the next does."""
    with step(f"Let the partner start over, with {what} until told otherwise"):
        far.tell(misbehave={what: True}, restart=True)
        until(lambda: not dut.carrier, what="there is no carrier", timeout=5)
        until(lambda: far.get()["misbehaviour"][what]["fired"], what="the partner has erred", timeout=12)
        assert (dut.carrier, far.technology) == (False, None)
    with step("Let it do right: there is a link, and frames go both ways"):
        far.tell(misbehave={what: False}, restart=True)
        linked(highest)
        crossing.both_ways()


@requirement("CL73-ARB-02", level="MUST", source=f"{ARBITRATION}; 73.7.2", falsified_by=("link.speed.wrong", NOT_TOLD))
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.budget(60)
def test_restart_amid(far, highest, linked, until, step, moment):
    """A partner that starts over in the midst of the exchange finds the driver starting over with it."""
    before = far.negotiations
    with step(f"Let the partner start over, and again when it is in {moment}"):
        far.tell(script=[{"restart": True}, {"at": moment, "restart": True}])
        until(lambda: far.negotiations >= before + 2, what="the partner has started over twice", timeout=5)
    with step("There is a link"):
        linked(highest)


@requirement(
    "CL73-ARB-03", level="MUST", source=f"{ARBITRATION}; 73.10.1 (timers)", falsified_by=("link.speed.wrong", NOT_TOLD)
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
    falsified_by=("link.speed.wrong", NOT_TOLD),
)
@pytest.mark.budget(60)
def test_remote_fault(far, highest, linked, until, crossing, step):
    """A partner that signals a remote fault in its page, and takes it back, ends up with a link that carries frames."""
    technologies = far.abilities["technologies"]
    with step("Let the partner's page have the remote fault"):
        before = far.negotiations
        far.offer(*technologies, remote_fault=True)
        until(lambda: far.negotiations > before and far.seen, what="the driver has answered", timeout=12)
    with step("Take it back: there is a link, and frames go both ways"):
        far.offer(*technologies)
        linked(highest)
        crossing.both_ways()


@requirement(
    "CL73-FLAP-01",
    level="MUST",
    source="Documentation/networking/operstates.rst",
    falsified_by=("link.speed.wrong", NOT_TOLD),
)
@pytest.mark.budget(120)
def test_flap_storm(far, highest, linked, dut, until, crossing, step, evidence):
    """After a hundred losses of the partner's signal, of some milliseconds each, the link is as it was."""
    before = dut.link()
    with step(f"Let the partner flap {FLAPS} times"):
        started = far.negotiations
        far.tell(flap={"times": FLAPS, "down": 0.005, "up": 0.02})
        until(
            lambda: far.negotiations > started and not far.get()["flapping"], what="the partner has flapped", timeout=20
        )
    with step("There is a link, and frames go both ways"):
        linked(highest)
        crossing.both_ways()
    with step("The carrier was counted as often down as up"):
        now = dut.link()
        evidence("carrier changes", now["carrier-changes"] - before["carrier-changes"])
        ups, downs = (now[name] - before[name] for name in ("carrier-up-count", "carrier-down-count"))
        assert ups == downs
