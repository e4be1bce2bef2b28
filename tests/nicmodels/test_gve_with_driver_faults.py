# SPDX-License-Identifier: GPL-2.0-or-later
"""Every fault point of gVNIC does what its text describes, and nothing before it is armed."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import gve_driver as g
import pytest
from gve_bench import Bench, datagram, plain, segments
from gve_driver import DqoReceive, DqoTransmit
from gve_gqi_driver import GqiTransmit
from nicmodels.models.gve import fault_points
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Dot1Q, Ether
from test_gve_with_driver_bringup import status_of
from test_gve_with_driver_receive import KEY, rule, spec4
from test_gve_with_driver_transmit import PLAIN, outgoing, partial
from vfio_client import MSIX
from wire_peer import MAC, PEER, TimedOutError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHOWN: set[str] = set()
MULTICAST = bytes.fromhex("01005e010203")


def shows(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Mark a test as covering these faults; `test_all_faults_are_shown` checks that all are covered."""
    SHOWN.update(names)
    return lambda function: function


@pytest.fixture
def bench(serve: Callable[..., object]) -> Iterator[Bench]:
    bench = Bench(serve, profile="hds", ram=64 << 20).start(queues=2, msix=True, header=256)
    yield bench
    bench.close()


def received(bench: Bench, *frames: bytes) -> list[g.Received]:
    """The packets received for queue 0 before a marker."""
    marker = plain(77)
    for frame in (*frames, marker):
        bench.peer.send(frame)
    found: list[g.Received] = []

    def there() -> bool:
        for queue in bench.rx:
            found.extend(queue.poll())
            queue.post()
        return any(got.frame == marker for got in found)

    bench.driver.until(there, "the marker")
    return [got for got in found if got.frame != marker]


def whole(got: g.Received) -> bytes:
    return got.header + got.frame


def sent(bench: Bench, *pieces: bytes, **options: object) -> list[bytes]:
    """The frames that a packet puts on the wire before a marker."""
    marker = PLAIN[:77]
    queue = bench.tx[0]
    queue.write(*pieces, **options)
    queue.ring_doorbell()
    bench.driver.until(lambda: queue.poll() or bool(queue.done), "its completion")
    for fault in bench.served.slot.faults:
        bench.served.call(fault.disarm)
    queue.done.clear()
    queue.send(marker)
    frames: list[bytes] = []
    while not frames or frames[-1] != marker:
        frames += bench.peer.take()
    return frames[:-1]


def right(frame: bytes) -> bool:
    """Whether the checksums are what scapy computes."""
    packet = Ether(frame)
    again = packet.copy()
    for layer in (IP, TCP, UDP):
        if layer in again:
            del again[layer].chksum
    return bytes(again) == frame


def test_nothing_is_wrong_without_a_fault(bench: Bench) -> None:
    assert [whole(got) for got in received(bench, datagram(), plain(1500))] == [datagram(), plain(1500)]
    assert sent(bench, PLAIN) == [PLAIN]
    assert all(fault.fired == 0 for fault in bench.served.slot.faults)


# Transmission


@pytest.mark.parametrize("name", ["tx.checksum.wrong", "tx.ip-checksum.wrong"])
@pytest.mark.parametrize("mss", [0, 400])
@shows("tx.checksum.wrong", "tx.ip-checksum.wrong")
def test_transmit_checksums(bench: Bench, name: str, mss: int) -> None:
    data, header = partial(outgoing(4, TCP, 1000), with_length=not mss)
    tso = (mss, header) if mss else None
    assert all(right(frame) for frame in sent(bench, data[:header], data[header:], checksum=True, tso=tso))
    bench.arm(name, queue=0)
    assert not right(sent(bench, data[:header], data[header:], checksum=True, tso=tso)[0])


