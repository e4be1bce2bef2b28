# SPDX-License-Identifier: GPL-2.0-or-later
"""Wires: tap, pair, null, and the recorder."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import select
import socket
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest
from nicmodels.offload.checksum import fold, pseudo_header_sum
from nicmodels.server.reactor import Reactor
from nicmodels.wire import NullWire, PairWire, PcapRecorder, TapWire
from nicmodels.wire.tap import IFF_NO_PI, IFF_TAP, TUN_DEVICE, TUNSETIFF, TUNSETOFFLOAD, TapError
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.utils import RawPcapNgReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Result = TypeVar("Result")

CLONE_NEWNET = 0x40000000
SIOCSIFADDR, SIOCSIFNETMASK = 0x8916, 0x891C
TUNSETPERSIST = 0x400454CB
IFF_VNET_HDR = 0x4000
TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6 = 1, 2, 4
SOL_PACKET, PACKET_VNET_HDR = 263, 15
FRAME = bytes.fromhex("ffffffffffff 020000000001 88b5") + bytes(range(100))


def unshare_network() -> None:
    """Give this thread a network namespace of its own."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")


def in_own_network(function: Callable[[], Result]) -> Result:
    """Run in a thread with a network namespace of its own; the namespace dies with the thread."""
    results: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            unshare_network()
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    if errors:
        if isinstance(errors[0], OSError) and errors[0].errno in (errno.EPERM, errno.EACCES, errno.ENOENT):
            pytest.skip(f"no tap here: {errors[0]}")
        raise errors[0]
    return results[0]


def set_up(name: str, *, up: bool = True) -> None:
    """IFF_UP on or off."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = fcntl.ioctl(control, 0x8913, struct.pack("16sH22x", name.encode(), 0))
        (flags,) = struct.unpack_from("H", request, 16)
        flags = flags | 1 if up else flags & ~1
        fcntl.ioctl(control, 0x8914, struct.pack("16sH22x", name.encode(), flags))


def set_address(name: str, address: str) -> None:
    """Set an IPv4 address, of a network of 256."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for request, value in ((SIOCSIFADDR, address), (SIOCSIFNETMASK, "255.255.255.0")):
            place = struct.pack("16sHxx4s16x", name.encode(), socket.AF_INET, socket.inet_aton(value))
            fcntl.ioctl(control, request, place)


def request_offloads(name: str) -> None:
    """Leave a persistent tap as a device does that computed checksums and segmented for the host."""
    with Path(TUN_DEVICE).open("rb+", buffering=0) as tun:
        fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
        fcntl.ioctl(tun, TUNSETPERSIST, 1)
        fcntl.ioctl(tun, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6)


def receive_all(server: socket.socket) -> bytes:
    """What the first client sends."""
    connection, _ = server.accept()
    connection.settimeout(10)
    with connection, connection.makefile("rb") as stream:
        return stream.read()


def send_all(client: socket.socket, to: tuple[str, int], data: bytes) -> None:
    """Connect, send and disconnect."""
    client.connect(to)
    client.sendall(data)
    client.close()


def with_checksums(frame: bytes) -> bytes:
    """The frame with the checksums that scapy computes."""
    packet = Ether(frame)
    if IP in packet:
        del packet[IP].chksum
    del packet[TCP].chksum
    return bytes(packet)


def host_end(name: str, ethertype: int = 0x88B5) -> socket.socket:
    """A raw socket on the interface, that receives and sends whole frames of our EtherType."""
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ethertype))
    raw.bind((name, ethertype))
    raw.settimeout(5)
    return raw


def next_frame(wire: TapWire, ethernet: bytes = FRAME[:14]) -> bytes:
    """Wait for a frame with this Ethernet header (the host's own frames, such as router solicitations, are skipped)."""
    while select.select([wire.fileno()], [], [], 5)[0]:
        frame = wire.receive()
        if frame is not None and frame[:14] == ethernet:
            return frame
    raise TimeoutError("no frame from the host")


