# SPDX-License-Identifier: GPL-2.0-or-later
"""Statistics: of the interface (rtnetlink), of its queues (netlink), of the driver (``ethtool -S``)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from plugfest.falsify.falsification import AfterChange, Falsification, Handler, Handlers, Later, always, answers
from plugfest.statistics.accounts import ENTRY, PLAIN, REGISTER_NAMES
from plugfest.statistics.queue_counters import BLOCK, BRACKETED, NUMBERED, is_queue_counter

INTERFACE, QUEUES, DRIVER = "agent:link.stats64", "agent:netdev.qstats_get", "agent:ethtool.stats_list"
READERS = "agent:readers.stop"
ETHERNET = 14
CHANGES = (
    *("agent:link.set", "agent:link.xdp_attach", "agent:features.set"),
    *("agent:ethtool.set", "agent:ethtool.restart_negotiation"),
    *("agent:devmem.bind", "agent:zcrx.register", "model:faults.arm"),
)
"""Calls after which counters may be read a second time: changes of settings, restarts of a queue, a device that is made to hang."""
_FRAMES = re.compile(r"(?:rx|tx)[_-]packets")
_REGISTERS = frozenset(name for names in REGISTER_NAMES for name in names)
_NUMBER = re.compile(r"\d+")

Entry = dict[str, Any]


def of_scope(scope: str, change: Callable[[Any], Any]) -> Handler:
    """Change netlink's queue statistics of one scope, queue or device."""
    return answers(change, when=lambda params: params.get("scope", "queue") == scope)


def _by_name(change: Callable[[str, int], int]) -> Callable[[Mapping[str, int]], dict[str, int]]:
    """Change the values of a dictionary of counters."""
    return lambda counters: {name: change(name, value) for name, value in counters.items()}


def _each_entry(change: Callable[[Entry], Entry]) -> Callable[[list[Entry]], list[Entry]]:
    """Change each entry of netlink's."""
    return lambda entries: [change(entry) for entry in entries]


def _counters(change: Callable[[str, int], int]) -> Callable[[Entry], Entry]:
    """Change the counters of an entry of netlink's, and leave what they are of."""
    return lambda entry: {name: value if name in ENTRY else change(name, value) for name, value in entry.items()}


def _half(_name: str, value: int) -> int:
    return value // 2


def _half_of_driver(statistics: list[list[Any]]) -> list[list[Any]]:
    return [
        [name, _half(name, value) if is_queue_counter(name) or name in _REGISTERS else value]
        for name, value in statistics
    ]


def _without_header(counters: Mapping[str, Any]) -> dict[str, Any]:
    """Take 14 bytes a frame off the bytes of a dictionary of counters."""
    found = dict(counters)
    for name in filter(_FRAMES.fullmatch, counters):
        size = name.replace("packets", "bytes")
        if size in found:
            found[size] -= ETHERNET * found[name]
    return found


def _driver_without_header(statistics: list[list[Any]]) -> list[list[Any]]:
    frames = {name: value for name, value in statistics if name.endswith("packets")}
    found = []
    for name, value in statistics:
        of_it = frames.get(f"{name.removesuffix('bytes')}packets", 0) if is_queue_counter(name) else 0
        found.append([name, value - ETHERNET * of_it if name.endswith("bytes") else value])
    return found


def _next_queue(entry: Entry) -> Entry:
    return {**entry, "queue-id": entry["queue-id"] + 1}


def _next_number(statistics: list[list[Any]]) -> list[list[Any]]:
    found: list[list[Any]] = []
    for name, value in statistics:
        if NUMBERED.fullmatch(name):
            found.append([_NUMBER.sub(lambda number: str(int(number[0]) + 1), name, count=1), value])
        else:
            found.append([name, value + 1 if BLOCK.fullmatch(name.strip()) else value])
    return found


def _number_of(name: str, value: int) -> int | None:
    """The queue's number where a name of ``ethtool -S`` has one, or heads the block of a queue."""
    match = NUMBERED.fullmatch(name) or BRACKETED.fullmatch(name)
    if match:
        return int(match["queue"])
    return value if BLOCK.fullmatch(name.strip()) else None


def _half_more(_name: str, value: int) -> int:
    return value + value // 2


def _twice_and_one(_name: str, value: int) -> int:
    return 2 * value + 1


def _zero(_name: str, _value: int) -> int:
    return 0


def _gone_back() -> Handlers:
    change = AfterChange()
    return {
        **change.watch(CHANGES),
        INTERFACE: change.answers(_by_name(_zero)),
        QUEUES: change.answers(_each_entry(_counters(_zero))),
        DRIVER: change.answers(lambda statistics: [[name, 0] for name, _ in statistics]),
    }


