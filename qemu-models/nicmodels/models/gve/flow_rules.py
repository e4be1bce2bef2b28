# SPDX-License-Identifier: MIT
"""Flow steering rules: type, addresses, ports or SPI, and traffic class, each with a mask.

Source: Linux, drivers/net/ethernet/google/gve/gve_adminq.h (flow-steering related definitions), gve.h (gve_flow_spec).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from nicmodels.models.gve.commands import CommandError, Status
from nicmodels.offload.headers import SCTP, TCP, UDP

if TYPE_CHECKING:
    from nicmodels.offload.checksum import Buffer
    from nicmodels.offload.headers import Headers

ADD, DELETE, RESET = 0, 1, 2
QUERY_RULES, QUERY_IDS, QUERY_STATS = 0, 1, 2
QUERY = struct.Struct(">IIII")
_RULE = struct.Struct(">HH40s40s")
_LOCATION = struct.Struct(">I")
RULE_SIZE = _RULE.size
_AH, _ESP = 51, 50
# By enum gve_adminq_flow_type: IP version and protocol.
_TYPES = tuple((version, protocol) for version in (4, 6) for protocol in (TCP, UDP, SCTP, _AH, _ESP))
_PADDING = 37
"""Of the 40 bytes of a gve_flow_spec, the last three are padding."""


class Rule(NamedTuple):
    """One rule.

    Attributes:
        raw: as from the driver.
        version, protocol: the IP version and protocol that it matches.
        queue: the queue that it steers to.
        key, mask: addresses, ports or SPI, traffic class; as one number, with only the masked bits.
    """

    raw: bytes
    version: int
    protocol: int
    queue: int
    key: int
    mask: int


class FlowRules:
    """All rules, by location; the matching rule at the lowest location wins.

    Args:
        limit: maximum number of rules.
        queues: maximum number of receive queues.
    """

    def __init__(self, limit: int, queues: int) -> None:
        self._limit = limit
        self._queues = queues
        self._rules: dict[int, Rule] = {}

    def __len__(self) -> int:
        return len(self._rules)

    def reset(self) -> None:
        """Remove all rules."""
        self._rules.clear()

    def configure(self, operation: int, raw: bytes, location: int) -> None:
        """The command configure_flow_rule.

        Raises:
            CommandError: an invalid operation, type, location or queue; the rule exists already, or does not exist.
        """
        if not self._limit:
            raise CommandError(Status.UNIMPLEMENTED, "no flow steering")
        if operation == RESET:
            self.reset()
            return
        if operation not in (ADD, DELETE):
            raise CommandError(Status.INVALID_ARGUMENT, f"operation {operation}")
        if location >= self._limit:
            raise CommandError(Status.OUT_OF_RANGE, f"location {location} of {self._limit}")
        if operation == DELETE:
            if self._rules.pop(location, None) is None:
                raise CommandError(Status.NOT_FOUND, f"no rule at {location}")
            return
        if location in self._rules:
            raise CommandError(Status.ALREADY_EXISTS, f"a rule at {location}")
        kind, queue, key, mask = _RULE.unpack(raw)
        if kind >= len(_TYPES):
            raise CommandError(Status.INVALID_ARGUMENT, f"flow type {kind}")
        if queue >= self._queues:
            raise CommandError(Status.OUT_OF_RANGE, f"queue {queue} of {self._queues}")
        bits = int.from_bytes(mask[:_PADDING], "big")
        version, protocol = _TYPES[kind]
        self._rules[location] = Rule(raw, version, protocol, queue, int.from_bytes(key[:_PADDING], "big") & bits, bits)
        self._rules = dict(sorted(self._rules.items()))

    def query(self, what: int, first: int, room: int) -> bytes:
        """The answer to query_flow_rules, of at most `room` bytes.

        Raises:
            CommandError: an invalid query, or no room for the descriptor.
        """
        if not self._limit:
            raise CommandError(Status.UNIMPLEMENTED, "no flow steering")
        if room < QUERY.size:
            raise CommandError(Status.INVALID_ARGUMENT, f"{room} bytes for an answer of {QUERY.size} and more")
        entries: list[bytes] = []
        if what in (QUERY_RULES, QUERY_IDS):
            size = _LOCATION.size + (RULE_SIZE if what == QUERY_RULES else 0)
            for location, rule in self._rules.items():
                if location >= first and (len(entries) + 1) * size <= room - QUERY.size:
                    entries.append(_LOCATION.pack(location) + (rule.raw if what == QUERY_RULES else b""))
        elif what != QUERY_STATS:
            raise CommandError(Status.INVALID_ARGUMENT, f"query {what}")
        body = b"".join(entries)
        return QUERY.pack(len(self._rules), self._limit, len(entries), QUERY.size + len(body)) + body

    def match(self, frame: Buffer, headers: Headers) -> int | None:
        """The queue that a rule steers a frame to, or None. Fragments match no rule."""
        if headers.fragment or not headers.version:
            return None
        found = None
        for rule in self._rules.values():
            if rule.protocol == headers.protocol and rule.version == headers.version:
                if found is None:
                    found = _spec(frame, headers)
                if found & rule.mask == rule.key:
                    return rule.queue
        return None


def _spec(frame: Buffer, headers: Headers) -> int:
    """A frame's fields in the format of a rule's key."""
    start = headers.l3_offset
    if headers.version == 4:
        source = bytes(frame[start + 12 : start + 16]) + bytes(12)
        destination = bytes(frame[start + 16 : start + 20]) + bytes(12)
        traffic_class = frame[start + 1]
    else:
        source, destination = bytes(frame[start + 8 : start + 24]), bytes(frame[start + 24 : start + 40])
        traffic_class = (frame[start] << 4 | frame[start + 1] >> 4) & 0xFF
    at = headers.l4_offset + (4 if headers.protocol == _AH else 0)
    ports = bytes(frame[at : at + 4]).ljust(4, b"\0")
    return int.from_bytes(source + destination + ports + bytes((traffic_class,)), "big")
