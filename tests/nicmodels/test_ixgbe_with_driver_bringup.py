# SPDX-License-Identifier: GPL-2.0-or-later
"""Bring-up, EEPROM, link, statistics and reset of the 82599 model, with an independent driver."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from ixgbe_bench import MAC, PEER, Bench
from ixgbe_driver import (
    CAUSE_LSC,
    CONTROL,
    CTRL,
    EICR,
    EIMS,
    FCTRL,
    GPTC,
    HEAD,
    LENGTH,
    MRQC,
    MSCA,
    QUEUE_ENABLE,
    RETA,
    RSSRK,
    STATUS,
    SW_FW_SYNC,
    SWSM,
    TAIL,
    rx_register,
    tx_register,
)
from nicmodels.phy import Abilities
from scapy.layers.l2 import Ether
from scapy.packet import Raw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FRAME = bytes(Ether(dst=PEER, src=MAC, type=0x88B5) / Raw(bytes(range(100))))
INWARD = bytes(Ether(dst=MAC, src=PEER, type=0x88B5) / Raw(bytes(range(100))))


@pytest.fixture
def bench(serve: Callable[..., object]) -> Iterator[Bench]:
    bench = Bench(serve)
    yield bench
    bench.close()


@pytest.mark.parametrize(("profile", "device"), [("kx4", 0x10F7), ("kr", 0x1517), ("combo", 0x10F8)])
def test_identity(serve: Callable[..., object], profile: str, device: int) -> None:
    bench = Bench(serve, profile=profile)
    assert bench.client.config_read(0) == device << 16 | 0x8086
    assert bench.client.config_read(8) >> 8 == 0x020000, "class: Ethernet controller"
    assert bench.client.region_info(0).size >= 128 << 10
    bench.start()
    bench.close()


def test_the_eeprom(bench: Bench) -> None:
    """Word 0x3F (6.1.4): words 0 to 0x3F and the sections that words 3 to 0xE point to add up to 0xBABA."""
    driver = bench.driver
    driver.reset()
    words = [driver.eeprom(n) for n in range(0x40)]
    total = sum(words[:0x3F])
    for pointer in words[3:0x0F]:
        if pointer not in {0, 0xFFFF}:
            length = driver.eeprom(pointer)
            if length not in {0, 0xFFFF}:
                total += sum(driver.eeprom(pointer + 1 + n) for n in range(length))
    assert (words[0x3F] + total) & 0xFFFF == 0xBABA
    assert driver.mac == MAC


def test_semaphores(bench: Bench) -> None:
    driver = bench.driver
    driver.reset()
    assert driver.take_semaphore()
    assert not driver.take_semaphore(), "SMBI is set by the first read"
    driver.release_semaphore()
    assert driver.take_semaphore()
    driver.write(SWSM, 3)
    assert driver.read(SWSM) & 2, "SWESMBI sticks when firmware does not hold it"
    driver.write(SW_FW_SYNC, 0b101)
    assert driver.read(SW_FW_SYNC) & 0x1F == 0b101
    driver.write(SW_FW_SYNC, 0)
    driver.release_semaphore()


def test_no_phy_answers_on_mdio(bench: Bench) -> None:
    """A backplane part has no PHY: reads complete and return all ones."""
    driver = bench.driver
    driver.reset()
    driver.write(MSCA, 1 << 16 | 1 << 30 | 2 | 0 << 26)
    driver.until(lambda: not driver.read(MSCA) & 1 << 30, "MDIO address cycle over")
    driver.write(MSCA, 1 << 16 | 1 << 30 | 3 << 26)
    driver.until(lambda: not driver.read(MSCA) & 1 << 30, "MDIO read cycle over")
    assert driver.read(0x04260) >> 16 == 0xFFFF


@pytest.mark.parametrize("speed", [10000, 1000])
def test_link_follows_the_partner(bench: Bench, speed: int) -> None:
    driver = bench.driver
    bench.start()
    bench.control("link.set", up=False)
    driver.until(lambda: driver.link == 0, "link down")
    bench.control("link.set", up=True, speed=speed)
    driver.wait_link(speed)


def test_restarting_negotiation_bounces_the_link(bench: Bench) -> None:
    driver = bench.driver
    bench.start()
    driver.read(EICR)
    driver.restart_link()
    assert driver.link == 0
    driver.wait_link()
    assert driver.read(EICR) & CAUSE_LSC


def test_nothing_passes_while_the_link_is_down(bench: Bench) -> None:
    bench.start()
    bench.control("link.set", up=False)
    bench.driver.until(lambda: bench.driver.link == 0, "link down")
    bench.peer.send(INWARD)
    bench.driver.read(STATUS)
    assert bench.driver.receive[0].poll() == []


def test_no_common_technology(bench: Bench) -> None:
    bench.start()
    bench.control("link.set", abilities=Abilities.of("40GBASE-KR4").to_json())
    bench.driver.until(lambda: bench.driver.link == 0, "link down")
    bench.control("link.set", abilities=["1000BASE-KX"])
    bench.driver.wait_link(1000)


@pytest.mark.parametrize("how", ["software", "function level", "client"])
def test_reset_and_again(bench: Bench, how: str) -> None:
    """After any reset everything is off, and the same driver brings it up again."""
    driver = bench.driver
    bench.start(queues=2)
    driver.transmit[1].send(FRAME)
    bench.peer.take()
    assert bench.receive([INWARD])[0].frame == INWARD
    driver.write(EIMS, 0xFFFF)
    if how == "software":
        driver.set_bits(CTRL, 1 << 26)
        driver.until(lambda: not driver.read(CTRL) & 1 << 26, "reset complete")
    else:
        bench.client.function_level_reset() if how == "function level" else bench.client.reset()
        bench.client.enable()
    for queue in range(2):
        assert not driver.read(rx_register(queue, CONTROL)) & QUEUE_ENABLE
        assert not driver.read(tx_register(queue, CONTROL)) & QUEUE_ENABLE
        assert driver.read(rx_register(queue, HEAD)) == 0
        assert driver.read(tx_register(queue, TAIL)) == 0
    assert driver.read(EIMS) == 0
    assert driver.read(FCTRL) == 0
    assert driver.read(GPTC) == 0
    assert driver.mac == MAC
    bench.peer.send(INWARD)
    bench.start(queues=2)
    driver.transmit[1].send(FRAME)
    assert bench.peer.take() == [FRAME]
    assert bench.receive([INWARD])[0].frame == INWARD


def test_registers_keep_what_they_have_room_for(bench: Bench) -> None:
    driver = bench.driver
    driver.reset()
    for queue in (0, 63, 64, 127):
        for register, mask in ((0, 0xFFFFFF80), (4, 0xFFFFFFFF), (LENGTH, 0x000FFF80)):
            driver.write(rx_register(queue, register), 0xFFFFFFFF)
            assert driver.read(rx_register(queue, register)) == mask
    for queue in (0, 127):
        driver.write(tx_register(queue, 0), 0xFFFFFFFF)
        assert driver.read(tx_register(queue, 0)) == 0xFFFFFF80
    for index in range(0, 128, 4):
        driver.write(RETA + index, 0x0F0E0D0C)
        assert driver.read(RETA + index) == 0x0F0E0D0C
    for index in range(0, 40, 4):
        driver.write(RSSRK + index, 0xA5A5A5A5 ^ index)
        assert driver.read(RSSRK + index) == 0xA5A5A5A5 ^ index


def test_both_addresses_of_the_82598_registers(bench: Bench) -> None:
    """MRQC, RETA, RSSRK and the first receive addresses are also at their offsets of the 82598 (8.2.2.1)."""
    driver = bench.driver
    driver.reset()
    driver.write(0x05818, 1)
    assert driver.read(MRQC) == 1
    driver.write(0x05C00, 0x01020304)
    assert driver.read(RETA) == 0x01020304
    driver.write(0x05C80, 0x11223344)
    assert driver.read(RSSRK) == 0x11223344
    assert driver.read(0x05400) == int.from_bytes(MAC[:4], "little")


def test_unknown_registers_are_harmless(bench: Bench) -> None:
    driver = bench.driver
    driver.reset()
    driver.write(0x1FFFC, 0xFFFFFFFF)
    assert driver.read(0x1FFFC) == 0
    counters = bench.control("model.counters")
    assert sum(counters["unknown"].values()) == 2
