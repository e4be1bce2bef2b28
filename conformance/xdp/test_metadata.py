# SPDX-License-Identifier: GPL-2.0-or-later
"""RX metadata that a device-bound program reads: correct where the driver advertises it, EOPNOTSUPP where it does not."""

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

METADATA = "Documentation/networking/xdp-rx-metadata.rst (since Linux 6.3); Documentation/netlink/specs/netdev.yaml, xdp-rx-metadata"
BURSTS = 4
"""Bursts of test frames, each between two readings of the device's clock."""
TOEPLITZ = 1
ADDRESSES = IP_SOURCE | IP_DESTINATION
VLANS = (1, 100, 4094)
VLAN_PROTOCOL = 0x8100
TAG_CONTROLS = (
    *(priority << 13 | eligible << 12 | vlan for vlan in VLANS for priority, eligible in ((0, 0), (5, 1))),
    None,
)
"""Tag control information: PCP, DEI and VID (IEEE 802.1Q-2022, clause 9.6); None for an untagged frame."""
POSSIBLE_FIELDS = (ADDRESSES | PORT_SOURCE | PORT_DESTINATION, ADDRESSES)
"""The header fields that may enter the hash of a UDP flow."""


@requirement(
    "XDP-META-01",
    level="MUST",
    source=f"{METADATA}; net/core/xdp.c, bpf_xdp_metadata_rx_timestamp",
    falsified_by=("rx.timestamp.late", "program:clocks.ahead", "program:xdp.not-attached"),
    proves="xdp-rx-metadata:timestamp",
)
def test_timestamp(native, require, traffic, clocks, dut, run, skip_unsupported, step, evidence):
    """The RX timestamp that a program reads is the time at which the frame arrived, in nanoseconds of the device's clock.

    An emulated device reports the time on its clock. On real hardware the test reads the PTP hardware clock that ethtool names, or all
    clocks of the guest if there is none.
    """
    require("xdp-rx-metadata:timestamp")
    capabilities = run("ethtool", "-T", dut.ifname)
    if "hardware-receive" not in capabilities:
        skip_unsupported("hardware timestamps of received frames", evidence={"ethtool -T": capabilities})
    with step("Attach a device-bound program that stores the metadata of each test frame"):
        reader = RxMetadataReader(native)
    for _ in range(BURSTS):
        with step("Read the device's clock, send test frames of every size, and read the clock again"):
            probes = traffic.probes(sizes=SIZES, flows=len(SIZES))
            before = clocks.read()
            results = [rx_metadata["timestamp"] for rx_metadata in reader.read(traffic, probes)]
            after = clocks.read()
            evidence("clocks before, after", [before, after])
        with step("Each frame has a timestamp between the two readings, and the timestamps do not decrease"):
            assert {result.status for result in results} == {0}
            stamps = [result.values[0] for result in results]
            assert stamps == sorted(stamps)
            clocks.check(before, stamps, after)


@requirement(
    "XDP-META-02",
    level="MUST",
    source=f"{METADATA}; net/core/xdp.c, bpf_xdp_metadata_rx_hash; include/net/xdp.h, XDP_RSS_L4",
    falsified_by=("program:rx-metadata.of-another-frame", "program:rx-metadata.type-without-ports", "rx.rss.hash"),
    proves="xdp-rx-metadata:hash",
)
@pytest.mark.fresh_guest  # as for OFFLOAD-RSS-02: it may turn receive hashing on and off again
def test_hash(native, require, active, traffic, dut, guest, skip_unsupported, step, evidence):
    """The RX hash that a program reads is the Toeplitz hash of the frame's flow, and its type names the fields that entered it."""
    require("xdp-rx-metadata:hash")
    rss = dut.rss()
    if rss is None or rss.function not in (0, TOEPLITZ) or not rss.key:
        skip_unsupported("the Toeplitz hash with a known key", evidence={"ethtool -x": rss})
    active("rx-hashing")
    probes = traffic.probes()
    with step("Attach a device-bound program that stores the metadata of each test frame"):
        reader = RxMetadataReader(native)
    with step("Send IPv4 and IPv6 test frames of every size in enough flows to reach every receive queue"):
        results = [rx_metadata["hash"] for rx_metadata in reader.read(traffic, probes)]
    with step("Each frame has a hash or the error ENODATA"):
        assert {result.status for result in results} <= {0, -errno.ENODATA}
    for version in (4, 6):
        with step(
            f"Each IPv{version} hash is that of its flow; its type names this IP version, and XDP_RSS_L4 exactly if ports entered the hash"
        ):
            of_version = [
                (probe, result) for probe, result in zip(probes, results, strict=True) if probe.version == version
            ]
            frames, hash_results = zip(*of_version, strict=True)
            evidence(
                f"IPv{version} frames with a hash",
                check_hashes(frames, hash_results, rss.key, hash_fields(guest, dut, version)),
            )


