# SPDX-License-Identifier: MIT
"""The PTP hardware clock and the timestamps of frames.

Source: Agilex 5 HPS TRM (Intel 814346), MAC_Timestamp_Control (with the table of SNAPTYPSEL, TSMSTRENA and TSEVNTENA),
MAC_Sub_Second_Increment, MAC_Timestamp_Addend.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicmodels.faults.frames import TimestampFaults
from nicmodels.models.xgbe.registers import mac as r
from nicmodels.offload import ptp

if TYPE_CHECKING:
    from nicmodels.models.xgbe.interrupts import InterruptBlock
    from nicmodels.nic.device import Host
    from nicmodels.offload.headers import Headers
    from nicmodels.registers import RegisterFile

CLOCK = 125_000_000
"""Hertz: the PTP reference clock (Linux, xgbe.h, XGBE_V2_PTP_CLOCK_FREQ)."""
TSENA, FINE, INIT, UPDATE, ADDEND_UPDATE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 5
ALL, DIGITAL, VERSION_2, ETHERNET, IPV6, IPV4, EVENTS, MASTER = (1 << bit for bit in range(8, 16))
SNAPSHOT_SHIFT = 16
OVERWRITE, AV8021AS = 1 << 24, 1 << 28
SUBTRACT, MISSED = 1 << 31, 1 << 31
CAPTURED = 1 << 15
SECOND = 1_000_000_000
BINARY_SECOND = 1 << 31
SYNC_AND_DELAY, PATH_DELAY = 2, 3
"""Values of SNAPTYPSEL that do not depend on TSEVNTENA and TSMSTRENA."""


class SystemTime:
    """Seconds and nanoseconds, counted by a 32-bit accumulator, which adds SSIR at each overflow."""

    def __init__(self, file: RegisterFile, host: Host, interrupts: InterruptBlock) -> None:
        self._file = file
        self._clock = host.clock
        self._interrupts = interrupts
        self._stopped = host.faults["device.time.stopped"]
        self._timestamp_faults = TimestampFaults(host.faults)
        self._base = 0
        self._since = host.clock.now()
        file.on_write(r.TSCR, self._write_control)
        file.on_write(r.SSIR, self._write_increment)
        file.on_read(r.STSR, lambda _index: self.split()[0], peek=lambda _index: self.split()[0])
        file.on_read(r.STNR, lambda _index: self.split()[1], peek=lambda _index: self.split()[1])
        file.on_read(r.TXSSR, self._read_seconds, peek=lambda _index: file[r.TXSSR])

    def reset(self) -> None:
        """Stop the clock at 0."""
        self._base = 0
        self._since = self._clock.now()
        self._addend = 0

    def now(self) -> int:
        """The time in nanoseconds."""
        elapsed = self._clock.now() - self._since
        if not self._file[r.TSCR] & TSENA or (self._stopped.armed and self._stopped.fires()):
            return self._base
        steps = elapsed * CLOCK
        if self._file[r.TSCR] & FINE:
            steps = steps * self._addend / (1 << 32)
        increment = self._file[r.SSIR] >> 8
        step = (increment >> 8 & 0xFF) + (increment & 0xFF) / 256
        if not self._file[r.TSCR] & DIGITAL:
            step *= SECOND / BINARY_SECOND
        return self._base + int(steps * step)

    _addend = 0

    def split(self, late: int = 0) -> tuple[int, int]:
        """Seconds and sub-seconds in the registers' format, `late` nanoseconds from now."""
        seconds, nanoseconds = divmod(self.now() + late, SECOND)
        if not self._file[r.TSCR] & DIGITAL:
            nanoseconds = nanoseconds * BINARY_SECOND // SECOND
        return seconds & 0xFFFF_FFFF, nanoseconds

    def _rebase(self, value: int | None = None) -> None:
        self._base = self.now() if value is None else value
        self._since = self._clock.now()

    def _given(self) -> tuple[int, int]:
        """The update registers' seconds and nanoseconds, without the sign."""
        nanoseconds = self._file[r.STNUR] & ~SUBTRACT
        if not self._file[r.TSCR] & DIGITAL:
            nanoseconds = nanoseconds * SECOND // BINARY_SECOND
        return self._file[r.STSUR], nanoseconds

    def _write_control(self, _index: int, value: int) -> None:
        """INIT, UPDATE and the addend's update are self-clearing and complete at once."""
        self._rebase()
        self._file[r.TSCR] = value & ~(INIT | UPDATE | ADDEND_UPDATE)
        seconds, nanoseconds = self._given()
        if value & ADDEND_UPDATE:
            self._addend = self._file[r.TSAR]
        if value & INIT:
            self._rebase(seconds * SECOND + nanoseconds)
        elif value & UPDATE:
            # To subtract, seconds are in two's complement and nanoseconds are the complement to a second.
            if self._file[r.STNUR] & SUBTRACT:
                signed = seconds - (1 << 32) if seconds >> 31 else seconds
                self._rebase(max(self.now() + signed * SECOND - (SECOND - nanoseconds), 0))
            else:
                self._rebase(self.now() + seconds * SECOND + nanoseconds)

    def _write_increment(self, _index: int, value: int) -> None:
        self._rebase()
        self._file[r.SSIR] = value & 0xFF_FF00

    def _read_seconds(self, _index: int) -> int:
        """Reading the seconds releases the timestamp for the next frame."""
        value = self._file[r.TXSSR]
        self._file[r.TSSR] &= ~CAPTURED
        self._interrupts.mac_changed()
        return value

    def transmitted(self) -> None:
        """A frame was transmitted whose descriptor requests a timestamp."""
        if not self._file[r.TSCR] & TSENA:
            return
        if self._file[r.TSSR] & CAPTURED and not self._file[r.TSCR] & OVERWRITE:
            self._file[r.TXSNR] |= MISSED
            return
        late = self._timestamp_faults.lateness("tx")
        if late is None:
            return
        self._file[r.TXSSR], self._file[r.TXSNR] = self.split(late)
        self._file[r.TSSR] |= CAPTURED
        self._interrupts.mac_changed()

    @property
    def enabled(self) -> bool:
        """Whether received frames may be timestamped."""
        return bool(self._file[r.TSCR] & TSENA)

    def received(self, frame: memoryview, headers: Headers) -> tuple[int, int] | None:
        """The timestamp of a received frame, or None if it gets none."""
        control = self._file[r.TSCR]
        if not control & TSENA or not (control & ALL or self._wanted(frame, headers, control)):
            return None
        late = self._timestamp_faults.lateness("rx")
        return None if late is None else self.split(late)

    @staticmethod
    def _wanted(frame: memoryview, headers: Headers, control: int) -> bool:
        message = ptp.find(frame, headers)
        if message is None or message.version != (2 if control & (VERSION_2 | AV8021AS) else 1):
            return False
        if message.layer == ptp.ETHERNET:
            if not control & (ETHERNET | AV8021AS):
                return False
        elif control & AV8021AS or not control & (IPV4 if message.layer == 4 else IPV6):
            return False
        return message.kind in snapshots(control)


def snapshots(control: int) -> frozenset[int]:
    """The message types timestamped with SNAPTYPSEL, TSEVNTENA and TSMSTRENA."""
    snapshot = control >> SNAPSHOT_SHIFT & 3
    if snapshot == SYNC_AND_DELAY:
        return frozenset({ptp.SYNC, ptp.DELAY_REQUEST})
    path_delay = frozenset({ptp.PDELAY_REQUEST, ptp.PDELAY_RESPONSE})
    if snapshot == PATH_DELAY:
        return path_delay
    if control & EVENTS:
        found = frozenset({ptp.DELAY_REQUEST if control & MASTER else ptp.SYNC})
        return found | path_delay if snapshot else found
    found = frozenset({ptp.SYNC, ptp.FOLLOW_UP, ptp.DELAY_REQUEST, ptp.DELAY_RESPONSE})
    return found | path_delay | {ptp.PDELAY_FOLLOW_UP} if snapshot else found
