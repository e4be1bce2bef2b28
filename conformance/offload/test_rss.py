# SPDX-License-Identifier: GPL-2.0-or-later
"""Receive-side scaling (RSS): the hash and the indirection table select the queue of each frame, and the driver reports the hash."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import replace

import pytest
from plugfest.dut.operations import NotOfferedError, other_channels
from plugfest.frames.dissect import TCP, UDP, dissect
from plugfest.frames.payload import generate
from plugfest.frames.segmentation import TxRequest
from plugfest.frames.toeplitz import (
    FLOWS,
    PORT_DESTINATION,
    PORT_SOURCE,
    hashed,
    queues_of,
    toeplitz,
)
from plugfest.machine.agent import AgentError
from plugfest.requirements.requirement import requirement
from plugfest.statistics.queue_counters import from_model
from plugfest.traffic.per_queue import ADDRESSES, ALL_FIELDS, reported_fields

SOURCE = "Documentation/networking/scaling.rst, RSS; Microsoft, Verifying the RSS hash calculation"
FLOWS_EACH = 24
"""Flows for each protocol and IP version; each has its own frame length, by which the test recognizes it."""
TOEPLITZ = 1
"""Hash function of ``ethtool -x``."""
KEY = bytes(range(7, 47))
"""A hash key that is no driver's default: 40 bytes."""
KINDS = ((TCP, 4), (UDP, 4), (TCP, 6), (UDP, 6))
CLOSED_PORT = 9
"""A port on which no process listens."""