class TestTap:
    def test_both_ways(self) -> None:
        def run() -> None:
            wire = TapWire("t0")
            set_up("t0")
            with host_end("t0") as host:
                wire.transmit([FRAME[:14], FRAME[14:50], memoryview(FRAME)[50:]])
                assert host.recv(2000) == FRAME
                host.send(FRAME)
                assert next_frame(wire) == FRAME
            assert wire.counters.transmitted == 1
            assert wire.counters.transmit_drops == 0
            wire.close()

        in_own_network(run)

    def test_nothing_there(self) -> None:
        def run() -> None:
            wire = TapWire("t0")
            assert wire.receive() is None
            assert wire.receive_many(8) == []
            assert wire.counters.received == 0
            wire.close()

        in_own_network(run)

    def test_many_at_once(self) -> None:
        def run() -> None:
            wire = TapWire("t0")
            set_up("t0")
            frames = [FRAME[:14] + bytes((number,)) * 50 for number in range(5)]
            with host_end("t0") as host:
                wire.transmit_many([(frame[:20], memoryview(frame)[20:]) for frame in frames])
                assert [host.recv(2000) for _ in frames] == frames
                for frame in frames:
                    host.send(frame)
                found: list[bytes] = []
                while len(found) < len(frames) and select.select([wire.fileno()], [], [], 5)[0]:
                    found += [frame for frame in wire.receive_many(2) if frame[:14] == FRAME[:14]]
                assert found == frames
                assert wire.receive_many(2) == []
            assert (wire.counters.transmitted, wire.counters.transmit_drops) == (5, 0)
            set_up("t0", up=False)
            wire.transmit_many([(frame,) for frame in frames])
            assert (wire.counters.transmitted, wire.counters.transmit_drops) == (5, 5)
            wire.close()

        in_own_network(run)

    def test_interface_down_loses_frames(self) -> None:
        def run() -> None:
            wire = TapWire("t0")
            wire.transmit([FRAME])
            assert (wire.counters.transmitted, wire.counters.transmit_drops) == (0, 1)
            set_up("t0")
            wire.transmit([FRAME])
            assert wire.counters.transmitted == 1
            set_up("t0", up=False)
            wire.transmit([FRAME])
            assert wire.counters.transmit_drops == 2
            wire.transmit([b"x"])  # no Ethernet frame
            assert wire.counters.transmit_drops == 3
            wire.close()

        in_own_network(run)

    @pytest.mark.parametrize("used", [False, True], ids=["new tap", "used tap"])
    def test_tcp_of_the_host_is_complete(self, used: bool) -> None:
        """Of a large write no frame is longer than the MTU, and all checksums are right; all of it arrives at a host behind another tap."""

        def run() -> None:
            data = bytes(number * 7 & 0xFF for number in range(100_000))
            with ExitStack() as stack:
                wires = []
                for number in (1, 2):
                    if wires:  # a namespace lives as long as its sockets and taps
                        unshare_network()
                    if used:
                        request_offloads("t0")
                    wires.append(TapWire("t0"))
                    stack.callback(wires[-1].close)
                    set_address("t0", f"192.0.2.{number}")
                    set_up("t0")
                    if number == 1:
                        server = stack.enter_context(socket.create_server(("192.0.2.1", 5000)))
                    else:
                        client = stack.enter_context(socket.socket())
                server.settimeout(10)
                client.settimeout(10)
                frames: list[bytes] = []
                with ThreadPoolExecutor(2) as pool:
                    received = pool.submit(receive_all, server)
                    sent = pool.submit(send_all, client, ("192.0.2.1", 5000), data)
                    while not received.done():
                        select.select(wires, [], [], 0.1)
                        for here, there in (wires, wires[::-1]):
                            taken = here.receive_many(64)
                            there.transmit_many([(frame,) for frame in taken])
                            frames += taken
                sent.result()
                assert received.result() == data
            segments = [frame for frame in frames if frame[12:14] == b"\x08\0" and frame[23] == socket.IPPROTO_TCP]
            assert max(map(len, frames)) == 1514
            assert sum(map(len, segments)) > len(data)
            assert [frame for frame in segments if with_checksums(frame) != frame] == []

        in_own_network(run)

    @pytest.mark.parametrize("version", [4, 6])
    def test_the_host_segments(self, version: int) -> None:
        """A TCP packet that is left to the NIC to segment arrives as segments with right checksums."""

        def run() -> None:
            ethernet = Ether(dst="02:00:00:00:00:02", src="02:00:00:00:00:01")
            network = (
                IP(src="192.0.2.2", dst="192.0.2.1") if version == 4 else IPv6(src="2001:db8::2", dst="2001:db8::1")
            )
            l4 = 34 if version == 4 else 54
            payload = bytes(number & 0xFF for number in range(2500))
            frame = bytearray(bytes(ethernet / network / TCP(sport=1000, dport=2000, flags="PA", seq=1) / payload))
            source, to = (slice(26, 30), slice(30, 34)) if version == 4 else (slice(22, 38), slice(38, 54))
            seed = 0xFFFF - fold(pseudo_header_sum(frame[source], frame[to], socket.IPPROTO_TCP, len(frame) - l4))
            struct.pack_into(">H", frame, l4 + 16, seed)
            wire = TapWire("t0")
            set_up("t0")
            with host_end("t0", 0x0800 if version == 4 else 0x86DD) as host:
                host.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
                host.send(struct.pack("<BBHHHH", 1, 1 if version == 4 else 4, l4 + 20, 1000, l4, 16) + frame)
                segments = [next_frame(wire, bytes(frame[:14])) for _ in range(3)]
            assert [len(segment) - l4 - 20 for segment in segments] == [1000, 1000, 500]
            assert b"".join(segment[l4 + 20 :] for segment in segments) == payload
            assert [with_checksums(segment) for segment in segments] == segments
            wire.close()

        in_own_network(run)

    def test_the_host_writes_checksums(self) -> None:
        def run() -> None:
            wire = TapWire("t0")
            set_up("t0")
            with host_end("t0") as host:
                host.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
                host.send(struct.pack("<BBHHHH", 1, 0, 0, 0, 40, 2) + FRAME)
                (total,) = struct.unpack_from(">H", FRAME, 42)
                expected = fold(sum(struct.unpack(f">{len(FRAME[40:]) // 2}H", FRAME[40:])))
                assert total != expected
                assert next_frame(wire) == FRAME[:42] + struct.pack(">H", expected) + FRAME[44:]
            wire.close()

        in_own_network(run)

    def test_mistakes(self) -> None:
        def run() -> None:
            wire = TapWire("t0")
            with pytest.raises(TapError, match="in use"):
                TapWire("t0")
            with pytest.raises(TapError, match="no tap"):
                TapWire("lo")
            wire.close()

        in_own_network(run)
        with pytest.raises(TapError, match="1 to 15"):
            TapWire("a-name-that-is-too-long")


