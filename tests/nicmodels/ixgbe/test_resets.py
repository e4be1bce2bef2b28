# SPDX-License-Identifier: GPL-2.0-or-later
"""What each reset changes, and what it keeps."""

from __future__ import annotations

import frames
import pytest
from ixgbe_harness import MAC, Harness
from nicmodels.models.ixgbe.registers import REGISTERS, filters, general, interrupt, mac, receive, statistics, transmit
from nicmodels.pci import ResetCause

SOFTWARE, LINK = 1 << 26, 1 << 3


@pytest.mark.parametrize("bit", [SOFTWARE, LINK])
def test_a_reset_stops_the_data_path(harness: Harness, bit: int) -> None:
    harness.write(interrupt.EIMS, 0x7FFFFFFF)
    harness.receive(frames.tcp())
    harness.write(general.CTRL, bit)
    assert harness.read(general.CTRL) & bit == 0
    for register in (receive.RXDCTL, transmit.TXDCTL, receive.RDBAL, transmit.TDBAL, receive.RXCTRL, interrupt.EIMS):
        assert harness.read(register) == REGISTERS[register.name].reset, register.name
    assert harness.read(statistics.GPRC) == 0
    assert harness.read(receive.RDH) == 0
    assert harness.receive(frames.tcp()) == []


@pytest.mark.parametrize("bit", [SOFTWARE, LINK])
def test_a_reset_leaves_tables_alone(harness: Harness, bit: int) -> None:
    """They are memories, which software initializes (datasheet 4.6.7)."""
    for register in (filters.MTA, filters.VFTA, filters.RETA, filters.RSSRK):
        harness.write(register, 0x0101_0101, 3)
    harness.write(filters.RAL, 0x12345678, 0)
    harness.write(general.CTRL, bit)
    for register in (filters.MTA, filters.VFTA, filters.RETA, filters.RSSRK):
        assert harness.read(register, 3) == 0x0101_0101
    # But entry 0 of the address table comes from the EEPROM again.
    assert harness.read(filters.RAL) == int.from_bytes(MAC[:4], "little")
    assert harness.read(filters.RAH) == int.from_bytes(MAC[4:], "little") | 1 << 31


def test_only_a_link_reset_takes_the_link_down(harness: Harness) -> None:
    autoc = harness.read(mac.AUTOC)
    harness.write(mac.AUTOC, autoc & ~(1 << 30))
    harness.write(general.CTRL, SOFTWARE)
    assert harness.read(mac.LINKS) & 1 << 30
    assert harness.read(mac.AUTOC) == autoc & ~(1 << 30)
    harness.write(general.CTRL, LINK)
    assert not harness.read(mac.LINKS) & 1 << 30
    assert harness.read(mac.AUTOC) == autoc
    harness.clock.advance(0.1)
    assert harness.read(mac.LINKS) & 1 << 30


def test_semaphores_survive(harness: Harness) -> None:
    harness.write(general.GSSR, 0x5)
    assert harness.read(general.SWSM) & 1 == 0
    assert harness.read(general.SWSM) & 1 == 1
    harness.write(general.CTRL, SOFTWARE)
    assert harness.read(general.GSSR) == 0x5
    assert harness.read(general.SWSM) & 1 == 1
    harness.write(general.SWSM, 0)
    assert harness.read(general.SWSM) & 1 == 0


def test_power_on_clears_everything(harness: Harness) -> None:
    harness.write(filters.MTA, 5, 3)
    harness.write(general.GSSR, 5)
    harness.device.restart(ResetCause.CLIENT)
    assert harness.read(filters.MTA, 3) == 0
    assert harness.read(general.GSSR) == 0


def test_a_queue_hangs_until_the_reset(harness: Harness) -> None:
    harness.slot.faults["tx.queue.stuck"].arm(until_reset=True)
    assert harness.transmit(frames.ethernet()) == []
    harness.write(general.CTRL, SOFTWARE)
    assert not harness.slot.faults["tx.queue.stuck"].armed


def test_a_reset_is_counted(harness: Harness) -> None:
    harness.write(general.CTRL, SOFTWARE)
    harness.write(general.CTRL, LINK)
    harness.device.restart(ResetCause.FLR)
    counters = harness.device.control_methods()["model.counters"]()
    assert counters["resets"] == {"power-on": 1, "software": 1, "link": 1, "flr": 1}


def test_the_account_outlives_resets(harness: Harness) -> None:
    harness.receive(frames.tcp())
    harness.write(general.CTRL, SOFTWARE)
    assert harness.device.control_methods()["model.counters"]()["rx"][0]["frames"] == 1


def test_master_disable(harness: Harness) -> None:
    harness.write(general.CTRL, 1 << 2)
    assert not harness.read(general.STATUS) & 1 << 19
    harness.write(general.CTRL, 0)
    assert harness.read(general.STATUS) & 1 << 19


def test_it_works_again_after_a_reset(harness: Harness) -> None:
    harness.write(general.CTRL, LINK)
    harness.clock.advance(0.1)
    harness.start()
    assert len(harness.receive(frames.tcp())) == 1
    assert harness.transmit(frames.ethernet()) == [frames.ethernet()]
