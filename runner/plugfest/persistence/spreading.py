# SPDX-License-Identifier: GPL-2.0-or-later
"""Which queue gets which frames: RSS table, key and fields, ntuple rules, XPS; and how many queues there are.

Sources: Documentation/networking/scaling.rst; Documentation/networking/ethtool-netlink.rst, RSS_SET, CHANNELS_SET;
include/uapi/linux/ethtool.h, ETHTOOL_SRXFH, ETHTOOL_SRXCLSRLINS.
"""

from __future__ import annotations

from typing import Any, ClassVar

from plugfest.dut.dut import Rss
from plugfest.dut.operations import NotOfferedError
from plugfest.dut.steering import NTUPLE
from plugfest.frames.dissect import UDP, dissect
from plugfest.frames.probe import PORT_FIRST, burst
from plugfest.frames.toeplitz import FLOWS as FLOW_TYPES
from plugfest.frames.toeplitz import (
    PORT_DESTINATION,
    PORT_SOURCE,
    hashed,
    queues_of,
    toeplitz,
)
from plugfest.machine.agent import AgentError
from plugfest.persistence.operation import more_or_fewer_channels
from plugfest.persistence.setting import Setting
from plugfest.traffic.per_queue import ADDRESSES, ALL_FIELDS, reported_fields

FLOWS = 32
SHORTEST = 300
"""Bytes of the frame of the first flow; that of each other is one byte longer, by which the test recognizes it."""
BY_HASH = "flows on the queue of their hash"
KEY = bytes(range(7, 47))
"""A hash key that is no driver's default: 40 bytes."""


class _Spread(Setting):
    """What decides the queue of a received frame."""

    def frames(self) -> list[bytes]:
        """Return a frame of each flow."""
        sizes = tuple(range(SHORTEST, SHORTEST + FLOWS))
        ends = self.instruments.traffic.ends
        return [probe.frame for probe in burst(ends, flows=FLOWS, sizes=sizes, versions=(4,))]

    def spread(self) -> Any:
        """Return the queue of each flow, as digits in the order of the flows.

        Raises:
            AssertionError: a flow did not arrive.
        """
        instruments = self.instruments
        sizes = tuple(range(SHORTEST, SHORTEST + FLOWS))
        with instruments.trace_skbs() as seen:
            instruments.reception.deliver(*self.frames())
        queues = {each.length: each.queue for each in seen.received() if each.length in sizes}
        assert len(queues) == FLOWS, f"{len(queues)} of {FLOWS} flows arrived"
        return " ".join(str(queues[size]) for size in sizes)

    def observed(self) -> Any:
        """The queue of each flow."""
        return {"queues of the flows": self.spread()}

    def by_hash(self, key: bytes, *choices: int) -> Any:
        """Return how many flows arrive on the queue that key and fields give by the table of the moment, which is another setting.

        Args:
            key: of the hash.
            choices: the fields; several where the driver does not report which: then of those that most flows follow.
        """
        found = [int(queue) for queue in self.spread().split()]
        table = list(self.rss().table)
        frames = [dissect(frame) for frame in self.frames()]

        def following(fields: int) -> int:
            wanted = queues_of([toeplitz(key, hashed(frame, fields)) for frame in frames], table)
            return sum(a == b for a, b in zip(found, wanted, strict=True))

        return {BY_HASH: max(following(fields) for fields in choices)}

    def shows(self, observed: Any) -> bool:
        """The flows arrive on more than one queue: where all arrive on one, another table or key would look the same."""
        return len(set(observed["queues of the flows"].split())) > 1

    def check_spread(self) -> Any:
        """See that the device spreads flows at all, which the area offload judges, and return how.

        Raises:
            NotOfferedError: all arrive on one queue.
        """
        found = self.spread()
        queues = set(found.split())
        if len(queues) < 2:
            raise NotOfferedError(
                f"all of {FLOWS} flows arrive on queue {', '.join(queues)} by the driver's own RSS settings"
            )
        return found

    def rss(self) -> Rss:
        """Return table and key.

        Raises:
            NotOfferedError: the driver has none, or one queue.
        """
        found, queues = self.instruments.dut.rss(), self.instruments.dut.queues()
        if found is None or queues < 2:
            raise NotOfferedError(f"ethtool -x: {found}; receive queues: {queues}")
        return found


