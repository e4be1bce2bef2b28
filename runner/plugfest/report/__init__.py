# SPDX-License-Identifier: GPL-2.0-or-later
"""Reports: ``report.json`` (`document`) has everything; every other report is made from it."""
