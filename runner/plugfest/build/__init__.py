# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds kernel modules from strangers' sources: confined, against the headers of the kernel under test."""
