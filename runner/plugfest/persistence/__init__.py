# SPDX-License-Identifier: GPL-2.0-or-later
"""What a change of one thing leaves of the others: settings, operations, and whether a setting is in effect after an operation."""
