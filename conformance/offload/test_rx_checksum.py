# SPDX-License-Identifier: GPL-2.0-or-later
"""Receive checksum offload: the driver reports checksums correctly, and no datagram with a bad one reaches a socket."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from plugfest.dut.skb_trace import Checksum
from plugfest.frames.dissect import ACK, RST, TCP, Malformed, dissect
from plugfest.frames.payload import generate
from plugfest.frames.probe import around, burst, frames_of, tagged
from plugfest.frames.segmentation import TxRequest
from plugfest.frames.variant import in_fragments, with_bad_checksum, with_options, with_padding, without_checksum
from plugfest.requirements.requirement import requirement
from plugfest.traffic.traffic import payloads

SOURCE = "Documentation/networking/checksum-offloads.rst; include/linux/skbuff.h, CHECKSUM_UNNECESSARY"
FEATURE = "rx-checksum"
SIZES = tuple(range(100, 1500, 47))
"""Each frame has its own length, odd or even, by which the test recognizes it."""
LAST = 1513
"""Length of the frame that ends a flow."""
PORT = 42000


@pytest.fixture
def send_datagrams(traffic, receive_datagrams):
    """``skbs, expected, received = send_datagrams(bad=True)`` sends a datagram of each length, IPv4 and IPv6, in several flows.

    Before a last good one on each flow, they have a bad checksum or not. Returns the skbs of the former, the payloads that must reach
    the socket, and those that did, both with counts.
    """

    def send(*, bad):
        probes = burst(traffic.ends, flows=len(SIZES), sizes=SIZES, port=PORT)
        last = burst(traffic.ends, flows=len(SIZES), sizes=(LAST,), port=PORT, first=len(probes))
        reception = receive_datagrams(
            [with_bad_checksum(probe.frame) if bad else probe.frame for probe in probes],
            frames_of(last),
            payloads(last),
        )
        lengths = {len(probe.frame) for probe in probes}
        skbs = [each for each in reception.skbs if each.length in lengths]
        return skbs, Counter(payloads(last if bad else [*probes, *last])), reception.payloads

    return send


@requirement("OFFLOAD-RXCSUM-01", level="MUST", source=SOURCE, falsified_by="rx.checksum.bad-as-good")
def test_bad_checksum(send_datagrams, active, step):
    """With receive checksum offload on, the driver reports no bad checksum as verified, and no such datagram reaches a socket."""
    with step("Turn receive checksum offload on"):
        active(FEATURE)
    with step("Send datagrams whose UDP checksum is off by one, IPv4 and IPv6"):
        skbs, expected, received = send_datagrams(bad=True)
    with step("The driver reports none of them as CHECKSUM_UNNECESSARY"):
        assert Checksum.UNNECESSARY not in {each.checksum for each in skbs}
    with step("None of them reaches the socket"):
        assert received == expected


@requirement(
    "OFFLOAD-RXCSUM-02",
    level="SHOULD",
    source=SOURCE,
    falsified_by=("rx.checksum.unreported", "rx.checksum.good-as-bad"),
)
def test_good_checksum(send_datagrams, active, step):
    """With receive checksum offload on, the driver reports good checksums as CHECKSUM_UNNECESSARY or CHECKSUM_COMPLETE."""
    with step("Turn receive checksum offload on"):
        active(FEATURE)
    with step("Send good datagrams, IPv4 and IPv6"):
        skbs, expected, received = send_datagrams(bad=False)
    with step("The driver reports each as CHECKSUM_UNNECESSARY or CHECKSUM_COMPLETE"):
        assert len(skbs) == 2 * len(SIZES)
        assert {each.checksum for each in skbs} <= {Checksum.UNNECESSARY, Checksum.COMPLETE}
    with step("Each of them reaches the socket"):
        assert received == expected


@requirement("OFFLOAD-RXCSUM-03", level="MUST", source=SOURCE, falsified_by="rx.frame.dropped")
def test_good_delivered(send_datagrams, active, step):
    """With receive checksum offload on, datagrams with good checksums reach their sockets, whatever the driver reports."""
    with step("Turn receive checksum offload on"):
        active(FEATURE)
    with step("Send good datagrams, IPv4 and IPv6: each reaches the socket once"):
        _, expected, received = send_datagrams(bad=False)
        assert received == expected


@requirement(
    "OFFLOAD-RXCSUM-04",
    level="MUST",
    source=f"{SOURCE}; Documentation/networking/netdev-features.rst",
    falsified_by=("program:settings.not-set", "rx.frame.dropped"),
)
def test_off(send_datagrams, inactive, step):
    """With receive checksum offload off, the driver reports CHECKSUM_NONE; only datagrams with good checksums reach a socket."""
    with step("Turn receive checksum offload off"):
        inactive(FEATURE)
    with step("Send good datagrams: the driver reports CHECKSUM_NONE for each, and each reaches the socket"):
        skbs, expected, received = send_datagrams(bad=False)
        assert {each.checksum for each in skbs} == {Checksum.NONE}
        assert received == expected
    with step("Send datagrams with a bad UDP checksum: none reaches the socket"):
        _, expected, received = send_datagrams(bad=True)
        assert received == expected


STRIP = "rx-vlan-hw-parse"
TAG = 100
"""VLAN id."""
SHORT = 4
"""Bytes of payload of the shortest datagrams: 46 bytes in IPv4 and 66 in IPv6, with Ethernet."""
SHORTEST_FRAME = 60
"""Bytes (IEEE 802.3, 4A.4.2), without FCS."""
CLOSED_PORT = 31001
"""TCP port on which nothing listens."""


def options(frame, _number):
    """Return the frame with IPv4 options or IPv6 extension headers."""
    return [with_options(frame)]


def fragments(frame, number):
    """Return the fragments of the frame: short ones, or where it is long, as long as IPv6 has room for in the MTU."""
    return in_fragments(frame, 1448 if len(frame) > 1500 else 64, number)


def padding(frame, _number):
    """Return the frame with padding that is not zero, also where it is long enough without."""
    return [with_padding(frame, max(SHORTEST_FRAME - len(frame), 7))]


def tags(frame, _number):
    """Return the frame with a VLAN tag."""
    return [tagged(frame, TAG)]


def zero(frame, _number):
    """Return the frame with a UDP checksum of 0."""
    return [without_checksum(frame)]


LENGTHS = {
    # of the payloads
    options: (SHORT, 101, 700, 1400),
    fragments: (200, 777, 1600, 3001),
    padding: (SHORT, SHORT + 1, 11, 101, 700),
    tags: (SHORT, 101, 700, 1400),
    zero: (SHORT, 101, 700, 1452),
}
unusual = pytest.mark.parametrize("make", [options, fragments, padding, tags], ids=lambda make: make.__name__)


@pytest.fixture
def send_unusual(dut, traffic, receive_datagrams, settings, inactive):
    """``result = send_unusual(make, bad=True)`` sends datagrams in unusual frames, and a last good one of each IP version.

    Returns what came of them, the payloads of the last ones and of all, both with counts, and the lengths of the frames before the last
    that none of the last has.
    """

    def send(make, versions=(4, 6), last_make=None, *, bad=False):
        if make is tags:
            if STRIP in dut.features().active:
                inactive(STRIP)
            settings.add_vlan(TAG)

        def frames(make, length, seed, version, *, bad):
            plain = around(traffic.ends, version, 0, generate(seed, length), seed, PORT)
            made = make(with_bad_checksum(plain) if bad else plain, seed)
            return [frame.ljust(SHORTEST_FRAME, b"\0") for frame in made]

        before, bodies, after, ends = [], [], [], []
        for version in versions:
            for seed, length in enumerate(LENGTHS[make], 10 * version):
                before += frames(make, length, seed, version, bad=bad)
                bodies.append(generate(seed, length))
            after += frames(last_make or make, 500, version, version, bad=False)
            ends.append(generate(version, 500))
        reception = receive_datagrams(before, after, ends)
        return reception, Counter(ends), Counter(bodies), set(map(len, before)) - set(map(len, after))

    return send


@requirement("OFFLOAD-RXCSUM-05", level="MUST", source=SOURCE, falsified_by="rx.frame.dropped")
@unusual
def test_unusual_good(send_unusual, active, step, make):
    """Datagrams with good checksums in frames with options, extension headers, padding or a tag, or in fragments, reach their sockets."""
    with step("Turn receive checksum offload on, and VLAN stripping off where the frames are tagged"):
        active(FEATURE)
    with step("Send good datagrams, IPv4 and IPv6: each reaches the socket once"):
        reception, last, others, _ = send_unusual(make)
        reception.check(last + others)
    with step("The stack counts no bad checksum"):
        assert reception.bad_checksums == 0


@requirement("OFFLOAD-RXCSUM-06", level="MUST", source=SOURCE, falsified_by="rx.checksum.bad-as-good")
@unusual
def test_unusual_bad(send_unusual, active, step, make):
    """Datagrams with bad checksums in frames with options, extension headers, padding or a tag, or in fragments, reach no socket."""
    with step("Turn receive checksum offload on, and VLAN stripping off where the frames are tagged"):
        active(FEATURE)
    with step("Send datagrams whose UDP checksum is off by one, IPv4 and IPv6"):
        reception, last, _, lengths = send_unusual(make, bad=True)
    with step("The driver reports none of them as CHECKSUM_UNNECESSARY"):
        assert Checksum.UNNECESSARY not in {each.checksum for each in reception.skbs if each.length in lengths}
    with step("None of them reaches the socket"):
        reception.check(last)


@requirement(
    "OFFLOAD-RXCSUM-07",
    level="MUST",
    source=f"{SOURCE}; RFC 768",
    falsified_by=("rx.frame.dropped", "rx.frame.corrupted"),
)
def test_no_checksum(send_unusual, active, step):
    """With receive checksum offload on, datagrams over IPv4 without a checksum reach their sockets."""
    with step("Turn receive checksum offload on"):
        active(FEATURE)
    with step("Send datagrams with a UDP checksum of 0 over IPv4: each reaches the socket once"):
        reception, last, others, _ = send_unusual(zero, versions=(4,))
        reception.check(last + others)


@requirement("OFFLOAD-RXCSUM-08", level="MUST", source=f"{SOURCE}; RFC 8200, 8.1", falsified_by="rx.frame.dropped")
def test_no_checksum_ipv6(send_unusual, active, step):
    """With receive checksum offload on, datagrams over IPv6 without a checksum reach no socket, and those behind them do."""
    with step("Turn receive checksum offload on"):
        active(FEATURE)
    with step(
        "Send datagrams with a UDP checksum of 0 over IPv6, and a good one: only the good one reaches the socket"
    ):
        reception, last, *_ = send_unusual(zero, versions=(6,), last_make=lambda frame, _number: [frame])
        reception.check(last)


@pytest.fixture
def send_segments(traffic, remote, settings, trace_skbs, until):
    """``statuses, resets = send_segments(bad=True)`` sends TCP segments to a closed port, each from a port of its own.

    The stack answers a segment that it accepts with a reset (RFC 9293, 3.5.2). With `bad`, a segment with a bad checksum precedes each
    good one. Returns the checksum statuses that the driver reports of the former, and the number of resets beyond one for each good one.
    """

    def send(*, bad):
        requests = [
            TxRequest(traffic.ends, version, generate(number, length), ports=(20000 + number, CLOSED_PORT), flags=ACK)
            for version in (4, 6)
            for number, length in enumerate((1, 2, 3, 100, 101, 536, 1000, 1001, 1430), 20 * version)
        ]
        good = [request.finished().ljust(SHORTEST_FRAME, b"\0") for request in requests]
        before = [with_bad_checksum(frame) for frame in good] if bad else []
        # Of another length, so that the trace tells them apart.
        after = [replace(each, payload=each.payload + b"end").finished() for each in requests] if bad else good
        after = [frame.ljust(SHORTEST_FRAME, b"\0") for frame in after]
        ports = {request.ports[0] for request in requests}
        for version in (4, 6):
            settings.add_neighbour(traffic.ends.source(version, 0), remote.mac)

        def reset_port(frame):
            """Return the port whose segment a frame resets; None if it is another frame."""
            try:
                found = dissect(frame)
            except Malformed:
                return None
            if found.protocol != TCP or not found.flags & RST or found.ports[0] != CLOSED_PORT:
                return None
            return found.ports[1] if found.ports[1] in ports else None

        traffic.ready()
        with traffic.capture_sent(reset_port) as resets, trace_skbs() as seen:
            remote.send([*before, *after])
            # Frames of a flow keep their order: with the reset of the good segment, that of the bad one is there.
            until(
                lambda: {reset_port(frame) for frame in resets.frames()} == ports,
                what=f"the stack resets a segment of each of {len(ports)} flows",
                timeout=1,
            )
            lengths = {len(frame) for frame in before} - {len(frame) for frame in after}
            statuses = {each.checksum for each in seen.received() if each.length in lengths}
            return statuses, len(resets.frames()) - len(ports)

    return send


@requirement("OFFLOAD-RXCSUM-09", level="MUST", source=SOURCE, falsified_by="rx.frame.dropped")
def test_tcp_good(send_segments, active, step):
    """With receive checksum offload on, the stack accepts TCP segments with good checksums."""
    with step("Turn receive checksum offload on"):
        active(FEATURE)
    with step("Send TCP segments to a closed port, IPv4 and IPv6: the stack resets each once"):
        _, more = send_segments(bad=False)
        assert more == 0


@requirement("OFFLOAD-RXCSUM-10", level="MUST", source=SOURCE, falsified_by="rx.checksum.bad-as-good")
def test_tcp_bad(send_segments, active, step):
    """With receive checksum offload on, the driver reports no bad TCP checksum as verified, and the stack drops the segment."""
    with step("Turn receive checksum offload on"):
        active(FEATURE)
    with step(
        "Send TCP segments whose checksum is off by one to a closed port, IPv4 and IPv6, and a good one behind each"
    ):
        statuses, more = send_segments(bad=True)
    with step("The driver reports none of them as CHECKSUM_UNNECESSARY"):
        assert Checksum.UNNECESSARY not in statuses
    with step("The stack resets none of them"):
        assert more == 0