class RssFlows:
    """Sends flows to the DUT, and compares the queue and hash of each frame with what hash key and indirection table give."""

    def __init__(self, guest, dut, remote, traffic, trace_skbs, until, skip_unsupported, defer):
        self.guest, self.dut, self._remote = guest, dut, remote
        self._found_fields = {}
        self._traffic, self._trace_skbs, self._until = traffic, trace_skbs, until
        found = dut.rss()
        queues = dut.queues()
        if found is None or queues < 2:
            skip_unsupported("receive-side scaling", evidence={"ethtool -x": found, "receive queues": queues})
        if found.function not in (0, TOEPLITZ):
            skip_unsupported("the Toeplitz hash", evidence={"ethtool -x": found})
        if not found.key:
            skip_unsupported("reporting the hash key", evidence={"ethtool -x": found})
        # The stack refuses the TCP flows, for which it asks for their senders; what is asked again comes into the next test.
        flush = ["ip", "neigh", "flush", "dev", dut.ifname, "nud", "incomplete"]
        defer(guest.agent.call, "process.run", command=flush)

    def candidates(self, kind):
        """Return the sets of fields that may be hashed: the reported one, else the one found before, else with and without ports."""
        reported = reported_fields(self.dut, *kind)
        if reported is not None:
            return [reported]
        return [self._found_fields[kind]] if kind in self._found_fields else [ALL_FIELDS, ADDRESSES]

    def frames(self):
        """Return one frame per flow, each of a different length."""
        made = []
        for block, (protocol, version) in enumerate(KINDS):
            for number in range(FLOWS_EACH):
                request = TxRequest(
                    self._traffic.ends,
                    version,
                    generate(number, 0),
                    protocol=protocol,
                    ports=(20000 + 7 * number, CLOSED_PORT),
                    flow=number,
                )
                length = 200 + block * FLOWS_EACH + number
                payload = generate(number, length - request.length)
                made.append(replace(request, payload=payload).finished())
        return made

    def expected(self, rss, frames, skbs):
        """Return the expected hash and queue of each frame, by frame length.

        If the driver does not report which fields it hashes, choose the fields that match most of the skbs; the right choice matches
        all of them.
        """
        expected = {}
        for kind in KINDS:
            mine = [frame for frame in frames if (part := dissect(frame)) and (part.protocol, part.version) == kind]
            choices = []
            for fields in self.candidates(kind):
                hashes = [toeplitz(rss.key, hashed(dissect(frame), fields)) for frame in mine]
                queues = queues_of(hashes, list(rss.table))
                places = {len(frame): each for frame, each in zip(mine, zip(hashes, queues, strict=True), strict=True)}
                misses = sum(
                    1
                    for length, (_, queue) in places.items()
                    if length in skbs and skbs[length].queue not in (queue, None)
                )
                choices.append((misses, -fields, places))
            misses, fields, places = min(choices, key=lambda choice: choice[:2])
            if not misses and len({queue for _, queue in places.values()}) > 1:
                self._found_fields[kind] = -fields
            expected.update(places)
        return expected

    def send(self, frames):
        """Send the frames to the DUT.

        Returns:
            The skb of each frame, by frame length; the device's counters per queue, None without a model; how many frames of
            background traffic the remote end sent meanwhile.
        """
        self._traffic.ready()
        model = self.guest.model
        lengths = {len(frame) for frame in frames}

        def found(seen):
            return {each.length: each for each in seen.received() if each.length in lengths}

        with self._trace_skbs() as seen, self._remote.capture() as capture:
            before = from_model(model.call("model.counters")) if model else None
            self._remote.send(frames)
            with suppress(AssertionError):  # `differences` names those that are lost, and what is wrong with the others
                self._until(
                    lambda: len(found(seen)) == len(lengths),
                    what=f"the driver passes {len(lengths)} frames to the stack",
                    timeout=1,
                )
        by_queue = from_model(model.call("model.counters")).since(before).rx if model else None
        background = len(capture.sent()) - len(frames)
        return found(seen), by_queue, background

    def differences(self, rss, *, hashes=False):
        """Send the flows, and compare the queue (and hash) of each with what hash key and table give.

        Returns:
            The skbs by frame length, and what is wrong, one line each.
        """
        frames = self.frames()
        kinds = {len(frame): kind_of(frame) for frame in frames}
        skbs, by_queue, background = self.send(frames)
        wrong = []
        lost = Counter(kind for length, kind in kinds.items() if length not in skbs)
        if lost:
            wrong.append(f"{lost.total()} of {len(frames)} flows did not arrive ({counts(lost)})")
        expected = self.expected(rss, frames, skbs)
        misplaced = {
            length: each
            for length, each in skbs.items()
            if each.queue is not None and each.queue != expected[length][1]
        }
        if misplaced:
            wrong.append(
                f"{len(misplaced)} of {len(frames)} flows arrived on another queue "
                f"({counts(Counter(kinds[length] for length in misplaced))}), on {sorted({each.queue for each in misplaced.values()})}"
            )
        if by_queue is not None and not lost and not misplaced:
            for queue in set(rss.table):
                count = sum(1 for _, each in expected.values() if each == queue)
                delivered = by_queue[queue].frames if queue in by_queue else 0
                if not count <= delivered <= count + background:
                    wrong.append(
                        f"the device delivered {delivered} frames on queue {queue}, expected {count} to {count + background}"
                    )
        odd = {length: each.hash for length, each in skbs.items() if hashes and each.hash != expected[length][0]}
        if odd:
            none = sum(found is None for found in odd.values())
            wrong.append(
                f"the driver reports {len(odd)} of {len(frames)} hashes wrong, {none} of them not at all "
                f"({counts(Counter(kinds[length] for length in odd))})"
            )
        return skbs, wrong

    def check(self, rss, *, hashes=False):
        """Send the flows; returns the skbs by frame length.

        Raises:
            AssertionError: a queue or hash is not what hash key and table give.
        """
        skbs, wrong = self.differences(rss, hashes=hashes)
        assert not wrong, "; ".join(wrong)
        return skbs

    def check_table(self, table):
        """Check that the driver reports this indirection table, and that frames follow the one that it reports.

        Raises:
            AssertionError: it does not, or they do not.
        """
        now = self.dut.rss()
        _, wrong = self.differences(now)
        if len(now.table) != len(table):
            wrong.insert(0, f"the driver reports a table of {len(now.table)} entries, the user set {len(table)}")
        elif list(now.table) != table:
            at = next(at for at, (found, wanted) in enumerate(zip(now.table, table, strict=True)) if found != wanted)
            found, wanted = list(now.table[at : at + 8]), table[at : at + 8]
            wrong.insert(0, f"from entry {at} of the table on, the driver reports {found}…, the user set {wanted}…")
        assert not wrong, "; ".join(wrong)


def kind_of(frame):
    """Return what kind of flow a frame is of, for people."""
    part = dissect(frame)
    return f"{'TCP' if part.protocol == TCP else 'UDP'} over IPv{part.version}"


def counts(kinds):
    """Return how many there are of each kind, for people."""
    return ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))


@pytest.fixture
def rss_flows(guest, dut, remote, traffic, trace_skbs, until, skip_unsupported, defer):
    """Flows over all receive queues; skips if the driver has a single one, or reports no Toeplitz hash or no key."""
    return RssFlows(guest, dut, remote, traffic, trace_skbs, until, skip_unsupported, defer)


@requirement("OFFLOAD-RSS-01", level="MUST", source=SOURCE, falsified_by="rx.rss.queue")
def test_queue(rss_flows, step, evidence):
    """Each flow, TCP and UDP, IPv4 and IPv6, arrives on the queue that the Toeplitz hash and the indirection table give."""
    with step("Read hash key, indirection table and hashed fields from the driver"):
        rss = rss_flows.dut.rss()
        evidence("ethtool -x", rss)
        assert set(rss.table) <= set(range(rss.queues))
        assert len(set(rss.table)) > 1, "all entries of the indirection table have the same queue"
    with step(
        "Send frames in many flows: each arrives on its queue, by the driver's report and by the device's counters"
    ):
        rss_flows.check(rss)


