# SPDX-License-Identifier: GPL-2.0-or-later
"""What a driver does before traffic: identity, resets, mailbox, I2C, MDIO, interrupts, queues."""

from __future__ import annotations

import os

import pytest
import xgbe_rig as x
from nicmodels.models.xgbe import Xgbe
from nicmodels.nic.device import Options, Slot
from nicmodels.pci import ResetCause
from nicmodels.vfio_user.interrupts import IrqIndex
from nicmodels.vfio_user.protocol import IrqAction
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from xgbe_rig import XgbeRig


@pytest.mark.parametrize(("profile", "device", "channels"), [("v2a", 0x1458, 16), ("v2b", 0x1459, 8)])
def test_identity(profile: str, device: int, channels: int) -> None:
    rig = XgbeRig(profile)
    assert (rig.device.config.vendor, rig.device.config.device) == (0x1022, device)
    properties = rig.read(x.XP_PROP_0)
    assert (properties >> 8 & 15, properties >> 22 & 0x3F, properties >> 28 & 7) == (1, 0x14, 4)
    assert rig.read(x.XP_PROP_1) == channels * 0x01010101
    assert rig.read(x.MAC_VR) & 0xFF == 0x21
    assert [rig.read(x.MAC_HWF2R) >> shift & 15 for shift in (0, 6, 12, 18)] == [channels - 1] * 4
    high = rig.read(x.XP_MAC_HI)
    assert high >> 31
    assert rig.read(x.XP_MAC_LO).to_bytes(4, "little") + (high & 0xFFFF).to_bytes(2, "little") == x.MAC


@pytest.mark.parametrize("options", [Options(profile="sfp"), Options(queues=4), Options(mac=b"\1\0\0\0\0\0")])
def test_refuses_what_it_cannot_do(options: Options) -> None:
    with pytest.raises(ValueError, match=r"unknown profile|queues|unicast"):
        Xgbe(Slot(), options)


def test_software_reset_spares_the_board(rig: XgbeRig) -> None:
    """MAC, MTL and DMA start over; interrupt enables, SerDes mode and the negotiated link stay."""
    rig.write(x.DMA_MR, rig.read(x.DMA_MR) | 1)
    assert not rig.read(x.DMA_MR) & 1
    assert rig.read(x.MAC_TCR) == rig.read(x.CH_TDLR) == 0
    assert rig.read(x.XP_INT_EN) == 0x1FFFFF
    assert rig.mmd(7, 0) & 0x1000
    assert rig.mmd(3, 1) & 4
    assert not rig.device.control_methods()["model.queues"]()["rx"][0]["enabled"]
    rig.start()
    assert rig.receive(bytes(x.MAC) + x.PEER + b"\x88\xb5" + bytes(50))


@pytest.mark.parametrize("cause", [ResetCause.FLR, ResetCause.CLIENT, ResetCause.D3HOT])
def test_other_resets_take_the_link(rig: XgbeRig, cause: ResetCause) -> None:
    rig.device.restart(cause)
    rig.device.config.write(4, 6, 2)
    assert rig.read(x.XP_INT_EN) == 0
    assert rig.mmd(7, 0) == rig.mmd(3, 1) & 4 == 0
    rig.slot.memory.bus_master = True
    rig.link().start()
    assert rig.transmit(bytes(60))


def test_reset_that_leaves_the_rings(rig: XgbeRig) -> None:
    rig.arm("device.reset.incomplete")
    rig.write(x.DMA_MR, 1)
    assert rig.device.control_methods()["model.queues"]()["rx"][0]["enabled"]


def test_mailbox_takes_its_time(rig: XgbeRig) -> None:
    rig.write(x.XP_SCRATCH_0, x.SET_1G | x.KX << 8)
    rig.write(x.XP_INT_REQ, 1)
    assert rig.read(x.XP_INT_RO) == 1
    rig.clock.advance(0.01)
    assert rig.read(x.XP_INT_RO) == 0
    rig.arm("an.mailbox.stuck")
    rig.write(x.XP_INT_REQ, 1)
    rig.clock.advance(5)
    assert rig.read(x.XP_INT_RO) == 1


def test_i2c_enables_and_aborts(rig: XgbeRig) -> None:
    rig.write(x.IC_ENABLE, 1)
    assert rig.read(x.IC_STATUS) == 1
    rig.write(x.IC_DATA_CMD, 0x100)
    assert rig.read(x.IC_RAW) & 1 << 6
    rig.read(x.IC_CLR)
    assert not rig.read(x.IC_RAW) & 1 << 6
    rig.write(x.IC_ENABLE, 2)
    assert rig.read(x.IC_ENABLE) == rig.read(x.IC_STATUS) == 0


def test_mdio_finds_nobody(rig: XgbeRig) -> None:
    rig.write(x.MAC_MDIOSCAR, 1 << 16)
    rig.write(x.MAC_MDIOSCCDR, 3 << 16 | 1 << 22)
    assert rig.read(x.MAC_MDIOSCCDR) & 1 << 22 | rig.read(x.MAC_MDIOSCCDR) & 0xFFFF == 0xFFFF
    assert rig.read(x.MAC_MDIOISR) == 1 << 12
    assert rig.read(x.MAC_MDIOISR) == 0