class TestPair:
    @pytest.fixture
    def ends(self) -> Iterator[tuple[PairWire, PairWire]]:
        one, other = PairWire.pair()
        yield one, other
        one.close()
        other.close()

    def test_both_ways(self, ends: tuple[PairWire, PairWire]) -> None:
        one, other = ends
        one.transmit([FRAME[:14], FRAME[14:]])
        other.transmit([b"short frame"])
        assert other.receive() == FRAME
        assert one.receive() == b"short frame"
        assert one.receive() is None
        assert other.receive() is None

    def test_many_at_once(self, ends: tuple[PairWire, PairWire]) -> None:
        one, other = ends
        one.transmit_many([(b"first ", b"frame"), (b"second",), (b"third",)])
        assert other.receive_many(2) == [b"first frame", b"second"]
        assert other.receive_many(2) == [b"third"]
        assert other.receive_many(2) == []

    def test_frames_stay_apart_and_may_be_long(self, ends: tuple[PairWire, PairWire]) -> None:
        one, other = ends
        one.transmit([b"a" * 9000])
        one.transmit([b"b" * 100])
        assert other.receive() == b"a" * 9000
        assert other.receive() == b"b" * 100
        assert other.counters.received == 2

    def test_full_pair_drops_and_counts(self, ends: tuple[PairWire, PairWire]) -> None:
        one, other = ends
        for _ in range(5000):
            one.transmit([bytes(1500)])
        assert one.counters.transmit_drops > 0
        received = 0
        while other.receive() is not None:
            received += 1
        assert received == one.counters.transmitted == 5000 - one.counters.transmit_drops
        one.transmit([FRAME])
        assert other.receive() == FRAME

    def test_by_path_either_end_may_come_back(self, tmp_path: Path) -> None:
        path = tmp_path / "cable"
        one = PairWire.at(path)
        one.transmit([FRAME])
        assert one.counters.transmit_drops == 1
        other = PairWire.at(path)
        other.transmit([FRAME])
        assert one.receive() == FRAME
        with pytest.raises(OSError, match=r".+"):
            PairWire.at(path / "missing" / "folder")
        other.close()
        assert one.receive() is None
        other = PairWire.at(path)
        one.transmit([b"again"])
        assert other.receive() == b"again"
        one.close()  # the end that listened
        assert other.receive() is None
        one = PairWire.at(path)
        one.transmit([b"back"])
        assert other.receive() == b"back"
        one.close()
        other.close()

    def test_reactor_sees_every_frame_and_the_new_far_end(self, tmp_path: Path) -> None:
        reactor, frames = Reactor(), []
        one = PairWire.at(tmp_path / "cable")

        def arrived() -> None:
            while (frame := one.receive()) is not None:
                frames.append(frame)

        fd = one.fileno()
        assert fd is not None
        reactor.add_reader(fd, arrived, edge=True)
        for round_ in range(3):
            other = PairWire.at(tmp_path / "cable")
            for number in range(3):
                other.transmit([f"{round_}.{number}".encode()])
                reactor.turn(1)
            other.close()
            reactor.turn(1)
        assert frames == [f"{r}.{n}".encode() for r in range(3) for n in range(3)]
        one.close()
        reactor.close()


