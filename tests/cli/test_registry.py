# SPDX-License-Identifier: GPL-2.0-or-later
"""The driver registry, known issues and the suite fit each other."""

from __future__ import annotations

import subprocess
import sys

import pytest
from plugfest.plugin import suite
from plugfest.requirements import drivers as driver
from plugfest.requirements import known_issues


@pytest.fixture(scope="module")
def collected():
    return suite.collect()


def test_every_area_of_a_driver_is_in_the_suite() -> None:
    known = set(suite.areas())
    for entry in driver.drivers().values():
        assert set(entry.areas) == known, entry.name


def test_every_profile_is_one_of_the_models() -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "nicmodels", "list"], capture_output=True, text=True, check=True
    ).stdout
    for entry in driver.drivers().values():
        if isinstance(entry.subject, driver.ModelSubject):
            assert f"{entry.subject.model}: " in listed
            assert entry.subject.profile in entry.subject.profiles
            for profile in entry.subject.profiles:
                assert f"\n  {profile}: " in listed


def test_find_takes_a_module_name_in_either_spelling() -> None:
    assert driver.find("virtio-net") is driver.find("virtio_net")
    assert driver.find(" IXGBE ").name == "ixgbe"


def test_every_requirement_has_its_areas_prefix(collected) -> None:
    """The area's name, or the clause that it is about."""
    clauses = {"backplane": ("CL72-", "CL73-")}
    for found in collected:
        assert found.id.startswith(clauses.get(found.area, f"{found.area.upper()}-")), found.id


def test_every_known_issue_is_of_a_requirement_and_a_driver(collected) -> None:
    ids = {found.id for found in collected}
    for issue in known_issues.load():
        assert set(issue.requirements) <= ids
        assert set(issue.drivers) <= set(driver.drivers())
        for name in issue.drivers if issue.profiles else ():
            subject = driver.drivers()[name].subject
            assert isinstance(subject, driver.ModelSubject)
            assert set(issue.profiles) <= set(subject.profiles)