def test_interrupts_are_edges_that_can_be_reissued(rig: XgbeRig) -> None:
    """A channel's line sends one message until it falls; reissue sends what still stands; INT_EN holds it back."""
    raised = rig.device.interrupts.raised
    before = raised[0]
    rig.transmit(bytes(60))
    rig.transmit(bytes(60))
    assert raised[0] == before + 1, "INTx follows the level of all lines"
    rig.write(rig.channel(x.CH_SR, 0), 0xFFFF)
    assert rig.read(x.DMA_ISR) == 0
    rig.write(x.XP_INT_EN, 0)
    rig.transmit(bytes(60))
    assert raised[0] == before + 1
    rig.write(x.XP_INT_EN, 0x1FFFFF)
    assert raised[0] == before + 2
    assert rig.read(x.DMA_ISR) == 1


@pytest.mark.parametrize(("profile", "channels"), [("v2a", 16), ("v2b", 8)])
def test_every_channel_has_rings_and_a_line_of_its_own(profile: str, channels: int) -> None:
    """Each channel sends, and gets what the indirection table gives it, and only its own vector is signalled."""
    rig = XgbeRig(profile, channels).link().start()
    interrupts = rig.slot.interrupts
    interrupts.resize(4 + channels, 1, 1)
    for vector in range(4 + channels):
        fd = os.eventfd(0)
        interrupts.set_eventfd(IrqIndex.MSIX, IrqAction.TRIGGER, vector, os.dup(fd))
        os.close(fd)
    frame = bytes(Ether(dst=x.MAC, src=x.PEER) / IP(src="192.0.2.1", dst="192.0.2.2") / UDP(sport=5, dport=6))
    for channel in range(channels):
        for index in range(256):
            rig.rss(index, channel)
        for receives in (True, False):
            rig.write(rig.channel(x.CH_SR, channel), 0xFFFF)
            before = list(rig.device.interrupts.raised)
            if receives:
                assert [each.channel for each in rig.receive(frame)] == [channel]
            else:
                assert len(rig.transmit(bytes(60), channel=channel)) == 1
            raised = [now - then for now, then in zip(rig.device.interrupts.raised, before, strict=True)]
            assert [vector for vector, times in enumerate(raised) if times] == [4 + channel]
    account = rig.device.control_methods()["model.counters"]()
    assert [each["frames"] for each in account["rx"]] == [each["frames"] for each in account["tx"]] == [1] * channels
    interrupts.clear()


def test_interrupt_watchdog(rig: XgbeRig) -> None:
    """Without the descriptor's wish RI comes when the watchdog runs out: 256 clocks of 2 ns a unit."""
    address = rig._rx(0, 0)
    rig.memory.write(address + 12, (x.OWN).to_bytes(4, "little"))
    rig.write(rig.channel(x.CH_RIWT, 0), 100)
    rig.wire.incoming.append(x.MAC + x.PEER + b"\x88\xb5" + bytes(50))
    rig.device.frame_arrived()
    assert not rig.read(rig.channel(x.CH_SR, 0)) & 1 << 6
    rig.clock.advance(50e-6)
    assert not rig.read(rig.channel(x.CH_SR, 0)) & 1 << 6
    rig.clock.advance(2e-6)
    assert rig.read(rig.channel(x.CH_SR, 0)) & 1 << 6


@pytest.mark.parametrize("name", ["interrupt.vector.lost", "interrupt.vector.repeated"])
def test_interrupt_faults(rig: XgbeRig, name: str) -> None:
    rig.arm(name)
    rig.write(rig.channel(x.CH_SR, 0), 0xFFFF)
    rig.transmit(bytes(60))
    assert name == "interrupt.vector.repeated" or rig.fired(name)


def test_broken_eeprom(rig: XgbeRig) -> None:
    rig.arm("device.eeprom.checksum")
    assert not rig.read(x.XP_MAC_HI) >> 31


def test_unknown_registers_are_counted(rig: XgbeRig) -> None:
    rig.read(0x1FFF0)
    rig.mmd(7, 0x4242)
    unknown = rig.device.control_methods()["model.counters"]()["unknown"]
    assert set(unknown) == {"0x1fff0", "0x10074242"}


def test_system_time(rig: XgbeRig) -> None:
    """125 MHz, 20 ns a step at an addend of 0.4: a second a second; set, moved forth and back."""
    rig.write(x.MAC_TSCR, 0x203)
    rig.write(x.MAC_SSIR, 20 << 16)
    rig.write(x.MAC_TSAR, int(0.4 * (1 << 32)))
    rig.write(x.MAC_TSCR, 0x223)
    rig.write(x.MAC_STSUR, 1000)
    rig.write(x.MAC_STNUR, 500)
    rig.write(x.MAC_TSCR, 0x207)

    def now() -> float:
        return rig.read(x.MAC_STSR) + rig.read(x.MAC_STNR) / 1e9

    assert now() == pytest.approx(1000, abs=1e-3)
    rig.clock.advance(2)
    assert now() == pytest.approx(1002, abs=1e-3)
    rig.write(x.MAC_STSUR, 2)
    rig.write(x.MAC_STNUR, 250_000_000)
    rig.write(x.MAC_TSCR, 0x20B)
    assert now() == pytest.approx(1004.25, abs=1e-3)
    rig.write(x.MAC_STSUR, -2)
    rig.write(x.MAC_STNUR, 1 << 31 | 750_000_000)
    rig.write(x.MAC_TSCR, 0x20B)
    assert now() == pytest.approx(1002, abs=1e-3)
    rig.arm("device.time.stopped")
    rig.clock.advance(5)
    assert rig.fired("device.time.stopped") == 0 or now() < 1003
