# SPDX-License-Identifier: GPL-2.0-or-later
"""What the device says of each received frame, as a program bound to it hears it: ``xdp_hints`` of guest-images/bpf.

Source: Documentation/networking/xdp-rx-metadata.rst; net/core/xdp.c, bpf_xdp_metadata_rx_….
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from plugfest import faults as fault_points
from plugfest.agent import AgentError
from plugfest.queue_counters import of_frames

if TYPE_CHECKING:
    from plugfest.faults import LocalFaults
    from plugfest.probe import Probe
    from plugfest.traffic import Traffic
    from plugfest.xdp import Program, Xdp

OF_ANOTHER = fault_points.declare(
    "program:hints.of-another-frame", "of each frame, what was said of the one before it is told"
)
INVENTED = fault_points.declare("program:hints.invented", "what the driver refuses to say is told as said, and 0")
UNREFUSED = fault_points.declare("program:hints.refusal-lost", "a program that was refused is told as accepted")


class Answer(NamedTuple):
    """What a kfunc answered.

    Attributes:
        status: 0, or a negative errno.
        values: what it said: of ``timestamp`` nanoseconds; of ``hash`` that and its type (enum xdp_rss_hash_type); of
            ``vlan-tag`` the protocol identifier and the tag's control information.
    """

    status: int
    values: tuple[int, ...]


Hints = dict[str, Answer]
"""Of one frame, by the names of ``xdp-rx-metadata`` in netdev.yaml."""


class HintsReader:
    """The program, attached in native mode.

    Attributes:
        program: loaded, bound to the device.
    """

    def __init__(self, xdp: Xdp, faults: LocalFaults) -> None:
        """Load it for the interface under test, and attach it; both are undone when the test ends."""
        self._xdp = xdp
        self._faults = faults
        self.program: Program = xdp.load("xdp_hints", bound=True)
        xdp.put(self.program)

    def hear(self, traffic: Traffic, probes: Sequence[Probe]) -> list[Hints]:
        """Send probes, and return what was said of each, in their order.

        Raises:
            AssertionError: the program did not see each of them once.
        """
        self._xdp.clear(self.program)
        traffic.send(probes)
        self._xdp.wait(of_frames(probe.frame for probe in probes), self.program)
        last = max(probe.number for probe in probes)
        table = self._xdp.agent.call("bpf.map_counters", map=self.program.maps["hints"], keys=last + 1)
        told = [self._hints(table[probe.number]) for probe in probes]
        return [told[-1], *told[:-1]] if self._faults[OF_ANOTHER] else told

    def _hints(self, row: Sequence[int]) -> Hints:
        frames, stamp_answer, stamp, hash_answer, value, kind, vlan_answer, protocol, tci = row
        assert frames == 1, f"expected the program to see a frame once, found {frames} times"
        answers = {
            "timestamp": Answer(_signed(stamp_answer), (stamp,)),
            "hash": Answer(_signed(hash_answer), (value, kind)),
            "vlan-tag": Answer(_signed(vlan_answer), (protocol, tci)),
        }
        if not self._faults[INVENTED]:
            return answers
        return {name: Answer(0, answer.values) for name, answer in answers.items()}


def refusal_unbound(xdp: Xdp, faults: LocalFaults) -> AgentError | None:
    """Load the program bound to no device; returns the refusal, None if it was loaded."""
    try:
        xdp.load("xdp_hints")
    except AgentError as error:
        return None if faults[UNREFUSED] else error
    return None


def refusal_generic(xdp: Xdp, faults: LocalFaults) -> AgentError | None:
    """Ask to attach the program, bound to the device, in generic mode; returns the refusal, None if it was attached."""
    refused = xdp.ask(xdp.load("xdp_hints", bound=True), "generic")
    return None if faults[UNREFUSED] else refused


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
