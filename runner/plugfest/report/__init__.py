# SPDX-License-Identifier: GPL-2.0-or-later
"""Reports: ``report.json`` is the truth (`document`), every other one is a function of it."""