@shows("tx.frame.dropped", "tx.frame.duplicated", "tx.frame.corrupted", "tx.padding.missing")
def test_transmitted_frames(bench: Bench) -> None:
    spoilt = PLAIN[:-1] + bytes((PLAIN[-1] ^ 1,))
    for name, frames in (("dropped", []), ("duplicated", [PLAIN, PLAIN]), ("corrupted", [spoilt])):
        bench.arm(f"tx.frame.{name}")
        assert sent(bench, PLAIN) == frames
    bench.arm("tx.padding.missing")
    assert sent(bench, PLAIN[:40]) == [PLAIN[:40]]


@shows("tx.vlan.missing", "tx.vlan.wrong")
def test_transmitted_tags(bench: Bench) -> None:
    tagged = bytes(Ether(dst=PEER, src=MAC) / Dot1Q(vlan=101, prio=3, type=0x88B5)) + bytes(60)
    bench.arm("tx.vlan.missing")
    assert sent(bench, tagged) == [tagged[:12] + tagged[16:]]
    bench.arm("tx.vlan.wrong")
    (frame,) = sent(bench, tagged)
    assert Ether(frame)[Dot1Q].vlan == 102


@pytest.mark.parametrize("name", ["sequence", "flags", "identification", "length", "missing"])
@shows(*(f"tx.segment.{name}" for name in ("sequence", "flags", "identification", "length", "missing")))
def test_segments(bench: Bench, name: str) -> None:
    packet = outgoing(4, TCP, 1000, seq=1, flags="PA")
    data, header = partial(packet, with_length=False)
    good = [Ether(each) for each in sent(bench, data[:header], data[header:], checksum=True, tso=(400, header))]
    bench.arm(f"tx.segment.{name}")
    bad = [Ether(each) for each in sent(bench, data[:header], data[header:], checksum=True, tso=(400, header))]
    assert all(right(bytes(each)) for each in bad)
    shown = {
        "sequence": bad[1][TCP].seq == good[1][TCP].seq + 1,
        "flags": "P" in bad[0][TCP].flags,
        "identification": len({each[IP].id for each in bad}) == 1,
        "length": len(bad[-1][TCP].payload) == len(good[-1][TCP].payload) - 1,
        "missing": len(bad) == len(good) - 1,
    }
    assert shown[name]


@shows("tx.completion.lost", "tx.completion.other-tag", "tx.queue.stuck")
def test_completions(bench: Bench) -> None:
    queue = bench.tx[0]
    bench.arm("tx.completion.lost", times=1)
    queue.write(PLAIN, tag=9)
    queue.ring_doorbell()
    bench.peer.take()
    queue.poll()
    assert queue.done == []
    assert bench.control("model.accounting")["tx"][0]["tags"] == 1
    bench.arm("tx.completion.other-tag", times=1)
    queue.write(PLAIN, tag=20)
    queue.ring_doorbell()
    queue.wait(22)
    bench.arm("tx.queue.stuck")
    queue.write(PLAIN, tag=30)
    queue.ring_doorbell()
    bench.driver.read(g.DEVICE_STATUS)
    with pytest.raises(TimedOutError):
        queue.wait(30, timeout=0.2)


def test_gqi_completions(serve: Callable[..., object]) -> None:
    bench = Bench(serve, profile="gqi")
    bench.driver.start()
    queue = GqiTransmit(bench.driver, 0).create()
    bench.driver.until(lambda: bench.driver.link, "the link")
    bench.arm("tx.completion.lost")
    queue.write(PLAIN)
    queue.ring_doorbell()
    bench.peer.take()
    assert queue.done == 0
    bench.close()


# Reception


@shows("rx.frame.dropped", "rx.frame.duplicated", "rx.frame.corrupted", "rx.frame.truncated", "rx.frame.reordered")
def test_received_frames(bench: Bench) -> None:
    frame, other = plain(1200), plain(300)
    spoilt = frame[:-1] + bytes((frame[-1] ^ 1,))
    for name, frames in (
        ("dropped", []), ("duplicated", [frame, frame]), ("corrupted", [spoilt]), ("truncated", [frame[:1024]]),
    ):  # fmt: skip
        bench.arm(f"rx.frame.{name}", times=1)
        assert [got.frame for got in received(bench, frame)] == frames
    bench.arm("rx.frame.reordered", times=1)
    assert [got.frame for got in received(bench, frame, other)] == [other, frame]


