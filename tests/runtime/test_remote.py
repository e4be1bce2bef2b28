# SPDX-License-Identifier: GPL-2.0-or-later
"""The remote on a real tap in a network namespace, with a fake device under test."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from plugfest.deadline import Deadline, poll
from plugfest.errors import InfrastructureError
from plugfest.falsify.falsifier import Falsifier
from plugfest.machine import tap as taps
from plugfest.machine.remote import Capture, Remote
from plugfest.machine.tap import Tap
from pyroute2 import IPRoute
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6ND_NS
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw
from scapy.utils import rdpcap

Inside = Callable[[Callable[[], object]], None]

DUT = "02:70:66:00:00:01"
NUD_STALE = 4
TUNSETIFF, IFF_TAP, IFF_NO_PI, IFF_MULTI_QUEUE = 0x400454CA, 2, 0x1000, 0x100


class Dut:
    """A device that has the tap open."""

    def __init__(self, name: str = taps.NAME, flags: int = 0) -> None:
        self.fd = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(self.fd, TUNSETIFF, struct.pack("16sH14x", name.encode(), IFF_TAP | IFF_NO_PI | flags))

    def send(self, *frames: bytes) -> None:
        for frame in frames:
            os.write(self.fd, frame)

    def receive(self) -> bytes:
        return os.read(self.fd, 1 << 16)

    def close(self) -> None:
        os.close(self.fd)


@contextmanager
def on_the_wire(interposer: Falsifier | None = None) -> Iterator[tuple[Remote, Dut]]:
    tap = Tap()
    dut = Dut()
    remote = Remote(tap, interposer)
    try:
        assert poll(lambda: tap.carrier, Deadline.after(5))
        yield remote, dut
    finally:
        remote.close()
        remote.close()
        dut.close()
        tap.close()
        tap.close()


def frame(number: int, size: int = 100, vlan: int | None = None) -> bytes:
    head = (
        Ether(dst=taps.MAC, src=DUT, type=0x88B5)
        if vlan is None
        else Ether(dst=taps.MAC, src=DUT) / Dot1Q(vlan=vlan, prio=5, type=0x88B5)
    )
    return bytes(head / Raw(number.to_bytes(4, "big") + os.urandom(size - len(head) - 4)))


def test_every_frame_of_a_burst_is_captured_in_order(inside: Inside) -> None:
    def check() -> None:
        with on_the_wire() as (remote, dut):
            frames = [frame(number) for number in range(20_000)]
            with remote.capture() as seen:
                dut.send(*frames)
            assert [data for data in seen.received() if data[12:14] == b"\x88\xb5"] == frames

    inside(check)


def test_capture_has_the_frames_of_its_block_only(inside: Inside) -> None:
    def check() -> None:
        with on_the_wire() as (remote, dut):
            for number in range(50):
                dut.send(frame(1000 + number))
                with remote.capture() as seen:
                    dut.send(frame(number))
                dut.send(frame(2000 + number))
                assert [int.from_bytes(data[14:18], "big") for data in seen.received(background=False)] == [number]

    inside(check)


def test_frames_that_were_sent_are_seen_at_once_though_the_thread_has_no_core(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Capture, "_read", lambda _self: None)

    def check() -> None:
        with on_the_wire() as (remote, _):
            seen = Capture(remote.ifname)
            for number in range(1, 4):
                known = len(seen.frames())
                remote.send([frame(number)])
                assert len(seen.sent(background=False)) == number
                # Beside it, perhaps, a report of the kernel's multicast groups.
                assert number in [int.from_bytes(each.data[14:18], "big") for each in seen.after(known)]

    inside(check)


def test_vlan_tags_and_lengths_are_as_on_the_wire(inside: Inside) -> None:
    def check() -> None:
        with on_the_wire() as (remote, dut):
            remote.mtu = 9000
            frames = [
                frame(1, 64),
                frame(2, 64, vlan=5),
                frame(3, 1518, vlan=4094),
                frame(4, 9014),
                frame(5, 9018, vlan=0),
            ]
            with remote.capture() as seen:
                dut.send(*frames)
                remote.send(frame(6, 1514, vlan=7))
            assert seen.received(background=False) == frames
            (sent,) = [data for data in seen.sent() if data[12:14] == b"\x81\x00"]
            assert Ether(sent)[Dot1Q].vlan == 7
            assert abs(seen.frames()[0].seconds - time.time()) < 30

    inside(check)


def test_what_is_sent_reaches_the_device(inside: Inside) -> None:
    def check() -> None:
        with on_the_wire() as (remote, dut):
            frames = [frame(number, 60 + number) for number in range(300)]
            assert remote.send(frames) == 300
            assert remote.send(Ether(dst=DUT, src=taps.MAC) / IP(dst=taps.DUT_IPV4) / UDP()) == 1
            got: list[bytes] = []
            while len(got) < 300:
                data = dut.receive()
                if data[12:14] == b"\x88\xb5":
                    got.append(data)
            assert got == frames

    inside(check)


def test_frame_that_is_too_long_is_an_error(inside: Inside) -> None:
    def check() -> None:
        with (
            on_the_wire() as (remote, _dut),
            pytest.raises(
                InfrastructureError,
                match=r"expected wire0 to take a frame of 2000 bytes, found: Message too long \(mtu 1500\)",
            ),
        ):
            remote.send(frame(1, 2000))

    inside(check)


def test_remote_sends_nothing_unasked_and_answers(inside: Inside) -> None:
    """No router solicitation, no listener report, no address detection; ARP and echo are answered."""

    def check() -> None:
        with on_the_wire() as (remote, dut):
            assert [seen.packet.summary() for seen in remote.background(1.5) if not seen.background] == []
            with remote.capture() as seen:
                dut.send(
                    bytes(Ether(dst="ff:ff:ff:ff:ff:ff", src=DUT) / ARP(hwsrc=DUT, psrc=taps.DUT_IPV4, pdst=taps.IPV4))
                )
                dut.send(
                    bytes(
                        Ether(dst=taps.MAC, src=DUT) / IP(src=taps.DUT_IPV4, dst=taps.IPV4) / ICMP(id=7) / Raw(b"hello")
                    )
                )
                assert poll(lambda: [data for data in seen.sent() if ICMP in Ether(data)], Deadline.after(5))
            (reply,) = [Ether(data) for data in seen.sent() if ICMP in Ether(data)]
            assert (reply.dst, reply[ICMP].type, reply[ICMP].id, reply[Raw].load) == (DUT, 0, 7, b"hello")

    inside(check)


def test_remote_does_not_probe_a_known_neighbour_again(inside: Inside) -> None:
    """An entry that is not reachable is probed after delay_first_probe_time, by default 5 s after it is used."""

    def check() -> None:
        with on_the_wire() as (remote, _dut), IPRoute() as route:
            for family in ("ipv4", "ipv6"):
                for setting, value in (("base_reachable_time_ms", 86_400_000), ("delay_first_probe_time", 86_400)):
                    assert int(Path(f"/proc/sys/net/{family}/neigh/{taps.NAME}/{setting}").read_text()) == value
            for address in (taps.DUT_IPV4, taps.DUT_IPV6):
                route.neigh("add", ifindex=remote.tap.index, dst=address, lladdr=DUT, state=NUD_STALE)
            with (
                remote.capture() as seen,
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ipv4,
                socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as ipv6,
            ):
                ipv4.sendto(b"used", (taps.DUT_IPV4, 9))
                ipv6.sendto(b"used", (taps.DUT_IPV6, 9))
                time.sleep(6)
            sent = [Ether(data) for data in seen.sent()]
            probes = [packet.summary() for packet in sent if ARP in packet or ICMPv6ND_NS in packet]
            assert ([packet.dport for packet in sent if UDP in packet], probes) == ([9, 9], [])

    inside(check)


def test_exchange(inside: Inside) -> None:
    def check() -> None:
        with on_the_wire() as (remote, dut):

            def echo() -> None:
                while True:
                    data = dut.receive()
                    if data[12:14] == b"\x88\xb5":
                        dut.send(bytes(Ether(dst=taps.MAC, src=DUT) / ARP()), data[6:12] + data[:6] + data[12:])
                        return

            replier = threading.Thread(target=echo)
            replier.start()
            answer = remote.exchange(
                frame(1), lambda packet: packet.type == 0x88B5 and packet.src == taps.MAC, timeout=10
            )
            replier.join()
            assert answer is not None
            assert remote.exchange(frame(2), lambda packet: packet.src == "02:00:00:00:00:09", timeout=0.2) is None

    inside(check)


def test_falsifications(inside: Inside) -> None:
    def check() -> None:
        interposer = Falsifier()
        with on_the_wire(interposer) as (remote, dut):
            interposer.arm("wire:frame.lost", match={"number": 1})
            interposer.arm("wire:frame.damaged", match={"number": 2})
            frames = [frame(number) for number in range(4)]
            with remote.capture() as seen:
                remote.send(frames)
            damaged = frames[2][:-1] + bytes([frames[2][-1] ^ 0xFF])
            assert [data for data in seen.sent() if data[12:14] == b"\x88\xb5"] == [frames[0], damaged, frames[3]]
            assert (interposer.disarm("wire:frame.lost"), interposer.disarm("wire:frame.damaged")) == (1, 1)
            interposer.arm("wire:capture.unseen", times=1)
            interposer.arm("wire:capture.damaged", times=1)
            with remote.capture() as seen:
                dut.send(*frames)
            forged = frames[1][:-1] + bytes([frames[1][-1] ^ 0xFF])
            assert seen.received() == [forged, *frames[2:]]

    inside(check)


def test_recording_is_a_pcap_with_both_directions(inside: Inside, tmp_path: Path) -> None:
    def check() -> None:
        with on_the_wire() as (remote, dut):
            recording = remote.record(tmp_path / "artifacts" / "wire.pcap")
            frames = [frame(number, vlan=number or None) for number in range(4)]
            dut.send(*frames[:3])
            remote.send(frames[3])
            count = recording.stop()
            packets = rdpcap(str(tmp_path / "artifacts" / "wire.pcap"))
            assert count == len(packets) >= 4
            # The host may report its multicast groups, too.
            assert [bytes(packet) for packet in packets if bytes(packet) in frames] == frames
            assert abs(float(packets[0].time) - time.time()) < 30

    inside(check)


def test_lost_frames_are_an_error(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    """A capture that lost frames proves nothing, and is an error."""

    def check() -> None:
        with on_the_wire() as (remote, dut):
            monkeypatch.setattr("plugfest.machine.remote._BUFFER", 4096)
            monkeypatch.setattr(Capture, "_take", lambda _self: False)
            seen = Capture(remote.ifname)
            dut.send(*[frame(number, 1400) for number in range(500)])
            with pytest.raises(
                InfrastructureError, match=r"expected to see every frame, found that the host lost \d+ of them"
            ):
                seen.stop()
            with pytest.raises(InfrastructureError):
                seen.stop()

    inside(check)


def test_tap(inside: Inside) -> None:
    def check() -> None:
        tap = Tap()
        assert not tap.carrier
        assert tap.mtu == 1500
        tap.mtu = 9000
        assert tap.mtu == 9000
        assert (taps.IPV4 in Path("/proc/net/fib_trie").read_text(), socket.if_nametoindex(taps.NAME)) == (
            True,
            tap.index,
        )
        with pytest.raises(InfrastructureError, match=r"expected to create the tap wire0, found: .*File exists"):
            Tap()

    inside(check)


def test_a_tap_of_several_queues_is_seen_whole(inside: Inside) -> None:
    def check() -> None:
        tap = Tap(multi_queue=True)
        with pytest.raises(OSError, match="Invalid argument"):
            Dut()
        queues = [Dut(flags=IFF_MULTI_QUEUE) for _ in range(4)]
        remote = Remote(tap)
        assert poll(lambda: tap.carrier, Deadline.after(5))
        with remote.capture() as seen:
            for number in range(64):
                queues[number % 4].send(frame(number))
        numbers = [int.from_bytes(data[14:18], "big") for data in seen.received(background=False)]
        assert sorted(numbers) == list(range(64))
        # A frame that the remote sends arrives in one of the queues.
        remote.send(bytes(Ether(dst=DUT, src=taps.MAC, type=0x88B5) / Raw(bytes(50))))
        assert select.select([each.fd for each in queues], [], [], 5)[0]
        remote.close()
        for each in queues:
            each.close()
        tap.close()

    inside(check)
