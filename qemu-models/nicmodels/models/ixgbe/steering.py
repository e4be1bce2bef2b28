# SPDX-License-Identifier: MIT
"""Receive queue selection.

Source: 82599 datasheet, section 7.1.2 (receive queues assignment): EtherType filters, SYN filter, five-tuple filters,
flow director, then RSS and traffic class. Pools (VMDq) are by destination address, else the default pool.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nicmodels.ethernet import ETH_HLEN
from nicmodels.models.ixgbe.registers import REGISTERS
from nicmodels.models.ixgbe.registers import filters as r
from nicmodels.models.ixgbe.registers.receive import RTRUP2TC
from nicmodels.offload.headers import SCTP, TCP, UDP
from nicmodels.offload.rss import HashType, Scaling

if TYPE_CHECKING:
    from nicmodels.faults.points import FaultPoints
    from nicmodels.models.ixgbe.filters import ReceiveFilters
    from nicmodels.models.ixgbe.flow_director import FlowDirector
    from nicmodels.offload.headers import Headers
    from nicmodels.registers import Register, RegisterFile

_MRQC = REGISTERS.offset(r.MRQC) >> 2
_SYNQF = REGISTERS.offset(r.SYNQF) >> 2
ENABLE = 1 << 31
SYN, ACK = 2, 16
RSS_MODES = frozenset({1, 4, 5, 10, 11})
FLOW_DIRECTOR_TYPE = 15
RSS_TYPES = {
    HashType.TCP_IPV4: 1,
    HashType.IPV4: 2,
    HashType.TCP_IPV6: 3,
    HashType.IPV6: 5,
    HashType.UDP_IPV4: 7,
    HashType.UDP_IPV6: 8,
}
_MRQC_TYPES = (
    (16, HashType.TCP_IPV4),
    (17, HashType.IPV4),
    (20, HashType.IPV6),
    (21, HashType.TCP_IPV6),
    (22, HashType.UDP_IPV4),
    (23, HashType.UDP_IPV6),
)
_PROTOCOLS = {TCP: 0, UDP: 1, SCTP: 2}


class Target(NamedTuple):
    """The queue of a frame, and what its descriptor reports about the selection.

    Attributes:
        queue: 0 to 127; None if a filter drops the frame.
        rss_type: as in the descriptor; 0 for none.
        hash: the RSS hash, or the flow director's identifier.
        flow_match: a flow director filter matched.
        ethertype_filter: index of the EtherType filter that matched, or None.
        flow_director: whether the flow director found a filter; None if it was not consulted.
    """

    queue: int | None
    rss_type: int = 0
    hash: int = 0
    flow_match: bool = False
    ethertype_filter: int | None = None
    flow_director: bool | None = None


class Steering:
    """The queue filters and RSS."""

    def __init__(
        self, file: RegisterFile, faults: FaultPoints, filters: ReceiveFilters, flow_director: FlowDirector
    ) -> None:
        self._file = file
        self._filters = filters
        self._flow_director = flow_director
        self._wrong_hash = faults["rx.rss.hash"]
        self._wrong_queue = faults["rx.rss.queue"]
        self._unreported = faults["rx.rss.unreported"]
        for register in (r.RETA, r.RSSRK, r.MRQC, r.ETQF, r.FTQF):
            self._watch(register)
        self.reset()

    def reset(self) -> None:
        """Drop what is cached from registers."""
        self._scaling: Scaling | None = None
        self._ethertypes: dict[int, int] | None = None
        self._tuples: list[int] | None = None

    def _watch(self, register: Register) -> None:
        def write(index: int, value: int) -> None:
            self._file[register, index] = value & register.writable
            if register is r.ETQF:
                self._ethertypes = None
            elif register is r.FTQF:
                self._tuples = None
            else:
                self._scaling = None

        self._file.on_write(register, write)

    @property
    def reads_payload(self) -> bool:
        """Whether the queue may depend on more than the headers of a frame: on the flow director's flexible bytes."""
        return self._flow_director.enabled and self._flow_director.flexible_offset >= ETH_HLEN

    def target(self, frame: memoryview, headers: Headers, tci: int | None) -> Target:
        """Select the queue of a frame.

        Args:
            frame: as received from the wire.
            headers: of the frame.
            tci: its VLAN tag, or None.
        """
        rss_type, value, entry = self._hash(frame, headers)
        if self._ethertypes is None:
            self._ethertypes = {
                self._file[r.ETQF, index] & 0xFFFF: index for index in range(8) if self._file[r.ETQF, index] & ENABLE
            }
        ethertype = self._ethertypes.get(headers.ethertype) if self._ethertypes else None
        if ethertype is not None and self._file[r.ETQS, ethertype] & ENABLE:
            queue = self._file[r.ETQS, ethertype] >> 16 & 0x7F
            return Target(queue, rss_type, value, ethertype_filter=ethertype)
        if headers.l4:
            chosen = self._by_tuple(frame, headers)
            if chosen is not None:
                return Target(chosen, rss_type, value, ethertype_filter=ethertype)
        matched = False
        director = None
        if self._flow_director.enabled:
            match = self._flow_director.match(frame, headers, tci or 0)
            director = match is not None
            if match is not None:
                if match.drop:
                    return Target(None)
                if match.identifier is not None:
                    rss_type, value = FLOW_DIRECTOR_TYPE, match.identifier
                if match.queue is not None:
                    return Target(match.queue, rss_type, value, True, ethertype, director)
                matched = True
        queue = self._base(frame, tci) + entry
        if rss_type and self._wrong_queue.armed and self._wrong_queue.fires(queue=queue):
            queue += 1
        return Target(queue & 0x7F, rss_type, value, matched, ethertype, director)

    def _hash(self, frame: memoryview, headers: Headers) -> tuple[int, int, int]:
        """RSS type, hash, and redirection table entry."""
        mode = self._file.values[_MRQC] & 0xF
        if mode not in RSS_MODES:
            return 0, 0, 0
        if self._scaling is None:
            self._scaling = self._make_scaling()
        choice = self._scaling.choose(frame, headers)
        if choice is None:
            return 0, 0, 0
        entry = choice.entry
        if mode == 10:
            entry &= 3
        elif mode == 11:
            entry &= 1
        value = choice.hash
        if self._wrong_hash.armed and self._wrong_hash.fires():
            value ^= 1
        if self._unreported.armed and self._unreported.fires():
            return 0, 0, entry
        return RSS_TYPES[choice.kind], value, entry

    def _make_scaling(self) -> Scaling:
        file = self._file
        key = b"".join(file[r.RSSRK, index].to_bytes(4, "little") for index in range(10))
        table = [file[r.RETA, index] >> shift & 0xF for index in range(32) for shift in (0, 8, 16, 24)]
        types = HashType.NONE
        for bit, kind in _MRQC_TYPES:
            if file[r.MRQC] >> bit & 1:
                types |= kind
        return Scaling(key, types, table)

    def _base(self, frame: memoryview, tci: int | None) -> int:
        """The first queue of the frame's traffic class or pool."""
        mode = self._file.values[_MRQC] & 0xF
        if mode in (0, 1):
            return 0
        if mode in (2, 3, 4, 5):
            traffic_class = self._file[RTRUP2TC] >> 3 * ((tci or 0) >> 13) & 7
            return traffic_class * 16 if mode in (2, 4) else traffic_class * 32 & 0x7F
        pool = self._pool(frame)
        return pool * (4 if mode in (10, 13) else 8 if mode == 12 else 2)

    def _pool(self, frame: memoryview) -> int:
        index = self._filters.matching(bytes(frame[:6]))
        if index is not None:
            pools = self._file[r.MPSAR, 2 * index] | self._file[r.MPSAR, 2 * index + 1] << 32
            if pools:
                return (pools & -pools).bit_length() - 1
        return self._file[r.PFVTCTL] >> 7 & 0x3F

    def _by_tuple(self, frame: memoryview, headers: Headers) -> int | None:
        """The SYN filter and the five-tuple filters, in the order set by SYNQF.SYNQFP."""
        syn = self._file.values[_SYNQF]
        by_syn = None
        if syn & 1 and headers.l4 == TCP and frame[headers.l4_offset + 13] & (SYN | ACK) == SYN:
            by_syn = syn >> 1 & 0x7F
            if syn & ENABLE:
                return by_syn
        if self._tuples is None:
            self._tuples = [index for index in range(128) if self._file[r.FTQF, index] & ENABLE]
        best: tuple[int, int] | None = None
        if self._tuples and headers.version == 4 and not headers.fragment:
            for index in self._tuples:
                control = self._file[r.FTQF, index]
                priority = control >> 2 & 7
                if (best is None or priority > best[0]) and self._tuple_matches(index, control, frame, headers):
                    best = priority, self._file[r.L34TIMIR, index] >> 21 & 0x7F
        return best[1] if best is not None else by_syn

    def _tuple_matches(self, index: int, control: int, frame: memoryview, headers: Headers) -> bool:
        """Match a five-tuple filter. A mask bit of one excludes its field; addresses and ports are in wire byte order."""
        mask = control >> 25 & 0x1F
        start, l4 = headers.l3_offset, headers.l4_offset
        ports = self._file[r.SDPQF, index]
        return (
            (bool(mask & 1) or int.from_bytes(frame[start + 12 : start + 16], "little") == self._file[r.SAQF, index])
            and (
                bool(mask & 2) or int.from_bytes(frame[start + 16 : start + 20], "little") == self._file[r.DAQF, index]
            )
            and (bool(mask & 4) or int.from_bytes(frame[l4 : l4 + 2], "little") == ports & 0xFFFF)
            and (bool(mask & 8) or int.from_bytes(frame[l4 + 2 : l4 + 4], "little") == ports >> 16)
            and (bool(mask & 16) or control & 3 == _PROTOCOLS.get(headers.l4, 3) or control & 3 == 3)
        )
