# SPDX-License-Identifier: MIT
"""The statistics registers, and the model's own counts, which do not depend on them.

Source: 82599 datasheet, section 8.2.3.23: counters stick at their maximum and clear when read; byte counters have 36
bits and cover a frame from the destination address to the CRC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicmodels.ethernet import BROADCAST, ETH_FCS_LEN
from nicmodels.models.ixgbe.registers import REGISTERS
from nicmodels.models.ixgbe.registers import statistics as r
from nicmodels.nic.account import FrameCounts, tally

if TYPE_CHECKING:
    from nicmodels.faults.points import Fault, FaultPoints
    from nicmodels.registers import Register, RegisterFile

QUEUES = 128
MAXIMUM = 0xFFFF_FFFF
HIGH_MAXIMUM = 0xF
_UNICAST = bytes(6)


def _slot(register: Register, index: int = 0) -> int:
    return REGISTERS.offset(register, index) >> 2


def _slots(register: Register) -> tuple[int, ...]:
    return tuple(_slot(register, index) for index in range(register.total))


_SIZES = ((64, 0), (127, 1), (255, 2), (511, 3), (1023, 4))
_RX_BINS = tuple(map(_slot, (r.PRC64, r.PRC127, r.PRC255, r.PRC511, r.PRC1023, r.PRC1522)))
_TX_BINS = tuple(map(_slot, (r.PTC64, r.PTC127, r.PTC255, r.PTC511, r.PTC1023, r.PTC1522)))
_TPR, _TORL, _TORH = map(_slot, (r.TPR, r.TORL, r.TORH))
_GPRC, _GORCL, _GORCH, _BPRC, _MPRC = map(_slot, (r.GPRC, r.GORCL, r.GORCH, r.BPRC, r.MPRC))
_RXNFGPC, _RXNFGBCL, _RXNFGBCH = map(_slot, (r.RXNFGPC, r.RXNFGBCL, r.RXNFGBCH))
_TPT, _GPTC, _GOTCL, _GOTCH, _BPTC, _MPTC = map(_slot, (r.TPT, r.GPTC, r.GOTCL, r.GOTCH, r.BPTC, r.MPTC))
_RXDGPC, _RXDGBCL, _RXDGBCH = map(_slot, (r.RXDGPC, r.RXDGBCL, r.RXDGBCH))
_TXDGPC, _TXDGBCL, _TXDGBCH = map(_slot, (r.TXDGPC, r.TXDGBCL, r.TXDGBCH))
_QPRC, _QBRC_L, _QBRC_H, _QPRDC = map(_slots, (r.QPRC, r.QBRC_L, r.QBRC_H, r.QPRDC))
_QPTC, _QBTC_L, _QBTC_H = map(_slots, (r.QPTC, r.QBTC_L, r.QBTC_H))
_RQSMR, _TQSM = _slots(r.RQSMR), _slots(r.TQSM)


def size_bin(length: int) -> int:
    """Which of the six size counters a frame of `length` bytes (with CRC) belongs to."""
    for limit, number in _SIZES:
        if length <= limit:
            return number
    return 5


def _miscounted(faults: tuple[Fault, Fault], frames: int, length: int) -> tuple[int, int]:
    """The amounts to count, as changed by the faults "doubled" and "bytes", which may fire once a frame."""
    doubled, more = faults
    if not (doubled.armed or more.armed):
        return frames, length
    each, counted, total = length // frames, 0, 0
    for _ in range(frames):
        times = 2 if doubled.armed and doubled.fires() else 1
        counted += times
        total += times * each + (times if more.armed and more.fires() else 0)
    return counted, total


class Statistics(FrameCounts):
    """Counts frames in the registers, and in `rx` and `tx`."""

    def __init__(self, file: RegisterFile, faults: FaultPoints) -> None:
        super().__init__(QUEUES, QUEUES)
        self._values = file.values
        self._rx_faults = (faults["rx.counter.doubled"], faults["rx.counter.bytes"])
        self._tx_faults = (faults["tx.counter.doubled"], faults["tx.counter.bytes"])

    def count(self, slot: int, amount: int = 1) -> None:
        """Add to a counter; it sticks at its maximum."""
        value = self._values[slot] + amount
        self._values[slot] = min(value, MAXIMUM)

    def count_register(self, register: Register, index: int = 0, amount: int = 1) -> None:
        """Add to a counter, by its declaration."""
        self.count(_slot(register, index), amount)

    def _count_bytes(self, low: int, high: int, amount: int) -> None:
        values = self._values
        total = values[low] + amount
        if total > MAXIMUM:
            carried = values[high] + (total >> 32)
            values[high] = min(carried, HIGH_MAXIMUM)
            total &= MAXIMUM
        values[low] = total

    def arrived(self, length: int, first: int, *, broadcast: bool, passed: bool, frames: int = 1) -> None:
        """Count good frames from the wire.

        Args:
            length: of each, with CRC.
            first: the first byte of the destination address.
            broadcast: whether the destination is the broadcast address.
            passed: whether they passed the filters.
            frames: number of frames.
        """
        values = self._values
        total = length * frames
        values[_TPR] += frames
        self._count_bytes(_TORL, _TORH, total)
        values[_RXNFGPC] += frames
        self._count_bytes(_RXNFGBCL, _RXNFGBCH, total)
        if not passed:
            return
        counted, total = _miscounted(self._rx_faults, frames, total)
        values[_GPRC] += counted
        self._count_bytes(_GORCL, _GORCH, total)
        values[_RX_BINS[size_bin(length)]] += frames
        if broadcast:
            values[_BPRC] += frames
        elif first & 1:
            values[_MPRC] += frames

    def delivered(self, queue: int, length: int, frames: int = 1) -> None:
        """Count frames delivered to a receive queue; `length` is their total in bytes, without CRC."""
        account = self.rx[queue]
        account.frames += frames
        account.bytes += length
        self._values[_RXDGPC] += frames
        self._count_bytes(_RXDGBCL, _RXDGBCH, length)
        number = self._values[_RQSMR[queue >> 2 & 31]] >> 8 * (queue & 3) & 0xF
        self._values[_QPRC[number]] += frames
        self._count_bytes(_QBRC_L[number], _QBRC_H[number], length)

    def dropped(self, queue: int) -> None:
        """Count a frame dropped for want of descriptors (SRRCTL.DROP_EN)."""
        self.rx[queue].dropped += 1
        number = self._values[_RQSMR[queue >> 2]] >> 8 * (queue & 3) & 0xF
        self.count(_QPRDC[number])

    def missed(self) -> None:
        """Count a frame missed because the packet buffer was full."""
        self.count_register(r.MPC)

    def sent(self, queue: int, frames: int, length: int) -> None:
        """Count frames of a transmit queue; `length` is their total in bytes, without CRC."""
        number = self._values[_TQSM[queue >> 2 & 31]] >> 8 * (queue & 3) & 0xF
        self._values[_QPTC[number]] += frames
        self._count_bytes(_QBTC_L[number], _QBTC_H[number], length)
        self._values[_TXDGPC] += frames
        self._count_bytes(_TXDGBCL, _TXDGBCH, length)

    def left_many(self, lengths: list[int], groups: list[bytes]) -> None:
        """Count frames transmitted on the wire, of `lengths` bytes without CRC; `groups`: those to group addresses."""
        for length, frames in tally(lengths).items():
            self.left(length + ETH_FCS_LEN, _UNICAST, frames)
        if groups:
            broadcasts = groups.count(BROADCAST)
            self._values[_BPTC] += broadcasts
            self._values[_MPTC] += len(groups) - broadcasts

    def left(self, length: int, destination: bytes, frames: int = 1) -> None:
        """Count frames transmitted on the wire, each of `length` bytes with CRC."""
        values = self._values
        values[_TPT] += frames
        counted, total = _miscounted(self._tx_faults, frames, length * frames)
        values[_GPTC] += counted
        self._count_bytes(_GOTCL, _GOTCH, total)
        values[_TX_BINS[size_bin(length)]] += frames
        if destination[0] & 1:
            values[_BPTC if destination == BROADCAST else _MPTC] += frames
