# SPDX-License-Identifier: GPL-2.0-or-later
"""A test harness for XGBE with a minimal driver: guest memory, a manual clock, a wire of two lists.

Offsets and bits are repeated here, from Linux, xgbe-common.h, and IEEE 802.3, clause 45, instead of sharing them with the
model, so that a mistake in the model shows.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nicmodels.clock import ManualClock
from nicmodels.events import EventLog
from nicmodels.faults.points import FaultPoints
from nicmodels.models.xgbe import Xgbe
from nicmodels.nic.device import Options, Slot
from nicmodels.pci import ResetCause
from nicmodels.wire import NullWire

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nicmodels.wire import Wire

RAM = 1 << 22
RING = 64
RX_RING, TX_RING = 0x10000, 0x30000
HEADERS, RX_BUFFERS, TX_BUFFERS = 0x80000, 0x100000, 0x300000
HEADER, BUFFER = 256, 2048
MAC = bytes.fromhex("027066000001")
PEER = bytes.fromhex("020000000002")

MAC_TCR, MAC_RCR, MAC_PFR, MAC_HTR, MAC_VLANTR, MAC_VLANHTR, MAC_VLANIR = 0, 4, 8, 0x10, 0x50, 0x58, 0x60
MAC_QTFCR, MAC_RFCR, MAC_RQC0R, MAC_ISR, MAC_IER = 0x70, 0x90, 0xA0, 0xB0, 0xB4
MAC_VR, MAC_HWF0R, MAC_HWF1R, MAC_HWF2R, MAC_MACA0HR, MAC_MACA0LR = 0x110, 0x11C, 0x120, 0x124, 0x300, 0x304
MAC_MDIOSCAR, MAC_MDIOSCCDR, MAC_MDIOISR = 0x200, 0x204, 0x214
MAC_RSSCR, MAC_RSSAR, MAC_RSSDR = 0xC80, 0xC88, 0xC8C
MAC_TSCR, MAC_SSIR, MAC_STSR, MAC_STNR, MAC_STSUR, MAC_STNUR, MAC_TSAR = (
    *(0xD00, 0xD04, 0xD08, 0xD0C),
    *(0xD10, 0xD14, 0xD18),
)
MAC_TSSR, MAC_TXSNR, MAC_TXSSR = 0xD20, 0xD30, 0xD34
MMC_CR, MMC_RISR, MMC_RIER = 0x800, 0x804, 0x80C
MMC_TXOCTETS, MMC_TXFRAMES, MMC_TX64, MMC_TXUNICAST = 0x814, 0x81C, 0x834, 0x864
MMC_RXFRAMES, MMC_RXOCTETS, MMC_RXBROADCAST, MMC_RXMULTICAST, MMC_RXUNICAST = 0x900, 0x908, 0x918, 0x920, 0x970
MMC_RXOVERSIZE, MMC_RXOVERFLOW, MMC_RXVLAN, MMC_RXPAUSE = 0x93C, 0x990, 0x998, 0x988
MTL_RQDCMR, MTL_TQOMR, MTL_TQDR, MTL_RQOMR, MTL_RQDR, MTL_RQFCR = 0x1030, 0x1100, 0x1108, 0x1140, 0x1148, 0x1150
DMA_MR, DMA_SBMR, DMA_ISR = 0x3000, 0x3004, 0x3008
CH_CR, CH_TCR, CH_RCR, CH_TDLR, CH_RDLR, CH_TDTR, CH_RDTR = (
    *(0x3100, 0x3104, 0x3108, 0x3114),
    *(0x311C, 0x3124, 0x312C),
)
CH_TDRLR, CH_RDRLR, CH_IER, CH_RIWT, CH_SR = 0x3130, 0x3134, 0x3138, 0x313C, 0x3160
XP_PROP_0, XP_PROP_1, XP_MAC_LO, XP_MAC_HI = 0x1D000, 0x1D004, 0x1D020, 0x1D024
XP_INT_REQ, XP_INT_RO, XP_SCRATCH_0, XP_REISSUE, XP_INT_EN = 0x1D060, 0x1D064, 0x1D068, 0x1D074, 0x1D078
XP_ECC_IER = 0x1D034
IC_DATA_CMD, IC_RAW, IC_CLR, IC_ENABLE, IC_STATUS = 0x1E010, 0x1E034, 0x1E040, 0x1E06C, 0x1E09C
PCS_DEFINITION, PCS_SELECT = 0x9060, 0x9064
POWER_OFF, SET_1G, SET_KR, RECEIVER_RESET, KX = 0, 1, 4, 5, 3
INT_MASK, INT = 0x8001, 0x8002
COMPLETE, INCOMPATIBLE, PAGE = 1, 2, 4

OWN, CONTEXT, FIRST, LAST = 1 << 31, 1 << 30, 1 << 29, 1 << 28
ERROR, HASH_VALID, CONTEXT_NEXT = 1 << 15, 1 << 26, 1 << 27


class ListWire(NullWire):
    """A wire that records sent frames, and receives those in `incoming`."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.incoming: list[bytes] = []

    def transmit(self, buffers: Sequence[bytes | bytearray | memoryview]) -> None:
        self.sent.append(b"".join(buffers))

    def receive(self) -> bytes | None:
        return self.incoming.pop(0) if self.incoming else None


