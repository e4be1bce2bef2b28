# SPDX-License-Identifier: MIT
"""Stateless offloads and coalescing: checksums, segmentation, RSS, VLAN tags, LRO.

Pure functions and small classes over bytes, independent of NICs, rings and registers.
"""
