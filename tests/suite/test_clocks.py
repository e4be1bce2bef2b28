# SPDX-License-Identifier: GPL-2.0-or-later
"""Time stamps against the clocks: which clock is read, and that a stamp out of bounds fails."""

from __future__ import annotations

import errno
from typing import Any, cast

import pytest
from falsified import Falsified
from plugfest.machine.agent import AgentClient, AgentError
from plugfest.machine.model import ModelClient
from plugfest.timestamps.clocks import Clocks


class FakeEnd:
    """An agent or a model with one answer per method."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers

    def call(self, method: str, **_: object) -> Any:
        answer = self.answers[method.replace(".", "_")]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def offers(self, method: str) -> bool:
        return method.replace(".", "_") in self.answers


def clocks(model: FakeEnd | None = None, *falsified: str, **answers: Any) -> Clocks:
    agent = FakeEnd(**{"ethtool_get": {}} | answers)
    client = cast("AgentClient", Falsified(agent, *falsified))
    return Clocks(client, "eth0", cast("ModelClient", model) if model else None)


def test_the_devices_clock_is_preferred_then_the_phc_then_the_guests() -> None:
    hardware = {"ethtool_get": {"phc-index": 0}, "phc_read": [1, 2, 3], "system_nanoseconds": {"realtime": 1}}
    model = FakeEnd(model_clock={"now": 3})
    assert clocks(model, **hardware).read() == {"device": 3}
    assert clocks(FakeEnd(), **hardware).read() == {"phc": 2}
    without = FakeEnd(model_clock={"now": None})
    assert clocks(without, system_nanoseconds={"realtime": 1}).read() == {"realtime": 1}


def test_a_phc_that_cannot_be_read_is_left_out() -> None:
    unsupported = AgentError("phc.read", "OSError", "Operation not supported", errno.EOPNOTSUPP)
    answers = {"ethtool_get": {"phc-index": 0}, "phc_read": unsupported, "system_nanoseconds": {"realtime": 1}}
    assert clocks(**answers).read() == {"realtime": 1}


def test_stamps_lie_between_the_readings_of_one_clock() -> None:
    clocks().check({"realtime": 10, "tai": 47}, [50, 57], {"realtime": 20, "tai": 57})
    with pytest.raises(AssertionError, match=r"'tai': '1 ns before, 0 ns after'"):
        clocks().check({"realtime": 10, "tai": 47}, [46, 57], {"realtime": 20, "tai": 57})
    with pytest.raises(AssertionError, match=r"'device': '-3 ns before, 1 ns after'"):
        clocks().check({"device": 47}, [50, 58], {"device": 57})


def test_all_stamps_are_of_one_clock() -> None:
    found = clocks()
    found.check({"realtime": 10, "tai": 20}, [22], {"realtime": 30, "tai": 40})
    found.check({"realtime": 30, "tai": 40}, [45], {"realtime": 40, "tai": 50})
    with pytest.raises(AssertionError, match="tai"):
        found.check({"realtime": 50, "tai": 60}, [55], {"realtime": 56, "tai": 66})


def test_a_clock_that_is_ahead_fails() -> None:
    found = clocks(None, "program:clocks.ahead", system_nanoseconds={"realtime": 10})
    with pytest.raises(AssertionError, match="3599999999990 ns before"):
        found.check(found.read(), [20], found.read())
