# SPDX-License-Identifier: GPL-2.0-or-later
"""Flow director: filters are found by a hash, which is computed here bit by bit, unlike in the model."""

from __future__ import annotations

import frames
import pytest
from ixgbe_harness import Harness
from nicmodels.models.ixgbe.registers import filters

BUCKET_KEY, SIGNATURE_KEY = 0x3DAD14E2, 0x174D3614
SOURCE, DESTINATION, SPORT, DPORT = 0xC0000201, 0xC0000202, 1000, 80
TCP = 2
ADD, REMOVE, QUERY, VALID = 1, 2, 3, 4
QUEUE_EN, LAST, DROP = 1 << 15, 1 << 11, 1 << 9


def rotated(value: int, by: int) -> int:
    return (value >> by | value << 32 - by) & 0xFFFFFFFF


def hash16(key: int, words: list[int]) -> int:
    """The hash of a flow: `words` are the dwords of the input, pool, type and VLAN first.

    Each of the key's 32 bits that is set adds a 16-bit window of the stream: the XOR of all words, doubled, with the
    first word entering as in a Toeplitz hash that slides from one end to the other.
    """
    head, rest = words[0], 0
    for word in words[1:]:
        rest ^= word
    result = 0
    for bit in range(32):
        if not key >> bit & 1:
            continue
        if bit >= 16:
            window = (rest ^ head ^ head >> 16) >> bit - 16
        elif bit == 0:
            window = rotated(rest, 16)
        else:
            window = (rotated(rest, 16) ^ head ^ head << 16 & 0xFFFFFFFF) >> bit
        result ^= window
    return result & 0xFFFF


def words(*, flex: int = 0, sport: int = SPORT, source: int = SOURCE) -> list[int]:
    return [TCP << 16, DESTINATION, 0, 0, 0, source, 0, 0, 0, sport << 16 | DPORT, flex << 16]


def enable(harness: Harness, mode: int) -> None:
    harness.write(filters.FDIRHKEY, BUCKET_KEY)
    harness.write(filters.FDIRSKEY, SIGNATURE_KEY)
    harness.write(filters.FDIRCTRL, 1 | mode | 6 << 16)
    assert harness.read(filters.FDIRCTRL) & 8


def add_perfect(harness: Harness, queue: int, index: int, *, command: int = 0, bucket: int | None = None) -> None:
    harness.write(filters.FDIRIPSA, SOURCE)
    harness.write(filters.FDIRIPDA, DESTINATION)
    harness.write(filters.FDIRPORT, DPORT << 16 | SPORT)
    place = hash16(BUCKET_KEY, words()) & 0x1FFF if bucket is None else bucket
    harness.write(filters.FDIRHASH, index << 16 | place)
    harness.write(filters.FDIRCMD, ADD | TCP << 5 | QUEUE_EN | LAST | queue << 16 | command)
    assert harness.read(filters.FDIRCMD) & 3 == 0


def test_a_perfect_filter_steers(harness: Harness) -> None:
    enable(harness, 1 << 4)
    harness.write(filters.FDIRM, 0b110111)
    add_perfect(harness, 1, 7)
    frame = frames.tcp(sport=SPORT)
    assert harness.receive(frame)[0].queue == 1
    assert harness.receive(frames.tcp(sport=SPORT + 1))[0].queue == 0
    assert (harness.read(filters.FDIRMATCH), harness.read(filters.FDIRMISS)) == (1, 1)
    assert harness.read(filters.FDIRMATCH) == 0


def test_a_match_is_reported(harness: Harness) -> None:
    enable(harness, 1 << 4 | 1 << 5)
    harness.write(filters.FDIRM, 0b110111)
    add_perfect(harness, 1, 7)
    (received,) = harness.receive(frames.tcp(sport=SPORT))
    assert received.status & 4
    assert received.info & 0xF == 15
    assert received.hash >> 16 == 7


def test_a_filter_in_the_wrong_bucket_is_not_found(harness: Harness) -> None:
    enable(harness, 1 << 4)
    harness.write(filters.FDIRM, 0b110111)
    add_perfect(harness, 1, 7, bucket=hash16(BUCKET_KEY, words()) & 0x1FFF ^ 1)
    assert harness.receive(frames.tcp(sport=SPORT))[0].queue == 0


def test_masked_ports_do_not_matter(harness: Harness) -> None:
    enable(harness, 1 << 4)
    harness.write(filters.FDIRM, 0b110111)
    harness.write(filters.FDIRTCPM, 0x0000FFFF)  # no source port; the bits are reversed, which all ones do not show
    place = hash16(BUCKET_KEY, words(sport=0)) & 0x1FFF
    add_perfect(harness, 1, 1, bucket=place)
    assert [each.queue for each in harness.receive(frames.tcp(sport=5), frames.tcp(sport=6))] == [1, 1]


def test_a_drop_filter(harness: Harness) -> None:
    enable(harness, 1 << 4)
    harness.write(filters.FDIRM, 0b110111)
    add_perfect(harness, 1, 1, command=DROP)
    assert harness.receive(frames.tcp(sport=SPORT)) == []


def test_query_and_remove(harness: Harness) -> None:
    enable(harness, 1 << 4)
    harness.write(filters.FDIRM, 0b110111)
    free = harness.read(filters.FDIRFREE)
    add_perfect(harness, 1, 7)
    assert harness.read(filters.FDIRFREE) == free - 1
    harness.write(filters.FDIRCMD, QUERY)
    assert harness.read(filters.FDIRCMD) & VALID
    harness.write(filters.FDIRCMD, REMOVE)
    harness.write(filters.FDIRCMD, QUERY)
    assert not harness.read(filters.FDIRCMD) & VALID
    assert harness.read(filters.FDIRFREE) == free
    assert harness.receive(frames.tcp(sport=SPORT))[0].queue == 0


@pytest.mark.parametrize("right", [True, False])
def test_a_signature_filter(harness: Harness, right: bool) -> None:
    """Bucket and signature must both be those of the packet; the EtherType is its flexible word."""
    enable(harness, 0)
    stream = words(flex=0x0800)
    bucket = hash16(BUCKET_KEY, stream) & 0x1FFF
    signature = hash16(SIGNATURE_KEY, stream) & 0x7FFF
    harness.write(filters.FDIRHASH, (signature if right else signature ^ 1) << 16 | bucket)
    harness.write(filters.FDIRCMD, ADD | TCP << 5 | QUEUE_EN | LAST | 1 << 16)
    assert harness.receive(frames.tcp(sport=SPORT))[0].queue == (1 if right else 0)


def test_a_full_table_counts_failures(harness: Harness) -> None:
    enable(harness, 1 << 4)
    capacity = harness.read(filters.FDIRFREE)
    for index in range(capacity + 2):
        harness.write(filters.FDIRHASH, (index & 0x7FFF) << 16)
        harness.write(filters.FDIRCMD, ADD | QUEUE_EN)
    assert harness.read(filters.FDIRFREE) == 0
    assert harness.read(filters.FDIRFSTAT) == 2