@dataclass(frozen=True)
class Received:
    """A received frame, by its descriptors.

    Attributes:
        header: bytes of the split header.
        status: the last descriptor's fourth doubleword.
        time: seconds and nanoseconds of a context descriptor.
    """

    channel: int
    data: bytes
    header: int
    hash: int | None
    vlan: int
    status: int
    time: tuple[int, int] | None = None

    @property
    def error(self) -> int | None:
        """The error's type, None without one."""
        return self.status >> 16 & 15 if self.status & ERROR else None


class XgbeRig:
    """The device, and the minimum of a driver.

    Args:
        profile: the variant.
        channels: number of channels of each direction.
        clock: the device's; a manual clock by default.
        wire: the device's; a `ListWire` by default.
    """

    def __init__(
        self,
        profile: str | None = None,
        channels: int = 2,
        clock: ManualClock | None = None,
        wire: Wire | None = None,
    ) -> None:
        self.clock = clock or ManualClock()
        self.wire = ListWire()
        events = EventLog(self.clock.now)
        self.slot = Slot(clock=self.clock, wire=wire or self.wire, events=events, faults=FaultPoints(events=events))
        self.device = Xgbe(self.slot, Options(profile=profile))
        self.device.restart(ResetCause.POWER_ON)
        fd = os.memfd_create("guest")
        os.ftruncate(fd, RAM)
        self.slot.memory.map(fd, 0, 0, RAM)
        os.close(fd)
        self.device.config.write(4, 6, 2)
        self.slot.memory.bus_master = self.slot.interrupts.bus_master = True
        self.memory = self.slot.memory
        self.channels = channels
        self.heads = [0] * channels
        self.tails = [0] * channels

    # Registers

    def read(self, offset: int) -> int:
        return self.device.bar_read(0, offset, 4)

    def write(self, offset: int, value: int) -> None:
        self.device.bar_write(0, offset, value & 0xFFFF_FFFF, 4)

    def channel(self, register: int, index: int) -> int:
        return register + 0x80 * index

    def mmd(self, device: int, number: int) -> int:
        """Read a PCS register through the window."""
        return self.device.bar_read(1, self._window(device, number), 2)

    def mmd_write(self, device: int, number: int, value: int) -> None:
        self.device.bar_write(1, self._window(device, number), value, 2)

    def _window(self, device: int, number: int) -> int:
        definition = self.device.bar_read(1, PCS_DEFINITION, 4)
        base, size = (definition >> 6 & 0x3FFF) << 6, 1 << (definition >> 2 & 15) + 7
        address = (device << 16 | number) << 1
        self.device.bar_write(1, PCS_SELECT, address & ~(size - 1), 4)
        return base + (address & size - 1)

    def arm(self, name: str, **match: int) -> None:
        self.slot.faults[name].arm(match=match)

    def fired(self, name: str) -> int:
        return self.slot.faults[name].fired

    # Link

    def mailbox(self, command: int, argument: int = 0) -> None:
        """Execute a firmware command, and wait for it."""
        self.write(XP_SCRATCH_0, command | argument << 8)
        self.write(XP_INT_REQ, 1)
        for _ in range(50):
            if not self.read(XP_INT_RO) & 1:
                return
            self.clock.advance(0.001)
        raise AssertionError("the firmware did not finish")

    def negotiate(self, low: int = 0x0C01, middle: int = 0xA0, high: int = 0xC000) -> None:
        """Start negotiation with a base page."""
        self.mmd_write(7, 18, high)
        self.mmd_write(7, 17, middle)
        self.mmd_write(7, 16, low)
        self.mmd_write(7, INT, 0)
        self.mmd_write(7, INT_MASK, 7)
        self.mmd_write(7, 0, 0x1200)

    def cause(self, seconds: float = 1.0) -> int:
        """Wait for an AN interrupt, and clear it; 0 if there is none."""
        end = self.clock.now() + seconds
        while self.clock.now() < end:
            found = self.mmd(7, INT)
            if found:
                self.mmd_write(7, INT, ~found & 0xFFFF)
                return found
            self.clock.advance(0.001)
        return 0

    def train(self) -> None:
        """Enable FEC as negotiated, then train."""
        both = self.mmd(7, 18) & self.mmd(7, 21) & 0x4000
        asked = (self.mmd(7, 18) | self.mmd(7, 21)) & 0x8000
        self.mmd_write(1, 171, 1 if both and asked else 0)
        self.mmd_write(1, 150, 3)

    def link(self) -> XgbeRig:
        """Come up at 10GBASE-KR."""
        self.mailbox(SET_KR)
        self.negotiate()
        assert self.cause() == PAGE
        self.train()
        assert self.cause() == COMPLETE
        self.mmd(3, 1)
        assert self.mmd(3, 1) & 4
        return self

    # Data

    def start(self, *, split: bool = True) -> XgbeRig:
        """Set up rings, queues, filters for the own address and broadcast, RSS over the channels, checksum offload."""
        self.heads = [0] * self.channels
        self.tails = [0] * self.channels
        self.write(XP_INT_EN, 0x1FFFFF)
        self.write(DMA_SBMR, 1 << 11)
        self.write(DMA_MR, 1 << 12)
        self.write(MAC_MACA0HR, int.from_bytes(MAC[4:], "little"))
        self.write(MAC_MACA0LR, int.from_bytes(MAC[:4], "little"))
        self.write(MAC_VLANIR, 1 << 20)
        for index in range(256):
            self.rss(index, index % self.channels)
        for index in range(10):
            self.rss(index, 0x11111111 * (index + 1), key=True)
        self.write(MAC_RSSCR, 0xF)
        self.write(MTL_RQDCMR, 0x80808080)
        for index in range(self.channels):
            self.write(self.channel(MTL_RQOMR, index), 31 << 16)
            self.write(self.channel(MTL_TQOMR, index), 2 << 2 | 2)
            self.write(self.channel(CH_CR, index), (1 << 24) if split else 0)
            self.write(self.channel(CH_RDRLR, index), RING - 1)
            self.write(self.channel(CH_RDLR, index), self._rx(index, 0))
            for number in range(RING):
                self._post(index, number)
            self.write(self.channel(CH_RDTR, index), self._rx(index, RING - 1))
            self.write(self.channel(CH_RCR, index), BUFFER << 1 | 1)
            self.write(self.channel(CH_TDRLR, index), RING - 1)
            self.write(self.channel(CH_TDLR, index), self._tx(index, 0))
            self.write(self.channel(CH_TCR, index), 1 << 12 | 1)
            self.write(self.channel(CH_IER, index), 0xD0C1)
        self.write(MAC_RQC0R, 0xA)
        self.write(MAC_TCR, 1)
        self.write(MAC_RCR, 1 | 1 << 1 | 1 << 2 | 1 << 9 | 2 << 12)
        return self

    def rss(self, index: int, value: int, *, key: bool = False) -> None:
        self.write(MAC_RSSDR, value)
        self.write(MAC_RSSAR, index << 8 | key << 2 | 1)
        assert not self.read(MAC_RSSAR) & 1

    def _rx(self, channel: int, number: int) -> int:
        return RX_RING + (channel * RING + number) * 16

    def _tx(self, channel: int, number: int) -> int:
        return TX_RING + (channel * RING + number) * 16

    def _post(self, channel: int, number: int) -> None:
        at = channel * RING + number
        words = (HEADERS + at * HEADER, 0, RX_BUFFERS + at * BUFFER, OWN | 1 << 30)
        self.memory.write(self._rx(channel, number), struct.pack("<IIII", *words))

    def receive(self, *frames: bytes) -> list[Received]:
        """Send frames to the device; returns the received ones."""
        self.wire.incoming.extend(frames)
        self.device.frame_arrived()
        self.clock.advance(0)
        return self.collect()

    def collect(self, *, post: bool = True) -> list[Received]:
        """Collect the received frames from the rings, with split headers."""
        return [each for channel in range(self.channels) for each in self._collect(channel, post)]

    def _collect(self, channel: int, post: bool) -> list[Received]:
        found: list[Received] = []
        data, header = b"", 0
        while True:
            number = self.heads[channel]
            words = struct.unpack("<IIII", self.memory.read(self._rx(channel, number), 16))
            if words[3] & OWN:
                return found
            at = channel * RING + number
            if words[3] & CONTEXT:
                found[-1] = Received(**{**vars(found[-1]), "time": (words[1], words[0])})
            else:
                total = words[3] & 0x3FFF if words[3] & LAST else 1 << 14
                if words[3] & FIRST:
                    header = words[2] & 0x3FF
                    data += self.memory.read(HEADERS + at * HEADER, header or min(HEADER, total))
                data += self.memory.read(RX_BUFFERS + at * BUFFER, min(max(total - len(data), 0), BUFFER))
                if words[3] & LAST:
                    value = words[1] if words[3] & HASH_VALID else None
                    found.append(Received(channel, data, header, value, words[0] & 0xFFFF, words[3]))
                    data, header = b"", 0
            if post:
                self._post(channel, number)
                self.write(self.channel(CH_RDTR, channel), self._rx(channel, number))
            self.heads[channel] = (number + 1) % RING

    def send(self, *descriptors: tuple[int, int, int, int], channel: int = 0) -> list[bytes]:
        """Post descriptors; returns the frames sent since the last call."""
        for words in descriptors:
            self.memory.write(self._tx(channel, self.tails[channel]), struct.pack("<IIII", *words))
            self.tails[channel] = (self.tails[channel] + 1) % RING
        self.write(self.channel(CH_TDTR, channel), self._tx(channel, self.tails[channel]))
        self.clock.advance(0)
        sent, self.wire.sent = self.wire.sent, []
        return sent

    def transmit(
        self, frame: bytes, *context: tuple[int, int, int, int], channel: int = 0, flags: int = 0, options: int = 0
    ) -> list[bytes]:
        """Send one frame from one buffer; `flags` are of the fourth doubleword, `options` of the third."""
        self.memory.write(TX_BUFFERS, frame)
        data = (TX_BUFFERS, 0, len(frame) | options | 1 << 31, OWN | FIRST | LAST | flags | len(frame))
        return self.send(*context, data, channel=channel)

    def segment(
        self, header: bytes, payload: bytes, mss: int, *, options: int = 0, tag: int | None = None
    ) -> list[bytes]:
        """Send a TSO packet: a context descriptor, the headers, the payload."""
        self.memory.write(TX_BUFFERS, header + payload)
        words = (mss, CONTEXT | OWN | 1 << 26 | (0 if tag is None else 1 << 16 | tag))
        return self.send(
            (0, 0, *words),
            (TX_BUFFERS, 0, len(header) | options, OWN | FIRST | 1 << 18 | 5 << 19 | len(payload)),
            (TX_BUFFERS + len(header), 0, len(payload) | 1 << 31, OWN | LAST),
        )

    def owned(self, channel: int = 0) -> list[int]:
        """The transmit descriptors that the device still owns."""
        return [number for number in range(RING) if self.memory.read(self._tx(channel, number) + 12, 4)[3] & 0x80]
