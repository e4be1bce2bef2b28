# SPDX-License-Identifier: GPL-2.0-or-later
"""Puts this folder on the import path, and defines the harness."""

from __future__ import annotations

import pytest
from ixgbe_harness import Harness


@pytest.fixture
def harness() -> Harness:
    """A started device with two queue pairs."""
    return Harness().start()
