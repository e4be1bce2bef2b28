# SPDX-License-Identifier: GPL-2.0-or-later
"""VLAN offloads: tags that the device puts in, takes out, and filters by."""

from __future__ import annotations

import base64

import pytest
from plugfest.frames.probe import tagged
from plugfest.requirements.requirement import requirement
from plugfest.traffic.packet_socket import PacketSender

SOURCE = "IEEE 802.1Q-2022, clause 9.6; Documentation/networking/netdev-features.rst"
INSERT, STRIP, FILTER = "tx-vlan-hw-insert", "rx-vlan-hw-parse", "rx-vlan-filter"
VLAN, UNUSED_VLAN = 100, 101
LOCAL = bytes.fromhex("88b5")
SIZES = (60, 127, 1024, 1514)
PRIORITIES = (0, 3, 7)


def frames(destination, source):
    """A frame of each length."""
    macs = bytes.fromhex((destination + source).replace(":", ""))
    return [macs + LOCAL + bytes((size + index) & 0xFF for index in range(size - 14)) for size in SIZES]


@pytest.fixture
def vlan(guest, dut, defer, settings):
    """An interface for VLAN 100 on the one under test: its name."""
    guest.agent.call("link.add_vlan", ifname=dut.ifname, vlan=VLAN, name="vlan0")
    defer(guest.agent.call, "link.delete", ifname="vlan0")
    guest.agent.call("link.set", ifname="vlan0", up=True)
    settings.ready()
    return "vlan0"


@pytest.fixture
def send_on_vlan(guest, dut, remote, trace_skbs, until, vlan, defer):
    """Sends frames on the VLAN; returns what the driver was handed of them, and what the wire carried."""

    def send():
        data = frames(remote.mac, dut.mac)
        with remote.capture() as capture, trace_skbs() as seen:
            PacketSender(guest.agent, vlan, defer).send(data)
            until(lambda: len(ours(capture)) >= len(data), what=f"{len(data)} frames are on the wire", timeout=1)
        # The stack's own on the VLAN has the tag's protocol too, once that is within the frame.
        return of_length(seen.sent(), SIZES), ours(capture)

    def ours(capture):
        return [each for each in capture.received() if LOCAL in (each[12:14], each[16:18])]

    return send


@requirement(
    "OFFLOAD-VLANTX-01",
    level="MUST",
    source=SOURCE,
    falsified_by=("tx.vlan.missing", "tx.vlan.wrong"),
)
def test_insert(send_on_vlan, active, dut, remote, step):
    """With VLAN insertion on, tags are told beside the frame, and the device puts them in their place."""
    with step("Turn it on, and send frames of every length on a VLAN"):
        active(INSERT)
        handed, found = send_on_vlan()
    with step("The driver got the tag beside each frame: the offload is really used"):
        assert [each.tag for each in handed] == [VLAN] * len(SIZES)
    with step("On the wire the tag is in its place, and all else as it was"):
        assert found == [tagged(each, VLAN) for each in frames(remote.mac, dut.mac)]


@requirement(
    "OFFLOAD-VLANTX-02",
    level="MUST",
    source=SOURCE,
    falsified_by=("program:settings.not-set", "tx.frame.corrupted"),
)
def test_no_insert(send_on_vlan, inactive, dut, remote, step):
    """With VLAN insertion off, frames are handed over with the tag in its place, and the wire carries the same."""
    with step("Turn it off, with stripping, to which some drivers tie it, and send frames of every length on a VLAN"):
        inactive(*(name for name in (INSERT, STRIP) if name == INSERT or name in dut.features().free))
        handed, found = send_on_vlan()
    with step("The driver got the tag within each frame"):
        assert [each.tag for each in handed] == [None] * len(SIZES)
    with step("On the wire the tag is in its place, and all else as it was"):
        assert found == [tagged(each, VLAN) for each in frames(remote.mac, dut.mac)]


@pytest.fixture
def receive_on_vlan(guest, dut, remote, trace_skbs, until, vlan, defer):
    """Sends tagged frames to the DUT; returns what the driver handed over, and what the VLAN's interface got."""

    def receive():
        handle = guest.agent.call("packet.open", ifname=vlan, protocol=0x88B5)
        defer(guest.agent.call, "handle.close", handle=handle)
        data = frames(dut.mac, remote.mac)
        found = []

        def complete():
            news = guest.agent.call("packet.receive", packet=handle, count=count - len(found), timeout=0.2)
            found.extend(base64.b64decode(each["frame"]) for each in news)
            return len(found) >= count

        count = len(data) * len(PRIORITIES)
        with trace_skbs() as seen:
            remote.send(tagged(each, priority << 13 | VLAN) for priority in PRIORITIES for each in data)
            until(complete, what=f"{count} frames reach the VLAN's interface", timeout=1)
        assert found == data * len(PRIORITIES)
        return [each for each in seen.received() if each.protocol in (0x8100, 0x88B5)]

    return receive


