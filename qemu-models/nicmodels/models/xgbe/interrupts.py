# SPDX-License-Identifier: MIT
"""The interrupt block: levels in, messages out.

There are four lines (MAC and DMA, ECC, I2C, auto-negotiation) and one per DMA channel, each with its own MSI-X vector. A
rising edge sends the line's message if XP_INT_EN enables it; XP_INT_REISSUE_EN sends it again if the line is still active.
Source: Linux, drivers/net/ethernet/amd/xgbe/xgbe-pci.c (order of the vectors), xgbe-drv.c and xgbe-mdio.c (reissue);
Agilex 5 HPS TRM (Intel 814346), DMA_Mode.INTM: which line a channel's causes drive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicmodels.models.xgbe.registers import REGISTERS, dma, mac, mmc, mtl
from nicmodels.models.xgbe.registers import properties as xp
from nicmodels.vfio_user.interrupts import InterruptMode

if TYPE_CHECKING:
    from collections.abc import Callable

    from nicmodels.faults.points import Fault
    from nicmodels.nic.device import Host
    from nicmodels.registers import RegisterFile

DEVICE, ECC, I2C, AN, CHANNEL = 0, 1, 2, 3, 4
"""Lines; `CHANNEL` is that of the first channel."""
TI, TPS, TBU, RI, RBU, RPS, FBE = 1 << 0, 1 << 1, 1 << 2, 1 << 6, 1 << 7, 1 << 8, 1 << 12
AIS, NIS = 1 << 14, 1 << 15
NORMAL = TI | RI | TBU
ABNORMAL = TPS | RBU | RPS | FBE
COMPLETION = TI | RI
MTLIS, MACIS = 1 << 16, 1 << 17
SMI, MMCRXIS, MMCTXIS, TSIS = 1 << 1, 1 << 9, 1 << 10, 1 << 12
_SR = tuple(REGISTERS.offset(dma.SR, index) >> 2 for index in range(dma.CHANNELS))
_IER = tuple(REGISTERS.offset(dma.IER, index) >> 2 for index in range(dma.CHANNELS))
_QUEUES = tuple(
    (REGISTERS.offset(mtl.Q_ISR, index) >> 2, REGISTERS.offset(mtl.Q_IER, index) >> 2)
    for index in range(min(mtl.Q_ISR.total, mtl.Q_IER.total))
)
_MAC = tuple(
    (REGISTERS.offset(status) >> 2, REGISTERS.offset(enable) >> 2, bit)
    for status, enable, bit in (
        (mac.MDIOISR, mac.MDIOIER, SMI),
        (mmc.RISR, mmc.RIER, MMCRXIS),
        (mmc.TISR, mmc.TIER, MMCTXIS),
    )
)
_TSSR, _MAC_IER = REGISTERS.offset(mac.TSSR) >> 2, REGISTERS.offset(mac.IER) >> 2
"""Places of registers that each interrupt looks at."""


class InterruptBlock:
    """Turns causes into interrupts.

    Attributes:
        raised: how often each vector was signalled; INTx and MSI count as vector 0.
    """

    def __init__(self, file: RegisterFile, host: Host, channels: int) -> None:
        self.raised = [0] * (CHANNEL + channels)
        self._file = file
        self._values = file.values
        self._host = host
        self._channels = channels
        self._lost = host.faults["interrupt.vector.lost"]
        self._repeated = host.faults["interrupt.vector.repeated"]
        self._levels = 0
        self._mode = 0
        self._gates: dict[int, Callable[[bool], bool]] = {}
        file.on_write(dma.IER, self._write_enable)
        file.on_write(dma.SR, self._write_status)
        file.on_read(dma.ISR, self._read_isr, peek=self._read_isr)
        file.on_read(mac.ISR, self._read_mac, peek=self._read_mac)
        file.on_write(mac.IER, self._write_mac_enable)
        file.on_write(mac.MDIOIER, self._write_mdio_enable)
        file.on_read(mac.MDIOISR, self._read_mdio, peek=lambda _index: file[mac.MDIOISR])
        file.on_write(mtl.Q_IER, self._write_queue_enable)
        file.on_write(mmc.RIER, self._write_mmc_receive_enable)
        file.on_write(mmc.TIER, self._write_mmc_transmit_enable)
        file.on_write(xp.INT_EN, self._write_lines)
        file.on_write(xp.INT_REISSUE_EN, self._reissue)
        file.on_write(xp.ECC_ISR, self._write_ecc)
        file.on_write(xp.ECC_IER, self._write_ecc_enable)

    def gate(self, line: int, may_send: Callable[[bool], bool]) -> None:
        """Call `may_send(again)` before each message of a line, with `again` for a reissue; a fault returns false."""
        self._gates[line] = may_send

    def reset(self) -> None:
        """Deactivate the lines of the Ethernet core; the register file has been reset."""
        self._mode = 0
        for line in (DEVICE, *range(CHANNEL, CHANNEL + self._channels)):
            self.level(line, active=False)

    def power_on(self) -> None:
        """Deactivate all lines."""
        self._levels = 0
        self._mode = 0
        self._host.interrupts.intx(False)

    def level(self, line: int, *, active: bool) -> None:
        """Drive a line; a rising edge sends its message."""
        bit = 1 << line
        if not active:
            if self._levels & bit:
                self._levels &= ~bit
                if self._host.interrupts.level and not self._levels & self._file[xp.INT_EN]:
                    self._host.interrupts.intx(False)
            return
        if not self._levels & bit:
            self._levels |= bit
            self._send(line)

    def event(self, channel: int, causes: int) -> None:
        """Set causes of a channel."""
        values = self._values
        values[_SR[channel]] |= causes
        if self._mode == 0 and causes & COMPLETION:
            # Without INTM the channel's line pulses for each completion, enabled or not.
            self._send(CHANNEL + channel)
        self._update(channel)

    def mac_changed(self) -> None:
        """A cause of the MAC or of its counters changed."""
        self.level(DEVICE, active=bool(self._device()))

    # Lines

    def _active(self, channel: int) -> int:
        """The causes of a channel that are set and enabled, with their summaries."""
        enabled = self._values[_IER[channel]]
        causes = self._values[_SR[channel]] & enabled
        active = 0
        if enabled & NIS:
            active |= causes & NORMAL
        if enabled & AIS:
            active |= causes & ABNORMAL
        return active

    def _update(self, channel: int) -> None:
        values = self._values
        enabled = values[_IER[channel]]
        causes = values[_SR[channel]] & enabled
        if causes & NORMAL:
            values[_SR[channel]] |= NIS
        if causes & ABNORMAL:
            values[_SR[channel]] |= AIS
        active = self._active(channel)
        if self._mode:
            self.level(CHANNEL + channel, active=bool(active & COMPLETION))
        # The device's line combines all channels, so it is computed as a whole.
        self.level(DEVICE, active=bool(self._device()))

    def _device(self) -> int:
        """DMA_ISR, without the causes that have their own lines in this mode."""
        hidden = COMPLETION if self._mode else 0
        status = 0
        values = self._values
        for channel in range(self._channels):
            if values[_SR[channel]] and self._active(channel) & ~hidden:
                status |= 1 << channel
        return status | self._above()

    def _above(self) -> int:
        status = MACIS if self._mac() else 0
        values = self._values
        for state, enable in _QUEUES[: self._channels]:
            if values[state] & values[enable]:
                return status | MTLIS
        return status

    def _read_isr(self, _index: int) -> int:
        status = self._above()
        for channel in range(self._channels):
            if self._active(channel):
                status |= 1 << channel
        return status

    def _mac(self) -> int:
        """MAC_ISR."""
        values = self._values
        status = TSIS if values[_TSSR] and values[_MAC_IER] & TSIS else 0
        for state, enable, bit in _MAC:
            if values[state] & values[enable]:
                status |= bit
        return status

    def _read_mac(self, _index: int) -> int:
        return self._mac()

    def _read_mdio(self, _index: int) -> int:
        """Reading clears."""
        value = self._file[mac.MDIOISR]
        self._file[mac.MDIOISR] = 0
        self.mac_changed()
        return value

    # Messages

    def _send(self, line: int, *, again: bool = False) -> None:
        if not self._file[xp.INT_EN] >> line & 1:
            return
        may_send = self._gates.get(line)
        if may_send is None or may_send(again):
            self._message(line)

    def _message(self, line: int) -> None:
        interrupts = self._host.interrupts
        mode = interrupts.mode
        vector = line if mode is InterruptMode.MSIX else 0
        if self._lost.armed and self._lost.fires(vector=vector):
            return
        if mode is InterruptMode.INTX:
            if not interrupts.level:
                self.raised[0] += 1
                interrupts.intx(True)
            return
        for _ in range(2 if self._repeated.armed and self._repeated.fires(vector=vector) else 1):
            self.raised[vector] += 1
            if mode is InterruptMode.MSIX:
                interrupts.msix(vector)
            else:
                interrupts.msi()

    def repeat(self, line: int, fault: Fault) -> None:
        """Send a line's message though the line is not active, if it sends messages and the fault fires."""
        sends = self._host.interrupts.mode is not InterruptMode.INTX and self._file[xp.INT_EN] >> line & 1
        if sends and fault.fires():
            self._message(line)

    def reissue(self, line: int) -> None:
        """Send a line's message again if it is still active."""
        self._reissue(0, 1 << line)

    def _reissue(self, _index: int, value: int) -> None:
        """Send the messages of active lines again; the register stores nothing."""
        value &= self._levels
        while value:
            low = value & -value
            self._send(low.bit_length() - 1, again=True)
            value ^= low

    # Registers

    def _write_lines(self, _index: int, value: int) -> None:
        before = self._file[xp.INT_EN]
        self._file[xp.INT_EN] = value & xp.INT_EN.writable
        self._reissue(0, value & ~before)
        if self._host.interrupts.level and not self._levels & self._file[xp.INT_EN]:
            self._host.interrupts.intx(False)

    def _write_enable(self, channel: int, value: int) -> None:
        self._file[dma.IER, channel] = value
        if channel < self._channels:
            self._update(channel)

    def _write_status(self, channel: int, value: int) -> None:
        self._values[_SR[channel]] &= ~value
        if channel < self._channels:
            active = self._active(channel)
            if self._mode:
                self.level(CHANNEL + channel, active=bool(active & COMPLETION))
            self.level(DEVICE, active=bool(self._device()))

    def write_mode(self, value: int) -> None:
        """DMA_MR.INTM; the reset bit is handled by the device."""
        self._file[dma.MR] = value & ~1
        self._mode = value >> 12 & 3
        for channel in range(self._channels):
            self._update(channel)

    def _write_mac_enable(self, _index: int, value: int) -> None:
        self._file[mac.IER] = value
        self.mac_changed()

    def _write_mdio_enable(self, _index: int, value: int) -> None:
        self._file[mac.MDIOIER] = value
        self.mac_changed()

    def _write_queue_enable(self, queue: int, value: int) -> None:
        self._file[mtl.Q_IER, queue] = value
        self.mac_changed()

    def _write_mmc_receive_enable(self, _index: int, value: int) -> None:
        self._file[mmc.RIER] = value
        self.mac_changed()

    def _write_mmc_transmit_enable(self, _index: int, value: int) -> None:
        self._file[mmc.TIER] = value
        self.mac_changed()

    def _write_ecc(self, _index: int, value: int) -> None:
        self._file[xp.ECC_ISR] &= ~value
        self._ecc_changed()

    def _write_ecc_enable(self, _index: int, value: int) -> None:
        self._file[xp.ECC_IER] = value & xp.ECC_IER.writable
        self._ecc_changed()

    def _ecc_changed(self) -> None:
        self.level(ECC, active=bool(self._file[xp.ECC_ISR] & self._file[xp.ECC_IER]))
