# SPDX-License-Identifier: GPL-2.0-or-later
"""Tunnels: VXLAN, Geneve, GRE and IP in IP, whether the device segments and checks what they carry, or the stack."""

from __future__ import annotations

from collections import Counter

import pytest
from plugfest.dut.skb_trace import Checksum
from plugfest.frames.dissect import ACK, PSH, TCP, UDP
from plugfest.frames.payload import generate
from plugfest.frames.probe import burst, frames_of
from plugfest.frames.segmentation import TxRequest
from plugfest.frames.tunnel import Tunnel
from plugfest.frames.variant import with_bad_checksum
from plugfest.requirements.requirement import requirement
from plugfest.traffic.traffic import payloads

PORT = 42000
OPTIONS = bytes.fromhex("0101080a0000000100000002")
"""TCP options as Linux sends them: two NOPs and the timestamps (RFC 7323)."""
TCP_FEATURES = ("tx-tcp-segmentation", "tx-tcp6-segmentation")
UDP_FEATURE = "tx-udp-segmentation"
MANGLE = "tx-tcp-mangleid-segmentation"
PARTIAL = "tx-gso-partial"
CHECKSUMS = ("tx-checksum-ip-generic", "tx-checksum-ipv4", "tx-checksum-ipv6")
SEGMENTATION = "Documentation/networking/segmentation-offloads.rst"
RX_SOURCE = "Documentation/networking/checksum-offloads.rst; include/linux/skbuff.h, csum_level"

MAIN = (
    Tunnel("vxlan", 4, port=4789, key=7),
    Tunnel("vxlan", 4, port=8472, key=7, checksum=True),
    Tunnel("vxlan", 6, port=4789, key=0xFFFFFF, checksum=True),
    Tunnel("geneve", 4, port=6081, key=7, checksum=True),
    Tunnel("gre", 4),
    Tunnel("gretap", 4, key=7, checksum=True),
    Tunnel("ip6gre", 6),
    Tunnel("ipip", 4, (4,)),
    Tunnel("sit", 4, (6,)),
    Tunnel("ip6tnl", 6),
)
OTHERS = (
    Tunnel("vxlan", 4, port=4789, key=7, checksum=True),
    Tunnel("vxlan", 4, port=8472, key=7),
    Tunnel("vxlan", 6, port=4789, key=7),
    Tunnel("vxlan", 6, port=8472, key=7, checksum=True),
    Tunnel("vxlan", 6, port=8472, key=7),
    Tunnel("geneve", 4, port=6081, key=7),
    Tunnel("geneve", 6, port=6081, key=7, checksum=True),
    Tunnel("geneve", 6, port=6081, key=7),
    Tunnel("gre", 4, key=7, checksum=True),
    Tunnel("gretap", 4),
    Tunnel("ip6gretap", 6, key=7),
    Tunnel("ip6gre", 6, key=7, checksum=True),
)
tunnels = pytest.mark.parametrize(
    "tunnel", [*MAIN, *(pytest.param(each, marks=pytest.mark.slow) for each in OTHERS)], ids=str
)


def tcp_shapes(longest):
    """Return TCP packets to be segmented, and packets to be checksummed: protocol, bytes of payload and a segment, TCP options.

    Args:
        longest: bytes that IP may carry.
    """
    return [
        (TCP, (longest - 20) * 3, longest - 20, b""),  # a whole number of segments, as long as the MTU allows
        (TCP, (longest - 33) * 2 + 700, longest - 33, OPTIONS),  # odd segments: the checksum's bytes swap places
        (TCP, 537 * 9 + 536, 537, b""),
        (TCP, 88 * 12, 88, OPTIONS),
        (TCP, 40000, 1300, b""),
        (TCP, 501, None, b""),
        (UDP, longest - 8, None, b""),
    ]


def udp_shapes(longest):
    """Return UDP packets to be segmented, as `tcp_shapes` does."""
    return [(UDP, (longest - 8) * 2 + 1, longest - 8, b""), (UDP, 1000 * 3, 1000, b""), (UDP, 7 * 333 + 1, 333, b"")]


def make_requests(end, shapes, mangled):
    """Return packets of these shapes of each IP version that the tunnel carries.

    Args:
        end: of the tunnel.
        shapes: returns them.
        mangled: whether all frames of a packet may have the same identification.
    """
    made = []
    for version in end.tunnel.versions:
        longest = end.mtu - (20 if version == 4 else 40)
        made += [
            TxRequest(
                end.ends_back,
                version,
                generate(number + 1, length),
                segment,
                protocol=protocol,
                ports=(30000 + number, 31000),
                sequence=0xFFFFF000 + number,  # some wrap
                identification=65534 if number % 2 else number,
                flags=ACK | PSH,
                options=options,
                ethernet=end.tunnel.ethernet,
                mangled=mangled,
            )
            for number, (protocol, length, segment, options) in enumerate(shapes(longest))
        ]
    return made


