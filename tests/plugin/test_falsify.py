# SPDX-License-Identifier: GPL-2.0-or-later
"""``--falsify``: each fault must change its test's verdict."""

from __future__ import annotations

import pytest

CHECKS_VALUE = """
@requirement()
def test_it(model):
    '''The value is 42.'''
    assert model.value() == 42
"""


def row(suite):
    (found,) = suite.document()["falsification"]
    return found


def test_a_fault_that_is_detected(suite) -> None:
    suite.run(CHECKS_VALUE, falsify=True)
    assert row(suite) == {
        "requirement": "AREA-TEST-01",
        "fault": "value.wrong",
        "demanded": "fail",
        "found": ["fail"],
        "fired": 1,
        "outcome": "falsified",
    }
    assert suite.document()["run"]["exit_status"] == 0
    assert suite.only()["artifacts"] == {}


def test_the_fault_is_armed_during_the_call_only(suite) -> None:
    suite.run(
        """
@pytest.fixture
def before_and_after(model):
    assert model.value() == 42
    yield
    assert model.value() == 42

@requirement()
def test_it(model, before_and_after):
    '''The value is 42.'''
    assert model.value() == 42
""",
        falsify=True,
    )
    assert row(suite)["outcome"] == "falsified"
    assert row(suite)["fired"] == 1


def test_the_fault_is_armed_from_its_step_on(suite) -> None:
    suite.run(
        """
@requirement(fault_from_step=2)
def test_it(model, step):
    '''The value stays 42.'''
    assert model.value() == 42
    with step("Set it"):
        assert model.value() == 42
        with step("Look"):
            assert model.value() == 42
    with step("It is the same"):
        assert model.value() == 42
""",
        falsify=True,
    )
    assert row(suite)["outcome"] == "falsified"
    assert [each["passed"] for each in suite.only()["steps"]] == [True, True, False]


def test_a_step_that_a_test_does_not_reach_arms_nothing(suite) -> None:
    suite.run(
        """
@requirement(fault_from_step=3)
def test_it(model, step):
    '''The value is 42.'''
    with step("Look"):
        assert model.value() == 42
    with step("Look again"):
        assert model.value() == 42
""",
        falsify=True,
    )
    assert (row(suite)["outcome"], row(suite)["fired"]) == ("never fired", 0)


BAD = {
    "blind": ("model.value()", "value.wrong", "not falsified"),
    "never-fired": ("assert True", "value.unused", "never fired"),
    "fails-anyway": ("assert False", "value.unused", "never fired"),
    "unknown-point": ("assert True", "value.unknown", "error"),
    "broken-test": ("model.value(); raise RuntimeError", "value.wrong", "error"),
    "wrong-verdict": ("model.value(); guest.run('oops')", "value.wrong", "not falsified"),
}


@pytest.mark.parametrize(("body", "fault", "outcome"), BAD.values(), ids=BAD.keys())
def test_a_fault_that_is_not_detected_fails_the_run(suite, body: str, fault: str, outcome: str) -> None:
    suite.run(
        f"""
@requirement(falsified_by="{fault}")
def test_it(model, guest):
    '''The value is 42.'''
    {body}
""",
        falsify=True,
    )
    assert row(suite)["outcome"] == outcome
    assert suite.document()["run"]["exit_status"] == 1


def test_a_fault_that_only_another_model_has_is_passed_over(suite) -> None:
    suite.run(
        """
@requirement(falsified_by=("value.wrong", "device.eeprom.checksum"))
def test_it(model):
    '''The value is 42.'''
    assert model.value() == 42
""",
        falsify=True,
    )
    outcomes = {each["fault"]: each["outcome"] for each in suite.document()["falsification"]}
    assert outcomes == {"value.wrong": "falsified", "device.eeprom.checksum": "skipped"}
    assert suite.document()["run"]["exit_status"] == 0


def test_each_of_several_faults_must_be_detected(suite) -> None:
    suite.run(
        """
@requirement(falsified_by=("value.wrong", "wire:frame.lost"))
def test_it(model, remote):
    '''It is right and arrives.'''
    assert model.value() == 42
    remote.delivers()
""",
        falsify=True,
    )
    table = {entry["fault"]: entry["outcome"] for entry in suite.document()["falsification"]}
    assert table == {"value.wrong": "falsified", "wire:frame.lost": "not falsified"}


