# SPDX-License-Identifier: GPL-2.0-or-later
"""Network device features: all that have a name, and what the kernel answers when one is asked for. Methods ``features.*``.

Source: Documentation/networking/ethtool-netlink.rst, FEATURES_GET and FEATURES_SET; Documentation/networking/netdev-features.rst.
"""

from __future__ import annotations

from typing import Any

from agent.ethtool.ethtool import COMMANDS, ETHTOOL, FEATURES, plain
from agent.methods import exposed

GET = COMMANDS["features"][0]


@exposed
def get(ifname: str) -> dict[str, list[str]]:
    """Return known (all features of this kernel), hw (changeable by this driver), wanted, active and nochange."""
    raw = ETHTOOL.call(GET, FEATURES.encode({"header": {"dev-name": ifname}}), FEATURES)[0]
    names = [bit["name"] for bit in raw["hw"]["bits"]["bit"]]  # its mask is all features
    return {
        "known": sorted(names),
        **{name: plain(raw).get(name, []) for name in ("hw", "wanted", "active", "nochange")},
    }


@exposed
def set(ifname: str, wanted: dict[str, bool]) -> dict[str, list[str]]:  # noqa: A001 - the verb
    """Ask for features to be on or off; returns refused: what the kernel says did not become as asked.

    Raises:
        NetlinkError: one of the names is none that can be asked for.
    """
    bits = [{"name": name, "value": bool(value)} for name, value in wanted.items()]
    request = {"header": {"dev-name": ifname}, "wanted": {"bits": {"bit": bits}}}
    answers = ETHTOOL.call(GET + 1, FEATURES.encode(request), FEATURES)
    refused: list[dict[str, Any]] = []
    if answers:
        # In the answer, `wanted` has a mask: the features whose state is not what was asked for.
        refused = answers[0].get("wanted", {}).get("bits", {}).get("bit", [])
    return {"refused": sorted(bit["name"] for bit in refused if bit["name"] in wanted)}
