# SPDX-License-Identifier: MIT
"""Descriptor rings in guest memory."""

from nicmodels.rings.posted import Posted
from nicmodels.rings.ring import DescriptorRing
from nicmodels.rings.write_backs import Run, WriteBacks

__all__ = ["DescriptorRing", "Posted", "Run", "WriteBacks"]
