# SPDX-License-Identifier: GPL-2.0-or-later
"""The metadata of each received frame, as a program bound to the device reads it: ``xdp_rx_metadata`` of guest-images/bpf.

Source: Documentation/networking/xdp-rx-metadata.rst; net/core/xdp.c, bpf_xdp_metadata_rx_….
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from plugfest.frames.dissect import dissect
from plugfest.frames.toeplitz import PORT_DESTINATION, PORT_SOURCE, hashed, toeplitz
from plugfest.machine.agent import AgentError
from plugfest.statistics.queue_counters import of_frames

if TYPE_CHECKING:
    from plugfest.frames.probe import Probe
    from plugfest.traffic.traffic import Traffic
    from plugfest.xdp.programs import Program, Xdp


PROGRAM = "xdp_rx_metadata"
"""The program of guest-images/bpf that calls the kfuncs."""
RSS_L3 = {4: 1 << 0, 6: 1 << 1}
"""XDP_RSS_L3_IPV4 and XDP_RSS_L3_IPV6 (include/net/xdp.h, enum xdp_rss_hash_type), by IP version."""
RSS_L4, RSS_L4_UDP = 1 << 3, 1 << 5
"""XDP_RSS_L4, which drivers must set where ports enter the hash, and the protocol's own, which they may."""
RSS_L4_PROTOCOLS = 0x1F << 4


class KfuncResult(NamedTuple):
    """What a kfunc returned.

    Attributes:
        status: 0, or a negative errno.
        values: what it reported: of ``timestamp`` nanoseconds; of ``hash`` that and its type (enum xdp_rss_hash_type); of
            ``vlan-tag`` the protocol identifier and the tag's control information.
    """

    status: int
    values: tuple[int, ...]


RxMetadata = dict[str, KfuncResult]
"""Of one frame, by the names of ``xdp-rx-metadata`` in netdev.yaml."""


class RxMetadataReader:
    """The program, attached in native mode.

    Attributes:
        program: loaded, bound to the device.
    """

    def __init__(self, xdp: Xdp) -> None:
        """Load it for the interface under test, and attach it; both are undone when the test ends."""
        self._xdp = xdp
        self.program: Program = xdp.load(PROGRAM, bound=True)
        xdp.attach_program(self.program)

    def read(
        self, traffic: Traffic, probes: Sequence[Probe], on_wire: Mapping[bytes, bytes] | None = None
    ) -> list[RxMetadata]:
        """Send probes, and return the metadata of each, in their order.

        Args:
            traffic: sends them.
            probes: as the program is to see them.
            on_wire: what to send for a frame, as one with a tag that the device takes out; without, the frame.

        Raises:
            AssertionError: the program did not see each of them once.
        """
        self._xdp.clear(self.program)
        traffic.send([replace(probe, frame=on_wire[probe.frame]) for probe in probes] if on_wire else probes)
        self._xdp.wait(of_frames(probe.frame for probe in probes), self.program)
        last = max(probe.number for probe in probes)
        table = self._xdp.agent.call("bpf.map_counters", map=self.program.maps["rx_metadata"], keys=last + 1)
        return [_rx_metadata(table[probe.number]) for probe in probes]


def _rx_metadata(row: Sequence[int]) -> RxMetadata:
    frames, stamp_status, stamp, hash_status, value, kind, vlan_status, protocol, tci = row
    assert frames == 1, f"expected the program to see a frame once, found {frames} times"
    return {
        "timestamp": KfuncResult(_signed(stamp_status), (stamp,)),
        "hash": KfuncResult(_signed(hash_status), (value, kind)),
        "vlan-tag": KfuncResult(_signed(vlan_status), (protocol, tci)),
    }


def check_hashes(probes: Sequence[Probe], results: Sequence[KfuncResult], key: bytes, choices: Sequence[int]) -> int:
    """Check the reported hashes of UDP frames, which may be missing for some (ENODATA); returns how many there were.

    Args:
        probes: of one IP version.
        results: of ``hash``, in their order.
        key: of the Toeplitz hash.
        choices: header fields (RXH_…) that may enter the hash, the same for all of the frames.

    Raises:
        AssertionError: there was none, one is not the frame's own, or its type is not what the kernel requires.
    """
    reported = [(probe, result.values) for probe, result in zip(probes, results, strict=True) if result.status == 0]
    assert reported, f"no hash is reported for any of {len(probes)} frames"
    found = [value for _, (value, _) in reported]
    wanted = {
        fields: [toeplitz(key, hashed(dissect(probe.frame), fields)) for probe, _ in reported] for fields in choices
    }
    fields = next((fields for fields, hashes in wanted.items() if hashes == found), None)
    assert fields is not None, f"expected {_some(wanted[choices[0]])}, found {_some(found)}"
    for probe, (_, kind) in reported:
        named = f"the hash of an IPv{probe.version} frame has the type 0x{kind:x}"
        assert kind & sum(RSS_L3.values()) == RSS_L3[probe.version], f"{named}: another IP version"
        ports = bool(fields & (PORT_SOURCE | PORT_DESTINATION))
        assert bool(kind & RSS_L4) == ports, f"{named}, though ports {'enter' if ports else 'do not enter'} it"
        assert kind & RSS_L4_PROTOCOLS in (0, RSS_L4_UDP if ports else 0), f"{named}: another protocol"
    return len(reported)


def _some(hashes: Sequence[int]) -> str:
    return " ".join(f"{each:08x}" for each in hashes[:3]) + "…"


def try_load_unbound(xdp: Xdp) -> AgentError | None:
    """Load the program bound to no device; returns the error, None if it was loaded."""
    try:
        xdp.load(PROGRAM)
    except AgentError as error:
        return error
    return None


def try_attach_generic(xdp: Xdp) -> AgentError | None:
    """Try to attach the program, bound to the device, in generic mode; returns the error, None if it was attached."""
    return xdp.try_attach_program(xdp.load(PROGRAM, bound=True), "generic")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
