# SPDX-License-Identifier: GPL-2.0-or-later
"""TCP and ICMP echo between the remote end's stack and the DUT's."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plugfest.deadline import scaled, undisturbed
from plugfest.frames.payload import generate
from plugfest.frames.probe import internet_checksum
from plugfest.machine.agent import AgentError
from plugfest.machine.tap import DUT_IPV4, DUT_IPV6, IPV4, IPV6

if TYPE_CHECKING:
    from plugfest.deadline import Deadline
    from plugfest.machine.machine import Machine

TRANSFER_TIMEOUT = 3.0
"""Seconds without progress that end a transfer, on a guest of speed 1."""
_ALLOWANCE = 0.1
"""Share of its time that the host may lose in a failed transfer that counts: the guest's end waits by a clock that no busy host stops."""

CLOSE_TIMEOUT = 0.2
"""Seconds for the end of a connection to become known, on a guest of speed 1."""

_NUMBERS = itertools.count(1)
_CHUNK = 1 << 16
_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
_HERE = {4: IPV4, 6: IPV6}
_THERE = {4: DUT_IPV4, 6: DUT_IPV6}
_ECHO = {4: (8, 0), 6: (128, 129)}
_PROTOCOL = {4: socket.IPPROTO_ICMP, 6: socket.IPPROTO_ICMPV6}


@dataclass(frozen=True)
class Transfer:
    """What the receiving end of a TCP connection received.

    Attributes:
        length: bytes.
        sha256: of them.
        seconds: from connecting to the end, by the receiver's clock.
    """

    length: int
    sha256: str
    seconds: float


@dataclass(frozen=True)
class TcpReceiver:
    """A connection that the remote end accepts.

    Attributes:
        address: of the remote end.
        port: it listens on.
        result: gives what was received, once the connection has ended; raises AssertionError where it does not in time.
    """

    address: str
    port: int
    result: Callable[[], Transfer]


class TrafficPeer:
    """The remote end's stack as a peer of the DUT's."""

    def __init__(self, guest: Machine) -> None:
        """Open no connection yet."""
        self._guest = guest
        self._agent = guest.agent
        self._timeout = scaled(TRANSFER_TIMEOUT, guest.speed)

    def from_dut(self, version: int, length: int, *, seed: int = 1, mss: int | None = None) -> Transfer:
        """Have the DUT connect and send a stream; return what was received here.

        Args:
            version: of IP.
            length: bytes.
            seed: of the stream (`plugfest.frames.payload`).
            mss: the largest segment that this end asks for.

        Raises:
            AssertionError: the connection was not made, or broke.
        """

        return self._from_dut("tcp.send", version, mss, length, {"length": length, "seed": seed})

    def pieces_from_dut(
        self, version: int, packets: Sequence[Sequence[int]], *, seed: int = 1, mss: int | None = None
    ) -> Transfer:
        """Have the DUT connect and send a stream out of many small pieces of memory; return what was received here.

        Args:
            version: of IP.
            packets: the lengths of the pieces of each part that the DUT's stack is to put into a packet of its own.
            seed: of the stream.
            mss: the largest segment that this end asks for.

        Raises:
            AssertionError: the connection was not made, or broke.
        """
        length = sum(map(sum, packets))
        return self._from_dut("pieces.send_stream", version, mss, length, {"packets": packets, "seed": seed})

    def _from_dut(self, method: str, version: int, mss: int | None, length: int, stream: Mapping[str, Any]) -> Transfer:
        def transfer() -> Transfer:
            with self.receiving(version, mss=mss) as taken:
                try:
                    self._agent.call(method, address=_HERE[version], port=taken.port, timeout=self._timeout, **stream)
                except AgentError as error:
                    raise AssertionError(f"expected {length} bytes by TCP from the DUT, found: {error}") from error
                return taken.result()

        return self._undisturbed(transfer)

    def _undisturbed(self, transfer: Callable[[], Transfer]) -> Transfer:
        done: list[Transfer] = []

        def attempt(measured: Callable[[], AbstractContextManager[None]]) -> None:
            failure: AssertionError | None = None
            with measured():
                try:
                    done.append(transfer())
                except AssertionError as error:  # its timeout is what is judged, so it counts as measured
                    failure = error
            if failure is not None:
                raise failure

        undisturbed(attempt, lost=self._guest.lost, allowance=_ALLOWANCE, tries=3)
        return done[0]

    def _silence(self) -> Deadline:
        """Start the time that this end's sockets wait for the next thing to happen."""
        return self._guest.deadline(TRANSFER_TIMEOUT)

    @contextmanager
    def receiving(self, version: int, *, mss: int | None = None) -> Iterator[TcpReceiver]:
        """Accept one connection, which the block has to make, and read it to its end.

        Args:
            version: of IP.
            mss: the largest segment that this end asks for.
        """
        with socket.create_server((_HERE[version], 0), family=_FAMILY[version]) as listener:
            if mss:
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, mss)
            work = _Background(lambda: _take(listener, self._silence))
            yield TcpReceiver(_HERE[version], listener.getsockname()[1], lambda: work.result(self._silence()))

    def to_dut(self, version: int, length: int, *, seed: int = 1, mss: int | None = None) -> Transfer:
        """Connect to the DUT and send it a stream; return what was received there.

        Args:
            version: of IP.
            length: bytes.
            seed: of the stream.
            mss: the largest segment that the DUT asks for.

        Raises:
            AssertionError: the connection was not made, or broke.
        """

        def transfer() -> Transfer:
            opened = self._agent.call("tcp.listen", address=_THERE[version], port=0, mss=mss)
            try:
                with self.sending(version, opened["port"], generate(seed, length)):
                    try:
                        got = self._agent.call("tcp.receive", listener=opened["handle"], timeout=self._timeout)
                    except AgentError as error:
                        raise AssertionError(f"expected {length} bytes by TCP to the DUT, found: {error}") from error
            finally:
                self._agent.call("handle.close", handle=opened["handle"])
            return Transfer(got["bytes"], got["sha256"], got["seconds"])

        return self._undisturbed(transfer)

    @contextmanager
    def sending(self, version: int, port: int, data: bytes, *, to_end: bool = True) -> Iterator[None]:
        """Connect to a port of the DUT and send it `data`, which the block has to receive.

        Args:
            version: of IP.
            port: of the DUT.
            data: bytes.
            to_end: require that all was received and the connection closed in order.

        Raises:
            AssertionError: it was not.
        """
        work = _Background(lambda: _give(_FAMILY[version], (_THERE[version], port), data, self._silence))
        yield
        if to_end:
            work.result(self._guest.deadline(CLOSE_TIMEOUT))

    def check_echo(self, version: int, length: int) -> None:
        """Have the DUT answer an echo request of `length` bytes with the same bytes.

        Raises:
            AssertionError: it did not; the message says how.
        """
        reply, wanted = self.echo(version, length), generate(1, length)
        what = f"an echo request of {length} bytes over IPv{version}"
        assert reply is not None, f"{what}: no reply"
        first = next((at for at, pair in enumerate(zip(reply, wanted, strict=False)) if pair[0] != pair[1]), None)
        same = reply == wanted
        assert same, (
            f"{what}: the reply has {len(reply)} bytes, and differs from byte {first or min(len(reply), length)} on"
        )

    def echo(self, version: int, length: int, *, timeout: float = 0.3, tries: int = 3) -> bytes | None:
        """Send an echo request of `length` bytes to the DUT by this end's stack, which fragments it where it must.

        A lost one is sent again, since a link that has just come up may lose a frame.

        Returns:
            What came back, `plugfest.frames.payload` of seed 1 if all is well; None if nothing did.
        """
        with _raw_echo(version) as sock:
            for _ in range(tries):
                identity = struct.pack(">HH", os.getpid() & 0xFFFF, next(_NUMBERS) & 0xFFFF)
                message = bytes((_ECHO[version][0], 0, 0, 0)) + identity + generate(1, length)
                if version == 4:  # of ICMPv6 the kernel does it
                    message = message[:2] + internet_checksum(message).to_bytes(2, "big") + message[4:]
                with suppress(OSError):  # no route or no neighbour: nothing comes back
                    sock.sendto(message, (_THERE[version], 0))
                answer = self._answer(sock, version, identity, timeout)
                if answer is not None:
                    return answer
        return None

    def _answer(self, sock: socket.socket, version: int, identity: bytes, timeout: float) -> bytes | None:
        limit = self._guest.deadline(timeout)
        while not limit.passed:
            if not select.select([sock], [], [], limit.remaining)[0]:
                continue
            data = sock.recv(1 << 16)
            if version == 4:
                data = data[(data[0] & 15) * 4 :]
            if len(data) >= 8 and data[0] == _ECHO[version][1] and data[4:8] == identity:
                return data[8:]
        return None


