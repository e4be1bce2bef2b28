# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory of a process in the guest that receive queues receive into: the memory providers of the queue API.

Two kinds, as applications have them: a dma-buf that is bound by netlink (Documentation/networking/devmem.rst), and an area of
io_uring's zero-copy receive (Documentation/networking/iou-zcrx.rst).
"""

from __future__ import annotations

import base64
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from plugfest.machine.agent import AgentError, kernel_error

if TYPE_CHECKING:
    from plugfest.machine.worker import Worker


LENGTH = 4 << 20
"""Bytes of memory: 1024 pages, more than a ring of 512 takes."""

BEYOND = 1 << 16
"""A queue that no interface has: asking for it changes nothing."""
RELEASE_TIMEOUT = 0.3
"""Seconds, on a guest of speed 1, for the kernel to release a queue or a page pool that is no longer in use."""


@dataclass(frozen=True)
class ReceiveResult:
    """The result of one connection.

    Attributes:
        length: bytes.
        sha256: of them, in order.
        bound: bytes received into the bound memory; None where the kernel does not report them.
        linear: bytes that the stack copied; likewise.
        fragments: offset and size of each piece of the memory, as far as they were kept.
        ended: whether the remote end has closed.
    """

    length: int
    sha256: str
    bound: int | None
    linear: int | None
    fragments: Sequence[tuple[int, int]] = field(default=(), repr=False)
    ended: bool = True

    def check(self, data: bytes) -> None:
        """`data` must have been received, and none of it through kernel memory, where the kernel reports that.

        io_uring reports bytes that it copied like those that the device wrote (io_uring/zcrx.c, io_zcrx_copy_chunk); for its memory
        QAPI-PAYLOAD-02 shows, from the model's DMA record, that payload was written there and nowhere else.

        Raises:
            AssertionError: not so.
        """
        assert self.length == len(data), f"{self.length} bytes received of {len(data)}"
        assert self.sha256 == hashlib.sha256(data).hexdigest(), "the received bytes are not those that were sent"
        if self.bound is not None:
            assert (self.bound, self.linear) == (len(data), 0), (
                f"{self.bound} bytes received into the bound memory and {self.linear} through the kernel's, of {len(data)}"
            )
        outside = [(offset, size) for offset, size in self.fragments if not 0 <= offset <= offset + size <= LENGTH]
        assert not outside, f"pieces outside of the memory: {outside[:3]}"


class RxMemoryProvider(ABC):
    """Memory of a process of its own, not yet bound.

    Attributes:
        kind: as netlink's queue-get and page-pool-get name it.
        worker: the process.
    """

    kind: ClassVar[str]

    def __init__(self, worker: Worker, ifname: str) -> None:
        """Allocate nothing yet."""
        self.worker = worker
        self._ifname = ifname
        self._bound: int | None = None
        self._listener: int | None = None

    @abstractmethod
    def _bind(self, queues: Sequence[int], page_size: int | None) -> int:
        """Bind to queues; returns the handle that unbinds when it is closed."""

    @abstractmethod
    def pages(self) -> list[int]:
        """Return the physical address of each page of the memory."""

    @abstractmethod
    def read(self, offset: int, length: int) -> bytes:
        """Return bytes of the memory."""

    @abstractmethod
    def receive(self, *, timeout: float) -> ReceiveResult:
        """Accept one connection and read it to its end, or until nothing is received for `timeout` seconds."""

    def try_bind(self, *queues: int, page_size: int | None = None) -> AgentError | None:
        """Try to bind to queues; returns the error, None if it was bound.

        Args:
            queues: their numbers.
            page_size: bytes of a piece of the memory, None for the kernel's default.

        Raises:
            AgentError: it failed, but not in the kernel.
        """

        def bind() -> None:
            self._bound = self._bind(queues, page_size)

        return kernel_error(bind)

    def bind(self, *queues: int) -> None:
        """Bind to queues.

        Raises:
            AssertionError: rejected; the message has the extended acknowledgement.
        """
        error = self.try_bind(*queues)
        assert error is None, f"binding {self.kind} to queue {', '.join(map(str, queues))} was rejected: {error}"

    def unbind(self) -> None:
        """Close what the memory was bound by."""
        if self._bound is not None:
            self.worker.call("handle.close", handle=self._bound)
            self._bound = None

    def end(self, *, kill: bool = False) -> None:
        """Have the process exit, or kill it."""
        self.worker.end(kill=kill)

    @abstractmethod
    def begin(self, *, timeout: float) -> None:
        """Accept one connection and read its first bytes, then no more."""

    def listen(self, address: str, port: int = 0) -> int:
        """Listen for TCP connections; returns the port."""
        opened = self.worker.call("tcp.listen", address=address, port=port)
        self._listener = opened["handle"]
        return int(opened["port"])

    def _wait(self, method: str, /, *, timeout: float, **parameters: Any) -> Any:
        """Call a method that waits for a connection.

        Raises:
            AssertionError: none came in time.
        """
        try:
            return self.worker.call(method, timeout=timeout, **parameters)
        except AgentError as error:
            if "TimeoutError" not in error.message:
                raise
            raise AssertionError(f"no connection came to the bound queue within {timeout:.0f} s") from error


class DmabufProvider(RxMemoryProvider):
    """A udmabuf: host memory that stands for a device's, bound by netlink's bind-rx."""

    kind = "dmabuf"

    def __init__(self, worker: Worker, ifname: str, *, huge: bool = False) -> None:
        """Allocate it, in huge pages if asked to."""
        super().__init__(worker, ifname)
        self._buffer: int = worker.call("udmabuf.create", length=LENGTH, huge=huge)
        self._receiver: int | None = None

    def _bind(self, queues: Sequence[int], page_size: int | None) -> int:
        made = self.worker.call(
            "devmem.bind", ifname=self._ifname, queues=list(queues), buffer=self._buffer, rx_page_size=page_size
        )
        return int(made["handle"])

    def pages(self) -> list[int]:
        """Return the physical address of each page of the memory."""
        found: list[int] = self.worker.call("udmabuf.pages", buffer=self._buffer)
        return found

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes of the memory."""
        return base64.b64decode(self.worker.call("udmabuf.read", buffer=self._buffer, offset=offset, length=length))

    def accept(self, *, timeout: float) -> None:
        """Take one connection, to be read by `take`."""
        self._receiver = self._wait("devmem.accept", listener=self._listener, timeout=timeout)

    def take(self, length: int | None = None, *, timeout: float, give_back: bool = True) -> ReceiveResult:
        """Read the connection on: to its end, or until `length` bytes are received, or nothing for `timeout` seconds.

        Args:
            length: bytes, or None.
            timeout: seconds.
            give_back: return each piece of the memory once it is read, so that it is received into again.
        """
        found = self.worker.call(
            "devmem.receive",
            receiver=self._receiver,
            buffer=self._buffer,
            length=length,
            timeout=timeout,
            give_back=give_back,
        )
        fragments = tuple((offset, size) for offset, size in found["fragments"])
        return ReceiveResult(
            found["bytes"], found["sha256"], found["bound"], found["linear"], fragments, bool(found["ended"])
        )

    def begin(self, *, timeout: float) -> None:
        """Accept one connection and read its first bytes, then no more."""
        self.accept(timeout=timeout)
        self.take(1, timeout=timeout, give_back=False)

    def give_back(self) -> int:
        """Return the fragments that `take` kept; returns how many the kernel took back."""
        return int(self.worker.call("devmem.give_back", receiver=self._receiver))

    def try_receive_plainly(self, *, timeout: float) -> AgentError | None:
        """Read the connection like an application that does not know of bound memory; returns the error."""
        return self.worker.try_call("devmem.receive_without_devmem", receiver=self._receiver, timeout=timeout)

    def receive(self, *, timeout: float) -> ReceiveResult:
        """Accept one connection and read it to its end, or until nothing is received for `timeout` seconds."""
        self.accept(timeout=timeout)
        try:
            return self.take(timeout=timeout)
        finally:
            self.hang_up()

    def hang_up(self) -> None:
        """Close the connection."""
        self.worker.call("handle.close", handle=self._receiver)


