# SPDX-License-Identifier: GPL-2.0-or-later
"""A minimal driver for the Intel 82599, for tests of the model: polling or MSI-X, no operating system.

Written from the datasheet's chapters 4.6 (initialization), 7.1 and 7.2 (descriptors), 7.3 (interrupts) and 8.2.3
(registers), which repeats offsets and bits instead of sharing them with the model, so that a mistake in the model
shows.
"""

from __future__ import annotations

import itertools
import struct
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vfio_client import MSIX
from wire_peer import TimedOutError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from vfio_client import GuestRam, VfioClient

CTRL, STATUS, CTRL_EXT = 0x00000, 0x00008, 0x00018
EEC, EERD, SWSM, SW_FW_SYNC = 0x10010, 0x10014, 0x10140, 0x10160
EICR, EICS, EIMS, EIMC, EIAC, EIAM, GPIE = 0x00800, 0x00808, 0x00880, 0x00888, 0x00810, 0x00890, 0x00898
IVAR_MISC = 0x00A00
RXCSUM, RFCTL, FCTRL, VLNCTRL = 0x05000, 0x05008, 0x05080, 0x05088
RDRXCTL, RXCTRL, RSCDBU, SECRXCTRL, SECRXSTAT = 0x02F00, 0x03000, 0x03028, 0x08D00, 0x08D04
MRQC, RETA, RSSRK = 0x0EC80, 0x0EB00, 0x0EB80
DMATXCTL, RTTDCS, MTQC, DTXMXSZRQ = 0x04A80, 0x04900, 0x08120, 0x08100
HLREG0, MAXFRS, AUTOC, LINKS, MSCA = 0x04240, 0x04268, 0x042A0, 0x042A4, 0x0425C
GPRC, BPRC, MPRC, GPTC, GORCL, GORCH, GOTCL, GOTCH = (
    *(0x04074, 0x04078, 0x0407C, 0x04080),
    *(0x04088, 0x0408C, 0x04090, 0x04094),
)
RUC, ROC, TORL, TORH, TPR, TPT, MPTC, BPTC = 0x040A4, 0x040AC, 0x040C0, 0x040C4, 0x040D0, 0x040D4, 0x040F0, 0x040F4
PRC, PTC = 0x0405C, 0x040D8
"""Frames by size: 64, 65-127, 128-255, 256-511, 512-1023, 1024 and more; four bytes each."""

CTRL_MASTER_DISABLE, CTRL_LRST, CTRL_RST = 1 << 2, 1 << 3, 1 << 26
STATUS_MASTER_ENABLED = 1 << 19
LINKS_UP = 1 << 30
LINKS_SPEEDS = {3: 10000, 2: 1000, 1: 100}
CAUSE_LSC = 1 << 20
QUEUE_ENABLE = 1 << 25


def eitr(vector: int) -> int:
    return 0x00820 + 4 * vector if vector < 24 else 0x12300 + 4 * (vector - 24)


def ivar(index: int) -> int:
    return 0x00900 + 4 * index


def rx_register(queue: int, offset: int) -> int:
    return (0x01000 + 0x40 * queue if queue < 64 else 0x0D000 + 0x40 * (queue - 64)) + offset


def tx_register(queue: int, offset: int) -> int:
    return 0x06000 + 0x40 * queue + offset


def receive_address(index: int) -> int:
    return 0x0A200 + 8 * index


BASE_LOW, BASE_HIGH, LENGTH, HEAD, SRRCTL, TAIL, CONTROL, RSCCTL = 0, 4, 8, 0x10, 0x14, 0x18, 0x28, 0x2C
DCA = 0x0C
WRITEBACK_LOW, WRITEBACK_HIGH = 0x38, 0x3C

# Advanced receive descriptor, as written back (7.1.6.2).
RX_DD, RX_EOP, RX_FLM, RX_VP, RX_UDPCS, RX_L4I, RX_IPCS, RX_UDPV = (1 << n for n in (0, 1, 2, 3, 4, 5, 6, 10))
RX_ERROR_RXE, RX_ERROR_L4E, RX_ERROR_IPE = 1 << 29, 1 << 30, 1 << 31
RSS_TYPES = ("none", "tcp4", "ip4", "tcp6", "ip6ex", "ip6", "tcp6ex", "udp4", "udp6", "udp6ex")
TYPE_IPV4, TYPE_IPV4E, TYPE_IPV6, TYPE_IPV6E, TYPE_TCP, TYPE_UDP, TYPE_SCTP = (1 << n for n in range(7))

