# SPDX-License-Identifier: GPL-2.0-or-later
"""VLAN offloads: tag insertion, tag stripping and filtering."""

from __future__ import annotations

import base64
from contextlib import suppress

import pytest
from plugfest.frames.probe import tagged
from plugfest.requirements.requirement import requirement
from plugfest.traffic.packet_socket import PacketSender
from plugfest.traffic.traffic import SentFrames, check_same

SOURCE = "IEEE 802.1Q-2022, clause 9.6; Documentation/networking/netdev-features.rst"
INSERT, STRIP, FILTER = "tx-vlan-hw-insert", "rx-vlan-hw-parse", "rx-vlan-filter"
VLAN, UNUSED_VLAN = 100, 101
LOCAL_ETHERTYPE = bytes.fromhex("88b5")
SIZES = (60, 127, 1024, 1514)
PRIORITIES = (0, 3, 7)


def frames(destination, source):
    """Return a frame of each length."""
    macs = bytes.fromhex((destination + source).replace(":", ""))
    return [macs + LOCAL_ETHERTYPE + bytes((size + index) & 0xFF for index in range(size - 14)) for size in SIZES]


@pytest.fixture
def vlan(settings):
    """The name of an interface for VLAN 100 on top of the interface under test."""
    name = settings.add_vlan(VLAN)
    settings.ready()
    return name


@pytest.fixture
def send_on_vlan(guest, dut, remote, trace_skbs, until, vlan, defer):
    """``skbs, frames = send_on_vlan()`` sends frames on the VLAN; returns the skbs that the driver got and the frames on the wire."""

    def send():
        data = frames(remote.mac, dut.mac)
        with remote.capture() as capture, trace_skbs() as skbs:
            seen = SentFrames(capture, is_ours)
            PacketSender(guest, vlan, defer).send(data)
            until(lambda: seen.reached(len(data)), what=f"{len(data)} frames are on the wire", timeout=1)
        # Background traffic on the VLAN also has protocol 0x8100 if the tag is in the frame: select by length.
        return of_length(skbs.sent(), SIZES), seen.frames()

    def is_ours(frame):
        return LOCAL_ETHERTYPE in (frame[12:14], frame[16:18])

    return send


@requirement(
    "OFFLOAD-VLANTX-01",
    level="MUST",
    source=SOURCE,
    falsified_by=("tx.vlan.missing", "tx.vlan.wrong"),
)
def test_insert(send_on_vlan, active, dut, remote, step):
    """With VLAN insertion on, the driver gets the tag in the skb's metadata, and the device inserts it into the frame."""
    with step("Turn VLAN insertion on, and send frames of all lengths on a VLAN"):
        active(INSERT)
        skbs, found = send_on_vlan()
    with step("Each skb that the driver got has the tag in its metadata: the offload is in use"):
        assert [each.tag for each in skbs] == [VLAN] * len(SIZES)
    with step("On the wire each frame has the tag and is otherwise unchanged"):
        assert found == [tagged(each, VLAN) for each in frames(remote.mac, dut.mac)]


@requirement(
    "OFFLOAD-VLANTX-02",
    level="MUST",
    source=SOURCE,
    falsified_by=("program:settings.not-set", "tx.frame.corrupted"),
)
def test_no_insert(send_on_vlan, inactive, dut, remote, step):
    """With VLAN insertion off, the driver gets frames with the tag in the frame, and sends them unchanged."""
    with step(
        "Turn VLAN insertion off, and stripping too since some drivers couple them; send frames of all lengths on a VLAN"
    ):
        inactive(*(name for name in (INSERT, STRIP) if name == INSERT or name in dut.features().free))
        skbs, found = send_on_vlan()
    with step("No skb that the driver got has a tag in its metadata"):
        assert [each.tag for each in skbs] == [None] * len(SIZES)
    with step("On the wire each frame has the tag and is otherwise unchanged"):
        assert found == [tagged(each, VLAN) for each in frames(remote.mac, dut.mac)]


