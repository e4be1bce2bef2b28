# SPDX-License-Identifier: GPL-2.0-or-later
"""Link training of 10GBASE-KR (clause 72): it succeeds, or there is no link."""

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
@pytest.mark.usefixtures("kr")
def test_trained(link_partner, start_over, linked, step):
    """A link at 10GBASE-KR has been trained: both ends have found lock and told each other that they are ready."""
    with step("Let the partner start over"):
        start_over(latency=0.001)
        linked("10GBASE-KR")
    with step("Training is done at both ends"):
        training = link_partner.get()["training"]
        assert (training["frame_lock"], training["local_ready"], training["remote_ready"]) == (True, True, True)


@requirement(
    "CL72-TRAIN-02",
    level="MUST",
    source=TRAINING,
    falsified_by=("link.report.stuck", "an.complete.lost", "program:backplane.not-set"),
)
@pytest.mark.parametrize("what", ["training.unwilling", "training.deaf", "training.absent"])
@pytest.mark.usefixtures("kr")
@pytest.mark.budget(120)
def test_not_trained(link_partner, linked, gives_up, dut, until, step, check_traffic, what, patience):
    """Training that a partner with nothing but 10GBASE-KR lets fail brings no link; when it trains, there is one."""
    with step(f"Let the partner offer 10GBASE-KR alone, with {what} until told otherwise"):
        link_partner.set(abilities={"technologies": ["10GBASE-KR"]}, misbehave={what: True}, restart=True)
        until(lambda: not dut.carrier, what="there is no carrier", timeout=patience(5))
        until(
            lambda: link_partner.get()["misbehaviour"][what]["fired"],
            what="the partner has failed training",
            timeout=patience(12),
        )
    with step("The driver tries, and there is neither link nor carrier at any time"):
        gives_up()
    with step("Let it train: there is a link, and frames go both ways"):
        link_partner.set(misbehave={what: False}, restart=True)
        linked("10GBASE-KR")
        check_traffic()


@requirement(
    "CL72-TRAIN-03",
    level="MUST",
    source=f"{TRAINING}; 73.7.6",
    falsified_by=("link.report.stuck", "an.complete.lost", "program:backplane.not-set"),
)
@pytest.mark.usefixtures("kr", "several")
@pytest.mark.budget(120)
def test_after_failure(
    link_partner, highest, linked, gives_up, settings, dut, defer, until, step, check_traffic, evidence, patience
):
    """Training that fails never ends in 10GBASE-KR; a driver may then offer less, and get that; when training works, 10GBASE-KR is back."""
    defer(settings.steady)
    defer(lambda: dut.set_link(up=False) or dut.set_link(up=True))
    with step("Let the partner offer all that it can, and never be ready; take the interface down and up"):
        link_partner.set(misbehave={"training.unwilling": True}, restart=True)
        until(lambda: not dut.carrier, what="there is no carrier", timeout=patience(5))
        dut.set_link(up=False)
        dut.set_link(up=True)
        until(
            lambda: link_partner.get()["misbehaviour"]["training.unwilling"]["fired"],
            what="training has failed",
            timeout=patience(12),
        )
    with step("The driver tries: there is no 10GBASE-KR; if there is a link, then by a page that does not offer it"):
        gives_up("10GBASE-KR")
        fallback = link_partner.technology
        evidence("what the driver falls back to", str(fallback))
        if fallback is not None:
            assert "10GBASE-KR" not in link_partner.base_page_received.technologies
    with step("Let the partner train, and start over: there is a link at the highest, and frames go both ways"):
        link_partner.set(misbehave={"training.unwilling": False}, restart=True)
        linked(highest)
        check_traffic()
