# SPDX-License-Identifier: GPL-2.0-or-later
"""gVNIC's admin queue with malformed commands and commands out of order: each has a status, and the next one works."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import gve_driver as g
import pytest
from gve_bench import Bench
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nicmodels.models.gve.commands import Status
from nicmodels.models.gve.device import Gve
from nicmodels.models.gve.profiles import VARIANTS
from nicmodels.nic.device import Options, Slot
from nicmodels.pci import ResetCause

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOWHERE = 0xDEAD_0000_0000
ADDRESSED = {
    "describe": (g.DESCRIBE, struct.pack(">QII", NOWHERE, 1, 4096)),
    "link-speed": (g.LINK_SPEED, struct.pack(">Q", NOWHERE)),
    "packet-types": (g.PTYPES, struct.pack(">QQ", 2048, NOWHERE)),
    "compatibility": (g.COMPATIBILITY, struct.pack(">QQ", 304, NOWHERE)),
    "timestamp": (g.TIMESTAMP, struct.pack(">QQ", 40, NOWHERE)),
    "query-rss": (g.QUERY_RSS, struct.pack(">QQ", 4096, NOWHERE)),
    "query-rules": (g.QUERY_RULES, struct.pack(">HxxIQQ", 1, 0, 4096, NOWHERE)),
    "rss-key": (g.CONFIGURE_RSS, struct.pack(">HBxHHQQ", 0, 1, 40, 0, NOWHERE, 0)),
    "rss-table": (g.CONFIGURE_RSS, struct.pack(">HBxHHQQ", 0, 1, 0, 128, 0, NOWHERE)),
    "report": (g.REPORT_STATS, struct.pack(">QQQ", 1608, NOWHERE, 20)),
    "rule": (g.EXTENDED, struct.pack(">IIQ", g.CONFIGURE_RULE, 92, NOWHERE)),
}
IN_NEED_OF_RESOURCES = {
    "create-tx": (g.CREATE_TX, bytes(48)),
    "create-rx": (g.CREATE_RX, bytes(56)),
    "destroy-tx": (g.DESTROY_TX, bytes(4)),
    "destroy-rx": (g.DESTROY_RX, bytes(4)),
    "rss": (g.CONFIGURE_RSS, bytes(24)),
    "report": (g.REPORT_STATS, bytes(24)),
    "deconfigure": (g.DECONFIGURE, b""),
}


@pytest.fixture
def bench(serve: Callable[..., object]) -> Iterator[Bench]:
    """A device with every command but page lists; the admin queue is placed, nothing is configured."""
    bench = Bench(serve, profile="hds")
    bench.client.enable()
    bench.driver.start_adminq()
    yield bench
    bench.close()


@pytest.mark.parametrize(("opcode", "body"), ADDRESSED.values(), ids=ADDRESSED.keys())
def test_addresses_that_are_not_there(bench: Bench, opcode: int, body: bytes) -> None:
    driver = bench.driver
    driver.vectors = 65
    driver.describe()
    driver.configure()
    assert driver.ask(opcode, body) == g.INVALID_ARGUMENT
    driver.describe()


@pytest.mark.parametrize(("opcode", "body"), IN_NEED_OF_RESOURCES.values(), ids=IN_NEED_OF_RESOURCES.keys())
def test_commands_before_there_are_resources(bench: Bench, opcode: int, body: bytes) -> None:
    assert bench.driver.ask(opcode, body) == g.FAILED_PRECONDITION
    bench.driver.describe()


def test_a_command_in_memory_that_is_not_there(bench: Bench) -> None:
    """The status cannot be written; the counter moves, and the event log has the reason."""
    driver = bench.driver
    driver.reset()
    driver.client.write_bytes(0, g.ADMINQ_LENGTH, struct.pack(">H", g.PAGE))
    driver.write(g.ADMINQ_HIGH, NOWHERE >> 32)
    driver.write(g.ADMINQ_LOW, 0)
    driver.write(g.DRIVER_STATUS, g.RUN)
    driver.write(g.ADMINQ_DOORBELL, 1)
    assert driver.read(g.ADMINQ_COUNTER) == 1
    assert bench.violations() == {"adminq.memory": 1}
    driver.reset()
    driver.start_adminq()
    driver.describe()


@pytest.mark.parametrize("length", [0, 100, 192, 3 * 4096])
def test_lengths_that_no_admin_queue_has(bench: Bench, length: int) -> None:
    driver = bench.driver
    driver.reset()
    driver.client.write_bytes(0, g.ADMINQ_LENGTH, struct.pack(">H", length))
    driver.write(g.DRIVER_STATUS, g.RUN)
    driver.write(g.ADMINQ_DOORBELL, 1)
    assert bench.violations() == {"adminq.length": 1, "adminq.unplaced": 1}
    driver.reset()
    driver.start_adminq()
    driver.describe()


def test_a_report_of_a_driver_that_asks_for_it_too_late(bench: Bench) -> None:
    """With the longest interval the report never comes."""
    driver = bench.driver
    driver.vectors = 65
    driver.describe()
    driver.configure()
    at = driver.ram.allocate(4096)
    assert driver.ask(g.REPORT_STATS, struct.pack(">QQQ", 4096, at, (1 << 64) - 1)) == g.PASSED
    driver.describe()
    assert driver.ram.read(at, 4096) == bytes(4096)


def words(*numbers: int) -> st.SearchStrategy[bytes]:
    """Four bytes, often one of these numbers."""
    return st.one_of(
        st.sampled_from(numbers).map(lambda number: number.to_bytes(4, "big")), st.binary(min_size=4, max_size=4)
    )


BASE = 0x10_0000
COMMANDS = st.builds(
    lambda opcode, body: opcode.to_bytes(4, "big") + bytes(4) + b"".join(body),
    st.one_of(st.integers(0, 0x13), st.sampled_from((g.EXTENDED, g.CONFIGURE_RULE)), st.integers(0, 0xFFFF_FFFF)),
    st.lists(
        words(
            0,
            1,
            2,
            16,
            40,
            64,
            128,
            256,
            4096,
            BASE,
            BASE + 0x1000,
            0x100,
            0x800_0000,
            g.RAW,
            1 << 16,
            2048 << 16 | 256,
        ),
        min_size=14,
        max_size=14,
    ),
)


@pytest.mark.parametrize("profile", list(VARIANTS))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(COMMANDS, min_size=1, max_size=32))
def test_garbage(profile: str, commands: list[bytes]) -> None:
    """Every command has a status of the interface, and a driver can start over."""
    import os

    slot = Slot()
    device = Gve(slot, Options(profile=profile))
    device.restart(ResetCause.POWER_ON)
    fd = os.memfd_create("ram")
    os.ftruncate(fd, 1 << 22)
    slot.memory.map(fd, 0, BASE, 1 << 22)
    os.close(fd)
    slot.memory.bus_master = slot.interrupts.bus_master = True

    queue = BASE + 0x20_0000

    def write(offset: int, value: int) -> None:
        device.bar_write(0, offset, int.from_bytes(value.to_bytes(4, "big"), "little"), 4)

    def read(offset: int) -> int:
        return int.from_bytes(device.bar_read(0, offset, 4).to_bytes(4, "little"), "big")

    def start() -> None:
        write(g.DRIVER_STATUS, g.RESET)
        write(g.ADMINQ_LENGTH, 4096 << 16)
        write(g.ADMINQ_HIGH, 0)
        write(g.ADMINQ_LOW, queue)
        write(g.DRIVER_STATUS, g.RUN)

    start()
    for number, command in enumerate(commands):
        slot.memory.write(queue + 64 * number, command)
        write(g.ADMINQ_DOORBELL, number + 1)
        assert read(g.ADMINQ_COUNTER) == number + 1
        status = int.from_bytes(slot.memory.read(queue + 64 * number + 4, 4), "big")
        assert status != Status.UNSET
        Status(status)
    for _ in range(4):
        slot.clock.advance(0.001)
    start()
    slot.memory.write(queue, struct.pack(">II", g.DESCRIBE, 0) + struct.pack(">QII", BASE, 1, 4096))
    write(g.ADMINQ_DOORBELL, 1)
    assert slot.memory.read(queue + 4, 4) == Status.PASSED.to_bytes(4, "big")
    device.close()
