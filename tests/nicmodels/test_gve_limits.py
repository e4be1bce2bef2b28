# SPDX-License-Identifier: GPL-2.0-or-later
"""What a hostile driver asks of gVNIC, and what a bug of the model costs: counted, and at most the queue."""

from __future__ import annotations

import struct

import gve_driver as g
import pytest
from gve_driver import DqoReceive, DqoTransmit
from gve_harness import GveHarness
from nicmodels.nic.engine import SEGMENTS_A_TURN

MAC, PEER = bytes.fromhex("027066000001"), bytes.fromhex("020000000002")
PLAIN = PEER + MAC + b"\x88\xb5" + bytes(46)
IP = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 9040, 0, 0x4000, 64, 6, 0, b"\xc6\x12\0\2", b"\xc6\x12\0\1")
HEADER = PEER + MAC + b"\x08\x00" + IP + bytes(12) + b"\x50\x10" + bytes(6)


@pytest.fixture
def harness() -> GveHarness:
    return GveHarness().start()


def test_segments_are_sent_over_several_turns(harness: GveHarness) -> None:
    """The smallest segments that the hardware makes, 88 bytes, of twelve packets of 9,000 bytes."""
    tx = harness.tx
    tags = [tx.write(HEADER + bytes(9000), tso=(88, len(HEADER))) for _ in range(12)]
    tx.ring_doorbell()
    harness.clock.advance(0)
    assert len(harness.wire.sent) == 12 * 103
    assert sum(1 for burst in harness.wire.bursts if len(burst) == 103) < 12, "a packet was cut by the end of a turn"
    tx.poll()
    assert tx.done == tags
    account = harness.device.statistics.tx[0]
    assert (account.frames, account.segments) == (12, 12 * 103)
    assert harness.violations() == {}


def test_a_turn_has_a_limit(harness: GveHarness) -> None:
    tx = harness.tx
    for _ in range(60):
        tx.write(HEADER + bytes(9000), tso=(88, len(HEADER)))
    tx.ring_doorbell()
    clock, frames = harness.clock, []
    while clock._timers and clock._timers[0].when <= clock.now():
        due, clock._timers = clock._timers, []
        before = len(harness.wire.sent)
        for timer in due:
            timer.callback()
        frames.append(len(harness.wire.sent) - before)
    assert sum(frames) == 60 * 103
    assert max(frames) <= SEGMENTS_A_TURN


def test_a_packet_without_end_halts_its_queue(harness: GveHarness) -> None:
    """Its descriptors are collected over many batches, but not more than the ring holds."""
    tx = harness.tx
    descriptor = struct.pack("<QBBHHH", harness.driver.ram.iova, g.TX_PACKET, 0, 0, 5, 60)
    for _ in range(40):
        for _ in range(200):
            tx.push(descriptor)
        tx.ring_doorbell()
        harness.clock.advance(0)
    assert harness.violations() == {"tx.descriptors": 1}
    queue = harness.device.transmitter.queues[0]
    assert queue is not None
    assert len(queue._pieces) < tx.count
    assert not harness.device.queues()["tx"][0]["enabled"]
    tx.destroy()
    assert DqoTransmit(harness.driver, 0).create().send(PLAIN) >= 0


def test_completions_stay_in_their_ring(harness: GveHarness) -> None:
    """A report for each packet, which is a violation, doubles the completions: more in one batch than the ring has."""
    tx = harness.tx
    end = tx.completions.address + tx.completions.count * tx.completions.size
    harness.driver.ram.write(end, b"\xa5" * 2048)  # up to the next page, where the descriptors begin
    for _ in range(3):
        for _ in range(tx.count - 1):
            tx.write(PLAIN, report=True, context=False)
        tx.ring_doorbell()
        harness.clock.advance(0)
    assert harness.driver.ram.read(end, 2048) == b"\xa5" * 2048
    assert harness.violations().keys() == {"tx.report.interval"}
    assert len(harness.wire.sent) == 3 * (tx.count - 1)


