# SPDX-License-Identifier: GPL-2.0-or-later
"""Traffic to and from the interface under test."""
