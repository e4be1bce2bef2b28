# SPDX-License-Identifier: GPL-2.0-or-later
"""Features and time stamps over each operation."""

from __future__ import annotations

from plugfest.requirements.requirement import requirement

FEATURES = (
    "Documentation/networking/netdev-features.rst: what the user wants stays wanted, and is active where it can be"
)
STAMPS = "Documentation/networking/timestamping.rst, 3.1: the driver reports the filter that is in use"


@requirement(
    "KEEP-VLANSTRIP-01",
    level="MUST",
    source=FEATURES,
    falsified_by="program:settings.reverted",
    keeps="VLAN stripping",
    fault_from_step=2,
)
def test_vlan_stripping(trial, operation, step):
    """After each operation the device strips VLAN tags, or does not, as the user has chosen."""
    with step("Turn VLAN stripping over: a tag comes in the metadata of an skb, or in the frame, as chosen"):
        trial.set()
    with step(f"Perform the operation: {operation}"):
        trial.perform()
    with step("The feature is reported as set, and a tag comes as before"):
        trial.check()


@requirement(
    "KEEP-VLANINSERT-01",
    level="MUST",
    source=FEATURES,
    falsified_by="program:settings.reverted",
    keeps="VLAN insertion",
    fault_from_step=2,
)
def test_vlan_insertion(trial, operation, step):
    """After each operation the device inserts VLAN tags, or does not, as the user has chosen."""
    with step(
        "Turn VLAN insertion over: the driver gets the tag in the metadata of an skb, or in the frame, as chosen"
    ):
        trial.set()
    with step(f"Perform the operation: {operation}"):
        trial.perform()
    with step("The feature is reported as set, the driver gets the tag as before, and the frame on the wire has it"):
        trial.check()


@requirement(
    "KEEP-RXCSUM-01",
    level="MUST",
    source=FEATURES,
    falsified_by="program:settings.reverted",
    keeps="receive checksum",
    fault_from_step=2,
)
def test_receive_checksum(trial, operation, step):
    """After each operation the driver reports verified checksums, or does not, as the user has chosen."""
    with step("Turn receive checksums over: the driver reports that of a frame as verified, or not, as chosen"):
        trial.set()
    with step(f"Perform the operation: {operation}"):
        trial.perform()
    with step("The feature is reported as set, and the driver reports the checksum of a frame as before"):
        trial.check()


@requirement(
    "KEEP-TSO-01",
    level="MUST",
    source=FEATURES,
    falsified_by="program:settings.reverted",
    keeps="TCP segmentation",
    fault_from_step=2,
)
def test_segmentation(trial, operation, step):
    """After each operation the driver gets TCP packets whole, or in segments, as the user has chosen."""
    with step("Turn TCP segmentation over: the driver gets a long packet whole, or in segments, as chosen"):
        trial.set()
    with step(f"Perform the operation: {operation}"):
        trial.perform()
    with step("The feature is reported as set, and the driver gets a long packet as before"):
        trial.check()


@requirement(
    "KEEP-LRO-01",
    level="MUST",
    source=FEATURES,
    falsified_by="program:settings.reverted",
    keeps="receive coalescing",
    fault_from_step=2,
)
def test_coalescing(trial, operation, step):
    """After each operation the device merges TCP segments, or does not, as the user has chosen."""
    with step("Turn receive coalescing over: a TCP stream comes in merged segments, or in single ones, as chosen"):
        trial.set()
    with step(f"Perform the operation: {operation}"):
        trial.perform()
    with step("The feature is reported as set, and a TCP stream comes as before"):
        trial.check()


@requirement(
    "KEEP-STAMP-01",
    level="SHOULD",
    source=STAMPS,
    falsified_by="rx.timestamp.missing",
    keeps="time stamp filter",
    fault_from_step=2,
)
def test_timestamp_filter(trial, operation, step):
    """After each operation the device stamps what the filter covers that the user has set, and the driver reports that filter."""
    with step("Set a filter for PTP event messages: one is stamped"):
        trial.set()
    with step(f"Perform the operation: {operation}"):
        trial.perform()
    with step("The filter is reported as set, and a message is stamped"):
        trial.check()
