# SPDX-License-Identifier: MIT
"""The statistics registers, and the model's own account, which does not depend on them.

Source: 82599 datasheet, section 8.2.3.23: counters stick at their maximum and clear when read; octet counters have 36
bits and cover a frame from the destination address to the CRC.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from nicmodels.models.ixgbe.registers import REGISTERS
from nicmodels.models.ixgbe.registers import statistics as r
from nicmodels.nic.account import RxAccount, TxAccount

if TYPE_CHECKING:
    from nicmodels.faults.points import Fault, FaultPoints
    from nicmodels.registers import Register, RegisterFile

QUEUES = 128
MAXIMUM = 0xFFFF_FFFF
HIGH_MAXIMUM = 0xF


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


def _miscounted(faults: tuple[Fault, Fault], frames: int, octets: int) -> tuple[int, int]:
    """What counters of good frames and octets make of these: the same, but for faults "doubled" and "bytes"."""
    doubled, more = faults
    if doubled.armed and doubled.fires():
        frames, octets = 2 * frames, 2 * octets
    if more.armed and more.fires():
        octets += frames
    return frames, octets


class Statistics:
    """Counts frames, twice: in the registers and in the account.

    Attributes:
        rx, tx: the account, by queue.
        dma_errors: how often a queue was given an address that is not there.
    """

    def __init__(self, file: RegisterFile, faults: FaultPoints) -> None:
        self.rx = [RxAccount() for _ in range(QUEUES)]
        self.tx = [TxAccount() for _ in range(QUEUES)]
        self.dma_errors = 0
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

    def _count_octets(self, low: int, high: int, amount: int) -> None:
        values = self._values
        total = values[low] + amount
        if total > MAXIMUM:
            carried = values[high] + (total >> 32)
            values[high] = min(carried, HIGH_MAXIMUM)
            total &= MAXIMUM
        values[low] = total

    def arrived(self, length: int, first: int, *, broadcast: bool, passed: bool, frames: int = 1) -> None:
        """Good frames on the wire, before (`passed` false) or after the address filters.

        Args:
            length: of each, with CRC.
            first: the first byte of the destination address.
            broadcast: whether the destination is the broadcast address.
            passed: whether a filter let them in.
            frames: how many.
        """
        values = self._values
        octets = length * frames
        values[_TPR] += frames
        self._count_octets(_TORL, _TORH, octets)
        values[_RXNFGPC] += frames
        self._count_octets(_RXNFGBCL, _RXNFGBCH, octets)
        if not passed:
            return
        counted, octets = _miscounted(self._rx_faults, frames, octets)
        values[_GPRC] += counted
        self._count_octets(_GORCL, _GORCH, octets)
        values[_RX_BINS[size_bin(length)]] += frames
        if broadcast:
            values[_BPRC] += frames
        elif first & 1:
            values[_MPRC] += frames

    def delivered(self, queue: int, octets: int, frames: int = 1) -> None:
        """Frames of so many bytes (without CRC) in all went to a receive queue."""
        account = self.rx[queue]
        account.frames += frames
        account.bytes += octets
        self._values[_RXDGPC] += frames
        self._count_octets(_RXDGBCL, _RXDGBCH, octets)
        number = self._values[_RQSMR[queue >> 2 & 31]] >> 8 * (queue & 3) & 0xF
        self._values[_QPRC[number]] += frames
        self._count_octets(_QBRC_L[number], _QBRC_H[number], octets)

    def dropped(self, queue: int) -> None:
        """A frame for a queue without descriptors was dropped (SRRCTL.DROP_EN)."""
        self.rx[queue].dropped += 1
        number = self._values[_RQSMR[queue >> 2]] >> 8 * (queue & 3) & 0xF
        self.count(_QPRDC[number])

    def missed(self) -> None:
        """The packet buffer was full."""
        self.count_register(r.MPC)

    def sent(self, queue: int, frames: int, octets: int) -> None:
        """Frames of a transmit queue left; octets without CRC."""
        number = self._values[_TQSM[queue >> 2 & 31]] >> 8 * (queue & 3) & 0xF
        self._values[_QPTC[number]] += frames
        self._count_octets(_QBTC_L[number], _QBTC_H[number], octets)
        self._values[_TXDGPC] += frames
        self._count_octets(_TXDGBCL, _TXDGBCH, octets)

    def left(self, length: int, destination: bytes, frames: int = 1) -> None:
        """Frames of `length` bytes (with CRC) each went over the wire."""
        values = self._values
        values[_TPT] += frames
        counted, octets = _miscounted(self._tx_faults, frames, length * frames)
        values[_GPTC] += counted
        self._count_octets(_GOTCL, _GOTCH, octets)
        values[_TX_BINS[size_bin(length)]] += frames
        if destination[0] & 1:
            values[_BPTC if destination == b"\xff\xff\xff\xff\xff\xff" else _MPTC] += frames

    def describe(self) -> dict[str, list[dict[str, int]]]:
        """The account as JSON values."""
        return {"rx": [asdict(each) for each in self.rx], "tx": [asdict(each) for each in self.tx]}
