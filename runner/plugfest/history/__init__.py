# SPDX-License-Identifier: GPL-2.0-or-later
"""The history of runs: a SQLite database made from their reports, and what it says about each test over time."""
