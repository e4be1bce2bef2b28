# SPDX-License-Identifier: GPL-2.0-or-later
"""Bring-up, admin queue, link and resets of the gVNIC model, with an independent driver."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import gve_driver as g
import pytest
from gve_bench import Bench, plain
from gve_driver import DqoReceive, DqoTransmit, RefusedError
from nicmodels.models.gve import Gve
from nicmodels.models.gve.profiles import VARIANTS, Profile
from nicmodels.nic.device import Options
from vfio_client import MSIX
from wire_peer import MAC

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def bench(serve: Callable[..., object]) -> Iterator[Bench]:
    bench = Bench(serve)
    yield bench
    bench.close()


def status_of(call: Callable[[], object]) -> int:
    """The status of a failed command."""
    with pytest.raises(RefusedError) as error:
        call()
    return error.value.status


def test_identity(bench: Bench) -> None:
    assert bench.client.config_read(0) == 0x0042_1AE0
    assert bench.client.config_read(8) == 0x0200_0001, "class: Ethernet controller; revision 1"
    assert bench.client.region_info(0).size >= 0x30
    assert bench.client.region_info(2).size >= 4096


@pytest.mark.parametrize("profile", list(VARIANTS))
def test_description(serve: Callable[..., object], profile: str) -> None:
    bench = Bench(serve, profile=profile)
    device = bench.driver.start().device
    assert device is not None
    assert device.mac == MAC
    variant = VARIANTS[profile]
    assert device.format == {"gqi": g.GQI_QPL, "qpl": g.DQO_QPL}.get(profile, g.DQO_RDA)
    assert device.mtu == 1500
    jumbo = device.options.get(g.OPTION_JUMBO)
    assert (jumbo is not None) == (profile == "jumbo")
    assert (g.OPTION_STEERING in device.options) == (profile == "hds")
    assert bench.driver.read(g.MAX_TX) >= 2 * bench.driver.read(g.MAX_RX) >= 32
    assert bench.driver.vectors >= 2 * bench.driver.read(g.MAX_TX) + 1
    assert device.tx_entries == variant.tx_ring.default
    if device.format == g.DQO_RDA:
        # From here the driver of Linux 6.1 has the sizes of the transmit completion and the receive buffer rings.
        assert struct.unpack(">HH", device.format_data) == (device.tx_entries, device.rx_entries)
    # Each option has a feature bit.
    bits = {
        g.OPTION_RING: 1,
        g.OPTION_JUMBO: 4,
        g.OPTION_BUFFERS: 16,
        g.OPTION_STEERING: 32,
        g.OPTION_RSS: 128,
        g.OPTION_CLOCK: 256,
    }
    assert device.features == sum(bits[option] for option in device.options)
    bench.close()


def test_other_descriptor_versions_are_refused(bench: Bench) -> None:
    driver = bench.driver.start()
    at = driver.ram.allocate(4096)
    assert driver.ask(g.DESCRIBE, struct.pack(">QII", at, 2, 4096)) == g.INVALID_ARGUMENT
    assert driver.ask(g.DESCRIBE, struct.pack(">QII", at, 1, 40)) == g.INVALID_ARGUMENT
    assert driver.ram.read(at, 64) == bytes(64), "nothing was written"


def test_driver_version_is_recorded(bench: Bench) -> None:
    bench.driver.start()
    assert [event["version"] for event in bench.events("driver")] == ["test-1"]


def test_compatibility(bench: Bench) -> None:
    driver = bench.driver.start()
    info = driver.ram.allocate(512)
    driver.ram.write(info, b"\x01\0\0\0" + bytes(12) + (1 << 3).to_bytes(8, "big"))
    assert driver.ask(g.COMPATIBILITY, struct.pack(">QQ", 304, info)) == g.PASSED
    assert driver.ask(g.COMPATIBILITY, struct.pack(">QQ", 8, info)) == g.INVALID_ARGUMENT
    driver.ram.write(info + 16, (1 << 0).to_bytes(8, "big"))
    assert driver.ask(g.COMPATIBILITY, struct.pack(">QQ", 304, info)) == g.FAILED_PRECONDITION


def test_packet_types(bench: Bench) -> None:
    driver = bench.driver.start()
    at = driver.ram.allocate(2048)
    assert driver.ask(g.PTYPES, struct.pack(">QQ", 2047, at)) == g.INVALID_ARGUMENT
    assert driver.ask(g.PTYPES, struct.pack(">QQ", 2048, at)) == g.PASSED
    table = driver.ram.read(at, 2048)
    kinds = set(zip(table[::2], table[1::2], strict=True))
    assert table[:2] == b"\0\0"
    assert {(l3, l4) for l3 in (2, 3) for l4 in range(6)} <= kinds


def test_link_and_speed(bench: Bench) -> None:
    driver = bench.start(msix=True).driver
    at = driver.ram.allocate(8)
    driver.command(g.LINK_SPEED, struct.pack(">Q", at))
    assert int.from_bytes(driver.ram.read(at, 8), "big") == bench.control("link.get")["resolved"]["speed"] == 100_000
    bench.client.irq_count(MSIX, driver.blocks)
    assert all(driver.link for _ in range(5))
    assert bench.control("link.looks") >= 5
    changes = bench.control("link.changes")
    bench.control("link.set", up=False)
    assert bench.client.wait_irq(MSIX, driver.blocks) >= 1, "the management vector is the one behind the blocks"
    assert bench.control("link.looks") < 5, "they count from the change on; the bench itself may have read the state"
    assert not driver.link
    assert bench.control("link.changes") == changes + 1
    bench.control("link.set", up=True, speed=10_000)
    driver.until(lambda: driver.link, "the link")
    driver.command(g.LINK_SPEED, struct.pack(">Q", at))
    assert int.from_bytes(driver.ram.read(at, 8), "big") == 10_000


def test_resources_come_first_and_once(bench: Bench) -> None:
    driver = bench.driver
    driver.client.enable()
    driver.vectors = 65
    driver.start_adminq()
    driver.describe()
    driver.blocks = 64
    counters, table = driver.ram.allocate(4096), driver.ram.allocate(8192)
    assert driver.ask(g.DECONFIGURE) == g.FAILED_PRECONDITION
    assert driver.ask(g.CREATE_TX, DqoTransmit(driver, 0).command()) == g.FAILED_PRECONDITION
    assert driver.ask(g.CREATE_RX, DqoReceive(driver, 0).command()) == g.FAILED_PRECONDITION
    assert driver.ask(g.DESTROY_RX, struct.pack(">I", 0)) == g.FAILED_PRECONDITION
    assert driver.set_rss(bytes(40), [0] * 128) == g.FAILED_PRECONDITION
    for wrong, status in (
        ({"format": 2}, g.INVALID_ARGUMENT),
        ({"blocks": 65}, g.OUT_OF_RANGE),
        ({"blocks": 0}, g.OUT_OF_RANGE),
        ({"first": 2}, g.OUT_OF_RANGE),
        ({"stride": 2}, g.INVALID_ARGUMENT),
        ({"num_counters": 1 << 20}, g.OUT_OF_RANGE),
        ({"table": 0xDEAD_0000_0000}, g.INVALID_ARGUMENT),
        ({"counters": 0xDEAD_0000_0000}, g.INVALID_ARGUMENT),
    ):
        assert driver.ask(g.CONFIGURE, driver.resources(counters, table, **wrong)) == status, wrong
    assert driver.ask(g.CONFIGURE, driver.resources(counters, table)) == g.PASSED
    assert driver.ask(g.CONFIGURE, driver.resources(counters, table)) == g.ALREADY_EXISTS
    queue = DqoReceive(driver, 3).create()
    assert driver.ask(g.DECONFIGURE) == g.FAILED_PRECONDITION
    queue.destroy()
    assert driver.ask(g.DECONFIGURE) == g.PASSED
    assert driver.ask(g.DECONFIGURE) == g.FAILED_PRECONDITION


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"queue": 16}, g.OUT_OF_RANGE),
        ({"block": 64}, g.OUT_OF_RANGE),
        ({"ring": 300}, g.INVALID_ARGUMENT),
        ({"ring": 64}, g.INVALID_ARGUMENT),
        ({"buffer": 1024}, g.INVALID_ARGUMENT),
        ({"buffer": 4096}, g.INVALID_ARGUMENT),
        ({"header": 128}, g.INVALID_ARGUMENT),
        ({"pages": 7}, g.INVALID_ARGUMENT),
        ({"rsc": 2}, g.INVALID_ARGUMENT),
        ({"resources": 0xDEAD_0000_0000}, g.INVALID_ARGUMENT),
        ({"completions": 0xDEAD_0000_0000}, g.INVALID_ARGUMENT),
        ({"slots": 0xDEAD_0000_0000}, g.INVALID_ARGUMENT),
    ],
)
def test_receive_queues_that_cannot_be(bench: Bench, changes: dict[str, int], status: int) -> None:
    bench.driver.start()
    queue = DqoReceive(bench.driver, 1)
    assert status_of(lambda: queue.create(**changes)) == status
    queue.create()
    assert status_of(queue.create) == g.ALREADY_EXISTS
    queue.destroy()
    assert status_of(queue.destroy) == g.NOT_FOUND


def test_no_page_list_with_raw_addressing(bench: Bench) -> None:
    """The field means nothing then: later drivers write RAW to it, that of Linux 6.1 leaves it at 0. The events have it."""
    bench.driver.start()
    for number, pages in enumerate((0, g.RAW)):
        DqoTransmit(bench.driver, number).create(pages=pages)
        DqoReceive(bench.driver, number).create(pages=pages)
    made = [each for each in bench.events("command") if each["opcode"] in ("create_tx_queue", "create_rx_queue")]
    assert [each["page_list"] for each in made] == [0, 0, g.RAW, g.RAW]
    assert {each["status"] for each in made} == {"passed"}


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"queue": 32}, g.OUT_OF_RANGE),
        ({"block": 64}, g.OUT_OF_RANGE),
        ({"size": 100}, g.INVALID_ARGUMENT),
        ({"completion_size": 128}, g.INVALID_ARGUMENT),
        ({"completion_size": 0}, g.INVALID_ARGUMENT),
        ({"pages": 7}, g.INVALID_ARGUMENT),
        ({"ring": 0xDEAD_0000_0000}, g.INVALID_ARGUMENT),
    ],
)
def test_transmit_queues_that_cannot_be(bench: Bench, changes: dict[str, int], status: int) -> None:
    bench.driver.start()
    queue = DqoTransmit(bench.driver, 1)
    assert status_of(lambda: queue.create(**changes)) == status
    queue.create()
    assert status_of(queue.create) == g.ALREADY_EXISTS
    queue.destroy()
    assert status_of(queue.destroy) == g.NOT_FOUND


def test_commands_are_recorded(bench: Bench) -> None:
    bench.driver.start()
    queue = DqoReceive(bench.driver, 2).create()
    queue.destroy()
    status_of(queue.destroy)
    created, destroyed, refused = [each for each in bench.events("command") if each.get("queue") == 2]
    assert created["opcode"] == "create_rx_queue"
    assert (created["ring_size"], created["buffer_size"], created["header_buffer_size"]) == (256, 2048, 0)
    assert created["ntfy_id"] == created["vector"] == queue.block
    assert (destroyed["opcode"], destroyed["status"]) == ("destroy_rx_queue", "passed")
    assert refused["status"] == "not_found"


def test_unknown_commands(bench: Bench) -> None:
    driver = bench.driver.start()
    for opcode in (0, 0x13, 0x101, 0xDEADBEEF):
        assert driver.ask(opcode) == g.UNIMPLEMENTED
    assert driver.extended(g.DESCRIBE, bytes(16)) == g.UNIMPLEMENTED
    assert driver.extended(g.CONFIGURE_RULE, bytes(16)) == g.INVALID_ARGUMENT
    assert driver.extended(g.CONFIGURE_RULE, bytes(92)) == g.UNIMPLEMENTED, "the profile has no flow rules"
    assert driver.ask(g.EXTENDED, struct.pack(">IIQ", g.CONFIGURE_RULE, 92, 0xDEAD_0000_0000)) == g.INVALID_ARGUMENT
    assert driver.ask(g.TIMESTAMP, bytes(16)) == g.UNIMPLEMENTED
    assert driver.ask(g.QUERY_RSS, bytes(16)) == g.UNIMPLEMENTED
    assert driver.ask(g.REGISTER_PAGES, bytes(24)) == g.UNIMPLEMENTED
    assert driver.ask(g.UNREGISTER_PAGES, bytes(4)) == g.NOT_FOUND


def test_driver_parameter(bench: Bench) -> None:
    driver = bench.driver.start()
    assert driver.ask(g.SET_PARAMETER, struct.pack(">IxxxxQ", 1, 1400)) == g.PASSED
    assert driver.ask(g.SET_PARAMETER, struct.pack(">IxxxxQ", 1, 9000)) == g.OUT_OF_RANGE
    assert driver.ask(g.SET_PARAMETER, struct.pack(">IxxxxQ", 2, 1)) == g.INVALID_ARGUMENT


def test_several_commands_at_once(bench: Bench) -> None:
    """Many commands with one doorbell, across the end of the ring, as Linux creates queues."""
    driver = bench.driver.start()
    queues = [DqoReceive(driver, index) for index in range(16)]
    for _ in range(5):
        slots = [driver.put(g.CREATE_RX, queue.command(), driver.executed + n) for n, queue in enumerate(queues)]
        driver.executed += 16
        driver.write(g.ADMINQ_DOORBELL, driver.executed)
        assert driver.read(g.ADMINQ_COUNTER) == driver.executed
        assert {driver.ram.read(slot + 4, 4) for slot in slots} == {b"\0\0\0\1"}
        for queue in queues:
            queue.destroy()


def test_a_doorbell_that_cannot_be(bench: Bench) -> None:
    driver = bench.driver.start()
    driver.put(g.LINK_SPEED, struct.pack(">Q", driver.ram.allocate(8)))
    driver.write(g.ADMINQ_DOORBELL, driver.executed + 1000)
    assert driver.read(g.ADMINQ_COUNTER) == driver.executed + 1000, "the driver must not wait for ever"
    assert driver.ram.read(driver.queue + driver.executed % 64 * 64 + 4, 4) == bytes(4), "nothing was executed"
    assert bench.violations() == {"adminq.doorbell": 1}


def test_unconnected_doorbells(bench: Bench) -> None:
    driver = bench.driver.start()
    driver.ring(1000, 1)
    queue = DqoReceive(driver, 0).create()
    driver.ring(queue.doorbell, 256)
    queue.destroy()
    driver.ring(queue.doorbell, 0)
    driver.client.write_bytes(2, 2, b"\0\0")
    assert bench.violations() == {"doorbell.unknown": 2, "rx.tail": 1, "doorbell.access": 1}


def test_reset_by_the_driver(bench: Bench) -> None:
    driver = bench.start(queues=4).driver
    bench.peer.send(plain())
    bench.rx[0].wait()
    driver.reset()
    assert driver.read(g.ADMINQ_COUNTER) == 0
    assert not [queue for queue in bench.control("model.queues")["rx"] if queue["enabled"]]
    assert bench.balanced()
    assert bench.control("model.accounting")["rx"][0]["held"] == 0
    assert bench.control("model.counters")["resets"]["driver"] == 1
    # Again, at another address.
    driver.start_adminq()
    assert not driver.read(g.DEVICE_STATUS) & g.STATUS_IS_RESET
    driver.describe()
    driver.configure()
    queue = DqoReceive(driver, 0).create()
    queue.post()
    bench.peer.send(plain())
    assert queue.wait()[0].frame == plain()


def test_reset_asked_for_by_the_device(bench: Bench) -> None:
    driver = bench.start(msix=True).driver
    bench.client.irq_count(MSIX, driver.blocks)
    bench.control("device.reset")
    bench.client.wait_irq(MSIX, driver.blocks)
    assert driver.read(g.DEVICE_STATUS) & g.STATUS_RESET
    bench.peer.send(plain())
    bench.rx[0].wait()
    driver.reset()
    assert not driver.read(g.DEVICE_STATUS) & g.STATUS_RESET


@pytest.mark.parametrize("kind", ["flr", "client"])
def test_other_resets(bench: Bench, kind: str) -> None:
    driver = bench.start(queues=2).driver
    if kind == "flr":
        bench.client.function_level_reset()
    else:
        bench.client.reset()
    bench.client.enable()
    assert driver.read(g.DEVICE_STATUS) & g.STATUS_IS_RESET
    assert driver.read(g.MAX_RX) == 16
    assert bench.balanced()
    assert not [queue for queue in bench.control("model.queues")["rx"] if queue["enabled"]]


@pytest.mark.parametrize("revision", [0, 1])
def test_page_number_places_the_queue(serve: Callable[..., object], revision: int) -> None:
    """As the driver of Linux 6.1 does on every revision, and a later one only on revision 0."""
    profile = Profile("an old device or an old driver", revision=revision)
    bench = Bench(serve, create=lambda host, options: Gve(host, Options(mac=options.mac), profile=profile))
    driver = bench.driver
    bench.client.enable()
    _, driver.vectors = bench.client.irq_info(MSIX)
    driver.queue = driver.ram.allocate(4096, 4096)
    driver.write(g.ADMINQ_PFN, driver.queue >> 12)
    assert driver.describe().mac == MAC
    driver.write(g.ADMINQ_PFN, 0)
    assert driver.read(g.ADMINQ_PFN) == 0
    assert driver.read(g.ADMINQ_COUNTER) == 0
    bench.close()


def test_options_that_the_device_has_not(serve: Callable[..., object]) -> None:
    from nicmodels.nic.device import Slot

    for options in (Options(profile="fast"), Options(mac=b"\x01\0\0\0\0\0"), Options(queues=17)):
        with pytest.raises(ValueError, match=r"profile|MAC|queues"):
            Gve(Slot(), options)
