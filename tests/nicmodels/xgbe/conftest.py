# SPDX-License-Identifier: GPL-2.0-or-later
"""Puts this folder on the import path, and defines the harness."""

from __future__ import annotations

import pytest
from xgbe_harness import XgbeRig


@pytest.fixture
def harness() -> XgbeRig:
    """A device that is linked at 10GBASE-KR, with two channels started."""
    return XgbeRig().link().start()
