# SPDX-License-Identifier: GPL-2.0-or-later
"""The gVNIC model's DQO receive path, with an independent driver and a wire peer."""

from __future__ import annotations

import itertools
import struct
from typing import TYPE_CHECKING

import gve_driver as g
import pytest
from gve_bench import Bench, datagram, plain, segments
from gve_driver import DqoReceive
from hypothesis import given, settings
from hypothesis import strategies as st
from nicmodels.models.gve.rx_dqo import RxQueueDqo
from plugfest.frames.toeplitz import toeplitz
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw
from test_gve_with_driver_transmit import device_with_memory
from vfio_client import MSIX
from wire_peer import MAC, PEER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEY = bytes(range(3, 43))


@pytest.fixture
def bench(serve: Callable[..., object]) -> Iterator[Bench]:
    bench = Bench(serve).start(queues=2, msix=True)
    yield bench
    bench.close()


@pytest.fixture
def split(serve: Callable[..., object]) -> Iterator[Bench]:
    """A device with header split, flow rules and a clock; its queue splits."""
    bench = Bench(serve, profile="hds").start(header=256)
    yield bench
    bench.close()


def start(serve: Callable[..., object], profile: str = "std", **options: object) -> Bench:
    return Bench(serve, profile=profile).start(**options)


@pytest.mark.parametrize("size", [60, 61, 1000, 1514])
def test_one_frame(bench: Bench, size: int) -> None:
    bench.peer.send(plain(size))
    (got,) = bench.rx[0].wait()
    assert got.frame == plain(size)
    assert (got.hash, got.processed, got.packet_type) == (0, False, 0)
    account = bench.control("model.counters")["rx"][0]
    assert account == {"frames": 1, "bytes": size, "dropped": 0}


def test_short_frames_are_padded(bench: Bench) -> None:
    bench.peer.send(plain(20))
    assert bench.rx[0].wait()[0].frame == plain(20).ljust(60, b"\0")


def test_whatever_the_address(bench: Bench) -> None:
    """The interface has no address filters."""
    for destination in (MAC, PEER, b"\xff" * 6, bytes.fromhex("01005e010203")):
        bench.peer.send(plain(destination=destination))
        assert bench.rx[0].wait()[0].frame[:6] == destination


def test_largest_frame(bench: Bench) -> None:
    tagged = bytes(Ether(dst=MAC, src=PEER) / Dot1Q(vlan=5, type=0x88B5)) + bytes(1500)
    for frame in (plain(1515), tagged + b"\0", plain(1514), tagged):
        bench.peer.send(frame)
    assert [got.frame for got in bench.rx[0].wait(2)] == [plain(1514), tagged]
    assert bench.control("model.counters")["rx"][0]["dropped"] == 2


