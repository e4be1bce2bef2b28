# SPDX-License-Identifier: MIT
"""The PTP hardware clock, and the timestamps of one frame in each direction.

Source: 82599 datasheet, section 7.9 (time sync), 8.2.3.26 (its registers). A timestamp is kept until its high half is read; until
then no other frame of that direction is timestamped.
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
"""Message types of version 2 below this value are event messages."""
ETQF_1588, ETQF_ENABLE = 1 << 30, 1 << 31
PERIODS = {10000: 6.4e-9, 1000: 64e-9}
"""Period in seconds of the clock that SYSTIM counts, by Mbit/s; without a link that of 10 Gb/s."""
IDENTITY, SEQUENCE = 22, 30
"""Offsets in a message: sourceUuid (version 1) or the end of sourcePortIdentity (version 2), and sequenceId."""


class SystemTime:
    """SYSTIM, TSYNCRXCTL and TSYNCTXCTL, and the timestamps.

    Args:
        speed: of the link, Mbit/s; 0 without a link.
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
        """Stop the clock at 0: a reset clears TIMINCA."""
        self._time = 0
        self._since = self._clock.now()

    def link_changed(self) -> None:
        """Count with the clock of the new link speed."""
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

    # Timestamps

    def _write_control(self, register: Register, value: int) -> None:
        """The valid bit is read-only."""
        self._file[register] = value & ~VALID | self._file[register] & VALID

    def _take(self, high: Register, control: Register) -> int:
        """Reading the high half releases the timestamp for the next frame."""
        self._file[control] &= ~VALID
        return self._file[high]

    def transmitted(self) -> None:
        """A frame was transmitted whose descriptor requests a timestamp."""
        late = self._timestamp_faults.lateness("tx") if self._file[r.TSYNCTXCTL] & (ENABLE | VALID) == ENABLE else None
        if late is not None:
            self._keep(r.TXSTMPL, r.TXSTMPH, r.TSYNCTXCTL, late)

    @property
    def enabled(self) -> bool:
        """Whether received frames are timestamped."""
        return bool(self._file[r.TSYNCRXCTL] & ENABLE)

    @property
    def listens(self) -> bool:
        """Whether a frame received now may be timestamped."""
        return self._file[r.TSYNCRXCTL] & (ENABLE | VALID) == ENABLE

    def received(self, frame: memoryview, headers: Headers) -> bool:
        """A frame was received while `listens`; returns whether it was timestamped."""
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
        """The PTP message in a frame, if its type, version and layer are timestamped."""
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
        """Whether an EtherType filter passes PTP frames to the time sync logic."""
        wanted = ETQF_ENABLE | ETQF_1588 | ptp.ETHERTYPE
        mask = ETQF_ENABLE | ETQF_1588 | 0xFFFF
        return any(self._file[filters.ETQF, index] & mask == wanted for index in range(filters.ETQF.total))