# Transmit descriptors (7.2.3.2): command bits of the last byte of the third doubleword.
EOP, IFCS, IC, RS, DEXT, VLE, TSE = (1 << n for n in (24, 25, 26, 27, 29, 30, 31))
DTYP_CONTEXT, DTYP_DATA = 2 << 20, 3 << 20
POPTS_IXSM, POPTS_TXSM = 1, 2
L4T_UDP, L4T_TCP, L4T_SCTP = 0, 1, 2


def legacy_descriptor(
    address: int, length: int, *, command: int = EOP | IFCS | RS, start: int = 0, offset: int = 0, vlan: int = 0
) -> bytes:
    """A legacy transmit descriptor (7.2.3.2.2); `start` and `offset` are the checksum's CSS and CSO."""
    return struct.pack("<QII", address, length | offset << 16 | command, start << 8 | vlan << 16)


def context_descriptor(
    *,
    mac_length: int = 14,
    ip_length: int = 0,
    vlan: int = 0,
    ipv4: bool = True,
    l4: int = L4T_TCP,
    mss: int = 0,
    l4_length: int = 0,
    index: int = 0,
) -> bytes:
    """An advanced transmit context descriptor (7.2.3.2.3)."""
    return struct.pack(
        "<IIII",
        vlan << 16 | mac_length << 9 | ip_length,
        0,
        l4 << 11 | ipv4 << 10 | DTYP_CONTEXT | DEXT,
        mss << 16 | l4_length << 8 | index << 4,
    )


def data_descriptor(
    address: int, length: int, *, command: int, options: int = 0, paylen: int = 0, index: int = 0, check: bool = False
) -> bytes:
    """An advanced transmit data descriptor (7.2.3.2.4)."""
    return struct.pack(
        "<QII",
        address,
        length | DTYP_DATA | DEXT | command,
        paylen << 14 | options << 8 | check << 7 | index << 4,
    )


@dataclass
class Received:
    """A received packet, by its descriptors.

    Attributes:
        frame: the bytes of all buffers.
        descriptors: number of descriptors.
        segments: number of coalesced segments, 0 for a single frame; RSCCNT is one more than the segments that start
            in a descriptor (7.1.6.2).
    """

    frame: bytes
    status: int
    errors: int
    rss_type: str = "none"
    rss_hash: int = 0
    packet_type: int = 0
    vlan: int = 0
    descriptors: int = 1
    segments: int = 0


@dataclass
class _Chain:
    parts: list[bytes] = field(default_factory=list)
    segments: int = 0


