# SPDX-License-Identifier: GPL-2.0-or-later
"""Silences and timeouts of the traffic: a busy host extends them, and an idle one does not."""

from __future__ import annotations

import base64
import hashlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from plugfest import deadline
from plugfest.deadline import Deadline
from plugfest.frames.probe import frames_of
from plugfest.machine.agent import AgentError
from plugfest.traffic import continuous, peer
from plugfest.traffic.continuous import ContinuousTraffic
from plugfest.traffic.packet_socket import PacketReceiver
from plugfest.traffic.peer import TrafficPeer
from plugfest.traffic.traffic import LOSS_TIMEOUT, Traffic, payloads

BUSY, IDLE = 0.95, 0.0
"""Shares of the time that the host loses."""


class Clock:
    """Stands for the module `time`; only waiting moves it."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Guest:
    """A guest on a host that loses a share of the time."""

    def __init__(self, share: float, agent: Any = None, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.agent = agent
        self.speed = 1.0
        self._share, self._monotonic, self._begin = share, monotonic, monotonic()

    def lost(self) -> float:
        return (self._monotonic() - self._begin) * self._share

    def deadline(self, seconds: float) -> Deadline:
        return Deadline.after(seconds, speed=self.speed, lost=self.lost)


class Sockets:
    """An agent whose sockets get each thing at its time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._coming: list[tuple[float, bytes]] = []

    def come(self, things: list[bytes], *, after: float) -> None:
        self._coming += [(self._clock.now + after * (number + 1), thing) for number, thing in enumerate(things)]

    def batch(self, calls: list[Any]) -> list[Any]:
        return [{"handle": 1, "overflows": 0} for _ in calls]

    def call(self, method: str, **params: Any) -> Any:
        match method:
            case "packet.open":
                return 1
            case "udp.overflows":
                return 0
            case "udp.receive" | "packet.receive":
                return self._receive(params["count"], params["timeout"])
        raise AssertionError(method)

    def _receive(self, count: int, timeout: float) -> list[dict[str, str]]:
        end = self._clock.now + timeout
        found = []
        while len(found) < count and self._coming and self._coming[0][0] <= end:
            at, thing = self._coming.pop(0)
            self._clock.now = max(self._clock.now, at)
            encoded = base64.b64encode(thing).decode()
            found.append({"data": encoded, "frame": encoded})
        if len(found) < count:
            self._clock.now = end
        return found


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(deadline, "time", made)
    return made


def traffic_on(guest: Guest) -> Traffic:
    dut = SimpleNamespace(ifname="eth0", mac="02:70:66:00:00:01")
    remote = SimpleNamespace(mac="02:70:66:00:00:fe")
    return Traffic(guest, dut, remote, lambda *_, **__: None, lambda *_, **__: None)  # type: ignore[arg-type]


@pytest.mark.parametrize(("share", "arrived"), [(IDLE, 0), (BUSY, 2)])
def test_frame_is_lost_after_a_silence_that_a_busy_host_extends(clock: Clock, share: float, arrived: int) -> None:
    sockets = Sockets(clock)
    traffic = traffic_on(Guest(share, sockets, clock.monotonic))
    probes = traffic.probes(sizes=(60,), versions=(4,), flows=2)
    begin = clock.now
    sockets.come(payloads(probes), after=LOSS_TIMEOUT * 3)
    assert traffic.received(probes) == payloads(probes)[:arrived]
    if not arrived:
        assert clock.now - begin == pytest.approx(LOSS_TIMEOUT)


def test_silence_ends_on_a_host_that_has_no_time_at_all(clock: Clock) -> None:
    traffic = traffic_on(Guest(1.0, Sockets(clock), clock.monotonic))
    begin = clock.now
    assert traffic.received(traffic.probes(sizes=(60,), flows=1)) == []
    assert clock.now - begin == pytest.approx(10 * LOSS_TIMEOUT)


@pytest.mark.parametrize(("share", "arrived"), [(IDLE, 0), (BUSY, 2)])
def test_packet_socket_waits_as_long(clock: Clock, share: float, arrived: int) -> None:
    sockets = Sockets(clock)
    traffic = traffic_on(Guest(IDLE, sockets, clock.monotonic))
    guest = Guest(share, sockets, clock.monotonic)
    receiver = PacketReceiver(guest, "eth0", lambda *_, **__: None)  # type: ignore[arg-type]
    frames = frames_of(traffic.probes(sizes=(60,), versions=(4,), flows=2))
    sockets.come(frames, after=LOSS_TIMEOUT * 3)
    assert receiver.take(lambda _: True, 2) == frames[:arrived]


