# SPDX-License-Identifier: GPL-2.0-or-later
"""``python -m plugfest``."""

from plugfest.cli import main

main()
