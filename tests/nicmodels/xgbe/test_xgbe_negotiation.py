# SPDX-License-Identifier: GPL-2.0-or-later
"""Auto-negotiation through the registers of MMD 7, training through MMD 1, and the link status of MMD 3."""

from __future__ import annotations

from typing import Any

import pytest
import xgbe_harness as x
from nicmodels.clock import ManualClock
from nicmodels.models.xgbe.device import Xgbe
from nicmodels.nic.device import Slot
from nicmodels.phy import RemoteSegment
from nicmodels.vfio_user.interrupts import InterruptMode, Interrupts
from nicmodels.wire import PairWire
from xgbe_harness import XgbeRig

KX_BIT, KR_BIT = 0x20, 0x80


def partner(harness: XgbeRig, **wanted: Any) -> dict[str, Any]:
    return harness.device.control_methods()["link.set"](**wanted)


@pytest.fixture
def port() -> XgbeRig:
    """A port whose SerDes runs at 10GBASE-KR, and nothing else."""
    harness = XgbeRig()
    harness.mailbox(x.SET_KR)
    return harness


def test_partner_page(port: XgbeRig) -> None:
    partner(port, abilities={"technologies": ["10GBASE-KR", "1000BASE-KX"], "pause": True, "fec": True})
    port.negotiate()
    assert port.cause() == x.PAGE
    assert port.mmd(7, 19) & 0x0C00 == 0x0400
    assert port.mmd(7, 20) & 0xE0 == KR_BIT | KX_BIT
    assert port.mmd(7, 21) & 0xC000 == 0x4000
    status = port.mmd(7, 1)
    assert status & 0x49 == 0x49, "partner able, able, page received"
    assert not port.mmd(7, 1) & 0x40, "page received is cleared by reading"


def test_no_link_without_training(port: XgbeRig) -> None:
    """Without training by the driver there is no link, and negotiation restarts after link_fail_inhibit."""
    port.negotiate()
    assert port.cause() == x.PAGE
    port.clock.advance(0.4)
    assert not port.mmd(7, x.INT)
    assert port.cause(2) == x.PAGE


def test_training_status(port: XgbeRig) -> None:
    port.negotiate()
    assert port.cause() == x.PAGE
    port.train()
    assert port.cause() == x.COMPLETE
    assert port.mmd(1, 151) & 0xF == 3, "receiver trained, frame lock, no longer training, no failure"
    assert port.mmd(7, 1) & 0x24 == 0x20, "complete; the link bit is of the time before"
    assert port.mmd(7, 1) & 4
    assert port.mmd(7, 48) & 0x1F == 0x19, "10GBASE-KR, FEC"
    assert port.mmd(3, 32) & 0x1001 == 0x1001


def test_looks_count_from_the_last_change_of_the_link(port: XgbeRig) -> None:
    looks = port.device.control_methods()["link.looks"]
    port.link()
    before = looks()
    assert before >= 2
    port.mmd(7, 1)
    assert looks() == before, "the status of negotiation is not that of the link"
    partner(port, up=False)
    port.clock.advance(1)
    assert looks() == 0
    port.mmd(3, 1)
    assert looks() == 1


def test_fec_that_one_end_lacks_kills_the_link(port: XgbeRig) -> None:
    partner(port, abilities=["10GBASE-KR"])
    port.negotiate()
    assert port.cause() == x.PAGE
    port.mmd_write(1, 171, 1)
    port.mmd_write(1, 150, 3)
    assert port.cause() == x.COMPLETE
    port.mmd(3, 1)
    assert not port.mmd(3, 1) & 4
    port.mmd_write(1, 171, 0)
    port.mmd(3, 1)
    assert port.mmd(3, 1) & 4


def test_incompatible_then_kx(port: XgbeRig) -> None:
    """A partner with KX alone: page and incompatible link at KR; at KX the link comes up without training."""
    partner(port, abilities=["1000BASE-KX"])
    port.negotiate()
    causes = port.cause()
    assert causes & x.PAGE
    assert (causes | port.cause(0.2)) & x.INCOMPATIBLE
    port.mailbox(x.SET_1G, x.KX)
    port.negotiate()
    causes = port.cause()
    assert causes & x.PAGE
    if not causes & x.COMPLETE:
        assert port.cause() & x.COMPLETE
    assert port.device.link.speed == 1000


def test_parallel_detection(port: XgbeRig) -> None:
    """A partner that runs KX without negotiation is detected by its signal; negotiation completes without a page."""
    partner(port, abilities={"technologies": ["1000BASE-KX"], "negotiates": False})
    port.mailbox(x.SET_1G, x.KX)
    port.negotiate()
    assert port.cause(2) == x.COMPLETE
    assert not port.mmd(7, 1) & 1, "the partner is not able to negotiate"


