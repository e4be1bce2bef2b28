# SPDX-License-Identifier: GPL-2.0-or-later
"""Partners that do not negotiate, drivers that are told not to, and what stays over a reset."""

from __future__ import annotations

import pytest
from plugfest.link.backplane import DETECTABLE, MODES, SPEEDS
from plugfest.machine.console import TRANSMIT_WATCHDOG
from plugfest.requirements.requirement import requirement

SHORT = (60, 61, 1024)
"""Octets of frames that a smaller MTU lets pass."""
SILENT = 0.02
"""Seconds."""
DETECTION = "IEEE 802.3-2022, 73.7.4.1 (parallel detection: 1000BASE-KX and 10GBASE-KX4)"


@requirement(
    "CL73-PD-01", level="MUST", source=DETECTION, falsified_by=("tx.frame.dropped", "program:backplane.not-set")
)
@pytest.mark.budget(90)
def test_detected(link_partner, local, linked, step, skip_unsupported, check_traffic):
    """A partner that transmits without pages what is detected in parallel, and what the port has, gets a link."""
    detectable = [name for name in local.values() if name in DETECTABLE]
    if not detectable:
        skip_unsupported("a technology that is detected in parallel", evidence={"advertised": sorted(local)})
    for name in detectable:
        with step(f"Let the partner transmit {name}, without pages: there is a link, and frames go both ways"):
            link_partner.offer(name, negotiates=False)
            linked(name)
            check_traffic()


@requirement(
    "CL73-PD-02",
    level="MUST",
    source=DETECTION,
    falsified_by=("link.report.stuck", "an.complete.lost", "program:backplane.not-set"),
)
@pytest.mark.usefixtures("kr")
@pytest.mark.budget(120)
def test_not_detected(link_partner, highest, gives_up, linked, step):
    """10GBASE-KR without pages is not detected: there is no link."""
    with step("Let the partner transmit 10GBASE-KR, without pages: there is neither link nor carrier at any time"):
        link_partner.offer("10GBASE-KR", negotiates=False)
        gives_up()
    with step("Let it negotiate: there is a link"):
        link_partner.offer(*link_partner.abilities["technologies"])
        linked(highest)


@pytest.fixture
def force(dut, link_partner, negotiates_as_before, evidence):
    """``force(10000)`` turns negotiation off at a speed; returns whether the driver did."""

    def turn_off(speed):
        link_partner.mark()
        refusal = dut.try_set("linkmodes", autoneg=False, speed=speed, duplex=1)
        if refusal is not None:
            evidence(f"ethtool -s autoneg off speed {speed}", str(refusal))
            assert dut.link_modes().autonegotiation
            return False
        negotiates_as_before()
        return True

    return turn_off


@requirement(
    "CL73-FORCED-01",
    level="MUST",
    source="include/uapi/linux/ethtool.h, AUTONEG_DISABLE; IEEE 802.3-2022, 45.2.7.1 (7.0.12)",
    falsified_by=("tx.frame.dropped", "program:backplane.not-set", "program:settings.not-set"),
)
@pytest.mark.budget(120)
def test_forced(
    link_partner, local, dut, force, linked, until, check_traffic, step, skip_unsupported, evidence, patience
):
    """With negotiation off, and a partner of that speed that has none either, there is a link at each speed of the port.

    Where the port has several technologies of a speed, the request does not say which: the driver's signal does.
    """
    made = False
    for speed in sorted({SPEEDS[name] for name in local.values()}):
        names = {name for name in local.values() if SPEEDS[name] == speed}
        with step(
            f"Turn negotiation off, at {speed} Mb/s: the driver transmits {' or '.join(sorted(names))}, without pages"
        ):
            if not force(speed):
                continue
            made = True
            link_partner.offer(min(names), negotiates=False)
            found = until(
                lambda names=names: link_partner.carried in names and link_partner.carried,
                what="it transmits that",
                timeout=patience(5),
            )
            evidence(f"{speed} Mb/s", found)
        with step("Let the partner transmit that, without pages: there is a link, and frames go both ways"):
            link_partner.offer(found, negotiates=False)
            linked(found)
            assert not dut.link_modes().autonegotiation
            check_traffic()
    if not made:
        skip_unsupported("to turn negotiation off", evidence="each speed is refused, see above")


@pytest.fixture
def forced(link_partner, local, dut, force, linked, check_traffic, skip_unsupported):
    """``stayed = forced()``: a link without negotiation, at the first speed at which the driver takes that; skips where it takes none.

    ``stayed()``: there is a link again, negotiation is off, and frames go both ways; ``stayed(SHORT)``: frames of these octets do.
    """

    def prepare():
        name = next((each for each in local.values() if force(SPEEDS[each])), None)
        if name is None:
            skip_unsupported("to turn negotiation off", evidence="each speed is refused, see above")
        link_partner.offer(name, negotiates=False)
        linked(name)
        link_partner.mark()

        def check(*sizes):
            linked(name)
            assert not dut.link_modes().autonegotiation
            check_traffic(*sizes)
            link_partner.mark()

        return check

    return prepare


