# SPDX-License-Identifier: GPL-2.0-or-later
"""Receive-side scaling: each frame comes by the queue that hash and table say, and the hash is told as it is."""

from __future__ import annotations

import pytest
from plugfest.dut.operations import NotOfferedError, other_channels
from plugfest.frames.dissect import TCP, UDP, dissect
from plugfest.frames.payload import generate
from plugfest.frames.probe import Ends
from plugfest.frames.segmentation import TxRequest
from plugfest.frames.toeplitz import (
    FLOWS,
    IP_DESTINATION,
    IP_SOURCE,
    PORT_DESTINATION,
    PORT_SOURCE,
    hashed,
    queues_of,
    toeplitz,
)
from plugfest.machine.agent import AgentError
from plugfest.requirements.requirement import requirement
from plugfest.statistics.queue_counters import from_model

SOURCE = "Documentation/networking/scaling.rst, RSS; Microsoft, Verifying the RSS hash calculation"
FLOWS_EACH = 24
"""Flows for each protocol and IP version, each with a frame length of its own, by which it is found again."""
TOEPLITZ = 1
KEY = bytes(range(7, 47))
"""Another key than any driver's default: 40 octets."""
KINDS = ((TCP, 4), (UDP, 4), (TCP, 6), (UDP, 6))
TWO = IP_SOURCE | IP_DESTINATION
FOUR = IP_SOURCE | IP_DESTINATION | PORT_SOURCE | PORT_DESTINATION
CLOSED = 9
"""A port that nobody listens on."""


class Scaling:
    """Flows, where each should go, and where it went."""

    def __init__(self, guest, dut, remote, traffic, trace_skbs, until, skip_unsupported):
        self.guest, self.dut, self._remote = guest, dut, remote
        self._found_fields = {}
        self._traffic, self._handover, self._until = traffic, trace_skbs, until
        found = dut.rss()
        queues = dut.queues()
        if found is None or queues < 2:
            skip_unsupported("receive-side scaling", evidence={"ethtool -x": found, "receive queues": queues})
        if found.function not in (0, TOEPLITZ):
            skip_unsupported("the Toeplitz hash", evidence={"ethtool -x": found})
        if not found.key:
            skip_unsupported("to say its hash key", evidence={"ethtool -x": found})

    def fields(self, kind):
        """What of a flow enters the hash, as the driver says; None where it does not say."""
        try:
            found = self.guest.agent.call("ethtool.hash_fields", ifname=self.dut.ifname, flow=FLOWS[kind])
        except AgentError as error:
            if error.errno is None:
                raise
            return None
        return found & FOUR

    def candidates(self, kind):
        """What may enter the hash: one choice where the driver says so, else with the ports or without, the same each time."""
        told = self.fields(kind)
        if told is not None:
            return [told]
        return [self._found_fields[kind]] if kind in self._found_fields else [FOUR, TWO]

    def frames(self):
        """One frame a flow; lengths are all different."""
        ends = self._traffic.ends
        far = Ends(ends.destination_mac, ends.source_mac, ends.destination, ends.sources)
        made = []
        for block, (protocol, version) in enumerate(KINDS):
            for number in range(FLOWS_EACH):
                order = TxRequest(
                    far,
                    version,
                    generate(number, 0),
                    protocol=protocol,
                    ports=(20000 + 7 * number, CLOSED),
                    flow=number,
                )
                length = 200 + block * FLOWS_EACH + number
                made.append(finished(TxRequest(**{**vars(order), "payload": generate(number, length - order.length)})))
        return made

    def expected(self, rss, frames, told):
        """The hash and the queue of each frame, by its length.

        Where the driver does not say what it hashes, the choice that fits what was told best: a right one fits all of it.
        """
        wanted = {}
        for kind in KINDS:
            mine = [frame for frame in frames if (part := dissect(frame)) and (part.protocol, part.version) == kind]
            choices = []
            for fields in self.candidates(kind):
                hashes = [toeplitz(rss.key, hashed(dissect(frame), fields)) for frame in mine]
                queues = queues_of(hashes, list(rss.table))
                places = {len(frame): each for frame, each in zip(mine, zip(hashes, queues, strict=True), strict=True)}
                misses = sum(1 for length, (_, queue) in places.items() if told[length].queue not in (queue, None))
                choices.append((misses, -fields, places))
            misses, fields, places = min(choices, key=lambda choice: choice[:2])
            if not misses and len({queue for _, queue in places.values()}) > 1:
                self._found_fields[kind] = -fields
            wanted.update(places)
        return wanted

    def send(self, frames):
        """Send them; returns what the driver handed over of each, by its length, and what the device delivered by each queue."""
        self._traffic.ready()
        model = self.guest.model
        lengths = {len(frame) for frame in frames}

        def found(seen):
            return {each.length: each for each in seen.received() if each.length in lengths}

        with self._handover() as seen, self._remote.capture() as capture:
            before = from_model(model.call("model.counters")) if model else None
            self._remote.send(frames)
            self._until(
                lambda: len(found(seen)) == len(lengths),
                what=f"{len(lengths)} frames are handed to the stack",
                timeout=1,
            )
        by_queue = from_model(model.call("model.counters")).since(before).rx if model else None
        others = len(capture.sent()) - len(frames)
        return found(seen), by_queue, others

    def check(self, rss, *, hashes=False):
        """Send the flows, and compare driver and device with what hash and table say."""
        frames = self.frames()
        told, by_queue, others = self.send(frames)
        wanted = self.expected(rss, frames, told)
        wrong = [
            f"{length} octets: queue {each.queue}, expected {wanted[length][1]}"
            for length, each in told.items()
            if each.queue is not None and each.queue != wanted[length][1]
        ]
        assert not wrong, f"{len(wrong)} of {len(frames)} flows came by another queue: {'; '.join(wrong[:4])}"
        if by_queue is not None:
            for queue in set(rss.table):
                count = sum(1 for _, each in wanted.values() if each == queue)
                delivered = by_queue[queue].frames if queue in by_queue else 0
                assert count <= delivered <= count + others, f"the device delivered {delivered} frames by queue {queue}"
        if hashes:
            wrong = [
                f"{length} octets: {each.hash:#010x}, expected {wanted[length][0]:#010x}"
                if each.hash is not None
                else f"{length} octets: none, expected {wanted[length][0]:#010x}"
                for length, each in told.items()
                if each.hash != wanted[length][0]
            ]
            assert not wrong, f"{len(wrong)} of {len(frames)} hashes are told wrong: {'; '.join(wrong[:4])}"
        return told


