# SPDX-License-Identifier: GPL-2.0-or-later
"""What each reset changes and what it leaves alone."""

from __future__ import annotations

import frames
import pytest
from nicmodels.models.ixgbe.registers import REGISTERS, filters, general, interrupt, mac, receive, statistics, transmit
from nicmodels.pci import ResetCause
from rig import MAC, Rig

SOFTWARE, LINK = 1 << 26, 1 << 3


@pytest.mark.parametrize("bit", [SOFTWARE, LINK])
def test_a_reset_stops_the_data_path(rig: Rig, bit: int) -> None:
    rig.write(interrupt.EIMS, 0x7FFFFFFF)
    rig.receive(frames.tcp())
    rig.write(general.CTRL, bit)
    assert rig.read(general.CTRL) & bit == 0
    for register in (receive.RXDCTL, transmit.TXDCTL, receive.RDBAL, transmit.TDBAL, receive.RXCTRL, interrupt.EIMS):
        assert rig.read(register) == REGISTERS[register.name].reset, register.name
    assert rig.read(statistics.GPRC) == 0
    assert rig.read(receive.RDH) == 0
    assert rig.receive(frames.tcp()) == []


@pytest.mark.parametrize("bit", [SOFTWARE, LINK])
def test_a_reset_leaves_tables_alone(rig: Rig, bit: int) -> None:
    """They are memories: software has to initialize them (datasheet 4.6.7)."""
    for register in (filters.MTA, filters.VFTA, filters.RETA, filters.RSSRK):
        rig.write(register, 0x0101_0101, 3)
    rig.write(filters.RAL, 0x12345678, 0)
    rig.write(general.CTRL, bit)
    for register in (filters.MTA, filters.VFTA, filters.RETA, filters.RSSRK):
        assert rig.read(register, 3) == 0x0101_0101
    # But entry 0 of the address table comes from the EEPROM again.
    assert rig.read(filters.RAL) == int.from_bytes(MAC[:4], "little")
    assert rig.read(filters.RAH) == int.from_bytes(MAC[4:], "little") | 1 << 31


def test_only_a_link_reset_takes_the_link_down(rig: Rig) -> None:
    autoc = rig.read(mac.AUTOC)
    rig.write(mac.AUTOC, autoc & ~(1 << 30))
    rig.write(general.CTRL, SOFTWARE)
    assert rig.read(mac.LINKS) & 1 << 30
    assert rig.read(mac.AUTOC) == autoc & ~(1 << 30)
    rig.write(general.CTRL, LINK)
    assert not rig.read(mac.LINKS) & 1 << 30
    assert rig.read(mac.AUTOC) == autoc
    rig.clock.advance(0.1)
    assert rig.read(mac.LINKS) & 1 << 30


def test_semaphores_survive(rig: Rig) -> None:
    rig.write(general.GSSR, 0x5)
    assert rig.read(general.SWSM) & 1 == 0
    assert rig.read(general.SWSM) & 1 == 1
    rig.write(general.CTRL, SOFTWARE)
    assert rig.read(general.GSSR) == 0x5
    assert rig.read(general.SWSM) & 1 == 1
    rig.write(general.SWSM, 0)
    assert rig.read(general.SWSM) & 1 == 0


def test_power_on_clears_everything(rig: Rig) -> None:
    rig.write(filters.MTA, 5, 3)
    rig.write(general.GSSR, 5)
    rig.device.restart(ResetCause.CLIENT)
    assert rig.read(filters.MTA, 3) == 0
    assert rig.read(general.GSSR) == 0


def test_a_reset_is_counted(rig: Rig) -> None:
    rig.write(general.CTRL, SOFTWARE)
    rig.write(general.CTRL, LINK)
    rig.device.restart(ResetCause.FLR)
    counters = rig.device.control_methods()["model.counters"]()
    assert counters["resets"] == {"power-on": 1, "software": 1, "link": 1, "flr": 1}


def test_the_account_outlives_resets(rig: Rig) -> None:
    rig.receive(frames.tcp())
    rig.write(general.CTRL, SOFTWARE)
    assert rig.device.control_methods()["model.counters"]()["rx"][0]["frames"] == 1


def test_master_disable(rig: Rig) -> None:
    rig.write(general.CTRL, 1 << 2)
    assert not rig.read(general.STATUS) & 1 << 19
    rig.write(general.CTRL, 0)
    assert rig.read(general.STATUS) & 1 << 19


def test_it_works_again_after_a_reset(rig: Rig) -> None:
    rig.write(general.CTRL, LINK)
    rig.clock.advance(0.1)
    rig.start()
    assert len(rig.receive(frames.tcp())) == 1
    assert rig.transmit(frames.ethernet()) == [frames.ethernet()]