def _device_gone_back() -> Handlers:
    change = AfterChange()
    zero = change.answers(_each_entry(_counters(_zero)))
    return {
        **change.watch(CHANGES),
        QUEUES: lambda request: zero(request) if request.params.get("scope") == "device" else request.answer(),
    }


def _counter_off() -> Handlers:
    change = AfterChange()

    def more(entry: Entry) -> Entry:
        frames = entry.get(f"{entry['queue-type']}-packets", 0)
        return _counters(lambda name, value: value if name in PLAIN else value + frames + change.count)(entry)

    return {**change.watch(CHANGES), QUEUES: of_scope("queue", _each_entry(more))}


def _stopped_once_more(entry: Entry) -> Entry:
    frames = entry.get("tx-packets")
    return entry if frames is None else {**entry, "tx-stop": entry.get("tx-stop", 0) + frames}


def _of_reader(change: Callable[[Entry, str], Entry]) -> Handler:
    """Change each reader's report, by the name of its counter of received frames."""

    def changed(report: Entry) -> Entry:
        name = next((each for each in report["last"] if each.endswith(("rx_packets", "rx-packets"))), None)
        return report if name is None else {**report, **change(report["last"], name)}

    return answers(lambda reports: [changed(report) for report in reports])


ROWS = (
    always(
        "program:qstat.wrong-queue",
        "each queue's counters are reported as those of the next one",
        {QUEUES: of_scope("queue", _each_entry(_next_queue)), DRIVER: answers(_next_number)},
    ),
    always(
        "program:qstat.frame-missing",
        "the driver's counters miss every second frame",
        {
            INTERFACE: answers(_by_name(_half)),
            QUEUES: of_scope("queue", _each_entry(_counters(_half))),
            DRIVER: answers(_half_of_driver),
        },
    ),
    always(
        "program:qstat.bytes-short",
        "the driver's counters miss 14 bytes a frame",
        {
            INTERFACE: answers(_without_header),
            QUEUES: of_scope("queue", _each_entry(_without_header)),
            DRIVER: answers(_driver_without_header),
        },
    ),
    always(
        "program:qstat.total-differs",
        "the interface's counters rise by half as much again, the device-wide ones by twice as much",
        {
            INTERFACE: answers(_by_name(_half_more)),
            QUEUES: of_scope("device", _each_entry(_counters(_twice_and_one))),
        },
    ),
    always(
        "program:qstat.name-twice",
        "the driver's first statistic is reported a second time",
        {DRIVER: answers(lambda statistics: statistics + statistics[:1])},
    ),
    Falsification(
        "program:qstat.name-lost",
        "the driver's first statistic is left out of the second reading",
        lambda: {DRIVER: Later().answers(lambda statistics: statistics[1:])},
    ),
    always(
        "program:qstat.queue-missing",
        "the counters of queue 0 are left out",
        {
            QUEUES: of_scope("queue", lambda entries: [entry for entry in entries if entry["queue-id"] != 0]),
            DRIVER: answers(lambda statistics: [row for row in statistics if _number_of(*row) != 0]),
        },
    ),
    Falsification("program:qstat.gone-back", "the driver's counters start again at zero after a change", _gone_back),
    Falsification(
        "program:qstat.device-gone-back",
        "netlink's device-wide counters start again at zero after a change",
        _device_gone_back,
    ),
    Falsification(
        "program:qstat.counter-off",
        "netlink's counters of other things than frames and bytes rise with each frame and each change too",
        _counter_off,
    ),
    always(
        "program:qstat.wake-lost",
        "netlink's counter of stopped queues rises with each frame sent too",
        {QUEUES: of_scope("queue", _each_entry(_stopped_once_more))},
    ),
    always(
        "program:qstat.reader-back",
        "each reader reports that a counter of received frames went back",
        {READERS: _of_reader(lambda last, name: {"back": {name: [last[name] + 1, last[name], 1]}})},
    ),
    always(
        "program:qstat.reader-torn",
        "each reader reports that a counter rose by 2 to the 32nd at once",
        {READERS: _of_reader(lambda last, name: {"leapt": {name: [last[name], last[name] + (1 << 32), 1]}})},
    ),
    always(
        "program:qstat.reader-short",
        "each reader's last reading misses a frame",
        {READERS: _of_reader(lambda last, name: {"last": {**last, name: last[name] - 1}})},
    ),
)
