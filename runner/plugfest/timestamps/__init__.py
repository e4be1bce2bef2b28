# SPDX-License-Identifier: GPL-2.0-or-later
"""Clocks and the timestamps made by them."""
