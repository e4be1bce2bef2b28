# SPDX-License-Identifier: GPL-2.0-or-later
"""The counters of driver, device and wire, held against each other."""
