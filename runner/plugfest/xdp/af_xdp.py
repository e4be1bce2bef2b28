# SPDX-License-Identifier: GPL-2.0-or-later
"""AF_XDP sockets on the interface under test: binding them, and taking and sending frames by their rings.

Source: Documentation/networking/af_xdp.rst; include/uapi/linux/if_xdp.h.
"""

from __future__ import annotations

import base64
import errno
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from plugfest.machine.agent import AgentError
from plugfest.traffic.traffic import LOSS_TIMEOUT, WIRE_TIMEOUT

if TYPE_CHECKING:
    from plugfest.deadline import Until
    from plugfest.machine.machine import Machine

Mode = Literal["copy", "zero-copy"]
Call = tuple[str, dict[str, Any]]
"""A method of the agent's and its parameters."""


XDP_COPY, XDP_ZEROCOPY, XDP_USE_NEED_WAKEUP, XDP_USE_SG = 1 << 1, 1 << 2, 1 << 3, 1 << 4
XDP_OPTIONS_ZEROCOPY = 1
XDP_UMEM_UNALIGNED_CHUNK_FLAG, XDP_UMEM_TX_METADATA_LEN = 1 << 0, 1 << 2
XDP_PKT_CONTD, XDP_TX_METADATA = 1 << 0, 1 << 1
XDP_PACKET_HEADROOM = 256
"""Bytes before a received frame that the kernel keeps, besides the umem's own headroom."""

SILENCE = LOSS_TIMEOUT / 2
"""Seconds without a frame after which sentinels are sent, on a guest of speed 1. A frame that comes later makes its test fail."""
CHUNKS, CHUNK, RING = 1024, 4096, 512
_AT_ONCE = 64
"""Frames in one request to the agent."""


class Received(NamedTuple):
    """One buffer out of a receive ring.

    Attributes:
        data: its bytes.
        offset: of them within the chunk.
        options: of the descriptor.
        queue: of its socket.
    """

    data: bytes
    offset: int
    options: int
    queue: int


class Umem:
    """A process of the guest with one umem, for one or more sockets."""

    def __init__(self, guest: Machine, ifname: str, until: Until, handle: int) -> None:
        """Take the agent's handle of the process."""
        self.agent = guest.agent
        self.until = until
        self._ifname = ifname
        self._handle = handle

    def command(self, *arguments: object) -> int:
        """Send the process a command; returns its number.

        Raises:
            AgentError: the kernel rejects it.
        """
        return int(self.call(*self.asking(*arguments)))

    def asking(self, *arguments: object) -> Call:
        """Return the agent's call of a command, to be made with others."""
        return "af_xdp.ask", {"sockets": self._handle, "command": " ".join(map(str, arguments))}

    def request(self, method: str, socket: int, **params: object) -> Call:
        """Return a call of the agent's for one of the sockets, to be made with others."""
        return f"af_xdp.{method}", {"sockets": self._handle, "socket": socket, **params}

    def call(self, method: str, params: Mapping[str, Any]) -> Any:
        """Make a call of the agent's."""
        return self.agent.call(method, **params)

    def open(self, queue: int, mode: Mode, *, wakeup: bool = True, ring: int = RING, flags: int = 0) -> Socket:
        """Open a socket and bind it to a queue, which the driver must accept; see `bind`.

        A queue is busy for a while after its last socket was closed: the kernel gives the pool up by a work item (xp_put_pool).

        Raises:
            AssertionError: it was rejected.
        """

        (found,) = open_all({queue: self}, mode, wakeup=wakeup, ring=ring, flags=flags)
        return found

    def bind(self, queue: int, mode: Mode, *, wakeup: bool = True, ring: int = RING, flags: int = 0) -> Socket:
        """Open a socket and bind it to a queue.

        Args:
            queue: of the interface.
            mode: required: the kernel rejects any other; of a second socket of this umem it is that of the first.
            wakeup: request the flags by which the kernel asks to be woken.
            ring: descriptors of its receive and transmit rings.
            flags: further flags of the binding.

        Raises:
            AgentError: rejected.
        """
        return Socket(self, int(self.call(*self.binding(queue, mode, wakeup=wakeup, ring=ring, flags=flags))), queue)

    def binding(self, queue: int, mode: Mode, *, wakeup: bool, ring: int, flags: int) -> Call:
        """Return the agent's call of `bind`, to be made with others."""
        flags |= (XDP_COPY if mode == "copy" else XDP_ZEROCOPY) | (XDP_USE_NEED_WAKEUP if wakeup else 0)
        return self.asking("open", self._ifname, queue, ring, flags)

    def close(self) -> None:
        """Kill the process, with all its sockets."""
        self.agent.call("handle.close", handle=self._handle)