@pytest.fixture
def receive_on_vlan(guest, dut, remote, trace_skbs, until, vlan, defer):
    """``skbs = receive_on_vlan()`` sends tagged frames to the DUT; returns the skbs that the driver passed to the stack.

    Each frame must reach the VLAN interface once and without the tag.
    """

    def receive():
        handle = guest.agent.call("packet.open", ifname=vlan, protocol=0x88B5)
        defer(guest.agent.call, "handle.close", handle=handle)
        data = frames(dut.mac, remote.mac)
        found = []

        def complete():
            received = guest.agent.call("packet.receive", packet=handle, count=count - len(found), timeout=0.2)
            found.extend(base64.b64decode(each["frame"]) for each in received)
            return len(found) >= count

        count = len(data) * len(PRIORITIES)
        with trace_skbs() as seen:
            remote.send(tagged(each, priority << 13 | VLAN) for priority in PRIORITIES for each in data)
            with suppress(AssertionError):  # `check_same` says which are missing
                until(complete, what=f"{count} frames reach the VLAN interface", timeout=1)
        check_same(found, data * len(PRIORITIES), "frames on the VLAN interface")
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
    """With VLAN stripping on, the device strips the tag, and the driver reports it, including the priority, in the skb's metadata."""
    with step(
        "Turn VLAN stripping on, and send tagged frames of all lengths and several priorities: each reaches the VLAN interface"
    ):
        active(STRIP)
        skbs = receive_on_vlan()
    with step("The driver reports the tag of each frame in the skb's metadata"):
        expected = [priority << 13 | VLAN for priority in PRIORITIES for _ in SIZES]
        assert [each.tag for each in skbs] == expected


@requirement(
    "OFFLOAD-VLANRX-02",
    level="MUST",
    source=SOURCE,
    falsified_by=("program:settings.not-set", "rx.frame.corrupted"),
)
def test_no_strip(receive_on_vlan, inactive, step):
    """With VLAN stripping off, the driver passes frames to the stack with the tag in the frame, and they reach the VLAN interface."""
    with step("Turn VLAN stripping off, and send tagged frames of all lengths: each reaches the VLAN interface"):
        inactive(STRIP)
        skbs = receive_on_vlan()
    with step("The driver reports no tag in the metadata of an skb"):
        assert [each.tag for each in skbs] == [None] * len(skbs)
        assert {each.protocol for each in skbs} == {0x8100}


@requirement(
    "OFFLOAD-VLANFILTER-01",
    level="MUST",
    source=f"{SOURCE}; include/linux/netdevice.h, ndo_vlan_rx_add_vid",
    falsified_by=("rx.vlan.filter-open", "rx.vlan.filter-closed"),
)
@pytest.mark.usefixtures("vlan")
def test_filter(guest, dut, remote, active, trace_skbs, until, step, defer):
    """With VLAN filtering on, the stack receives frames of VLANs that have an interface, and no frames of other VLANs."""
    lengths = (60, 1514)
    with step("Turn VLAN filtering on"):
        active(FILTER)
    with (
        step("Send frames of a VLAN without an interface, then of a VLAN with one, then untagged ones"),
        trace_skbs() as seen,
    ):
        data = frames(dut.mac, remote.mac)
        handle = guest.agent.call("packet.open", ifname=dut.ifname, protocol=0x88B5)
        defer(guest.agent.call, "handle.close", handle=handle)
        remote.send([tagged(each, UNUSED_VLAN) for each in data])
        remote.send([tagged(each, VLAN) for each in data])
        remote.send(data)
        until(
            lambda: len(of_length(seen.received(), lengths)) >= 2 * len(lengths),
            what="the driver passes the frames to the stack",
            timeout=1,
        )
    with step(
        "The stack received the frames of the VLAN with an interface and the untagged ones, none of the other VLAN"
    ):
        found = [
            each.length + (4 if each.tag is not None else 0)
            for each in seen.received()
            if each.protocol in (0x8100, 0x88B5)
        ]
        assert sorted(found) == sorted([size + 4 for size in SIZES] + list(SIZES))


def of_length(skbs, lengths):
    """Return the skbs whose frame has one of these lengths, not counting a tag."""
    wanted = {*lengths, *(length + 4 for length in lengths)}
    return [each for each in skbs if each.length in wanted and each.protocol in (0x8100, 0x88B5)]


@requirement(
    "OFFLOAD-VLANFILTER-02",
    level="MUST",
    source=SOURCE,
    falsified_by=("program:settings.not-set", "rx.frame.dropped"),
)
@pytest.mark.usefixtures("vlan")
def test_no_filter(dut, remote, inactive, trace_skbs, until, step):
    """With VLAN filtering off, the stack receives frames of all VLANs."""
    with step("Turn VLAN filtering off, and send frames of a VLAN without an interface: the stack receives them"):
        inactive(FILTER)
        with trace_skbs() as seen:
            remote.send([tagged(each, UNUSED_VLAN) for each in frames(dut.mac, remote.mac)])
            until(
                lambda: len(of_length(seen.received(), SIZES)) >= len(SIZES),
                what="the driver passes the frames to the stack",
                timeout=1,
            )