@requirement(
    "OFFLOAD-VLANRX-01",
    level="MUST",
    source=SOURCE,
    falsified_by=("rx.vlan.not-stripped", "rx.vlan.wrong"),
)
def test_strip(receive_on_vlan, active, step):
    """With VLAN stripping on, the tag is told beside the frame, priority and all, and the frame comes without."""
    with step(
        "Turn it on, and send tagged frames of every length and some priorities: each reaches the VLAN's interface"
    ):
        active(STRIP)
        reported = receive_on_vlan()
    with step("The driver tells the tag of each beside it"):
        wanted = [priority << 13 | VLAN for priority in PRIORITIES for _ in SIZES]
        assert [each.tag for each in reported] == wanted


@requirement(
    "OFFLOAD-VLANRX-02",
    level="MUST",
    source=SOURCE,
    falsified_by=("program:settings.not-set", "rx.frame.corrupted"),
)
def test_no_strip(receive_on_vlan, inactive, step):
    """With VLAN stripping off, frames come with the tag in its place, and still reach the VLAN's interface."""
    with step("Turn it off, and send tagged frames of every length: each reaches the VLAN's interface"):
        inactive(STRIP)
        reported = receive_on_vlan()
    with step("The driver tells no tag beside a frame"):
        assert [each.tag for each in reported] == [None] * len(reported)
        assert {each.protocol for each in reported} == {0x8100}


@requirement(
    "OFFLOAD-VLANFILTER-01",
    level="MUST",
    source=f"{SOURCE}; include/linux/netdevice.h, ndo_vlan_rx_add_vid",
    falsified_by=("rx.vlan.filter-open", "rx.vlan.filter-closed"),
)
@pytest.mark.usefixtures("vlan")
def test_filter(guest, dut, remote, active, trace_skbs, until, step, defer):
    """With VLAN filtering on, frames of VLANs that have an interface come to the stack, and frames of others do not."""
    lengths = (60, 1514)
    with step("Turn it on"):
        active(FILTER)
    with step("Send frames of a VLAN without interface, then of one with, then untagged"), trace_skbs() as seen:
        data = frames(dut.mac, remote.mac)
        handle = guest.agent.call("packet.open", ifname=dut.ifname, protocol=0x88B5)
        defer(guest.agent.call, "handle.close", handle=handle)
        remote.send([tagged(each, UNUSED_VLAN) for each in data])
        remote.send([tagged(each, VLAN) for each in data])
        remote.send(data)
        until(
            lambda: len(of_length(seen.received(), lengths)) >= 2 * len(lengths), what="the frames have come", timeout=1
        )
    with step("Those of the VLAN with interface, and the untagged ones, came; of the other VLAN none did"):
        found = [
            each.length + (4 if each.tag is not None else 0)
            for each in seen.received()
            if each.protocol in (0x8100, 0x88B5)
        ]
        assert sorted(found) == sorted([size + 4 for size in SIZES] + list(SIZES))


def of_length(buffers, lengths):
    """Which of these are frames of these lengths, tag or not."""
    wanted = {*lengths, *(length + 4 for length in lengths)}
    return [each for each in buffers if each.length in wanted and each.protocol in (0x8100, 0x88B5)]


@requirement(
    "OFFLOAD-VLANFILTER-02",
    level="MUST",
    source=SOURCE,
    falsified_by=("program:settings.not-set", "rx.frame.dropped"),
)
@pytest.mark.usefixtures("vlan")
def test_no_filter(dut, remote, inactive, trace_skbs, until, step):
    """With VLAN filtering off, frames of all VLANs come to the stack."""
    with step("Turn it off, and send frames of a VLAN without interface"):
        inactive(FILTER)
        with trace_skbs() as seen:
            remote.send([tagged(each, UNUSED_VLAN) for each in frames(dut.mac, remote.mac)])
            until(lambda: len(of_length(seen.received(), SIZES)) >= len(SIZES), what="the frames have come", timeout=1)
