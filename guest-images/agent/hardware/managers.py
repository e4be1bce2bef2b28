# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs of the machine that configure interfaces: one that is at it while its settings are put back would undo that.

Neither forgets a device by its command for one device: it is another to them when it comes back. Source: nmcli(1), NetworkManager.conf(5);
networkctl(1), systemd.network(5); systemd, src/network/networkd-state-file.c.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from agent.system.interface import interface_index

NETWORKD = Path("/run/systemd/units/invocation:systemd-networkd.service")
"""There while it runs."""
LINKS = Path("/run/systemd/netif/links")
NOT_NETWORKDS = ("unmanaged", "linger")
NMCLI_TIMEOUT = 20.0


def manager(ifname: str) -> tuple[str, str] | None:
    """Return the name of the program that manages an interface, and the command that releases it; None if there is none."""
    if _is_network_managers(ifname):
        return "NetworkManager", (
            f"mkdir -p /run/NetworkManager/conf.d && printf '[keyfile]\\nunmanaged-devices=interface-name:{ifname}\\n' "
            "> /run/NetworkManager/conf.d/plugfest.conf && systemctl reload NetworkManager"
        )
    if _is_networkds(ifname):
        return "systemd-networkd", (
            f"mkdir -p /run/systemd/network && printf '[Match]\\nName={ifname}\\n[Link]\\nUnmanaged=yes\\n' "
            "> /run/systemd/network/00-plugfest.network && networkctl reload"
        )
    return None


def _is_network_managers(ifname: str) -> bool:
    program = shutil.which("nmcli")
    if program is None:
        return False
    command = [program, "--get-values", "GENERAL.STATE", "device", "show", ifname]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=NMCLI_TIMEOUT)
    except subprocess.TimeoutExpired:
        return True
    # As "100 (connected)"; not so where it does not run.
    return done.returncode == 0 and not done.stdout.startswith("10 ")


def _is_networkds(ifname: str) -> bool:
    if not NETWORKD.is_symlink():
        return False
    try:
        lines = (LINKS / str(interface_index(ifname))).read_text().splitlines()
    except OSError:
        return False
    found = dict(line.partition("=")[::2] for line in lines)
    return found.get("ADMIN_STATE", NOT_NETWORKDS[0]) not in NOT_NETWORKDS
