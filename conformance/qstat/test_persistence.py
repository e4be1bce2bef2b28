# SPDX-License-Identifier: GPL-2.0-or-later
"""Statistics outlive routine operations: the interface's always, and the device-wide queue statistics of netlink."""

from __future__ import annotations

import errno

import pytest
from plugfest.requirement import requirement

PERSIST = "Documentation/networking/statistics.rst, statistics must persist across routine operations"
HISTORY = "Documentation/netlink/specs/netdev.yaml, qstats: events since the last explicit reset, not a reconfiguration"


def check_not_behind(before, after):
    """No counter may be less than it was.

    Raises:
        AssertionError: one is; the message says which, and what it was.
    """
    lost = [
        f"{name} was {value}, is {after.get(name)}" for name, value in before.items() if (after.get(name) or 0) < value
    ]
    assert not lost, f"went back: {'; '.join(lost)}"


@pytest.fixture
def history(ledger, traffic, step):
    """Frames both ways that the statistics have counted, and what these then said."""
    with step("Send test frames both ways, and read the interface's statistics"):
        traffic.check_delivery()
        traffic.send_back()
    return ledger.read().link


@requirement("QSTAT-PERSIST-01", level="MUST", source=PERSIST, falsified_by=("program:qstat.gone-back",))
def test_down_and_up(history, ledger, dut, step, defer, traffic):
    """The interface's statistics do not go back when it is taken down and up."""
    with step("Take the interface down and up"):
        defer(dut.set_link, up=True)
        dut.set_link(up=False)
        dut.set_link(up=True)
        traffic.ready()
    with step("No counter of the interface went back"):
        check_not_behind(history, ledger.later().link)


@requirement("QSTAT-PERSIST-02", level="MUST", source=PERSIST, falsified_by=("program:qstat.gone-back",))
def test_ring_resize(history, ledger, dut, step, defer, unclaimed, traffic):
    """The interface's statistics do not go back when the rings are resized."""
    rings = dut.get("rings")
    if not rings or rings["rx"] == rings["rx-max"]:
        unclaimed("ring sizes that can be raised", evidence=rings)
    with step("Double the number of receive and transmit descriptors, within what the driver allows"):
        defer(dut.set, "rings", rx=rings["rx"], tx=rings["tx"])
        bigger = {side: min(2 * rings[side], rings[f"{side}-max"]) for side in ("rx", "tx")}
        dut.set("rings", **bigger)
        traffic.ready()
    with step("The rings have the new size"):
        assert {side: dut.get("rings")[side] for side in bigger} == bigger
    with step("No counter of the interface went back"):
        check_not_behind(history, ledger.later().link)


@requirement("QSTAT-PERSIST-03", level="MUST", source=PERSIST, falsified_by=("program:qstat.gone-back",))
def test_channel_change(history, ledger, dut, step, defer, unclaimed, traffic):
    """The interface's statistics do not go back when the number of channels changes."""
    channels = dut.get("channels")
    now = (channels or {}).get("combined-count", 0)
    most = (channels or {}).get("combined-max", 0)
    if most < 2:
        unclaimed("more than one combined channel", evidence=channels)
    with step("Change the number of combined channels by one"):
        refused = dut.ask("channels", combined_count=now + 1 if now < most else now - 1)
        if refused is not None and refused.errno == errno.EOPNOTSUPP:
            unclaimed("a change of the number of channels", evidence={**channels, "asked for another": str(refused)})
        assert refused is None, refused
        defer(dut.set, "channels", combined_count=now)
        traffic.ready()
    with step("No counter of the interface went back"):
        check_not_behind(history, ledger.later().link)


@requirement("QSTAT-PERSIST-04", level="MUST", source=PERSIST, falsified_by=("program:qstat.gone-back",))
def test_xdp_attach(history, native, ledger, step, traffic):
    """The interface's statistics do not go back when an XDP program is attached and detached."""
    with step("Attach a program that passes all frames"):
        native.attach("xdp_pass")
        traffic.ready()
    with step("No counter of the interface went back"):
        check_not_behind(history, ledger.later().link)
    with step("Detach it: still none went back"):
        native.detach()
        traffic.ready()
        check_not_behind(history, ledger.later().link)


@pytest.mark.usefixtures("history")
@requirement("QSTAT-PERSIST-05", level="MUST", source=HISTORY, falsified_by=("program:qstat.gone-back",))
def test_device_scope_has_the_history(ledger, dut, step, defer, unclaimed, traffic):
    """Netlink's device-wide queue statistics do not go back when the interface goes down and up or its channels change."""
    before = ledger.whole_device()
    if not before:
        unclaimed("netlink queue statistics of device scope", evidence=before)
    with step("Take the interface down and up"):
        defer(dut.set_link, up=True)
        dut.set_link(up=False)
        dut.set_link(up=True)
        traffic.ready()
    with step("No device-wide counter went back"):
        check_not_behind(before, ledger.whole_device_later())
