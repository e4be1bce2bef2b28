# SPDX-License-Identifier: GPL-2.0-or-later
"""The remote end of the wire: sends frames to the device under test and sees every frame that it sends."""

from __future__ import annotations

import errno
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scapy.layers import inet, inet6  # noqa: F401 - what is imported is what Ether dissects
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from plugfest import deadline as deadlines
from plugfest.errors import InfrastructureError
from plugfest.frames.background import is_background
from plugfest.machine import tap as taps
from plugfest.machine.call_log import CallLog
from plugfest.machine.tap import Tap

if TYPE_CHECKING:
    from plugfest.faults import Interposer

_ETH_P_ALL = 0x0003
_SOL_PACKET = 263
_PACKET_AUXDATA, _PACKET_STATISTICS = 8, 6
_PACKET_OUTGOING = 4
_SO_TIMESTAMPNS = 35
_SO_RCVBUFFORCE, _SO_SNDBUFFORCE = 33, 32
_BUFFER = 256 << 20
_WAITING = _BUFFER // 512
"""More frames than fit into the socket: the kernel counts at least so many bytes of it for each."""
_LONGEST = 1 << 16
_AUXDATA = struct.Struct("=IIIHHHH")
_TP_STATUS_VLAN_VALID, _TP_STATUS_VLAN_TPID_VALID = 1 << 4, 1 << 6
_ANCILLARY = socket.CMSG_SPACE(_AUXDATA.size) + socket.CMSG_SPACE(16)

Sendable = bytes | Packet


@dataclass(frozen=True)
class CapturedFrame:
    """One frame on the wire.

    Attributes:
        data: all bytes without FCS, VLAN tags in their places.
        seconds: wall clock time at which the remote end's kernel saw it.
        received: whether the device under test sent it; else the remote end did.
    """

    data: bytes
    seconds: float
    received: bool

    @property
    def packet(self) -> Packet:
        """The frame, dissected by scapy."""
        return Ether(self.data)

    @property
    def background(self) -> bool:
        """Whether it is background traffic: address resolution, neighbour and listener discovery, router solicitation …"""
        return is_background(self.data)


