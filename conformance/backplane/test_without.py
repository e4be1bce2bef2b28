# SPDX-License-Identifier: GPL-2.0-or-later
"""Partners that do not negotiate, drivers that are told not to, and what stays over a reset."""

from __future__ import annotations

import pytest
from plugfest.backplane import DETECTABLE, MODES, NOT_TOLD, SPEEDS
from plugfest.requirement import requirement

DETECTION = "IEEE 802.3-2022, 73.7.4.1 (parallel detection: 1000BASE-KX and 10GBASE-KX4)"


@requirement("CL73-PD-01", level="MUST", source=DETECTION, falsified_by=("tx.frame.dropped", NOT_TOLD))
@pytest.mark.budget(90)
def test_detected(far, local, linked, step, unclaimed, crossing):
    """A partner that transmits without pages what is detected in parallel, and what the port has, gets a link."""
    detectable = [name for name in local.values() if name in DETECTABLE]
    if not detectable:
        unclaimed("a technology that is detected in parallel", evidence={"advertised": sorted(local)})
    for name in detectable:
        with step(f"Let the partner transmit {name}, without pages: there is a link, and frames go both ways"):
            far.offer(name, negotiates=False)
            linked(name)
            crossing.both_ways()


@requirement("CL73-PD-02", level="MUST", source=DETECTION, falsified_by=("link.report.stuck", NOT_TOLD))
@pytest.mark.usefixtures("kr")
@pytest.mark.budget(90)
def test_not_detected(far, highest, dut, until, linked, step):
    """10GBASE-KR without pages is not detected: there is no link."""
    with step("Let the partner transmit 10GBASE-KR, without pages: there is no carrier"):
        far.offer("10GBASE-KR", negotiates=False)
        until(lambda: not dut.carrier, what="there is no carrier", timeout=5)
        assert far.technology is None
    with step("Let it negotiate: there is a link"):
        far.offer(*far.abilities["technologies"])
        linked(highest)


@requirement(
    "CL73-FORCED-01",
    level="MUST",
    source="include/uapi/linux/ethtool.h, AUTONEG_DISABLE; IEEE 802.3-2022, 45.2.7.1 (7.0.12)",
    falsified_by=("tx.frame.dropped", NOT_TOLD, "program:settings.not-set"),
)
@pytest.mark.budget(90)
def test_forced(far, local, dut, defer, linked, crossing, step, evidence, unclaimed):
    """With negotiation off, and a partner of that speed that has none either, there is a link at each speed of the port."""
    before = dut.link_modes()
    defer(lambda: dut.ask("linkmodes", autoneg=True, advertised=sorted(before.advertised)))
    made = False
    for mode, name in local.items():
        with step(f"Turn negotiation off, at the speed of {mode}"):
            refusal = dut.ask("linkmodes", autoneg=False, speed=SPEEDS[name], duplex=1)
            if refusal is not None:
                evidence(f"ethtool -s autoneg off speed {SPEEDS[name]}", str(refusal))
                assert dut.link_modes().autonegotiation
                continue
        made = True
        with step(f"Let the partner transmit {name}, without pages: there is a link, and frames go both ways"):
            far.offer(name, negotiates=False)
            linked(name)
            assert not dut.link_modes().autonegotiation
            crossing.both_ways()
    if not made:
        unclaimed("to turn negotiation off", evidence="each speed is refused, see above")


@requirement(
    "CL73-STAY-01",
    level="MUST",
    source="Documentation/networking/netdevices.rst, ndo_stop and ndo_open; include/uapi/linux/ethtool.h",
    falsified_by=("link.speed.wrong", "program:settings.not-set"),
)
@pytest.mark.usefixtures("several")
@pytest.mark.budget(90)
def test_stays(far, local, advertise, change, dut, linked, step):
    """What the driver was told to advertise stays when the interface goes down and up, and when it is reset by a change of MTU."""
    mode, name = list(local.items())[-1]
    with step(f"Have the driver advertise {mode} alone"):
        advertise(mode)
        linked(name)
    for what, do in (
        ("Take the interface down and up", lambda: change.link(up=False) or dut.set_link(up=True)),
        ("Change the MTU", lambda: change.link(mtu=dut.mtu - 100)),
    ):
        with step(f"{what}: the driver still advertises that alone, and so the partner got it"):
            do()
            linked(name)
            assert dut.link_modes().advertised & MODES.keys() == {mode}
            assert far.seen.technologies == {name}
