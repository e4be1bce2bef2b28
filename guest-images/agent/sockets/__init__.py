# SPDX-License-Identifier: GPL-2.0-or-later
"""Traffic of the guest: TCP, UDP, raw frames and AF_XDP."""
