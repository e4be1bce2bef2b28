# SPDX-License-Identifier: GPL-2.0-or-later
"""The matrix of settings and operations as data, and what a trial of one pair says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from plugfest.dut.operations import NotOfferedError
from plugfest.persistence.operation import OPERATIONS, Operation, more_or_fewer_channels
from plugfest.persistence.setting import Setting
from plugfest.persistence.table import SETTINGS, pairs
from plugfest.persistence.trial import Trial
from plugfest.plugin import suite


class SkippedError(Exception):
    """Stands for pytest's."""


class Device:
    """An interface with one setting, which operations change as the test says."""

    def __init__(self) -> None:
        self.reported, self.in_effect = "default", "default"
        self.evidence: dict[str, object] = {}

    def ready(self) -> None:
        """There is a link at once."""

    def call(self, *_arguments: object, **_named: object) -> None:
        """The guest's log is not read here."""

    def until(self, condition: Any, **_how: object) -> None:
        assert condition(), "not so"


class Colour(Setting):
    """A setting of no interface."""

    name = "colour"

    def set(self) -> None:
        self.instruments.dut.reported = self.instruments.dut.in_effect = "red"  # type: ignore[attr-defined]

    def reported(self) -> Any:
        return self.instruments.dut.reported  # type: ignore[attr-defined]

    def observed(self) -> Any:
        return {"colour": self.instruments.dut.in_effect}  # type: ignore[attr-defined]

    def shows(self, observed: Any) -> bool:
        return bool(observed["colour"] == "red")


class Droppable(Colour):
    """One that the operation may drop."""

    drops: ClassVar = {"paint": "a document"}


def trial(device: Device, perform: Any, setting: type[Setting] = Colour, lacking: Any = None) -> Trial:
    instruments: Any = SimpleNamespace(dut=device, settings=device, agent=device, until=device.until)

    def skip(what: str, *, evidence: object) -> None:
        raise SkippedError(f"{what}: {evidence}")

    operation = Operation("paint", "painting", lambda *_: perform(), lambda _: lacking)
    made = Trial(instruments, setting(instruments), operation, evidence=device.evidence.__setitem__, skip=skip)
    made.set()
    made.perform()
    return made


def test_what_is_kept_passes() -> None:
    trial(Device(), lambda: None).check()


def test_what_is_reported_and_not_in_effect_fails() -> None:
    device = Device()
    made = trial(device, lambda: setattr(device, "in_effect", "default"))
    with pytest.raises(
        AssertionError, match=r'after paint: colour is not in effect: \{"colour": "default"\}, was \{"colour": "red"\}'
    ):
        made.check()


def test_what_is_dropped_fails_though_it_is_reported_so() -> None:
    device = Device()
    made = trial(device, lambda: device.__dict__.update(in_effect="default", reported="default"))
    with pytest.raises(AssertionError, match='colour is reported as "default", was "red", and is not in effect'):
        made.check()


@pytest.mark.parametrize(
    ("reported", "in_effect", "is_right"),
    [("default", "default", True), ("default", "red", False), ("red", "default", False), ("blue", "blue", False)],
)
def test_what_may_be_dropped_is_dropped_visibly(reported: str, in_effect: str, is_right: bool) -> None:
    device = Device()
    made = trial(device, lambda: device.__dict__.update(in_effect=in_effect, reported=reported), Droppable)
    if is_right:
        made.check()
        assert device.evidence["dropped"] == '"default": allowed by a document'
    else:
        with pytest.raises(AssertionError, match="after paint: colour"):
            made.check()


def test_an_operation_that_is_refused_may_change_nothing() -> None:
    device = Device()

    def refuse() -> None:
        raise NotOfferedError("busy")

    def refuse_and_lose() -> None:
        device.in_effect = "default"
        raise NotOfferedError("busy")

    with pytest.raises(SkippedError, match="painting: busy"):
        trial(device, refuse)
    with pytest.raises(AssertionError, match="not in effect"):
        trial(device, refuse_and_lose)


def test_what_the_driver_lacks_is_not_tried() -> None:
    with pytest.raises(SkippedError, match="painting: no paint"):
        trial(Device(), pytest.fail, lacking="no paint")


def test_each_setting_has_a_requirement_and_each_requirement_a_setting() -> None:
    assert [each.keeps for each in suite.collect(["keep"]) if each.keeps not in SETTINGS] == []
    assert sorted(each.keeps for each in suite.collect(["keep"])) == sorted(SETTINGS)


def test_names_in_the_tables_exist() -> None:
    for operation in OPERATIONS.values():
        assert (operation.by_default or set()) <= set(SETTINGS), operation.name
    for setting in SETTINGS.values():
        assert setting.own | set(setting.drops) <= set(OPERATIONS), setting.name


def test_a_setting_is_not_paired_with_the_operation_that_changes_it() -> None:
    assert "MTU" not in [operation.name for operation, _ in pairs("MTU")]
    assert {operation.name: slow for operation, slow in pairs("VLAN filter")}["down-and-up"] is False
    assert {operation.name: slow for operation, slow in pairs("wake-on-LAN")}["watchdog-reset"] is True


@pytest.mark.parametrize(
    ("channels", "found"),
    [
        ({"combined-count": 2, "combined-max": 4}, ({"combined_count": 3}, {"combined_count": 2})),
        ({"combined-count": 4, "combined-max": 4}, ({"combined_count": 3}, {"combined_count": 4})),
        (
            {"rx-count": 2, "rx-max": 4, "tx-count": 2, "tx-max": 4},
            ({"rx_count": 3, "tx_count": 3}, {"rx_count": 2, "tx_count": 2}),
        ),
        ({"combined-count": 1, "combined-max": 1}, None),
        (None, None),
    ],
)
def test_another_number_of_channels(channels: Any, found: Any) -> None:
    instruments: Any = SimpleNamespace(dut=SimpleNamespace(get=lambda _what: channels))
    assert more_or_fewer_channels(instruments) == found
