# SPDX-License-Identifier: GPL-2.0-or-later
"""What the device says of a frame, as a program bound to it is told: right where advertised, refused where not."""

from __future__ import annotations

import errno

import pytest
from plugfest.agent import AgentError
from plugfest.dissect import UDP, dissect
from plugfest.hints import HintsReader, refusal_generic, refusal_unbound
from plugfest.requirement import requirement
from plugfest.toeplitz import FLOWS, IP_DESTINATION, IP_SOURCE, PORT_DESTINATION, PORT_SOURCE, hashed, toeplitz
from plugfest.traffic import SIZES, check_same, payloads
from plugfest.xdp_flags import of

METADATA = "Documentation/networking/xdp-rx-metadata.rst; Documentation/netlink/specs/netdev.yaml, xdp-rx-metadata"
BURSTS = 4
"""Times that frames are sent between two looks at the device's clock."""
TOEPLITZ = 1
ADDRESSES = IP_SOURCE | IP_DESTINATION
FIELDS = (ADDRESSES | PORT_SOURCE | PORT_DESTINATION, ADDRESSES)
"""What may enter the hash of a UDP flow."""
L3 = {4: 1 << 0, 6: 1 << 1}
"""XDP_RSS_L3_IPV4 and XDP_RSS_L3_IPV6 (include/net/xdp.h), by IP version."""


@pytest.fixture
def offered(native, unclaimed):
    """``offered("hash")`` skips where the driver does not advertise that it tells the hash."""

    def check(name):
        found = of("xdp-rx-metadata", native.advertised())
        if name not in found:
            unclaimed(f"XDP metadata: {name}", evidence={"netdev dev-get xdp-rx-metadata-features": sorted(found)})

    return check


@requirement(
    "XDP-META-01",
    level="MUST",
    source=f"{METADATA}; net/core/xdp.c, bpf_xdp_metadata_rx_timestamp",
    falsified_by=("rx.timestamp.late", "program:xdp.not-attached"),
    proves="xdp-rx-metadata:timestamp",
)
def test_timestamp(native, offered, traffic, guest, dut, faults, run, unclaimed, step):
    """The timestamp that a program is told of a frame is the time on the device's clock when it came, nanosecond for nanosecond."""
    offered("timestamp")
    capabilities = run("ethtool", "-T", dut.ifname)
    if "hardware-receive" not in capabilities:
        unclaimed("hardware timestamps of received frames", evidence={"ethtool -T": capabilities})
    device = guest.machine.model

    def clock():
        return device.call("model.clock")["now"] if device else None

    with step("Attach a program, bound to the device, that keeps what it is told of each test frame"):
        reader = HintsReader(native, faults)
    for _ in range(BURSTS):
        with step("Look at the device's clock, send test frames of every size, and look at it again"):
            probes = traffic.probes(sizes=SIZES, flows=len(SIZES))
            before = clock()
            told = [hints["timestamp"] for hints in reader.hear(traffic, probes)]
            after = clock()
        with step("Each frame has a timestamp, between the two, and none that came later has an earlier one"):
            assert {answer.status for answer in told} == {0}
            stamps = [answer.values[0] for answer in told]
            assert stamps == sorted(stamps)
            if before is not None:
                assert before <= stamps[0], f"stamped {before - stamps[0]} ns before the frames were sent"
                assert stamps[-1] <= after, f"stamped {stamps[-1] - after} ns after the frames had been received"