def test_next_pages(port: XgbeRig) -> None:
    """With NP set pages are exchanged until neither end has more; the driver loads null pages."""
    port.negotiate(low=0x8C01)
    assert port.cause() == x.PAGE
    port.mmd_write(7, 24, 0)
    port.mmd_write(7, 23, 0)
    port.mmd_write(7, 22, 0x2001)
    assert port.cause() == x.PAGE
    assert port.mmd(7, 25) & 0x27FF == 0x2001
    port.train()
    assert port.cause() == x.COMPLETE


class CreepingClock(ManualClock):
    """A clock that advances by some microseconds with each reading, as while a model works."""

    latest = 0.0

    def now(self) -> float:
        self._now = self.latest = max(self._now, self.latest) + 20e-6
        return self._now


def test_next_pages_in_real_time() -> None:
    """A page that the driver loads is transmitted at one instant, so that the partner's answer does not overtake it."""
    port = XgbeRig(clock=CreepingClock())
    port.mailbox(x.SET_KR)
    partner(port, next_pages=["null"])
    port.negotiate()
    assert port.cause() == x.PAGE
    port.clock.advance(0.001)
    for number, word in ((24, 0), (23, 0), (22, 0x2001)):
        port.mmd_write(7, number, word)
    assert port.cause() == x.PAGE
    port.clock.advance(0.001)
    port.train()
    assert port.cause() == x.COMPLETE


def test_forced_modes(port: XgbeRig) -> None:
    """Without negotiation at both ends the SerDes mode is the link, without an interrupt."""
    partner(port, abilities={"technologies": ["10GBASE-KR"], "negotiates": False})
    port.clock.advance(0.2)
    port.mmd(3, 1)
    assert port.mmd(3, 1) & 4
    assert port.device.link.speed == 10000
    port.mailbox(x.SET_1G, x.KX)
    port.clock.advance(0.2)
    port.mmd(3, 1)
    assert not port.mmd(3, 1) & 4
    assert not port.mmd(7, x.INT)


def test_latched_link(harness: XgbeRig) -> None:
    """A loss of the link that is over is reported once."""
    assert harness.mmd(3, 1) & 4
    partner(harness, up=False)
    harness.clock.advance(0.2)
    partner(harness, up=True)
    assert harness.cause(2) == x.PAGE
    harness.train()
    assert harness.cause() == x.COMPLETE
    assert not harness.mmd(3, 1) & 4
    assert harness.mmd(3, 1) & 4


def test_flapping_partner_converges(harness: XgbeRig) -> None:
    partner(harness, flap={"times": 5, "down": 0.01, "up": 0.3})
    for _ in range(20):
        cause = harness.cause(2)
        if cause & x.PAGE:
            harness.train()
    assert harness.device.link.up
    assert partner(harness)["phase"] == "linked"


def test_interrupt_mask_and_reissue(harness: XgbeRig) -> None:
    """A masked cause sends nothing until it is unmasked; an active cause can be reissued."""
    raised = harness.device.interrupts.raised
    harness.mmd_write(7, x.INT_MASK, 0)
    harness.write(harness.channel(x.CH_SR, 0), 0xFFFF)
    before = raised[0]
    harness.mmd_write(7, 0, 0x1200)
    harness.clock.advance(0.2)
    assert harness.mmd(7, x.INT) == x.PAGE
    assert raised[0] == before
    harness.mmd_write(7, x.INT_MASK, 7)
    assert raised[0] == before + 1


def test_lost_interrupt(harness: XgbeRig) -> None:
    harness.arm("an.interrupt.lost")
    harness.mmd_write(7, 0, 0x1200)
    harness.clock.advance(0.2)
    assert harness.mmd(7, x.INT) == x.PAGE
    assert harness.fired("an.interrupt.lost")


def test_lost_interrupt_is_sent_again(harness: XgbeRig) -> None:
    """A lost interrupt is sent on reissue, unless that is lost too."""
    raised = harness.device.interrupts.raised
    harness.arm("an.interrupt.lost")
    harness.mmd_write(7, 0, 0x1200)
    harness.write(harness.channel(x.CH_SR, 0), 0xFFFF)
    harness.clock.advance(0.2)
    before = raised[0]
    harness.arm("an.reissue.lost")
    harness.write(x.XP_REISSUE, 1 << 3)
    assert harness.fired("an.reissue.lost")
    assert raised[0] == before
    harness.slot.faults["an.reissue.lost"].disarm()
    harness.write(x.XP_REISSUE, 1 << 3)
    assert raised[0] == before + 1


