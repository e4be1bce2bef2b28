# SPDX-License-Identifier: GPL-2.0-or-later
"""Probes between the remote end and the stack behind the interface under test."""

from __future__ import annotations

import base64
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from plugfest.deadline import listen, scaled
from plugfest.errors import InfrastructureError
from plugfest.frames.probe import (
    PORT_FIRST,
    PORT_LAST,
    SCRATCH,
    Ends,
    Probe,
    burst,
    is_probe,
    is_segment,
    number_in,
    segmentable,
)
from plugfest.machine.tap import DUT_IPV4, DUT_IPV6

if TYPE_CHECKING:
    from plugfest.deadline import Until
    from plugfest.dut.dut import Dut
    from plugfest.machine.agent import AgentClient
    from plugfest.machine.machine import Machine
    from plugfest.machine.remote import Capture, Remote

FLOWS_PER_QUEUE = 16
"""Flows for each receive queue: a hash that spreads evenly misses one of 4 queues less than once in 10 million runs."""
SIZES = (60, 61, 64, 65, 127, 128, 129, 255, 256, 257, 511, 512, 513, 1023, 1024, 1025, 1499, 1513, 1514)
"""Frame lengths without FCS: the ends, and both sides of every power of two that a driver may copy or split at."""
JUMBO_MTU = 9000
LONG_SIZES = (60, 1514, 2047, 2048, 3500, 4095, 4096, 4097, 6000, 8192, 9013, 9014)
"""Frame lengths without FCS up to that MTU, on both sides of what one, two and three buffers hold."""

NETWORKS = {4: "198.18.0.0/16", 6: "2001:db8::/64"}
NOBODY = {4: "198.18.255.250", 6: "2001:db8::fa"}
"""Addresses of no host: frames sent to them get no reply."""


PACE = 0.005
"""Seconds between two batches of a stream."""
BATCH = 8
OUTSIDE_PORT = PORT_LAST + 1
"""A destination port that the programs of guest-images/bpf leave alone."""
WIRE_TIMEOUT = 1.0
"""Seconds for frames to be on the wire, completed or received, on a guest of speed 1."""
FRAME_WAIT = 0.1
"""Seconds for which one look at the wire waits for a frame."""
LOSS_TIMEOUT = 0.5
"""Seconds without a frame after which the missing ones of a burst are given up, on a guest of speed 1."""
FULL_TIMEOUT = 1.0
"""Seconds that the frames of one send may wait in all for room in the interface's queue, on a guest of speed 1."""


class SentFrames:
    """The frames of one kind that the DUT has sent while this was open."""

    def __init__(self, capture: Capture, wanted: Callable[[bytes], bool]) -> None:
        """Read from a capture of the remote end the frames that are `wanted`."""
        self._capture = capture
        self._wanted = wanted
        self._read = 0
        self._frames: list[bytes] = []

    def frames(self) -> list[bytes]:
        """Return them, in order."""
        self._take(0)
        return self._frames.copy()

    def reached(self, count: int) -> bool:
        """Whether there are so many: as soon as there are, and after `FRAME_WAIT` if there are not."""
        end = time.monotonic() + FRAME_WAIT
        self._take(0)
        while len(self._frames) < count and (left := end - time.monotonic()) > 0:
            self._take(left)
        return len(self._frames) >= count

    def _take(self, seconds: float) -> None:
        news = self._capture.after(self._read, seconds)
        self._read += len(news)
        self._frames += [each.data for each in news if each.received and self._wanted(each.data)]


