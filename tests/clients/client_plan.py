# SPDX-License-Identifier: GPL-2.0-or-later
"""Provisions the guest of the clients; called before the run's namespaces are entered, where no mirror can be reached, and inside."""

from __future__ import annotations

from pathlib import Path

from client_root import ensure_client_root
from plugfest.cli.prepare import GuestOptions, plan, settings
from plugfest.run.plan import RunPlan

INSIDE = "PLUGFEST_CLIENTS"
"""Environment variable with the private folder of the namespaces in which the tests run; unset outside."""
KERNEL = "trixie-backports"
MEMORY = 1024
"""MiB."""


def client_plan(output: Path) -> RunPlan:
    """Return a plan with QEMU, a kernel, the root with the clients, and the snapshots of the user's cache."""
    options = GuestOptions(KERNEL, "auto", None, (), 2, MEMORY, False, (), False, None, None, None)
    return plan("ixgbe", options, output, ensure_client_root(settings(None, None, None)))
