# SPDX-License-Identifier: GPL-2.0-or-later
"""Ping, TCP and UDP over IPv4 and IPv6, in both directions."""

from __future__ import annotations

from plugfest.frames.dissect import check
from plugfest.frames.payload import digest
from plugfest.machine.tap import IPV4, IPV6
from plugfest.requirements.requirement import requirement
from plugfest.traffic.traffic import SIZES

ECHO_LENGTHS = (0, 1, 56, 1452, 1472, 1473, 4000, 8000)
"""Bytes of echo data: none, the most in one frame over IPv6 and over IPv4, then lengths that need several fragments."""
STREAM = 1_000_003
"""Bytes of a TCP stream: a prime, so that its last segment is a partial one."""
PINGS = 3
PING_LENGTH = 56
"""Bytes of echo data, those of ping(8)."""


@requirement(
    "SMOKE-PING-01",
    level="MUST",
    source="RFC 1122, section 3.2.2.6 (echo); RFC 791, section 2.3 (fragmentation)",
    falsified_by=("rx.frame.corrupted", "tx.frame.dropped"),
)
def test_echo_ipv4(peer, settings, step):
    """The DUT answers IPv4 echo requests of all lengths, fragmented ones included, with the same data."""
    settings.ready()
    for length in ECHO_LENGTHS:
        with step(f"Send an echo request with {length} bytes of data: the reply has the same data"):
            peer.check_echo(4, length)


@requirement(
    "SMOKE-PING-02",
    level="MUST",
    source="RFC 4443, section 4.2 (echo); RFC 8200, section 4.5 (fragmentation)",
    falsified_by=("rx.frame.corrupted", "tx.frame.dropped"),
)
def test_echo_ipv6(peer, settings, step):
    """The DUT answers IPv6 echo requests of all lengths, fragmented ones included, with the same data."""
    settings.ready()
    for length in ECHO_LENGTHS:
        with step(f"Send an echo request with {length} bytes of data: the reply has the same data"):
            peer.check_echo(6, length)


@requirement(
    "SMOKE-PING-03",
    level="MUST",
    source="RFC 826 (address resolution); RFC 4861, section 4.3 (neighbour discovery)",
    falsified_by=("rx.frame.dropped", "tx.frame.dropped"),
)
def test_ping_from_dut(guest, dut, settings, remote, step, evidence):
    """The DUT resolves its neighbour's address and receives a reply to each of its own echo requests, over IPv4 and IPv6."""
    settings.ready()
    for address in (IPV4, IPV6):
        with step(f"Flush the neighbour tables, and ping {address} from the DUT"):
            guest.agent.call("process.run", command=["ip", "neigh", "flush", "dev", dut.ifname])
            remote.tap.forget_neighbours()
            # One request per ping: with several, ping waits for the last reply no longer than twice the longest round trip so far.
            command = ["ping", "-n", "-q", "-c", "1", "-W", "5", "-I", dut.ifname, address]
            for _ in range(PINGS):
                result = guest.agent.call("process.run", command=command, timeout=60)
                evidence(" ".join(command), result["stdout"] + result["stderr"])
                assert "1 received" in result["stdout"], result["stdout"] + result["stderr"]


@requirement(
    "SMOKE-PING-04",
    level="MUST",
    source="RFC 826 (address resolution); RFC 1122, section 3.2.2.6 (echo)",
    falsified_by=("rx.frame.dropped", "tx.frame.dropped"),
    base="ping",
)
def test_ping(peer, settings, step):
    """The DUT answers an echo request that fits in one frame."""
    settings.ready()
    with step(f"Send an IPv4 echo request with {PING_LENGTH} bytes of data: the reply has the same data"):
        peer.check_echo(4, PING_LENGTH)


@requirement(
    "SMOKE-TCP-01",
    level="MUST",
    source="RFC 9293, section 3.8",
    falsified_by=("tx.frame.dropped", "tx.checksum.wrong"),
)
def test_tcp_from_dut(peer, settings, step):
    """A TCP stream from the DUT arrives complete and unchanged, over IPv4 and IPv6."""
    settings.ready()
    for version in (4, 6):
        with step(f"Send {STREAM} bytes from the DUT by TCP over IPv{version}: they arrive unchanged"):
            received = peer.from_dut(version, STREAM, seed=version)
            assert (received.length, received.sha256) == (STREAM, digest(version, STREAM))


