# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames as bytes: built, dissected and predicted. Pure functions, the oracles of the suite; nothing here imports the rest."""
