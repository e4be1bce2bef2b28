# SPDX-License-Identifier: GPL-2.0-or-later
"""The steps of a driver before traffic: identity, resets, mailbox, I2C, MDIO, interrupts, queues."""

from __future__ import annotations

import os

import pytest
import xgbe_harness as x
from nicmodels.models.xgbe import Xgbe
from nicmodels.nic.device import Options, Slot
from nicmodels.pci import ResetCause
from nicmodels.vfio_user.interrupts import IrqIndex
from nicmodels.vfio_user.protocol import IrqAction
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from xgbe_harness import XgbeRig


@pytest.mark.parametrize(("profile", "device", "channels"), [("v2a", 0x1458, 16), ("v2b", 0x1459, 8)])
def test_identity(profile: str, device: int, channels: int) -> None:
    harness = XgbeRig(profile)
    assert (harness.device.config.vendor, harness.device.config.device) == (0x1022, device)
    properties = harness.read(x.XP_PROP_0)
    assert (properties >> 8 & 15, properties >> 22 & 0x3F, properties >> 28 & 7) == (1, 0x14, 4)
    assert harness.read(x.XP_PROP_1) == channels * 0x01010101
    assert harness.read(x.MAC_VR) & 0xFF == 0x21
    assert [harness.read(x.MAC_HWF2R) >> shift & 15 for shift in (0, 6, 12, 18)] == [channels - 1] * 4
    high = harness.read(x.XP_MAC_HI)
    assert high >> 31
    assert harness.read(x.XP_MAC_LO).to_bytes(4, "little") + (high & 0xFFFF).to_bytes(2, "little") == x.MAC


@pytest.mark.parametrize("options", [Options(profile="sfp"), Options(queues=4), Options(mac=b"\1\0\0\0\0\0")])
def test_refuses_what_it_cannot_do(options: Options) -> None:
    with pytest.raises(ValueError, match=r"unknown profile|queues|unicast"):
        Xgbe(Slot(), options)


def test_software_reset_spares_the_board(harness: XgbeRig) -> None:
    """MAC, MTL and DMA are reset; interrupt enables, SerDes mode and the negotiated link stay."""
    harness.write(x.DMA_MR, harness.read(x.DMA_MR) | 1)
    assert not harness.read(x.DMA_MR) & 1
    assert harness.read(x.MAC_TCR) == harness.read(x.CH_TDLR) == 0
    assert harness.read(x.XP_INT_EN) == 0x1FFFFF
    assert harness.mmd(7, 0) & 0x1000
    assert harness.mmd(3, 1) & 4
    assert not harness.device.control_methods()["model.queues"]()["rx"][0]["enabled"]
    harness.start()
    assert harness.receive(bytes(x.MAC) + x.PEER + b"\x88\xb5" + bytes(50))


@pytest.mark.parametrize("cause", [ResetCause.FLR, ResetCause.CLIENT, ResetCause.D3HOT])
def test_other_resets_take_the_link(harness: XgbeRig, cause: ResetCause) -> None:
    harness.device.restart(cause)
    harness.device.config.write(4, 6, 2)
    assert harness.read(x.XP_INT_EN) == 0
    assert harness.mmd(7, 0) == harness.mmd(3, 1) & 4 == 0
    harness.slot.memory.bus_master = True
    harness.link().start()
    assert harness.transmit(bytes(60))


def test_reset_that_leaves_the_rings(harness: XgbeRig) -> None:
    harness.arm("device.reset.incomplete")
    harness.write(x.DMA_MR, 1)
    assert harness.device.control_methods()["model.queues"]()["rx"][0]["enabled"]


def test_mailbox_takes_its_time(harness: XgbeRig) -> None:
    harness.write(x.XP_SCRATCH_0, x.SET_1G | x.KX << 8)
    harness.write(x.XP_INT_REQ, 1)
    assert harness.read(x.XP_INT_RO) == 1
    harness.clock.advance(0.01)
    assert harness.read(x.XP_INT_RO) == 0
    harness.arm("an.mailbox.stuck")
    harness.write(x.XP_INT_REQ, 1)
    harness.clock.advance(5)
    assert harness.read(x.XP_INT_RO) == 1


def test_i2c_enables_and_aborts(harness: XgbeRig) -> None:
    harness.write(x.IC_ENABLE, 1)
    assert harness.read(x.IC_STATUS) == 1
    harness.write(x.IC_DATA_CMD, 0x100)
    assert harness.read(x.IC_RAW) & 1 << 6
    harness.read(x.IC_CLR)
    assert not harness.read(x.IC_RAW) & 1 << 6
    harness.write(x.IC_ENABLE, 2)
    assert harness.read(x.IC_ENABLE) == harness.read(x.IC_STATUS) == 0


def test_mdio_finds_nobody(harness: XgbeRig) -> None:
    harness.write(x.MAC_MDIOSCAR, 1 << 16)
    harness.write(x.MAC_MDIOSCCDR, 3 << 16 | 1 << 22)
    assert harness.read(x.MAC_MDIOSCCDR) & 1 << 22 | harness.read(x.MAC_MDIOSCCDR) & 0xFFFF == 0xFFFF
    assert harness.read(x.MAC_MDIOISR) == 1 << 12
    assert harness.read(x.MAC_MDIOISR) == 0


