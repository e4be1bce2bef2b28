# SPDX-License-Identifier: GPL-2.0-or-later
"""Reported RX hashes: a correct one is accepted, and each kind of wrong one fails."""

from __future__ import annotations

import pytest
from plugfest.frames.dissect import dissect
from plugfest.frames.probe import Ends, Probe, burst
from plugfest.frames.toeplitz import hashed, toeplitz
from plugfest.xdp.rx_metadata import RSS_L3, RSS_L4, RSS_L4_UDP, KfuncResult, check_hashes

KEY = bytes(range(7, 59))
ADDRESSES, ALL = 0x30, 0xF0
ENODATA = KfuncResult(-61, (0, 0))
ENDS = Ends(
    "02:00:00:00:00:01",
    "02:00:00:00:00:02",
    {4: "198.18.0.2", 6: "2001:db8::2"},
    {4: "198.18.0.0/16", 6: "2001:db8::/64"},
)


def probes(version: int) -> list[Probe]:
    return burst(ENDS, flows=8, sizes=(64, 128), versions=(version,))


def answers(version: int, fields: int, kind: int) -> list[KfuncResult]:
    return [KfuncResult(0, (toeplitz(KEY, hashed(dissect(probe.frame), fields)), kind)) for probe in probes(version)]


@pytest.mark.parametrize("version", [4, 6])
def test_hashes_of_ports_or_addresses_are_accepted(version: int) -> None:
    network = RSS_L3[version]
    assert check_hashes(probes(version), answers(version, ALL, network | RSS_L4), KEY, [ALL, ADDRESSES]) == 8
    assert check_hashes(probes(version), answers(version, ALL, network | RSS_L4 | RSS_L4_UDP), KEY, [ALL]) == 8
    assert check_hashes(probes(version), answers(version, ADDRESSES, network), KEY, [ALL, ADDRESSES]) == 8
    some = [ENODATA, *answers(version, ADDRESSES, network)[1:]]
    assert check_hashes(probes(version), some, KEY, [ADDRESSES]) == 7


@pytest.mark.parametrize(
    ("fields", "kind", "choices", "message"),
    [
        (ADDRESSES, RSS_L3[6], [ADDRESSES], "another IP version"),
        (ADDRESSES, 0, [ADDRESSES], "another IP version"),
        (ALL, RSS_L3[4], [ALL], "though ports enter it"),
        (ADDRESSES, RSS_L3[4] | RSS_L4, [ADDRESSES], "though ports do not enter it"),
        (ALL, RSS_L3[4] | RSS_L4 | 1 << 4, [ALL], "another protocol"),
        (ADDRESSES, RSS_L3[4], [ALL], "expected"),
    ],
)
def test_a_wrong_type_or_hash_fails(fields: int, kind: int, choices: list[int], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_hashes(probes(4), answers(4, fields, kind), KEY, choices)


def test_at_least_one_hash_must_be_reported() -> None:
    with pytest.raises(AssertionError, match="no hash is reported for any of 8 frames"):
        check_hashes(probes(6), [ENODATA] * 8, KEY, [ALL])
