# SPDX-License-Identifier: GPL-2.0-or-later
"""Falsification: answers that are changed on their way to a test, which must then fail."""