class Socket:
    """A bound socket.

    Attributes:
        queue: that it is bound to.
        umem: its own, or that of several.
    """

    def __init__(self, umem: Umem, number: int, queue: int) -> None:
        """Take the process's number of it."""
        self.queue = queue
        self.umem = umem
        self._number = number

    @property
    def zero_copy(self) -> bool:
        """Whether the device itself uses the umem (XDP_OPTIONS)."""
        return bool(self.umem.command("options", self._number) & XDP_OPTIONS_ZEROCOPY)

    def enter(self, *, fill: int = 0, offset: int = 0) -> None:
        """Enter it in the map of its program, under its queue, after `fill` buffers are posted, each from `offset` of its chunk on."""
        enter_all([self], fill=fill, offset=offset)

    def entering(self, *, fill: int, offset: int) -> list[Call]:
        """Return the agent's calls of `enter`, to be made with others."""
        filling = [self.umem.asking("fill", self._number, fill, offset)] if fill else []
        return [*filling, self.umem.asking("map", self._number, self.queue)]

    @property
    def napi(self) -> int | None:
        """Id of the NAPI instance that its system calls poll (SO_INCOMING_NAPI_ID); None where the kernel knows none."""
        return self.umem.command("napi", self._number) or None

    def poll_busily(self, microseconds: int, budget: int) -> None:
        """Have its own system calls poll the device, in the place of interrupts (SO_PREFER_BUSY_POLL)."""
        self.umem.command("busy-poll", self._number, microseconds, budget)

    def fill(self, count: int, offset: int = 0) -> int:
        """Post buffers, each from `offset` of its chunk on; returns how many the ring took."""
        return self.umem.command("fill", self._number, count, offset)

    def take(self) -> list[Received]:
        """Return the buffers that are there, up to 64; none is posted again."""
        (found,) = take_all([self])
        return found

    @property
    def take_request(self) -> Call:
        """The agent's call of `take`."""
        return self.umem.request("receive", self._number, count=_AT_ONCE, timeout=0)

    def put(self, frames: Sequence[bytes], *, options: int = 0, metadata: bytes = b"") -> int:
        """Put frames into the transmit ring until it is full, and wake nothing; returns how many it took."""
        return int(self.umem.call(*self._put_request(frames, options, metadata)))

    def _put_request(self, frames: Sequence[bytes], options: int, metadata: bytes) -> Call:
        encoded = [base64.b64encode(frame).decode() for frame in frames]
        return self.umem.request("send", self._number, frames=encoded, options=options, metadata=metadata.hex())

    def wants_wakeup(self, ring: Literal["fill", "transmit"]) -> bool:
        """Whether the kernel asks to be woken for a ring."""
        return bool(self.umem.command("wants-wakeup", self._number, ring))

    def wake(self) -> None:
        """Have the kernel look at the transmit ring."""
        self.umem.command("wake", self._number)

    def reap(self) -> list[bytes]:
        """Take completions; returns the metadata before each frame."""
        return [bytes.fromhex(each) for each in self.umem.call(*self._reap_request)]

    @property
    def _reap_request(self) -> Call:
        return self.umem.request("reap", self._number, count=RING)

    def _push(self, frames: Sequence[bytes], options: int, metadata: bytes) -> tuple[int, list[bytes]]:
        """Put frames into the transmit ring, wake the kernel and take completions, in one exchange."""
        putting = [self._put_request(frames, options, metadata)] if frames else []
        found = self.umem.agent.batch([*putting, self.umem.asking("wake", self._number), self._reap_request])
        return (int(found[0]) if frames else 0), [bytes.fromhex(each) for each in found[-1]]

    def send(self, frames: Sequence[bytes], *, options: int = 0, metadata: bytes = b"") -> list[bytes]:
        """Send frames, and wait until each is completed; returns the metadata of the completions.

        Raises:
            AssertionError: no more were taken or completed, or more were.
        """
        left = list(frames)
        completed: list[bytes] = []

        def pushed() -> bool:
            before = len(left), len(completed)
            taken, done = self._push(left[:_AT_ONCE], options, metadata)
            del left[:taken]
            completed.extend(done)
            return (len(left), len(completed)) != before

        try:
            while left or len(completed) < len(frames):
                self.umem.until(pushed, what=f"{len(frames)} frames are sent and completed", timeout=LOSS_TIMEOUT)
        except AssertionError as error:
            counts = f"{len(frames) - len(left)} were taken, {len(completed)} completed, on queue {self.queue}"
            raise AssertionError(f"{error}; {counts}") from None
        completed += self.reap()
        assert len(completed) == len(frames), f"{len(frames)} frames were sent, and {len(completed)} completed"
        return completed

    def statistics(self) -> dict[str, int]:
        """What the kernel counts of the socket (XDP_STATISTICS)."""
        found: dict[str, int] = self.umem.call(*self.umem.request("statistics", self._number))
        return found

    def close(self) -> None:
        """Close it; its umem stays."""
        self.umem.command("close", self._number)