@pytest.mark.parametrize("buffer", [2048, 4096])
def test_jumbo_over_buffers(serve: Callable[..., object], buffer: int) -> None:
    bench = start(serve, "jumbo", buffer=buffer)
    for size in (buffer - 1, buffer, buffer + 1, 9014):
        bench.peer.send(plain(size))
        (got,) = bench.rx[0].wait()
        assert got.frame == plain(size)
        assert got.buffers == -(-size // buffer)
    bench.close()


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("good", [True, False])
def test_checksums(bench: Bench, version: int, good: bool) -> None:
    for frame in (datagram(version=version), segments(1, version=version)[0]):
        data = bytearray(frame)
        if not good:
            data[-1] ^= 1
        bench.peer.send(bytes(data))
        got = wait_any(bench)
        assert (got.processed, got.l4_error, got.ip_error) == (True, not good, False)
        assert got.frame == data


def wait_any(bench: Bench) -> g.Received:
    """The one received packet, from any queue."""
    found: list[g.Received] = []

    def there() -> bool:
        for queue in bench.rx:
            found.extend(queue.poll())
            queue.post()
        return bool(found)

    bench.driver.until(there, "a packet")
    (got,) = found
    return got


def test_what_has_no_checksum_to_verify(bench: Bench) -> None:
    icmp = bytes(Ether(dst=MAC, src=PEER) / IP(src="192.0.2.1", dst="192.0.2.2") / ICMP() / Raw(bytes(40)))
    fragment = bytes(
        Ether(dst=MAC, src=PEER)
        / IP(src="192.0.2.1", dst="192.0.2.2", flags="MF")
        / UDP(sport=1, dport=2, len=90)
        / Raw(bytes(40))
    )
    for frame in (icmp, fragment, datagram(chksum=0)):
        bench.peer.send(frame)
        assert not wait_any(bench).processed
    broken = bytearray(datagram())
    broken[24] ^= 1  # the IPv4 header's checksum
    bench.peer.send(bytes(broken))
    got = wait_any(bench)
    assert got.ip_error


def test_packet_types(bench: Bench) -> None:
    at = bench.driver.ram.allocate(2048)
    bench.driver.command(g.PTYPES, struct.pack(">QQ", 2048, at))
    table = bench.driver.ram.read(at, 2048)
    icmp = bytes(Ether(dst=MAC, src=PEER) / IP(src="192.0.2.1", dst="192.0.2.2") / ICMP() / Raw(bytes(40)))
    expectations = [
        (segments(1)[0], (2, 2)), (datagram(), (2, 3)), (icmp, (2, 4)), (plain(), (0, 0)),
        (segments(1, version=6)[0], (3, 2)), (datagram(version=6), (3, 3)),
    ]  # fmt: skip
    for frame, kinds in expectations:
        bench.peer.send(frame)
        kind = wait_any(bench).packet_type
        assert (table[2 * kind], table[2 * kind + 1]) == kinds


def test_ipv6_extension_headers_are_reported(bench: Bench) -> None:
    ether, ip = Ether(dst=MAC, src=PEER), IPv6(src="2001:db8::1", dst="2001:db8::2")
    bench.peer.send(bytes(ether / ip / IPv6ExtHdrDestOpt() / UDP(sport=1, dport=2) / Raw(bytes(40))))
    assert wait_any(bench).flags & 2
    bench.peer.send(bytes(ether / ip / UDP(sport=1, dport=2) / Raw(bytes(40))))
    assert not wait_any(bench).flags & 2


@pytest.mark.parametrize("version", [4, 6])
def test_rss(serve: Callable[..., object], version: int) -> None:
    bench = start(serve, queues=4, ring=256)
    assert bench.driver.set_rss(KEY, [number % 4 for number in range(128)]) == g.PASSED
    for port in range(4000, 4024):
        frame = datagram(version=version, port=port)
        packet = Ether(frame)
        ip = packet[IP] if version == 4 else packet[IPv6]
        addresses = bytes(ip)[12:20] if version == 4 else bytes(ip)[8:40]
        value = toeplitz(KEY, addresses + struct.pack(">HH", port, 5000))
        bench.peer.send(frame)
        (got,) = bench.rx[value % 128 % 4].wait()
        assert got.hash == value
    bench.close()


def test_rss_that_cannot_be(bench: Bench) -> None:
    driver = bench.driver
    assert driver.set_rss(KEY[:39], [0] * 128) == g.INVALID_ARGUMENT
    assert driver.set_rss(KEY, [0] * 64) == g.INVALID_ARGUMENT
    assert driver.set_rss(KEY, [16] + [0] * 127) == g.OUT_OF_RANGE
    assert driver.set_rss(KEY, [0] * 128, types=1 << 9) == g.INVALID_ARGUMENT
    bad = struct.pack(">HBxHHQQ", 0, 1, 40, 0, 0xDEAD_0000_0000, 0)
    assert driver.ask(g.CONFIGURE_RSS, bad) == g.INVALID_ARGUMENT
    assert driver.ask(g.CONFIGURE_RSS, struct.pack(">HBxHHQQ", 0, 9, 0, 0, 0, 0)) == g.INVALID_ARGUMENT


def test_rss_is_reported(split: Bench) -> None:
    driver = split.driver
    table = [number * 7 % 3 for number in range(128)]
    at = driver.ram.allocate(4096)
    assert driver.set_rss(KEY, table) == g.PASSED
    assert driver.ask(g.QUERY_RSS, struct.pack(">QQ", 100, at)) == g.INVALID_ARGUMENT
    assert driver.ask(g.QUERY_RSS, struct.pack(">QQ", 4096, at)) == g.PASSED
    total, types, algorithm = struct.unpack(">IHBx", driver.ram.read(at, 8))
    assert (total, types, algorithm) == (8 + 40 + 512, 0b11010010, 1)
    assert driver.ram.read(at + 8, 40) == KEY
    assert list(struct.unpack(">128I", driver.ram.read(at + 48, 512))) == table
    # Sizes of 0 change nothing.
    assert driver.ask(g.CONFIGURE_RSS, struct.pack(">HBxHHQQ", 0, 0, 0, 0, 0, 0)) == g.PASSED
    driver.command(g.QUERY_RSS, struct.pack(">QQ", 4096, at))
    assert driver.ram.read(at + 8, 40) == KEY


def rule(kind: int, queue: int, key: bytes, mask: bytes, *, operation: int = 0, location: int = 0) -> bytes:
    """The inner command configure_flow_rule."""
    return struct.pack(">HxxHH40s40sI", operation, kind, queue, key, mask, location)


def spec4(source: bytes = bytes(4), destination: bytes = bytes(4), ports: tuple[int, int] = (0, 0)) -> bytes:
    return source.ljust(16, b"\0") + destination.ljust(16, b"\0") + struct.pack(">HH", *ports) + bytes(4)


def queue_of(bench: Bench, frame: bytes) -> int:
    """Send a frame; return the queue that receives it."""
    bench.peer.send(frame)
    return next(index for index in itertools.cycle(range(len(bench.rx))) if bench.rx[index].poll())


def test_flow_rules(serve: Callable[..., object]) -> None:
    bench = start(serve, "hds", queues=4, ring=256)
    driver = bench.driver
    everything = b"\xff" * 4
    before = {port: queue_of(bench, datagram(port=port)) for port in (4000, 4001)}
    exact = (
        spec4(bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2)), (4000, 5000)),
        spec4(everything, everything, (0xFFFF, 0xFFFF)),
    )
    assert driver.extended(g.CONFIGURE_RULE, rule(1, 3, *exact, location=5)) == g.PASSED
    assert driver.extended(g.CONFIGURE_RULE, rule(1, 2, *exact, location=5)) == g.ALREADY_EXISTS
    assert (
        driver.extended(g.CONFIGURE_RULE, rule(1, 2, spec4(ports=(0, 5000)), spec4(ports=(0, 0xFFFF)), location=9))
        == g.PASSED
    )
    for wrong, status in (
        (rule(1, 16, *exact), g.OUT_OF_RANGE),
        (rule(10, 0, *exact), g.INVALID_ARGUMENT),
        (rule(1, 0, *exact, location=64), g.OUT_OF_RANGE),
        (rule(1, 0, *exact, operation=3), g.INVALID_ARGUMENT),
        (rule(1, 0, *exact, operation=1, location=1), g.NOT_FOUND),
    ):
        assert driver.extended(g.CONFIGURE_RULE, wrong) == status
    for _ in range(3):
        bench.peer.send(datagram(port=4000))
        bench.rx[3].wait()
        bench.peer.send(datagram(port=4001))
        bench.rx[2].wait()
    at = driver.ram.allocate(4096)
    driver.command(g.QUERY_RULES, struct.pack(">HxxIQQ", 2, 0, 4096, at))
    assert struct.unpack(">IIII", driver.ram.read(at, 16)) == (2, 64, 0, 16)
    driver.command(g.QUERY_RULES, struct.pack(">HxxIQQ", 1, 0, 4096, at))
    assert struct.unpack(">IIIIII", driver.ram.read(at, 24)) == (2, 64, 2, 24, 5, 9)
    driver.command(g.QUERY_RULES, struct.pack(">HxxIQQ", 0, 6, 4096, at))
    assert struct.unpack(">IIIII", driver.ram.read(at, 20)) == (2, 64, 1, 16 + 88, 9)
    assert driver.ask(g.QUERY_RULES, struct.pack(">HxxIQQ", 0, 0, 8, at)) == g.INVALID_ARGUMENT
    assert driver.ask(g.QUERY_RULES, struct.pack(">HxxIQQ", 7, 0, 4096, at)) == g.INVALID_ARGUMENT
    assert driver.extended(g.CONFIGURE_RULE, rule(1, 0, *exact, operation=1, location=5)) == g.PASSED
    bench.peer.send(datagram(port=4000))
    bench.rx[2].wait()
    assert driver.extended(g.CONFIGURE_RULE, rule(0, 0, bytes(40), bytes(40), operation=2)) == g.PASSED
    for port in (4000, 4001):  # what a rule steered is steered by the hash again
        bench.peer.send(datagram(port=port))
        assert bench.rx[before[port]].wait()
    driver.command(g.QUERY_RULES, struct.pack(">HxxIQQ", 2, 0, 4096, at))
    assert struct.unpack(">I", driver.ram.read(at, 4)) == (0,)
    bench.close()


