# SPDX-License-Identifier: GPL-2.0-or-later
"""Which known issue applies to what, how it shows, and what the verdict is then."""

from __future__ import annotations

import pytest
from plugfest.errors import UsageError
from plugfest.requirements import known_issues
from plugfest.requirements.known_issues import KnownIssue, KnownIssues, Subject
from plugfest.requirements.verdict import Judgement, Verdict

GOOD = """[[issue]]
title = "igb: off by one"
whose = "driver"
requirement = "A-B-01"
shows = "off by 1"
drivers = ["igb"]
kernels = ""
where = ["drivers/net/igb_main.c:igb_probe"]
reason = "r"
link = "https://e.org"
"""


IGB = Subject("igb", "7.3.4+deb13-amd64")


@pytest.fixture
def listed(tmp_path):
    """Reads a list of known issues."""

    def read(text: str) -> tuple[KnownIssue, ...]:
        path = tmp_path / "known.toml"
        path.write_text(text)
        return known_issues.load(path)

    return read


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
    assert issue.applies("A-B-01", Subject("igb", release)) is applies
    assert not issue.applies("A-B-01", Subject("ixgbe", release))
    assert not issue.applies("A-B-02", Subject("igb", release))


@pytest.mark.parametrize(("profile", "applies"), [("gqi", True), ("std", False), (None, False)])
def test_profiles(profile: str | None, applies: bool, tmp_path) -> None:
    path = tmp_path / "known.toml"
    path.write_text(GOOD + 'profiles = ["gqi"]\n')
    (issue,) = known_issues.load(path)
    assert issue.applies("A-B-01", Subject("igb", "6.1", profile)) is applies


@pytest.mark.parametrize(
    ("parameters", "applies"), [(["zero-copy"], True), (["large", "zero-copy"], True), (["copy"], False), ([], False)]
)
def test_parameters(parameters: list[str], applies: bool, tmp_path) -> None:
    path = tmp_path / "known.toml"
    path.write_text(GOOD + 'parameters = ["zero-copy"]\n')
    (issue,) = known_issues.load(path)
    assert issue.applies("A-B-01", Subject("igb", "6.1"), parameters) is applies


def test_several_requirements(tmp_path) -> None:
    path = tmp_path / "known.toml"
    path.write_text(GOOD.replace('"A-B-01"', '["A-B-01", "A-B-02"]'))
    (issue,) = known_issues.load(path)
    assert [issue.applies(f"A-B-0{number}", Subject("igb", "6.1")) for number in (1, 2, 3)] == [True, True, False]


