# SPDX-License-Identifier: MIT
"""Descriptor rings in guest memory."""

from nicmodels.rings.ring import DescriptorRing
from nicmodels.rings.write_backs import WriteBacks

__all__ = ["DescriptorRing", "WriteBacks"]
