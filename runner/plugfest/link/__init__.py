# SPDX-License-Identifier: GPL-2.0-or-later
"""The link partner and what Clause 73 makes of two ends."""