def test_buffers_beyond_the_completion_ring_wait_in_theirs(harness: GveHarness) -> None:
    """As many buffers as the completion ring has entries; a driver that goes on posting gets no further."""
    harness.rx.destroy()
    rx = DqoReceive(harness.driver, 0, ring=512)
    completions = harness.driver.ram.allocate(256 * 32 + 4096, 4096)
    harness.driver.ram.write(completions, bytes(256 * 32) + b"\xa5" * 4096)
    rx.create(ring=256, completions=completions)
    for _ in range(30):
        for identity in range(400):
            rx.place(identity)
        rx.ring_doorbell()
    queue = harness.device.receiver.queues[0]
    assert queue is not None
    assert len(queue.posted) == 256
    assert harness.violations()["rx.completions.overrun"] > 20
    harness.wire.incoming.extend([PLAIN] * 600)
    harness.device.frame_arrived()
    harness.clock.advance(0.01)
    assert harness.driver.ram.read(completions + 256 * 32, 4096) == b"\xa5" * 4096
    assert harness.device.statistics.rx[0].frames == 256


def test_queues_in_memory_without_a_descriptor() -> None:
    """Memory that the client shares by messages only is memory too: the server asks the client for every access."""
    harness = GveHarness()
    ram = harness.driver.ram

    class Client:
        """The client's end."""

        def dma_read(self, iova: int, length: int) -> bytes:
            return ram.read(iova, length)

        def dma_write(self, iova: int, data: bytes) -> None:
            ram.write(iova, bytes(data))

    harness.memory.unmap(ram.iova, ram.size)
    harness.memory.map(None, 0, ram.iova, ram.size)
    harness.memory.remote = Client()
    harness.start()
    harness.tx.send(PLAIN)
    assert harness.wire.sent == [PLAIN]
    harness.wire.incoming.append(PLAIN)
    harness.device.frame_arrived()
    assert [each.frame for each in harness.rx.poll()] == [PLAIN]


def test_a_bug_costs_the_queue_in_which_it_shows(harness: GveHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object) -> None:
        raise ZeroDivisionError("a bug")

    other = DqoTransmit(harness.driver, 1).create()
    monkeypatch.setattr(harness.device.transmitter.queues[0], "_send_plain", broken)
    harness.tx.write(PLAIN)
    harness.tx.ring_doorbell()
    harness.clock.advance(0)
    assert harness.slot.failures.count == 1
    assert not harness.device.queues()["tx"][0]["enabled"]
    other.send(PLAIN)
    assert harness.wire.sent == [PLAIN]


def test_a_bug_of_reception_costs_the_queue(harness: GveHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(harness.device.receiver.queues[0], "deliver", broken)
    harness.wire.incoming.extend([PLAIN] * 3)
    harness.device.frame_arrived()
    harness.clock.advance(0.01)
    assert harness.slot.failures.count == 1
    assert harness.device.statistics.rx[0].dropped >= 1
    harness.rx.destroy()
    rx = DqoReceive(harness.driver, 0).create()
    rx.post()
    harness.wire.incoming.append(PLAIN)
    harness.device.frame_arrived()
    assert [each.frame for each in rx.poll()] == [PLAIN]


def test_an_unfinished_gqi_packet_does_not_keep_the_device_busy() -> None:
    harness = GveHarness("gqi").start()
    tx = harness.tx
    tx.push(struct.pack(">BBBBHHQ", 0, 0, 0, 3, 60, 60, 0))
    tx.ring_doorbell()
    harness.clock.advance(0)
    assert not harness.clock._timers


def test_many_commands_of_one_doorbell_take_several_turns(harness: GveHarness) -> None:
    """All are executed, in order, and the counter says how far the device is."""
    driver = harness.driver
    body = struct.pack(">Q", driver.ram.allocate(8))
    addresses = [driver.put(g.LINK_SPEED, body, driver.executed + step) for step in range(40)]
    driver.client.write_bytes(0, g.ADMINQ_DOORBELL, struct.pack(">I", driver.executed + 40))
    statuses = [struct.unpack(">I", driver.ram.read(at + 4, 4))[0] for at in addresses]
    assert statuses == [g.PASSED] * 16 + [g.UNSET] * 24
    harness.clock.advance(0)
    assert driver.read(g.ADMINQ_COUNTER) == driver.executed + 40
    assert {struct.unpack(">I", driver.ram.read(at + 4, 4))[0] for at in addresses} == {g.PASSED}
