# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames that several CPUs send at once, and the transmit ring that has to take them."""

from __future__ import annotations

import pytest
from plugfest.frames.probe import HEADERS, SMALLEST, Ends, number_of
from plugfest.traffic.rounds import SHARE_OF_RING, Rounds
from plugfest.traffic.traffic import SIZES

ENDS = Ends(
    "02:00:00:00:00:01",
    "02:00:00:00:00:02",
    {4: "198.18.0.1", 6: "2001:db8::1"},
    {4: "198.19.0.0/16", 6: "2001:db8:1::/64"},
)


@pytest.mark.parametrize("ring", [8, 64, 256, 512, 4096])
@pytest.mark.parametrize("cpus", [1, 2, 7, 8, 64, 200])
def test_a_round_is_no_more_than_its_share_of_the_ring(ring: int, cpus: int) -> None:
    rounds = Rounds(ENDS, SIZES, ring=ring, cpus=cpus)
    frames = rounds.frames(3)
    assert [len(each) for each in frames] == [rounds.frames_per_cpu] * rounds.cpus
    assert 0 < sum(map(len, frames)) <= ring // SHARE_OF_RING
    assert rounds.cpus == min(cpus, ring // SHARE_OF_RING // len(HEADERS))


@pytest.mark.parametrize("cpus", [1, 2, 7, 8, 64])
def test_eight_rounds_have_each_size_and_no_frame_twice(cpus: int) -> None:
    rounds = Rounds(ENDS, SIZES, ring=256, cpus=cpus)
    frames = [frame for number in range(8) for each in rounds.frames(number) for frame in each]
    assert len({number_of(frame) for frame in frames}) == len(frames) == len(set(frames))
    assert {len(frame) for frame in frames} == {max(size, least) for size in SIZES for least in SMALLEST.values()}
