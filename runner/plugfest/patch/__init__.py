# SPDX-License-Identifier: GPL-2.0-or-later
"""Patches of a driver: mails into a driver's source, a queue of pending series, a tree's history by halves."""
