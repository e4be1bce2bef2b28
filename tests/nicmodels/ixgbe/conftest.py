# SPDX-License-Identifier: GPL-2.0-or-later
"""Puts this folder on the import path and gives the rig."""

from __future__ import annotations

import pytest
from rig import Rig


@pytest.fixture
def rig() -> Rig:
    """A started device with two queue pairs."""
    return Rig().start()
