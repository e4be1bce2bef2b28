# SPDX-License-Identifier: GPL-2.0-or-later
"""The settings of an interface: read before a run, put back after it, and compared.

Each setting is read and set by itself: what a driver does not have is not in the record, and what cannot be put back does not keep
the others from it. Source: Documentation/networking/ethtool-netlink.rst; include/uapi/linux/ethtool.h.
"""

from __future__ import annotations

import array
import errno
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from agent.ethtool import ethtool, features, flow_rules
from agent.ethtool.ioctl import ethtool_ioctl
from agent.netlink import belongings, link, routes
from agent.system import phc
from agent.system.kernel import KernelLacksError

COUNTS = {
    "rings": ("rx", "rx-mini", "rx-jumbo", "tx", "rx-buf-len", "tcp-data-split", "cqe-size", "tx-push", "hds-thresh"),
    "channels": ("rx-count", "tx-count", "other-count", "combined-count"),
    "pause": ("autoneg", "rx", "tx"),
}
"""What can be set of each, where the driver has it."""
HASHED_FLOWS = (1, 2, 5, 6)
"""TCP and UDP over IPv4 and IPv6, as `ethtool.hash_fields` numbers them."""
ETHTOOL_GWOL, ETHTOOL_SWOL, WOL_SIZE = 0x05, 0x06, 20
"""Wake-on-LAN is kept as the driver's structure."""
EEE = ("modes-ours", "enabled", "tx-lpi-enabled", "tx-lpi-timer")
CLASS = Path("/sys/class/net")
ATTRIBUTES = (
    "ifalias",
    "threaded",
    "gro_flush_timeout",
    "napi_defer_hard_irqs",
    "queues/rx-*/rps_cpus",
    "queues/rx-*/rps_flow_cnt",
    "queues/tx-*/xps_cpus",
    "queues/tx-*/xps_rxqs",
)
"""Settings in an interface's folder of sysfs."""
FAMILIES = ("ipv4", "ipv6")
LASTING = ("conf", "neigh")
"""Folders of /proc/sys/net/ipv4 and ipv6 with settings of each interface."""
NOT_OFFERED = {errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.ENODEV, errno.ENOENT, errno.ENOTTY, errno.EPERM}
"""What a driver answers that lacks a setting."""
CARRIER_WAIT = 10.0
"""Seconds that an interface may take to be up again before it is compared: some report nothing before that."""

Settings = dict[str, Any]


def read(ifname: str) -> Settings:
    """Return an interface's settings, as far as it has them: JSON values by name."""
    found: Settings = {}
    for name, (getter, _) in SETTINGS.items():
        try:
            value = getter(ifname)
        except KernelLacksError:
            continue
        except OSError as error:
            if error.errno not in NOT_OFFERED:
                raise
        else:
            if value is not None:
                found[name] = value
    return found


def restore(ifname: str, wanted: Settings) -> list[str]:
    """Put settings back that differ, and compare.

    Args:
        ifname: the interface.
        wanted: what `read` returned.

    Returns:
        One line for each that could not be put back.
    """
    failures: dict[str, str] = {}
    # Some depend on others: rings on features, the table on the channels. What failed at first is tried again.
    for _ in range(2):
        failures.clear()
        for name, (getter, setter) in SETTINGS.items():
            if name not in wanted or setter is None:
                continue
            try:
                if getter(ifname) != wanted[name]:
                    setter(ifname, wanted[name])
            except Exception as error:  # whatever a driver answers, the others are put back
                failures[name] = _reason(error)
        if not failures:
            break
    differing = _differing(ifname, wanted)
    end = time.monotonic() + CARRIER_WAIT
    while differing and time.monotonic() < end and ifname in link.list_all():
        time.sleep(0.5)
        differing = _differing(ifname, wanted)
    return [f"{name}: {failures.get(name, differing[name])}" for name in differing]


def _differing(ifname: str, wanted: Settings) -> dict[str, str]:
    found = {}
    for name, value in wanted.items():
        try:
            now = SETTINGS[name][0](ifname)
        except Exception as error:
            found[name] = f"was {_short(value)}, cannot be read: {_reason(error)}"
        else:
            if now != value:
                found[name] = f"was {_short(value)}, is {_short(now)}"
    return found


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 120 else f"{text[:120]}…"


# --- the settings -----------------------------------------------------------------------------------------------------


def _up(ifname: str) -> bool:
    return "up" in link.get(ifname)["flags"]


def _kept_down(ifname: str, change: Callable[[], None]) -> None:
    """Make a change for which many drivers want their interface down."""
    was_up = _up(ifname)
    link.set(ifname, up=False)
    try:
        change()
    finally:
        if was_up:
            link.set(ifname, up=True)


def _attribute(name: str) -> Callable[[str], Any]:
    return lambda ifname: link.get(ifname)[name]