def test_flow_rule_over_ipv6(serve: Callable[..., object]) -> None:
    bench = start(serve, "hds", queues=2)
    source = bytes.fromhex("20010db8000000000000000000000001")
    key, mask = source + bytes(24), b"\xff" * 16 + bytes(24)
    assert bench.driver.extended(g.CONFIGURE_RULE, rule(6, 1, key, mask)) == g.PASSED
    bench.peer.send(datagram(version=6))
    bench.rx[1].wait()
    bench.close()


# Header split


def test_header_split(split: Bench) -> None:
    for frame, header in ((datagram(500), 42), (segments(1, 700)[0], 54), (segments(1, 700, version=6)[0], 74)):
        split.peer.send(frame)
        (got,) = split.rx[0].wait()
        assert got.split
        assert got.header == frame[:header]
        assert got.frame == frame[header:]


def test_a_header_alone(split: Bench) -> None:
    frame = bytes(Ether(dst=MAC, src=PEER) / IPv6(src="2001:db8::1", dst="2001:db8::2") / TCP(sport=1, dport=2))
    split.peer.send(frame)
    (got,) = split.rx[0].wait()
    assert (got.header, got.frame, got.buffers) == (frame, b"", 1)


def test_what_is_not_split(split: Bench) -> None:
    split.peer.send(plain())
    (got,) = split.rx[0].wait()
    assert (got.split, got.header, got.frame) == (False, b"", plain())


