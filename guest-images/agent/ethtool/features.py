# SPDX-License-Identifier: GPL-2.0-or-later
"""Network device features: all names, and which of the requested ones the kernel did not change. Methods ``features.*``.

Source: Documentation/networking/ethtool-netlink.rst, FEATURES_GET and FEATURES_SET; Documentation/networking/netdev-features.rst.
"""

from __future__ import annotations

from typing import Any

from agent.ethtool.ethtool import COMMANDS, ETHTOOL, FEATURES
from agent.methods import exposed

GET = COMMANDS["features"][0]
ETHTOOL_FLAG_COMPACT_BITSETS = 1
"""Source: include/uapi/linux/ethtool_netlink_generated.h, enum ethtool_header_flags."""

_names: dict[int, str] = {}
"""Of this kernel's features, by their bits."""


def _learn_names(ifname: str) -> None:
    raw = ETHTOOL.call(GET, FEATURES.encode({"header": {"dev-name": ifname}}), FEATURES)[0]
    _names.update((bit["index"], bit["name"]) for bit in raw["hw"]["bits"]["bit"])  # its mask has all features


def _named(value: str) -> list[str]:
    # The kernel sends 32-bit words in host byte order, the lowest first: on a little-endian machine one number.
    word = int.from_bytes(bytes.fromhex(value), "little")
    return sorted(name for bit, name in _names.items() if word >> bit & 1)


@exposed
def get(ifname: str) -> dict[str, list[str]]:
    """Return known (all features of this kernel), hw (changeable on this device), wanted, active and nochange."""
    if not _names:
        _learn_names(ifname)
    # Some 250 attributes with names are four words each as bit masks: much less to decode for an emulated guest.
    header = {"dev-name": ifname, "flags": ETHTOOL_FLAG_COMPACT_BITSETS}
    raw = ETHTOOL.call(GET, FEATURES.encode({"header": header}), FEATURES)[0]
    return {
        "known": sorted(_names.values()),
        **{kind: _named(raw[kind]["value"]) for kind in ("hw", "wanted", "active", "nochange")},
    }


@exposed
def set(ifname: str, wanted: dict[str, bool]) -> dict[str, list[str]]:  # noqa: A001 - the verb
    """Turn features on or off; returns refused: the names of those whose state differs from the requested one.

    Raises:
        NetlinkError: a name that the kernel does not know or does not let anyone change.
    """
    bits = [{"name": name, "value": bool(value)} for name, value in wanted.items()]
    request = {"header": {"dev-name": ifname}, "wanted": {"bits": {"bit": bits}}}
    answers = ETHTOOL.call(GET + 1, FEATURES.encode(request), FEATURES)
    refused: list[dict[str, Any]] = []
    if answers:
        # In the reply, the mask of `wanted` has the features whose state differs from the requested one.
        refused = answers[0].get("wanted", {}).get("bits", {}).get("bit", [])
    return {"refused": sorted(bit["name"] for bit in refused if bit["name"] in wanted)}
