# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames that a veth pair loses are distinguished from those that it refuses and that are sent again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from plugfest.errors import InfrastructureError
from plugfest.traffic.packet_socket import PacketSender
from plugfest.xdp.veth import Pair


class Agent:
    """Both ends count drops; each sender of the far end knows what it was refused."""

    def __init__(self) -> None:
        self.dropped = 0
        self.refused: dict[int, int] = {}

    def another(self) -> Agent:
        return self

    def close(self) -> None:
        pass

    def call(self, method: str, **_: object) -> Any:
        if method == "packet.open":
            self.refused[len(self.refused)] = 0
            return len(self.refused) - 1
        return 1

    def batch(self, calls: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Any]:
        return [self._answer(method, params) for method, params in calls]

    def _answer(self, method: str, params: Mapping[str, Any]) -> Any:
        if method == "packet.refused":
            return self.refused[params["packet"]]
        return {"tx_dropped": self.dropped if params["ifname"] == "far0" else 0}


@pytest.fixture
def agent() -> Agent:
    return Agent()


@pytest.fixture
def pair(agent: Agent) -> Pair:
    guest = SimpleNamespace(agent=agent, speed=1.0)
    return Pair(guest, lambda *_, **__: None, lambda *_, **__: None)  # type: ignore[arg-type]


def block(
    pair: Pair, agent: Agent, sender: PacketSender, *, refused: int = 0, lost: int = 0, failure: str = ""
) -> None:
    """Send in a block: the kernel counts each refusal as a drop, too."""
    with pair.lossless():
        sender.send([b"frame"])
        agent.dropped += refused + lost
        agent.refused[max(agent.refused)] += refused
        assert not failure, failure


def test_a_failure_without_a_loss_is_the_drivers(pair: Pair, agent: Agent) -> None:
    with pytest.raises(AssertionError, match="1 frame is missing"):
        block(pair, agent, pair.packet_sender, failure="1 frame is missing")


@pytest.mark.parametrize("another", [False, True])
def test_a_frame_that_was_sent_again_is_not_lost(pair: Pair, agent: Agent, another: bool) -> None:
    sender = pair.another_packet_sender() if another else pair.packet_sender
    with pytest.raises(AssertionError, match="1 frame is missing"):
        block(pair, agent, sender, refused=300, failure="1 frame is missing")


def test_a_loss_before_the_block_does_not_count(pair: Pair, agent: Agent) -> None:
    agent.dropped += 2
    with pytest.raises(AssertionError, match="1 frame is missing"):
        block(pair, agent, pair.packet_sender, failure="1 frame is missing")


def test_a_failure_with_a_loss_proves_nothing(pair: Pair, agent: Agent) -> None:
    with pytest.raises(InfrastructureError, match="found that it lost 2:"):
        block(pair, agent, pair.packet_sender, refused=300, lost=2, failure="1 frame is missing")


def test_a_loss_without_a_failure_is_nothing(pair: Pair, agent: Agent) -> None:
    block(pair, agent, pair.packet_sender, lost=2)
