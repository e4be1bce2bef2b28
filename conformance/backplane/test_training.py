# SPDX-License-Identifier: GPL-2.0-or-later
"""Link training of 10GBASE-KR (clause 72): it succeeds, or there is no link."""

from __future__ import annotations

import pytest
from plugfest.backplane import NOT_TOLD
from plugfest.requirement import requirement

TRAINING = "IEEE 802.3-2022, 72.6.10 (PMD control function), figure 72-5 (training state diagram), max_wait_timer"


@requirement(
    "CL72-TRAIN-01", level="MUST", source=TRAINING, falsified_by=("an.training.failed", "link.speed.wrong", NOT_TOLD)
)
@pytest.mark.usefixtures("kr")
def test_trained(far, start_over, linked, step):
    """A link at 10GBASE-KR has been trained: both ends have found lock and told each other that they are ready."""
    with step("Let the partner start over"):
        start_over(latency=0.001)
        linked("10GBASE-KR")
    with step("Training is done at both ends"):
        training = far.get()["training"]
        assert (training["frame_lock"], training["local_ready"], training["remote_ready"]) == (True, True, True)


@requirement("CL72-TRAIN-02", level="MUST", source=TRAINING, falsified_by=("link.report.stuck", NOT_TOLD))
@pytest.mark.parametrize("what", ["training.unwilling", "training.deaf", "training.absent"])
@pytest.mark.usefixtures("kr")
@pytest.mark.budget(90)
def test_not_trained(far, linked, dut, until, step, crossing, what):
    """Training that the partner lets fail brings no link; when it trains, there is one."""
    with step(f"Let the partner start over, with {what} until told otherwise"):
        far.tell(misbehave={what: True}, restart=True)
        until(lambda: not dut.carrier, what="there is no carrier", timeout=5)
        until(lambda: far.get()["misbehaviour"][what]["fired"], what="the partner has failed training", timeout=12)
        assert far.technology != "10GBASE-KR"
    with step("Let it train: there is a link, and frames go both ways"):
        far.tell(misbehave={what: False}, restart=True)
        linked("10GBASE-KR")
        crossing.both_ways()
