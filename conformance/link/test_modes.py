# SPDX-License-Identifier: GPL-2.0-or-later
"""Speed, duplex and link modes: what the driver reports is what the two ends agreed on, and what the device can do."""

from __future__ import annotations

import errno

from plugfest.machine.agent import AgentError
from plugfest.requirements.requirement import requirement

LINKMODES = "Documentation/networking/ethtool-netlink.rst, LINKMODES_GET; include/uapi/linux/ethtool.h"
MODES = {
    # Intel 82599 datasheet, section 3.7 and table of device ids in 9.3.2: what each backplane variant can do.
    (0x8086, 0x1517): ({"10000baseKR/Full"}, {"1000baseKX/Full"}),
    (0x8086, 0x10F7): ({"10000baseKX4/Full"}, {"1000baseKX/Full"}),
    (0x8086, 0x10F8): ({"10000baseKR/Full", "10000baseKX4/Full"}, {"1000baseKX/Full"}),
}
"""Modes by PCI id: such as must be told as supported, and such as may be beside them."""
PROMPT = 5.0


@requirement("LINK-SPEED-01", level="MUST", source=LINKMODES, falsified_by="link.speed.wrong")
def test_speed(dut, model, link_partner, settings, until, step, evidence, skip_unsupported):
    """At each speed that both ends can do, the driver reports the speed and duplex that they agreed on."""
    settings.ready()
    modes = dut.link_modes()
    if modes is None:
        skip_unsupported("to report link modes", evidence="ethtool -s: EOPNOTSUPP")
    evidence("link modes", modes)
    offered = link_partner.speeds()
    speeds = sorted(set(modes.speeds(modes.supported)) & offered)
    if not speeds:
        skip_unsupported(
            "a link mode of a speed that its partner has", evidence={"link modes": modes, "partner": offered}
        )
    for speed in speeds:
        with step(f"Let the partner offer {speed} Mbit/s alone"):
            link_partner.set(speed=speed)
            until(
                lambda speed=speed: resolved(model) == speed, what=f"the ends agree on {speed} Mbit/s", timeout=PROMPT
            )
        with step(f"The driver reports {speed} Mbit/s, full duplex"):
            until(
                lambda speed=speed: (dut.link_modes().speed, dut.link_modes().duplex) == (speed, "full"),
                what=f"{speed} Mbit/s and full duplex are reported",
                timeout=PROMPT,
            )
            settings.ready()
    with step("Let it offer all: the driver reports the highest common speed"):
        link_partner.set(speed=0)
        until(lambda: resolved(model) == max(speeds), what=f"the ends agree on {max(speeds)} Mbit/s", timeout=PROMPT)
        until(lambda: dut.link_modes().speed == max(speeds), what=f"{max(speeds)} Mbit/s are reported", timeout=PROMPT)


def resolved(model):
    """The speed that the two ends have agreed on, None without a link."""
    outcome = model.call("link.get")["resolved"]
    return outcome["speed"] if outcome else None


@requirement("LINK-SPEED-02", level="SHOULD", source=LINKMODES, falsified_by="link.report.stuck")
def test_unknown(guest, dut, link_partner, settings, until, step, skip_unsupported):
    """Without a link the speed and duplex are unknown; with one they are known, and speed is one of a supported mode."""
    settings.ready()
    modes = dut.link_modes()
    if modes is None or modes.speed is None:
        skip_unsupported("to report a speed", evidence={"link modes": modes})
    with step("With a link: the speed is that of a supported mode, where modes are told"):
        told = modes.speeds(modes.supported)
        assert not told or modes.speed in told
        assert modes.duplex in ("full", "half")
    with step("Take the partner down: speed and duplex are unknown"):
        link_partner.set(up=False)
        until(lambda: not dut.carrier, what="the carrier is gone", timeout=min(0.5, 4 * min(1.0, guest.speed)))
        without = dut.link_modes()
        assert (without.speed, without.duplex) == (None, None)


@requirement("LINK-MODES-01", level="MUST", source=LINKMODES, falsified_by="program:link.modes-swapped")
def test_supported(dut, settings, step, evidence, skip_unsupported):
    """The supported modes are those that the device, by its PCI id, can do; those advertised are among them."""
    settings.ready()
    modes = dut.link_modes()
    identity = (int(dut.read("device/vendor"), 0), int(dut.read("device/device"), 0)) if has_pci(dut) else None
    if modes is None or identity not in MODES:
        skip_unsupported(
            "link modes of a PCI id that is known here", evidence={"PCI id": identity, "link modes": modes}
        )
    evidence("link modes", modes)
    must, may = MODES[identity]
    supported = {mode for mode in modes.supported if "base" in mode}
    advertised = {mode for mode in modes.advertised if "base" in mode}
    with step("The supported modes hold all that the device must, and no other than it may do"):
        assert must <= supported <= must | may
    with step("What is advertised is supported"):
        assert advertised <= supported
        assert modes.advertised <= modes.supported


def has_pci(dut):
    """Whether the device is on PCI itself, not on virtio's bus."""
    return bool(dut.agent.call("files.exists", path=f"/sys/class/net/{dut.ifname}/device/device"))


@requirement(
    "LINK-RESTART-01",
    level="MUST",
    source="include/uapi/linux/ethtool.h, ETHTOOL_NWAY_RST",
    falsified_by=("rx.frame.dropped", "link.speed.wrong"),
)
def test_restart(guest, dut, settings, until, check_traffic, step, skip_unsupported):
    """A restart of the negotiation (ethtool -r) brings the link back at the speed that it had, and traffic goes on."""
    settings.ready()
    before = dut.link_modes()
    with step("Restart the negotiation"):
        try:
            guest.agent.call("ethtool.restart_negotiation", ifname=dut.ifname)
        except AgentError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
            skip_unsupported("a restart of the negotiation", evidence=str(error))
    with step("The link comes back at the same speed"):
        until(lambda: dut.carrier and dut.link_modes().speed == before.speed, what="the link is back", timeout=10)
    with step("Frames go both ways, unchanged"):
        settings.ready()
        check_traffic()
