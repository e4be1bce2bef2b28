# SPDX-License-Identifier: GPL-2.0-or-later
"""The root of a guest that runs upstream's tests; their remote host has the same one."""

from __future__ import annotations

from plugfest.location import recipes_root
from plugfest.provision.artifact import GuestRoot
from plugfest.provision.root import Addition, ensure_root, listed
from plugfest.provision.settings import ProvisionSettings
from plugfest.selftests.selftest import PLACE, Selftests

PACKAGES = "packages-selftests"


def ensure_image(settings: ProvisionSettings, tests: Selftests) -> GuestRoot:
    """Return a guest's root with the tests, and with the programs that they call.

    Raises:
        InfrastructureError: packages cannot be fetched, or something does not build.
    """
    packages = listed(recipes_root() / PACKAGES)
    return ensure_root(settings, Addition("upstream's tests", packages, tests.tree, PLACE, tests.digest, folder=True))