@pytest.fixture
def send_through(tx_offload, evidence):
    """``skbs = send_through(end)`` sends packets through a tunnel, and checks what is on the wire; returns the driver's skbs."""

    def send(end, shapes=tcp_shapes, *, mangled=False):
        requests = make_requests(end, shapes, mangled)
        result = tx_offload.do(requests, packet_sender=end.sender, inner=end.tunnel.inner)
        got = Counter((each.checksum.name, "to segment" if each.segment else "one frame") for each in result.skbs)
        evidence("skbs that the driver got", dict(got))
        end.check_outer(result.outer)
        result.check()
        return result.skbs

    return send


@requirement(
    "OFFLOAD-TUNNEL-01",
    level="MUST",
    source=f"{SEGMENTATION}, UDP and GRE tunnel offloads, IPIP, SIT, GSO partial; RFC 6864, 5.2",
    falsified_by=("tx.checksum.wrong", "tx.frame.dropped"),
)
@tunnels
def test_offloaded(open_tunnel, send_through, settings, step, tunnel):
    """With all offloads on, a tunnel's frames have correct outer and inner headers, and carry what the stack would have sent.

    A driver with the tunnel's segmentation feature gets packets unsegmented; some only with tx-tcp-mangleid-segmentation.
    """
    with step("Turn on what the driver has of segmentation and checksum offloads, and create the tunnel"):
        on = settings.prefer_features(on=(*CHECKSUMS, *TCP_FEATURES, MANGLE, PARTIAL, tunnel.feature))
        end = open_tunnel(tunnel)
    with step(
        "Send TCP and UDP packets through it: on the wire, outer and inner headers are correct, the payload is unchanged, "
        "and no frame is longer than the MTU"
    ):
        skbs = send_through(end, mangled=MANGLE in on)
    with step("The driver got packets to segment where it has the tunnel's feature"):
        # By partial segmentation all segments have one identification, which the user must have allowed for TCP.
        if tunnel.feature in on and (MANGLE in on or PARTIAL not in on):
            assert any(each.segment for each in skbs)


@requirement(
    "OFFLOAD-TUNNEL-02",
    level="MUST",
    source=f"{SEGMENTATION}; Documentation/networking/netdev-features.rst",
    falsified_by=("program:settings.not-turned-off", "tx.frame.dropped"),
)
@tunnels
def test_segmented_by_stack(open_tunnel, send_through, settings, step, skip_unsupported, tunnel):
    """With a tunnel's segmentation feature off, the driver gets no packet to segment, and the wire carries correct frames."""
    with step("Turn the tunnel's segmentation feature off, and create the tunnel"):
        on = settings.prefer_features(on=CHECKSUMS, off=(tunnel.feature,))
        if tunnel.feature in on:
            skip_unsupported(f"turning off {tunnel.feature}", evidence={"ethtool -k": sorted(on)})
        end = open_tunnel(tunnel)
    with step(
        "Send TCP and UDP packets through it: on the wire, outer and inner headers are correct, the payload is unchanged, "
        "and no frame is longer than the MTU"
    ):
        skbs = send_through(end)
    with step("The driver got no packet to segment"):
        assert {each.segment for each in skbs} == {0}


@requirement(
    "OFFLOAD-TUNNEL-03",
    level="MUST",
    source=f"{SEGMENTATION}; Documentation/networking/checksum-offloads.rst",
    falsified_by=("program:settings.not-turned-off", "tx.frame.dropped"),
)
@pytest.mark.parametrize("tunnel", [MAIN[1], MAIN[7]], ids=str)
@pytest.mark.parametrize("off", [(PARTIAL,), TCP_FEATURES, CHECKSUMS], ids=["partial", "tcp", "checksum"])
def test_single_features(open_tunnel, send_through, settings, dut, step, skip_unsupported, tunnel, off):
    """With partial segmentation, TCP segmentation or checksum offload off alone, a tunnel's frames are still correct."""
    with step("Turn one feature off, and create the tunnel"):
        features = dut.features()
        if not features.active & features.free & set(off):
            skip_unsupported(f"turning off {' or '.join(off)}", evidence={"ethtool -k": str(features)})
        # tx-tcp-mangleid-segmentation goes with TCP segmentation, and that with checksums (net/core/dev.c, netdev_fix_features).
        on = settings.prefer_features(on=(MANGLE,) if off == (PARTIAL,) else (), off=off)
        if on & set(off):
            skip_unsupported(f"turning off {' and '.join(off)}", evidence={"ethtool -k": sorted(on)})
        end = open_tunnel(tunnel)
    with step(
        "Send TCP and UDP packets through it: on the wire, outer and inner headers are correct, the payload is unchanged, "
        "and no frame is longer than the MTU"
    ):
        send_through(end, mangled=MANGLE in on)


