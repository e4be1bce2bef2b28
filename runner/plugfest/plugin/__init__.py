# SPDX-License-Identifier: GPL-2.0-or-later
"""The pytest plugin: ``-p plugfest.plugin`` gives a suite its fixtures, verdicts and journal."""

_SUBJECTS = ("core", "link", "queues", "settings", "statistics", "timestamps", "traffic", "xdp")

pytest_plugins = (*(f"plugfest.plugin.fixtures.{subject}" for subject in _SUBJECTS), "plugfest.plugin.hooks")