def test_a_header_that_is_too_long(split: Bench) -> None:
    # Three destination options headers of 80 bytes: PadN fills them.
    chain = b"".join(bytes((following, 9, 1, 76)) + bytes(76) for following in (60, 60, 17))
    ip = IPv6(src="2001:db8::1", dst="2001:db8::2", nh=60)
    frame = bytes(Ether(dst=MAC, src=PEER) / ip / Raw(chain + bytes(UDP(sport=1, dport=2, chksum=7) / Raw(bytes(300)))))
    split.peer.send(frame)
    (got,) = split.rx[0].wait()
    assert (got.split, got.overflow) == (True, True)
    assert got.frame == frame


def test_without_a_header_buffer_nothing_is_split(serve: Callable[..., object]) -> None:
    bench = start(serve, "hds")
    bench.peer.send(datagram(500))
    (got,) = bench.rx[0].wait()
    assert (got.split, got.frame) == (False, datagram(500))
    bench.close()


def test_stamps(split: Bench) -> None:
    at = split.driver.ram.allocate(64)
    split.driver.command(g.TIMESTAMP, struct.pack(">QQ", 40, at))
    before = int.from_bytes(split.driver.ram.read(at, 8), "big")
    split.peer.send(plain())
    (got,) = split.rx[0].wait()
    assert got.stamp is not None
    assert 0 < (got.stamp - before) & 0xFFFF_FFFF < 5_000_000_000
    assert split.driver.ask(g.TIMESTAMP, struct.pack(">QQ", 39, at)) == g.INVALID_ARGUMENT


def test_stamps_are_the_clocks(split: Bench) -> None:
    before = split.control("model.clock")["now"]
    split.peer.send(datagram())
    stamp = split.rx[0].wait()[0].stamp
    assert stamp is not None
    took = split.control("model.clock")["now"] - before
    assert 0 <= (stamp - before) & 0xFFFF_FFFF <= took


def test_no_stamps_without_a_clock(bench: Bench) -> None:
    bench.peer.send(plain())
    assert bench.rx[0].wait()[0].stamp is None
    assert bench.control("model.clock") == {"now": None}


