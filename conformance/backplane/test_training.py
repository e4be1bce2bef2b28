# SPDX-License-Identifier: GPL-2.0-or-later
"""Link training of 10GBASE-KR (Clause 72): if it fails, there is no link."""

from __future__ import annotations

import pytest
from plugfest.requirements.requirement import requirement

TRAINING = "IEEE 802.3-2022, 72.6.10 (PMD control function), figure 72-5 (training state diagram), max_wait_timer"


@requirement(
    "CL72-TRAIN-01",
    level="MUST",
    source=TRAINING,
    falsified_by=("an.training.failed", "link.speed.wrong", "program:backplane.not-set"),
)
@pytest.mark.usefixtures("has_kr")
def test_trained(link_partner, restart_partner, wait_for_link, step):
    """When a 10GBASE-KR link is up, training is complete: both ends have frame lock and have signalled receiver ready."""
    with step("The link partner restarts negotiation, and the link comes up"):
        restart_partner(latency=0.001)
        wait_for_link("10GBASE-KR")
    with step("Training is complete at both ends"):
        training = link_partner.get()["training"]
        assert (training["frame_lock"], training["local_ready"], training["remote_ready"]) == (True, True, True)


@requirement(
    "CL72-TRAIN-02",
    level="MUST",
    source=TRAINING,
    falsified_by=("link.report.stuck", "an.complete.lost", "program:backplane.not-set"),
)
@pytest.mark.parametrize("what", ["training.unwilling", "training.deaf", "training.absent"])
@pytest.mark.usefixtures("has_kr")
@pytest.mark.budget(120)
def test_failed(
    link_partner, wait_for_link, check_no_link, until, step, check_traffic, what, capped_timeout, wait_for_no_carrier
):
    """If training fails with a link partner that offers 10GBASE-KR alone, there is no link; once training works, the link comes up."""
    with step(f"The link partner offers 10GBASE-KR alone, with the fault {what}"):
        link_partner.set(abilities={"technologies": ["10GBASE-KR"]}, misbehave={what: True}, restart=True)
        wait_for_no_carrier()
        until(
            lambda: link_partner.get()["misbehaviour"][what]["fired"],
            what=f"the fault {what} has fired",
            timeout=capped_timeout(12),
        )
    with step("The driver retries; there is no link and no carrier at any time"):
        check_no_link()
    with step("The link partner trains: the link comes up, and frames pass in both directions"):
        link_partner.set(misbehave={what: False}, restart=True)
        wait_for_link("10GBASE-KR")
        check_traffic()


@requirement(
    "CL72-TRAIN-03",
    level="MUST",
    source=f"{TRAINING}; 73.7.6",
    falsified_by=("link.report.stuck", "an.complete.lost", "program:backplane.not-set"),
)
@pytest.mark.usefixtures("has_kr", "has_multiple_technologies")
@pytest.mark.budget(120)
def test_fallback(
    link_partner,
    hcd,
    wait_for_link,
    check_no_link,
    settings,
    dut,
    defer,
    until,
    step,
    check_traffic,
    evidence,
    capped_timeout,
    wait_for_no_carrier,
):
    """While training fails, there is no 10GBASE-KR link; once training works, the link is the highest common denominator again.

    The driver may fall back: it may stop advertising 10GBASE-KR and bring up a link of another technology.
    """
    defer(settings.ready)
    defer(lambda: dut.set_link(up=False) or dut.set_link(up=True))
    with step(
        "The link partner offers all its technologies, and its receiver never gets ready; set the interface down and up"
    ):
        link_partner.set(misbehave={"training.unwilling": True}, restart=True)
        wait_for_no_carrier()
        dut.set_link(up=False)
        dut.set_link(up=True)
        until(
            lambda: link_partner.get()["misbehaviour"]["training.unwilling"]["fired"],
            what="training has failed",
            timeout=capped_timeout(12),
        )
    with step(
        "The driver retries: there is no 10GBASE-KR link; if there is another link, the driver's page has no 10GBASE-KR"
    ):
        check_no_link("10GBASE-KR")
        fallback = link_partner.technology
        evidence("fallback technology", str(fallback))
        if fallback is not None:
            assert "10GBASE-KR" not in link_partner.base_page_received.technologies
    with step(
        "The link partner trains and restarts negotiation: the link is the HCD, and frames pass in both directions"
    ):
        link_partner.set(misbehave={"training.unwilling": False}, restart=True)
        wait_for_link(hcd)
        check_traffic()
