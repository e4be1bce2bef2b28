# SPDX-License-Identifier: MIT
"""Receive queue selection by VLAN priority, and DMA channel selection by RSS, by address, or fixed.

Source: Agilex 5 HPS TRM (Intel 814346), chapter 5.1.6 (queue and channel selection), MAC_RSS_*; the order of the key's
registers is from Linux, drivers/net/ethernet/amd/xgbe/xgbe-dev.c (xgbe_write_rss_hash_key): register 9 holds the key's
first four bytes, register 0 its last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nicmodels.models.xgbe.registers import mac, mtl
from nicmodels.offload.rss import HashType, Scaling

if TYPE_CHECKING:
    from nicmodels.faults.points import FaultPoints
    from nicmodels.models.xgbe.filters import Filters
    from nicmodels.offload.headers import Headers
    from nicmodels.registers import RegisterFile

RSSE, IP2TE, TCP4TE, UDP4TE = 1, 2, 4, 8
BUSY, READ, KEY = 1, 2, 4
KEY_WORDS, TABLE = 10, 256
DYNAMIC = 1 << 7
ENABLED = 2
MULTICAST_QUEUE = 1 << 15


class Target(NamedTuple):
    """The destination of a frame.

    Attributes:
        queue: the receive queue; None if it is not enabled.
        channel: the DMA channel.
        hash: the RSS hash; None if none was computed.
    """

    queue: int | None
    channel: int = 0
    hash: int | None = None


class Steering:
    """Queue and channel selection, and the indirect access to hash key and indirection table."""

    def __init__(self, file: RegisterFile, faults: FaultPoints, filters: Filters, channels: int) -> None:
        self._file = file
        self._filters = filters
        self._channels = channels
        self._wrong_queue = faults["rx.rss.queue"]
        self._key = [0] * KEY_WORDS
        self._table = [0] * TABLE
        self._scaling: Scaling | None = None
        file.on_write(mac.RSSAR, self._write_address)
        file.on_write(mac.RSSCR, self._write_control)

    def reset(self) -> None:
        """Clear key and table."""
        self._key = [0] * KEY_WORDS
        self._table = [0] * TABLE
        self._scaling = None

    def _write_address(self, _index: int, value: int) -> None:
        """An access to key or table completes at once, so OB reads as 0."""
        self._file[mac.RSSAR] = value & ~BUSY
        if not value & BUSY:
            return
        index = value >> 8 & 0xFF
        memory = self._key if value & KEY else self._table
        if index >= len(memory):
            return
        if value & READ:
            self._file[mac.RSSDR] = memory[index]
        else:
            memory[index] = self._file[mac.RSSDR] & (0xFFFF_FFFF if value & KEY else 0xF)
            self._scaling = None

    def _write_control(self, _index: int, value: int) -> None:
        self._file[mac.RSSCR] = value & 0xF
        self._scaling = None

    def _current(self) -> Scaling:
        if self._scaling is None:
            control = self._file[mac.RSSCR]
            types = HashType.NONE
            if control & IP2TE:
                types |= HashType.IPV4 | HashType.IPV6
            if control & TCP4TE:
                types |= HashType.TCP_IPV4 | HashType.TCP_IPV6
            if control & UDP4TE:
                types |= HashType.UDP_IPV4 | HashType.UDP_IPV6
            key = b"".join(word.to_bytes(4, "little") for word in reversed(self._key))
            self._scaling = Scaling(key, types, list(self._table))
        return self._scaling

    def target(self, frame: memoryview, headers: Headers, tci: int | None) -> Target:
        """Queue, channel and hash of a frame that passed the filters; `tci` is its tag."""
        queue = self._queue(frame, tci)
        if self._file[mac.RQC0R] >> 2 * queue & 3 != ENABLED:
            return Target(None)
        mapping = self._file[mtl.RQDCMR, queue >> 2] >> 8 * (queue & 3) & 0xFF
        if not mapping & DYNAMIC:
            return Target(queue, min(mapping & 0xF, self._channels - 1))
        if self._file[mac.RSSCR] & RSSE:
            choice = self._current().choose(frame, headers)
            if choice is not None:
                channel = choice.entry
                if self._wrong_queue.armed and self._wrong_queue.fires(queue=channel):
                    channel = self._next(channel)
                return Target(queue, min(channel, self._channels - 1), choice.hash)
        index = self._filters.matching(bytes(frame[:6]))
        channel = self._file[mac.MACAHR, index] >> 16 & 0xF if index is not None else 0
        return Target(queue, min(channel, self._channels - 1))

    def _queue(self, frame: memoryview, tci: int | None) -> int:
        control = self._file[mac.RQC1R]
        if frame[0] & 1 and control & MULTICAST_QUEUE:
            return min(control >> 8 & 0xF, self._channels - 1)
        if tci is not None:
            priority = 1 << (tci >> 13)
            for queue in range(min(self._channels, 8)):
                if self._file[mac.RQC2R, queue >> 2] >> 8 * (queue & 3) & priority:
                    return queue
        return min(control & 0xF, self._channels - 1)

    def _next(self, channel: int) -> int:
        """The next channel in the indirection table, which the driver uses too."""
        used = sorted(set(self._table))
        return used[(used.index(channel) + 1) % len(used)] if channel in used else channel
