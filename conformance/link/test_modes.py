# SPDX-License-Identifier: GPL-2.0-or-later
"""Speed, duplex and link modes: the driver reports what the two ends negotiated and what the device supports."""

from __future__ import annotations

import errno

from plugfest.machine.agent import AgentError
from plugfest.requirements.requirement import requirement

LINKMODES = "Documentation/networking/ethtool-netlink.rst, LINKMODES_GET; include/uapi/linux/ethtool.h"
MODES = {
    # Intel 82599 datasheet, section 3.7 and table of device ids in 9.3.2: the link modes of each backplane variant.
    (0x8086, 0x1517): ({"10000baseKR/Full"}, {"1000baseKX/Full"}),
    (0x8086, 0x10F7): ({"10000baseKX4/Full"}, {"1000baseKX/Full"}),
    (0x8086, 0x10F8): ({"10000baseKR/Full", "10000baseKX4/Full"}, {"1000baseKX/Full"}),
}
"""By PCI ID: the modes that the driver must report as supported, and those that it may report as well."""
TIMEOUT = 5.0


@requirement("LINK-SPEED-01", level="MUST", source=LINKMODES, falsified_by="link.speed.wrong")
def test_speed(dut, model, link_partner, settings, until, step, evidence, skip_unsupported):
    """At each speed that both ends support, the driver reports the negotiated speed and duplex."""
    settings.ready()
    modes = dut.link_modes()
    if modes is None:
        skip_unsupported("reporting link modes", evidence="ETHTOOL_MSG_LINKMODES_GET: EOPNOTSUPP")
    evidence("link modes", modes)
    offered = link_partner.speeds()
    speeds = sorted(set(modes.speeds(modes.supported)) & offered)
    if not speeds:
        skip_unsupported(
            "a link mode of a speed that its link partner has", evidence={"link modes": modes, "link partner": offered}
        )
    for speed in speeds:
        with step(f"The link partner offers {speed} Mb/s alone"):
            link_partner.set(speed=speed)
            until(lambda speed=speed: resolved(model) == speed, what=f"the ends resolve {speed} Mb/s", timeout=TIMEOUT)
        with step(f"The driver reports {speed} Mb/s, full duplex"):
            until(
                lambda speed=speed: (dut.link_modes().speed, dut.link_modes().duplex) == (speed, "full"),
                what=f"the driver reports {speed} Mb/s and full duplex",
                timeout=TIMEOUT,
            )
            settings.ready()
    with step("The link partner offers all its speeds: the driver reports the highest common speed"):
        link_partner.set(speed=0)
        until(lambda: resolved(model) == max(speeds), what=f"the ends resolve {max(speeds)} Mb/s", timeout=TIMEOUT)
        until(
            lambda: dut.link_modes().speed == max(speeds),
            what=f"the driver reports {max(speeds)} Mb/s",
            timeout=TIMEOUT,
        )


def resolved(model):
    """Return the speed in Mb/s that the two ends have negotiated, None without a link."""
    resolution = model.call("link.get")["resolved"]
    return resolution["speed"] if resolution else None


@requirement("LINK-SPEED-02", level="SHOULD", source=LINKMODES, falsified_by="link.report.stuck")
def test_speed_without_link(dut, link_partner, settings, wait_for_carrier, step, skip_unsupported):
    """Without a link, the driver reports unknown speed and duplex; with a link, it reports both, and a supported mode has that speed."""
    settings.ready()
    modes = dut.link_modes()
    if modes is None or modes.speed is None:
        skip_unsupported("reporting a speed", evidence={"link modes": modes})
    with step("With a link: a supported mode has the reported speed, if the driver reports modes"):
        speeds = modes.speeds(modes.supported)
        assert not speeds or modes.speed in speeds
        assert modes.duplex in ("full", "half")
    with step("Take the link partner down: speed and duplex are unknown"):
        link_partner.set(up=False)
        wait_for_carrier(up=False)
        without = dut.link_modes()
        assert (without.speed, without.duplex) == (None, None)


@requirement("LINK-MODES-01", level="MUST", source=LINKMODES, falsified_by="program:link.modes-swapped")
def test_supported_modes(dut, settings, step, evidence, skip_unsupported):
    """The supported modes that the driver reports are those of the device, by its PCI ID; the advertised modes are among them."""
    settings.ready()
    modes = dut.link_modes()
    identity = (int(dut.read("device/vendor"), 0), int(dut.read("device/device"), 0)) if has_pci(dut) else None
    if modes is None or identity not in MODES:
        skip_unsupported(
            "a PCI ID whose link modes this test lists", evidence={"PCI ID": identity, "link modes": modes}
        )
    evidence("link modes", modes)
    must, may = MODES[identity]
    supported = {mode for mode in modes.supported if "base" in mode}
    advertised = {mode for mode in modes.advertised if "base" in mode}
    with step("The supported modes include all mandatory modes of the device, and no mode that it does not have"):
        assert must <= supported <= must | may
    with step("All advertised modes are supported"):
        assert advertised <= supported
        assert modes.advertised <= modes.supported


def has_pci(dut):
    """Return whether the device is a PCI device, not one on the virtio bus."""
    return bool(dut.agent.call("files.exists", path=f"/sys/class/net/{dut.ifname}/device/device"))


@requirement(
    "LINK-RESTART-01",
    level="MUST",
    source="include/uapi/linux/ethtool.h, ETHTOOL_NWAY_RST",
    falsified_by=("rx.frame.dropped", "link.speed.wrong"),
)
def test_restart(guest, dut, settings, until, check_traffic, step, skip_unsupported):
    """After `ethtool -r` the link comes back at the same speed, and frames pass in both directions."""
    settings.ready()
    before = dut.link_modes()
    with step("Restart autonegotiation by `ethtool -r`"):
        try:
            guest.agent.call("ethtool.restart_negotiation", ifname=dut.ifname)
        except AgentError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
            skip_unsupported("a restart of autonegotiation", evidence=str(error))
    with step("The link comes back at the same speed"):
        until(lambda: dut.carrier and dut.link_modes().speed == before.speed, what="the link is back", timeout=10)
    with step("Frames pass in both directions, unchanged"):
        settings.ready()
        check_traffic()
