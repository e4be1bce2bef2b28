# SPDX-License-Identifier: GPL-2.0-or-later
"""What the suite checks: requirements, verdicts, known issues, the drivers and the flags of netdev.yaml."""
