# SPDX-License-Identifier: GPL-2.0-or-later
"""Hosts talk across the link: echo, TCP, UDP, in both IP versions and both directions."""

from __future__ import annotations

from plugfest.frames.dissect import check
from plugfest.frames.payload import digest
from plugfest.machine.tap import IPV4, IPV6
from plugfest.requirements.requirement import requirement
from plugfest.traffic.traffic import SIZES

ECHO_LENGTHS = (0, 1, 56, 1452, 1472, 1473, 4000, 8000)
"""Octets of an echo request: none, the last in one frame by IPv6 and by IPv4, then such as take several fragments."""
STREAM = 1_000_003
"""Octets of a TCP stream: a prime, so that it ends within a segment."""
PINGS = 3


@requirement(
    "SMOKE-PING-01",
    level="MUST",
    source="RFC 1122, section 3.2.2.6 (echo); RFC 791, section 2.3 (fragmentation)",
    falsified_by=("rx.frame.corrupted", "tx.frame.dropped"),
)
def test_echo_ipv4(peer, settings, step):
    """The DUT answers IPv4 echo requests of every length with the same octets, those of several fragments too."""
    settings.ready()
    for length in ECHO_LENGTHS:
        with step(f"Ask for an echo of {length} octets"):
            peer.check_echo(4, length)


@requirement(
    "SMOKE-PING-02",
    level="MUST",
    source="RFC 4443, section 4.2 (echo); RFC 8200, section 4.5 (fragmentation)",
    falsified_by=("rx.frame.corrupted", "tx.frame.dropped"),
)
def test_echo_ipv6(peer, settings, step):
    """The DUT answers IPv6 echo requests of every length with the same octets, those of several fragments too."""
    settings.ready()
    for length in ECHO_LENGTHS:
        with step(f"Ask for an echo of {length} octets"):
            peer.check_echo(6, length)


@requirement(
    "SMOKE-PING-03",
    level="MUST",
    source="RFC 826 (address resolution); RFC 4861, section 4.3 (neighbour discovery)",
    falsified_by=("rx.frame.dropped", "tx.frame.dropped"),
)
def test_ping_from_dut(guest, dut, settings, remote, step, evidence):
    """The DUT finds its neighbour's address and gets an answer to each of its own echo requests, by IPv4 and IPv6."""
    settings.ready()
    for address in (IPV4, IPV6):
        with step(f"Forget the neighbours, and ping {address} from the DUT"):
            guest.agent.call("process.run", command=["ip", "neigh", "flush", "dev", dut.ifname])
            remote.tap.forget_neighbours()
            # One at a time: of several, ping waits for the last answer no longer than twice what the others took.
            command = ["ping", "-n", "-q", "-c", "1", "-W", "5", "-I", dut.ifname, address]
            for _ in range(PINGS):
                told = guest.agent.call("process.run", command=command, timeout=60)
                evidence(" ".join(command), told["stdout"] + told["stderr"])
                assert "1 received" in told["stdout"], told["stdout"] + told["stderr"]


@requirement(
    "SMOKE-TCP-01",
    level="MUST",
    source="RFC 9293, section 3.8",
    falsified_by=("tx.frame.dropped", "tx.checksum.wrong"),
)
def test_tcp_from_dut(peer, settings, step):
    """What the DUT sends by TCP arrives, every octet of it, by IPv4 and IPv6."""
    settings.ready()
    for version in (4, 6):
        with step(f"Have the DUT send {STREAM} octets by TCP over IPv{version}"):
            got = peer.from_dut(version, STREAM, seed=version)
            assert (got.length, got.sha256) == (STREAM, digest(version, STREAM))


@requirement(
    "SMOKE-TCP-02",
    level="MUST",
    source="RFC 9293, section 3.8",
    falsified_by=("rx.frame.dropped", "rx.frame.corrupted"),
)
def test_tcp_to_dut(peer, settings, step):
    """What is sent to the DUT by TCP arrives, every octet of it, by IPv4 and IPv6."""
    settings.ready()
    for version in (4, 6):
        with step(f"Send the DUT {STREAM} octets by TCP over IPv{version}"):
            got = peer.to_dut(version, STREAM, seed=version)
            assert (got.length, got.sha256) == (STREAM, digest(version, STREAM))


@requirement(
    "SMOKE-UDP-01",
    level="MUST",
    source="IEEE 802.3, clause 3.2.7 (lengths of MAC client data); RFC 768",
    falsified_by=("rx.frame.truncated", "rx.frame.duplicated", "rx.frame.corrupted"),
)
def test_udp_to_dut(check_traffic, step):
    """Every datagram to the DUT, in frames of every length, reaches its socket once and unchanged."""
    with step("Send datagrams in frames from the shortest to the longest, IPv4 and IPv6, on every receive queue"):
        check_traffic.to_dut(SIZES)


@requirement(
    "SMOKE-UDP-02",
    level="MUST",
    source="IEEE 802.3, clause 3.2.7 (lengths of MAC client data); RFC 768",
    falsified_by=("tx.frame.duplicated", "tx.frame.corrupted", "tx.frame.dropped"),
)
def test_udp_from_dut(check_traffic, step):
    """Every datagram of the DUT, in frames of every length, is on the wire once, unchanged and well formed."""
    with step("Have the DUT send datagrams in frames from the shortest to the longest, from every CPU"):
        frames = check_traffic.from_dut(SIZES)
    with step("Lengths and checksums of each are right"):
        check(frames)


@requirement(
    "SMOKE-FRAME-01",
    level="MUST",
    source="IEEE 802.3, clause 4.2.3.3 and 4A.4.2: a frame has at least 64 octets with FCS",
    falsified_by="tx.padding.missing",
)
def test_padding(packet_sender, remote, settings, dut, until, step):
    """A frame with less than 46 octets of data is padded to the minimum: the wire carries no runts."""
    settings.ready()
    head = bytes.fromhex((remote.mac + dut.mac).replace(":", "")) + bytes.fromhex("88b5")
    lengths = range(1, 47)
    with step("Have the DUT send frames with 1 to 46 octets of data"), remote.capture() as seen:
        packet_sender.send(head + bytes([length]) * length for length in lengths)
        until(
            lambda: len(_local(seen.received())) >= len(lengths),
            what=f"{len(lengths)} frames are on the wire",
            timeout=1,
        )
    with step("Each has 60 octets without FCS, its data first"):
        for length, frame in zip(lengths, _local(seen.received()), strict=True):
            assert len(frame) == 60, f"a frame with {length} octets of data has {len(frame)} octets on the wire"
            assert frame[14 : 14 + length] == bytes([length]) * length


def _local(frames: list[bytes]) -> list[bytes]:
    """The frames of the EtherType for local experiments (IEEE 802, clause 9.2.4)."""
    return [frame for frame in frames if frame[12:14] == bytes.fromhex("88b5")]
