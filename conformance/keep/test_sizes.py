# SPDX-License-Identifier: GPL-2.0-or-later
"""MTU, rings, coalescing, pause, private flags and wake-on-LAN over each operation."""

from __future__ import annotations

from plugfest.requirements.requirement import requirement

NETLINK = "Documentation/networking/ethtool-netlink.rst"


@requirement(
    "KEEP-MTU-01",
    level="MUST",
    source="include/uapi/linux/if_link.h, IFLA_MTU; Documentation/networking/netdevices.rst, MTU",
    falsified_by=("rx.jumbo.dropped", "program:settings.reverted"),
    keeps="MTU",
    fault_from_step=2,
)
def test_mtu(trial, operation, step):
    """After each operation frames of the MTU that the user has set pass both ways."""
    with step("Set another MTU: frames of that MTU pass both ways"):
        trial.set()
    with step(f"Perform the operation: {operation}"):
        trial.perform()
    with step("The MTU is the same, and frames of that MTU pass both ways"):
        trial.check()


@requirement(
    "KEEP-RINGS-01",
    level="MUST",
    source=f"{NETLINK}, RINGS_SET",
    falsified_by="program:settings.reverted",
    keeps="ring sizes",
    fault_from_step=2,
)
def test_ring_sizes(trial, operation, step):
    """After each operation the rings have the sizes that the user has set."""
    with step(
        "Halve the rings: the driver reports these sizes, and the device's queues have them (checked on a model of ours)"
    ):
        trial.set()
    with step(f"Perform the operation: {operation}"):
        trial.perform()
    with step("The sizes are the same"):
        trial.check()


@requirement(
    "KEEP-COALESCE-01",
    level="MUST",
    source=f"{NETLINK}, COALESCE_SET",
    falsified_by="program:settings.reverted",
    keeps="coalescing",
    fault_from_step=2,
)
def test_interrupt_delay(trial, operation, step):
    """After each operation the driver reports the interrupt coalescing that the user has set."""
    with step("Set another rx-usecs: the driver reports it"):
        trial.set()
    with step(f"Perform the operation: {operation}"):
        trial.perform()
    with step("It reports the same settings"):
        trial.check()


@requirement(
    "KEEP-PAUSE-01",
    level="MUST",
    source=f"{NETLINK}, PAUSE_SET",
    falsified_by="program:settings.reverted",
    keeps="pause",
    fault_from_step=2,
)
def test_pause(trial, operation, step):
    """After each operation pause frames are on or off as the user has set."""
    with step("Invert the pause settings: the device is set to them (checked on a model of ours)"):
        trial.set()
    with step(f"Perform the operation: {operation}"):
        trial.perform()
    with step("The settings are the same, and the device is still set to them"):
        trial.check()


@requirement(
    "KEEP-PRIVFLAGS-01",
    level="MUST",
    source=f"{NETLINK}, PRIVFLAGS_SET",
    falsified_by="program:settings.reverted",
    keeps="private flags",
    fault_from_step=2,
)
def test_private_flags(trial, operation, step):
    """After each operation the private flags are as the user has set them."""
    with step("Turn a private flag over: it is reported so"):
        trial.set()
    with step(f"Perform the operation: {operation}"):
        trial.perform()
    with step("All flags are the same"):
        trial.check()


@requirement(
    "KEEP-WOL-01",
    level="MUST",
    source=f"{NETLINK}, WOL_SET",
    falsified_by="program:settings.reverted",
    keeps="wake-on-LAN",
    fault_from_step=2,
)
def test_wake_on_lan(trial, operation, step):
    """After each operation the device wakes the machine for what the user has set, as the driver reports it."""
    with step("Choose another mode of wake-on-LAN: it is reported"):
        trial.set()
    with step(f"Perform the operation: {operation}"):
        trial.perform()
    with step("The mode is the same"):
        trial.check()