def open_all(
    umems: Mapping[int, Umem], mode: Mode, *, wakeup: bool = True, ring: int = RING, flags: int = 0
) -> list[Socket]:
    """Open a socket on each queue, as `Umem.open` does, those of all queues in one exchange.

    Args:
        umems: by queue.
        mode: see `Umem.bind`, as the others.
        wakeup: likewise.
        ring: likewise.
        flags: likewise.

    Raises:
        AssertionError: one was rejected.
    """
    opened: dict[int, Socket] = {}
    first = next(iter(umems.values()))

    def all_bound() -> bool:
        waiting = [queue for queue in umems if queue not in opened]
        calls = [umems[queue].binding(queue, mode, wakeup=wakeup, ring=ring, flags=flags) for queue in waiting]
        for queue, found in zip(waiting, first.agent.try_batch(calls), strict=True):
            if not isinstance(found, Exception):
                opened[queue] = Socket(umems[queue], int(found), queue)
            elif not isinstance(found, AgentError):
                raise found
            elif found.errno != errno.EBUSY:
                raise AssertionError(f"a {mode} socket of queue {queue} was rejected: {found}") from found
        return len(opened) == len(umems)

    queues = ", ".join(map(str, umems))
    first.until(all_bound, what=f"queue {queues} is no longer busy and takes a {mode} socket", timeout=WIRE_TIMEOUT)
    return [opened[queue] for queue in umems]


def enter_all(sockets: Sequence[Socket], *, fill: int, offset: int = 0) -> None:
    """Enter each socket, as `Socket.enter` does, in one exchange."""
    calls = [call for socket in sockets for call in socket.entering(fill=fill, offset=offset)]
    if calls:
        sockets[0].umem.agent.batch(calls)


def take_all(sockets: Sequence[Socket]) -> list[list[Received]]:
    """Return the buffers of each socket, as `Socket.take` does, in one exchange."""
    if not sockets:
        return []
    found = sockets[0].umem.agent.batch([socket.take_request for socket in sockets])
    return [
        [Received(base64.b64decode(each["data"]), each["offset"], each["options"], socket.queue) for each in buffers]
        for socket, buffers in zip(sockets, found, strict=True)
    ]


def receive_frames(
    sockets: Sequence[Socket],
    wanted: Collection[bytes],
    until: Until,
    send_sentinels: Callable[[], Collection[bytes]] | None = None,
) -> list[Received]:
    """Return what sockets receive until all that is wanted is there, or nothing more comes.

    Args:
        sockets: to look at.
        wanted: frames, no two alike; others are returned too, and not counted.
        until: the test's.
        send_sentinels: sends a short frame in each flow behind those that are wanted, and returns these frames. Once they have
            come, what is missing of the others never will. They are sent only if frames are missing, and not returned.

    Raises:
        AssertionError: wanted frames came only after the sentinels were sent, which may have driven them out of a ring in which
            they would have stayed.
    """
    return [buffer for packet in receive_packets(sockets, wanted, until, send_sentinels) for buffer in packet]


