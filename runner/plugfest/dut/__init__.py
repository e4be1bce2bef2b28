# SPDX-License-Identifier: GPL-2.0-or-later
"""The interface under test: reading it, changing its settings, and what it leaks."""
