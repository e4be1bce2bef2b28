# SPDX-License-Identifier: GPL-2.0-or-later
"""The program that moves the ends of frames as configured: ``xdp_adjust`` of guest-images/bpf.

Source: include/uapi/linux/bpf.h, bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_adjust_meta, enum xdp_action, struct bpf_devmap_val.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plugfest.xdp.programs import Program, Xdp

FILLER = 256
"""Bytes that may be put before a frame, and behind it."""

_ADJUSTMENT = struct.Struct(f"=iiIi{FILLER}s{FILLER}s")
_MOVES = ("head", "tail", "meta")
_FIRST = struct.pack("=I", 0)


class Action(IntEnum):
    """Enum xdp_action."""

    ABORTED = 0
    DROP = 1
    PASS = 2
    TX = 3
    REDIRECT = 4


UNCHANGED = _ADJUSTMENT.pack(0, 0, Action.PASS, 0, b"", b"")
"""What the program's map holds where it is to pass frames as they are."""


@dataclass(frozen=True)
class Answers:
    """What the helper of one move returned, over all frames.

    Attributes:
        accepted: frames for which it moved the end.
        rejected: frames for which it returned an error.
    """

    accepted: int
    rejected: int


class Adjustment:
    """The program, loaded and configured.

    Attributes:
        program: loaded, not attached.
    """

    def __init__(self, xdp: Xdp, *, mode: str = "native", fragments: bool = False) -> None:
        """Load it, for frames in several buffers if `fragments` is set."""
        self._xdp = xdp
        self._mode = mode
        self._attached = False
        self.program: Program = xdp.load("xdp_adjust_frags" if fragments else "xdp_adjust")
        xdp.agent.batch([self._writing(0, 0, 0, Action.PASS, b"", b"")])

    def configure(
        self,
        *,
        head: int = 0,
        tail: int = 0,
        meta: int = 0,
        verdict: Action = Action.PASS,
        before: bytes = b"",
        behind: bytes = b"",
    ) -> None:
        """Configure what is done to test frames, and attach the program if it is not; its counters start at zero.

        Args:
            head: bytes to move the frame's head by; below zero they are put before the frame.
            tail: bytes to move its end by; above zero they are put behind it.
            meta: bytes to move the beginning of its metadata by; below zero there is room for them before the frame.
            verdict: what to return then.
            before: what the bytes put before the frame become.
            behind: likewise those behind it.
        """
        clearing = [("bpf.map_clear", {"map": self.program.maps[name]}) for name in ("answers", "count")]
        self._xdp.agent.batch([*clearing, self._writing(head, tail, meta, verdict, before, behind)])
        if not self._attached:
            self._xdp.attach_program(self.program, self._mode)
            self._attached = True

    def aim(self, ifname: str, program: Program | None = None) -> None:
        """Let redirected frames go to an interface, through a second program if one is given."""
        index = self._xdp.agent.call("link.get", ifname=ifname)["ifindex"]
        self._xdp.agent.call(
            "bpf.map_set_program",
            map=self.program.maps["target"],
            key=_FIRST.hex(),
            value=struct.pack("=I", index).hex(),
            program=program.handle if program else None,
        )

    def answers(self) -> dict[str, Answers]:
        """What the helpers returned since `configure`: by ``head``, ``tail`` and ``meta``."""
        counters = self._xdp.agent.call("bpf.map_counters", map=self.program.maps["answers"])
        return {end: Answers(*counts) for end, counts in zip(_MOVES, counters, strict=True)}

    def _writing(
        self, head: int, tail: int, meta: int, verdict: Action, before: bytes, behind: bytes
    ) -> tuple[str, dict[str, object]]:
        """Return the agent's call that configures it."""
        value = _ADJUSTMENT.pack(head, tail, verdict, meta, before, behind)
        return "bpf.map_update", {"map": self.program.maps["adjustment"], "key": _FIRST.hex(), "value": value.hex()}