@pytest.mark.parametrize("handled", [False, True])
def test_withheld_interrupt_is_reissued(harness: XgbeRig, handled: bool) -> None:
    """It is sent 50 ms late, unless its cause was cleared in the meantime."""
    raised = harness.device.interrupts.raised
    harness.write(harness.channel(x.CH_SR, 0), 0xFFFF)
    harness.slot.faults["an.interrupt.late"].arm(times=1)
    before = raised[0]
    harness.mmd_write(7, 0, 0x1200)
    while not harness.fired("an.interrupt.late"):
        harness.clock.advance(0.001)
    assert raised[0] == before
    assert harness.mmd(7, x.INT) == x.PAGE
    if handled:
        harness.mmd_write(7, x.INT, 0)
    harness.clock.advance(0.04)
    assert raised[0] == before
    harness.clock.advance(0.02)
    assert raised[0] == before + (not handled)


def test_interrupt_comes_again_once_its_cause_is_cleared(harness: XgbeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Interrupts, "mode", InterruptMode.MSI)
    raised = harness.device.interrupts.raised
    harness.write(harness.channel(x.CH_SR, 0), 0xFFFF)
    harness.slot.faults["an.interrupt.again"].arm(times=1)
    before = raised[0]
    harness.mmd_write(7, 0, 0x1200)
    harness.clock.advance(0.2)
    assert raised[0] == before + 1
    harness.mmd_write(7, x.INT, ~harness.mmd(7, x.INT) & 0xFFFF)
    assert harness.fired("an.interrupt.again")
    assert raised[0] == before + 2
    assert harness.mmd(7, x.INT) == 0


def test_late_page(harness: XgbeRig) -> None:
    harness.arm("an.page.late")
    harness.mmd_write(7, 0, 0x1200)
    harness.clock.advance(0.3)
    assert not harness.mmd(7, x.INT) & x.PAGE
    harness.clock.advance(0.6)
    assert harness.mmd(7, x.INT) & x.PAGE


@pytest.mark.parametrize("name", ["an.training.ignored", "an.training.failed", "an.complete.lost"])
def test_no_completion(port: XgbeRig, name: str) -> None:
    port.arm(name)
    port.negotiate()
    assert port.cause() == x.PAGE
    port.train()
    assert not port.cause(0.4) & x.COMPLETE
    assert port.fired(name)


def test_stale_page(harness: XgbeRig) -> None:
    harness.arm("an.page.stale")
    partner(harness, abilities=["1000BASE-KX"])
    harness.mmd_write(7, 0, 0x1200)
    assert harness.cause(2) & x.PAGE
    assert harness.mmd(7, 20) & KR_BIT


def test_unlatched_link(harness: XgbeRig) -> None:
    harness.arm("an.latch.missing")
    assert harness.mmd(3, 1) & 4
    partner(harness, up=False)
    harness.clock.advance(0.2)
    partner(harness, up=True)
    harness.cause(2)
    harness.train()
    assert harness.cause() == x.COMPLETE
    assert harness.mmd(3, 1) & 4


def test_stuck_link_and_wrong_speed(harness: XgbeRig) -> None:
    harness.mmd(3, 1)
    harness.arm("link.report.stuck")
    partner(harness, up=False)
    harness.clock.advance(1)
    assert harness.mmd(3, 1) & 4
    harness.slot.faults["link.report.stuck"].disarm()
    assert not harness.mmd(3, 1) & 4
    partner(harness, up=True)
    harness.cause(2)
    harness.arm("link.speed.wrong")
    assert harness.mmd(7, 20) & 0xA0 == KX_BIT


def test_wrong_pause_and_fec(harness: XgbeRig) -> None:
    assert (harness.mmd(7, 19) & 0x0C00, harness.mmd(7, 21) & 0xC000) == (0x0C00, 0x4000)
    harness.arm("link.pause.wrong")
    harness.arm("link.fec.wrong")
    assert (harness.mmd(7, 19) & 0x0C00, harness.mmd(7, 21) & 0xC000) == (0x0800, 0x8000)


def test_flow_control_as_it_is_set(harness: XgbeRig) -> None:
    transmit, receive = 0x70, 0x90
    flow_control = harness.device.control_methods()["model.flow_control"]
    harness.write(transmit, 2)
    assert flow_control() == {"transmit": True, "receive": False}
    harness.arm("device.pause.stuck")
    harness.write(receive, 1)
    assert flow_control() == {"transmit": True, "receive": False}


def test_another_model_at_the_other_end() -> None:
    """A port attaches to the host's link segment, whose other end cannot be set."""
    near, far = PairWire.pair()
    clock = ManualClock()
    device = Xgbe(Slot(clock=clock, link_segment=RemoteSegment(clock, near)))
    methods = device.control_methods()
    assert methods["link.get"]()["phase"] == "silent"
    with pytest.raises(ValueError, match="its own driver controls"):
        methods["link.set"](up=False)
    near.close()
    far.close()


def test_power_off_is_silence(harness: XgbeRig) -> None:
    harness.mailbox(x.POWER_OFF)
    harness.clock.advance(0.2)
    assert partner(harness)["phase"] != "linked"
    assert not harness.device.link.up
