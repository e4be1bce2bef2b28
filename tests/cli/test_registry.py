# SPDX-License-Identifier: GPL-2.0-or-later
"""The driver registry, known issues and the suite fit each other."""

from __future__ import annotations

import subprocess
import sys

import pytest
from plugfest.errors import UsageError
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


@pytest.mark.parametrize(
    ("release", "applies"),
    [
        ("6.1.0-41-amd64", True),
        ("6.12.57+deb13-amd64", True),
        ("6.13.0-rc1", False),
        ("6.13", False),
        ("7.3.4+deb13-amd64", False),
    ],
)
def test_kernel_ranges(release: str, applies: bool, tmp_path) -> None:
    path = tmp_path / "known.toml"
    path.write_text(GOOD.replace('kernels = ""', 'kernels = ">=6.1,<6.13rc0"'))
    (issue,) = known_issues.load(path)
    assert issue.applies("A-B-01", "igb", release) is applies
    assert not issue.applies("A-B-01", "ixgbe", release)
    assert not issue.applies("A-B-02", "igb", release)


@pytest.mark.parametrize(("profile", "applies"), [("gqi", True), ("std", False), (None, False)])
def test_profiles(profile: str | None, applies: bool, tmp_path) -> None:
    path = tmp_path / "known.toml"
    path.write_text(GOOD + 'profiles = ["gqi"]\n')
    (issue,) = known_issues.load(path)
    assert issue.applies("A-B-01", "igb", "6.1", profile) is applies
    assert known_issues.matching([issue], "A-B-01", "igb", "6.1", profile) is (issue if applies else None)


@pytest.mark.parametrize(
    ("parameters", "applies"), [(["zero-copy"], True), (["large", "zero-copy"], True), (["copy"], False), ([], False)]
)
def test_parameters(parameters: list[str], applies: bool, tmp_path) -> None:
    path = tmp_path / "known.toml"
    path.write_text(GOOD + 'parameters = ["zero-copy"]\n')
    (issue,) = known_issues.load(path)
    assert known_issues.matching([issue], "A-B-01", "igb", "6.1", None, parameters) is (issue if applies else None)


def test_several_requirements(tmp_path) -> None:
    path = tmp_path / "known.toml"
    path.write_text(GOOD.replace('"A-B-01"', '["A-B-01", "A-B-02"]'))
    (issue,) = known_issues.load(path)
    assert [issue.applies(f"A-B-0{number}", "igb", "6.1") for number in (1, 2, 3)] == [True, True, False]


def test_a_paragraph_is_joined_and_the_title_says_it_in_one_line(tmp_path) -> None:
    path = tmp_path / "known.toml"
    path.write_text(GOOD.replace('"r"', '"""\nSymptom.\nCause."""'))
    (issue,) = known_issues.load(path)
    assert issue.reason == "Symptom. Cause."
    assert str(issue) == "igb: off by one, https://e.org"
    assert issue.whose is known_issues.Whose.DRIVER


GOOD = """[[issue]]
title = "igb: off by one"
whose = "driver"
requirement = "A-B-01"
drivers = ["igb"]
kernels = ""
where = ["drivers/net/igb_main.c:igb_probe"]
reason = "r"
link = "https://e.org"
"""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[[issue]\n", "expected TOML"),
        ("[issues]\n", "found issues"),
        (GOOD.replace('reason = "r"\n', ""), "no valid 'reason'"),
        (GOOD.replace('["igb"]', '"igb"'), "no valid 'drivers'"),
        (GOOD.replace('["igb"]', "[]"), "no valid 'drivers'"),
        (GOOD.replace('kernels = ""', 'kernels = "before 6.1"'), "kernels = 'before 6.1'"),
        (GOOD.replace("https:", "javascript:"), "the link"),
        (GOOD + "more = 1\n", "the unknown key more"),
        (GOOD + 'profiles = "std"\n', "no valid 'profiles'"),
        (GOOD + "parameters = [1]\n", "no valid 'parameters'"),
        (GOOD.replace("igb: off", "off"), "the title 'off by one'"),
        (GOOD.replace("off by one", "off by one."), "the title 'igb: off by one.'"),
        (GOOD.replace('"driver"', '"vendor"'), "whose = 'vendor'"),
        (GOOD.replace("igb_main.c:igb_probe", "igb_probe()"), "'drivers/net/igb_probe()' in 'where'"),
        (GOOD.replace('["drivers/net/igb_main.c:igb_probe"]', "[]"), "no valid 'where'"),
        (GOOD.replace('["drivers/net/igb_main.c:igb_probe"]', "[1]"), "no valid 'where'"),
    ],
)
def test_a_malformed_list_shows_the_right_form(text: str, found: str, tmp_path) -> None:
    path = tmp_path / "known.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match="expected \\[\\[issue\\]\\] with") as error:
        known_issues.load(path)
    assert found in str(error.value)


def test_a_release_that_is_none() -> None:
    with pytest.raises(UsageError, match="expected it to begin with a version"):
        known_issues.kernel_version("linux")
