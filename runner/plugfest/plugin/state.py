# SPDX-License-Identifier: GPL-2.0-or-later
"""The plugin's typed keys into pytest's stashes."""

from __future__ import annotations

import pytest

from plugfest.plugin.keeper import Keeper
from plugfest.plugin.trial import Trial
from plugfest.requirements.requirement import Registry

KEEPER = pytest.StashKey[Keeper]()
"""On the config: who boots, replaces and closes the guest."""

REGISTRY = pytest.StashKey[Registry]()
"""On the config: the collected requirements."""

TRIAL = pytest.StashKey[Trial]()
"""On the item: the record of the running test."""
