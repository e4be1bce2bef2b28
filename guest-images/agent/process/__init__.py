# SPDX-License-Identifier: GPL-2.0-or-later
"""Processes beside the agent: programs, workers, and readers of statistics."""
