# SPDX-License-Identifier: GPL-2.0-or-later
"""The root of a guest that runs drivers of another origin than Linux: DPDK's."""

from __future__ import annotations

from plugfest.location import recipes_root
from plugfest.provision.artifact import GuestRoot
from plugfest.provision.root import Addition, ensure_root, listed
from plugfest.provision.settings import ProvisionSettings

_PACKAGES = "packages-dpdk"
_UNUSED = ("usr/include", "usr/lib/x86_64-linux-gnu/cmake", "usr/lib/x86_64-linux-gnu/pkgconfig", "usr/share/dpdk")


def ensure_client_root(settings: ProvisionSettings) -> GuestRoot:
    """Return a guest's root with ``dpdk-testpmd``.

    Raises:
        InfrastructureError: packages cannot be fetched, or something does not build.
    """
    return ensure_root(settings, Addition("DPDK", listed(recipes_root() / _PACKAGES), unused=_UNUSED))