def test_one_variant_that_detects_the_fault_is_enough(suite) -> None:
    suite.run(
        """
@pytest.mark.parametrize("queue", [0, 1, 2])
@requirement(match={"queue": 1})
def test_it(model, queue):
    '''The value of each queue is 42.'''
    assert model.value(queue) == 42
""",
        falsify=True,
    )
    assert row(suite)["outcome"] == "falsified"
    assert row(suite)["found"] == ["fail", "pass"]
    assert suite.document()["run"]["exit_status"] == 0


def test_a_fault_may_have_to_end_in_a_crash(suite) -> None:
    suite.run(
        """
@requirement(falsified_as="crash")
def test_it(model, guest):
    '''The driver survives a wrong value.'''
    if model.value() != 42:
        guest.run("oops")
""",
        falsify=True,
    )
    assert row(suite)["outcome"] == "falsified"


def test_a_models_fault_is_skipped_on_a_device_of_qemus(suite) -> None:
    suite.run(
        """
@requirement()
def test_it(guest):
    '''It lives.'''
""",
        falsify=True,
        driver="igb",
    )
    assert row(suite)["outcome"] == "skipped"
    assert suite.only()["evidence"]


def test_a_falsified_answer(suite) -> None:
    suite.run(
        """
@requirement(falsified_by="program:xdp.announcement-lost")
def test_it(guest):
    '''A change is announced.'''
    assert guest.agent.call("netdev.monitor_read", monitor=1) == ["a change"]
""",
        falsify=True,
        driver="igb",
    )
    assert row(suite)["outcome"] == "falsified"


def test_faults_for_the_whole_run(suite) -> None:
    suite.run(CHECKS_VALUE, faults=("value.wrong",))
    assert suite.verdicts() == {"test_it": "fail"}
    suite.run(
        "\n@requirement()\ndef test_it(remote):\n    '''It arrives.'''\n    assert remote.delivers()\n",
        faults=("wire:frame.lost",),
    )
    assert suite.verdicts() == {"test_it": "fail"}


def test_an_unknown_fault_ends_the_run(suite) -> None:
    result = suite.run(CHECKS_VALUE, faults=("wire:unknown",))
    assert result.ret == 2
    assert "wire:unknown" in suite.document()["run"]["interrupted"]


def test_the_next_test_gets_a_guest_that_saw_no_fault(suite) -> None:
    suite.run(
        CHECKS_VALUE
        + CHECKS_VALUE.replace("test_it", "test_other").replace("@requirement()", "@requirement('AREA-TEST-02')"),
        falsify=True,
    )
    assert len(suite.machines) == 2


VARIANTS = """
@pytest.fixture(params=["one", "two"])
def way(request):
    return request.param

@requirement("AREA-TEST-01", variant="one")
@requirement("AREA-TEST-02", falsified_by=("value.wrong", "value.unused"), variant="two")
def test_it(model, way):
    '''The value is 42.'''
    assert model.value() == 42
"""


def test_each_variant_of_a_test_has_a_requirement_of_its_own(suite) -> None:
    suite.run(VARIANTS)
    results = {result["test"].rpartition("::")[2]: result["requirement"] for result in suite.document()["results"]}
    assert results == {"test_it[one]": "AREA-TEST-01", "test_it[two]": "AREA-TEST-02"}
    assert [each["id"] for each in suite.document()["requirements"]] == ["AREA-TEST-01", "AREA-TEST-02"]


def test_each_variant_has_its_own_faults(suite) -> None:
    suite.run(VARIANTS, falsify=True)
    rows = {(each["requirement"], each["fault"]): each["outcome"] for each in suite.document()["falsification"]}
    assert rows == {
        ("AREA-TEST-01", "value.wrong"): "falsified",
        ("AREA-TEST-02", "value.wrong"): "falsified",
        ("AREA-TEST-02", "value.unused"): "never fired",
    }


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        (("one", "three"), "*expected one of its parameters to be one of the variants one, three, found*"),
        (("one", "one"), "*each needs its own variant=*"),
        (("", "two"), "*each needs its own variant=*"),
    ],
)
def test_an_invalid_variant(suite, variants: tuple[str, str], message: str) -> None:
    result = suite.run(
        VARIANTS.replace('"one")\n@', f'"{variants[0]}")\n@').replace('variant="two"', f'variant="{variants[1]}"')
    )
    assert result.ret != pytest.ExitCode.OK
    assert any(message.strip("*") in line for line in (*result.outlines, *result.errlines)), result.outlines