class RssTable(_Spread):
    """An uneven table."""

    name = "RSS table"

    def set(self) -> None:
        """Set it: the last queue has a quarter of the entries, the first the others."""
        rss = self.rss()
        self._before = self.check_spread()
        size, last = len(rss.table), self.instruments.dut.queues() - 1
        self._table = [last] * (size // 4) + [0] * (size - size // 4)
        try:
            self.instruments.settings.set_rss(table=self._table)
        except AgentError as error:
            raise NotOfferedError(str(error)) from error
        assert list(self.rss().table) == self._table, "the driver reports another RSS table than was set"

    def reported(self) -> Any:
        """The table, as how many entries of it are as set."""
        now = list(self.rss().table)
        return {"entries": len(now), "as set": sum(a == b for a, b in zip(now, self._table, strict=False))}

    def shows(self, observed: Any) -> bool:
        """The flows arrive on more than one queue, and not as by the driver's own table."""
        return super().shows(observed) and observed["queues of the flows"] != self._before


class RssKey(_Spread):
    """Another key."""

    name = "RSS key"

    def set(self) -> None:
        """Set it."""
        before = self.rss().key
        if not before:
            raise NotOfferedError("the driver reports no hash key")
        self.check_spread()
        key = (KEY * (len(before) // len(KEY) + 1))[: len(before)]
        try:
            self.instruments.settings.set_rss(key=key)
        except AgentError as error:
            raise NotOfferedError(str(error)) from error
        assert self.rss().key == key, "the driver reports another hash key than was set"
        self._key = key

    def reported(self) -> Any:
        """The key."""
        return self.rss().key.hex()

    def observed(self) -> Any:
        """How many flows arrive on the queue that the key gives."""
        fields = reported_fields(self.instruments.dut, UDP, 4)
        return self.by_hash(self._key, *([ALL_FIELDS, ADDRESSES] if fields is None else [fields]))

    def shows(self, observed: Any) -> bool:
        """All."""
        return bool(observed[BY_HASH] == FLOWS)


class HashFields(_Spread):
    """Whether ports of UDP over IPv4 are hashed."""

    name = "RSS hash fields"

    def _fields(self) -> int:
        """Return the fields of UDP over IPv4 that the driver reports as hashed.

        Raises:
            NotOfferedError: it reports none.
        """
        flow = FLOW_TYPES[UDP, 4]
        try:
            return int(self.instruments.agent.call("ethtool.hash_fields", ifname=self.instruments.ifname, flow=flow))
        except AgentError as error:
            if error.errno is None:
                raise
            raise NotOfferedError(str(error)) from error

    def set(self) -> None:
        """Change it."""
        self.rss()
        before, agent = self._fields(), self.instruments.agent
        call = {"ifname": self.instruments.ifname, "flow": FLOW_TYPES[UDP, 4]}
        try:
            agent.call("ethtool.set_hash_fields", **call, fields=before ^ (PORT_SOURCE | PORT_DESTINATION))
        except AgentError as error:
            raise NotOfferedError(str(error)) from error
        self.instruments.defer(agent.call, "ethtool.set_hash_fields", **call, fields=before)
        self._set = self._fields()
        assert self._set == before ^ (PORT_SOURCE | PORT_DESTINATION), "the fields are not reported as set"

    def reported(self) -> Any:
        """The fields."""
        return self._fields()

    def observed(self) -> Any:
        """How many flows arrive on the queue that the fields give; where no key is reported, the queue of each."""
        key = self.rss().key
        return self.by_hash(key, self._set) if key else super().observed()

    def shows(self, observed: Any) -> bool:
        """All."""
        return bool(observed[BY_HASH] == FLOWS) if BY_HASH in observed else super().shows(observed)


class NtupleRule(_Spread):
    """A rule for a port."""

    name = "ntuple rule"

    def set(self) -> None:
        """Insert it: to the last queue."""
        features = self.instruments.dut.features()
        queues = self.instruments.dut.queues()
        if NTUPLE not in features.free | features.active or queues < 2:
            raise NotOfferedError(f"{NTUPLE}: off [fixed], or one queue")
        self._queue = queues - 1
        rule = self.instruments.steering.add_rule("udp", 4, PORT_FIRST, self._queue)
        if rule is None:
            raise NotOfferedError("a rule for UDP over IPv4 by destination port: EOPNOTSUPP")
        self._text = self._rules()

    def reported(self) -> Any:
        """How many rules there are, and whether they are the same."""
        text = self._rules()
        return {"rules": text.count("Filter: "), "as set": text == self._text}

    def _rules(self) -> str:
        return self.instruments.run("ethtool", "-n", self.instruments.ifname)

    def shows(self, observed: Any) -> bool:
        """All flows to the port arrive on the rule's queue."""
        return set(observed["queues of the flows"].split()) == {str(self._queue)}


class Channels(_Spread):
    """Another number of channels."""

    name = "channels"
    own = frozenset({"channels"})

    def set(self) -> None:
        """Set one more, or one fewer where there can be no more."""
        found = more_or_fewer_channels(self.instruments)
        if found is None:
            raise NotOfferedError(f"ethtool -l: {self.instruments.dut.get('channels')}")
        before = self.instruments.dut.queues()
        error = self.instruments.settings.try_set("channels", **found[0])
        if error is not None:
            raise NotOfferedError(str(error))
        assert self.instruments.dut.queues() != before, f"{before} receive queues, before and after {found[0]} was set"

    def reported(self) -> Any:
        """The numbers, and the netdev's queues."""
        channels = self.instruments.dut.get("channels") or {}
        counts = {name: count for name, count in channels.items() if name.endswith("-count")}
        return {
            **counts,
            "receive queues": self.instruments.dut.queues(),
            "transmit queues": self.instruments.dut.queues("tx"),
        }

    def observed(self) -> Any:
        """The queues that the device has, and those that the flows reach."""
        queues = self.instruments.ask_model("model.queues")
        device = {side: sum(queue["enabled"] for queue in queues[side]) for side in ("rx", "tx")} if queues else None
        return {"queues of the device": device, "queues of the flows": sorted(set(self.spread().split()))}

    def shows(self, observed: Any) -> bool:
        """The flows arrive."""
        return bool(observed["queues of the flows"])


class Xps(Setting):
    """Which transmit queue a CPU sends on."""

    name = "XPS"
    drops: ClassVar = {
        "channels": "net/core/dev.c, netif_set_real_num_tx_queues: the maps of queues that go are reset",
    }

    def _path(self, queue: int) -> str:
        return f"/sys/class/net/{self.instruments.ifname}/queues/tx-{queue}/xps_cpus"

    def set(self) -> None:
        """Have all CPUs send on the last queue."""
        instruments = self.instruments
        queues = instruments.dut.queues("tx")
        if queues < 2:
            raise NotOfferedError(f"transmit queues: {queues}")
        before = [instruments.agent.call("files.read", path=self._path(queue)).strip() for queue in range(queues)]
        everyone = f"{(1 << instruments.traffic.cpus()) - 1:x}"
        for queue in range(queues):
            text = everyone if queue == queues - 1 else "0"
            instruments.defer(instruments.agent.call, "files.write", path=self._path(queue), text=before[queue])
            instruments.agent.call("files.write", path=self._path(queue), text=text)
        self._last = queues - 1

    def reported(self) -> Any:
        """The maps."""
        return [
            self.instruments.agent.call("files.read", path=self._path(queue)).strip()
            for queue in range(self.instruments.dut.queues("tx"))
        ]

    def observed(self) -> Any:
        """The queue that each CPU sends on."""
        instruments = self.instruments
        frames = [
            probe.frame
            for probe in burst(
                instruments.traffic.ends_back, flows=instruments.traffic.cpus(), sizes=(SHORTEST,), versions=(4,)
            )
        ]
        with instruments.trace_skbs() as seen:
            for cpu, frame in enumerate(frames):
                instruments.send_from(instruments.ifname, frame, cpu=cpu)
        return {"queues": [each.queue for each in seen.sent() if each.length == SHORTEST]}

    def shows(self, observed: Any) -> bool:
        """All on the last."""
        return set(observed["queues"]) == {self._last}