@requirement(
    "CL73-FORCED-02",
    level="MUST",
    source="include/uapi/linux/ethtool.h, AUTONEG_DISABLE; Documentation/networking/netdevices.rst, ndo_stop and ndo_open",
    falsified_by=("tx.frame.dropped", "program:backplane.not-set", "program:settings.not-set"),
)
@pytest.mark.budget(120)
def test_forced_stays(forced, dut, settings, step):
    """Negotiation that was turned off stays off when the interface goes down and up, and when it is reset by a change of MTU.

    The link is as it was.
    """
    with step("Turn negotiation off, and let the partner transmit without pages: there is a link"):
        stayed = forced()
    with step("Take the interface down and up: negotiation is off, there is a link, and frames go both ways"):
        settings.set_link(up=False)
        dut.set_link(up=True)
        stayed()
    with step("Change the MTU: negotiation is off, there is a link, and frames that the MTU lets pass go both ways"):
        settings.set_link(mtu=dut.mtu - 100)
        stayed(SHORT)


@requirement(
    "CL73-FORCED-03",
    level="MUST",
    source="include/uapi/linux/ethtool.h, AUTONEG_DISABLE; Documentation/networking/netdevices.rst, ndo_tx_timeout",
    falsified_by=("tx.frame.dropped", "program:backplane.not-set", "program:settings.not-set"),
)
@pytest.mark.budget(120)
@pytest.mark.provokes(TRANSMIT_WATCHDOG)
@pytest.mark.fresh_guest  # where the driver does not reset the device, a queue may be left hanging
def test_forced_over_reset(forced, reset_by_watchdog, step):
    """Negotiation that was turned off stays off over a reset that the driver makes because a transmit queue hangs."""
    with step("Turn negotiation off, and let the partner transmit without pages: there is a link"):
        stayed = forced()
    with step("Have a transmit queue hang until the driver resets the device"):
        reset_by_watchdog()
    with step("Negotiation is off, there is a link, and frames go both ways"):
        stayed()


@requirement(
    "CL73-FORCED-04",
    level="MUST",
    source="include/uapi/linux/ethtool.h, AUTONEG_DISABLE, ETHTOOL_TEST, ETH_TEST_FL_OFFLINE",
    falsified_by=("tx.frame.dropped", "program:backplane.not-set", "program:settings.not-set"),
)
@pytest.mark.budget(120)
def test_forced_over_self_test(forced, self_test, step):
    """Negotiation that was turned off stays off over the driver's offline test."""
    with step("Turn negotiation off, and let the partner transmit without pages: there is a link"):
        stayed = forced()
    with step("Run the offline test"):
        self_test()
    with step("Negotiation is off, there is a link, and frames go both ways"):
        stayed()


@requirement(
    "CL73-LOSS-01",
    level="SHOULD",
    source="Documentation/networking/operstates.rst; IEEE 802.3-2022, 45.2.3.2.7 (PCS receive link status stays low until it is read)",
    falsified_by=("an.latch.missing", "program:backplane.not-set"),
)
@pytest.mark.budget(90)
def test_brief_loss(forced, link_partner, dut, until, step, patience, evidence):
    """A loss of the signal that is over before a driver asks is told, where nothing is negotiated: the carrier goes, and comes back."""
    with step("Turn negotiation off, and let the partner transmit without pages: there is a link"):
        stayed = forced()
        before, entries = dut.link(), link_partner.record()[-1]["sequence"]
    with step("Let the partner be silent for some milliseconds"):
        link_partner.set(flap={"times": 1, "down": SILENT, "up": SILENT})
        until(
            lambda: not link_partner.get()["flapping"] and link_partner.technology is not None,
            what="the partner transmits again",
            timeout=patience(5),
        )
        evidence("what the partner did", [each["event"] for each in link_partner.record(entries)])
    with step("The driver tells that the link was lost, and that it came back"):

        def both():
            now = dut.link()
            return all(now[name] > before[name] for name in ("carrier-down-count", "carrier-up-count"))

        until(both, what="the carrier has gone and come back", timeout=patience(5))
        stayed()


