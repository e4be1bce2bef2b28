# SPDX-License-Identifier: MIT
"""A cable between two models, over SOCK_SEQPACKET unix sockets."""

from __future__ import annotations

import contextlib
import fcntl
import select
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from nicmodels.wire.protocol import LONGEST_FRAME, WireCounters, receive_each

if TYPE_CHECKING:
    from collections.abc import Sequence
    from io import BufferedWriter

    from nicmodels.wire.protocol import Buffer

SEND_BUFFER = 1 << 20


class PairWire:
    """One end of a cable between two models.

    `PairWire.pair()` makes both ends in one process. `PairWire.at(path)` makes one end: the first process listens at the
    path, the second connects; an end may disconnect and connect again. Without a peer frames are dropped.

    Attributes:
        connections: how often a peer has connected.
    """

    def __init__(self, peer: socket.socket | None = None) -> None:
        self.counters = WireCounters()
        self.connections = 0
        self._peer: socket.socket | None = None
        self._listener: socket.socket | None = None
        self._path: Path | None = None
        self._lock: BufferedWriter | None = None
        # Peers come and go but the reactor watches one descriptor: an epoll descriptor is readable if any of its
        # descriptors is.
        self._epoll = select.epoll()
        if peer is not None:
            self._attach(peer)

    @classmethod
    def pair(cls) -> tuple[PairWire, PairWire]:
        """Both ends of a new cable."""
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(one), cls(other)

    @classmethod
    def at(cls, path: Path) -> PairWire:
        """One end of the cable named `path`.

        Raises:
            OSError: the path cannot be used, or both ends are taken.
        """
        wire = cls()
        wire._path = path
        try:
            wire._plug()
        except OSError:
            wire.close()
            raise
        return wire

    @property
    def connected(self) -> bool:
        """Whether a peer is connected, as last noticed by `receive` or `transmit`."""
        return self._peer is not None

    def fileno(self) -> int | None:
        """Readable when a frame arrived or a peer connected."""
        return self._epoll.fileno()

    def transmit(self, buffers: Sequence[Buffer]) -> None:
        """Send one frame; it is dropped if there is no peer or the peer's buffer is full."""
        if self._peer is None:
            self._accept()
        if self._peer is not None:
            try:
                self._peer.sendmsg(buffers)
            except BlockingIOError:
                pass
            except (BrokenPipeError, ConnectionError):
                self._detach()
            else:
                self.counters.transmitted += 1
                return
        self.counters.transmit_drops += 1

    def transmit_many(self, frames: Sequence[Sequence[Buffer]]) -> None:
        """Send frames, one by one."""
        for frame in frames:
            self.transmit(frame)

    def receive(self) -> bytes | None:
        """The next frame."""
        if self._peer is None:
            self._accept()
        peer = self._peer
        if peer is None:
            return None
        try:
            frame = peer.recv(LONGEST_FRAME)
        except BlockingIOError:
            return None
        except ConnectionError:
            frame = b""
        if not frame:  # frames are never empty: the peer has disconnected
            self._detach()
            return self.receive() if self._peer is not None else None
        self.counters.received += 1
        return frame

    def receive_many(self, limit: int) -> list[bytes]:
        """Receive frames, one by one."""
        return receive_each(self, limit)

    def close(self) -> None:
        """Disconnect. The listening socket is removed first, so that the peer can take its place when it notices."""
        self._path = None
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._lock is not None:
            Path(self._lock.name.removesuffix(".lock")).unlink(missing_ok=True)
            self._lock.close()
            self._lock = None
        self._detach()
        self._epoll.close()

    def _plug(self) -> None:
        """Connect to the listener at the path; without one, listen."""
        path = self._path
        if path is None or self._listener is not None:
            return
        lock = Path(f"{path}.lock").open("wb")  # noqa: SIM115 - held as long as this end listens
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try:
                peer.connect(str(path))
            except OSError:
                peer.close()
                raise
            self._attach(peer)
            return
        self._lock = lock
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.setblocking(False)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._epoll.register(self._listener, select.EPOLLIN)

    def _accept(self) -> None:
        if self._listener is not None:
            with contextlib.suppress(BlockingIOError):
                self._attach(self._listener.accept()[0])
        elif self._path is not None:
            with contextlib.suppress(OSError):
                self._plug()

    def _attach(self, peer: socket.socket) -> None:
        peer.setblocking(False)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self._peer = peer
        self.connections += 1
        self._epoll.register(peer, select.EPOLLIN)

    def _detach(self) -> None:
        if self._peer is not None:
            self._peer.close()
            self._peer = None
        if self._path is not None and self._listener is None:
            with contextlib.suppress(OSError):
                self._plug()