class IoUringProvider(RxMemoryProvider):
    """The area of an io_uring zero-copy receive queue."""

    kind = "io-uring"

    def _bind(self, queues: Sequence[int], page_size: int | None) -> int:
        (queue,) = queues
        if page_size is not None:
            raise ValueError("page sizes are asked for with a dma-buf")
        self._ring = int(self.worker.call("zcrx.register", ifname=self._ifname, queue=queue, length=LENGTH))
        return self._ring

    def pages(self) -> list[int]:
        """Return the physical address of each page of the memory."""
        found: list[int] = self.worker.call("zcrx.pages", ring=self._ring)
        return found

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes of the memory."""
        return base64.b64decode(self.worker.call("zcrx.read", ring=self._ring, offset=offset, length=length))

    def begin(self, *, timeout: float) -> None:
        """Accept one connection and read its first bytes, then no more."""
        self._wait("zcrx.receive", ring=self._ring, listener=self._listener, length=1, timeout=timeout)

    def receive(self, *, timeout: float) -> ReceiveResult:
        """Accept one connection and read it to its end, or until nothing is received for `timeout` seconds."""
        found = self._wait("zcrx.receive", ring=self._ring, listener=self._listener, timeout=timeout)
        fragments = tuple((offset, size) for offset, size in found["fragments"])
        return ReceiveResult(found["bytes"], found["sha256"], None, None, fragments, bool(found["ended"]))


KINDS: dict[str, type[RxMemoryProvider]] = {each.kind: each for each in (DmabufProvider, IoUringProvider)}
