# SPDX-License-Identifier: MIT
"""A client's connection: the byte stream, its file descriptors, and the hot path of region accesses.

One receive takes all messages that have arrived. They are parsed in place, without an object per message, and their
replies go out in one send. While replies cannot be sent, because the client does not read, nothing is received.
"""

from __future__ import annotations

import array
import contextlib
import errno
import logging
import os
import select
import socket
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from nicmodels.vfio_user import protocol
from nicmodels.vfio_user.memory import DmaError
from nicmodels.vfio_user.protocol import HEADER, HEADER_SIZE, MAX_MESSAGE, Command, RequestError, invalid

if TYPE_CHECKING:
    from collections.abc import Callable

    from nicmodels.vfio_user.memory import Buffer
    from nicmodels.vfio_user.regions import Regions

logger = logging.getLogger(__name__)

RECEIVE_SIZE = 2 * MAX_MESSAGE
IN_SIZE = 2 * RECEIVE_SIZE
"""Bytes of the input buffer. Ordinary receives use half of it: the rest is for what arrives while the server waits for a reply."""
OUT_SIZE = 1 << 16
OUT_FULL = OUT_SIZE - 64
MAX_TURN = 0.002
"""Seconds that one turn may take before the event loop serves wires and timers."""
SPIN = 50e-6
"""Seconds to poll for the client's next message before sleeping."""
SPIN_TRUST = 8
DMA_TIMEOUT = 5.0
SEND_TIMEOUT = 1.0
_CUT_OFF = int(socket.MSG_CTRUNC)  # an enum operation costs more than the rest of a receive
_ANCILLARY = socket.CMSG_SPACE(protocol.MAX_FDS * 4)


class EventLoop(Protocol):
    """What the server needs of an event loop; `nicmodels.server.reactor.Reactor` is one."""

    def add_reader(self, fd: int, callback: Callable[[], object]) -> None:
        """Call `callback` while `fd` is readable."""

    def remove_reader(self, fd: int) -> None:
        """Call the reader of `fd` no more."""

    def add_writer(self, fd: int, callback: Callable[[], object]) -> None:
        """Call `callback` while `fd` is writable."""

    def remove_writer(self, fd: int) -> None:
        """Call the writer of `fd` no more."""

    def call_soon(self, callback: Callable[[], object]) -> None:
        """Call `callback` in the next turn of the loop."""


class Requests(Protocol):
    """Handles every request but plain region accesses; `nicmodels.vfio_user.server.Session` implements it."""

    def handle(self, command: int, payload: memoryview, fds: list[int]) -> tuple[bytes, list[int]]:
        """Return the reply's payload and descriptors; remove the descriptors to keep from `fds`.

        Raises:
            RequestError: the reply is an error.
        """

    def rejected(self, command: int, reason: str) -> None:
        """A request was answered with an error."""

    def model_failed(self, error: Exception) -> None:
        """The model raised an exception."""

    def disconnected(self, reason: str) -> None:
        """The connection was closed."""