@requirement(
    "XDP-META-02",
    level="MUST",
    source=f"{METADATA}; net/core/xdp.c, bpf_xdp_metadata_rx_hash",
    falsified_by=("program:hints.of-another-frame", "rx.rss.hash"),
    proves="xdp-rx-metadata:hash",
)
def test_hash(native, offered, active, traffic, dut, guest, faults, unclaimed, step, evidence):
    """The hash that a program is told of a frame is the Toeplitz hash of its flow, and its type has the frame's IP version."""
    offered("hash")
    rss = dut.rss()
    if rss is None or rss.function not in (0, TOEPLITZ) or not rss.key:
        unclaimed("the Toeplitz hash with a key that the driver says", evidence={"ethtool -x": rss})
    active("rx-hashing")
    probes = traffic.probes()
    with step("Attach a program, bound to the device, that keeps what it is told of each test frame"):
        reader = HintsReader(native, faults)
    with step("Send test frames of every size, IPv4 and IPv6, in flows enough to reach every receive queue"):
        told = [hints["hash"] for hints in reader.hear(traffic, probes)]
    with step("Of each a hash is told, or that there is none (ENODATA)"):
        assert {answer.status for answer in told} <= {0, -errno.ENODATA}
        assert any(answer.status == 0 for answer in told), "no frame has a hash"
    for version, kind in L3.items():
        with step(f"Each hash told of an IPv{version} frame is that of its flow, and said to be of IPv{version}"):
            mine = [
                (probe, answer)
                for probe, answer in zip(probes, told, strict=True)
                if probe.version == version and answer.status == 0
            ]
            choices = [
                [toeplitz(rss.key, hashed(dissect(probe.frame), fields)) for probe, _ in mine]
                for fields in fields_of(guest, dut, version)
            ]
            found = [answer.values[0] for _, answer in mine]
            evidence(f"IPv{version} frames with a hash", len(found))
            assert found in choices, (
                f"expected {[f'{each:08x}' for each in choices[0][:3]]}…, found {[f'{each:08x}' for each in found[:3]]}…"
            )
            assert all(answer.values[1] & sum(L3.values()) == kind for _, answer in mine)


def fields_of(guest, dut, version):
    """What of a UDP flow may enter the hash: one choice where the driver says so."""
    try:
        told = guest.agent.call("ethtool.hash_fields", ifname=dut.ifname, flow=FLOWS[UDP, version])
    except AgentError as error:
        if error.errno is None:
            raise
        return FIELDS
    return [told & FIELDS[0]]


REFUSED_WRONG = ("program:hints.invented", "program:xdp.not-attached")
REFUSED = f"{METADATA}; net/core/xdp.c, EOPNOTSUPP"


@requirement(
    "XDP-META-04",
    level="MUST",
    source=REFUSED,
    falsified_by=REFUSED_WRONG,
    refuses="xdp-rx-metadata:timestamp",
    variant="timestamp",
)
@requirement(
    "XDP-META-05",
    level="MUST",
    source=REFUSED,
    falsified_by=REFUSED_WRONG,
    refuses="xdp-rx-metadata:hash",
    variant="hash",
)
@requirement(
    "XDP-META-06",
    level="MUST",
    source=REFUSED,
    falsified_by=REFUSED_WRONG,
    refuses="xdp-rx-metadata:vlan-tag",
    variant="vlan-tag",
)
@pytest.mark.parametrize("name", ["timestamp", "hash", "vlan-tag"])
def test_not_offered(native, traffic, faults, unclaimed, name, step):
    """What the driver does not advertise that it tells of frames, it says of none: a program gets EOPNOTSUPP, and the frames pass."""
    found = of("xdp-rx-metadata", native.advertised())
    if name in found:
        unclaimed(
            f"not to tell XDP metadata: {name}", evidence={"netdev dev-get xdp-rx-metadata-features": sorted(found)}
        )
    probes = traffic.probes()
    with step("Attach a program, bound to the device, that keeps what it is told of each test frame"):
        reader = HintsReader(native, faults)
    with step("Send test frames of every size, IPv4 and IPv6: of each the program is told EOPNOTSUPP"):
        told = [hints[name] for hints in reader.hear(traffic, probes)]
        assert {answer.status for answer in told} == {-errno.EOPNOTSUPP}
    with step("The stack receives every payload once and unchanged"):
        check_same(traffic.received(probes), payloads(probes), "payloads in the stack")


@requirement(
    "XDP-META-07",
    level="MUST",
    source="include/uapi/linux/bpf.h, BPF_F_XDP_DEV_BOUND_ONLY; net/core/dev.c, dev_xdp_attach",
    falsified_by="program:hints.refusal-lost",
)
def test_only_bound_and_native(native, traffic, faults, step):
    """A program that asks for metadata is refused without a device, and in generic mode, and traffic is as before."""
    with step("Load it without a device: refused"):
        refused = refusal_unbound(native, faults)
        assert refused is not None, "it was loaded"
        assert "device-bound" in str(refused), f"expected the verifier's reason, found {refused}"
    with step("Load it for the device, and attach it in generic mode: EINVAL"):
        refused = refusal_generic(native, faults)
        assert refused is not None, "it was attached"
        assert refused.errno == errno.EINVAL
    with step("Nothing is attached, and frames reach the stack as before"):
        assert native.state()["attached"] == "none"
        traffic.check_delivery()