# Coalescing


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("header", [0, 256])
def test_coalescing(serve: Callable[..., object], version: int, header: int) -> None:
    bench = start(serve, "hds", rsc=True, header=header)
    frames = segments(8, 1000, version=version)
    bench.burst(frames)
    (got,) = bench.rx[0].wait()
    size = 54 if version == 4 else 74
    whole = got.header + got.frame
    assert whole[size:] == b"".join(frame[size:] for frame in frames)
    assert (got.rsc, got.segment, got.processed, got.l4_error) == (True, 1000, True, False)
    assert bool(got.header) == bool(header)
    merged = Ether(whole)
    again = merged.copy()
    del again[TCP].chksum
    assert bytes(again) == whole, "the merged frame is a valid one"
    account = bench.control("model.counters")["rx"][0]
    assert (account["frames"], account["bytes"]) == (8, sum(map(len, frames)))
    bench.close()


def test_one_segment_is_not_coalesced(serve: Callable[..., object]) -> None:
    bench = start(serve, rsc=True)
    bench.peer.send(segments(1)[0])
    (got,) = bench.rx[0].wait()
    assert (got.rsc, got.segment, got.frame) == (False, 0, segments(1)[0])
    bench.close()


def test_off_nothing_is_coalesced(bench: Bench) -> None:
    frames = segments(4)
    bench.burst(frames)
    found: list[bytes] = []
    while len(found) < 4:
        found.append(wait_any_of(bench))
    assert found == frames


def wait_any_of(bench: Bench) -> bytes:
    """The next frame, one at a time."""
    if not hasattr(bench, "pending"):
        bench.pending = []
    if not bench.pending:

        def there() -> bool:
            for queue in bench.rx:
                bench.pending.extend(queue.poll())
                queue.post()
            return bool(bench.pending)

        bench.driver.until(there, "a packet")
    return bench.pending.pop(0).frame


@pytest.mark.parametrize(
    "change",
    [
        {"ack": 8}, {"window": 77}, {"flags": "PA"}, {"ttl": 9}, {"tos": 4}, {"options": [("NOP", None)] * 4},
        {"gap": 1}, {"id": 99},
    ],
)  # fmt: skip
def test_what_cannot_be_cut_again_is_not_merged(serve: Callable[..., object], change: dict[str, object]) -> None:
    """Hardware GRO must be reversible: a segment with other headers starts a new packet, or ends the previous one."""
    bench = start(serve, rsc=True)
    base = [Ether(frame) for frame in segments(3, 500)]
    odd = base[2]
    for name, value in change.items():
        if name in ("ttl", "tos", "id"):
            setattr(odd[IP], name, value)
            odd[IP].flags = "" if name == "id" else odd[IP].flags
        elif name == "gap":
            odd[TCP].seq += value
        else:
            setattr(odd[TCP], name, value)
    del odd[IP].chksum, odd[TCP].chksum, odd[IP].len, odd[IP].ihl
    if "options" in change:
        odd[TCP].dataofs = None
    bench.burst([bytes(each) for each in base])
    merged = change == {"flags": "PA"}
    found = bench.rx[0].wait(1 if merged else 2)
    assert b"".join(Ether(each.frame)[TCP].payload.load for each in found) == b"".join(
        each[TCP].payload.load for each in base
    )
    bench.close()


def test_a_shorter_segment_ends_the_packet(serve: Callable[..., object]) -> None:
    bench = start(serve, rsc=True)
    long, short, late = segments(2, 800), segments(1, 300, sequence=2600)[0], segments(2, 800, sequence=2900)
    short_id = Ether(short)
    short_id[IP].id = 2
    del short_id[IP].chksum
    late_ids = []
    for number, frame in enumerate(late):
        packet = Ether(frame)
        packet[IP].id = 3 + number
        del packet[IP].chksum
        late_ids.append(bytes(packet))
    bench.burst([*long, bytes(short_id), *late_ids])
    first, second = bench.rx[0].wait(2)
    assert (len(first.frame), first.segment) == (54 + 1900, 800)
    assert (len(second.frame), second.segment) == (54 + 1600, 800)
    bench.close()


