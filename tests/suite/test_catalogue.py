# SPDX-License-Identifier: GPL-2.0-or-later
"""The suite's requirements as a whole: complete, and each with faults that exist."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest
from nicmodels.models.registry import models
from plugfest.falsify.table import TABLE
from plugfest.plugin import suite
from plugfest.requirements.requirement import Requirement

MODEL = {point.name for model in models().values() for point in model.faults}
"""The fault points of all models."""
PREFIXES = {"backplane": ("cl72-", "cl73-")}
"""Areas whose ids begin with the clause instead of the area."""
AREAS = {"backplane", "keep", "link", "offload", "qapi", "qstat", "smoke", "xdp"}


@cache
def requirements() -> tuple[Requirement, ...]:
    return tuple(suite.collect())


def test_every_area_has_requirements() -> None:
    assert {each.area for each in requirements()} >= AREAS


def test_ids_are_unique_and_of_their_area() -> None:
    counts = Counter(each.id for each in requirements())
    assert [identifier for identifier, count in counts.items() if count > 1] == []
    wrong = [each.id for each in requirements() if not each.id.lower().startswith(PREFIXES.get(each.area, each.area))]
    assert wrong == []


def test_each_base_has_one_requirement_that_says_so() -> None:
    found = [(str(each.base), each.id) for each in requirements() if each.base is not None]
    assert sorted(found) == [("link", "LINK-UP-01"), ("netdev", "SMOKE-PROBE-02"), ("ping", "SMOKE-PING-04")]


def test_every_requirement_has_source_sentence_and_procedure() -> None:
    for each in requirements():
        assert each.source, each.id
        assert each.sentence.endswith("."), each.id
        assert each.procedure, each.id


def test_every_fault_exists() -> None:
    known = MODEL | set(TABLE)
    unknown = {(each.id, fault) for each in requirements() for fault in each.falsified_by if fault not in known}
    assert unknown == set()


LEAST = {"qapi": 0.2, "qstat": 0.25}
"""The least share where most tests compare what the kernel reports, which no device can change; there answers are falsified."""


@pytest.mark.parametrize("area", sorted(AREAS))
def test_most_requirements_are_falsified_by_the_device(area: str) -> None:
    """A falsified answer shows that there is an assertion; a fault of the device shows that the wire is checked."""
    mine = [each for each in requirements() if each.area == area]
    by_model = [each for each in mine if set(each.falsified_by) & MODEL]
    assert len(by_model) > len(mine) * LEAST.get(area, 0.5)