def _flag(name: str) -> Callable[[str], Any]:
    return lambda ifname: name in link.get(ifname)["flags"]


def _counts(what: str) -> tuple[Callable[[str], Any], Callable[[str, Any], None]]:
    def get(ifname: str) -> Any:
        now = ethtool.get(ifname, what)
        return {name: now[name] for name in COUNTS[what] if name in now}

    def set_(ifname: str, wanted: Any) -> None:
        now = get(ifname)
        differing = {name: value for name, value in wanted.items() if now.get(name) != value}
        if differing:
            ethtool.set(ifname, what, differing)

    return get, set_


def _coalesce(ifname: str) -> Any:
    return ethtool.get(ifname, "coalesce")


def _set_coalesce(ifname: str, wanted: Any) -> None:
    now = _coalesce(ifname)
    differing = {name: value for name, value in wanted.items() if now.get(name) != value}
    if differing:
        ethtool.set(ifname, "coalesce", differing)


def _features(ifname: str) -> Any:
    found = features.get(ifname)
    changeable = {*found["hw"]} - {*found["nochange"]}
    return {name: name in found["wanted"] for name in sorted(changeable)}


def _set_features(ifname: str, wanted: Any) -> None:
    now = _features(ifname)
    differing = {name: value for name, value in wanted.items() if now.get(name, value) != value}
    if differing:
        features.set(ifname, differing)


def _private_flags(ifname: str) -> Any:
    return ethtool.get(ifname, "privflags").get("flags", [])


def _set_private_flags(ifname: str, wanted: Any) -> None:
    now = _private_flags(ifname)
    ethtool.set(ifname, "privflags", {name: name in wanted for name in {*now} ^ {*wanted}})


def _rss(ifname: str) -> Any:
    found = ethtool.rss(ifname)
    return {name: found[name] for name in ("indir", "hkey") if found[name]} or None


def _set_rss(ifname: str, wanted: Any) -> None:
    now = _rss(ifname) or {}
    if wanted.get("hkey") != now.get("hkey") and wanted.get("hkey"):
        ethtool.set_rss(ifname, hkey=wanted["hkey"])
    if wanted.get("indir") != now.get("indir") and wanted.get("indir"):
        # The driver's default, if that was it: a table that someone chose would keep the channels from being changed.
        ethtool.set_rss(ifname, indir=[])
        if (_rss(ifname) or {}).get("indir") != wanted["indir"]:
            ethtool.set_rss(ifname, indir=wanted["indir"])


def _hash_fields(ifname: str) -> Any:
    found = {}
    for flow in HASHED_FLOWS:
        with suppress(OSError):
            found[str(flow)] = ethtool.hash_fields(ifname, flow)
    return found or None


def _set_hash_fields(ifname: str, wanted: Any) -> None:
    now = _hash_fields(ifname) or {}
    for flow, fields in wanted.items():
        if now.get(flow) != fields:
            ethtool.set_hash_fields(ifname, int(flow), fields)


def _link_modes(ifname: str) -> Any:
    found = ethtool.get(ifname, "linkmodes")
    if found.get("autoneg"):
        return {"autoneg": 1, "advertised": found["advertised"]}
    kept = {name: found[name] for name in ("speed", "duplex") if found.get(name) not in (None, 0, 0xFF, 0xFFFFFFFF)}
    # Without autonegotiation, speed and duplex are known while there is a link alone: they are settings where they can be set.
    return {"autoneg": 0, **kept} if "Autoneg" in found["supported"] else {"autoneg": 0}


def _set_link_modes(ifname: str, wanted: Any) -> None:
    ethtool.set(ifname, "linkmodes", wanted)


def _fec(ifname: str) -> Any:
    found = ethtool.get(ifname, "fec")
    return {name: found[name] for name in ("modes", "auto") if name in found} or None


def _set_fec(ifname: str, wanted: Any) -> None:
    bits = [{"name": name, "value": True} for name in wanted.get("modes", ())]
    modes = {"nomask": True, "bits": {"bit": bits}}
    ethtool.set(ifname, "fec", {"modes": modes, "auto": wanted.get("auto", 0)})


def _eee(ifname: str) -> Any:
    found = ethtool.get(ifname, "eee")
    return {name: found[name] for name in EEE if name in found}


def _set_eee(ifname: str, wanted: Any) -> None:
    now = _eee(ifname)
    ethtool.set(ifname, "eee", {name: value for name, value in wanted.items() if now.get(name) != value})


def _wol(ifname: str) -> Any:
    buffer = array.array("B", struct.pack("=I", ETHTOOL_GWOL) + bytes(WOL_SIZE - 4))
    ethtool_ioctl(ifname, buffer)
    return buffer.tobytes()[4:].hex()


def _set_wol(ifname: str, wanted: Any) -> None:
    ethtool_ioctl(ifname, array.array("B", struct.pack("=I", ETHTOOL_SWOL) + bytes.fromhex(wanted)))