def receive_packets(
    sockets: Sequence[Socket],
    wanted: Collection[bytes],
    until: Until,
    send_sentinels: Callable[[], Collection[bytes]] | None = None,
) -> list[list[Received]]:
    """Return the same by packets, each the buffers that it came in; one whose end did not come is the last of its socket.

    Raises:
        AssertionError: see `receive_frames`.
    """
    found: list[list[Received]] = []
    begun: list[list[Received]] = [[] for _ in sockets]

    def more() -> bool:
        news = False
        for packet, buffers in zip(begun, take_all(sockets), strict=True):
            for buffer in buffers:
                news = True
                packet.append(buffer)
                if not buffer.options & XDP_PKT_CONTD:
                    found.append(packet.copy())
                    packet.clear()
        return news

    def count(frames: Collection[bytes]) -> int:
        return sum(data_of(packet) in frames for packet in found)

    def wait(timeout: float, sentinels: Collection[bytes] = ()) -> None:
        # The caller compares the frames with what was sent, and its message says more.
        with suppress(AssertionError):
            while count(wanted) < len(wanted) and not (sentinels and count(sentinels) >= len(sentinels)):
                until(more, what=f"more than {len(found)} frames are received by the sockets", timeout=timeout)

    sentinels: Collection[bytes] = ()
    if send_sentinels is None:
        wait(LOSS_TIMEOUT)
    else:
        wait(SILENCE)
        in_time = count(wanted)
        if in_time < len(wanted):
            sentinels = send_sentinels()
            wait(LOSS_TIMEOUT, sentinels)
            late = count(wanted) - in_time
            assert not late, f"{late} of {len(wanted)} frames came only after another frame"
    more()  # a second copy of a frame comes with the first one: it is there by now
    return [packet for packet in (*found, *filter(None, begun)) if data_of(packet) not in sentinels]


def data_of(packet: Iterable[Received]) -> bytes:
    """Return the bytes of a packet in several buffers."""
    return b"".join(buffer.data for buffer in packet)


class AfXdp:
    """Makes umems."""

    def __init__(self, guest: Machine, ifname: str, *, until: Until, defer: Callable[..., None]) -> None:
        """Make none yet."""
        self._guest = guest
        self._ifname = ifname
        self._until = until
        self._defer = defer

    def umem(
        self,
        sockets: int | None = None,
        *,
        chunks: int = CHUNKS,
        size: int = CHUNK,
        headroom: int = 0,
        ring: int = RING,
        flags: int = 0,
        metadata: int = 0,
    ) -> Umem:
        """Start a process with a umem; it is killed when the test ends; see `umems`."""
        (made,) = self.umems(
            1,
            sockets,
            chunks=chunks,
            size=size,
            headroom=headroom,
            ring=ring,
            flags=flags,
            metadata=metadata,
        )
        return made

    def umems(
        self,
        count: int,
        sockets: int | None = None,
        *,
        chunks: int = CHUNKS,
        size: int = CHUNK,
        headroom: int = 0,
        ring: int = RING,
        flags: int = 0,
        metadata: int = 0,
    ) -> list[Umem]:
        """Start processes, each with a umem, in one exchange; they are killed when the test ends.

        Args:
            count: how many.
            sockets: handle of the map that its sockets are entered in.
            chunks: how many.
            size: bytes of each.
            headroom: bytes before a received frame.
            ring: descriptors of each fill and completion ring.
            flags: of struct xdp_umem_reg.
            metadata: bytes before a frame to be sent.

        Raises:
            AgentError: the kernel rejects it.
        """
        command = f"umem {chunks} {size} {headroom} {ring} {flags} {metadata}"
        handles = self._guest.agent.batch([("af_xdp.start", {"map": sockets, "command": command})] * count)
        for handle in handles:
            self._defer(self._guest.agent.call, "handle.close", handle=handle)
        return [Umem(self._guest, self._ifname, self._until, handle) for handle in handles]

    def try_bind(self, queue: int, mode: Mode, flags: int = 0) -> AgentError | None:
        """Try to bind a socket, with further bind flags; returns the error, None if it was bound. It is closed again."""
        umem = self.umem()
        try:
            umem.bind(queue, mode, flags=flags)
        except AgentError as error:
            return error
        finally:
            umem.close()
        return None
