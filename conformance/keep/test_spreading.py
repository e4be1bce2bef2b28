# SPDX-License-Identifier: GPL-2.0-or-later
"""Which queue gets which frames, over each operation: RSS, rules, XPS, and the number of queues."""

from __future__ import annotations

import pytest
from plugfest.requirements.requirement import requirement

RSS = "Documentation/networking/scaling.rst, RSS; Documentation/networking/ethtool-netlink.rst, RSS_SET"
FIELDS = "include/uapi/linux/ethtool.h, ETHTOOL_SRXFH; Documentation/networking/scaling.rst, RSS"
RULES = "include/uapi/linux/ethtool.h, ETHTOOL_SRXCLSRLINS, ETHTOOL_SRXCLSRLDEL: what deletes a rule"
CHANNELS = "Documentation/networking/ethtool-netlink.rst, CHANNELS_SET"
XPS = "Documentation/networking/scaling.rst, XPS"


@requirement(
    "KEEP-RSSTABLE-01",
    level="MUST",
    source=RSS,
    falsified_by="rx.rss.queue",
    keeps="RSS table",
    fault_from_step=2,
)
def test_rss_table(trial, operation, step):
    """After each operation frames follow the indirection table that the user has set."""
    with step("Set an uneven indirection table: flows arrive on several queues"):
        trial.set()
    with step(f"Perform the operation: {operation}"):
        trial.perform()
    with step("The driver reports the same table, and each flow arrives on the same queue"):
        trial.check()


@requirement(
    "KEEP-RSSKEY-01",
    level="MUST",
    source=RSS,
    falsified_by=("rx.rss.queue", "program:settings.reverted"),
    keeps="RSS key",
    fault_from_step=2,
)
def test_rss_key(trial, operation, step):
    """After each operation frames follow the hash key that the user has set."""
    with step("Set another hash key: flows arrive on several queues"):
        trial.set()
    with step(f"Perform the operation: {operation}"):
        trial.perform()
    with step("The driver reports the same key, and each flow arrives on the same queue"):
        trial.check()


@requirement(
    "KEEP-RSSFIELDS-01",
    level="MUST",
    source=FIELDS,
    falsified_by=("rx.rss.queue", "program:settings.reverted"),
    keeps="RSS hash fields",
    fault_from_step=2,
)
def test_hash_fields(trial, operation, step):
    """After each operation the hash covers the fields that the user has set."""
    with step("Change whether ports of UDP are hashed: flows arrive on several queues"):
        trial.set()
    with step(f"Perform the operation: {operation}"):
        trial.perform()
    with step("The driver reports the same fields, and each flow arrives on the same queue"):
        trial.check()


@requirement(
    "KEEP-NTUPLE-01",
    level="SHOULD",
    source=RULES,
    falsified_by="rx.flow-director.ignored",
    keeps="ntuple rule",
    fault_from_step=2,
)
def test_ntuple_rule(trial, operation, step):
    """After each operation an ntuple rule steers the frames that match it."""
    with step("Insert a rule for a port to the last queue: all flows to the port arrive on it"):
        trial.set()
    with step(f"Perform the operation: {operation}"):
        trial.perform()
    with step("The driver reports the same rule, and all flows arrive on its queue"):
        trial.check()


@requirement(
    "KEEP-CHANNELS-01",
    level="MUST",
    source=CHANNELS,
    falsified_by="program:settings.reverted",
    keeps="channels",
    fault_from_step=2,
)
def test_channels(trial, operation, step):
    """After each operation the interface has the number of channels that the user has set."""
    with step("Change the number of channels by one: the netdev has as many queues"):
        trial.set()
    with step(f"Perform the operation: {operation}"):
        trial.perform()
    with step("The numbers are the same, and flows arrive on the same queues"):
        trial.check()


@requirement(
    "KEEP-XPS-01",
    level="SHOULD",
    source=XPS,
    falsified_by="program:settings.reverted",
    keeps="XPS",
    fault_from_step=2,
)
@pytest.mark.fresh_guest  # a driver may keep maps of XDP's queues after another test
def test_xps(trial, operation, step):
    """After each operation each CPU sends on the queue that the user has set."""
    with step("Have all CPUs send on the last queue: they do"):
        trial.set()
    with step(f"Perform the operation: {operation}"):
        trial.perform()
    with step(
        "The maps are the same, and the CPUs send on the same queue; where the queues changed, the maps may be reset"
    ):
        trial.check()
