# SPDX-License-Identifier: GPL-2.0-or-later
"""Bursts change nothing: frames, completions and counts of gve are the same as when each frame takes its own way."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from burst_frames import any_bursts, datagram
from direct_client import DirectClient
from gve_driver import DqoReceive, DqoTransmit, GveDriver, Received
from hypothesis import given, settings
from hypothesis import strategies as st
from nicmodels.clock import ManualClock
from nicmodels.models.gve import create
from nicmodels.nic.device import Options, Slot
from nicmodels.pci import ResetCause
from nicmodels.wire import NullWire
from scapy.layers.inet import TCP
from wire_peer import MAC, PEER, RAM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nicmodels.models.gve.device import Gve

RING = 256


class ListWire(NullWire):
    """A wire that records sent frames, and receives those in `incoming`."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.incoming: list[bytes] = []

    def transmit(self, buffers: Sequence[bytes | bytearray | memoryview]) -> None:
        self.sent.append(b"".join(buffers))

    def receive(self) -> bytes | None:
        return self.incoming.pop(0) if self.incoming else None


class Rig:
    """The device with two queues of each direction, on a manual clock."""

    def __init__(self, *, header: int = 0, together: bool = True) -> None:
        self.clock, self.wire = ManualClock(), ListWire()
        self.slot = Slot(clock=self.clock, wire=self.wire)
        self.device: Gve = create(self.slot, Options(profile="hds" if header else None, mac=MAC))
        self.device.restart(ResetCause.POWER_ON)
        client = DirectClient(self.device, lambda: self.clock.advance(0))
        self.driver = GveDriver(client, client.add_ram(RAM, 8 << 20))
        self.driver.start()
        self.tx = DqoTransmit(self.driver, 0, ring=RING).create()
        self.rx = [DqoReceive(self.driver, index, ring=RING, header=header).create() for index in range(2)]
        for queue in self.rx:
            queue.post()
        self.buffer = self.driver.ram.allocate(4096)
        self.driver.ram.write(self.buffer, b"\xff" * 6 + PEER + b"\x88\xb5" + bytes(4000))
        self.clock.advance(1)
        assert self.driver.link
        if not together:
            # Armed for queues that do not exist: they never fire, and keep all frames out of bursts.
            self.slot.faults["rx.frame.truncated"].arm(match={"queue": 99})
            self.slot.faults["tx.frame.dropped"].arm(match={"queue": 99})

    def receive(self, burst: list[bytes]) -> list[tuple[int, Received]]:
        self.wire.incoming.extend(burst)
        self.device.frame_arrived()
        self.clock.advance(0)
        found = []
        for queue in self.rx:
            found += [(queue.index, replace(each, stamp=None)) for each in queue.poll()]
            queue.post()
        return found

    def counts(self) -> dict[str, object]:
        methods = self.device.control_methods()
        return {name: methods[name]() for name in ("model.counters", "model.accounting", "model.queues")}


BURSTS = any_bursts(
    MAC,
    PEER,
    ports=(1000, 1001, 1002),
    groups=(b"\xff" * 6, bytes.fromhex("333300000001"), MAC, PEER),
    kinds=(b"\x88\xb5", b"\x88\xb6", b"\0\x20"),
)
rigs = {header: (Rig(header=header), Rig(header=header, together=False)) for header in (0, 256)}


@settings(max_examples=60, deadline=None)
@given(st.sampled_from((0, 256)), BURSTS)
def test_receiving(header: int, bursts: list[list[bytes]]) -> None:
    together, alone = rigs[header]
    for burst in bursts:
        assert together.receive(burst) == alone.receive(burst)
    assert together.counts() == alone.counts()
    assert not len(alone.device.receiver.flow_cache)


def test_the_cache_is_used_until_the_configuration_changes() -> None:
    rig = Rig()
    frame = datagram(MAC, PEER, 1000, 100, 4, TCP, damaged=False)
    ((queue, _),) = rig.receive([frame])
    assert len(rig.device.receiver.flow_cache) == 1
    assert rig.receive([frame])[0][0] == queue
    rig.driver.set_rss(bytes(40), [1 - queue] * 128)
    assert rig.receive([frame])[0][0] == 1 - queue


def test_frames_have_a_timestamp_of_their_burst() -> None:
    rig = Rig(header=256)
    frame = b"\xff" * 6 + PEER + b"\x88\xb5" + bytes(46)
    rig.receive([frame])
    rig.clock.advance(0.5)
    rig.wire.incoming.extend([frame] * 3)
    rig.device.frame_arrived()
    assert {each.stamp for each in rig.rx[0].poll()} == {int(rig.clock.now() * 1e9) & 0xFFFFFFFF}


packets = st.tuples(
    st.integers(14, 300),
    st.integers(0, 20),  # the tag, which the driver may use again only when it was completed
    st.sampled_from((0x20, 0x20, 0x20, 0x20, 0x60, 0xA0, 0x00)),  # end; checksum; report
    st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(packets, max_size=60), max_size=6))
def test_transmitting(bursts: list[list[tuple[int, int, int, bool]]]) -> None:
    results = []
    for rig in rigs[0]:
        for burst in bursts:
            for size, tag, flags, context in [*burst, (60, 99, 0x20, False)]:  # ends a packet that is still open
                if context:
                    rig.tx.push(struct.pack("<8xBB6x", 0x4, 0))
                rig.tx.push(struct.pack("<QBBHHH", rig.buffer, 0xC | flags, 0, 0, tag, size))
            rig.tx.ring_doorbell()
            rig.clock.advance(0)
            rig.tx.poll()
        sent, rig.wire.sent = rig.wire.sent, []
        done, rig.tx.done = rig.tx.done, []
        heads, rig.tx.heads = rig.tx.heads, []
        results.append((sent, done, heads, rig.counts()))
    assert results[0] == results[1]


def test_no_interrupt_stands_for_more_completions_than_gve_polls_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """After 64 completions gve may arm the interrupt instead of polling on (gve_napi_poll_dqo)."""
    rig, events = Rig(), []
    rig.receive([frame := b"\xff" * 6 + PEER + b"\x88\xb5" + bytes(46)])
    queue = next(each for each in rig.device.receiver.queues if each is not None)
    monkeypatch.setattr(rig.device.receiver._blocks, "event", events.append)
    for burst in ([frame] * 64, [frame] * 65):
        events.clear()
        rig.wire.incoming.extend(burst)
        rig.device.frame_arrived()
        assert events == [queue.block] * -(-len(burst) // 64)
        for each in rig.rx:
            each.poll()
            each.post()