def finished(order):
    """The order's frame as a host would send it: the checksum complete."""
    from plugfest.frames.dissect import transport_checksum  # noqa: PLC0415

    frame = order.packet()[10:]
    found = dissect(frame)
    at = len(frame) - len(found.transport) + (16 if order.protocol == TCP else 6)
    return frame[:at] + transport_checksum(found).to_bytes(2, "big") + frame[at + 2 :]


@pytest.fixture
def scaling(guest, dut, remote, traffic, trace_skbs, until, skip_unsupported):
    """Flows over the receive queues; skips where the driver has one, or does not say how it spreads."""
    return Scaling(guest, dut, remote, traffic, trace_skbs, until, skip_unsupported)


@requirement("OFFLOAD-RSS-01", level="MUST", source=SOURCE, falsified_by="rx.rss.queue")
def test_queue(scaling, step, evidence):
    """Each flow, TCP and UDP, IPv4 and IPv6, comes by the queue that the Toeplitz hash and the indirection table give."""
    with step("Read hash key, indirection table and hashed fields from the driver"):
        rss = scaling.dut.rss()
        evidence("ethtool -x", rss)
        assert set(rss.table) <= set(range(rss.queues))
        assert len(set(rss.table)) > 1, "all entries of the indirection table are one queue"
    with step("Send frames in many flows: each comes by its queue, as the driver says and as the device counts"):
        scaling.check(rss)


@requirement("OFFLOAD-RSS-02", level="MUST", source=SOURCE, falsified_by=("rx.rss.hash", "rx.rss.unreported"))
def test_hash(scaling, active, step):
    """With receive hashing on, the hash that is told with each frame is its Toeplitz hash."""
    with step("Turn it on"):
        active("rx-hashing")
    with step("Send frames in many flows: each is told with its hash"):
        scaling.check(scaling.dut.rss(), hashes=True)


