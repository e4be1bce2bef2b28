# SPDX-License-Identifier: GPL-2.0-or-later
"""The device behind an interface, and why a run must not have it.

Source: Documentation/ABI/testing/sysfs-class-net; sshd(8), SSH_CONNECTION; Documentation/PCI/pci-iov-howto.rst;
Documentation/networking/proc_net_tcp.rst.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

from agent.hardware.managers import manager
from agent.netlink import link
from agent.netlink.connection import NETLINK_ROUTE, NetlinkError, shared
from agent.netlink.routes import outgoing_interfaces

CLASS = Path("/sys/class/net")
TCP = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
TCP_ESTABLISHED = 1
PCI = re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")


class RefusedError(Exception):
    """A run must not have this interface; the message says what was expected, what was found and what to do."""


def bus_device(ifname: str) -> Path | None:
    """Return the folder in sysfs of the device behind an interface; None where there is none.

    A virtio device is another whenever the driver of its transport is bound: it is that of its PCI function, which stays.
    """
    path = CLASS / ifname / "device"
    if not path.exists():
        return None
    device = path.resolve()
    return device.parent if device.name.startswith("virtio") and PCI.fullmatch(device.parent.name) else device


def interfaces_of(device: Path) -> list[str]:
    """Return the interfaces of a device, sorted."""
    return sorted(path.name for path in CLASS.iterdir() if bus_device(path.name) == device)


def management(connection: str) -> set[str]:
    """Return the interfaces that carry an SSH session: the one with the server's address, and those of the route to the client.

    Args:
        connection: the session's SSH_CONNECTION: the client's address and port, and the server's.

    Raises:
        RefusedError: it does not show them. A tunnel does not say which NIC is under it.
    """
    words = connection.split()
    try:
        ends = [(_unmapped(word), word.partition("%")[2]) for word in (words[0], words[2])]
    except (IndexError, ValueError):
        raise RefusedError(
            f"expected SSH_CONNECTION to have the addresses of the SSH session, found {connection or 'nothing'}; "
            "log in to the machine's sshd over TCP"
        ) from None
    names = link.list_all()
    (client, _), (server, _) = ends
    found = {zone for _, zone in ends} & {*names}
    found |= {name for name in names if any(_unmapped(each["address"]) == server for each in link.addresses(name))}
    found |= _toward(client)
    if not any(bus_device(each) for name in found for each in lower_interfaces(name)):
        raise RefusedError(
            f"expected an SSH session over a NIC, found it over {', '.join(sorted(found)) or 'none'}, and not which NIC "
            "carries that; log in by an address of a NIC"
        )
    return found


def _unmapped(address: str) -> str:
    """Return an address without prefix length and zone; of an IPv4 one in IPv6's form the former."""
    found = ipaddress.ip_address(address.partition("/")[0].partition("%")[0])
    return str(getattr(found, "ipv4_mapped", None) or found)