def test_null_wire() -> None:
    wire = NullWire()
    wire.transmit([FRAME])
    assert wire.counters.transmitted == 1
    assert wire.receive() is None
    assert wire.receive_many(8) == []
    assert wire.fileno() is None
    wire.close()


class TestRecorder:
    def test_both_directions_with_nanoseconds(self, tmp_path: Path) -> None:
        inner, far = PairWire.pair()
        wire = PcapRecorder(inner)
        wire.transmit([b"before the recording"])
        wire.record(tmp_path / "one.pcapng")
        assert wire.recording
        wire.transmit([FRAME[:20], FRAME[20:]])
        far.transmit([b"r" * 61])
        far.transmit([b"s" * 62])
        assert wire.receive() == b"r" * 61
        assert wire.receive() == b"s" * 62
        assert wire.receive() is None
        wire.transmit_many([(b"t" * 30, b"u" * 30), (b"v" * 64,)])
        far.transmit_many([(b"w" * 65,), (b"x" * 66,)])
        assert wire.receive_many(5) == [b"w" * 65, b"x" * 66]
        assert wire.stop() == 7
        assert wire.stop() == 0
        wire.transmit([b"after it"])
        with RawPcapNgReader(str(tmp_path / "one.pcapng")) as reader:
            packets = list(reader)
        many = [b"t" * 30 + b"u" * 30, b"v" * 64, b"w" * 65, b"x" * 66]
        assert [data for data, _ in packets] == [FRAME, b"r" * 61, b"s" * 62, *many]
        metadata = packets[0][1]
        assert metadata.tsresol == 1_000_000_000
        assert [each.direction for _, each in packets] == [2, 1, 1, 2, 2, 1, 1]
        assert wire.counters.transmitted == 5
        wire.close()
        far.close()

    def test_new_recording_ends_the_old(self, tmp_path: Path) -> None:
        wire = PcapRecorder(NullWire())
        wire.record(tmp_path / "one")
        wire.transmit([FRAME])
        wire.record(tmp_path / "two")
        assert wire.stop() == 0
        with RawPcapNgReader(str(tmp_path / "one")) as reader:
            assert [data for data, _ in reader] == [FRAME]

    def test_path_that_cannot_be_written_keeps_the_recording(self, tmp_path: Path) -> None:
        wire = PcapRecorder(NullWire())
        wire.record(tmp_path / "one")
        with pytest.raises(OSError, match="No such"):
            wire.record(tmp_path / "none" / "two")
        wire.transmit([FRAME])
        assert wire.stop() == 1

    def test_passes_everything_on(self) -> None:
        inner, far = PairWire.pair()
        wire = PcapRecorder(inner)
        assert wire.fileno() == inner.fileno()
        assert wire.counters is inner.counters
        assert (wire.receive(), wire.receive_many(8)) == (None, [])
        wire.close()
        assert far.receive() is None
        assert not far.connected
        far.close()


def test_tap_without_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nicmodels.wire.tap.TUN_DEVICE", os.devnull + "/none")
    with pytest.raises(TapError, match="cannot open"):
        TapWire("t0")
