# SPDX-License-Identifier: MIT
"""What NICs do to frames: checksums, segmentation, hashing, VLAN tags, coalescing.

Pure functions and small classes over bytes; nothing here knows a NIC, a ring or a register.
"""