def _timestamping(ifname: str) -> Any:
    return phc.get_hwtstamp(ifname)


def _set_timestamping(ifname: str, wanted: Any) -> None:
    phc.set_hwtstamp(ifname, *wanted)


def _rules(ifname: str) -> Any:
    return flow_rules.list_raw(ifname) or None


def _set_rules(ifname: str, wanted: Any) -> None:
    now = flow_rules.list_raw(ifname)
    for rule in wanted:
        if rule not in now:
            flow_rules.add_raw(ifname, rule)


def _parameters(ifname: str) -> Any:
    found = {}
    for family in FAMILIES:
        for folder in LASTING:
            for path in sorted(Path("/proc/sys/net", family, folder, ifname).glob("*")):
                with suppress(OSError):  # stable_secret, while it has none
                    found[str(path)] = path.read_text().strip()
    return found


def _attributes(ifname: str) -> Any:
    found = {}
    for pattern in ATTRIBUTES:
        for path in sorted((CLASS / ifname).glob(pattern)):
            with suppress(OSError):  # as xps_cpus, where there is one queue
                found[str(path)] = path.read_text().strip()
    return found


def _set_files(now: Any, wanted: Any) -> None:
    failures = []
    for path, value in wanted.items():
        try:
            if now.get(path, value) != value:
                Path(path).write_text(f"{value}\n")
        except OSError as error:  # the others are put back
            failures.append(error)
    if failures:
        raise failures[0]


def _leases(ifname: str) -> Any:
    return belongings.addresses(ifname)[1] or None


def _routes_of_several_hops(ifname: str) -> Any:
    return routes.of_several_hops(ifname) or None


def _disciplines(ifname: str) -> Any:
    """Return the queueing disciplines; of an interface that is down those that someone has set: their handle is not 0."""
    found = belongings.queueing_disciplines(ifname)
    return found if _up(ifname) else [each for each in found if each.split()[1] != "0"] or None


def _each(add: Callable[[str, str], None]) -> Callable[[str, Any], None]:
    def set_(ifname: str, wanted: Any) -> None:
        for each in wanted:
            add(ifname, each)

    return set_


def _not_put_back(advice: str) -> Callable[[str, Any], None]:
    def set_(_ifname: str, wanted: Any) -> None:
        raise ValueError(f"was {_short(wanted)}; {advice}")

    return set_


SETTINGS: dict[str, tuple[Callable[[str], Any], Callable[[str, Any], None] | None]] = {
    "address": (
        _attribute("address"),
        lambda ifname, wanted: _kept_down(ifname, lambda: link.set(ifname, address=wanted)),
    ),
    "private flags": (_private_flags, _set_private_flags),
    "channels": _counts("channels"),
    "features": (_features, _set_features),
    "rings": _counts("rings"),
    "coalescing": (_coalesce, _set_coalesce),
    "pause": _counts("pause"),
    "link modes": (_link_modes, _set_link_modes),
    "FEC": (_fec, _set_fec),
    "RSS": (_rss, _set_rss),
    "hashed fields": (_hash_fields, _set_hash_fields),
    "flow rules": (_rules, _set_rules),
    "EEE": (_eee, _set_eee),
    "wake-on-LAN": (_wol, _set_wol),
    "timestamping": (_timestamping, _set_timestamping),
    "MTU": (_attribute("mtu"), lambda ifname, wanted: link.set(ifname, mtu=wanted)),
    "queue length": (_attribute("txqlen"), lambda ifname, wanted: link.set(ifname, txqlen=wanted)),
    "kernel parameters": (_parameters, lambda ifname, wanted: _set_files(_parameters(ifname), wanted)),
    "attributes in sysfs": (_attributes, lambda ifname, wanted: _set_files(_attributes(ifname), wanted)),
    "alternative names": (belongings.alternative_names, _each(belongings.add_alternative_name)),
    "promiscuous": (_flag("promisc"), lambda ifname, wanted: link.set(ifname, promisc=wanted)),
    "all-multicast": (_flag("allmulti"), lambda ifname, wanted: link.set(ifname, allmulti=wanted)),
    "up": (_up, lambda ifname, wanted: link.set(ifname, up=wanted)),
    "addresses": (lambda ifname: belongings.addresses(ifname)[0], _each(belongings.add_address)),
    "addresses for a time": (_leases, _not_put_back("the DHCP client must ask for them again")),
    "neighbours": (belongings.neighbours, _each(belongings.add_neighbour)),
    "routes": (routes.of_interface, _each(routes.add)),
    "routes of several hops": (_routes_of_several_hops, _not_put_back("add them again")),
    "queueing disciplines": (_disciplines, _not_put_back("set them again, with their classes and filters")),
}
"""How each is read and set, in the order in which they are set."""
