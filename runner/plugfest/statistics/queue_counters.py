# SPDX-License-Identifier: GPL-2.0-or-later
"""Per-queue frame and byte counters, whichever way a driver reports them.

Two ways: the kernel's queue statistics (netlink family ``netdev``, qstats-get of scope queue; Documentation/netlink/specs/
netdev.yaml) and the driver's own names in ``ethtool -S``, for which there is no standard: drivers write the queue's number
into the name (``rx_queue_3_packets``, ``tx3_bytes``, ``rx_bytes[3]``), or head a block of equal names with it (vmxnet3's
``Rx Queue#``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Direction = Literal["rx", "tx"]

NUMBERED = re.compile(
    r"(?P<direction>rx|tx)(?:_queue_|_q|q_|-|_)?(?P<queue>\d+)[_\-. ](?P<what>packets|bytes)", re.IGNORECASE
)
BRACKETED = re.compile(r"(?P<direction>rx|tx)_(?P<what>\w+)\[(?P<queue>\d+)\]")
BLOCK = re.compile(r"(?P<direction>rx|tx) queue#", re.IGNORECASE)
IN_BLOCK = re.compile(r"\s+[umb]cast (?P<what>pkts|bytes) (?:rx|tx)", re.IGNORECASE)


@dataclass(frozen=True)
class Account:
    """Frames and bytes.

    Attributes:
        frames: how many.
        bytes: in all of them, without FCS.
    """

    frames: int = 0
    bytes: int = 0

    def __add__(self, other: Account) -> Account:
        """Sum two accounts."""
        return Account(self.frames + other.frames, self.bytes + other.bytes)

    def __sub__(self, other: Account) -> Account:
        """Return what was added since `other`."""
        return Account(self.frames - other.frames, self.bytes - other.bytes)

    def __str__(self) -> str:
        """Return it in short."""
        return f"{self.frames} frames/{self.bytes} bytes"


def total(accounts: Iterable[Account]) -> Account:
    """Return the sum."""
    return sum(accounts, Account())


def of_frames(frames: Iterable[bytes]) -> Account:
    """Return the account of frames."""
    sizes = [len(frame) for frame in frames]
    return Account(len(sizes), sum(sizes))


@dataclass(frozen=True)
class QueueCounters:
    """What one source counts for each queue.

    Attributes:
        rx: receive queues by number.
        tx: transmit queues by number.
    """

    rx: Mapping[int, Account] = field(default_factory=dict)
    tx: Mapping[int, Account] = field(default_factory=dict)

    def since(self, before: QueueCounters) -> QueueCounters:
        """Return the difference to an earlier reading, without the queues that did not move."""

        def moved(now: Mapping[int, Account], then: Mapping[int, Account]) -> dict[int, Account]:
            deltas = {queue: account - then.get(queue, Account()) for queue, account in now.items()}
            return {queue: delta for queue, delta in deltas.items() if delta != Account()}

        return QueueCounters(moved(self.rx, before.rx), moved(self.tx, before.tx))

    def __bool__(self) -> bool:
        """Whether there is any queue at all."""
        return bool(self.rx or self.tx)


def from_ethtool(statistics: Sequence[Sequence[Any]]) -> QueueCounters:
    """Find the per-queue counters in ``[name, value]`` pairs in the driver's order; none gives an empty result."""
    raw: dict[Direction, dict[int, dict[str, int]]] = {"rx": {}, "tx": {}}
    block: dict[str, int] | None = None
    for name, value in statistics:
        numbered = NUMBERED.fullmatch(name)
        heading = BLOCK.fullmatch(name.strip())
        if numbered:
            queue = raw[_direction(numbered["direction"])].setdefault(int(numbered["queue"]), {})
            queue[numbered["what"].lower()] = value
        elif heading:
            block = raw[_direction(heading["direction"])].setdefault(value, {})
        elif block is not None and (member := IN_BLOCK.fullmatch(name)):
            what = "bytes" if member["what"].lower() == "bytes" else "packets"
            block[what] = block.get(what, 0) + value
    return QueueCounters(_accounts(raw["rx"]), _accounts(raw["tx"]))


def numbers_by_name(statistics: Sequence[Sequence[Any]]) -> dict[Direction, dict[str, list[int]]]:
    """Find which queues each counter has, in ``[name, value]`` pairs in the driver's order.

    Returns:
        By direction and by the counter's name without the number: the queues' numbers, in the driver's order.
    """
    found: dict[Direction, dict[str, list[int]]] = {"rx": {}, "tx": {}}
    for name, value in statistics:
        if match := NUMBERED.fullmatch(name) or BRACKETED.fullmatch(name):
            found[_direction(match["direction"])].setdefault(match["what"], []).append(int(match["queue"]))
        elif heading := BLOCK.fullmatch(name.strip()):
            found[_direction(heading["direction"])].setdefault("queue", []).append(value)
    return found


def is_queue_counter(name: str) -> bool:
    """Whether a name of ``ethtool -S`` is that of a queue's frames or bytes."""
    return bool(NUMBERED.fullmatch(name) or IN_BLOCK.fullmatch(name))


def from_qstats(statistics: Sequence[Mapping[str, Any]]) -> QueueCounters:
    """Turn the result of ``netdev.qstats_get`` of scope queue into counters."""
    found: dict[Direction, dict[int, Account]] = {"rx": {}, "tx": {}}
    for entry in statistics:
        direction = _direction(entry["queue-type"])
        packets = entry.get(f"{direction}-packets")
        if packets is not None:
            found[direction][entry["queue-id"]] = Account(packets, entry.get(f"{direction}-bytes", 0))
    return QueueCounters(found["rx"], found["tx"])


def from_model(counters: Mapping[str, Any], *, left: bool = False) -> QueueCounters:
    """Turn a model's control method ``model.counters`` into counters.

    Args:
        counters: what it returns.
        left: take of a transmit queue the frames that left, after segmentation, in place of the packets that it was given.
    """
    sent = ("segments", "segment_bytes") if left else ("frames", "bytes")
    rx, tx = (
        {number: Account(*(queue[name] for name in names)) for number, queue in enumerate(counters[direction])}
        for direction, names in (("rx", ("frames", "bytes")), ("tx", sent))
    )
    return QueueCounters(rx, tx)


def _direction(text: str) -> Direction:
    return "rx" if text.lower() == "rx" else "tx"


def _accounts(queues: Mapping[int, Mapping[str, int]]) -> dict[int, Account]:
    whole = {number: queue for number, queue in queues.items() if {"packets", "bytes"} <= queue.keys()}
    return {number: Account(queue["packets"], queue["bytes"]) for number, queue in sorted(whole.items())}
