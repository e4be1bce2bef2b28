# SPDX-License-Identifier: MIT
"""The system time, and the time stamps of one frame each way.

Source: 82599 datasheet, section 7.9 (time sync), 8.2.3.26 (its registers). A stamp is kept until its high half is read; until
then no other frame of that direction gets one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicmodels.faults.frames import TimestampFaults
from nicmodels.models.ixgbe.registers import filters
from nicmodels.models.ixgbe.registers import security as r
from nicmodels.offload import ptp

if TYPE_CHECKING:
    from collections.abc import Callable

    from nicmodels.nic.device import Host
    from nicmodels.offload.headers import Headers
    from nicmodels.registers import Register, RegisterFile

VALID, ENABLE = 1, 1 << 4
L2_V2, L4_V1, L2_L4_V2, EVENTS_V2 = 0, 1, 2, 5
"""TSYNCRXCTL.Type."""
FIRST_GENERAL = 8
"""Message types of version 2 below are of event messages."""
ETQF_1588, ETQF_ENABLE = 1 << 30, 1 << 31
PERIODS = {10000: 6.4e-9, 1000: 64e-9}
"""Seconds of the clock that SYSTIM counts, by Mbit/s; that of 10 Gb/s also without a link."""
IDENTITY, SEQUENCE = 22, 30
"""Where sourceUuid (version 1) and the end of sourcePortIdentity (version 2) begin in a message, and its sequenceId."""


class SystemTime:
    """SYSTIM, TSYNCRXCTL and TSYNCTXCTL, and the stamps.

    Args:
        speed: of the link, Mbit/s; 0 without one.
    """

    def __init__(self, file: RegisterFile, host: Host, speed: Callable[[], int]) -> None:
        self._file = file
        self._clock = host.clock
        self._speed = speed
        self._stopped = host.faults["device.time.stopped"]
        self._timestamp_faults = TimestampFaults(host.faults)
        self._time = 0
        self._since = host.clock.now()
        self._period = PERIODS[10000]
        file.on_read(r.SYSTIML, lambda _index: self._now() & 0xFFFF_FFFF, peek=lambda _index: self._now() & 0xFFFF_FFFF)
        file.on_read(r.SYSTIMH, lambda _index: self._now() >> 32, peek=lambda _index: self._now() >> 32)
        file.on_write(r.SYSTIML, lambda _index, value: self._set(self._now() >> 32 << 32 | value))
        file.on_write(r.SYSTIMH, lambda _index, value: self._set(self._now() & 0xFFFF_FFFF | value << 32))
        file.on_write(r.TIMINCA, self._write_increment)
        file.on_write(r.TIMADJH, self._adjust)
        file.on_write(r.TSYNCRXCTL, lambda _index, value: self._write_control(r.TSYNCRXCTL, value))
        file.on_write(r.TSYNCTXCTL, lambda _index, value: self._write_control(r.TSYNCTXCTL, value))
        file.on_read(r.RXSTMPH, lambda _index: self._take(r.RXSTMPH, r.TSYNCRXCTL), peek=lambda _i: file[r.RXSTMPH])
        file.on_read(r.TXSTMPH, lambda _index: self._take(r.TXSTMPH, r.TSYNCTXCTL), peek=lambda _i: file[r.TXSTMPH])

    def reset(self) -> None:
        """Time zero, standing still: a reset clears TIMINCA."""
        self._time = 0
        self._since = self._clock.now()

    def link_changed(self) -> None:
        """From now on the time counts another clock."""
        self._set(self._now())
        self._period = PERIODS.get(self._speed(), PERIODS[10000])

    # Time

    def _now(self, late: int = 0) -> int:
        """SYSTIM, `late` nanoseconds from now."""
        if self._stopped:
            return self._time
        increment = self._file[r.TIMINCA]
        period = self._period * (increment >> 24 or 1)
        elapsed = int((self._clock.now() - self._since + late * 1e-9) / period)
        return self._time + elapsed * (increment & 0xFF_FFFF) & (1 << 64) - 1

    def _set(self, value: int) -> None:
        self._time = value
        self._since = self._clock.now()

    def _write_increment(self, _index: int, value: int) -> None:
        self._set(self._now())
        self._file[r.TIMINCA] = value

    def _adjust(self, _index: int, value: int) -> None:
        """Writing TIMADJH adds the offset in TIMADJL and TIMADJH; bit 31 is its sign."""
        offset = (value & 0x7FFF_FFFF) << 32 | self._file[r.TIMADJL]
        self._set(self._now() - offset if value >> 31 else self._now() + offset)
        self._file[r.TIMADJH] = value

    # Stamps

    def _write_control(self, register: Register, value: int) -> None:
        """Whether there is a stamp is not for the driver to say."""
        self._file[register] = value & ~VALID | self._file[register] & VALID

    def _take(self, high: Register, control: Register) -> int:
        """Reading the high half takes the stamp: the next one may come."""
        self._file[control] &= ~VALID
        return self._file[high]

    def transmitted(self) -> None:
        """A frame left whose descriptor asks for its time."""
        late = self._timestamp_faults.lateness("tx") if self._file[r.TSYNCTXCTL] & (ENABLE | VALID) == ENABLE else None
        if late is not None:
            self._keep(r.TXSTMPL, r.TXSTMPH, r.TSYNCTXCTL, late)

    @property
    def listens(self) -> bool:
        """Whether a frame that comes now may be stamped."""
        return self._file[r.TSYNCRXCTL] & (ENABLE | VALID) == ENABLE

    def received(self, frame: memoryview, headers: Headers) -> bool:
        """A frame has come, while `listens`; whether it was stamped."""
        message = self._wanted(frame, headers)
        late = None if message is None else self._timestamp_faults.lateness("rx")
        if message is None or late is None:
            return False
        at = message.offset
        self._file[r.RXSATRL] = int.from_bytes(frame[at + IDENTITY : at + IDENTITY + 4], "big")
        identity = int.from_bytes(frame[at + IDENTITY + 4 : at + IDENTITY + 6], "big")
        self._file[r.RXSATRH] = int.from_bytes(frame[at + SEQUENCE : at + SEQUENCE + 2], "big") << 16 | identity
        self._keep(r.RXSTMPL, r.RXSTMPH, r.TSYNCRXCTL, late)
        return True

    def _keep(self, low: Register, high: Register, control: Register, late: int) -> None:
        now = self._now(late)
        self._file[low], self._file[high] = now & 0xFFFF_FFFF, now >> 32
        self._file[control] |= VALID

    def _wanted(self, frame: memoryview, headers: Headers) -> ptp.Message | None:
        """The message in a frame, if it is one that is stamped by type, version and layer."""
        selected = self._file[r.RXMTRL]
        message = ptp.find(frame, headers, selected >> 16)
        if message is None:
            return None
        over_ethernet = message.layer == ptp.ETHERNET
        if over_ethernet and not self._passes_to_1588():
            return None
        kind = self._file[r.TSYNCRXCTL] >> 1 & 7
        if kind == L4_V1:
            control = frame[message.offset + 32]
            return message if (message.version, over_ethernet, control) == (1, False, selected & 0xFF) else None
        if message.version != 2:
            return None
        if kind == EVENTS_V2:
            return message if message.kind < FIRST_GENERAL else None
        if kind not in (L2_V2, L2_L4_V2) or (kind == L2_V2 and not over_ethernet):
            return None
        return message if message.kind == selected >> 8 & 0xF else None

    def _passes_to_1588(self) -> bool:
        """Whether an EtherType filter hands PTP's frames to the time sync logic."""
        wanted = ETQF_ENABLE | ETQF_1588 | ptp.ETHERTYPE
        mask = ETQF_ENABLE | ETQF_1588 | 0xFFFF
        return any(self._file[filters.ETQF, index] & mask == wanted for index in range(filters.ETQF.total))
