# SPDX-License-Identifier: GPL-2.0-or-later
"""Network device features: all names, and which of the requested ones the kernel did not change. Methods ``features.*``.

Source: Documentation/networking/ethtool-netlink.rst, FEATURES_GET and FEATURES_SET; Documentation/networking/netdev-features.rst.
"""

from __future__ import annotations

from typing import Any

from agent.ethtool.ethtool import COMMANDS, ETHTOOL, FEATURES, plain
from agent.methods import exposed

GET = COMMANDS["features"][0]


@exposed
def get(ifname: str) -> dict[str, list[str]]:
    """Return known (all features of this kernel), hw (changeable on this device), wanted, active and nochange."""
    raw = ETHTOOL.call(GET, FEATURES.encode({"header": {"dev-name": ifname}}), FEATURES)[0]
    names = [bit["name"] for bit in raw["hw"]["bits"]["bit"]]  # its mask has all features
    return {
        "known": sorted(names),
        **{name: plain(raw).get(name, []) for name in ("hw", "wanted", "active", "nochange")},
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