@requirement("OFFLOAD-RSS-03", level="MUST", source=SOURCE, falsified_by="program:settings.not-set")
def test_no_hash(scaling, inactive, step):
    """With receive hashing off, no hash is told."""
    with step("Turn it off"):
        inactive("rx-hashing")
    with step("Send frames in many flows: none is told with a hash"):
        told = scaling.check(scaling.dut.rss())
        assert {each.hash for each in told.values()} == {None}


@requirement(
    "OFFLOAD-RSS-04",
    level="MUST",
    source=f"{SOURCE}; include/uapi/linux/ethtool.h, ETHTOOL_SRSSH",
    falsified_by="rx.rss.queue",
)
def test_table(scaling, settings, step, skip_unsupported):
    """The indirection table can be set, to one queue, to others, unevenly; it is told as set, and frames follow it."""
    before = scaling.dut.rss()
    size, last = len(before.table), max(before.table)
    tables = ([last] * size, [last - queue for queue in before.table], [0] * (size // 4) + [last] * (size - size // 4))
    for table in tables:
        with step("Set a table"):
            try:
                settings.set_rss(table=table)
            except AgentError as error:
                skip_unsupported("setting the indirection table", evidence=str(error))
            now = scaling.dut.rss()
            assert list(now.table) == table
            assert now.key == before.key
        with step("Send frames in many flows: each comes by the queue that the table gives"):
            scaling.check(now)


@requirement(
    "OFFLOAD-RSS-05",
    level="MUST",
    source=f"{SOURCE}; include/uapi/linux/ethtool.h, ETHTOOL_SRSSH",
    falsified_by="rx.rss.queue",
)
def test_key(scaling, settings, step, skip_unsupported):
    """The hash key can be set; it is told as set, and frames follow it."""
    size = len(scaling.dut.rss().key)
    key = (KEY * (size // len(KEY) + 1))[:size]
    with step("Set another key"):
        try:
            settings.set_rss(key=key)
        except AgentError as error:
            skip_unsupported("setting the hash key", evidence=str(error))
        now = scaling.dut.rss()
        assert now.key == key
    with step("Send frames in many flows: each comes by the queue that the new hash gives"):
        scaling.check(now)


@requirement(
    "OFFLOAD-RSS-06",
    level="MUST",
    source=f"{SOURCE}; include/uapi/linux/ethtool.h, ETHTOOL_SRXFH",
    falsified_by="rx.rss.queue",
)
def test_fields(scaling, guest, dut, defer, step, skip_unsupported):
    """The ports of UDP can be put into the hash, or taken out; the driver tells so, and frames follow it."""
    for version in (4, 6):
        before = scaling.fields((UDP, version))
        if before is None:
            skip_unsupported("to say what it hashes", evidence="ETHTOOL_GRXFH was refused")
        other = before ^ (PORT_SOURCE | PORT_DESTINATION)
        with step(f"Change whether the ports of UDP over IPv{version} are hashed"):
            try:
                call = {"ifname": dut.ifname, "flow": FLOWS[UDP, version]}
                guest.agent.call("ethtool.set_hash_fields", **call, fields=other)
            except AgentError as error:
                skip_unsupported("a choice of hashed fields", evidence=str(error))
            defer(guest.agent.call, "ethtool.set_hash_fields", **call, fields=before)
            assert scaling.fields((UDP, version)) == other
    with step("Send frames in many flows: each comes by the queue that the new hash gives"):
        scaling.check(dut.rss())


@requirement(
    "OFFLOAD-RSS-07",
    level="MUST",
    source=f"{SOURCE}; Documentation/networking/ethtool-netlink.rst, CHANNELS_SET",
    falsified_by="rx.rss.queue",
)
@pytest.mark.budget(60)
def test_most_queues(scaling, dut, settings, defer, step, evidence, skip_unsupported):
    """With as many channels as the driver claims at most, the table can name all their receive queues, and each flow comes by its own."""
    channels = dut.get("channels") or {}
    kinds = ("combined",) if channels.get("combined-max", 0) else ("rx", "tx")
    most = min(channels.get(f"{kind}-max", 0) for kind in kinds)
    if most <= dut.queues():
        skip_unsupported("more receive queues than it has", evidence={"ethtool -l": channels})
    before = list(dut.rss().table)
    defer(dut.agent.call, "ethtool.set_rss", ifname=dut.ifname, indir=[])
    with step(f"Set {most} channels"):
        refusal = settings.try_set("channels", **{f"{kind}_count": most for kind in kinds})
        assert refusal is None, str(refusal)
    with step("There are as many receive queues; spread the indirection table over them"):
        assert dut.queues() == most
        # The kernel refuses fewer channels than the table names: whatever it is now, back to that of before first.
        defer(dut.agent.call, "ethtool.set_rss", ifname=dut.ifname, indir=before)
        size = len(dut.rss().table)
        try:
            settings.set_rss(table=[at % most for at in range(size)])
        except AgentError as error:
            skip_unsupported("setting the indirection table", evidence=str(error))
        now = dut.rss()
        evidence("ethtool -x", now)
        assert len(set(now.table)) == min(most, size)
    with step("Send frames in many flows: each comes by its queue"):
        scaling.check(now)


@pytest.fixture
def set_uneven(scaling, settings, skip_unsupported):
    """``table = set_uneven()``: a table that is no default, of queues that are left when there is one less.

    The kernel refuses fewer channels than a table names that was set.
    """

    def set_table():
        size, last = len(scaling.dut.rss().table), max(scaling.dut.queues() - 2, 0)
        table = [0] * (size // 4) + [last] * (size - size // 4)
        try:
            settings.set_rss(table=table)
        except AgentError as error:
            skip_unsupported("setting the indirection table", evidence=str(error))
        return table

    return set_table


@requirement(
    "OFFLOAD-RSS-08",
    level="MUST",
    source=f"{SOURCE}; Documentation/networking/ethtool-netlink.rst, RSS_SET: a table of size 0 resets it, and nothing else is said to",
    falsified_by=("rx.rss.queue", "program:rss.table-lost"),
)
def test_table_stays_over_down(scaling, dut, set_uneven, operations, step):
    """An indirection table that the user has set stays as set when the interface goes down and up."""
    with step("Set an uneven table"):
        table = set_uneven()
    with step("Take the interface down and up"):
        operations.down_up()
    with step("The table is the same, and frames follow it"):
        now = dut.rss()
        assert list(now.table) == table
        scaling.check(now)


@requirement(
    "OFFLOAD-RSS-09",
    level="MUST",
    source=f"{SOURCE}; net/ethtool/common.c, ethtool_check_max_channel: channels that such a table names cannot be taken away",
    falsified_by=("rx.rss.queue", "program:rss.table-lost"),
)
def test_table_stays_over_channels(scaling, dut, set_uneven, operations, step, skip_unsupported):
    """An indirection table that the user has set stays as set when the number of channels changes."""
    with step("Set an uneven table"):
        table = set_uneven()
    with step("Change the number of channels by one and back"):
        try:
            operations.change_channels()
        except NotOfferedError as error:
            skip_unsupported("another number of channels", evidence=str(error))
    with step("The table is the same, and frames follow it"):
        now = dut.rss()
        assert list(now.table) == table
        scaling.check(now)


@requirement(
    "OFFLOAD-RSS-10",
    level="MUST",
    source=f"{SOURCE}: by default the table spreads evenly over the queues; net/ethtool/ioctl.c, a table of size 0 is the default again",
    falsified_by=("rx.rss.queue", "program:rss.table-kept"),
)
def test_default_follows_channels(scaling, dut, settings, set_uneven, step, defer, skip_unsupported):
    """The default indirection table follows the number of channels, also if the user has had another and gave it back."""
    with step("Set an uneven table, and ask for the default again"):
        set_uneven()
        dut.agent.call("ethtool.set_rss", ifname=dut.ifname, indir=[])
    with step("Change the number of channels by one"):
        channels = dut.get("channels") or {}
        other = other_channels(channels)
        refusal = None if other is None else dut.try_set("channels", **other)
        if other is None or refusal is not None:
            skip_unsupported("another number of channels", evidence={"ethtool -l": channels, "refusal": str(refusal)})
        defer(settings.ready)
        defer(settings.set_without_undo, "channels", **{name: channels[name.replace("_", "-")] for name in other})
        settings.ready()
    with step("The table names each queue that there is and no other, and frames follow it"):
        now = dut.rss()
        assert set(now.table) == set(range(dut.queues()))
        scaling.check(now)
