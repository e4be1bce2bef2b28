# SPDX-License-Identifier: GPL-2.0-or-later
"""What the device says of a frame, as a program bound to it is told: right where advertised, refused where not."""

from __future__ import annotations

import errno

import pytest
from plugfest.frames.dissect import UDP
from plugfest.frames.probe import tagged
from plugfest.frames.toeplitz import FLOWS, IP_DESTINATION, IP_SOURCE, PORT_DESTINATION, PORT_SOURCE
from plugfest.machine.agent import AgentError
from plugfest.requirements.requirement import requirement
from plugfest.traffic.traffic import SIZES, check_same, payloads
from plugfest.xdp.rx_metadata import RxMetadataReader, check_hashes, try_attach_generic, try_load_unbound

METADATA = "Documentation/networking/xdp-rx-metadata.rst; Documentation/netlink/specs/netdev.yaml, xdp-rx-metadata"
BURSTS = 4
"""Times that frames are sent between two looks at the device's clock."""
TOEPLITZ = 1
ADDRESSES = IP_SOURCE | IP_DESTINATION
VLANS = (1, 100, 4094)
VLAN_PROTOCOL = 0x8100
TAGS = (*(priority << 13 | eligible << 12 | vlan for vlan in VLANS for priority, eligible in ((0, 0), (5, 1))), None)
"""Tag control: priority code point, drop eligible indicator and VLAN (IEEE 802.1Q-2022, clause 9.6); None for no tag."""
FIELDS = (ADDRESSES | PORT_SOURCE | PORT_DESTINATION, ADDRESSES)
"""What may enter the hash of a UDP flow."""


@requirement(
    "XDP-META-01",
    level="MUST",
    source=f"{METADATA}; net/core/xdp.c, bpf_xdp_metadata_rx_timestamp",
    falsified_by=("rx.timestamp.late", "program:clocks.ahead", "program:xdp.not-attached"),
    proves="xdp-rx-metadata:timestamp",
)
def test_timestamp(native, require, traffic, clocks, dut, run, skip_unsupported, step, evidence):
    """The timestamp that a program is told of a frame is the time on the device's clock when it came, nanosecond for nanosecond.

    Without a model that says what that clock shows, it is the hardware clock that ethtool names, and without one any of the guest's.
    """
    require("xdp-rx-metadata:timestamp")
    capabilities = run("ethtool", "-T", dut.ifname)
    if "hardware-receive" not in capabilities:
        skip_unsupported("hardware timestamps of received frames", evidence={"ethtool -T": capabilities})
    with step("Attach a program, bound to the device, that keeps what it is told of each test frame"):
        reader = RxMetadataReader(native)
    for _ in range(BURSTS):
        with step("Look at the device's clock, send test frames of every size, and look at it again"):
            probes = traffic.probes(sizes=SIZES, flows=len(SIZES))
            before = clocks.read()
            told = [rx_metadata["timestamp"] for rx_metadata in reader.read(traffic, probes)]
            after = clocks.read()
            evidence("clocks before, after", [before, after])
        with step("Each frame has a timestamp, between the two, and none that came later has an earlier one"):
            assert {answer.status for answer in told} == {0}
            stamps = [answer.values[0] for answer in told]
            assert stamps == sorted(stamps)
            clocks.check(before, stamps, after)


@requirement(
    "XDP-META-02",
    level="MUST",
    source=f"{METADATA}; net/core/xdp.c, bpf_xdp_metadata_rx_hash; include/net/xdp.h, XDP_RSS_L4",
    falsified_by=("program:rx-metadata.of-another-frame", "program:rx-metadata.type-without-ports", "rx.rss.hash"),
    proves="xdp-rx-metadata:hash",
)
def test_hash(native, require, active, traffic, dut, guest, skip_unsupported, step, evidence):
    """The hash that a program is told of a frame is the Toeplitz hash of its flow, and its type says what of the frame entered it."""
    require("xdp-rx-metadata:hash")
    rss = dut.rss()
    if rss is None or rss.function not in (0, TOEPLITZ) or not rss.key:
        skip_unsupported("the Toeplitz hash with a key that the driver says", evidence={"ethtool -x": rss})
    active("rx-hashing")
    probes = traffic.probes()
    with step("Attach a program, bound to the device, that keeps what it is told of each test frame"):
        reader = RxMetadataReader(native)
    with step("Send test frames of every size, IPv4 and IPv6, in flows enough to reach every receive queue"):
        told = [rx_metadata["hash"] for rx_metadata in reader.read(traffic, probes)]
    with step("Of each a hash is told, or that there is none (ENODATA)"):
        assert {answer.status for answer in told} <= {0, -errno.ENODATA}
    for version in (4, 6):
        with step(
            f"Of IPv{version} frames hashes are told, each that of its flow, of a type with that IP version, and with XDP_RSS_L4 "
            "exactly where ports enter it"
        ):
            mine = [(probe, answer) for probe, answer in zip(probes, told, strict=True) if probe.version == version]
            frames, answers = zip(*mine, strict=True)
            evidence(
                f"IPv{version} frames with a hash",
                check_hashes(frames, answers, rss.key, fields_of(guest, dut, version)),
            )