def test_interrupts_are_edges_that_can_be_reissued(harness: XgbeRig) -> None:
    """A channel's line sends one message until it is inactive; reissue sends that of an active line; INT_EN masks it."""
    raised = harness.device.interrupts.raised
    before = raised[0]
    harness.transmit(bytes(60))
    harness.transmit(bytes(60))
    assert raised[0] == before + 1, "INTx follows the level of all lines"
    harness.write(harness.channel(x.CH_SR, 0), 0xFFFF)
    assert harness.read(x.DMA_ISR) == 0
    harness.write(x.XP_INT_EN, 0)
    harness.transmit(bytes(60))
    assert raised[0] == before + 1
    harness.write(x.XP_INT_EN, 0x1FFFFF)
    assert raised[0] == before + 2
    assert harness.read(x.DMA_ISR) == 1


@pytest.mark.parametrize(("profile", "channels"), [("v2a", 16), ("v2b", 8)])
def test_every_channel_has_rings_and_a_line_of_its_own(profile: str, channels: int) -> None:
    """Each channel sends, receives by the indirection table, and signals only its own vector."""
    harness = XgbeRig(profile, channels).link().start()
    interrupts = harness.slot.interrupts
    interrupts.resize(4 + channels, 1, 1)
    for vector in range(4 + channels):
        fd = os.eventfd(0)
        interrupts.set_eventfd(IrqIndex.MSIX, IrqAction.TRIGGER, vector, os.dup(fd))
        os.close(fd)
    frame = bytes(Ether(dst=x.MAC, src=x.PEER) / IP(src="192.0.2.1", dst="192.0.2.2") / UDP(sport=5, dport=6))
    for channel in range(channels):
        for index in range(256):
            harness.rss(index, channel)
        for receives in (True, False):
            harness.write(harness.channel(x.CH_SR, channel), 0xFFFF)
            before = list(harness.device.interrupts.raised)
            if receives:
                assert [each.channel for each in harness.receive(frame)] == [channel]
            else:
                assert len(harness.transmit(bytes(60), channel=channel)) == 1
            raised = [now - then for now, then in zip(harness.device.interrupts.raised, before, strict=True)]
            assert [vector for vector, times in enumerate(raised) if times] == [4 + channel]
    account = harness.device.control_methods()["model.counters"]()
    assert [each["frames"] for each in account["rx"]] == [each["frames"] for each in account["tx"]] == [1] * channels
    interrupts.clear()


def test_interrupt_watchdog(harness: XgbeRig) -> None:
    """Without the descriptor's request RI is set when the watchdog expires: 256 clocks of 2 ns per unit."""
    address = harness._rx(0, 0)
    harness.memory.write(address + 12, (x.OWN).to_bytes(4, "little"))
    harness.write(harness.channel(x.CH_RIWT, 0), 100)
    harness.wire.incoming.append(x.MAC + x.PEER + b"\x88\xb5" + bytes(50))
    harness.device.frame_arrived()
    assert not harness.read(harness.channel(x.CH_SR, 0)) & 1 << 6
    harness.clock.advance(50e-6)
    assert not harness.read(harness.channel(x.CH_SR, 0)) & 1 << 6
    harness.clock.advance(2e-6)
    assert harness.read(harness.channel(x.CH_SR, 0)) & 1 << 6


@pytest.mark.parametrize("name", ["interrupt.vector.lost", "interrupt.vector.repeated"])
def test_interrupt_faults(harness: XgbeRig, name: str) -> None:
    harness.arm(name)
    harness.write(harness.channel(x.CH_SR, 0), 0xFFFF)
    harness.transmit(bytes(60))
    assert name == "interrupt.vector.repeated" or harness.fired(name)


def test_broken_eeprom(harness: XgbeRig) -> None:
    harness.arm("device.eeprom.checksum")
    assert not harness.read(x.XP_MAC_HI) >> 31


def test_unknown_registers_are_counted(harness: XgbeRig) -> None:
    harness.read(0x1FFF0)
    harness.mmd(7, 0x4242)
    unknown = harness.device.control_methods()["model.counters"]()["unknown"]
    assert set(unknown) == {"0x1fff0", "0x10074242"}


def test_system_time(harness: XgbeRig) -> None:
    """125 MHz and 20 ns per step at an addend of 0.4 make real time; the clock can be set and adjusted both ways."""
    harness.write(x.MAC_TSCR, 0x203)
    harness.write(x.MAC_SSIR, 20 << 16)
    harness.write(x.MAC_TSAR, int(0.4 * (1 << 32)))
    harness.write(x.MAC_TSCR, 0x223)
    harness.write(x.MAC_STSUR, 1000)
    harness.write(x.MAC_STNUR, 500)
    harness.write(x.MAC_TSCR, 0x207)

    def now() -> float:
        return harness.read(x.MAC_STSR) + harness.read(x.MAC_STNR) / 1e9

    assert now() == pytest.approx(1000, abs=1e-3)
    harness.clock.advance(2)
    assert now() == pytest.approx(1002, abs=1e-3)
    harness.write(x.MAC_STSUR, 2)
    harness.write(x.MAC_STNUR, 250_000_000)
    harness.write(x.MAC_TSCR, 0x20B)
    assert now() == pytest.approx(1004.25, abs=1e-3)
    harness.write(x.MAC_STSUR, -2)
    harness.write(x.MAC_STNUR, 1 << 31 | 750_000_000)
    harness.write(x.MAC_TSCR, 0x20B)
    assert now() == pytest.approx(1002, abs=1e-3)
    harness.arm("device.time.stopped")
    harness.clock.advance(5)
    assert harness.fired("device.time.stopped") == 0 or now() < 1003
