# SPDX-License-Identifier: GPL-2.0-or-later
"""The targets of ``tox -e fuzz``, for a few seconds: their corpus, and generated inputs that hypothesis shrinks.

Each input is registers, descriptors, admin commands, mailboxes, frames and steps in time, or a client's messages. Nothing dies, no
memory outside what was mapped is written, no turn takes more than 100 ms of CPU, and nothing grows.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

_HERE = Path(__file__).parent
sys.path[:0] = [str(_HERE.parent / "fuzz"), *(str(_HERE / each) for each in ("core", "ixgbe", "xgbe"))]

import fuzz_inputs  # noqa: E402 - found by the line above
from fuzz_targets import TARGETS, Target  # noqa: E402
from nicmodels.vfio_user import connection  # noqa: E402

EXAMPLES = settings(
    max_examples=40,
    deadline=None,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(params=sorted(TARGETS), scope="module")
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    patience = connection.DMA_TIMEOUT, connection.SEND_TIMEOUT
    target = TARGETS[request.param]()
    target.name = request.param
    yield target
    target.close()
    connection.DMA_TIMEOUT, connection.SEND_TIMEOUT = patience


def test_corpus(target: Target) -> None:
    seeds = fuzz_inputs.corpus(target.name)
    assert seeds, "each target has a corpus"
    for data in seeds:
        target.run(data)
    target.inspect()


@EXAMPLES
@given(st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=4))
def test_any_inputs(target: Target, sequence: list[bytes]) -> None:
    for data in sequence:
        target.run(data)


def test_nothing_is_wrong_after_all_that(target: Target) -> None:
    target.inspect()
