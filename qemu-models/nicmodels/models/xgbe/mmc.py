# SPDX-License-Identifier: MIT
"""The MAC management counters, and the model's own counts, which do not depend on them.

Source: Linux, drivers/net/ethernet/amd/xgbe/xgbe-dev.c (xgbe_config_mmc, xgbe_mmc_read); Agilex 5 HPS TRM (Intel
814346), MMC_Control: reset on read, freeze; frames that the address filter drops are not counted. Byte counters cover a frame from the
destination address to the FCS.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from nicmodels.ethernet import BROADCAST, ETH_FCS_LEN, ETH_P_8021AD, ETH_P_8021Q
from nicmodels.models.xgbe.registers import REGISTERS
from nicmodels.models.xgbe.registers import mmc as r
from nicmodels.nic.account import FrameCounts, tally

if TYPE_CHECKING:
    from nicmodels.models.xgbe.interrupts import InterruptBlock
    from nicmodels.nic.device import Host
    from nicmodels.registers import Register, RegisterFile

RESET, STOP_ROLLOVER, RESET_ON_READ, FREEZE, PRESET, PRESET_FULL = (1 << bit for bit in range(6))
_TAGS = (ETH_P_8021Q.to_bytes(2, "big"), ETH_P_8021AD.to_bytes(2, "big"))
_SIZES = ((64, 0), (127, 1), (255, 2), (511, 3), (1023, 4))
_RX_BINS = (
    *(r.RX64OCTETS_GB, r.RX65TO127OCTETS_GB, r.RX128TO255OCTETS_GB),
    *(r.RX256TO511OCTETS_GB, r.RX512TO1023OCTETS_GB, r.RX1024TOMAXOCTETS_GB),
)
_TX_BINS = (
    *(r.TX64OCTETS_GB, r.TX65TO127OCTETS_GB, r.TX128TO255OCTETS_GB),
    *(r.TX256TO511OCTETS_GB, r.TX512TO1023OCTETS_GB, r.TX1024TOMAXOCTETS_GB),
)


def size_bin(length: int) -> int:
    """Which of the six size counters a frame of `length` bytes (with FCS) belongs to."""
    for limit, number in _SIZES:
        if length <= limit:
            return number
    return 5


class Counters(FrameCounts):
    """Counts frames in the registers, and in `rx` and `tx`."""

    def __init__(self, file: RegisterFile, host: Host, interrupts: InterruptBlock, channels: int) -> None:
        super().__init__(channels, channels)
        self._file = file
        self._interrupts = interrupts
        self._slots = {register: REGISTERS.offset(register) >> 2 for register in (*r.RECEIVE, *r.TRANSMIT)}
        self._high = dict.fromkeys(self._slots, 0)
        faults = host.faults
        self._rx_doubled, self._rx_more = faults["rx.counter.doubled"], faults["rx.counter.bytes"]
        self._tx_doubled, self._tx_more = faults["tx.counter.doubled"], faults["tx.counter.bytes"]
        self._frozen = False
        for register in self._slots:
            self._hook(register)
        file.on_write(r.CR, self._write_control)

    def _hook(self, register: Register) -> None:
        file = self._file

        def read(index: int) -> int:
            """Reading the low half latches the high half, which is read next."""
            if index:
                return self._high[register]
            value = file[register]
            if register.total > 1:
                self._high[register] = file[register, 1]
            if file[r.CR] & RESET_ON_READ:
                self._set(register, 0)
            self._acknowledge(register)
            return value

        def peek(index: int) -> int:
            return file[register, index]

        file.on_read(register, read, peek=peek)

    def reset(self) -> None:
        """The register file has been reset; the model's own counts continue."""
        self._frozen = False
        self._high = dict.fromkeys(self._slots, 0)

    def _set(self, register: Register, value: int) -> None:
        self._file[register] = value & 0xFFFF_FFFF
        if register.total > 1:
            self._file[register, 1] = value >> 32

    def _write_control(self, _index: int, value: int) -> None:
        self._file[r.CR] = value & 0x3F & ~(RESET | PRESET)
        self._frozen = bool(value & FREEZE)
        if value & (RESET | PRESET):
            for register in self._slots:
                full = (1 << 32 * register.total) - 1
                preset = (full & ~0xF if value & PRESET_FULL else full >> 1 & ~0xF) if value & PRESET else 0
                self._set(register, preset)

    def _acknowledge(self, register: Register) -> None:
        """Reading a counter clears its interrupt."""
        receive = register in r.RECEIVE_BITS
        status = r.RISR if receive else r.TISR
        bit = 1 << (r.RECEIVE_BITS if receive else r.TRANSMIT_BITS)[register]
        if self._file[status] & bit:
            self._file[status] &= ~bit
            self._interrupts.mac_changed()

    def count(self, register: Register, amount: int = 1) -> None:
        """Add to a counter, which sets its interrupt at half of and at its maximum."""
        if self._frozen:
            return
        values = self._file.values
        slot = self._slots[register]
        low = values[slot] + amount
        if low < 0x8000_0000:
            values[slot] = low
            return
        self._carry(register, low)

    def _carry(self, register: Register, low: int) -> None:
        bits = 32 * register.total
        before = self._file[register] | (self._file[register, 1] << 32 if register.total > 1 else 0)
        after = before + low - self._file[register]
        half, full = 1 << bits - 1, (1 << bits) - 1
        if after > full:
            after = full if self._file[r.CR] & STOP_ROLLOVER else after & full
        self._set(register, after)
        if (before < half) != (after < half) or after == full:
            receive = register in r.RECEIVE_BITS
            status = r.RISR if receive else r.TISR
            self._file[status] |= 1 << (r.RECEIVE_BITS if receive else r.TRANSMIT_BITS)[register]
            self._interrupts.mac_changed()

    # Frames

    def arrived(self, length: int, destination: bytes, *, tagged: bool) -> None:
        """Count a good frame that passed the filters, of `length` bytes with FCS."""
        times = 2 if self._rx_doubled.armed and self._rx_doubled.fires() else 1
        total = length * times + (1 if self._rx_more.armed and self._rx_more.fires() else 0)
        self._arrived(length, destination, 1, times, total)
        if tagged:
            self.count(r.RXVLANFRAMES_GB)

    def _arrived(self, length: int, destination: bytes, frames: int, counted: int, total: int) -> None:
        count = self.count
        count(r.RXFRAMECOUNT_GB, counted)
        count(r.RXOCTETCOUNT_GB, total)
        count(r.RXOCTETCOUNT_G, total)
        count(_RX_BINS[size_bin(length)], frames)
        if not destination[0] & 1:
            count(r.RXUNICASTFRAMES_G, counted)
        elif destination == BROADCAST:
            count(r.RXBROADCASTFRAMES_G, counted)
        else:
            count(r.RXMULTICASTFRAMES_G, counted)

    def arrived_many(self, sizes: list[int], destination: bytes) -> None:
        """Count good frames without a tag to one address that passed the filters, of `sizes` bytes without FCS."""
        for size, frames in tally(sizes).items():
            length = size + ETH_FCS_LEN
            if self._rx_doubled.armed or self._rx_more.armed:
                for _ in range(frames):
                    self.arrived(length, destination, tagged=False)
            else:
                self._arrived(length, destination, frames, frames, length * frames)

    def oversized(self, length: int) -> None:
        """Count a frame beyond the maximum, of `length` bytes with FCS."""
        self.count(r.RXFRAMECOUNT_GB)
        self.count(r.RXOCTETCOUNT_GB, length)
        self.count(r.RXOVERSIZE_G)
        self.count(_RX_BINS[size_bin(length)])

    def runt(self) -> None:
        """Count a frame too short for two addresses."""
        self.count(r.RXRUNTERROR)

    def overflowed(self) -> None:
        """Count a frame dropped because its queue was full."""
        self.count(r.RXFIFOOVERFLOW)

    def cut(self) -> None:
        """Count a frame that the watchdog cut."""
        self.count(r.RXWATCHDOGERROR)

    def pause(self) -> None:
        """Count a received PAUSE frame."""
        self.count(r.RXPAUSEFRAMES)

    def delivered(self, channel: int, length: int, frames: int = 1) -> None:
        """Count frames delivered to a receive channel, of `length` bytes in all without FCS."""
        account = self.rx[channel]
        account.frames += frames
        account.bytes += length

    def dropped(self, channel: int) -> None:
        """Count a dropped frame of a receive channel."""
        self.rx[channel].dropped += 1

    def posted(self, channel: int, length: int, packets: int = 1) -> None:
        """Count packets of `length` bytes in all from the driver."""
        account = self.tx[channel]
        account.frames += packets
        account.bytes += length

    def left_many(self, channel: int, sizes: list[int], headers: list[bytes]) -> None:
        """Count transmitted frames of a channel, by their `sizes` without FCS, of at least 60 bytes, and Ethernet headers."""
        account = self.tx[channel]
        account.segments += len(sizes)
        account.segment_bytes += sum(sizes)
        for size, frames in tally(sizes).items():
            self._left(size + ETH_FCS_LEN, frames, frames, (size + ETH_FCS_LEN) * frames)
        for header, frames in Counter(headers).items():
            self._cast(header, frames)
            if header[12:14] in _TAGS:
                self.count(r.TXVLANFRAMES_G, frames)

    @property
    def transmit_faults(self) -> bool:
        """Whether a fault of the counters of transmitted frames is armed: frames are then counted one by one."""
        return self._tx_doubled.armed or self._tx_more.armed

    def left(self, channel: int, size: int, length: int, destination: bytes, *, tagged: bool) -> None:
        """Count a transmitted frame of `size` bytes, `length` bytes on the wire with FCS."""
        account = self.tx[channel]
        account.segments += 1
        account.segment_bytes += size
        times = 2 if self._tx_doubled.armed and self._tx_doubled.fires() else 1
        total = length * times + (1 if self._tx_more.armed and self._tx_more.fires() else 0)
        self._left(length, 1, times, total)
        self._cast(destination, times)
        if tagged:
            self.count(r.TXVLANFRAMES_G)

    def _left(self, length: int, frames: int, counted: int, total: int) -> None:
        count = self.count
        for register in (r.TXFRAMECOUNT_GB, r.TXFRAMECOUNT_G):
            count(register, counted)
        for register in (r.TXOCTETCOUNT_GB, r.TXOCTETCOUNT_G):
            count(register, total)
        count(_TX_BINS[size_bin(length)], frames)

    def _cast(self, destination: bytes, frames: int) -> None:
        count = self.count
        if not destination[0] & 1:
            count(r.TXUNICASTFRAMES_GB, frames)
        elif destination.startswith(BROADCAST):
            count(r.TXBROADCASTFRAMES_GB, frames)
            count(r.TXBROADCASTFRAMES_G, frames)
        else:
            count(r.TXMULTICASTFRAMES_GB, frames)
            count(r.TXMULTICASTFRAMES_G, frames)