@requirement("OFFLOAD-RSS-02", level="MUST", source=SOURCE, falsified_by=("rx.rss.hash", "rx.rss.unreported"))
@pytest.mark.fresh_guest  # a driver may spread no frames any more once receive hashing was on and off
def test_hash(rss_flows, active, step):
    """With receive hashing on, the driver reports the Toeplitz hash of each frame."""
    with step("Turn receive hashing on"):
        active("rx-hashing")
    with step("Send frames in many flows: the driver reports the hash of each"):
        rss_flows.check(rss_flows.dut.rss(), hashes=True)


@requirement("OFFLOAD-RSS-03", level="MUST", source=SOURCE, falsified_by="program:settings.not-set")
@pytest.mark.fresh_guest  # as for OFFLOAD-RSS-02
def test_no_hash(rss_flows, active, inactive, step):
    """Once receive hashing is turned off, the driver reports no hash, and frames still arrive on the queues of hash and table."""
    with step("Turn receive hashing on, and off"):
        active("rx-hashing")
        inactive("rx-hashing")
    with step("Send frames in many flows: the driver reports no hash, and each arrives on its queue"):
        skbs, wrong = rss_flows.differences(rss_flows.dut.rss())
        if hashes := sum(each.hash is not None for each in skbs.values()):
            wrong.append(f"the driver reports a hash for {hashes} of {len(skbs)} frames")
        assert not wrong, "; ".join(wrong)


