# SPDX-License-Identifier: GPL-2.0-or-later
"""The plugin's typed keys into pytest's stashes."""

from __future__ import annotations

import pytest

from plugfest.plugin.bases import Bases
from plugfest.plugin.guest_manager import GuestManager
from plugfest.plugin.pace import Pace
from plugfest.plugin.record import TestRecord
from plugfest.requirements.requirement import Registry

GUEST_MANAGER = pytest.StashKey[GuestManager]()
"""On the config: who boots, replaces and closes the guest."""

PACE = pytest.StashKey[Pace]()
"""On the config: how long the tests take."""

REGISTRY = pytest.StashKey[Registry]()
"""On the config: the collected requirements."""

DEBUGGING = pytest.StashKey[bool]()
"""On the config: whether a debugger may ask the user, in a guest that stays as it is."""

TEST_RECORD = pytest.StashKey[TestRecord]()
"""On the item: the record of the running test."""

BASES = pytest.StashKey[Bases]()
"""On the config: what the driver was found not to provide."""