def _toward(address: str) -> set[str]:
    """Return the interfaces by which the kernel sends to an address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    packed = socket.inet_pton(family, address)
    rtm_getroute, destination = 26, 1
    body = struct.pack("=BBBBBBBBI", family, len(packed) * 8, 0, 0, 0, 0, 0, 0, 0)
    body += struct.pack("=HH", 4 + len(packed), destination) + packed
    try:
        found = shared(NETLINK_ROUTE).request(rtm_getroute, body)
    except NetlinkError:
        return set()
    return {name for message in found for name in outgoing_interfaces(message.body)}


def _connected() -> set[str]:
    """Return the local addresses of established TCP connections."""
    found = set()
    for path in TCP:
        with suppress(OSError):  # a kernel without IPv6
            for line in path.read_text().splitlines()[1:]:
                _, local, _, state, *_ = line.split()
                if int(state, 16) == TCP_ESTABLISHED:
                    words = bytes.fromhex(local.partition(":")[0])
                    packed = b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))
                    found.add(_unmapped(str(ipaddress.ip_address(packed))))
    return found


def lower_interfaces(ifname: str) -> set[str]:
    """Return an interface and all that it stands on: the ports of a bridge or bond, what a VLAN is on."""
    found, waiting = {ifname}, [ifname]
    while waiting:
        for path in (CLASS / waiting.pop()).glob("lower_*"):
            name = path.name.removeprefix("lower_")
            if name not in found:
                found.add(name)
                waiting.append(name)
    return found


def check(ifname: str, connection: str, default_routes: set[str]) -> None:
    """See that a run may have an interface.

    Args:
        ifname: the interface.
        connection: SSH_CONNECTION of the session.
        default_routes: the interfaces that default routes of the main table use.

    Raises:
        RefusedError: it may not.
    """
    managed = management(connection)
    comes_in = f"{', '.join(sorted(managed))}, by which the SSH session comes in"
    names = [name for name in link.list_all() if name != "lo"]
    if ifname not in names:
        others = [name for name in names if name not in managed]
        if not others:
            raise RefusedError(
                f"expected a second interface beside {comes_in}, found none; add one, and connect it to the remote end"
            )
        raise RefusedError(f"expected the interface {ifname}, found {', '.join(others)}; correct the interface's name")
    management_set = {lower for name in managed for lower in lower_interfaces(name)}
    if ifname in management_set:
        raise RefusedError(
            f"expected another interface than {comes_in}, found that {ifname} carries it; name the one to be tested"
        )
    carrying = sorted(default_routes)
    if any(ifname in lower_interfaces(each) for each in carrying if (CLASS / each).exists()):
        raise RefusedError(
            f"expected an interface without a default route, found that {ifname} carries one; name another, or move the route"
        )
    device = bus_device(ifname)
    if device is None:
        raise RefusedError(
            f"expected an interface with a device, found that {ifname} is a virtual one; name the interface of a NIC"
        )
    if link.get(ifname)["driver"] is None:
        raise RefusedError(f"expected a driver of {ifname}, found none in sysfs; bind one")
    _check_use(ifname, device, management_set)
    managing = manager(ifname)
    if managing:
        program, command = managing
        raise RefusedError(
            f"expected an interface that nothing configures meanwhile, found that {program} manages {ifname}; release it: {command}"
        )


def _check_use(ifname: str, device: Path, management_set: set[str]) -> None:
    """See that nobody else uses an interface's device, for it will be unbound."""
    if (device / "subsystem").resolve().name == "usb":
        raise RefusedError(
            f"expected an interface of a NIC that is not on USB, found that {ifname} is on USB; name another"
        )
    connected = {_unmapped(each["address"]) for each in link.addresses(ifname)} & _connected()
    if connected:
        raise RefusedError(
            f"expected no TCP connection of {ifname}, found one of {min(connected)}; end it, or name another interface"
        )
    stacked = [path.name.removeprefix("upper_") for path in (CLASS / ifname).glob("upper_*")]
    if stacked:
        raise RefusedError(f"expected that nothing stands on {ifname}, found {stacked[0]}; take it out of that")
    others = [name for name in interfaces_of(device) if name != ifname]
    if others:
        also = "by which the SSH session comes in" if management_set & {*others} else "which would go with it"
        raise RefusedError(
            f"expected a device with {ifname} alone, found that {device.name} has {others[0]}, too, {also}; "
            "test another device"
        )
    rdma = sorted(path.name for path in (device / "infiniband").glob("*"))
    if rdma:
        raise RefusedError(
            f"expected no RDMA device on {ifname}, found {rdma[0]}; remove its driver with modprobe -r (such as mlx5_ib, irdma)"
        )
    virtual = device / "sriov_numvfs"
    if virtual.exists() and int(virtual.read_text()):
        raise RefusedError(
            f"expected no virtual functions of {ifname}, found {virtual.read_text().strip()}; "
            f"echo 0 > /sys/class/net/{ifname}/device/sriov_numvfs"
        )
    program = link.xdp(ifname)
    if program["attached"] != "none":
        raise RefusedError(
            f"expected no XDP program on {ifname}, found one ({program['attached']}, id {program.get('prog-id')}); detach it"
        )


def describe(ifname: str, info: dict[str, str]) -> dict[str, Any]:
    """Return what identifies an interface's device for a report.

    Args:
        ifname: the interface.
        info: what ``ethtool -i`` shows.

    Returns:
        driver; module, its name where the driver is one, and out-of-tree, whether it is none of the kernel's own; driver-version, firmware,
        bus-address, pci-id (``8086:10f8``) and subsystem-id, null for another bus; address, the permanent one where the driver
        reports it; max-mtu.
    """
    device = bus_device(ifname)
    assert device is not None

    def identity(*names: str) -> str | None:
        words = [(device / name).read_text().strip().removeprefix("0x") for name in names if (device / name).exists()]
        return ":".join(words) if len(words) == len(names) else None

    found = link.get(ifname)
    module = CLASS / ifname / "device" / "driver" / "module"
    taints = module / "taint"
    return {
        "ifname": ifname,
        "device": str(device),
        "driver": found["driver"],
        "module": module.resolve().name if module.exists() else found["driver"],
        "out-of-tree": taints.exists() and "O" in taints.read_text(),
        "driver-version": info["version"],
        "firmware": info["fw-version"],
        "bus-address": device.name,
        "pci-id": identity("vendor", "device"),
        "subsystem-id": identity("subsystem_vendor", "subsystem_device"),
        "address": found.get("perm-address") or found["address"],
        "max-mtu": found.get("max-mtu", 0),
    }