def fields_of(guest, dut, version):
    """What of a UDP flow may enter the hash: one choice where the driver says so."""
    try:
        told = guest.agent.call("ethtool.hash_fields", ifname=dut.ifname, flow=FLOWS[UDP, version])
    except AgentError as error:
        if error.errno is None:
            raise
        return FIELDS
    return [told & FIELDS[0]]


@requirement(
    "XDP-META-03",
    level="MUST",
    source=f"{METADATA}; net/core/xdp.c, bpf_xdp_metadata_rx_vlan_tag",
    falsified_by=("program:rx-metadata.of-another-frame", "program:xdp.not-attached"),
    proves="xdp-rx-metadata:vlan-tag",
)
def test_vlan_tag(native, require, active, member, traffic, step):
    """The tag that a program is told of a frame is that which the device took out of it, and of a frame without one it is told none.

    No driver here offers it: on each of them XDP-META-06 tests that it is refused.
    """
    require("xdp-rx-metadata:vlan-tag")
    active("rx-vlan-hw-parse")
    for vlan in VLANS:
        member(vlan)
    with step("Attach a program, bound to the device, that keeps what it is told of each test frame"):
        reader = RxMetadataReader(native)
    with step(
        "Send test frames of every size, each with a tag of another VLAN and priority than the one before it, or with none"
    ):
        probes = traffic.probes()
        controls = [TAGS[number % len(TAGS)] for number in range(len(probes))]
        on_wire = {
            probe.frame: probe.frame if control is None else tagged(probe.frame, control)
            for probe, control in zip(probes, controls, strict=True)
        }
        told = [rx_metadata["vlan-tag"] for rx_metadata in reader.read(traffic, probes, on_wire)]
    with step("Of each the program is told its tag, or that it has none (ENODATA)"):
        for control, answer in zip(controls, told, strict=True):
            if control is None:
                assert answer.status == -errno.ENODATA, f"of a frame without a tag: {answer}"
            else:
                assert answer == (0, (VLAN_PROTOCOL, control)), f"of a frame with the tag {control:04x}: {answer}"


REFUSED_WRONG = ("program:rx-metadata.invented", "program:xdp.not-attached")
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
def test_not_offered(native, require_absent, traffic, name, step):
    """What the driver does not advertise that it tells of frames, it says of none: a program gets EOPNOTSUPP, and the frames pass."""
    require_absent(f"xdp-rx-metadata:{name}")
    probes = traffic.probes()
    with step("Attach a program, bound to the device, that keeps what it is told of each test frame"):
        reader = RxMetadataReader(native)
    with step("Send test frames of every size, IPv4 and IPv6: of each the program is told EOPNOTSUPP"):
        told = [rx_metadata[name] for rx_metadata in reader.read(traffic, probes)]
        assert {answer.status for answer in told} == {-errno.EOPNOTSUPP}
    with step("The stack receives every payload once and unchanged"):
        check_same(traffic.received(probes), payloads(probes), "payloads in the stack")


@requirement(
    "XDP-META-07",
    level="MUST",
    source="include/uapi/linux/bpf.h, BPF_F_XDP_DEV_BOUND_ONLY; net/core/dev.c, dev_xdp_attach",
    falsified_by="program:rx-metadata.error-lost",
)
def test_only_bound_and_native(native, traffic, step):
    """A program that asks for metadata is refused without a device, and in generic mode, and traffic is as before."""
    with step("Load it without a device: refused"):
        refused = try_load_unbound(native)
        assert refused is not None, "it was loaded"
        assert "device-bound" in str(refused), f"expected the verifier's reason, found {refused}"
    with step("Load it for the device, and attach it in generic mode: EINVAL"):
        refused = try_attach_generic(native)
        assert refused is not None, "it was attached"
        assert refused.errno == errno.EINVAL
    with step("Nothing is attached, and frames reach the stack as before"):
        assert native.state()["attached"] == "none"
        traffic.check_delivery()
