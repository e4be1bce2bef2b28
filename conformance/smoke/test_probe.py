# SPDX-License-Identifier: GPL-2.0-or-later
"""The driver takes its device, gives it back, and takes it again."""

from __future__ import annotations

import pytest
from plugfest.dut.dut import Dut
from plugfest.machine.machine import DUT_MAC
from plugfest.requirements.requirement import requirement

BINDING = "Documentation/driver-api/driver-model/binding.rst"
ROUNDS = 3
"""How often the driver is taken off and put on again: once may leave something behind that only the second finds."""


@requirement(
    "SMOKE-PROBE-01",
    level="MUST",
    source=f"{BINDING}; Documentation/networking/netdevices.rst",
    falsified_by=("device.eeprom.checksum", "device.command.stuck"),
)
def test_probe(binding, guest, dut, driver, step, evidence):
    """Bound to its device, the driver makes one network interface, with the device's address and its own name."""
    with step("Take the driver off the device and bind it again"):
        binding.unbind()
        binding.bind()
    with step("There is one interface of the device"):
        assert binding.interfaces() == [guest.ifname]
    with step("Its address is the device's, now and permanently"):
        link = dut.link()
        assert link["address"] == DUT_MAC
        assert link.get("perm-address", DUT_MAC) == DUT_MAC
    with step("It tells its driver and its place on the bus"):
        told = dut.driver_info()
        evidence("ethtool -i", told)
        assert told["driver"] == driver.module
        assert told["bus-info"] in binding.device


@requirement(
    "SMOKE-BIND-01",
    level="MUST",
    source=f"{BINDING}; Documentation/PCI/pci.rst, section on device driver shutdown",
    falsified_by="program:driver.unbind-lost",
)
def test_unbind(binding, guest, step):
    """Taken off its device, the driver removes the interface, and leaves no queue of the device running."""
    with step("Take the driver off the device"):
        binding.unbind()
    with step("The interface is gone, and the device has no driver"):
        assert binding.interfaces() == []
        assert not binding.bound
    with step("No queue of the device is enabled, where the device can be asked"):
        if guest.model is not None:
            queues = guest.model.call("model.queues")
            running = [f"{way} {n}" for way in ("rx", "tx") for n, queue in enumerate(queues[way]) if queue["enabled"]]
            assert running == []


@requirement(
    "SMOKE-BIND-02",
    level="MUST",
    source=BINDING,
    falsified_by=("device.eeprom.checksum", "device.command.stuck", "rx.frame.dropped", "tx.frame.dropped"),
)
def test_rebind(binding, check_traffic, dut, step):
    """Taken off and bound again, several times, the driver carries traffic both ways as before."""
    for number in range(ROUNDS):
        with step(f"Take the driver off the device and bind it again, time {number + 1}"):
            binding.unbind()
            binding.bind()
            assert dut.link()["ifname"] == dut.ifname
    with step("Frames go both ways, unchanged"):
        check_traffic()


@requirement(
    "SMOKE-MODULE-01",
    level="MUST",
    source="Documentation/kbuild/modules.rst; man modprobe(8)",
    falsified_by=("program:driver.unload-lost", "device.eeprom.checksum", "tx.frame.dropped"),
)
def test_reload(binding, check_traffic, driver, step, skip_unsupported):
    """The module can be unloaded while its interface is up, and loaded again; then traffic goes both ways."""
    if binding.shared_with_management:
        skip_unsupported(
            "unloading", evidence=f"{driver.module} also drives the interface by which the guest is reached"
        )
    with step("Unload the module"):
        binding.unload()
        assert not binding.loaded
    with step("Load it again: the interface is back"):
        binding.load()
        assert binding.bound
    with step("Frames go both ways, unchanged"):
        check_traffic()


@requirement(
    "SMOKE-REBOOT-01",
    level="MUST",
    source="Documentation/PCI/pci.rst: a device must be usable after a reset of the bus",
    falsified_by=("device.eeprom.checksum", "rx.frame.dropped"),
)
@pytest.mark.fresh_guest
@pytest.mark.budget(60)
def test_reboot(guest, dut, check_traffic_after, step):
    """After a reboot of the machine the driver finds its device in order, and carries traffic both ways."""
    before = dut.mac
    with step("Reboot with the interface up"):
        guest.reboot()
    with step("The interface is there, with the same address"):
        assert Dut(guest).mac == before
    with step("Frames go both ways, unchanged"):
        check_traffic_after()()