class Traffic:
    """Probes from the remote end to the DUT, and what its stack received.

    Attributes:
        ends: addresses of the probes to the DUT.
        ends_back: addresses of the probes from it.
    """

    def __init__(self, guest: Machine, dut: Dut, remote: Remote, until: Until, defer: Callable[..., None]) -> None:
        """Open UDP sockets in the guest for the probes' port and for one that programs leave alone."""
        self._guest = guest
        self._agent = guest.agent
        self._dut = dut
        self._ifname = dut.ifname
        self._remote = remote
        self._until = until
        self._next = 0
        self._cpus: int | None = None
        self._sockets: dict[int, int] = {}
        ports = (PORT_FIRST, OUTSIDE_PORT)
        for port, opened in zip(
            ports, self._agent.batch([("udp.open", {"address": "::", "port": port}) for port in ports]), strict=True
        ):
            defer(self._agent.call, "handle.close", handle=opened["handle"])
            self._sockets[port] = opened["handle"]
            self._overflows: int = opened["overflows"]
        self.ends = Ends(dut.mac, remote.mac, {4: DUT_IPV4, 6: DUT_IPV6}, NETWORKS)
        self.ends_back = Ends(remote.mac, dut.mac, NOBODY, NETWORKS)

    def ready(self) -> None:
        """Wait until the link carries frames: a driver may take it down to attach or detach."""
        self._until(self._dut.carries_frames, what=f"{self._ifname} has carrier", timeout=10)

    def queues(self, direction: str = "rx") -> int:
        """How many queues of a direction the kernel reports."""
        return len(self._agent.call("files.glob", path=f"/sys/class/net/{self._ifname}/queues/{direction}-*"))

    def cpus(self) -> int:
        """How many CPUs the guest has."""
        if self._cpus is None:
            self._cpus = int(self._agent.call("system.kernel")["cpus"])
        return self._cpus

    def probes(
        self,
        sizes: Sequence[int] = SIZES,
        versions: Sequence[int] = (4, 6),
        port: int = PORT_FIRST,
        flows: int | None = None,
    ) -> list[Probe]:
        """Make probes of these sizes in flows enough to reach every receive queue; no two bursts share a number."""
        flows = flows or FLOWS_PER_QUEUE * self.queues()
        made = burst(self.ends, flows=flows, sizes=sizes, versions=versions, first=self._next, port=port)
        self._next += len(made)
        return made

    def send(self, probes: Sequence[Probe]) -> None:
        """Put the probes' frames on the wire, once the link carries them."""
        self.ready()
        self._remote.send([probe.frame for probe in probes])

    def received(self, probes: Sequence[Probe], *, port: int = PORT_FIRST, scratched: bool = False) -> list[bytes]:
        """Return the payloads of these probes that the stack got, more than once where it got them so.

        Args:
            probes: what was sent; payloads of other bursts, late ones, are left out.
            port: to which they were sent.
            scratched: leave out the bytes that a program may have overwritten.

        Raises:
            InfrastructureError: some are missing, and the guest's sockets have lost some, which proves nothing about the driver.
        """
        numbers = {probe.number for probe in probes}
        found = self.collect(len(probes), lambda payload: number_in(payload) in numbers, port=port)
        return [payload[SCRATCH:] for payload in found] if scratched else found

    def collect(
        self, count: int, wanted: Callable[[bytes], bool] = lambda _payload: True, *, port: int = PORT_FIRST
    ) -> list[bytes]:
        """Return the payloads that the stack got and that are `wanted`.

        Args:
            count: how many are waited for, until none of any kind comes for `LOSS_TIMEOUT`; more are returned if there are more.
            wanted: returns which.
            port: to which they were sent.

        Raises:
            InfrastructureError: some are missing, and the guest's sockets have lost some, which proves nothing about the driver.
        """
        found: list[bytes] = []

        def take(timeout: float) -> bool:
            news = self.waiting(self._agent, timeout=timeout, count=max(1, count - len(found)), port=port)
            found.extend(payload for payload in news if wanted(payload))
            return bool(news)

        while len(found) < count and listen(take, self._guest.deadline(LOSS_TIMEOUT)):
            pass
        # A second copy of a frame comes with the first one: it is there by now.
        take(0)
        if len(found) < count:
            self._check_overflows()
        return found

    def waiting(
        self, agent: AgentClient, *, timeout: float, count: int = 1 << 16, port: int = PORT_FIRST
    ) -> list[bytes]:
        """Return the payloads that the stack has got, of whatever burst, until none comes for `timeout` seconds.

        Args:
            agent: a connection of its own.
            timeout: seconds.
            count: as many at most.
            port: to which they were sent.
        """
        news = agent.call("udp.receive", socket_handle=self._sockets[port], count=count, timeout=timeout, idle=timeout)
        return [base64.b64decode(each["data"]) for each in news]

    def nothing_received(self) -> bool:
        """Whether the stack has got no probe, of this burst or another."""
        return not self._agent.call("udp.receive", socket_handle=self._sockets[PORT_FIRST], count=1, timeout=0)

    def _check_overflows(self) -> None:
        lost = self._agent.call("udp.overflows") - self._overflows
        if lost:
            raise InfrastructureError(
                f"expected the guest's sockets to hold what the stack received, found that they lost {lost} datagrams: "
                "the test reads them too seldom"
            )

    def discard(self) -> None:
        """Discard what the stack has received: after more than its sockets hold."""
        drains = [("udp.drain", {"socket_handle": handle}) for handle in self._sockets.values()]
        *_, self._overflows = self._agent.batch([*drains, ("udp.overflows", {})])

    def check_delivery(self, port: int = PORT_FIRST) -> None:
        """Send probes of every size in every flow: the stack must get each payload once and unchanged.

        Raises:
            AssertionError: it did not.
        """
        probes = self.probes(port=port)
        self.send(probes)
        check_same(self.received(probes, port=port), payloads(probes), "payloads in the stack")

    def send_back(self) -> list[bytes]:
        """Have the stack send probes of every size, from each CPU in turn, and wait until as many are on the wire.

        Returns:
            Their frames.
        """
        self.ready()
        packet = self._agent.call("packet.open", ifname=self._ifname, protocol=0)
        full_timeout = scaled(FULL_TIMEOUT, self._guest.speed)
        frames: list[bytes] = []
        try:
            with self.capture_sent() as seen:
                for cpu in range(self.cpus()):
                    probes = burst(self.ends_back, flows=FLOWS_PER_QUEUE, sizes=SIZES, first=len(frames))
                    frames += [probe.frame for probe in probes]
                    encoded = [base64.b64encode(probe.frame).decode() for probe in probes]
                    self._agent.call("packet.send", packet=packet, frames=encoded, cpu=cpu, full_timeout=full_timeout)
                self._until(
                    lambda: seen.reached(len(frames)),
                    what=f"{len(frames)} frames are on the wire",
                    timeout=WIRE_TIMEOUT,
                )
        finally:
            self._agent.call("handle.close", handle=packet)
        return frames

    def send_segmented(self, versions: Sequence[int], *, payload: int, segment: int) -> list[int]:
        """Send one TCP packet of each IP version that the driver has to segment, and wait until its frames are on the wire.

        Args:
            versions: of IP.
            payload: bytes of TCP payload.
            segment: bytes of it in each frame but the last.

        Returns:
            The lengths of the resulting frames, bytes without FCS.
        """
        self.ready()
        packet = self._agent.call("packet.open", ifname=self._ifname, protocol=0, vnet=True)
        wanted: list[int] = []
        try:
            with self.capture_sent(is_segment) as seen:
                for version in versions:
                    whole = segmentable(self.ends_back, version, payload, segment)
                    encoded = base64.b64encode(whole.virtio_header + whole.frame).decode()
                    self._agent.call("packet.send", packet=packet, frames=[encoded])
                    wanted += whole.lengths
                self._until(
                    lambda: seen.reached(len(wanted)),
                    what=f"{len(wanted)} segments are on the wire",
                    timeout=WIRE_TIMEOUT,
                )
        finally:
            self._agent.call("handle.close", handle=packet)
        return sorted(wanted)

    @contextmanager
    def capture_sent(self, wanted: Callable[[bytes], bool] = is_probe) -> Iterator[SentFrames]:
        """Watch the frames that the DUT sends and that are `wanted`; by default the probes."""
        with self._remote.capture() as capture:
            yield SentFrames(capture, wanted)

    @contextmanager
    def stream(self, pace: float = PACE) -> Iterator[None]:
        """Keep probes, and frames that programs leave alone, coming in until the block ends.

        Args:
            pace: seconds between two batches.
        """
        frames = [probe.frame for probe in (*self.probes(), *self.probes(port=OUTSIDE_PORT))]
        over = threading.Event()
        failures: list[OSError] = []

        def send() -> None:
            try:
                while not over.wait(pace):
                    self._remote.send(frames[:BATCH])
                    frames.extend(frames[:BATCH])
                    del frames[:BATCH]
            except OSError as error:
                failures.append(error)

        thread = threading.Thread(target=send, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        if failures:
            raise failures[0]


def payloads(probes: Sequence[Probe]) -> list[bytes]:
    """Return the payloads of probes."""
    return [probe.payload for probe in probes]


def check_same(found: Sequence[bytes], wanted: Sequence[bytes], what: str) -> None:
    """Compare two multisets of frames or payloads; the error says in one line how they differ.

    If as many are there with another content, it says in which bytes they differ: a checksum, say, or a payload.

    Raises:
        AssertionError: they differ.
    """
    missing, extra = Counter(wanted), Counter(found)
    missing, extra = missing - extra, extra - missing
    if missing or extra:
        raise AssertionError(
            f"{what}: expected {len(wanted)}, found {len(found)}; {missing.total()} missing"
            f"{_examples(missing)}, {extra.total()} too many or changed{_examples(extra)}{_changed(missing, extra)}"
        )


def _changed(missing: Counter[bytes], extra: Counter[bytes]) -> str:
    """Return in which bytes the missing ones changed; empty unless there are as many others of each length."""
    if Counter(map(len, missing.elements())) != Counter(map(len, extra.elements())):
        return ""
    places: set[int] = set()
    for each in missing:
        alike = [other for other in extra if len(other) == len(each)]
        places |= min(({at for at in range(len(each)) if each[at] != other[at]} for other in alike), key=len)
    return f"; changed at bytes {', '.join(_ranges(sorted(places)))}"


def _ranges(numbers: Sequence[int]) -> list[str]:
    """Return sorted numbers as ranges: 4, 5, 6 and 9 are ``4-6`` and ``9``."""
    begins = [each for each in numbers if each - 1 not in numbers]
    ends = [each for each in numbers if each + 1 not in numbers]
    return [str(a) if a == b else f"{a}-{b}" for a, b in zip(begins, ends, strict=True)]


def _examples(bag: Counter[bytes]) -> str:
    texts = [f"{len(each)} bytes {each[:24].hex()}…" for each in list(bag)[:3]]
    return f" ({'; '.join(texts)})" if texts else ""
