# SPDX-License-Identifier: GPL-2.0-or-later
"""Fetches and builds, once, everything that a run needs, into the cache."""
