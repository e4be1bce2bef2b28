# SPDX-License-Identifier: GPL-2.0-or-later
"""The pytest plugin: ``-p plugfest.plugin`` gives a suite its fixtures, verdicts and journal."""

pytest_plugins = ("plugfest.plugin.fixtures", "plugfest.plugin.hooks")
