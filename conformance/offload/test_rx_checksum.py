# SPDX-License-Identifier: GPL-2.0-or-later
"""Receive checksum offload: the driver reports checksums correctly, and no datagram with a bad one reaches a socket."""

from __future__ import annotations

import base64
from collections import Counter

import pytest
from plugfest.dut.skb_trace import Checksum
from plugfest.frames.probe import burst
from plugfest.requirements.requirement import requirement

SOURCE = "Documentation/networking/checksum-offloads.rst; include/linux/skbuff.h, CHECKSUM_UNNECESSARY"
FEATURE = "rx-checksum"
SIZES = tuple(range(100, 1500, 47))
"""Each frame has its own length, odd or even, by which the test recognizes it."""
LAST = 1513
"""Length of the frame that ends a flow."""
PORT = 42000
CHECKSUM_AT = {4: 14 + 20 + 6, 6: 14 + 40 + 6}
"""Offset of the UDP checksum in the frame, by IP version."""


def with_bad_checksum(probe):
    """Return the probe's frame with a UDP checksum that is off by one: neither 0 nor correct."""
    at = CHECKSUM_AT[probe.version]
    value = int.from_bytes(probe.frame[at : at + 2], "big")
    wrong = value + 1 if value < 0xFFFE else value - 1
    return probe.frame[:at] + wrong.to_bytes(2, "big") + probe.frame[at + 2 :]


class UdpReceiver:
    """A UDP socket in the guest, and the skbs that the driver passes up for it."""

    def __init__(self, guest, traffic, remote, trace_skbs, until, defer):
        opened = guest.agent.call("udp.open", address="::", port=PORT)
        self._handle = opened["handle"]
        defer(guest.agent.call, "handle.close", handle=self._handle)
        self._agent, self._traffic, self._remote = guest.agent, traffic, remote
        self._trace_skbs, self._until = trace_skbs, until

    def send(self, *, bad):
        """Send a datagram of each length, IPv4 and IPv6, in several flows, and then a last good one on each flow.

        Args:
            bad: whether the datagrams before the last ones have a bad checksum.

        Returns:
            The skbs of the former; the payloads that must reach the socket, with counts; those that did reach it, with counts.
        """
        probes = burst(self._traffic.ends, flows=len(SIZES), sizes=SIZES, port=PORT)
        last = burst(self._traffic.ends, flows=len(SIZES), sizes=(LAST,), port=PORT, first=len(probes))
        payloads = []

        def last_received():
            received = self._agent.call("udp.receive", socket_handle=self._handle, count=1000, timeout=0.2, idle=0.05)
            payloads.extend(base64.b64decode(each["data"]) for each in received)
            return not {probe.payload for probe in last} - set(payloads)

        self._traffic.ready()
        with self._trace_skbs() as seen:
            self._remote.send(
                [
                    *(with_bad_checksum(probe) if bad else probe.frame for probe in probes),
                    *(each.frame for each in last),
                ]
            )
            # Frames of a flow keep their order: when the last one has arrived, so have all before it.
            self._until(
                last_received, what=f"the last datagram of each of {len(SIZES)} flows reaches the socket", timeout=1
            )
        expected = [probe.payload for probe in ([*last] if bad else [*probes, *last])]
        lengths = {len(probe.frame) for probe in probes}
        return [each for each in seen.received() if each.length in lengths], Counter(expected), Counter(payloads)


@pytest.fixture
def udp_receiver(guest, traffic, remote, trace_skbs, until, defer):
    """Receives datagrams with good and bad checksums in the guest."""
    return UdpReceiver(guest, traffic, remote, trace_skbs, until, defer)


@requirement("OFFLOAD-RXCSUM-01", level="MUST", source=SOURCE, falsified_by="rx.checksum.bad-as-good")
def test_bad_checksum(udp_receiver, active, step):
    """With receive checksum offload on, the driver reports no bad checksum as verified, and no such datagram reaches a socket."""
    with step("Turn receive checksum offload on"):
        active(FEATURE)
    with step("Send datagrams whose UDP checksum is off by one, IPv4 and IPv6"):
        skbs, expected, received = udp_receiver.send(bad=True)
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
def test_good_checksum(udp_receiver, active, step):
    """With receive checksum offload on, the driver reports good checksums as CHECKSUM_UNNECESSARY or CHECKSUM_COMPLETE."""
    with step("Turn receive checksum offload on"):
        active(FEATURE)
    with step("Send good datagrams, IPv4 and IPv6"):
        skbs, expected, received = udp_receiver.send(bad=False)
    with step("The driver reports each as CHECKSUM_UNNECESSARY or CHECKSUM_COMPLETE"):
        assert len(skbs) == 2 * len(SIZES)
        assert {each.checksum for each in skbs} <= {Checksum.UNNECESSARY, Checksum.COMPLETE}
    with step("Each of them reaches the socket"):
        assert received == expected


@requirement("OFFLOAD-RXCSUM-03", level="MUST", source=SOURCE, falsified_by="rx.frame.dropped")
def test_good_delivered(udp_receiver, active, step):
    """With receive checksum offload on, datagrams with good checksums reach their sockets, whatever the driver reports."""
    with step("Turn receive checksum offload on"):
        active(FEATURE)
    with step("Send good datagrams, IPv4 and IPv6: each reaches the socket once"):
        _, expected, received = udp_receiver.send(bad=False)
        assert received == expected


@requirement(
    "OFFLOAD-RXCSUM-04",
    level="MUST",
    source=f"{SOURCE}; Documentation/networking/netdev-features.rst",
    falsified_by=("program:settings.not-set", "rx.frame.dropped"),
)
def test_off(udp_receiver, inactive, step):
    """With receive checksum offload off, the driver reports CHECKSUM_NONE; only datagrams with good checksums reach a socket."""
    with step("Turn receive checksum offload off"):
        inactive(FEATURE)
    with step("Send good datagrams: the driver reports CHECKSUM_NONE for each, and each reaches the socket"):
        skbs, expected, received = udp_receiver.send(bad=False)
        assert {each.checksum for each in skbs} == {Checksum.NONE}
        assert received == expected
    with step("Send datagrams with a bad UDP checksum: none reaches the socket"):
        _, expected, received = udp_receiver.send(bad=True)
        assert received == expected