@requirement(
    "OFFLOAD-TUNNEL-04",
    level="MUST",
    source=f"{SEGMENTATION}, UDP segmentation, GSO partial; RFC 768; RFC 6864, 4.1",
    falsified_by=("tx.checksum.wrong", "tx.frame.dropped"),
)
@tunnels
def test_udp_segmentation(open_tunnel, send_through, settings, kernel, step, skip_kernel_lacks, tunnel):
    """With UDP and tunnel segmentation on, each datagram of a packet in the tunnel has its own length and a correct checksum."""
    if [int(part) for part in kernel.release.split(".")[:2]] < [6, 2]:
        skip_kernel_lacks("UDP segmentation by packet sockets", evidence=f"{kernel.release}; needs 6.2 or later")
    with step("Turn on what the driver has of segmentation and checksum offloads, and create the tunnel"):
        on = settings.prefer_features(on=(*CHECKSUMS, UDP_FEATURE, PARTIAL, tunnel.feature))
        end = open_tunnel(tunnel)
    with step(
        "Send packets of several datagrams each through it: on the wire, outer and inner headers are correct, the payload is "
        "unchanged, and no frame is longer than the MTU"
    ):
        skbs = send_through(end, udp_shapes, mangled=True)
    with step("The driver got packets to segment where it has both features"):
        if {UDP_FEATURE, tunnel.feature} <= on:
            assert any(each.segment for each in skbs)


def make_inner(end):
    """Return inner frames to the DUT of several lengths, odd and even, and a last one."""
    longest = end.mtu + 14
    sizes = (80, 131, 256, 777, 1000, longest - 1, longest)
    probes = burst(end.ends, flows=1, sizes=sizes, versions=end.tunnel.versions, port=PORT)
    last = burst(end.ends, flows=1, sizes=(500,), versions=end.tunnel.versions, port=PORT, first=len(probes))
    return probes, last


@requirement(
    "OFFLOAD-TUNNEL-05",
    level="MUST",
    source=RX_SOURCE,
    falsified_by=("rx.frame.dropped", "rx.frame.corrupted"),
)
@tunnels
def test_good_inner(open_tunnel, receive_datagrams, step, tunnel):
    """A datagram with correct checksums that arrives through a tunnel reaches its socket once and unchanged."""
    with step("Create the tunnel"):
        end = open_tunnel(tunnel)
    with step("Send datagrams through it: each reaches its socket once"):
        probes, last = make_inner(end)
        reception = receive_datagrams(
            end.encapsulate(frames_of(probes)), end.encapsulate(frames_of(last)), payloads(last)
        )
        reception.check(Counter(payloads([*probes, *last])))
    with step("The stack counts no bad checksum"):
        assert reception.bad_checksums == 0


@requirement(
    "OFFLOAD-TUNNEL-06",
    level="MUST",
    source=RX_SOURCE,
    falsified_by="rx.checksum.bad-as-good",
)
@tunnels
def test_bad_inner(open_tunnel, receive_datagrams, active, step, tunnel):
    """With receive checksum offload on, no datagram with a bad checksum, inner or outer, reaches a socket through a tunnel."""
    with step("Turn receive checksum offload on, and create the tunnel"):
        active("rx-checksum")
        end = open_tunnel(tunnel)
    with step(
        "Send datagrams with a bad inner checksum through it, and good ones with a bad outer checksum where it has one"
    ):
        probes, last = make_inner(end)
        frames = end.encapsulate([with_bad_checksum(probe.frame) for probe in probes])
        if tunnel.checksum:
            frames += end.encapsulate(frames_of(probes), bad=True)
        reception = receive_datagrams(frames, end.encapsulate(frames_of(last)), payloads(last))
    with step("None of them reaches the socket"):
        reception.check(Counter(payloads(last)))
    with step("The driver reports none as CHECKSUM_UNNECESSARY where the inner checksum is the only one"):
        if tunnel.port is None and not tunnel.checksum:
            lengths = {len(frame) for frame in frames}
            assert Checksum.UNNECESSARY not in {each.checksum for each in reception.skbs if each.length in lengths}
