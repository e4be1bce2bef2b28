# SPDX-License-Identifier: GPL-2.0-or-later
"""What attaching a program prepares: what it takes away is given back, and what a driver keeps of it is noted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from plugfest.machine.agent import AgentClient, KernelLacksError
from plugfest.plugin.record import TestRecord
from plugfest.xdp.programs import Program, Xdp

PROGRAM = Program("xdp_pass", 1, 1, {})
BASIC, TARGET = ["basic"], ["basic", "ndo-xmit"]


class FakeAgent(AgentClient):
    """A guest whose driver advertises what it is given, and whose kernel may know no netdev family."""

    def __init__(self, features: list[list[str]]) -> None:
        self._features = iter(features)
        self._interposer = None

    def call(self, method: str, /, **params: Any) -> Any:
        if method == "netdev.dev_get":
            try:
                return {"xdp-features": next(self._features)}
            except StopIteration:
                raise KernelLacksError("netlink family netdev", "none") from None
        return None

    def try_batch(self, calls: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Any]:
        return [self.call(method, **params) for method, params in calls]


def attached(features: list[list[str]], mode: str) -> tuple[list[str], list[str]]:
    """Attach a program twice, and undo it; returns the calls of `attaching` and what remained."""
    prepared: list[str] = []
    remainders: list[str] = []
    record = TestRecord()
    xdp = Xdp(
        FakeAgent(features),
        "eth0",
        defer=record.defer,
        until=lambda *_, **__: None,
        advertises=lambda _: None,
        attaching=lambda: prepared.append(mode),
        remains=remainders.append,
    )
    xdp.attach_program(PROGRAM, mode)
    xdp.attach_program(PROGRAM, mode)
    record.undo()
    return prepared, remainders


@pytest.mark.parametrize("mode", ["native", "generic"])
def test_each_mode_is_prepared_once(mode: str) -> None:
    assert attached([BASIC, BASIC], mode) == ([mode], [])


@pytest.mark.parametrize(("before", "after"), [(BASIC, TARGET), (TARGET, BASIC)])
def test_what_a_driver_keeps_of_a_program_is_noted(before: list[str], after: list[str]) -> None:
    _, remainders = attached([before, after], "native")
    assert remainders == ["other netdev flags than it found: xdp-act:ndo-xmit"]


def test_a_kernel_without_the_family_has_nothing_to_compare() -> None:
    assert attached([], "native") == (["native"], [])
