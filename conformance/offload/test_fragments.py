# SPDX-License-Identifier: GPL-2.0-or-later
"""Page fragments: the wire carries a packet unchanged, in however many small pieces its payload lies in memory."""

from __future__ import annotations

import pytest
from plugfest.frames.dissect import TCP, UDP, Malformed, dissect
from plugfest.frames.dissect import problems as frame_problems
from plugfest.frames.payload import digest, generate
from plugfest.requirements.requirement import requirement
from plugfest.traffic.traffic import NOBODY, WIRE_TIMEOUT, check_same

SOURCE = (
    "Documentation/networking/netdev-features.rst, transmit DMA (NETIF_F_SG); include/linux/skbuff.h, MAX_SKB_FRAGS"
)
SCATTER = "tx-scatter-gather"
UDP_FEATURE = "tx-udp-segmentation"
TCP_FEATURES = ("tx-tcp-segmentation", "tx-tcp6-segmentation")
PORT = 31002
DATAGRAMS = (
    # the lengths of the pieces of each
    [1] * 17,  # as many as a packet may have
    [1] * 16 + [1000],
    [1000] + [1] * 16,
    list(range(1, 18)),
    [84] * 17,
    [7, 1400, 1, 33],
    [1],
)
SEGMENTED = (
    # bytes of a datagram on the wire, pieces of the packet
    (1000, [300] * 17),  # segments begin and end within pieces
    (1000, [63] * 17),  # 16 pieces in the first segment
    (700, [1] * 16 + [3000]),
    (700, [3000] + [1] * 16),
    (1000, [999, 2, 998, 1, 1, 1000, 1, 998, 1]),  # at, before and behind the borders of segments
    (333, [37] * 17),
    (1400, [3000] * 17),
)
STREAM = (
    [1] * 17,
    [1] * 16 + [3000],
    [3000] + [1] * 16,
    [96] * 17,  # 15 pieces in a segment of 1440 bytes
    [90] * 17,
    [535, 1, 536, 537, 1, 1447, 1, 1448, 1449],
    [3000] * 17,
    [511] * 17,
)


def is_datagram(frame):
    """Whether a frame carries a datagram to `PORT`."""
    try:
        found = dissect(frame)
    except Malformed:
        return False
    return found.protocol == UDP and found.ports[1] == PORT


def is_tcp(frame):
    """Whether a frame carries TCP."""
    try:
        return dissect(frame).protocol == TCP
    except Malformed:
        return False


def check_frames(frames, mtu):
    """Expect correct frames, none longer than the MTU."""
    for number, frame in enumerate(frames, 1):
        wrong = frame_problems(frame)
        if len(frame) > mtu + 14:
            wrong.append(f"{len(frame)} bytes, the MTU allows {mtu + 14}")
        assert not wrong, f"frame {number} of {len(frames)}: {'; '.join(wrong)}"


@pytest.fixture
def send_pieces(guest, dut, traffic, remote, settings, trace_skbs, until):
    """``skbs = send_pieces(version, packets)`` sends packets, and checks what is on the wire; returns the driver's skbs with fragments.

    A packet is the number of bytes in each of its datagrams but the last, None for a single datagram, and the lengths of its pieces.
    """

    def send(version, packets):
        settings.add_neighbour(NOBODY[version], remote.mac)
        wanted = []
        for segment, pieces in packets:
            size = sum(pieces)
            wanted += [generate(1, size)[at : at + (segment or size)] for at in range(0, size, segment or size)]
        traffic.ready()
        with traffic.capture_sent(is_datagram) as seen, trace_skbs() as skbs:
            for segment, pieces in packets:
                guest.agent.call(
                    "pieces.send_datagrams", address=NOBODY[version], port=PORT, datagrams=[pieces], segment=segment
                )
            until(
                lambda: seen.reached(len(wanted)), what=f"{len(wanted)} datagrams are on the wire", timeout=WIRE_TIMEOUT
            )
        frames = seen.frames()
        check_frames(frames, dut.mtu)
        # Each packet has a socket of its own, and so may have another queue.
        check_same([dissect(frame).payload for frame in frames], wanted, "datagrams on the wire")
        return [each for each in skbs.sent() if each.length > each.linear]

    return send


@requirement(
    "OFFLOAD-SG-02",
    level="MUST",
    source=SOURCE,
    falsified_by=("tx.frame.corrupted", "tx.frame.dropped"),
)
def test_datagrams(send_pieces, settings, step):
    """A datagram whose payload lies in up to 17 page fragments, of one byte each or longer ones, is sent unchanged."""
    with step("Turn scatter-gather on where the driver has it"):
        on = settings.prefer_features(on=[SCATTER])
    with step(
        "Send datagrams in one to 17 pieces, IPv4 and IPv6: the wire carries each unchanged, with a correct checksum"
    ):
        skbs = [each for version in (4, 6) for each in send_pieces(version, [(None, pieces) for pieces in DATAGRAMS])]
    with step("With scatter-gather, the driver got each in page fragments"):
        assert len(skbs) == (2 * len(DATAGRAMS) if SCATTER in on else 0)


@requirement(
    "OFFLOAD-SG-03",
    level="MUST",
    source=f"{SOURCE}; Documentation/networking/segmentation-offloads.rst, UDP segmentation",
    falsified_by=("tx.frame.corrupted", "tx.frame.dropped"),
)
@pytest.mark.parametrize("version", [4, 6])
def test_segmented_datagrams(send_pieces, settings, step, version):
    """A packet of several datagrams whose page fragments cross the borders of segments is sent unchanged, whoever segments it."""
    with step("Turn scatter-gather and UDP segmentation offload on where the driver has them"):
        on = settings.prefer_features(on=[SCATTER, UDP_FEATURE])
    with step(
        "Send packets in up to 17 pieces, to be segmented: the wire carries each datagram unchanged, with a correct checksum"
    ):
        skbs = send_pieces(version, SEGMENTED)
    with step("With scatter-gather, the driver got packets in page fragments"):
        assert bool(skbs) == (SCATTER in on)


@requirement(
    "OFFLOAD-SG-04",
    level="MUST",
    source=f"{SOURCE}; Documentation/networking/segmentation-offloads.rst, TCP segmentation",
    falsified_by="tx.checksum.wrong",
)
@pytest.mark.parametrize("mss", [None, 537])
def test_stream(peer, traffic, dut, settings, trace_skbs, step, mss):
    """A TCP stream out of many small pieces, which cross the borders of segments, arrives complete and unchanged."""
    length = sum(map(sum, STREAM))
    with step("Turn scatter-gather and TCP segmentation offload on where the driver has them"):
        on = settings.prefer_features(on=[SCATTER, *TCP_FEATURES])
    with step("Send a stream in packets of up to 17 pieces, of one byte to 3000: it arrives complete and unchanged"):
        with traffic.capture_sent(is_tcp) as seen, trace_skbs() as skbs:
            received = [peer.pieces_from_dut(version, STREAM, mss=mss) for version in (4, 6)]
        for each in received:
            assert (each.length, each.sha256) == (length, digest(1, length))
    with step("With scatter-gather, the driver got packets in page fragments"):
        assert any(each.length > each.linear for each in skbs.sent()) == (SCATTER in on)
    with step("Each frame on the wire is correct, and none is longer than the MTU"):
        check_frames(seen.frames(), dut.mtu)