def _raw_echo(version: int) -> socket.socket:
    sock = socket.socket(_FAMILY[version], socket.SOCK_RAW, _PROTOCOL[version])
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    return sock


class _Background:
    """Something that goes on beside the test."""

    def __init__(self, work: Callable[[], Transfer]) -> None:
        self._found: list[Transfer] = []
        self._failed: list[OSError] = []
        self._work = work
        self._thread = threading.Thread(target=self._run, name="peer", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._found.append(self._work())
        except OSError as error:
            self._failed.append(error)

    def result(self, limit: Deadline) -> Transfer:
        while self._thread.is_alive() and not limit.passed:
            self._thread.join(limit.remaining)
        assert not self._failed, f"the remote end's TCP: {self._failed[0]}"
        assert self._found, f"the remote end's TCP did not end within {limit.seconds:.0f} s"
        return self._found[0]


def _take(listener: socket.socket, silence: Callable[[], Deadline]) -> Transfer:
    """Accept a connection and read it to its end; `silence` starts the time that each step may take."""
    listener.setblocking(False)
    _wait(listener, select.POLLIN, silence())
    connection, _ = listener.accept()
    digest = hashlib.sha256()
    count = 0
    with connection:
        connection.setblocking(False)
        while data := _received(connection, silence()):
            digest.update(data)
            count += len(data)
    return Transfer(count, digest.hexdigest(), 0.0)


def _give(
    family: socket.AddressFamily, address: tuple[str, int], data: bytes, silence: Callable[[], Deadline]
) -> Transfer:
    """Connect, send `data` and wait for the other end to close; `silence` starts the time that each step may take."""
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.setblocking(False)
        code = connection.connect_ex(address)
        if code == errno.EINPROGRESS:
            _wait(connection, select.POLLOUT, silence())
            code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
        left = memoryview(data)
        while left:
            _wait(connection, select.POLLOUT, silence())
            left = left[connection.send(left) :]
        connection.shutdown(socket.SHUT_WR)
        while _received(connection, silence()):
            pass
    return Transfer(len(data), hashlib.sha256(data).hexdigest(), 0.0)


def _received(connection: socket.socket, limit: Deadline) -> bytes:
    _wait(connection, select.POLLIN, limit)
    return connection.recv(_CHUNK)


def _wait(sock: socket.socket, event: int, limit: Deadline) -> None:
    """Wait for an event of a socket.

    Raises:
        TimeoutError: it did not come.
    """
    events = select.poll()
    events.register(sock, event)
    while not events.poll(limit.remaining * 1000):
        if limit.passed:
            raise TimeoutError("timed out")
