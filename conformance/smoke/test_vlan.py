# SPDX-License-Identifier: GPL-2.0-or-later
"""VLAN interfaces on top of the interface under test (IEEE 802.1Q)."""

from __future__ import annotations

import base64
import ipaddress
import struct

import pytest
from plugfest.frames.payload import generate
from plugfest.frames.probe import internet_checksum, tagged
from plugfest.requirements.requirement import requirement
from plugfest.traffic.packet_socket import PacketSender

VLANS = (1, 2, 100, 4094)
"""Both ends of the range, and ids that a wrong byte order changes."""
UNUSED_VLAN = 77
LOCAL_ETHERTYPE = bytes.fromhex("88b5")
SIZES = (60, 61, 128, 1024, 1514)
"""Frame lengths in bytes without the tag and FCS."""
SOURCE = "IEEE 802.1Q-2022, clause 9.6 (tag format); Documentation/networking/netdevices.rst"
REMOTE_ADDRESS, DUT_ADDRESS = "198.51.100.1", "198.51.100.2"
"""IPv4 addresses of the two ends on the VLAN."""
ECHO_REQUEST, ECHO_REPLY = 8, 0
"""ICMP types (RFC 792)."""


def frame(destination, source, number, size):
    """Return a frame of `size` bytes whose data depends on its number."""
    macs = bytes.fromhex((destination + source).replace(":", ""))
    return macs + LOCAL_ETHERTYPE + bytes((number + index) & 0xFF for index in range(size - 14))


@pytest.fixture
def vlan_interface(settings):
    """``vlan_interface(100)`` creates an interface for that VLAN, sets it up and returns its name."""
    settings.ready()
    return settings.add_vlan


@requirement(
    "SMOKE-VLAN-01",
    level="MUST",
    source=SOURCE,
    falsified_by=("tx.vlan.missing", "tx.vlan.wrong", "tx.frame.corrupted"),
)
def test_send(vlan_interface, guest, dut, remote, until, defer, step):
    """The driver sends each frame of a VLAN interface with the tag of the VLAN and otherwise unchanged, for all frame lengths."""
    sent = [frame(remote.mac, dut.mac, number, size) for number, size in enumerate(SIZES)]
    for vlan in VLANS:
        with step(f"Send frames on VLAN {vlan}"), remote.capture() as seen:
            PacketSender(guest, vlan_interface(vlan), defer).send(sent)
            until(lambda seen=seen: len(ours(seen)) >= len(sent), what=f"{len(sent)} frames are on the wire", timeout=1)
        with step("Each frame is on the wire with the tag of that VLAN"):
            assert ours(seen) == [tagged(each, vlan) for each in sent]


def ours(capture):
    """Return the captured frames of these tests that the DUT sent."""
    return [each for each in capture.received() if LOCAL_ETHERTYPE in (each[12:14], each[16:18])]


@requirement(
    "SMOKE-VLAN-02",
    level="MUST",
    source=SOURCE,
    falsified_by=("rx.vlan.wrong", "rx.vlan.filter-closed", "rx.frame.corrupted"),
)
def test_receive(vlan_interface, guest, dut, remote, until, defer, step):
    """A tagged frame reaches the interface of its VLAN, without the tag, and no other VLAN interface, whatever its priority."""
    sockets = {}
    with step("Create VLAN interfaces"):
        for vlan in VLANS:
            handle = guest.agent.call("packet.open", ifname=vlan_interface(vlan), protocol=0x88B5)
            defer(guest.agent.call, "handle.close", handle=handle)
            sockets[vlan] = handle
    sent = {
        vlan: [frame(dut.mac, remote.mac, vlan + number, size) for number, size in enumerate(SIZES)] for vlan in VLANS
    }
    with step("Send frames with the tag of each VLAN, with the tag of a VLAN without an interface, and without a tag"):
        remote.send(tagged(each, UNUSED_VLAN) for each in sent[1])
        remote.send(sent[1])
        for vlan, frames in sent.items():
            remote.send(tagged(each, number % 8 << 13 | vlan) for number, each in enumerate(frames))
    with step("Each VLAN interface received the frames of its VLAN and no others"):
        for vlan, handle in sockets.items():
            found = []

            def complete(vlan=vlan, handle=handle, found=found):
                frames = guest.agent.call("packet.receive", packet=handle, count=len(SIZES) - len(found), timeout=0.2)
                found.extend(base64.b64decode(each["frame"]) for each in frames)
                return len(found) >= len(sent[vlan])

            until(complete, what=f"{len(SIZES)} frames arrive on VLAN {vlan}", timeout=1)
            assert found == sent[vlan]
            assert guest.agent.call("packet.drain", packet=handle) == 0


@requirement(
    "SMOKE-VLAN-03",
    level="MUST",
    source=f"{SOURCE}; IEEE 802.3, clause 3.2.7: a tagged frame may be 4 bytes longer",
    falsified_by=("rx.frame.truncated", "tx.vlan.missing"),
)
def test_ping(vlan_interface, guest, remote, dut, run, step):
    """The DUT answers a tagged echo request on a VLAN interface with a tagged reply, also in frames of the full MTU."""
    vlan = VLANS[2]
    with step("Create a VLAN interface with an address and a neighbour"):
        name = vlan_interface(vlan)
        guest.agent.call("link.add_address", ifname=name, address=f"{DUT_ADDRESS}/24")
        run("ip", "neighbour", "add", REMOTE_ADDRESS, "lladdr", remote.mac, "dev", name)
    for length in (56, 1472):
        with step(f"Send a tagged echo request with {length} bytes of data: the reply has the tag and the same data"):
            payload = generate(1, length)
            request = tagged(echo_request(dut.mac, remote.mac, payload), vlan)
            reply = remote.exchange(request, lambda packet: "ICMP" in packet, timeout=5)
            assert reply is not None, "the DUT sent no echo reply"
            assert "Dot1Q" in reply, "the reply has no tag"
            assert (reply["Dot1Q"].vlan, reply["ICMP"].type, reply["IP"].src) == (vlan, ECHO_REPLY, DUT_ADDRESS)
            assert bytes(reply["ICMP"].payload)[:length] == payload


def echo_request(destination, source, payload):
    """Return an ICMP echo request from `REMOTE_ADDRESS` to `DUT_ADDRESS` as an untagged Ethernet frame (RFC 791, RFC 792)."""
    icmp = struct.pack(">BBHHH", ECHO_REQUEST, 0, 0, 7, 0) + payload
    icmp = icmp[:2] + internet_checksum(icmp).to_bytes(2, "big") + icmp[4:]
    addresses = ipaddress.ip_address(REMOTE_ADDRESS).packed + ipaddress.ip_address(DUT_ADDRESS).packed
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(icmp), 1, 0, 64, 1, 0) + addresses
    header = header[:10] + internet_checksum(header).to_bytes(2, "big") + header[12:]
    return bytes.fromhex((destination + source).replace(":", "")) + bytes.fromhex("0800") + header + icmp
