# SPDX-License-Identifier: GPL-2.0-or-later
"""What the suite asks of a driver: requirements, verdicts, known issues, the drivers and the flags of netdev.yaml."""