def hash_fields(guest, dut, version):
    """The header fields that may enter the hash of a UDP flow, one choice where the driver reports it."""
    try:
        reported = guest.agent.call("ethtool.hash_fields", ifname=dut.ifname, flow=FLOWS[UDP, version])
    except AgentError as error:
        if error.errno is None:
            raise
        return POSSIBLE_FIELDS
    return [reported & POSSIBLE_FIELDS[0]]


@requirement(
    "XDP-META-03",
    level="MUST",
    source=f"{METADATA}; net/core/xdp.c, bpf_xdp_metadata_rx_vlan_tag",
    falsified_by=("program:rx-metadata.of-another-frame", "program:xdp.not-attached"),
    proves="xdp-rx-metadata:vlan-tag",
)
def test_vlan_tag(native, require, active, add_vlan_interface, traffic, step):
    """The VLAN tag that a program reads is the tag that the device stripped from the frame; of an untagged frame it reads none.

    None of the drivers tested here advertises it; XDP-META-06 covers drivers without it.
    """
    require("xdp-rx-metadata:vlan-tag")
    active("rx-vlan-hw-parse")
    for vlan in VLANS:
        add_vlan_interface(vlan)
    with step("Attach a device-bound program that stores the metadata of each test frame"):
        reader = RxMetadataReader(native)
    with step("Send test frames of every size, each with another VID and priority than the one before, or untagged"):
        probes = traffic.probes()
        tag_controls = [TAG_CONTROLS[number % len(TAG_CONTROLS)] for number in range(len(probes))]
        on_wire = {
            probe.frame: probe.frame if tag_control is None else tagged(probe.frame, tag_control)
            for probe, tag_control in zip(probes, tag_controls, strict=True)
        }
        results = [rx_metadata["vlan-tag"] for rx_metadata in reader.read(traffic, probes, on_wire)]
    with step("Each frame has its tag, or the error ENODATA if it was untagged"):
        for tag_control, result in zip(tag_controls, results, strict=True):
            if tag_control is None:
                assert result.status == -errno.ENODATA, f"untagged frame: {result}"
            else:
                assert result == (0, (VLAN_PROTOCOL, tag_control)), f"frame with the tag {tag_control:04x}: {result}"


UNSUPPORTED_FAULTS = ("program:rx-metadata.invented", "program:xdp.not-attached")
UNSUPPORTED = f"{METADATA}; net/core/xdp.c, EOPNOTSUPP"


@requirement(
    "XDP-META-04",
    level="MUST",
    source=UNSUPPORTED,
    falsified_by=UNSUPPORTED_FAULTS,
    refuses="xdp-rx-metadata:timestamp",
    variant="timestamp",
)
@requirement(
    "XDP-META-05",
    level="MUST",
    source=UNSUPPORTED,
    falsified_by=UNSUPPORTED_FAULTS,
    refuses="xdp-rx-metadata:hash",
    variant="hash",
)
@requirement(
    "XDP-META-06",
    level="MUST",
    source=UNSUPPORTED,
    falsified_by=UNSUPPORTED_FAULTS,
    refuses="xdp-rx-metadata:vlan-tag",
    variant="vlan-tag",
)
@pytest.mark.parametrize("name", ["timestamp", "hash", "vlan-tag"])
def test_unadvertised(native, require_absent, traffic, name, step):
    """For RX metadata that the driver does not advertise, the kfunc returns EOPNOTSUPP for every frame, and the frames reach the stack."""
    require_absent(f"xdp-rx-metadata:{name}")
    probes = traffic.probes()
    with step("Attach a device-bound program that stores the metadata of each test frame"):
        reader = RxMetadataReader(native)
    with step("Send IPv4 and IPv6 test frames of every size: the kfunc returns EOPNOTSUPP for each"):
        results = [rx_metadata[name] for rx_metadata in reader.read(traffic, probes)]
        assert {result.status for result in results} == {-errno.EOPNOTSUPP}
    with step("The stack receives every payload exactly once, unchanged"):
        check_same(traffic.received(probes), payloads(probes), "payloads that the stack received")


@requirement(
    "XDP-META-07",
    level="MUST",
    source="include/uapi/linux/bpf.h, BPF_F_XDP_DEV_BOUND_ONLY; net/core/dev.c, dev_xdp_attach",
    falsified_by="program:rx-metadata.error-lost",
)
def test_needs_bound_program_and_native_mode(native, traffic, step):
    """A program that reads RX metadata is rejected if it is not bound to a device, and in generic mode; traffic is not affected."""
    with step("Load the program without a device: the verifier rejects it"):
        error = try_load_unbound(native)
        assert error is not None, "the kernel loaded the program"
        assert "device-bound" in str(error), f"expected the verifier's reason, found {error}"
    with step("Load it for the device, and attach it in generic mode: EINVAL"):
        error = try_attach_generic(native)
        assert error is not None, "the kernel attached the program"
        assert error.errno == errno.EINVAL
    with step("No program is attached, and frames of every size reach the stack"):
        assert native.state()["attached"] == "none"
        traffic.check_delivery()
