# SPDX-License-Identifier: GPL-2.0-or-later
"""Puts this folder on the import path and gives the rig."""

from __future__ import annotations

import pytest
from xgbe_rig import XgbeRig


@pytest.fixture
def rig() -> XgbeRig:
    """A device that is linked at 10GBASE-KR, with two channels started."""
    return XgbeRig().link().start()
