# SPDX-License-Identifier: GPL-2.0-or-later
"""The time limit of those of upstream's tests that have none of their own."""

from __future__ import annotations

OWN_LIMIT = 600.0
"""Seconds on a guest of speed 1, unless the user says otherwise."""