def test_a_paragraph_is_joined_and_the_title_says_it_in_one_line(tmp_path) -> None:
    path = tmp_path / "known.toml"
    path.write_text(GOOD.replace('"r"', '"""\nSymptom.\nCause."""'))
    (issue,) = known_issues.load(path)
    assert issue.reason == "Symptom. Cause."
    assert str(issue) == "igb: off by one, https://e.org"
    assert issue.whose is known_issues.Whose.DRIVER


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[[issue]\n", "expected TOML"),
        ("[issues]\n", "found issues"),
        ("issue = [1]\n", "found issue"),
        (GOOD.replace('reason = "r"\n', ""), "no valid 'reason'"),
        (GOOD.replace('["igb"]', '"igb"'), "no valid 'drivers'"),
        (GOOD.replace('["igb"]', "[]"), "no valid 'drivers'"),
        (GOOD.replace('kernels = ""', 'kernels = "before 6.1"'), "kernels = 'before 6.1'"),
        (GOOD.replace("https:", "javascript:"), "the link"),
        (GOOD + "more = 1\n", "the unknown key more"),
        (
            GOOD.replace('requirement = "A-B-01"\nshows = "off by 1"\n', ""),
            "neither 'requirement' nor 'complaint' nor 'violation'",
        ),
        (GOOD.replace('requirement = "A-B-01"\n', ""), "neither 'requirement' nor 'complaint' nor 'violation'"),
        (GOOD.replace('"off by 1"', '{ A-B-02 = "off by 1" }'), "no 'shows' that says for each of its requirements"),
        (GOOD.replace('"off by 1"', "1"), "no 'shows' that says for each of its requirements"),
        (GOOD.replace('shows = "off by 1"\n', ""), "no 'shows' that says for each of its requirements"),
        (GOOD.replace('"off by 1"', "{ A-B-01 = 1 }"), "shows.A-B-01 = 1"),
        (GOOD.replace("off by 1", "off by ("), "shows = 'off by (', which is no regular expression"),
        (GOOD.replace("off by 1", ""), "shows = '', which matches any failure"),
        (GOOD.replace("off by 1", ".*"), "shows = '.*', which matches any failure"),
        (GOOD.replace("off by 1", "expected that"), "shows = 'expected that', which matches any failure"),
        *(
            (GOOD.replace("off by 1", text), f"shows = '{text}', which matches any failure")
            for text in (
                "has counted ",
                "^frames that the driver delivered: ",
                "bytes of UDP over IPv[46] in segments of",
                "more than its",
                "^assert ",
            )
        ),
        (GOOD + 'complaint = "W?"\n', "complaint = 'W?', which matches any failure"),
        (GOOD + "complaint = 1\n", "complaint = 1"),
        (GOOD + "violation = 1\n", "violation = 1"),
        (GOOD + 'violation = "unowned "\n', "violation = 'unowned '"),
        (GOOD + 'intermittent = "yes"\n', "intermittent = 'yes'"),
        (GOOD + 'intermittent = ["A-B-02"]\n', "intermittent = ['A-B-02']"),
        (GOOD + 'modules = "igb"\n', "no valid 'modules'"),
        (GOOD + 'modules = { igb = "old" }\n', "modules.igb = 'old'"),
        (GOOD + "modules = { igb = 6 }\n", "modules.igb = 6"),
        (GOOD.replace('"driver"', '"core"') + 'modules = { igb = "" }\n', "'modules', though whose = 'core' applies"),
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


FAIL = Judgement(Verdict.FAIL, "expected 1, found off by 1 (step: Count)")
OTHER = Judgement(Verdict.FAIL, "expected 1, found nothing (step: Count)")
HUNG = "NETDEV WATCHDOG: CPU: 1: transmit queue 1 timed out 5000 ms"
WARNING = "WARNING: CPU: 0 PID: 1 at net/core/dev.c:1 something+0x1/0x2"
OFF = "igb: off by one, https://e.org"


def test_a_failure_as_listed_is_an_xfail(listed) -> None:
    expected = KnownIssues(listed(GOOD), IGB).expect(FAIL, "A-B-01")
    assert expected.judgement == Judgement(Verdict.XFAIL, f"{OFF} (found: fail: {FAIL.reason})")
    assert expected.showed is expected.applied[0]


def test_a_failure_of_another_kind_stays_a_failure(listed) -> None:
    expected = KnownIssues(listed(GOOD), IGB).expect(OTHER, "A-B-01")
    reason = f"{OTHER.reason} (a known issue is listed, but shows otherwise: {OFF})"
    assert (expected.judgement, expected.showed) == (Judgement(Verdict.FAIL, reason), None)


@pytest.mark.parametrize("verdict", [Verdict.SKIP, Verdict.ERROR])
def test_what_says_nothing_about_the_driver_stays_as_it_is(verdict: Verdict, listed) -> None:
    found = Judgement(verdict, "found off by 1")
    assert KnownIssues(listed(GOOD), IGB).expect(found, "A-B-01").judgement == found


def test_a_pass_says_that_it_did_not_show(listed) -> None:
    expected = KnownIssues(listed(GOOD), IGB).expect(Judgement(Verdict.PASS), "A-B-01")
    assert expected.judgement == Judgement(Verdict.PASS, f"known issue did not show: {OFF}")
    assert expected.showed is None


def test_each_requirement_shows_in_its_own_way(listed) -> None:
    text = GOOD.replace('"A-B-01"', '["A-B-01", "A-B-02"]').replace(
        '"off by 1"', '{ A-B-01 = "off by 1", A-B-02 = "found nothing" }'
    )
    issues = KnownIssues(listed(text), IGB)
    found = {
        (name, each): issues.expect(each, name).judgement.verdict
        for name in ("A-B-01", "A-B-02")
        for each in (FAIL, OTHER)
    }
    assert [pair for pair, verdict in found.items() if verdict is Verdict.XFAIL] == [
        ("A-B-01", FAIL),
        ("A-B-02", OTHER),
    ]


def test_the_second_of_two_issues_may_be_the_cause(listed) -> None:
    text = GOOD + GOOD.replace("off by one", "too few").replace("off by 1", "found nothing")
    expected = KnownIssues(listed(text), IGB).expect(OTHER, "A-B-01")
    assert expected.judgement.verdict is Verdict.XFAIL
    assert expected.showed is expected.applied[1]
    assert [each["showed"] for each in expected.describe("A-B-01")["expected"]] == [False, True]


COMPLAINT = GOOD.replace('requirement = "A-B-01"\nshows = "off by 1"', 'complaint = "NETDEV WATCHDOG: .*timed out"')


@pytest.mark.parametrize("text", [COMPLAINT, GOOD + 'complaint = "NETDEV WATCHDOG: .*timed out"\n'])
@pytest.mark.parametrize("requirement", ["A-B-01", "C-D-02"])
def test_a_complaint_of_the_kernel_is_known_in_any_test(text: str, requirement: str, listed) -> None:
    issues = KnownIssues(listed(text), IGB)
    expected = issues.expect(Judgement(Verdict.CRASH, HUNG), requirement, problems=[HUNG])
    assert expected.judgement == Judgement(Verdict.XFAIL, f"{OFF} (found: crash: {HUNG})")
    (listed,) = expected.describe(requirement)["expected"]
    assert listed["requirement"] == (requirement if expected.applied else None)
    assert listed["showed"]


def test_a_complaint_is_of_its_driver_and_kernel(listed) -> None:
    crash = Judgement(Verdict.CRASH, HUNG)
    for subject in (Subject("ixgbe", "7.3.4"), Subject("igb", "6.1")):
        issues = KnownIssues(listed(COMPLAINT.replace('kernels = ""', 'kernels = ">=7.3"')), subject)
        assert issues.expect(crash, "C-D-02", problems=[HUNG]).judgement == crash


def test_a_failed_assertion_that_quotes_the_kernel_is_no_complaint(listed) -> None:
    found = Judgement(Verdict.FAIL, f"expected nothing in the log, found {HUNG}")
    assert KnownIssues(listed(COMPLAINT), IGB).expect(found, "C-D-02").judgement == found


@pytest.mark.parametrize("verdict", [Verdict.FAIL, Verdict.TIMEOUT])
def test_what_the_device_notes_of_the_driver_is_known_in_any_test_that_fails(verdict: Verdict, listed) -> None:
    issues = KnownIssues(
        listed(COMPLAINT.replace('complaint = "NETDEV WATCHDOG: .*timed out"', 'violation = "tx.unowned"')), IGB
    )
    found = Judgement(verdict, "expected that 5 frames are on the wire within 7.7 s; it did not")
    expected = issues.expect(found, "C-D-02", violations=["tx.unowned (queue 0)", "tx.unowned (queue 1)"])
    assert expected.judgement.verdict is Verdict.XFAIL
    assert issues.expect(found, "C-D-02", violations=["tx.unowned (queue 0)", "rx.tail (queue 1)"]).judgement == found
    assert issues.expect(found, "C-D-02", violations=["rx.tail (queue 1)"]).judgement == found
    assert issues.expect(Judgement(Verdict.PASS), "C-D-02", violations=["tx.unowned (queue 0)"]).showed is None
    error = Judgement(Verdict.ERROR, found.reason)
    assert issues.expect(error, "C-D-02", violations=["tx.unowned (queue 0)"]).judgement == error


@pytest.mark.parametrize("problems", [[HUNG, WARNING], [WARNING, HUNG]])
def test_a_known_complaint_hides_no_other(problems: list[str], listed) -> None:
    issues = KnownIssues(listed(COMPLAINT), IGB)
    crash = Judgement(Verdict.CRASH, f"{problems[0]} (and 1 more)")
    assert issues.expect(crash, "C-D-02", problems=problems).judgement == crash
    assert issues.expect(crash, "C-D-02", problems=[HUNG, HUNG]).judgement.verdict is Verdict.XFAIL


@pytest.mark.parametrize("verdict", [Verdict.FAIL, Verdict.TIMEOUT])
def test_a_known_complaint_hides_no_failure_of_the_same_test(verdict: Verdict, listed) -> None:
    issues = KnownIssues(listed(GOOD + COMPLAINT.replace("off by one", "it hangs")), IGB)
    crash = Judgement(Verdict.CRASH, HUNG)
    known = Judgement(Verdict.XFAIL, f"igb: it hangs, https://e.org (found: crash: {HUNG})")
    found = {
        aside: issues.expect(crash, "A-B-01", problems=[HUNG], aside=aside)
        for aside in (Judgement(verdict, FAIL.reason), Judgement(verdict, OTHER.reason), Judgement(Verdict.PASS))
    }
    listed_too, other, none = found.values()
    assert listed_too.judgement == none.judgement == known
    reason = f"{OTHER.reason} (the kernel also complained, as known: igb: it hangs, https://e.org)"
    assert other.judgement == Judgement(verdict, reason)
    assert other.showed is not None
    assert other.showed.title == "igb: it hangs"
    assert [each["showed"] for each in other.describe("A-B-01")["expected"]] == [False, True]


def test_a_failure_beside_an_unknown_complaint_is_a_crash(listed) -> None:
    crash = Judgement(Verdict.CRASH, WARNING)
    issues = KnownIssues(listed(COMPLAINT), IGB)
    assert issues.expect(crash, "C-D-02", problems=[WARNING], aside=FAIL).judgement == crash


VENDORS = [("igb", "5.18.7"), ("igb", "v5.18.7-k"), ("igb", "6.0"), ("igb", None), ("other", "5.18.7")]


@pytest.mark.parametrize(
    ("more", "applies"),
    [
        ("", [False, False, False, False, False]),
        ('modules = { igb = ">=5,<6" }\n', [True, True, False, False, False]),
        ('modules = { igb = "" }\n', [True, True, True, True, False]),
    ],
)
def test_a_vendors_module_has_the_issues_that_name_it(more: str, applies: list[bool], listed) -> None:
    (issue,) = listed(GOOD.replace('kernels = ""', 'kernels = ">=7.3"') + more)
    subjects = [Subject("igb", "6.12.57", None, *vendor) for vendor in VENDORS]
    assert [issue.has(subject) for subject in subjects] == applies
    assert issue.has(IGB)


@pytest.mark.parametrize("whose", ["core", "qemu", "device"])
def test_issues_of_kernel_and_device_do_not_depend_on_the_module(whose: str, listed) -> None:
    (issue,) = listed(GOOD.replace('"driver"', f'"{whose}"').replace('kernels = ""', 'kernels = ">=7.3"'))
    assert issue.has(Subject("igb", "7.3.4", None, "igb", "5.18.7"))
    assert not issue.has(Subject("igb", "6.12", None, "igb", "5.18.7"))


def test_a_modules_name_is_written_either_way(listed) -> None:
    (issue,) = listed(GOOD + 'modules = { amd-xgbe = "" }\n')
    assert issue.has(Subject("igb", "7.3.4", None, "amd_xgbe", "1.0"))


@pytest.mark.parametrize(
    ("more", "intermittent"), [("", []), ("true", ["A-B-01", "A-B-02"]), ('["A-B-02"]', ["A-B-02"]), ("false", [])]
)
def test_an_issue_need_not_show_in_each_run(more: str, intermittent: list[str], listed) -> None:
    text = GOOD.replace('"A-B-01"', '["A-B-01", "A-B-02"]') + (f"intermittent = {more}\n" if more else "")
    issues = KnownIssues(listed(text), IGB)
    listed = {
        name: issues.expect(Judgement(Verdict.PASS), name).describe(name)["expected"][0]
        for name in ("A-B-01", "A-B-02")
    }
    assert [name for name, each in listed.items() if each["intermittent"]] == intermittent
