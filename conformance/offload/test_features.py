# SPDX-License-Identifier: GPL-2.0-or-later
"""Features (`ethtool -k`): changeable ones can be turned on and off, fixed ones cannot, and traffic works with both."""

from __future__ import annotations

import pytest
from plugfest.requirements.requirement import requirement

SOURCE = "Documentation/networking/netdev-features.rst; Documentation/networking/ethtool-netlink.rst, FEATURES_SET"
DISRUPTIVE = {"loopback", "rx-all", "rx-fcs"}
"""Features that change which frames the stack receives, by design."""


NEEDS = {"tx-generic-segmentation": "tx-scatter-gather", "rx-gro-hw": "rx-checksum", "rx-lro": "rx-checksum"}
"""Features that the kernel keeps off while another one is off (net/core/dev.c, netdev_fix_features)."""


@requirement("OFFLOAD-FEAT-01", level="MUST", source=SOURCE, falsified_by="program:settings.not-set")
@pytest.mark.fresh_guest  # what a feature's turning off has broken may stay broken: RSS, once receive hashing was on and off
def test_changeable(dut, settings, check_traffic, step, evidence):
    """Each changeable feature can be turned off and on; afterwards the features are as before, and frames pass in both directions."""
    features = dut.features()
    evidence("ethtool -k", str(features))
    free = features.free - DISRUPTIVE
    on, off = sorted(free & features.active), sorted(free - features.active)
    off = [name for name in off if name not in NEEDS or NEEDS[name] in features.active]
    settings.restore_features()
    with step("Turn all changeable features off that are on: all are off"):
        rejected = dut.try_set_features(dict.fromkeys(on, False))
        assert (rejected, sorted(dut.features().active & set(on))) == ([], [])
    with step("Turn them on again: all are on"):
        rejected = dut.try_set_features(dict.fromkeys(on, True))
        assert (rejected, sorted(dut.features().active & set(on))) == ([], on)
    for name in off:
        with step(f"Turn {name} on and off again"):
            assert (dut.try_set_features({name: True}), name in dut.features().active) == ([], True)
            assert (dut.try_set_features({name: False}), name in dut.features().active) == ([], False)
    with step("The features are as before, and frames pass in both directions, unchanged"):
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
    """The kernel rejects a request to turn on any feature that is off and fixed, and no feature changes."""
    before = dut.features()
    fixed = before.fixed_off - before.never
    with step("Turn on all features that are off and fixed: each is rejected"):
        rejected = dut.try_set_features(dict.fromkeys(fixed, True))
        evidence("off and fixed", sorted(fixed))
        assert set(rejected) == set(fixed)
    with step("The features are as before, and frames pass in both directions, unchanged"):
        assert dut.features().active == before.active
        check_traffic()
