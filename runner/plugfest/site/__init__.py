# SPDX-License-Identifier: GPL-2.0-or-later
"""The site made from a history: static pages, which need no server and load nothing."""
