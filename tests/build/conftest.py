# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import pytest
from plugfest.provision.artifact import BuildRoot, Kernel
from plugfest.provision.build_root import ensure_build_root
from plugfest.provision.kernel import ensure_kernel
from plugfest.provision.settings import ProvisionSettings


@pytest.fixture(scope="session")
def kernel() -> Kernel:
    return ensure_kernel(ProvisionSettings())


@pytest.fixture(scope="session")
def build_root(kernel: Kernel) -> BuildRoot:
    """What builds modules for the default channel, fetched once into the cache."""
    return ensure_build_root(ProvisionSettings(), kernel)
