# SPDX-License-Identifier: GPL-2.0-or-later
"""The device's filters over each operation: VLANs, unicast and multicast addresses, promiscuous and all-multicast mode."""

from __future__ import annotations

from plugfest.requirements.requirement import requirement

VLAN = "include/linux/netdevice.h, ndo_vlan_rx_add_vid; Documentation/networking/netdev-features.rst, rx-vlan-filter"
RX_MODE = "Documentation/networking/netdevices.rst, ndo_set_rx_mode; net/core/dev_addr_lists.c"


@requirement(
    "KEEP-VLANFILTER-01",
    level="MUST",
    source=VLAN,
    falsified_by=("rx.vlan.filter-closed", "rx.vlan.filter-open"),
    keeps="VLAN filter",
    fault_from_step=2,
)
def test_vlan_filter(trial, operation, step):
    """After each operation the device receives the frames of a VLAN that has an interface, and not those of another."""
    with step(
        "Turn VLAN filtering on, and create a VLAN interface: frames of this VLAN arrive, those of another do not"
    ):
        trial.set()
    with step(f"Perform the operation: {operation}"):
        trial.perform()
    with step("The filter is on, and the same frames arrive"):
        trial.check()


@requirement(
    "KEEP-UNICAST-01",
    level="MUST",
    source=f"{RX_MODE}; include/linux/netdevice.h, dev_uc_add",
    falsified_by="rx.unicast.ignored",
    keeps="unicast list",
    fault_from_step=2,
)
def test_unicast_list(trial, operation, step):
    """After each operation the device receives frames to a second unicast address of the interface."""
    with step("Add a unicast address to the interface's list: frames to it arrive"):
        trial.set()
    with step(f"Perform the operation: {operation}"):
        trial.perform()
    with step("The address is in the list, and the same frames arrive"):
        trial.check()


@requirement(
    "KEEP-MULTICAST-01",
    level="MUST",
    source=RX_MODE,
    falsified_by="rx.multicast.ignored",
    keeps="multicast list",
    fault_from_step=2,
)
def test_multicast_list(trial, operation, step):
    """After each operation the device receives frames to a group that the interface has joined."""
    with step("Join a group: frames to it arrive"):
        trial.set()
    with step(f"Perform the operation: {operation}"):
        trial.perform()
    with step("The group is in the list, and the same frames arrive"):
        trial.check()


@requirement(
    "KEEP-PROMISC-01",
    level="MUST",
    source="include/uapi/linux/if.h, IFF_PROMISC",
    falsified_by="rx.promiscuous.ignored",
    keeps="promiscuous mode",
    fault_from_step=2,
)
def test_promiscuous(trial, operation, step):
    """After each operation a promiscuous interface still receives frames to all addresses."""
    with step("Turn promiscuous mode on: frames to addresses that the interface does not have arrive"):
        trial.set()
    with step(f"Perform the operation: {operation}"):
        trial.perform()
    with step("The mode is on, and the same frames arrive"):
        trial.check()


@requirement(
    "KEEP-ALLMULTI-01",
    level="MUST",
    source="include/uapi/linux/if.h, IFF_ALLMULTI",
    falsified_by="rx.promiscuous.ignored",
    keeps="all-multicast mode",
    fault_from_step=2,
)
def test_all_multicast(trial, operation, step):
    """After each operation an interface in all-multicast mode still receives frames to all groups."""
    with step("Turn all-multicast mode on: frames to a group that the interface has not joined arrive"):
        trial.set()
    with step(f"Perform the operation: {operation}"):
        trial.perform()
    with step("The mode is on, and the same frames arrive"):
        trial.check()


@requirement(
    "KEEP-ADDRESS-01",
    level="MUST",
    source="Documentation/networking/netdevices.rst, ndo_set_mac_address",
    falsified_by="rx.unicast.ignored",
    keeps="hardware address",
    fault_from_step=2,
)
def test_hardware_address(trial, operation, step):
    """After each operation the device receives frames to the hardware address that the user has set."""
    with step("Change the hardware address: frames to it arrive"):
        trial.set()
    with step(f"Perform the operation: {operation}"):
        trial.perform()
    with step("The address is the interface's, and the same frames arrive"):
        trial.check()
