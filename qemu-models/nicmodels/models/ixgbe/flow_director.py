# SPDX-License-Identifier: MIT
"""Flow director: perfect and signature filters that steer a flow to a queue.

Source: 82599 datasheet, section 7.1.2.7 (flow director filters, hash function), 8.2.3.21 (registers).
Commands complete at once. As in hardware a filter is looked up by its bucket: one with a wrong hash never matches.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from nicmodels.models.ixgbe.registers import filters as r
from nicmodels.offload.headers import SCTP, TCP, UDP

if TYPE_CHECKING:
    from nicmodels.faults.points import FaultPoints
    from nicmodels.offload.headers import Headers
    from nicmodels.registers import Register, RegisterFile

ADD, REMOVE, QUERY = 1, 2, 3
FILTER_VALID, CLEAR_TABLE, DROP, QUEUE_EN = 1 << 2, 1 << 8, 1 << 9, 1 << 15
INIT_DONE, PERFECT, REPORT_STATUS, REPORT_ALWAYS, DROP_NO_MATCH = 1 << 3, 1 << 4, 1 << 5, 1 << 7, 1 << 15
HASH_MASK = 0x7FFF
PERFECT_HASH_MASK = 0x1FFF
_L4_TYPE = {UDP: 1, TCP: 2, SCTP: 3}
_CACHE = 4096


class Match(NamedTuple):
    """The flow director's result for a frame.

    Attributes:
        queue: the queue; None if the filter has none.
        drop: the frame is dropped.
        identifier: the descriptor's value in place of the RSS hash; None unless status is reported.
    """

    queue: int | None
    drop: bool
    identifier: int | None


@dataclass
class _Filter:
    """A programmed filter: the command, and in perfect mode the tuple."""

    command: int
    hash: int
    flow: _Flow | None


class _Flow(NamedTuple):
    """The fields of a frame that filters compare, in the registers' format."""

    kind: int
    vlan: int
    source: int
    destination: int
    ports: int
    flex: int

    def hash(self, key: int) -> int:
        """The 16-bit hash with a 32-bit key (datasheet 7.1.2.7.15)."""
        head = self.kind << 16 | self.vlan
        high = self.ports ^ self.flex << 16
        for shift in range(0, 128, 32):
            high ^= (self.source ^ self.destination) >> shift & 0xFFFF_FFFF
        low = high >> 16 | (high & 0xFFFF) << 16
        high ^= head ^ head >> 16
        result = 0
        for bit in range(16):
            if bit == 1:
                low ^= head ^ head << 16 & 0xFFFF_FFFF
            if key >> bit & 1:
                result ^= low >> bit
            if key >> bit + 16 & 1:
                result ^= high >> bit
        return result & 0xFFFF