class Capture:
    """Frames in both directions, from the moment it is made until `stop`; if one is missing `stop` raises."""

    def __init__(
        self,
        interface: str,
        interposer: Interposer | None = None,
        lost: Callable[[], float] = deadlines.never,
        settle: Callable[[], int] = lambda: 0,
    ) -> None:
        """Start. The socket is bound before this returns, so what happens afterwards is seen.

        Args:
            interface: whose frames.
            interposer: consulted for each received frame of a run that falsifies.
            lost: returns the seconds that the host has lost so far.
            settle: waits until what is on the wire has come to the interface; returns how many frames were lost on the way so far.
        """
        self._settle = settle
        self._lost_before = settle()
        self._interposer = interposer
        self._lost = lost
        self._frames: list[CapturedFrame] = []
        self._changed = threading.Condition()
        self._emptying = threading.Lock()
        self._buffer = bytearray(_LONGEST + 64)
        self._socket = _bound(interface, _ETH_P_ALL)
        self._socket.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        # From here on every frame waits in the socket; the thread only empties it.
        self._stopping, self._stopped = socket.socketpair()
        self._dropped = 0
        self._thread = threading.Thread(target=self._read, name="capture", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(self._stopped, select.POLLIN)
        last = False
        while True:
            events = dict(poll.poll(0 if last else None))
            if self._socket.fileno() in events:
                self._empty()
            if last:
                return
            # What was on the wire when `stop` was called is in the socket: empty it once more.
            last = self._stopped.fileno() in events

    def _empty(self) -> None:
        """Take what waits in the socket: the thread does, when it has a core, and so does whoever asks for the frames so far.

        Not more than it can hold, for more may come all the time.
        """
        with self._emptying:
            for _ in range(_WAITING):
                if not self._take():
                    return

    def _take_all(self) -> None:
        """Take what is on the wire by now, until the capture is stopped."""
        if self._socket.fileno() >= 0:
            self._settle()
            self._empty()

    def _take(self) -> bool:
        try:
            length, ancillary, _, address = self._socket.recvmsg_into([self._buffer], _ANCILLARY, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError as error:
            # A tap that went down reports an error once; frames go on when it is up again.
            return error.errno == errno.ENETDOWN
        data = bytes(memoryview(self._buffer)[:length])
        seconds = 0.0
        for level, kind, value in ancillary:
            if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
                whole, nanoseconds = struct.unpack("=qq", value)
                seconds = whole + nanoseconds / 1e9
            elif level == _SOL_PACKET and kind == _PACKET_AUXDATA:
                data = _with_tag(data, value)
        received = address[2] != _PACKET_OUTGOING
        if received and self._interposer is not None:
            seen = self._interposer("wire", "capture", {"frame": data}, _frame)
            if seen is None:
                return True
            data = seen
        with self._changed:
            self._frames.append(CapturedFrame(data, seconds, received))
            self._changed.notify_all()
        return True

    def frames(self, *, background: bool = True) -> list[CapturedFrame]:
        """Return the frames captured so far, in order.

        Args:
            background: with background traffic.
        """
        self._take_all()
        with self._changed:
            found = list(self._frames)
        return found if background else [frame for frame in found if not frame.background]

    def after(self, known: int, seconds: float = 0) -> list[CapturedFrame]:
        """Return the frames behind the first `known` ones; where there are none, wait up to so many seconds for one."""
        self._take_all()
        with self._changed:
            self._changed.wait_for(lambda: len(self._frames) > known, seconds)
            return self._frames[known:]

    def forget(self) -> list[CapturedFrame]:
        """Return what was seen since the last call, in order, and keep it no longer: for captures that go on for minutes."""
        self._take_all()
        with self._changed:
            found, self._frames = self._frames, []
        return found

    def received(self, *, background: bool = True) -> list[bytes]:
        """Return the frames that the device under test sent."""
        return [frame.data for frame in self.frames(background=background) if frame.received]

    def sent(self, *, background: bool = True) -> list[bytes]:
        """Return the frames that the remote end sent."""
        return [frame.data for frame in self.frames(background=background) if not frame.received]

    def wait(self, condition: Callable[[list[bytes]], Any], timeout: float) -> bool:
        """Wait until the received frames meet a condition; returns whether they did.

        Args:
            condition: of the list of received frames.
            timeout: seconds of wall time on an idle host.
        """
        limit = deadlines.Deadline.after(timeout, lost=self._lost)
        with self._changed:
            while not condition([frame.data for frame in self._frames if frame.received]):
                if limit.passed:
                    return False
                self._changed.wait(limit.remaining)
            return True

    def stop(self) -> list[CapturedFrame]:
        """Stop and return all frames. Idempotent.

        Raises:
            InfrastructureError: the host lost frames, so that the capture proves nothing.
        """
        if self._thread.is_alive():
            try:
                lost = self._settle() - self._lost_before
            finally:
                self._stopping.send(b"x")
                self._thread.join()
            _, dropped = struct.unpack("=II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
            self._dropped = dropped + lost
            for each in (self._socket, self._stopping, self._stopped):
                each.close()
        if self._dropped:
            raise InfrastructureError(
                f"expected to see every frame, found that the host lost {self._dropped} of them; raise net.core.rmem_max, or run as root"
            )
        return self.frames()


class Remote:
    """The remote end of the wire: its addresses, raw frames, captures; its stack answers pings, and serves peers (`plugfest.traffic.peer`).

    Attributes:
        tap: the interface.
        ifname: its name.
        mac: its hardware address.
        ipv4: its address.
        ipv6: its address.
    """

    mac = taps.MAC
    ipv4 = taps.IPV4
    ipv6 = taps.IPV6

    def __init__(
        self,
        tap: Tap,
        interposer: Interposer | None = None,
        lost: Callable[[], float] = deadlines.never,
        log: CallLog | None = None,
    ) -> None:
        """Take the wire's tap.

        Args:
            tap: the remote end of the wire.
            interposer: consulted for each frame of a run that falsifies.
            lost: returns the seconds that the host has lost so far.
            log: of the frames that are sent; None for one of its own.
        """
        self._log = CallLog() if log is None else log
        self.tap = tap
        self.ifname = tap.name
        self._interposer = interposer
        self._lost = lost
        self._socket = _bound(tap.name, 0)

    @property
    def mtu(self) -> int:
        """Bytes of payload that this end's stack sends in one frame; raw frames obey it too (and 18 more for header and tag)."""
        return self.tap.mtu

    @mtu.setter
    def mtu(self, mtu: int) -> None:
        self.tap.mtu = mtu

    def send(self, frames: Sendable | Iterable[Sendable]) -> int:
        """Put frames on the wire, in order; returns how many.

        Args:
            frames: one or more, without FCS; as bytes or as scapy's packets.

        Raises:
            InfrastructureError: the tap did not take one, as when it is longer than the MTU.
        """
        queue = [frames] if isinstance(frames, bytes | Packet) else frames
        count = 0
        for number, each in enumerate(queue):
            data: bytes | None = bytes(each)
            count += 1
            if self._interposer is not None:
                data = self._interposer("wire", "send", {"frame": data, "number": number}, _frame)
            if data is not None:
                self._log.sent(data)
                self._put(data)
        return count

    def _put(self, data: bytes) -> None:
        while True:
            try:
                self._socket.send(data)
            except OSError as error:
                if error.errno in (errno.ENOBUFS, errno.EAGAIN):
                    # The device under test is slower than we are: wait until the tap's queue has room.
                    select.select([], [self._socket], [], 0.1)
                    continue
                raise InfrastructureError(
                    f"expected {self.ifname} to take a frame of {len(data)} bytes, found: {error.strerror} (mtu {self.mtu})"
                ) from error
            return

    @contextmanager
    def capture(self) -> Iterator[Capture]:
        """``with remote.capture() as seen:`` records all that is on the wire meanwhile; `seen` stays usable afterwards."""
        seen = Capture(self.ifname, self._interposer, self._lost)
        try:
            yield seen
        finally:
            seen.stop()

    def exchange(
        self, frames: Sendable | Iterable[Sendable], answer: Callable[[Packet], Any], *, timeout: float
    ) -> Packet | None:
        """Send, and return the first frame of the device under test that is an answer; None if none comes in time.

        Args:
            frames: to send.
            answer: returns whether a dissected frame is one.
            timeout: seconds of wall time on an idle host.
        """
        found: list[Packet] = []
        tried = 0

        def any_answer(received: list[bytes]) -> bool:
            nonlocal tried
            for data in received[tried:]:
                tried += 1
                packet = Ether(data)
                if answer(packet):
                    found.append(packet)
                    return True
            return False

        with self.capture() as seen:
            self.send(frames)
            seen.wait(any_answer, timeout)
        return found[0] if found else None

    def background(self, seconds: float) -> list[CapturedFrame]:
        """Capture an idle wire for so many seconds, and return its background traffic."""
        with self.capture() as seen:
            time.sleep(seconds)
        return seen.frames()

    def record(self, path: Path) -> Recording:
        """Record the wire into a pcap file until the recording is stopped; for subjects whose model cannot."""
        return Recording(self.ifname, path)

    def close(self) -> None:
        """Close this end's sockets; the tap is closed by who made it. Idempotent."""
        with suppress(OSError):
            self._socket.close()


class Recording:
    """A pcap file that grows with what is on the wire.

    Attributes:
        path: the file.
    """

    def __init__(self, interface: str, path: Path) -> None:
        """Start."""
        self.path = path
        # Never falsified: the recording is what a reader judges a test by.
        self._capture = Capture(interface)

    def stop(self) -> int:
        """Write the file; returns the number of frames. A recording that lost frames is written too, as its name shows."""
        path = self.path
        try:
            frames = self._capture.stop()
        except InfrastructureError:
            frames = self._capture.frames()
            path = path.with_suffix(".incomplete.pcap")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(struct.pack("=IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, _LONGEST, 1))  # nanoseconds, LINKTYPE_ETHERNET
            for frame in frames:
                whole, fraction = divmod(round(frame.seconds * 1e9), 1_000_000_000)
                file.write(struct.pack("=IIII", whole, fraction, len(frame.data), len(frame.data)) + frame.data)
        return len(frames)


def _frame(_method: str, params: Mapping[str, Any]) -> Any:
    return params["frame"]


def _bound(interface: str, protocol: int) -> socket.socket:
    try:
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        for forced, asked in ((_SO_RCVBUFFORCE, socket.SO_RCVBUF), (_SO_SNDBUFFORCE, socket.SO_SNDBUF)):
            try:
                opened.setsockopt(socket.SOL_SOCKET, forced, _BUFFER)
            except PermissionError:  # in a user namespace: up to net.core.rmem_max
                opened.setsockopt(socket.SOL_SOCKET, asked, _BUFFER)
        opened.bind((interface, protocol))
    except OSError as error:
        raise InfrastructureError(
            f"expected to open a packet socket on {interface}, found: {error.strerror}"
        ) from error
    return opened


def _with_tag(data: bytes, auxdata: bytes) -> bytes:
    """Put the VLAN tag back that the kernel took off before it showed the frame."""
    status, _, _, _, _, tci, tpid = _AUXDATA.unpack(auxdata[: _AUXDATA.size])
    if not status & _TP_STATUS_VLAN_VALID:
        return data
    kind = tpid if status & _TP_STATUS_VLAN_TPID_VALID else 0x8100
    return data[:12] + struct.pack("!HH", kind, tci) + data[12:]
