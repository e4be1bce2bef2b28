# SPDX-License-Identifier: GPL-2.0-or-later
"""A real machine: lends an interface to a run, and gives it back as it was."""
