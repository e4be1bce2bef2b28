# SPDX-License-Identifier: GPL-2.0-or-later
"""Names for the XDP flags that a driver advertises over netlink, such as ``xdp-act:basic``.

Source: Documentation/netlink/specs/netdev.yaml, enumerations xdp-act, xdp-rx-metadata and xsk-flags, attribute xdp-zc-max-segs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_ENUMERATIONS = {
    "xdp-act": ("basic", "redirect", "ndo-xmit", "xsk-zerocopy", "hw-offload", "rx-sg", "ndo-xmit-sg"),
    "xdp-rx-metadata": ("timestamp", "hash", "vlan-tag"),
    "xsk-flags": ("tx-timestamp", "tx-checksum", "tx-launch-time-fifo"),
}
_ATTRIBUTES = {"xdp-act": "xdp-features", "xdp-rx-metadata": "xdp-rx-metadata-features", "xsk-flags": "xsk-features"}
MAX_SEGS = "xdp-zc-max-segs"
"""Advertised if a zero-copy frame may have more than one buffer."""

FLAGS = (*(f"{enumeration}:{name}" for enumeration, names in _ENUMERATIONS.items() for name in names), MAX_SEGS)
"""Every flag, in the order of netdev.yaml."""


def advertised(device: Mapping[str, Any]) -> frozenset[str]:
    """Return the flags in a reply to ``netdev dev-get``, except those that are not in `FLAGS`."""
    found = {f"{which}:{name}" for which, key in _ATTRIBUTES.items() for name in device.get(key, ())}
    if device.get(MAX_SEGS, 0) > 1:
        found.add(MAX_SEGS)
    return frozenset(found).intersection(FLAGS)


def of(enumeration: str, flags: Iterable[str]) -> set[str]:
    """Return the names within one enumeration: ``basic`` for ``xdp-act:basic``."""
    return {flag.removeprefix(f"{enumeration}:") for flag in flags if flag.startswith(f"{enumeration}:")}
