# SPDX-License-Identifier: GPL-2.0-or-later
"""Undoing what a test changed: the last change first, all of them, and an agent's calls together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from plugfest.machine.agent import AgentClient
from plugfest.plugin import record as records


class RecordingAgent(AgentClient):
    """An agent without a guest: it keeps its exchanges, and a method named ``fail`` fails."""

    def __init__(self, log: list[object]) -> None:
        self.log = log
        self._interposer = None

    def call(self, method: str, /, **params: Any) -> Any:
        self.log.append(method)

    def try_batch(self, calls: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Any]:
        self.log.append([(method, *params.values()) for method, params in calls])
        return [ValueError("no") if method == "fail" else None for method, _ in calls]


def test_calls_that_follow_each_other_are_one_exchange() -> None:
    log: list[object] = []
    record, agent = records.TestRecord(), RecordingAgent(log)
    record.defer(agent.call, "close", handle=1)
    record.defer(agent.call, "close", handle=2)
    record.defer(log.append, "settings")
    record.defer(agent.call, "close", handle=3)
    record.undo()
    assert log == [[("close", 3)], "settings", [("close", 2), ("close", 1)]]
    record.undo()
    assert len(log) == 3


def test_calls_of_different_connections_stay_apart() -> None:
    log: list[object] = []
    record = records.TestRecord()
    for handle in (1, 2):
        record.defer(RecordingAgent(log).call, "close", handle=handle)
    record.undo()
    assert log == [[("close", 2)], [("close", 1)]]


def test_every_undo_gets_its_turn_and_every_failure_is_named() -> None:
    log: list[object] = []
    record, agent = records.TestRecord(), RecordingAgent(log)

    def broken() -> None:
        raise OSError("broken")

    record.defer(agent.call, "close", handle=1)
    record.defer(agent.call, "fail", handle=2)
    record.defer(broken)
    with pytest.raises(records.UndoError) as caught:
        record.undo()
    assert log == [[("fail", 2), ("close", 1)]]
    assert [text.partition(": ")[2] for text in caught.value.failures] == ["OSError: broken", "ValueError: no"]
    assert "handle=2" in caught.value.failures[1]
