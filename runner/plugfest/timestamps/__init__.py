# SPDX-License-Identifier: GPL-2.0-or-later
"""Clocks and the time stamps made by them."""
