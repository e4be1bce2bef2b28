# SPDX-License-Identifier: GPL-2.0-or-later
"""What ethtool(8) shows and sets, by netlink and by ioctl."""
