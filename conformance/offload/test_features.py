# SPDX-License-Identifier: GPL-2.0-or-later
"""Features: what the driver offers can be changed, what it does not offer is refused, and nothing breaks by either."""

from __future__ import annotations

from plugfest.requirements.requirement import requirement

SOURCE = "Documentation/networking/netdev-features.rst; Documentation/networking/ethtool-netlink.rst, FEATURES_SET"
DISRUPTIVE = {"loopback", "rx-all", "rx-fcs"}
"""They change which frames the stack sees, by design."""


NEEDS = {"tx-generic-segmentation": "tx-scatter-gather", "rx-gro-hw": "rx-checksum", "rx-lro": "rx-checksum"}
"""What the kernel itself keeps off while another is off (net/core/dev.c, netdev_fix_features)."""


@requirement("OFFLOAD-FEAT-01", level="MUST", source=SOURCE, falsified_by="program:settings.not-set")
def test_changeable(dut, settings, check_traffic, step, evidence):
    """The features that the driver offers to change can be turned off, and on, and are then as before; traffic goes on."""
    features = dut.features()
    evidence("ethtool -k", str(features))
    free = features.free - DISRUPTIVE
    on, off = sorted(free & features.active), sorted(free - features.active)
    off = [name for name in off if name not in NEEDS or NEEDS[name] in features.active]
    settings.restore_features()
    with step("Turn all off that are on: all are off"):
        refused = dut.request_features(dict.fromkeys(on, False))
        assert (refused, sorted(dut.features().active & set(on))) == ([], [])
    with step("Turn them on again: all are on"):
        refused = dut.request_features(dict.fromkeys(on, True))
        assert (refused, sorted(dut.features().active & set(on))) == ([], on)
    for name in off:
        with step(f"Turn {name} on, alone, and off again"):
            assert (dut.request_features({name: True}), name in dut.features().active) == ([], True)
            assert (dut.request_features({name: False}), name in dut.features().active) == ([], False)
    with step("The features are those of before, and frames go both ways, unchanged"):
        settings.ready()
        assert dut.features().active == features.active
        check_traffic()


@requirement(
    "OFFLOAD-FEAT-02",
    level="MUST",
    source=SOURCE,
    falsified_by=("program:settings.not-set",),
)
def test_fixed(dut, check_traffic, step, evidence):
    """Features that are off and fixed are refused when asked for, each of them, and no feature changes by that."""
    before = dut.features()
    asked = before.fixed_off - before.never
    with step("Ask for all of them to be on"):
        refused = dut.request_features(dict.fromkeys(asked, True))
        evidence("off and fixed", sorted(asked))
        assert set(refused) == set(asked)
    with step("The features are those of before, and frames go both ways, unchanged"):
        assert dut.features().active == before.active
        check_traffic()