class Connection:
    """The server's end of a client's socket. `start` registers it with the event loop.

    Args:
        sock: connected; the connection owns it.
        loop: watches the socket.
        requests: handles requests.

    Attributes:
        messages: how many were parsed (a REGION_WRITE_MULTI counts once).
    """

    def __init__(self, sock: socket.socket, loop: EventLoop, requests: Requests) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._loop = loop
        self._requests = requests
        self._regions: Regions | None = None
        self._sizes = [0] * protocol.REGION_COUNT
        self._in = bytearray(IN_SIZE + protocol.MESSAGE.size)
        self._view = memoryview(self._in)[:IN_SIZE]
        self._whole = [self._view[:RECEIVE_SIZE]]
        self._start = 0  # of the first unparsed message
        self._end = 0  # of the received bytes
        self._skip = 0  # bytes of an oversized message still to come
        self._base = 0  # the stream's position at the buffer's start
        self._fds: list[tuple[int, list[int] | None]] = []  # (stream position behind, descriptors; None: too many)
        self._out = bytearray(OUT_SIZE)
        self._out_view = memoryview(self._out)
        self._out_end = 0
        self._backlog = bytearray()
        self._open = True
        self._lost = False
        self._trust = 0
        self._dma_id = 0
        self._scanned = 0  # before it, the buffer has no reply that is waited for
        self._client_transfer = protocol.MAX_TRANSFER
        self.messages = 0

    def start(self) -> None:
        """Start receiving."""
        self._loop.add_reader(self._sock.fileno(), self._readable)

    def negotiated(self, regions: Regions, max_transfer: int) -> None:
        """The version is negotiated: region accesses are served from now on."""
        self._regions = regions
        self._sizes = regions.sizes
        self._client_transfer = min(max_transfer, protocol.MAX_TRANSFER)

    @property
    def hung_up(self) -> bool:
        """Whether the client has closed its end, even if bytes from it are still unread."""
        poll = select.poll()
        poll.register(self._sock, select.POLLRDHUP)
        return bool(poll.poll(0))

    def close(self, reason: str) -> None:
        """Close, and release the descriptors that no request took."""
        if not self._open:
            return
        self._open = False
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self._sock.close()
        for _, fds in self._fds:
            _close_all(fds or [])
        self._fds.clear()
        self._requests.disconnected(reason)

    # Receiving

    def _readable(self) -> None:
        """Serve the client for a turn: while messages arrive, and a little longer."""
        turn_ends = 0.0
        spin_ends = 0.0
        while True:
            received = self._receive()
            if received > 0:
                self._parse()
                if not self._open:
                    return
                if not self._flush():
                    return
                now = monotonic()
                if turn_ends == 0.0:
                    turn_ends = now + MAX_TURN
                elif spin_ends and self._trust < SPIN_TRUST:
                    self._trust += 1
                if now > turn_ends:
                    return
                spin_ends = now + SPIN
            elif received < 0:
                return
            elif self._trust <= 0 and spin_ends:
                # Polling has not paid off lately. Try again now and then: the guest's load may have changed.
                self._trust -= 1
                if self._trust <= -SPIN_TRUST * 4:
                    self._trust = 1
                return
            elif monotonic() > spin_ends:
                self._trust -= 1
                return

    def _receive(self) -> int:
        """Receive once into the buffer; returns the number of bytes, 0 if none are there, -1 if the connection is closed."""
        if self._start == self._end:
            self._base += self._end
            self._start = self._end = self._scanned = 0
            buffers = self._whole
        else:
            if RECEIVE_SIZE - self._end < MAX_MESSAGE // 2:
                self._compact()
            buffers = [self._view[self._end : RECEIVE_SIZE]]
        try:
            count, ancillary, flags, _ = self._sock.recvmsg_into(buffers, _ANCILLARY)
        except BlockingIOError:
            return 0
        except OSError as error:
            self.close(error.strerror or str(error))
            return -1
        if count == 0:
            self.close("closed by the client")
            return -1
        self._end += count
        if ancillary or flags & _CUT_OFF:
            self._take_fds(ancillary, truncated=bool(flags & _CUT_OFF))
        return count

    def _compact(self) -> None:
        """Move the unparsed bytes to the buffer's start."""
        rest = bytes(self._view[self._start : self._end])
        self._view[: len(rest)] = rest
        self._base += self._start
        self._scanned = max(self._scanned - self._start, 0)
        self._start, self._end = 0, len(rest)

    def _take_fds(self, ancillary: list[tuple[int, int, bytes]], *, truncated: bool) -> None:
        """Record descriptors. A receive ends with the bytes that carried them: they belong to its last message."""
        self._drop_fds(self._start)
        fds = array.array("i")
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
        if truncated:
            _close_all(list(fds))
            self._fds.append((self._base + self._end, None))
        else:
            self._fds.append((self._base + self._end, list(fds)))

    def _fds_of(self, start: int, end: int) -> list[int]:
        """The descriptors of the message from `start` to `end` of the buffer; those of earlier messages are closed.

        Raises:
            RequestError: more than the server accepts.
        """
        self._drop_fds(start)
        fds: list[int] = []
        too_many = False
        while self._fds and self._fds[0][0] <= self._base + end:
            _, came = self._fds.pop(0)
            if came is None:
                too_many = True
            else:
                fds += came
        if too_many or len(fds) > protocol.MAX_FDS:
            _close_all(fds)
            raise invalid(f"more than {protocol.MAX_FDS} descriptors in one message")
        return fds

    def _drop_fds(self, start: int) -> None:
        """Close the descriptors of messages before `start` of the buffer: no request took them."""
        while self._fds and self._fds[0][0] <= self._base + start:
            _close_all(self._fds.pop(0)[1] or [])

    # Parsing

    def _parse(self) -> None:
        """Parse and handle all complete messages."""
        if self._skip:
            skipped = min(self._skip, self._end - self._start)
            self._skip -= skipped
            self._start += skipped
        position = self._start
        while self._open:
            position = self._parse_accesses(position)
            self._start = position
            if self._end - position < HEADER_SIZE or self._backlog:
                return
            size = protocol.DWORD.unpack_from(self._in, position + 4)[0]
            if size < HEADER_SIZE or size > MAX_MESSAGE:
                position = self._refuse_size(position, size)
            elif size > self._end - position:
                return
            else:
                self._parse_other(position, size)
                position += size

    def _parse_accesses(self, position: int) -> int:
        """The hot path: plain accesses to regions from `position` on; returns the position of the first other message."""
        buffer, out = self._in, self._out
        sizes = self._sizes
        regions = self._regions
        if regions is None:
            return position
        readers, writers = regions.readers, regions.writers
        unpack, unpack_dword = protocol.MESSAGE.unpack_from, protocol.DWORD.unpack_from
        iter_entries = protocol.WRITE_ENTRY.iter_unpack
        pack_read_4, pack_header = protocol.READ_REPLY_4.pack_into, protocol.MESSAGE.pack_into
        out_end = self._out_end
        end = self._end
        messages = 0
        while True:
            # The buffer extends beyond `end`: values unpacked from there are not used.
            if end - position < HEADER_SIZE:
                if end == self._end:
                    break
                end = self._end  # a DMA message received more
                continue
            message, command, size, flags, _, offset, region, count = unpack(buffer, position)
            if size > end - position or out_end > OUT_FULL:
                if size <= self._end - position and out_end <= OUT_FULL:
                    end = self._end
                    continue
                break
            try:
                if command == 9 and count == 4 and size == 32 and flags == 0:
                    if region > 8 or offset + 4 > sizes[region]:
                        break
                    value = readers[region](region, offset, 4)
                    pack_read_4(out, out_end, message, 9, 36, 1, 0, offset, region, 4, value)
                    out_end += 36
                elif command == 10 and count == 4 and size == 36 and flags & ~0x10 == 0:
                    if region > 8 or offset + 4 > sizes[region]:
                        break
                    writers[region](region, offset, unpack_dword(buffer, position + 32)[0], 4)
                    if flags == 0:
                        pack_header(out, out_end, message, 10, 32, 1, 0, offset, region, 4)
                        out_end += 32
                elif command == 15 and flags == 0x10 and size == 24 + 24 * offset:
                    # `offset` is at the place of wr_cnt.
                    entries = iter_entries(self._view[position + 24 : position + size])
                    for at, index, width, low, high in entries:
                        if index > 8 or at + width > sizes[index] or width not in (4, 1, 2, 8):
                            self._requests.rejected(15, f"write of {width} bytes at {at:#x} of region {index}")
                        elif width == 4:
                            writers[index](index, at, low, 4)
                        else:
                            writers[index](index, at, (low | high << 32) & ((1 << 8 * width) - 1), width)
                else:
                    break
            except Exception as error:  # a bug of the model must not end the server
                self._requests.model_failed(error)
                if not flags & protocol.NO_REPLY:
                    HEADER.pack_into(
                        out, out_end, message, command, HEADER_SIZE, protocol.TYPE_REPLY | protocol.ERROR, errno.EIO
                    )
                    out_end += HEADER_SIZE
            position += size
            messages += 1
        self._out_end = out_end
        self.messages += messages
        return position

    def _parse_other(self, position: int, size: int) -> None:
        """Handle a complete message that the hot path did not."""
        message, command, _, flags, _ = HEADER.unpack_from(self._in, position)
        kind = flags & protocol.TYPE_MASK
        if kind == protocol.TYPE_REPLY:
            return  # to a DMA message that has timed out
        self.messages += 1
        fds: list[int] = []
        try:
            fds = self._fds_of(position, position + size)
            if kind != protocol.TYPE_COMMAND:
                raise invalid(f"message type {kind}: expected command or reply")
            if flags & ~(protocol.TYPE_MASK | protocol.NO_REPLY):
                raise invalid(f"flags {flags:#x} in a command")
            payload = self._view[position + HEADER_SIZE : position + size]
            answer, answer_fds = self._requests.handle(command, payload, fds)
        except RequestError as error:
            self._requests.rejected(command, str(error))
            if not flags & protocol.NO_REPLY:
                self._reply_error(message, command, error.errno)
            if command == Command.VERSION and self._regions is None:
                self._flush()
                self.close(str(error))
            return
        except Exception as error:  # a bug of the model must not end the server
            self._requests.model_failed(error)
            if not flags & protocol.NO_REPLY:
                self._reply_error(message, command, errno.EIO)
            return
        finally:
            _close_all(fds)
        if not flags & protocol.NO_REPLY:
            header = HEADER.pack(message, command, HEADER_SIZE + len(answer), protocol.TYPE_REPLY, 0)
            self._queue(header + answer, answer_fds)

    def _refuse_size(self, position: int, size: int) -> int:
        """Handle an invalid size: a message that is too large is skipped; after one that is too small nothing can be parsed.

        Returns:
            The position to continue at.
        """
        message, command, _, flags, _ = HEADER.unpack_from(self._in, position)
        reason = f"message size {size}: expected {HEADER_SIZE} to {MAX_MESSAGE}"
        self._requests.rejected(command, reason)
        if flags & (protocol.TYPE_MASK | protocol.NO_REPLY) == 0:
            self._reply_error(message, command, errno.EINVAL)
        if size < HEADER_SIZE:
            self._flush()
            self.close(reason)
            return self._end
        here = min(size, self._end - position)
        self._skip = size - here
        return position + here

    # Sending

    def _reply_error(self, message: int, command: int, number: int) -> None:
        flags = protocol.TYPE_REPLY | protocol.ERROR
        self._queue(HEADER.pack(message, command, HEADER_SIZE, flags, number), [])

    def _queue(self, data: bytes, fds: list[int]) -> None:
        """Queue a message for sending."""
        if fds or self._out_end + len(data) > OUT_SIZE:
            self._flush()
        if not self._open:
            return
        if fds:
            self._send_with_fds(data, fds)
        elif self._backlog or len(data) > OUT_SIZE:
            self._backlog += data
            self._flush()
        else:
            self._out[self._out_end : self._out_end + len(data)] = data
            self._out_end += len(data)

    def _send_with_fds(self, data: bytes, fds: list[int]) -> None:
        """Send a message with descriptors, which must go with its first byte. This is rare, so it may wait for room."""
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds).tobytes())]
        poll = select.poll()
        poll.register(self._sock, select.POLLOUT)
        deadline = monotonic() + SEND_TIMEOUT
        while self._open:
            if monotonic() > deadline:
                self.close("the client does not read its replies")
            elif self._drain():
                with contextlib.suppress(BlockingIOError):
                    try:
                        sent = self._sock.sendmsg([data], ancillary)
                    except ConnectionError as error:
                        self.close(error.strerror or str(error))
                        return
                    self._backlog += data[sent:]
                    return
            if self._open:
                poll.poll(100)

    def _flush(self) -> bool:
        """Send the queued messages; false if some could not be sent at once, which the event loop then sends later."""
        if not self._open:
            return False
        if self._out_end and not self._backlog:
            try:
                sent = self._sock.send(self._out_view[: self._out_end])
            except BlockingIOError:
                sent = 0
            except OSError as error:
                self.close(error.strerror or str(error))
                return False
            if sent == self._out_end:
                self._out_end = 0
                return True
            self._backlog += self._out_view[sent : self._out_end]
        elif self._out_end:
            self._backlog += self._out_view[: self._out_end]
        self._out_end = 0
        return self._drain()

    def _drain(self) -> bool:
        """Send the backlog; while there is one, the event loop waits for room instead of messages."""
        if not self._backlog:
            return True
        try:
            sent = self._sock.send(self._backlog)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.close(error.strerror or str(error))
            return False
        del self._backlog[:sent]
        fd = self._sock.fileno()
        if self._backlog:
            self._loop.remove_reader(fd)
            self._loop.remove_writer(fd)
            self._loop.add_writer(fd, self._writable)
            return False
        return True

    def _writable(self) -> None:
        """There is room again: send, and parse the messages received meanwhile."""
        if not self._drain():
            return
        fd = self._sock.fileno()
        self._loop.remove_writer(fd)
        self._loop.add_reader(fd, self._readable)
        self._parse()
        self._flush()

    # Guest memory by messages

    def dma_read(self, iova: int, length: int) -> bytes:
        """DMA_READ, in messages of at most the client's limit.

        Raises:
            DmaError: the client refuses, does not reply in time, or has disconnected.
        """
        parts = []
        for at in range(0, length, self._client_transfer):
            count = min(self._client_transfer, length - at)
            reply = self._ask(Command.DMA_READ, protocol.DMA_ACCESS.pack(iova + at, count), iova, length)
            if len(reply) != protocol.DMA_ACCESS.size + count:
                raise DmaError(iova, length, f"the client sent {len(reply)} bytes in reply to DMA_READ of {count}")
            parts.append(reply[protocol.DMA_ACCESS.size :])
        return b"".join(parts)

    def dma_write(self, iova: int, data: Buffer) -> None:
        """DMA_WRITE, in messages of at most the client's limit.

        Raises:
            DmaError: the client refuses, does not reply in time, or has disconnected.
        """
        source = memoryview(data)
        for at in range(0, len(source), self._client_transfer):
            piece = source[at : at + self._client_transfer]
            request = protocol.DMA_ACCESS.pack(iova + at, len(piece)) + piece
            self._ask(Command.DMA_WRITE, request, iova, len(source))

    def _ask(self, command: Command, payload: bytes, iova: int, length: int) -> bytes:
        """Send a command to the client and wait for its reply; other messages that arrive meanwhile are parsed later."""
        self._dma_id = (self._dma_id + 1) & 0xFFFF
        request = HEADER.pack(self._dma_id, command, HEADER_SIZE + len(payload), protocol.TYPE_COMMAND, 0) + payload
        deadline = monotonic() + DMA_TIMEOUT
        self._scanned = max(self._scanned, self._start + self._skip)
        waiting = memoryview(bytes(self._backlog) + request)
        self._backlog.clear()
        while True:
            if self._lost or not self._open:
                raise DmaError(iova, length, "the client is gone")
            reply = None if waiting else self._take_reply(command)
            if reply is not None:
                flags, number, answer = reply
                if flags & protocol.ERROR:
                    raise DmaError(iova, length, f"the client answers {command.name} with {os.strerror(number)}")
                return answer
            left = deadline - monotonic()
            if left <= 0:
                if waiting:
                    self._lose("the client does not read")
                raise DmaError(iova, length, f"no reply to {command.name} within {DMA_TIMEOUT} s")
            if self._end == IN_SIZE:
                raise DmaError(iova, length, "the client sends requests and no reply")
            poll = select.poll()
            poll.register(self._sock, select.POLLIN | (select.POLLOUT if waiting else 0))
            for _, event in poll.poll(left * 1000):
                if event & select.POLLOUT and waiting:
                    waiting = self._send_some(waiting)
                if event & ~select.POLLOUT:
                    self._receive_more()

    def _take_reply(self, command: Command) -> tuple[int, int, bytes] | None:
        """Take the reply out of the buffer, if it has arrived: its flags, error number and payload.

        The messages before it stay where they are, since the parser keeps positions in them; those after it move up. So
        replies need no room, however many there are in a turn, and no message is looked at twice.
        """
        while self._end - self._scanned >= HEADER_SIZE:
            start = self._scanned
            message, number, size, flags, error = HEADER.unpack_from(self._in, start)
            if size < HEADER_SIZE or size > self._end - start:
                break
            if flags & protocol.TYPE_MASK == protocol.TYPE_REPLY and message == self._dma_id and number == command:
                payload = bytes(self._view[start + HEADER_SIZE : start + size])
                self._cut_out(start, size)
                return flags, error, payload
            self._scanned = start + size
        return None

    def _cut_out(self, start: int, size: int) -> None:
        """Remove a message from the buffer, with its descriptors, which no reply needs."""
        rest = bytes(self._view[start + size : self._end])
        self._view[start : start + len(rest)] = rest
        self._end -= size
        kept: list[tuple[int, list[int] | None]] = []
        for position, fds in self._fds:
            if position <= self._base + start:
                kept.append((position, fds))
            elif position > self._base + start + size:
                kept.append((position - size, fds))
            else:
                _close_all(fds or [])
        self._fds = kept

    def _send_some(self, data: memoryview) -> memoryview:
        try:
            return data[self._sock.send(data) :]
        except BlockingIOError:
            return data
        except OSError as error:
            self._lose(error.strerror or str(error))
            return data

    def _lose(self, reason: str) -> None:
        """Close later: the model is in the middle of an access."""
        if not self._lost:
            self._lost = True
            self._loop.call_soon(lambda: self.close(reason))

    def _receive_more(self) -> None:
        """Append to the buffer without moving it: the parser, which called the model, keeps positions in it."""
        try:
            count, ancillary, flags, _ = self._sock.recvmsg_into([self._view[self._end :]], _ANCILLARY)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(error.strerror or str(error))
            return
        if count == 0:
            self._lose("closed by the client")
            return
        self._end += count
        if ancillary or flags & _CUT_OFF:
            self._take_fds(ancillary, truncated=bool(flags & _CUT_OFF))


def _close_all(fds: list[int]) -> None:
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
    fds.clear()