def test_a_packet_takes_no_more_buffers_than_it_may(serve: Callable[..., object]) -> None:
    bench = start(serve, rsc=True)
    frames = segments(40, 1400)
    bench.burst(frames)
    found: list[g.Received] = []
    bench.driver.until(
        lambda: found.extend(bench.rx[0].poll()) or sum(len(e.frame) - 54 for e in found) == 56000, "all"
    )
    assert max(each.buffers for each in found) <= 19
    bench.close()


# Buffers


def test_frames_wait_for_buffers(serve: Callable[..., object]) -> None:
    bench = Bench(serve)
    bench.driver.start()
    queue = DqoReceive(bench.driver, 0).create()
    bench.driver.until(lambda: bench.driver.link, "the link")
    for number in range(5):
        bench.peer.send(plain(100 + number))
    assert bench.control("model.counters")["rx"][0]["frames"] == 0
    queue.post(3)
    assert [len(got.frame) for got in queue.wait(3, repost=False)] == [100, 101, 102]
    queue.post()
    assert [len(got.frame) for got in queue.wait(2)] == [103, 104]
    bench.close()


def test_frames_beyond_the_limit_are_lost_and_counted(serve: Callable[..., object]) -> None:
    bench = Bench(serve)
    bench.driver.start()
    queue = DqoReceive(bench.driver, 0).create()
    bench.driver.until(lambda: bench.driver.link, "the link")
    for _ in range(20):
        bench.burst([plain(1514)] * 20)
    counted = bench.control("model.counters")["rx"][0]
    assert counted["dropped"] > 0
    queue.post()
    found = queue.wait(400 - counted["dropped"])
    assert len(found) == 400 - counted["dropped"]
    bench.close()


def test_buffers_of_a_destroyed_queue_go_back(bench: Bench) -> None:
    queue = bench.rx[1]
    bench.control("dma.start")
    queue.destroy()
    accounting = bench.control("model.accounting")["rx"][1]
    assert (accounting["posted"], accounting["held"], accounting["returned"]) == (255, 0, 255)
    bench.driver.set_rss(KEY, [1] * 128)
    for _ in range(5):
        bench.peer.send(datagram())
    assert bench.control("dma.read") == [], "a stopped queue touches no memory"
    assert bench.control("model.counters")["rx"][1]["dropped"] == 5
    again = DqoReceive(bench.driver, 1).create()
    again.post()
    bench.peer.send(datagram())
    assert again.wait()[0].frame == datagram()
    assert bench.balanced()


def test_a_buffer_that_is_lent_twice(bench: Bench) -> None:
    queue = bench.rx[0]
    held = next(buffer for buffer in range(len(queue.free) + 1) if buffer not in queue.free)
    queue.place(held)
    queue.ring_doorbell()
    assert bench.violations()["rx.buffer-id.reused"] == 1


def test_a_buffer_that_is_not_there_is_given_back_with_an_error(serve: Callable[..., object]) -> None:
    bench = Bench(serve)
    bench.driver.start()
    queue = DqoReceive(bench.driver, 0).create()
    bench.driver.until(lambda: bench.driver.link, "the link")
    queue.place(queue.free.pop(0), 0xDEAD_0000_0000)
    queue.ring_doorbell()
    bench.peer.send(plain())
    (got,) = queue.wait(repost=False)
    assert got.error
    assert bench.control("model.counters")["dma_errors"] == 1
    queue.post()
    bench.peer.send(plain())
    assert queue.wait()[0].frame == plain()
    bench.close()


def test_generation_over_many_rounds(bench: Bench) -> None:
    queue = bench.rx[0]
    for start_at in range(0, 1400, 50):
        frames = [plain(60 + (start_at + number) % 200) for number in range(50)]
        bench.burst(frames)
        assert [got.frame for got in queue.wait(50)] == frames
    assert bench.balanced()
    assert bench.violations() == {}
    accounting = bench.control("model.accounting")["rx"][0]
    assert accounting["completed"] == 1400
    assert accounting["held"] == len(queue.posted)


