# SPDX-License-Identifier: GPL-2.0-or-later
"""A wire to a far end on another machine, or in another network namespace: joins the run's tap with a stream of frames.

A process of its own stands between the two, ``python -m plugfest.machine.wire TAP STREAM CONTROL`` with two inherited descriptors; the far
end of the stream is guest-images/agent/hardware/far_end.py, which describes the messages. So the tap of the run is the far end of the
wire for everything that sends, captures and answers, as it is for a guest.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from contextlib import suppress

from plugfest.errors import InfrastructureError
from plugfest.machine.messages import FRAME, SYNC, message, missing, take

COUNT = struct.Struct(">I")
SETTLE_TIMEOUT = 60.0
"""Seconds for the far end to pass on what is on the wire."""
HEARTBEAT = 5.0
"""Seconds after which this end sends to the far end, whatever else it does."""
_BURST = 256
_LONGEST = 1 << 17
_READ = 1 << 18
_MOST_WAITING = 8 << 20
"""Bytes for the far end above which frames wait in the tap, which has a queue, and whose senders notice when it is full."""
_LAST_MESSAGE = 5.0
"""Seconds for the rest of a message, at the end."""
_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
_PR_SET_PDEATHSIG = 1


class Wire:
    """The process between a tap and a stream."""

    def __init__(self, tap: str, stream: int) -> None:
        """Start it, and wait until it has the tap open: before that, what is sent there is lost.

        Args:
            tap: name of a tap in this process's network namespace.
            stream: descriptor of the far end's stream; this process keeps it, too.

        Raises:
            InfrastructureError: the far end does not answer.
        """
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            argv = [sys.executable, "-m", __name__, tap, str(stream), str(theirs.fileno())]
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, pass_fds=(stream, theirs.fileno()), start_new_session=True
            )
        self._control.settimeout(SETTLE_TIMEOUT)
        self._numbers = 0
        if self.settle() is None:
            self.close()
            raise InfrastructureError("expected the far end of the wire to answer, found that it is gone")

    def settle(self) -> int | None:
        """Wait until all frames that are on the wire now have come to the tap, and the other way round.

        Returns:
            How many frames the far end has lost so far; None if the far end is gone.
        """
        self._numbers = (self._numbers + 1) & 0xFFFFFFFF
        try:
            self._control.send(COUNT.pack(self._numbers))
            while True:
                answer = self._control.recv(8)
                if len(answer) < 8:
                    return None
                number, lost = struct.unpack(">II", answer)
                if number == self._numbers:
                    return int(lost)
        except OSError:
            return None

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def close(self) -> None:
        """End the process; the far end's stream stays open. Idempotent."""
        self._control.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5.0)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def open_tap(name: str) -> int:
    """Open a tap that exists, and return its descriptor, which does not block (Documentation/networking/tuntap.rst)."""
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI))
    return fd


class _Joint:
    """Joins the two, within the process. It never waits to write to the stream: the far end may wait for this end to read."""

    def __init__(self, tap: int, stream: int, control: int) -> None:
        self._tap, self._stream, self._control = tap, stream, control
        self._incoming, self._outgoing = bytearray(), bytearray()
        os.set_blocking(stream, False)

    def run(self) -> None:
        """Pass frames on until the stream or the run's end of the control socket is closed."""
        beat = time.monotonic()
        while self._turn(frames=len(self._outgoing) < _MOST_WAITING, control=True):
            if time.monotonic() - beat > HEARTBEAT:
                beat = time.monotonic()
                self._outgoing += message(SYNC, COUNT.pack(0))
        # Whoever has the stream next must find whole messages.
        end = time.monotonic() + _LAST_MESSAGE
        while (self._incoming or self._outgoing) and time.monotonic() < end and self._turn(frames=False, control=False):
            pass

    def _turn(self, *, frames: bool, control: bool) -> bool:
        """Wait for something to do, and do it; returns whether to go on."""
        poll = select.poll()
        poll.register(self._stream, select.POLLIN | (select.POLLOUT if self._outgoing else 0))
        if frames:
            poll.register(self._tap, select.POLLIN)
        if control:
            poll.register(self._control, select.POLLIN)
        ready = dict(poll.poll(HEARTBEAT * 1000))
        if self._tap in ready:
            self._send()
        if ready.get(self._stream, 0) & ~select.POLLOUT:
            # Not more than there is of a message, when it is the last one to be read.
            data = os.read(self._stream, _READ if control else missing(self._incoming))
            if not data:
                return False
            self._incoming += data
            self._take()
        if self._control in ready:
            mark = os.read(self._control, COUNT.size)
            if not mark:
                return False
            while self._send():
                pass
            self._outgoing += message(SYNC, mark)
        if self._outgoing:
            with suppress(BlockingIOError):
                del self._outgoing[: os.write(self._stream, self._outgoing)]
        return True

    def _send(self) -> bool:
        """Take a burst of the tap's frames; returns whether there may be more."""
        for _ in range(_BURST):
            try:
                frame = os.read(self._tap, _LONGEST)
            except BlockingIOError:
                return False
            self._outgoing += message(FRAME, frame)
        return True

    def _take(self) -> None:
        for kind, contents in take(self._incoming):
            if kind == FRAME:
                self._deliver(contents)
            elif kind == SYNC and contents[: COUNT.size] != COUNT.pack(0):
                os.write(self._control, contents)

    def _deliver(self, frame: bytes) -> None:
        while True:
            try:
                os.write(self._tap, frame)
            except BlockingIOError:
                select.select([], [self._tap], [], 0.1)
            except OSError as error:
                if error.errno not in (errno.EIO, errno.ENETDOWN, errno.EINVAL):  # the tap is down
                    raise
                return
            else:
                return


def main(tap: str, stream: str, control: str) -> int:
    """Join them until one of them ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with suppress(BrokenPipeError, ConnectionError):
        _Joint(open_tap(tap), int(stream), int(control)).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
