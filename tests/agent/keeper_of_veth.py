# SPDX-License-Identifier: GPL-2.0-or-later
"""The keeper of a real machine's interface, with a veth in place of a NIC: ``python keeper_of_veth.py FOLDER [SILENCE]`` in new namespaces.

Without FOLDER it is the far end of the wire that has the interface. A veth has no device whose driver could be unbound; all else is the
keeper's own work.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from agent.hardware import device, far_end, keeper, loan

DEVICE = Path("/sys/devices/virtual")


def main(folder: str = "", silence: str = "300") -> int:
    for command in (
        "mount -t sysfs none /sys",
        "ip link add eth9 type veth peer name far",
        "ip link set eth9 up mtu 1400",
        "ip link set far up",
        "ip address add 203.0.113.7/24 dev eth9",
        "ip route add 198.51.100.0/24 via 203.0.113.1",
    ):
        subprocess.run(command.split(), check=True)
    described: dict[str, Any] = {"ifname": "eth9", "device": str(DEVICE), "driver": "veth", "module": "veth"}
    stand_ins: dict[Any, dict[str, Any]] = {
        device: {
            "check": lambda *_: None,
            "bus_device": lambda ifname: DEVICE if ifname == "eth9" else None,
            "describe": lambda *_: dict(described),
        },
        loan.Loan: {"rebind": lambda self: self.adopt()},
        keeper: {"LOCK": Path(folder, "lock"), "PARAMETERS": {}, "CHANGED_BY_TESTS": (), "SILENCE": float(silence)},
    }
    for owner, names in stand_ins.items():
        for name, value in names.items():
            setattr(owner, name, value)
    if not folder:
        return far_end.main("eth9", "lent")
    status = keeper.main("eth9", folder)
    shown = subprocess.run(["ip", "-br", "address", "show", "dev", "eth9"], capture_output=True, text=True, check=True)
    routes = subprocess.run(["ip", "route"], capture_output=True, text=True, check=True)
    sys.stdout.write(f"{shown.stdout}{routes.stdout}")
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
