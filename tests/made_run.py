# SPDX-License-Identifier: GPL-2.0-or-later
"""What a made-up run says of itself: the ``run`` event of its journal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def run_event(options: Mapping[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """Return the event of a run of ixgbe on its model, without the time.

    Args:
        options: of the run, beside those that a report needs.
        fields: in place of the event's own.
    """
    return {
        "event": "run",
        "driver": "ixgbe",
        "module": "ixgbe",
        "subject": {"kind": "model", "name": "ixgbe", "profile": "kr", "text": "plugfest's model of ixgbe (kr)"},
        "kernel": {"spec": "trixie-backports", "release": "7.3.4+deb13-amd64"},
        "accel": {"name": "tcg", "reason": "there is no /dev/kvm"},
        "versions": {"plugfest": "0.1.0", "qemu": "11.1.3", "python": "3.11.2", "host": "6.1.0-41-amd64"},
        "guest": {"cpus": 2, "memory": 1024},
        "options": {"falsify": False, "faults": [], "modules": [], "pytest": []} | dict(options or {}),
    } | fields
