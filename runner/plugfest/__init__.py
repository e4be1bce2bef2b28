# SPDX-License-Identifier: GPL-2.0-or-later
"""plugfest: run a NIC driver in a guest and find out whether it does what it claims."""

__version__ = "0.1.0"