@shows("rx.checksum.bad-as-good", "rx.checksum.good-as-bad", "rx.checksum.unreported")
def test_checksum_verdicts(bench: Bench) -> None:
    good = datagram(300)
    bad = good[:-1] + bytes((good[-1] ^ 1,))
    bench.arm("rx.checksum.bad-as-good")
    (got,) = received(bench, bad)
    assert (got.processed, got.l4_error) == (True, False)
    bench.disarm("rx.checksum.bad-as-good")
    bench.arm("rx.checksum.good-as-bad")
    assert received(bench, good)[0].l4_error
    bench.disarm("rx.checksum.good-as-bad")
    bench.arm("rx.checksum.unreported")
    assert not received(bench, good)[0].processed


@shows("rx.rss.hash", "rx.rss.queue", "rx.rss.unreported")
def test_scaling(bench: Bench) -> None:
    bench.driver.set_rss(KEY, [0] * 128)
    frame = datagram()
    value = received(bench, frame)[0].hash
    bench.arm("rx.rss.hash")
    assert received(bench, frame)[0].hash == value ^ 1
    bench.disarm("rx.rss.hash")
    bench.arm("rx.rss.unreported")
    assert received(bench, frame)[0].hash == 0
    bench.disarm("rx.rss.unreported")
    bench.arm("rx.rss.queue")
    bench.peer.send(frame)
    assert whole(bench.rx[1].wait()[0]) == frame


@pytest.mark.parametrize(
    ("name", "frame"),
    [
        ("rx.promiscuous.ignored", plain(destination=PEER)),
        ("rx.promiscuous.ignored", plain(destination=MULTICAST)),
        ("rx.multicast.ignored", plain(destination=MULTICAST)),
        ("rx.broadcast.ignored", plain(destination=b"\xff" * 6)),
        ("rx.vlan.filter-closed", bytes(Ether(dst=MAC, src=PEER) / Dot1Q(vlan=7, type=0x88B5)) + bytes(60)),
    ],
)
@shows("rx.promiscuous.ignored", "rx.multicast.ignored", "rx.broadcast.ignored", "rx.vlan.filter-closed")
def test_frames_that_are_kept_out(bench: Bench, name: str, frame: bytes) -> None:
    assert len(received(bench, frame)) == 1
    bench.arm(name)
    assert received(bench, frame) == []


@shows("rx.vlan.wrong")
def test_received_tags(bench: Bench) -> None:
    bench.arm("rx.vlan.wrong")
    frame = bytes(Ether(dst=MAC, src=PEER) / Dot1Q(vlan=7, type=0x88B5)) + bytes(60)
    assert Ether(received(bench, frame)[0].frame)[Dot1Q].vlan == 8


@shows("rx.jumbo.dropped")
def test_jumbo(serve: Callable[..., object]) -> None:
    bench = Bench(serve, profile="jumbo").start(buffer=4096)
    assert len(received(bench, plain(4000))) == 1
    bench.arm("rx.jumbo.dropped")
    assert received(bench, plain(4000)) == []
    bench.close()


@shows("rx.flow-director.ignored")
def test_steering(bench: Bench) -> None:
    bench.driver.set_rss(KEY, [0] * 128)
    assert bench.driver.extended(g.CONFIGURE_RULE, rule(1, 1, spec4(), spec4())) == g.PASSED
    bench.peer.send(datagram())
    bench.rx[1].wait()
    bench.arm("rx.flow-director.ignored")
    bench.peer.send(datagram())
    bench.rx[0].wait()


@shows("rx.coalescing.corrupted")
def test_coalescing(serve: Callable[..., object]) -> None:
    bench = Bench(serve).start(rsc=True)
    frames = segments(3, 500)
    bench.arm("rx.coalescing.corrupted")
    bench.burst(frames)
    (got,) = bench.rx[0].wait()
    assert len(got.frame) == 54 + 1500
    assert got.frame != frames[0] + frames[1][54:] + frames[2][54:]
    bench.close()