@requirement(
    "CL73-STAY-01",
    level="MUST",
    source="Documentation/networking/netdevices.rst, ndo_stop and ndo_open; include/uapi/linux/ethtool.h",
    falsified_by=("tx.frame.dropped", "program:settings.not-set"),
)
@pytest.mark.usefixtures("several")
@pytest.mark.budget(90)
def test_stays(link_partner, local, advertise, settings, dut, linked, check_traffic, step):
    """What the driver was told to advertise stays when the interface goes down and up, and when it is reset by a change of MTU."""
    mode, name = list(local.items())[-1]
    with step(f"Have the driver advertise {mode} alone"):
        advertise({mode})
        linked(name)
    for what, do in (
        ("Take the interface down and up", lambda: settings.set_link(up=False) or dut.set_link(up=True)),
        ("Change the MTU", lambda: settings.set_link(mtu=dut.mtu - 100)),
    ):
        with step(f"{what}: the driver still advertises that alone, and so the partner got it"):
            link_partner.mark()
            do()
            linked(name)
            assert dut.link_modes().advertised & MODES.keys() == {mode}
            assert link_partner.base_page_received.technologies == {name}
    with step("Frames that the smaller MTU lets pass go both ways"):
        check_traffic(SHORT)


@pytest.fixture
def settle(link_partner, local, advertise, highest, linked, check_traffic, dut, evidence):
    """``stayed = settle()``: a link of one technology alone, where the driver can be told to advertise that; else of all that it does.

    ``stayed()``: once there is a link again, the partner has got the same page, the driver tells the same, and frames go both ways.
    """

    def prepare():
        mode, name = list(local.items())[-1]
        alone = len(local) > 1 and advertise({mode}, may_refuse=True)
        evidence("advertised", mode if alone else "all")
        wanted = name if alone else highest
        if not alone:
            link_partner.set(latency=0.001, restart=True)
        linked(wanted)
        page, modes, negotiations = link_partner.base_page_received, dut.link_modes(), link_partner.negotiations
        link_partner.mark()

        def check():
            linked(wanted, steady=True)
            evidence("negotiations since", link_partner.negotiations - negotiations)
            assert link_partner.base_page_received.content == page.content
            now = dut.link_modes()
            assert (now.advertised, now.autonegotiation) == (modes.advertised, modes.autonegotiation)
            check_traffic()

        return check

    return prepare


@requirement(
    "CL73-STAY-03",
    level="MUST",
    source="Documentation/networking/netdevices.rst, ndo_tx_timeout; include/uapi/linux/ethtool.h, ETHTOOL_SLINKSETTINGS",
    falsified_by=("tx.frame.dropped", "program:settings.not-set"),
)
@pytest.mark.budget(120)
@pytest.mark.provokes(TRANSMIT_WATCHDOG)
@pytest.mark.fresh_guest  # where the driver does not reset the device, a queue may be left hanging
def test_own_reset(settle, reset_by_watchdog, step):
    """What the driver advertises, and the link, survive a reset that the driver makes because a transmit queue hangs."""
    with step("Have the driver advertise one technology alone, where it can be told to: there is a link"):
        stayed = settle()
    with step("Have a transmit queue hang until the driver resets the device"):
        reset_by_watchdog()
    with step(
        "The partner gets the same page, and the driver tells the same: there is a link, and frames go both ways"
    ):
        stayed()


@requirement(
    "CL73-STAY-04",
    level="MUST",
    source="include/uapi/linux/ethtool.h, ETHTOOL_TEST, ETH_TEST_FL_OFFLINE, ETHTOOL_SLINKSETTINGS",
    falsified_by=("tx.frame.dropped", "program:settings.not-set"),
)
@pytest.mark.budget(120)
def test_self_test(settle, self_test, step):
    """What the driver advertises, and the link, survive the driver's offline test."""
    with step("Have the driver advertise one technology alone, where it can be told to: there is a link"):
        stayed = settle()
    with step("Run the offline test"):
        self_test()
    with step(
        "The partner gets the same page, and the driver tells the same: there is a link, and frames go both ways"
    ):
        stayed()


@requirement(
    "CL73-STAY-02",
    level="MUST",
    source="Documentation/networking/netdevices.rst, ndo_stop and ndo_open; Documentation/driver-api/driver-model/binding.rst",
    falsified_by=("link.speed.wrong", "tx.frame.dropped"),
)
@pytest.mark.budget(150)
def test_same_page(link_partner, highest, start_over, binding, settings, dut, linked, check_traffic, step):
    """The page that a driver sends is the same after down and up, after a reset by a change of MTU, and after it was bound anew.

    So is the link that follows from it.
    """
    with step("Let the partner start over: there is a link"):
        start_over(latency=0.001)
        linked(highest)
        page, modes = link_partner.base_page_received, dut.link_modes()
    for what, do in (
        ("Take the interface down and up", lambda: settings.set_link(up=False) or dut.set_link(up=True)),
        ("Change the MTU", lambda: settings.set_link(mtu=dut.mtu - 100)),
        ("Unbind the driver, and bind it", lambda: binding.unbind() or binding.bind()),
    ):
        with step(f"{what}: the partner gets the same page, and the driver tells the same"):
            link_partner.mark()
            do()
            linked(highest)
            assert link_partner.base_page_received.content == page.content
            now = dut.link_modes()
            assert (now.advertised, now.autonegotiation) == (modes.advertised, modes.autonegotiation)
    with step("Frames go both ways"):
        check_traffic()
