# SPDX-License-Identifier: MIT
"""Descriptor rings in guest memory."""

from nicmodels.rings.ring import DescriptorRing

__all__ = ["DescriptorRing"]