class FlowDirector:
    """The filter table and its lookup."""

    def __init__(self, file: RegisterFile, faults: FaultPoints) -> None:
        self._file = file
        self._ignored = faults["rx.flow-director.ignored"]
        self._filters: dict[tuple[int, int], _Filter] = {}
        self._matches: dict[_Flow, Match | None] = {}
        file.on_write(r.FDIRCTRL, self._write_control)
        file.on_write(r.FDIRCMD, self._write_command)
        for register in (r.FDIRM, r.FDIRSIP4M, r.FDIRDIP4M, r.FDIRTCPM, r.FDIRUDPM, r.FDIRSCTPM, r.FDIRIP6M):
            file.on_write(register, partial(self._write_mask, register))
        for register in (r.FDIRUSTAT, r.FDIRFSTAT, r.FDIRMATCH, r.FDIRMISS):
            file.on_read(register, partial(self._read_and_clear, register))
        self.reset()

    def reset(self) -> None:
        """Remove all filters and turn off."""
        self._filters.clear()
        self._matches.clear()
        self.enabled = False

    @property
    def flexible_offset(self) -> int:
        """Where in a frame the two flexible bytes are."""
        return (self._file[r.FDIRCTRL] >> 16 & 0x1F) * 2

    def match(self, frame: memoryview, headers: Headers, vlan: int) -> Match | None:
        """Match a frame; None if no filter matches.

        Args:
            frame: as received from the wire.
            headers: of the frame.
            vlan: its tag control information, 0 without a tag.
        """
        if self._ignored.armed and self._ignored.fires():
            return None
        if not headers.version or headers.fragment:
            return None
        flow = self._flow(frame, headers, vlan)
        if flow in self._matches:
            match = self._matches[flow]
        else:
            match = self._look_up(flow)
            if len(self._matches) >= _CACHE:
                self._matches.clear()
            self._matches[flow] = match
        self._count(r.FDIRMISS if match is None else r.FDIRMATCH, 1)
        if match is None and self._file[r.FDIRCTRL] & (PERFECT | DROP_NO_MATCH) == PERFECT | DROP_NO_MATCH:
            return Match(None, drop=True, identifier=None)
        return match

    def _flow(self, frame: memoryview, headers: Headers, vlan: int) -> _Flow:
        start = headers.l3_offset
        if headers.version == 4:
            source = int.from_bytes(frame[start + 12 : start + 16], "big")
            destination = int.from_bytes(frame[start + 16 : start + 20], "big")
        else:
            source = int.from_bytes(frame[start + 8 : start + 24], "big")
            destination = int.from_bytes(frame[start + 24 : start + 40], "big")
        kind = _L4_TYPE.get(headers.l4, 0) | (4 if headers.version == 6 else 0)
        ports = 0
        if headers.l4:
            ports = int.from_bytes(frame[headers.l4_offset : headers.l4_offset + 4], "big")
        offset = self.flexible_offset
        flex = int.from_bytes(frame[offset : offset + 2], "big")
        return _Flow(kind, vlan & 0xEFFF, source, destination, ports, flex)

    def _look_up(self, flow: _Flow) -> Match | None:
        control = self._file[r.FDIRCTRL]
        bucket_key, signature_key = self._file[r.FDIRHKEY], self._file[r.FDIRSKEY]
        if not control & PERFECT:
            vlan = flow._replace(vlan=flow.vlan & 0xFFF)
            bucket = vlan.hash(bucket_key) & HASH_MASK
            signature = vlan.hash(signature_key) & HASH_MASK
            found = self._filters.get((bucket & self._bucket_mask(), signature))
            return None if found is None else self._result(found, control)
        masked = self._masked(flow)
        bucket = masked.hash(bucket_key) & PERFECT_HASH_MASK
        for (place, _), each in self._filters.items():
            if place == bucket and each.flow == masked:
                return self._result(each, control)
        return None

    def _bucket_mask(self) -> int:
        return (1 << 12 + (self._file[r.FDIRCTRL] & 3 or 1)) - 1

    def _result(self, found: _Filter, control: int) -> Match:
        command = found.command
        queue = command >> 16 & 0x7F if command & QUEUE_EN else None
        identifier = found.hash & 0x7FFF_7FFF if control & (REPORT_STATUS | REPORT_ALWAYS) else None
        return Match(queue, bool(command & DROP), identifier)

    def _masked(self, flow: _Flow) -> _Flow:
        """The flow with masked fields set to zero; a mask bit of one excludes."""
        file = self._file
        mask = file[r.FDIRM]
        vlan = flow.vlan & ~((0xFFF if mask & 1 else 0) | (0xE000 if mask & 2 else 0))
        kind, ports, flex = flow.kind, flow.ports, flow.flex
        if mask & 8:
            kind &= 4
        if mask & 16:
            flex = 0
        port_masks = {1: r.FDIRUDPM, 2: r.FDIRTCPM, 3: r.FDIRSCTPM}
        if kind & 3:
            ports &= ~_reversed_halves(file[port_masks[kind & 3]])
        else:
            ports = 0
        if kind & 4:
            excluded = file[r.FDIRIP6M]
            source = flow.source & ~_bytes_mask(excluded & 0xFFFF)
            destination = 0 if mask & 32 else flow.destination & ~_bytes_mask(excluded >> 16)
        else:
            source = flow.source & ~file[r.FDIRSIP4M]
            destination = flow.destination & ~file[r.FDIRDIP4M]
        return _Flow(kind, vlan, source, destination, ports, flex)

    def _programmed(self, command: int) -> _Flow:
        """The tuple in the programming registers."""
        file = self._file
        if command & 1 << 7:
            high = [file[r.FDIRSIPV6, index] for index in range(3)]
            source = file[r.FDIRIPSA] << 96 | high[2] << 64 | high[1] << 32 | high[0]
        else:
            source = file[r.FDIRIPSA]
        vlan_flex = file[r.FDIRVLAN]
        ports = file[r.FDIRPORT]
        return _Flow(
            command >> 5 & 7,
            vlan_flex & 0xEFFF,
            source,
            file[r.FDIRIPDA],
            ports >> 16 | (ports & 0xFFFF) << 16,
            vlan_flex >> 16,
        )

    def _write_control(self, _index: int, value: int) -> None:
        if value & 3:
            self.enabled = True
            value |= INIT_DONE
        else:
            self.enabled = False
        self._filters.clear()
        self._matches.clear()
        self._file[r.FDIRCTRL] = value
        self._file[r.FDIRFREE] = self._capacity()

    def _capacity(self) -> int:
        control = self._file[r.FDIRCTRL]
        size = control & 3
        if not size:
            return 0
        return (1 << (10 if control & PERFECT else 12) + size) - 2

    def _write_command(self, _index: int, value: int) -> None:
        """Execute the command, which completes at once: CMD reads as zero."""
        command = value & 3
        key = self._key()
        found = key in self._filters
        status = value & ~3 & ~FILTER_VALID
        if value & CLEAR_TABLE:
            self._filters.clear()
        elif command == ADD:
            if found or len(self._filters) < self._capacity():
                flow = self._masked(self._programmed(value)) if self._file[r.FDIRCTRL] & PERFECT else None
                self._filters[key] = _Filter(value, self._file[r.FDIRHASH], flow)
                self._count(r.FDIRUSTAT, 1)
            else:
                self._count(r.FDIRFSTAT, 1)
        elif command == REMOVE:
            if self._filters.pop(key, None) is not None:
                self._count(r.FDIRUSTAT, 1 << 16)
            else:
                self._count(r.FDIRFSTAT, 1 << 8)
        elif command == QUERY and found:
            status |= FILTER_VALID
        self._matches.clear()
        self._file[r.FDIRCMD] = status
        self._file[r.FDIRFREE] = max(self._capacity() - len(self._filters), 0)

    def _key(self) -> tuple[int, int]:
        """Bucket, and signature or software index."""
        value = self._file[r.FDIRHASH]
        mask = PERFECT_HASH_MASK if self._file[r.FDIRCTRL] & PERFECT else self._bucket_mask()
        return value & HASH_MASK & mask, value >> 16 & HASH_MASK

    def _write_mask(self, register: Register, _index: int, value: int) -> None:
        self._file[register] = value
        self._matches.clear()

    def _read_and_clear(self, register: Register, _index: int) -> int:
        value = self._file[register]
        self._file[register] = 0
        return value

    def _count(self, register: Register, amount: int) -> None:
        self._file[register] += amount


def _reversed_halves(value: int) -> int:
    """Convert a port mask, whose bits are reversed in each half: source in the low half, destination in the high half.

    Returns:
        The mask in wire order, with the source port in the upper half.
    """
    low = int(f"{value & 0xFFFF:016b}"[::-1], 2)
    high = int(f"{value >> 16:016b}"[::-1], 2)
    return low << 16 | high


def _bytes_mask(excluded: int) -> int:
    """Convert a mask with one bit per byte of an IPv6 address, bit 0 for the first byte on the wire, to 128 bits."""
    mask = 0
    for byte in range(16):
        if excluded >> byte & 1:
            mask |= 0xFF << 8 * (15 - byte)
    return mask