def test_interrupts(bench: Bench) -> None:
    driver, queue = bench.driver, bench.rx[0]
    vector = queue.block
    driver.arm(vector)
    bench.peer.send(plain())
    bench.client.wait_irq(MSIX, vector)
    bench.peer.send(plain())
    queue.wait(2)
    assert bench.client.irq_count(MSIX, vector) == 0, "not armed"
    assert _block(bench, vector) == (False, True, 1)
    driver.arm(vector)
    assert bench.client.wait_irq(MSIX, vector) == 1, "what came meanwhile is not lost"


def test_what_was_raised_is_not_raised_again(bench: Bench) -> None:
    """The pending bit is set by events since the last interrupt, not by completions that the driver has not read."""
    driver, queue = bench.driver, bench.rx[0]
    driver.arm(queue.block)
    bench.peer.send(plain())
    bench.client.wait_irq(MSIX, queue.block)
    driver.arm(queue.block)
    assert _block(bench, queue.block) == (True, False, 1)
    assert (
        bench.control("model.blocks")[queue.block]["raised_at"] >= bench.control("model.queues")["rx"][0]["written"] > 0
    )
    assert bench.control("model.queues")["rx"][0]["packets"] == 1
    bench.peer.send(plain())
    queue.wait(2)
    bench.client.wait_irq(MSIX, queue.block)
    standing = bench.control("model.queues")["rx"][0]
    assert (standing["packets"], standing["block"]) == (2, queue.block)


def _block(bench: Bench, number: int) -> tuple[bool, bool, int]:
    block = bench.control("model.blocks")[number]
    assert not block["masked"]
    assert not block["waiting"]
    return block["armed"], block["pending"], block["raised"]


def test_dma_record(split: Bench) -> None:
    split.control("dma.start")
    split.peer.send(datagram(500))
    split.rx[0].wait(repost=False)
    found = split.control("dma.read")
    assert [(each["kind"], each["length"]) for each in found] == [("header", 42), ("payload", 500), ("completion", 32)]
    split.rx[0].post(1)
    assert split.control("dma.read", after=found[-1]["sequence"])[0]["kind"] == "descriptor"


def test_statistics_report(bench: Bench) -> None:
    """The device writes four entries for each receive queue at the end of the report."""
    driver = bench.driver
    length = 8 + 16 * 100
    at = driver.ram.allocate(length)
    assert driver.ask(g.REPORT_STATS, struct.pack(">QQQ", length, 0xDEAD_0000_0000, 20)) == g.INVALID_ARGUMENT
    assert driver.ask(g.REPORT_STATS, struct.pack(">QQQ", length, at, 0)) == g.INVALID_ARGUMENT
    driver.command(g.REPORT_STATS, struct.pack(">QQQ", length, at, 20))
    entries = at + length - 16 * 8
    driver.until(lambda: driver.ram.read(entries, 4) != bytes(4), "the report")
    names = [struct.unpack_from(">II", driver.ram.read(entries + 16 * number, 8)) for number in range(8)]
    assert names == [(name, queue) for queue in (0, 1) for name in (65, 66, 67, 68)]
    assert driver.ram.read(at, length - 16 * 8) == bytes(length - 16 * 8)
    driver.command(g.REPORT_STATS, struct.pack(">QQQ", 0, 0, 20))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(min_size=14, max_size=200), min_size=1, max_size=20))
def test_garbage_frames(frames: list[bytes]) -> None:
    """Every frame from the wire takes a buffer, and none is lost."""
    device, slot, base = device_with_memory()
    fields = {
        "queue": 0, "ntfy_id": 0, "buffer_size": 2048, "header_buffer_size": 256, "rsc": 1, "ring_size": 256,
        "buffer_ring_size": 256, "descriptor_address": base, "data_address": base + 0x4000,
    }  # fmt: skip
    queue = RxQueueDqo(device.resources.queue_context(device.receiver.faults), fields, stamps=True)
    device.receiver.add(queue)
    entries = b"".join(
        struct.pack("<H6xQQ8x", n, base + 0x10000 + n * 2048, base + 0x100000 + n * 256) for n in range(128)
    )
    slot.memory.write(base + 0x4000, entries)
    queue.doorbell(128)
    for frame in frames:
        device.receiver._take(memoryview(bytearray(frame)))
    device.receiver._end_burst()
    assert device.statistics.rx[0].frames == len(frames)
    assert device.accounting.rx[0].completed <= len(frames)
    assert device.statistics.dma_errors == 0