class ReceiveQueue:
    """A receive ring with a buffer per descriptor, all posted at once."""

    def __init__(self, driver: IxgbeDriver, queue: int, size: int, buffer_size: int, *, legacy: bool) -> None:
        self.driver = driver
        self.queue = queue
        self.size = size
        self.buffer_size = buffer_size
        self.legacy = legacy
        ram = driver.ram
        self.ring = ram.allocate(size * 16)
        self.buffers = [ram.allocate(buffer_size, 1024) for _ in range(size)]
        self.next = 0
        self._chains: dict[int, _Chain] = {}

    def register(self, offset: int) -> int:
        return rx_register(self.queue, offset)

    def post(self, index: int) -> None:
        """Write a descriptor for the hardware, without moving the tail."""
        self.driver.ram.write(self.ring + index * 16, struct.pack("<QQ", self.buffers[index], 0))

    def poll(self, limit: int = 1 << 30) -> list[Received]:
        """The complete packets; their descriptors are posted again."""
        packets: list[Received] = []
        last = None
        ram = self.driver.ram
        while len(packets) < limit:
            raw = ram.read(self.ring + self.next * 16, 16)
            if not raw[12 if self.legacy else 8] & RX_DD:
                break
            packet = (self._legacy if self.legacy else self._advanced)(raw)
            if packet is not None:
                packets.append(packet)
            self.post(self.next)
            last = self.next
            self.next = (self.next + 1) % self.size
        if last is not None:
            self.driver.write(self.register(TAIL), last)
        return packets

    def wait(self, count: int, timeout: float = 10.0) -> list[Received]:
        """Exactly `count` packets.

        Raises:
            TimedOutError: fewer were received.
        """
        packets: list[Received] = []

        def enough() -> bool:
            packets.extend(self.poll(count - len(packets)))
            return len(packets) >= count

        self.driver.until(enough, f"{count} packets on receive queue {self.queue}", timeout)
        return packets

    def _data(self, length: int) -> bytes:
        assert length <= self.buffer_size, f"{length} bytes in a buffer of {self.buffer_size}"
        return self.driver.ram.read(self.buffers[self.next], length)

    def _legacy(self, raw: bytes) -> Received | None:
        length, _, status, errors, vlan = struct.unpack_from("<HHBBH", raw, 8)
        chain = self._chains.pop(self.next, None) or _Chain()
        chain.parts.append(self._data(length))
        if not status & RX_EOP:
            self._chains[(self.next + 1) % self.size] = chain
            return None
        return Received(b"".join(chain.parts), status, errors, vlan=vlan, descriptors=len(chain.parts))

    def _advanced(self, raw: bytes) -> Received | None:
        kind, rss_hash, status, length, vlan = struct.unpack("<IIIHH", raw)
        chain = self._chains.pop(self.next, None) or _Chain()
        chain.parts.append(self._data(length))
        coalesced = kind >> 17 & 15
        chain.segments += coalesced - 1 if coalesced else 0
        if not status & RX_EOP:
            following = status >> 4 & 0xFFFF if coalesced else (self.next + 1) % self.size
            assert following not in self._chains, "two packets continue in one descriptor"
            self._chains[following] = chain
            return None
        return Received(
            b"".join(chain.parts),
            status & 0xFFFFF,
            status & 0xFFF00000,
            RSS_TYPES[kind & 15],
            rss_hash,
            kind >> 4 & 0x1FFF,
            vlan,
            len(chain.parts),
            chain.segments,
        )


class TransmitQueue:
    """A transmit ring."""

    def __init__(self, driver: IxgbeDriver, queue: int, size: int) -> None:
        self.driver = driver
        self.queue = queue
        self.size = size
        self.ring = driver.ram.allocate(size * 16)
        self.tail = 0
        self._scratch = driver.ram.allocate(1 << 18)
        self._used = 0

    def register(self, offset: int) -> int:
        return tx_register(self.queue, offset)

    def buffer(self, data: bytes) -> int:
        """The address of a copy of `data` in guest memory; the scratch area is reused when it is full."""
        if self._used + len(data) > 1 << 18:
            self._used = 0
        address = self._scratch + self._used
        self.driver.ram.write(address, data)
        self._used += len(data)
        return address

    def put(self, *descriptors: bytes) -> int:
        """Write descriptors behind the tail and move it; returns the index of the last one."""
        last = self.tail
        for descriptor in descriptors:
            last = self.tail
            self.driver.ram.write(self.ring + last * 16, descriptor)
            self.tail = (last + 1) % self.size
        self.driver.write(self.register(TAIL), self.tail)
        return last

    def done(self, index: int) -> bool:
        """Whether the hardware has reported a descriptor (its RS bit must be set)."""
        return bool(self.driver.ram.read(self.ring + index * 16 + 12, 1)[0] & 1)

    def finish(self, index: int) -> None:
        """Wait until a descriptor is reported.

        Raises:
            TimedOutError: it was not.
        """
        self.driver.until(lambda: self.done(index), f"transmit queue {self.queue}, descriptor {index} done")

    def send_legacy(self, frame: bytes, *, cuts: Iterable[int] = (), **options: int) -> None:
        """Send a frame by legacy descriptors, cut into buffers at `cuts`, and wait until it is done."""
        pieces = _cut(frame, cuts)
        command = options.pop("command", IFCS | RS)
        descriptors = [legacy_descriptor(self.buffer(p), len(p), command=command & ~RS, **options) for p in pieces]
        last = pieces[-1]
        descriptors[-1] = legacy_descriptor(self.buffer(last), len(last), command=command | EOP, **options)
        self.finish(self.put(*descriptors))

    def send(
        self,
        frame: bytes,
        *,
        cuts: Iterable[int] = (),
        context: bytes | None = None,
        options: int = 0,
        command: int = 0,
        paylen: int | None = None,
        index: int = 0,
        check: bool = False,
    ) -> None:
        """Send a frame by advanced descriptors (after a context descriptor, if given), and wait until it is done."""
        pieces = _cut(frame, cuts)
        length = len(frame) if paylen is None else paylen
        command |= IFCS
        descriptors = [] if context is None else [context]
        for number, piece in enumerate(pieces):
            last = EOP | RS if number == len(pieces) - 1 else 0
            descriptors.append(
                data_descriptor(
                    self.buffer(piece),
                    len(piece),
                    command=command | last,
                    options=options,
                    paylen=length,
                    index=index,
                    check=check,
                )
            )
        self.finish(self.put(*descriptors))