@requirement(
    "SMOKE-TCP-02",
    level="MUST",
    source="RFC 9293, section 3.8",
    falsified_by=("rx.frame.dropped", "rx.frame.corrupted"),
)
def test_tcp_to_dut(peer, settings, step):
    """A TCP stream to the DUT arrives complete and unchanged, over IPv4 and IPv6."""
    settings.ready()
    for version in (4, 6):
        with step(f"Send {STREAM} bytes to the DUT by TCP over IPv{version}: they arrive unchanged"):
            received = peer.to_dut(version, STREAM, seed=version)
            assert (received.length, received.sha256) == (STREAM, digest(version, STREAM))


@requirement(
    "SMOKE-UDP-01",
    level="MUST",
    source="IEEE 802.3, clause 3.2.7 (lengths of MAC client data); RFC 768",
    falsified_by=("rx.frame.truncated", "rx.frame.duplicated", "rx.frame.corrupted"),
)
def test_udp_to_dut(check_traffic, step):
    """Each UDP datagram to the DUT, in frames of all lengths, reaches its socket once and unchanged."""
    with step(
        "Send UDP datagrams to the DUT in frames from the shortest to the longest, IPv4 and IPv6, on each receive queue"
    ):
        check_traffic.to_dut(SIZES)


@requirement(
    "SMOKE-UDP-02",
    level="MUST",
    source="IEEE 802.3, clause 3.2.7 (lengths of MAC client data); RFC 768",
    falsified_by=("tx.frame.duplicated", "tx.frame.corrupted", "tx.frame.dropped"),
)
def test_udp_from_dut(check_traffic, step):
    """The driver sends each UDP datagram, in frames of all lengths, once, unchanged and well formed."""
    with step("Send UDP datagrams from the DUT in frames from the shortest to the longest, from each CPU"):
        frames = check_traffic.from_dut(SIZES)
    with step("Each frame has correct lengths and checksums"):
        check(frames)


@requirement(
    "SMOKE-FRAME-01",
    level="MUST",
    source="IEEE 802.3, clause 4.2.3.3 and 4A.4.2: a frame has at least 64 bytes with FCS",
    falsified_by=("tx.padding.missing", "tx.frame.duplicated"),
)
def test_padding(packet_sender, remote, settings, dut, until, step):
    """The driver or its device pads frames with less than 46 bytes of data to the minimum length: the wire carries no runts."""
    settings.ready()
    head = bytes.fromhex((remote.mac + dut.mac).replace(":", "")) + bytes.fromhex("88b5")
    lengths, last = range(1, 47), 47  # the last needs no padding: when it is on the wire, so are those before it
    with (
        step("Send frames with 1 to 46 bytes of data from the DUT, and a longer one after them"),
        remote.capture() as seen,
    ):
        packet_sender.send(head + bytes([length]) * length for length in (*lengths, last))
        until(
            lambda: any(frame[14] == last for frame in _local(seen.received())),
            what="the frame that needs no padding is on the wire",
            timeout=1,
        )
    with step("Each frame is on the wire, has 60 bytes without FCS and starts with its data"):
        data = [frame[14:] for frame in _local(seen.received())]
        found = [each[0] for each in data]
        lost = [length for length in lengths if length not in found]
        short = [each[0] for each in data if each[0] in lengths and len(each) != 46]
        changed = [each[0] for each in data if each[: each[0]] != each[:1] * each[0]]
        assert not lost + short + changed, (
            f"of frames with 1 to 46 bytes of data: lost {lost}, not 60 bytes long {short}, changed {changed}"
        )
    with step("Each is there once, in the order in which it was sent"):
        assert found == [*lengths, last], f"of frames with 1 to {last} bytes of data, found those with {found}"


def _local(frames: list[bytes]) -> list[bytes]:
    """Return the frames with the EtherType for local experiments (IEEE 802, clause 9.2.4)."""
    return [frame for frame in frames if frame[12:14] == bytes.fromhex("88b5") and len(frame) > 14]