@shows("rx.header.unsplit", "rx.payload.misplaced", "rx.buffer.leaked")
def test_buffers(bench: Bench) -> None:
    frame = datagram(400)
    bench.arm("rx.header.unsplit", times=1)
    (got,) = received(bench, frame)
    assert (got.split, got.frame) == (False, frame)
    bench.arm("rx.payload.misplaced", times=1)
    (got,) = received(bench, frame)
    assert (got.header, len(got.frame)) == (frame[:42], 400)
    assert got.frame != frame[42:]
    queue = bench.rx[0] if bench.control("model.counters")["rx"][0]["frames"] > 2 else bench.rx[1]
    posted = len(queue.posted)
    del queue
    bench.arm("rx.buffer.leaked", times=1)
    assert whole(received(bench, frame)[0]) == frame
    held = [each["held"] for each in bench.control("model.accounting")["rx"][:2]]
    assert held == [posted, posted], "the accounting still has the buffer that the device never returns"


@shows("rx.timestamp.late")
def test_late_stamps(bench: Bench) -> None:
    def late() -> int:
        before = int(bench.control("model.clock")["now"])
        (got,) = received(bench, datagram())
        assert got.stamp is not None
        return (got.stamp - before) & 0xFFFF_FFFF

    assert late() < 1_000_000_000
    bench.arm("rx.timestamp.late")
    assert late() >= 1_000_000_000


@shows("rx.stopped.dma")
def test_memory_of_a_stopped_queue(bench: Bench) -> None:
    bench.driver.set_rss(KEY, [1] * 128)
    queue = bench.rx.pop()
    first = min(queue.posted)
    queue.destroy()
    bench.control("dma.start")
    bench.arm("rx.stopped.dma")
    bench.peer.send(datagram(300))
    bench.driver.until(lambda: bench.disarm("rx.stopped.dma") == 1 or bool(bench.arm("rx.stopped.dma")), "the fault")
    found = bench.control("dma.read")
    assert {each["queue"] for each in found} == {1}
    assert queue.buffers + first * 2048 in {each["address"] for each in found}


# Commands


@shows("rx.queue.create-fails", "rx.queue.destroy-fails", "tx.queue.create-fails")
def test_commands_that_fail(bench: Bench) -> None:
    bench.arm("rx.queue.create-fails", queue=5)
    assert status_of(DqoReceive(bench.driver, 5).create) == g.INTERNAL_ERROR
    DqoReceive(bench.driver, 6).create()
    bench.arm("rx.queue.destroy-fails", times=1)
    assert status_of(bench.rx[1].destroy) == g.INTERNAL_ERROR
    bench.rx[1].destroy()
    bench.arm("tx.queue.create-fails", times=1)
    assert status_of(DqoTransmit(bench.driver, 5).create) == g.INTERNAL_ERROR


@shows("rx.queue.create-hangs", "rx.queue.destroy-hangs")
@pytest.mark.parametrize("what", ["create", "destroy"])
def test_commands_that_never_complete(bench: Bench, what: str) -> None:
    driver, queue = bench.driver, DqoReceive(bench.driver, 5)
    if what == "destroy":
        queue.create()
    bench.arm(f"rx.queue.{what}-hangs", times=1, queue=5)
    slots = [
        driver.put(g.CREATE_RX, queue.command(), driver.executed)
        if what == "create"
        else driver.put(g.DESTROY_RX, struct.pack(">I", 5), driver.executed),
        driver.put(g.LINK_SPEED, struct.pack(">Q", driver.ram.allocate(8)), driver.executed + 1),
    ]
    driver.write(g.ADMINQ_DOORBELL, driver.executed + 2)
    driver.write(g.ADMINQ_DOORBELL, driver.executed + 2)
    assert driver.read(g.ADMINQ_COUNTER) == driver.executed, "neither this command nor the next"
    assert [driver.ram.read(slot + 4, 4) for slot in slots] == [bytes(4)] * 2
    assert bench.control("model.queues")["rx"][5]["enabled"] == (what == "destroy")
    driver.reset()
    driver.start_adminq()
    driver.describe()
    driver.configure()
    DqoReceive(driver, 5).create()