@requirement(
    "OFFLOAD-RSS-04",
    level="MUST",
    source=f"{SOURCE}; include/uapi/linux/ethtool.h, ETHTOOL_SRSSH",
    falsified_by="rx.rss.queue",
)
def test_table(rss_flows, settings, step, skip_unsupported):
    """The indirection table can be set (to one queue, in reverse, unevenly); the driver reports it as set, and frames follow it.

    All tables are tried before the verdict.
    """
    wrong = []
    before = rss_flows.dut.rss()
    size, last = len(before.table), max(before.table)
    tables = ([last] * size, [last - queue for queue in before.table], [0] * (size // 4) + [last] * (size - size // 4))
    for table in tables:
        with step("Set the indirection table: the driver reports it as set, and the hash key as before"):
            try:
                settings.set_rss(table=table)
            except AgentError as error:
                skip_unsupported("setting the indirection table", evidence=str(error))
            now = rss_flows.dut.rss()
            assert list(now.table) == table
            assert now.key == before.key
        with step("Send frames in many flows"):
            wrong += rss_flows.differences(now)[1]
    with step("Each arrived on the queue that the table gives"):
        assert not wrong, "; ".join(wrong)


@requirement(
    "OFFLOAD-RSS-05",
    level="MUST",
    source=f"{SOURCE}; include/uapi/linux/ethtool.h, ETHTOOL_SRSSH",
    falsified_by="rx.rss.queue",
)
def test_key(rss_flows, settings, step, skip_unsupported):
    """The hash key can be set; the driver reports it as set, and frames follow it."""
    size = len(rss_flows.dut.rss().key)
    key = (KEY * (size // len(KEY) + 1))[:size]
    with step("Set another hash key: the driver reports it as set"):
        try:
            settings.set_rss(key=key)
        except AgentError as error:
            skip_unsupported("setting the hash key", evidence=str(error))
        now = rss_flows.dut.rss()
        assert now.key == key
    with step("Send frames in many flows: each arrives on the queue that the new hash gives"):
        rss_flows.check(now)


@requirement(
    "OFFLOAD-RSS-06",
    level="MUST",
    source=f"{SOURCE}; include/uapi/linux/ethtool.h, ETHTOOL_SRXFH",
    falsified_by="rx.rss.queue",
)
def test_fields(rss_flows, guest, dut, defer, step, skip_unsupported):
    """UDP ports can be added to and removed from the hashed fields; the driver reports the fields as set, and frames follow them."""
    for version in (4, 6):
        before = reported_fields(dut, UDP, version)
        if before is None:
            skip_unsupported("reporting the hashed fields", evidence="the driver rejects ETHTOOL_GRXFH")
        other = before ^ (PORT_SOURCE | PORT_DESTINATION)
        with step(f"Change whether UDP ports over IPv{version} are hashed: the driver reports the fields as set"):
            try:
                call = {"ifname": dut.ifname, "flow": FLOWS[UDP, version]}
                guest.agent.call("ethtool.set_hash_fields", **call, fields=other)
            except AgentError as error:
                skip_unsupported("setting the hashed fields", evidence=str(error))
            defer(guest.agent.call, "ethtool.set_hash_fields", **call, fields=before)
            assert reported_fields(dut, UDP, version) == other
    with step("Send frames in many flows: each arrives on the queue that the new hash gives"):
        rss_flows.check(dut.rss())


@requirement(
    "OFFLOAD-RSS-07",
    level="MUST",
    source=f"{SOURCE}; Documentation/networking/ethtool-netlink.rst, CHANNELS_SET",
    falsified_by="rx.rss.queue",
)
@pytest.mark.budget(60)
def test_max_channels(rss_flows, dut, settings, defer, step, evidence, skip_unsupported):
    """With the largest number of channels, the indirection table can spread the flows over all receive queues."""
    channels = dut.get("channels") or {}
    kinds = ("combined",) if channels.get("combined-max", 0) else ("rx", "tx")
    most = min(channels.get(f"{kind}-max", 0) for kind in kinds)
    if most <= dut.queues():
        skip_unsupported("more receive queues than the default", evidence={"ethtool -l": channels})
    before = list(dut.rss().table)
    defer(dut.agent.call, "ethtool.set_rss", ifname=dut.ifname, indir=[])
    with step(f"Set {most} channels"):
        error = settings.try_set("channels", **{f"{kind}_count": most for kind in kinds})
        assert error is None, str(error)
    with step(f"The netdev has {most} receive queues; spread the indirection table over all of them"):
        assert dut.queues() == most
        # The kernel rejects fewer channels than the table uses: restore the table before the channels.
        defer(dut.agent.call, "ethtool.set_rss", ifname=dut.ifname, indir=before)
        size = len(dut.rss().table)
        try:
            settings.set_rss(table=[at % most for at in range(size)])
        except AgentError as error:
            skip_unsupported("setting the indirection table", evidence=str(error))
        now = dut.rss()
        evidence("ethtool -x", now)
        assert len(set(now.table)) == min(most, size)
    with step("Send frames in many flows: each arrives on its queue"):
        rss_flows.check(now)


@pytest.fixture
def set_uneven(rss_flows, settings, skip_unsupported):
    """``table = set_uneven()`` sets a table that is no default, without the last queue; returns it.

    The kernel rejects fewer channels than a table that the user has set uses.
    """

    def set_table():
        size, last = len(rss_flows.dut.rss().table), max(rss_flows.dut.queues() - 2, 0)
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
    source=f"{SOURCE}; Documentation/networking/ethtool-netlink.rst, RSS_SET: a table of size 0, and nothing else named there, resets it",
    falsified_by=("rx.rss.queue", "program:rss.table-lost"),
)
def test_table_after_down(rss_flows, set_uneven, operations, step):
    """An indirection table that the user has set stays when the interface goes down and up."""
    with step("Set an uneven indirection table"):
        table = set_uneven()
    with step("Set the interface down and up"):
        operations.down_up()
    with step("The driver reports the same table, and frames follow it"):
        rss_flows.check_table(table)


@requirement(
    "OFFLOAD-RSS-09",
    level="MUST",
    source=f"{SOURCE}; net/ethtool/common.c, ethtool_check_max_channel: channels that such a table uses cannot be removed",
    falsified_by=("rx.rss.queue", "program:rss.table-lost"),
)
def test_table_after_channels(rss_flows, set_uneven, operations, step, skip_unsupported):
    """An indirection table that the user has set stays when the number of channels changes."""
    with step("Set an uneven indirection table"):
        table = set_uneven()
    with step("Change the number of channels by one and back"):
        try:
            operations.change_channels()
        except NotOfferedError as error:
            skip_unsupported("changing the number of channels", evidence=str(error))
    with step("The driver reports the same table, and frames follow it"):
        rss_flows.check_table(table)


@requirement(
    "OFFLOAD-RSS-10",
    level="MUST",
    source=f"{SOURCE}: by default the table spreads evenly over the queues; net/ethtool/ioctl.c: a table of size 0 restores the default",
    falsified_by=("rx.rss.queue", "program:rss.table-kept"),
)
def test_default_follows_channels(rss_flows, dut, settings, set_uneven, step, defer, skip_unsupported):
    """The default indirection table follows the number of channels, also after the user has set another table and restored the default."""
    with step("Set an uneven indirection table, and restore the default"):
        set_uneven()
        dut.agent.call("ethtool.set_rss", ifname=dut.ifname, indir=[])
    with step("Change the number of channels by one"):
        channels = dut.get("channels") or {}
        other = other_channels(channels)
        error = None if other is None else dut.try_set("channels", **other)
        if other is None or error is not None:
            skip_unsupported("changing the number of channels", evidence={"ethtool -l": channels, "error": str(error)})
        defer(settings.ready)
        defer(settings.set_without_undo, "channels", **{name: channels[name.replace("_", "-")] for name in other})
        settings.ready()
    with step("The table contains each receive queue and no other, and frames follow it"):
        now = dut.rss()
        assert set(now.table) == set(range(dut.queues()))
        rss_flows.check(now)
