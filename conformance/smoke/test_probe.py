# SPDX-License-Identifier: GPL-2.0-or-later
"""Probe and remove: bind and unbind the driver, load and unload its module, reboot."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from plugfest.dut.dut import Dut
from plugfest.requirements.requirement import requirement

BINDING = "Documentation/driver-api/driver-model/binding.rst"
ROUNDS = 3
"""How often the driver is unbound and bound: what the first round leaves behind may fail only the second."""


@requirement(
    "SMOKE-PROBE-01",
    level="MUST",
    source=f"{BINDING}; Documentation/networking/netdevices.rst",
    falsified_by=("device.eeprom.checksum", "device.command.stuck"),
)
def test_probe(binding, guest, dut, step, evidence):
    """Bound to its device, the driver creates one netdev with the device's address; `ethtool -i` reports its name and bus address."""
    with step("Unbind the driver from the device and bind it again"):
        binding.unbind()
        binding.bind()
    with step("The device has one netdev"):
        assert binding.interfaces() == [guest.ifname]
    with step("Address and permanent address of the netdev are the device's"):
        link = dut.link()
        assert link["address"] == guest.mac
        assert link.get("perm-address", guest.mac) == guest.mac
    with step("`ethtool -i` shows the driver's name as in sysfs, and the device's bus address"):
        info = dut.driver_info()
        evidence("ethtool -i", info)
        assert info["driver"] == PurePosixPath(binding.driver).name
        assert info["bus-info"] in binding.device


@requirement(
    "SMOKE-PROBE-02",
    level="MUST",
    source=f"{BINDING}; Documentation/networking/netdevices.rst",
    falsified_by="program:driver.netdev-lost",
    base="netdev",
)
def test_netdev(binding, guest, step):
    """When its module is loaded, the driver creates a netdev for its device."""
    with step("The device has the netdev"):
        assert guest.ifname in binding.interfaces()


@requirement(
    "SMOKE-BIND-01",
    level="MUST",
    source=f"{BINDING}; Documentation/PCI/pci.rst, section on device driver shutdown",
    falsified_by="program:driver.unbind-lost",
)
def test_unbind(binding, guest, step):
    """Unbound from its device, the driver removes the netdev and leaves no queue of the device enabled."""
    with step("Unbind the driver from the device"):
        binding.unbind()
    with step("The netdev is gone, and the device has no driver"):
        assert binding.interfaces() == []
        assert not binding.bound
    with step("The device has no queue enabled (checked on a model of ours)"):
        if guest.model is not None:
            queues = guest.model.call("model.queues")
            enabled = [
                f"{side} {n}" for side in ("rx", "tx") for n, queue in enumerate(queues[side]) if queue["enabled"]
            ]
            assert enabled == []


@requirement(
    "SMOKE-BIND-02",
    level="MUST",
    source=BINDING,
    falsified_by=("device.eeprom.checksum", "device.command.stuck", "rx.frame.dropped", "tx.frame.dropped"),
)
def test_rebind(binding, check_traffic, dut, step):
    """After several rounds of unbind and bind, frames pass in both directions."""
    for number in range(1, ROUNDS + 1):
        with step(f"Round {number}: unbind the driver from the device and bind it again"):
            binding.unbind()
            binding.bind()
            assert dut.link()["ifname"] == dut.ifname
    with step("Frames pass in both directions, unchanged"):
        check_traffic()


@requirement(
    "SMOKE-MODULE-01",
    level="MUST",
    source="Documentation/kbuild/modules.rst; man modprobe(8)",
    falsified_by=("program:driver.unload-lost", "device.eeprom.checksum", "tx.frame.dropped"),
)
def test_reload(binding, check_traffic, step, skip_unsupported):
    """The module unloads while its interface is up; after it is loaded again, frames pass in both directions."""
    hindrance = binding.kept_loaded_by()
    if hindrance is not None:
        skip_unsupported("unloading the module", evidence=hindrance)
    with step("Unload the module"):
        binding.unload()
        assert not binding.loaded
    with step("Load it again: the driver binds to the device"):
        binding.load()
        assert binding.bound
    with step("Frames pass in both directions, unchanged"):
        check_traffic()


@requirement(
    "SMOKE-REBOOT-01",
    level="MUST",
    source="Documentation/PCI/pci.rst: a device must be usable after a reset of the bus",
    falsified_by=("device.eeprom.checksum", "rx.frame.dropped"),
)
@pytest.mark.fresh_guest
@pytest.mark.budget(60)
def test_reboot(guest, dut, check_traffic_after_reboot, step):
    """After a reboot of the machine with the interface up, the driver probes its device, and frames pass in both directions."""
    before = dut.mac
    with step("Reboot with the interface up"):
        guest.reboot()
    with step("The netdev exists, with the same address"):
        assert Dut(guest).mac == before
    with step("Frames pass in both directions, unchanged"):
        check_traffic_after_reboot()