@pytest.mark.parametrize(("share", "lost"), [(IDLE, 8), (BUSY, 0)])
def test_frames_that_the_dut_sent_drain_as_long(monkeypatch: pytest.MonkeyPatch, share: float, lost: int) -> None:
    monkeypatch.setattr(continuous, "DRAIN_TIMEOUT", 0.2)
    sent: list[bytes] = []
    over = time.monotonic() + (0.6 if share else 2.0)

    class Seen:
        def reached(self, count: int) -> bool:
            return len(self.frames()) >= count

        def frames(self) -> list[bytes]:
            return list(sent) if time.monotonic() > over else []

    @contextmanager
    def capture_sent() -> Iterator[Seen]:
        yield Seen()

    guest = Guest(share)
    ends_back = traffic_on(Guest(IDLE, Sockets(Clock()))).ends_back
    traffic = SimpleNamespace(ready=lambda: None, cpus=lambda: 1, ends_back=ends_back, capture_sent=capture_sent)
    sender = SimpleNamespace(send=lambda frames, cpu: sent.extend(frames))
    made = ContinuousTraffic(guest, traffic, None, None, sender)  # type: ignore[arg-type]
    with made.from_dut(sizes=(60,)) as result:
        pass
    assert len(sent) == 8
    assert result.lost == lost


def silence(share: float) -> Callable[[], Deadline]:
    guest = Guest(share)
    return lambda: guest.deadline(0.3)


def test_remote_end_receives_from_a_peer_that_a_busy_host_delays() -> None:
    found = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=lambda: found.append(peer._take(listener, silence(BUSY))))
        thread.start()
        time.sleep(0.5)
        with socket.create_connection(listener.getsockname()) as connection:
            for _ in range(2):
                time.sleep(0.5)
                connection.sendall(b"abc")
        thread.join()
    assert (found[0].length, found[0].sha256) == (6, hashlib.sha256(b"abcabc").hexdigest())


def test_remote_end_sends_to_a_peer_that_a_busy_host_delays() -> None:
    data, found = bytes(4_000_000), []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        thread = threading.Thread(target=lambda: found.append(peer._give(socket.AF_INET, address, data, silence(BUSY))))
        thread.start()
        connection, _ = listener.accept()
        with connection:
            time.sleep(0.5)
            got = 0
            while got < len(data):
                got += len(connection.recv(1 << 20))
            time.sleep(0.5)
        thread.join()
    assert found[0].length == got == len(data)


def test_remote_end_gives_a_silent_peer_up_on_an_idle_host() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        begin = time.monotonic()
        with pytest.raises(TimeoutError):
            peer._take(listener, silence(IDLE))
        with pytest.raises(TimeoutError):
            peer._give(socket.AF_INET, listener.getsockname(), b"abc", silence(IDLE))
        assert 0.6 <= time.monotonic() - begin < 5
        closed = listener.getsockname()
    with pytest.raises(ConnectionRefusedError):
        peer._give(socket.AF_INET, closed, b"abc", silence(IDLE))


class Ends:
    """An agent whose ends of TCP connections time out a number of times, then transfer."""

    def __init__(self, failures: int) -> None:
        self.made = 0
        self._failures = failures

    def call(self, method: str, **params: Any) -> Any:
        if method == "tcp.listen":
            self._listener = socket.create_server(("127.0.0.1", 0))
            return {"handle": 1, "port": self._listener.getsockname()[1]}
        if method == "handle.close":
            return self._listener.close()
        self.made += 1
        if self.made <= self._failures:
            time.sleep(0.1)
            raise AgentError(method, "TimeoutError", "timed out", None)
        if method == "tcp.send":
            with socket.create_connection((params["address"], params["port"])) as connection:
                connection.sendall(bytes(params["length"]))
            return {}
        connection, _ = self._listener.accept()
        with connection:
            data = b""
            while news := connection.recv(1 << 16):
                data += news
        return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "seconds": 0.0}


@pytest.mark.parametrize("direction", ["from_dut", "to_dut"])
@pytest.mark.parametrize(("share", "failures", "made"), [(BUSY, 0, 1), (BUSY, 1, 2), (IDLE, 1, None), (BUSY, 3, None)])
def test_transfer_that_timed_out_on_a_busy_host_is_made_again(
    monkeypatch: pytest.MonkeyPatch, direction: str, share: float, failures: int, made: int | None
) -> None:
    monkeypatch.setattr(peer, "TRANSFER_TIMEOUT", 0.3)
    monkeypatch.setattr(peer, "_HERE", {4: "127.0.0.1"})
    monkeypatch.setattr(peer, "_THERE", {4: "127.0.0.1"})
    ends = Ends(failures)
    transfer = getattr(TrafficPeer(Guest(share, ends)), direction)  # type: ignore[arg-type]
    if made is None:
        with pytest.raises(AssertionError, match=r"expected 1000 bytes by TCP .*: TimeoutError: timed out"):
            transfer(4, 1000)
        assert ends.made == failures
    else:
        assert transfer(4, 1000).length == 1000
        assert ends.made == made
