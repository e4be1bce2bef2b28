# SPDX-License-Identifier: GPL-2.0-or-later
"""Receive checksum offload: what the driver says of a checksum is true, and a bad one never reaches a socket."""

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
"""A length of its own for each frame, by which it is found again; odd and even ones."""
LAST = 1513
PORT = 42000
CHECKSUM_AT = {4: 14 + 20 + 6, 6: 14 + 40 + 6}


def with_bad_checksum(probe):
    """The probe's frame with its UDP checksum off by one, and neither 0 nor right."""
    at = CHECKSUM_AT[probe.version]
    value = int.from_bytes(probe.frame[at : at + 2], "big")
    wrong = value + 1 if value < 0xFFFE else value - 1
    return probe.frame[:at] + wrong.to_bytes(2, "big") + probe.frame[at + 2 :]


class Listener:
    """A UDP socket of the guest, and what the driver said of each frame for it."""

    def __init__(self, guest, traffic, remote, trace_skbs, until, defer):
        opened = guest.agent.call("udp.open", address="::", port=PORT)
        self._handle = opened["handle"]
        defer(guest.agent.call, "handle.close", handle=self._handle)
        self._agent, self._traffic, self._remote = guest.agent, traffic, remote
        self._handover, self._until = trace_skbs, until

    def read(self, *, bad):
        """Send a datagram of each length, IPv4 and IPv6, in several flows, and after them a good one on each flow.

        Returns:
            What the driver handed over of the former; the payloads that must and those that did reach the socket.
        """
        probes = burst(self._traffic.ends, flows=len(SIZES), sizes=SIZES, port=PORT)
        last = burst(self._traffic.ends, flows=len(SIZES), sizes=(LAST,), port=PORT, first=len(probes))
        payloads = []

        def all_there():
            news = self._agent.call("udp.receive", socket_handle=self._handle, count=1000, timeout=0.2, idle=0.05)
            payloads.extend(base64.b64decode(each["data"]) for each in news)
            return not {probe.payload for probe in last} - set(payloads)

        self._traffic.ready()
        with self._handover() as seen:
            self._remote.send(
                [*(with_bad_checksum(probe) if bad else probe.frame for probe in probes), *(each.frame for each in last)]
            )
            # A flow's frames keep their order: with the last one all that went before it are there.
            self._until(
                all_there, what=f"the last good datagram of each of {len(SIZES)} flows reaches the socket", timeout=1
            )
        wanted = [probe.payload for probe in ([*last] if bad else [*probes, *last])]
        lengths = {len(probe.frame) for probe in probes}
        return [each for each in seen.received() if each.length in lengths], Counter(wanted), Counter(payloads)


@pytest.fixture
def listener(guest, traffic, remote, trace_skbs, until, defer):
    """Hears datagrams with right and wrong checksums."""
    return Listener(guest, traffic, remote, trace_skbs, until, defer)


@requirement("OFFLOAD-RXCSUM-01", level="MUST", source=SOURCE, falsified_by="rx.checksum.bad-as-good")
def test_bad(listener, active, step):
    """With receive checksum offload on, no bad checksum is told as right, and no such datagram reaches a socket."""
    with step("Turn the offload on"):
        active(FEATURE)
    with step("Send datagrams whose UDP checksum is off by one, IPv4 and IPv6"):
        reported, wanted, got = listener.read(bad=True)
    with step("The driver tells none as right"):
        assert Checksum.UNNECESSARY not in {each.checksum for each in reported}
    with step("None reaches the socket"):
        assert got == wanted


@requirement(
    "OFFLOAD-RXCSUM-02",
    level="SHOULD",
    source=SOURCE,
    falsified_by=("rx.checksum.unreported", "rx.checksum.good-as-bad"),
)
def test_good(listener, active, step):
    """With receive checksum offload on, right checksums are told as verified: the stack need not sum up again."""
    with step("Turn the offload on"):
        active(FEATURE)
    with step("Send good datagrams, IPv4 and IPv6"):
        reported, wanted, got = listener.read(bad=False)
    with step("The driver tells each as verified, or hands over the sum"):
        assert len(reported) == 2 * len(SIZES)
        assert {each.checksum for each in reported} <= {Checksum.UNNECESSARY, Checksum.COMPLETE}
    with step("Each reaches the socket"):
        assert got == wanted


@requirement("OFFLOAD-RXCSUM-03", level="MUST", source=SOURCE, falsified_by="rx.frame.dropped")
def test_good_arrives(listener, active, step):
    """With receive checksum offload on, datagrams with right checksums reach their sockets, whatever is told of them."""
    with step("Turn the offload on"):
        active(FEATURE)
    with step("Send good datagrams, IPv4 and IPv6: each reaches the socket once"):
        _, wanted, got = listener.read(bad=False)
        assert got == wanted


@requirement(
    "OFFLOAD-RXCSUM-04",
    level="MUST",
    source=f"{SOURCE}; Documentation/networking/netdev-features.rst",
    falsified_by=("program:settings.not-set", "rx.frame.dropped"),
)
def test_off(listener, inactive, step):
    """With receive checksum offload off, the driver tells of no checksum, good ones arrive and bad ones do not."""
    with step("Turn the offload off"):
        inactive(FEATURE)
    with step("Send good datagrams: the driver says nothing of their checksums, and each reaches the socket"):
        reported, wanted, got = listener.read(bad=False)
        assert {each.checksum for each in reported} == {Checksum.NONE}
        assert got == wanted
    with step("Send bad ones: none reaches the socket"):
        _, wanted, got = listener.read(bad=True)
        assert got == wanted