def _cut(frame: bytes, cuts: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(c for c in cuts if 0 < c < len(frame)), len(frame)]
    return [frame[a:b] for a, b in itertools.pairwise(edges)]


class IxgbeDriver:
    """The driver of one 82599. `client` is connected and negotiated, `ram` is memory that the device can reach.

    Attributes:
        explain: adds to the message of a timeout.
    """

    def __init__(self, client: VfioClient, ram: GuestRam) -> None:
        self.client = client
        self.ram = ram
        self.receive: list[ReceiveQueue] = []
        self.transmit: list[TransmitQueue] = []
        self.explain: Callable[[], str] = str

    def read(self, offset: int) -> int:
        return self.client.read(0, offset)

    def write(self, offset: int, value: int) -> None:
        """A posted write, as a CPU's."""
        self.client.post(0, offset, value)

    def write_many(self, writes: Sequence[tuple[int, int]]) -> None:
        """Posted writes in one message, as QEMU batches them."""
        self.client.post_many([(0, offset, value) for offset, value in writes])

    def set_bits(self, offset: int, bits: int, clear: int = 0) -> None:
        self.write(offset, self.read(offset) & ~clear | bits)

    def until(self, condition: Callable[[], bool], what: str, timeout: float = 10.0) -> None:
        """Wait for a condition; each round reads a register, so that the device runs.

        Raises:
            TimedOutError: it was not met.
        """
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise TimedOutError(f"expected within {timeout} s: {what} {self.explain()}")
            self.read(STATUS)

    # Bring-up

    def reset(self) -> None:
        """Global reset as in 4.2.1.7 and 4.6.3: quiesce, reset, wait for the EEPROM, interrupts off."""
        self.client.enable()
        self.set_bits(CTRL, CTRL_MASTER_DISABLE)
        self.until(lambda: not self.read(STATUS) & STATUS_MASTER_ENABLED, "bus mastering stopped")
        self.set_bits(CTRL, CTRL_RST | CTRL_LRST)
        self.until(lambda: not self.read(CTRL) & (CTRL_RST | CTRL_LRST), "reset complete")
        self.until(lambda: bool(self.read(EEC) & 1 << 9), "EEPROM auto-read done")
        self.until(lambda: bool(self.read(RDRXCTL) & 1 << 3), "DMA initialization done")
        self.write(EIMC, 0x7FFFFFFF)
        for bank in (1, 2):
            self.write(0x00AB0 + 4 * (bank - 1), 0xFFFFFFFF)
        self.read(EICR)

    def eeprom(self, word: int) -> int:
        """A word of the EEPROM by EERD."""
        self.write(EERD, word << 2 | 1)
        self.until(lambda: bool(self.read(EERD) & 2), f"EEPROM word {word:#x} read")
        return self.read(EERD) >> 16

    def take_semaphore(self) -> bool:
        """Reading SWSM.SMBI sets it; true if it was free."""
        return not self.read(SWSM) & 1

    def release_semaphore(self) -> None:
        self.set_bits(SWSM, 0, clear=3)

    @property
    def mac(self) -> bytes:
        """The address that the EEPROM loaded into the first receive address register."""
        low, high = self.read(receive_address(0)), self.read(receive_address(0) + 4)
        assert high & 1 << 31, "the first receive address is not valid"
        return struct.pack("<IH", low, high & 0xFFFF)

    @property
    def link(self) -> int:
        """Mbit/s, 0 when the link is down."""
        links = self.read(LINKS)
        return LINKS_SPEEDS[links >> 28 & 3] if links & LINKS_UP else 0

    def restart_link(self) -> None:
        """AUTOC.Restart_AN (3.7.4.2)."""
        self.set_bits(AUTOC, 1 << 12)

    def wait_link(self, speed: int = 10000) -> None:
        self.until(lambda: self.link == speed, f"link at {speed} Mbit/s")

    def start(
        self,
        *,
        queues: int = 1,
        ring: int = 64,
        buffer_size: int = 2048,
        legacy: bool = False,
        rsc: int | None = None,
        drop: bool = True,
    ) -> None:
        """Reset, then set up `queues` receive and transmit rings and turn both directions on (4.6.7, 4.6.8).

        Args:
            rsc: MAXDESC code (0 to 3) to coalesce with; None not to.
            drop: SRRCTL.Drop_En, drop packets of a queue that has no descriptors.
        """
        self.reset()
        self.set_bits(RDRXCTL, 1 << 1 | 1 << 25 | 1 << 26, clear=0x1F << 17)
        self.set_bits(HLREG0, 1 << 0 | 1 << 1 | 1 << 10)
        self.write(FCTRL, 1 << 10)
        self.write(RXCSUM, 1 << 12 | 1 << 13)
        self.write(RFCTL, 0 if rsc is not None else 1 << 5)
        if rsc is not None:
            self.set_bits(RSCDBU, 1 << 7)
        self.write_many([(0x05200 + 4 * n, 0) for n in range(128)])
        self.write_many([(0x0A000 + 4 * n, 0) for n in range(128)])
        self.receive = [ReceiveQueue(self, n, ring, buffer_size, legacy=legacy) for n in range(queues)]
        for queue in self.receive:
            self.start_receive(queue, rsc=rsc, drop=drop)
        self.set_bits(SECRXCTRL, 1 << 1)
        self.until(lambda: bool(self.read(SECRXSTAT) & 1), "security receive path empty")
        self.write(RXCTRL, 1)
        self.set_bits(SECRXCTRL, 0, clear=1 << 1)
        self.set_bits(CTRL_EXT, 1 << 16)

        self.write(DTXMXSZRQ, 0xFFF)
        self.set_bits(RTTDCS, 1 << 6)
        self.write(MTQC, 0)
        self.set_bits(RTTDCS, 0, clear=1 << 6)
        self.set_bits(DMATXCTL, 1)
        self.transmit = [TransmitQueue(self, n, ring) for n in range(queues)]
        for queue in self.transmit:
            self.start_transmit(queue)

    def start_receive(self, queue: ReceiveQueue, *, rsc: int | None = None, drop: bool = True) -> None:
        """Program and enable a receive ring, then post its buffers."""
        register = queue.register
        for index in range(queue.size):
            queue.post(index)
        queue.next = 0
        kind = 0 if queue.legacy else 1
        self.write(register(BASE_LOW), queue.ring & 0xFFFFFFFF)
        self.write(register(BASE_HIGH), queue.ring >> 32)
        self.write(register(LENGTH), queue.size * 16)
        self.write(register(HEAD), 0)
        self.write(register(TAIL), 0)
        self.write(register(SRRCTL), queue.buffer_size >> 10 | 4 << 8 | kind << 25 | drop << 28)
        self.write(register(RSCCTL), 0 if rsc is None else rsc << 2 | 1)
        self.set_bits(register(DCA), 0, clear=1 << 12)
        self.set_bits(register(CONTROL), QUEUE_ENABLE)
        self.until(lambda: bool(self.read(register(CONTROL)) & QUEUE_ENABLE), f"receive queue {queue.queue} enabled")
        self.write(register(TAIL), queue.size - 1)

    def stop_receive(self, queue: ReceiveQueue) -> None:
        """Disable a receive ring (4.6.7.1.2)."""
        control = queue.register(CONTROL)
        self.set_bits(control, 0, clear=QUEUE_ENABLE)
        self.until(lambda: not self.read(control) & QUEUE_ENABLE, f"receive queue {queue.queue} disabled")

    def start_transmit(self, queue: TransmitQueue, *, write_back_head: int | None = None) -> None:
        """Program and enable a transmit ring."""
        register = queue.register
        self.write(register(BASE_LOW), queue.ring & 0xFFFFFFFF)
        self.write(register(BASE_HIGH), queue.ring >> 32)
        self.write(register(LENGTH), queue.size * 16)
        self.write(register(HEAD), 0)
        self.write(register(TAIL), 0)
        queue.tail = 0
        self.write(register(WRITEBACK_HIGH), (write_back_head or 0) >> 32)
        self.write(register(WRITEBACK_LOW), 0 if write_back_head is None else write_back_head & 0xFFFFFFFF | 1)
        self.write(register(CONTROL), QUEUE_ENABLE | 32)
        self.until(lambda: bool(self.read(register(CONTROL)) & QUEUE_ENABLE), f"transmit queue {queue.queue} enabled")

    def stop_transmit(self, queue: TransmitQueue) -> None:
        """Disable a transmit ring (4.6.8.1.2)."""
        control = queue.register(CONTROL)
        self.set_bits(control, 0, clear=QUEUE_ENABLE)
        self.until(lambda: not self.read(control) & QUEUE_ENABLE, f"transmit queue {queue.queue} disabled")

    # Features

    def spread(self, key: bytes, types: int, table: Sequence[int]) -> None:
        """Receive-side scaling: `types` as in MRQC bits 16 and up, `table` with 128 queues."""
        self.write_many([(RSSRK + n, int.from_bytes(key[n : n + 4], "little")) for n in range(0, 40, 4)])
        self.write_many([(RETA + n, int.from_bytes(bytes(table[n : n + 4]), "little")) for n in range(0, 128, 4)])
        self.write(MRQC, 1 | types << 16)

    def filter_vlans(self, allowed: Iterable[int]) -> None:
        """VLNCTRL.VFE with exactly these ids passed."""
        words = [0] * 128
        for vlan in allowed:
            words[vlan >> 5] |= 1 << (vlan & 31)
        self.write_many([(0x0A000 + 4 * n, word) for n, word in enumerate(words)])
        self.set_bits(VLNCTRL, 1 << 30)

    def strip_vlans(self, queue: ReceiveQueue) -> None:
        """RXDCTL.VME."""
        self.set_bits(queue.register(CONTROL), 1 << 30)

    def allow_jumbo(self, size: int) -> None:
        """Accept frames of `size` bytes, CRC included (HLREG0.JUMBOEN, MAXFRS.MFS)."""
        self.set_bits(HLREG0, 1 << 2)
        self.set_bits(MAXFRS, size << 16, clear=0xFFFF0000)

    # Interrupts

    def use_msix(self, vectors: int, *, auto: bool = False) -> None:
        """MSI-X: receive and transmit queue n on vector n (modulo all but the last), everything else on the last.

        Args:
            auto: clear causes and mask the vector when its message is sent (EIAC, EIAM, GPIE.EIAME).
        """
        self.client.enable_irqs(MSIX, vectors)
        self.write(GPIE, 1 << 4 | 1 << 31 | (1 << 30 | 1 << 5 if auto else 0))
        for queue in range(max(len(self.receive), len(self.transmit), 1)):
            self.route(queue, queue % max(vectors - 1, 1))
        self.write(IVAR_MISC, (0x80 | vectors - 1) << 8)
        queues = (1 << (vectors - 1)) - 1
        self.write(EIAC, queues if auto else 0)
        self.write(EIAM, queues if auto else 0)

    def route(self, queue: int, vector: int) -> None:
        """Both directions of a queue pair to a vector (IVAR)."""
        shift = (queue & 1) * 16
        self.set_bits(ivar(queue >> 1), (0x8080 | vector << 8 | vector) << shift, clear=0xFFFF << shift)

    def unmask(self, causes: int) -> None:
        self.write(EIMS, causes)

    def mask(self, causes: int) -> None:
        self.write(EIMC, causes)

    def wait_irq(self, vector: int, timeout: float = 10.0) -> int:
        """Wait for at least one message of a vector; returns how many it sent since the last call."""
        return self.client.wait_irq(MSIX, vector, timeout)

    def irqs(self, vector: int) -> int:
        """The same without waiting, after the device has handled all writes."""
        self.read(STATUS)
        return self.client.irq_count(MSIX, vector)
