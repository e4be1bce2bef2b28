# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import pytest
from frame_strategies import packets
from hypothesis import given
from hypothesis import strategies as st
from nicmodels.offload import vlan
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw


@given(packets(), st.integers(0, 0xFFFF), st.integers(0, 30), st.sampled_from((0x8100, 0x88A8)))
def test_insert_then_strip(packet: Packet, tci: int, place: int, tpid: int) -> None:
    frame = bytes(packet)
    tagged = b"".join(vlan.insert([frame[:place], frame[place:]], tci, tpid))
    outer = Ether(tagged).payload
    assert isinstance(outer, Dot1Q if tpid == 0x8100 else Dot1AD)
    assert (int(outer.prio) << 13 | outer.dei << 12 | outer.vlan) == tci
    found, rest = vlan.strip(tagged, tpid)
    assert (found, b"".join(rest)) == (tci, frame)


def test_untagged_stays() -> None:
    frame = bytes(Ether(type=0x0800) / Raw(bytes(46)))
    assert vlan.strip(frame) == (None, [frame])
    assert vlan.tag_of(bytes(Ether() / Dot1AD(vlan=1))) is None


def test_short_frames() -> None:
    assert vlan.strip(b"\x81\x00" * 7) == (None, [b"\x81\x00" * 7])
    with pytest.raises(ValueError, match="at least 12"):
        vlan.insert([b"short"], 5)
