# SPDX-License-Identifier: GPL-2.0-or-later
"""NAPI polls from the lines of the tracepoint."""

from __future__ import annotations

from plugfest.queues.napi import NapiPolls, Poll, polls_of

LINES = [
    "napi poll on napi struct 00000000a1b2c3d4 for device eth0 work 0 budget 23",
    "napi poll on napi struct 00000000a1b2c3d4 for device mgmt0 work 5 budget 64",
    "napi poll on napi struct 00000000a1b2c3d5 for device eth0 work 12 budget 64",
    "something else",
    "napi poll on napi struct 00000000a1b2c3d4 for device eth0 work 7 budget 64",
]


def test_polls_of_the_interface_are_selected_by_budget() -> None:
    seen = NapiPolls(list(polls_of(LINES, "eth0")))
    first, second = "00000000a1b2c3d4", "00000000a1b2c3d5"
    assert seen.polls == [Poll(first, 0, 23), Poll(second, 12, 64), Poll(first, 7, 64)]
    assert seen.of(23) == [Poll(first, 0, 23)]
    assert seen.others(23) == [Poll(first, 7, 64)]