@shows("rx.queue.wrong")
def test_the_wrong_queue(bench: Bench) -> None:
    third = DqoReceive(bench.driver, 2).create()
    third.post()
    bench.arm("rx.queue.wrong", times=1)
    bench.rx[1].destroy()
    enabled = [queue["enabled"] for queue in bench.control("model.queues")["rx"][:3]]
    assert enabled == [True, False, False]
    third.create()
    third.post()
    bench.arm("rx.queue.wrong", times=1)
    DqoReceive(bench.driver, 1).create()
    assert bench.control("model.accounting")["rx"][2]["held"] == 0, "its buffers are forgotten"


# Link, interrupts, device


@shows("link.report.stuck", "link.speed.wrong", "link.interrupt.lost", "link.flap.on-queue-command")
def test_link(bench: Bench) -> None:
    driver = bench.driver
    bench.arm("link.report.stuck")
    bench.control("link.set", up=False)
    assert driver.link
    bench.disarm("link.report.stuck")
    assert not driver.link
    bench.client.irq_count(MSIX, driver.blocks)
    bench.arm("link.interrupt.lost")
    bench.control("link.set", up=True)
    driver.until(lambda: driver.link, "the link")
    assert bench.client.irq_count(MSIX, driver.blocks) == 0
    bench.disarm("link.interrupt.lost")
    at = driver.ram.allocate(8)
    bench.arm("link.speed.wrong")
    driver.command(g.LINK_SPEED, struct.pack(">Q", at))
    assert int.from_bytes(driver.ram.read(at, 8), "big") == 50_000
    bench.arm("link.flap.on-queue-command", times=1)
    DqoReceive(driver, 3).create()
    bench.client.wait_irq(MSIX, driver.blocks)
    assert [event["event"] for event in bench.served.slot.events.after() if "link." in event["event"]][-1] in (
        "link.down",
        "link.up",
    )
    driver.until(lambda: driver.link, "the link")


@shows("interrupt.vector.lost", "interrupt.vector.repeated", "interrupt.lost")
def test_interrupts(bench: Bench) -> None:
    driver, queue = bench.driver, bench.rx[0]
    bench.driver.set_rss(KEY, [0] * 128)
    vector = queue.block
    driver.arm(vector)
    bench.arm("interrupt.vector.lost", vector=vector)
    bench.peer.send(plain())
    queue.wait()
    assert bench.client.irq_count(MSIX, vector) == 0
    bench.disarm("interrupt.vector.lost")
    driver.arm(vector)
    bench.arm("interrupt.vector.repeated", times=1)
    bench.peer.send(plain())
    queue.wait()
    assert bench.client.irq_count(MSIX, vector) == 2
    bench.arm("interrupt.lost", vector=vector)
    bench.peer.send(plain())
    queue.wait()
    driver.arm(vector)
    driver.read(g.DEVICE_STATUS)
    assert bench.client.irq_count(MSIX, vector) == 0, "the event came while the vector was not armed, and is forgotten"


@shows("device.reset.incomplete", "device.command.stuck")
def test_device(bench: Bench) -> None:
    driver = bench.driver
    bench.arm("device.reset.incomplete", times=1)
    driver.reset()
    assert bench.control("model.queues")["rx"][0]["enabled"]
    driver.reset()
    assert not bench.control("model.queues")["rx"][0]["enabled"]
    driver.start_adminq()
    bench.arm("device.command.stuck")
    driver.put(g.DESCRIBE, bytes(16))
    driver.write(g.ADMINQ_DOORBELL, 1)
    assert driver.read(g.ADMINQ_COUNTER) == 0


def test_all_faults_are_shown() -> None:
    assert {point.name for point in fault_points.ALL} == SHOWN
