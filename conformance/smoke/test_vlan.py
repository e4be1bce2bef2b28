# SPDX-License-Identifier: GPL-2.0-or-later
"""VLAN interfaces on top of the one under test (IEEE 802.1Q)."""

from __future__ import annotations

import base64
import itertools

import pytest
from plugfest.frames.payload import generate
from plugfest.frames.probe import tagged
from plugfest.requirements.requirement import requirement
from plugfest.traffic.packet_socket import PacketSender
from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw

VLANS = (1, 2, 100, 4094)
"""Both ends of the range, and what a confusion of octets would show."""
UNUSED_VLAN = 77
LOCAL = bytes.fromhex("88b5")
SIZES = (60, 61, 128, 1024, 1514)
"""Frame lengths without the tag."""
SOURCE = "IEEE 802.1Q-2022, clause 9.6 (tag format); Documentation/networking/netdevices.rst"


def frame(destination, source, number, size):
    """A frame of `size` octets that tells its number."""
    macs = bytes.fromhex((destination + source).replace(":", ""))
    return macs + LOCAL + bytes((number + index) & 0xFF for index in range(size - 14))


@pytest.fixture
def vlan_interface(guest, dut, defer, settings):
    """Makes a VLAN interface and returns its name."""
    settings.ready()
    numbers = itertools.count()

    def make(vlan):
        name = f"vlan{next(numbers)}"
        guest.agent.call("link.add_vlan", ifname=dut.ifname, vlan=vlan, name=name)
        defer(guest.agent.call, "link.delete", ifname=name)
        guest.agent.call("link.set", ifname=name, up=True)
        return name

    return make


@requirement(
    "SMOKE-VLAN-01",
    level="MUST",
    source=SOURCE,
    falsified_by=("tx.vlan.missing", "tx.vlan.wrong", "tx.frame.corrupted"),
)
def test_send(vlan_interface, guest, dut, remote, until, defer, step):
    """What a VLAN interface sends is on the wire with its tag, otherwise unchanged, in frames of every length."""
    sent = [frame(remote.mac, dut.mac, number, size) for number, size in enumerate(SIZES)]
    for vlan in VLANS:
        with step(f"Send frames on VLAN {vlan}"), remote.capture() as seen:
            PacketSender(guest.agent, vlan_interface(vlan), defer).send(sent)
            until(lambda seen=seen: len(ours(seen)) >= len(sent), what=f"{len(sent)} frames are on the wire", timeout=1)
        with step("Each is on the wire with that tag"):
            assert ours(seen) == [tagged(each, vlan) for each in sent]


def ours(capture):
    """The frames of these tests that the DUT sent."""
    return [each for each in capture.received() if LOCAL in (each[12:14], each[16:18])]


@requirement(
    "SMOKE-VLAN-02",
    level="MUST",
    source=SOURCE,
    falsified_by=("rx.vlan.wrong", "rx.vlan.filter-closed", "rx.frame.corrupted"),
)
def test_receive(vlan_interface, guest, dut, remote, until, defer, step):
    """A tagged frame reaches the interface of its VLAN, without the tag, and no other interface; priority makes no difference."""
    sockets = {}
    with step("Make VLAN interfaces"):
        for vlan in VLANS:
            handle = guest.agent.call("packet.open", ifname=vlan_interface(vlan), protocol=0x88B5)
            defer(guest.agent.call, "handle.close", handle=handle)
            sockets[vlan] = handle
    sent = {
        vlan: [frame(dut.mac, remote.mac, vlan + number, size) for number, size in enumerate(SIZES)] for vlan in VLANS
    }
    with step("Send frames with each VLAN's tag, with one that no interface has, and without"):
        remote.send(tagged(each, UNUSED_VLAN) for each in sent[1])
        remote.send(sent[1])
        for vlan, frames in sent.items():
            remote.send(tagged(each, number % 8 << 13 | vlan) for number, each in enumerate(frames))
    with step("Each interface has received its own frames, and nothing else"):
        for vlan, handle in sockets.items():
            found = []

            def complete(vlan=vlan, handle=handle, found=found):
                news = guest.agent.call("packet.receive", packet=handle, count=len(SIZES) - len(found), timeout=0.2)
                found.extend(base64.b64decode(each["frame"]) for each in news)
                return len(found) >= len(sent[vlan])

            until(complete, what=f"{len(SIZES)} frames arrive on VLAN {vlan}", timeout=1)
            assert found == sent[vlan]
            assert guest.agent.call("packet.drain", packet=handle) == 0


@requirement(
    "SMOKE-VLAN-03",
    level="MUST",
    source=f"{SOURCE}; IEEE 802.3, clause 3.2.7: a tagged frame may be 4 octets longer",
    falsified_by=("rx.frame.truncated", "tx.vlan.missing"),
)
def test_hosts(vlan_interface, guest, remote, dut, run, step):
    """A host on a VLAN answers an echo request, in frames of the full MTU too: request and answer have the tag."""
    vlan = VLANS[2]
    with step("Give a VLAN interface an address and a neighbour"):
        name = vlan_interface(vlan)
        guest.agent.call("link.add_address", ifname=name, address="198.51.100.2/24")
        run("ip", "neighbour", "add", "198.51.100.1", "lladdr", remote.mac, "dev", name)
    for length in (56, 1472):
        with step(f"Send a tagged echo request with {length} octets: the answer has the tag and the same octets"):
            payload = generate(1, length)
            request = Ether(dst=dut.mac, src=remote.mac) / Dot1Q(vlan=vlan) / IP(src="198.51.100.1", dst="198.51.100.2")
            answer = remote.exchange(request / ICMP(id=7) / Raw(payload), lambda found: ICMP in found, timeout=5)
            assert answer is not None, "no answer"
            assert Dot1Q in answer, "the answer has no tag"
            assert (answer[Dot1Q].vlan, answer[ICMP].type, answer[IP].src) == (vlan, 0, "198.51.100.2")
            assert bytes(answer[ICMP].payload)[:length] == payload
