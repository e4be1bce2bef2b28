# SPDX-License-Identifier: GPL-2.0-or-later
"""Shows, before the first test on a real machine, that its interface and the far one are the two ends of a wire that nobody else uses."""

from __future__ import annotations

import base64
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from plugfest.errors import InfrastructureError
from plugfest.machine.agent import AgentError

if TYPE_CHECKING:
    from plugfest.machine.machine import Machine
    from plugfest.machine.remote import Capture

ARRIVAL_TIMEOUT = 60.0
"""Seconds for a frame to arrive each way: a link that is up may still be in training, at either end."""
QUIET = 3.0
"""Seconds in which no frame of another sender may come; a switch that speaks the spanning tree protocol sends one every two."""
_AGAIN = 0.5
"""Seconds after which a frame that has not arrived is sent again."""
_ETHERTYPE = b"\x88\xb5"
"""For local experiments (IEEE 802)."""
_SHORTEST = 60


def check(machine: Machine, ends: str) -> None:
    """Send a marked frame each way until both have arrived; then listen for others.

    Args:
        machine: whose interface is up.
        ends: names the two ends, for the message.

    Raises:
        InfrastructureError: one does not arrive, or somebody else sends.
    """
    ours = _address(str(machine.agent.call("link.get", ifname=machine.ifname)["address"]))
    remote = _address(machine.remote.mac)
    mark = _ETHERTYPE + b"plugfest" + secrets.token_bytes(8)
    there, back = ((pair + mark).ljust(_SHORTEST, b"\0") for pair in (ours + remote, remote + ours))
    with machine.remote.capture() as seen:
        lacking = _exchange(machine, seen, there, back)
        if lacking:
            raise InfrastructureError(
                f"{ends}: expected both ends on one wire, a frame each way within {ARRIVAL_TIMEOUT:.0f} s, found none at "
                f"{' and none at '.join(lacking)}; join the two by a cable of their own"
            )
        seen.wait(lambda _: False, QUIET)
        others = {frame[6:12] for frame in seen.received()} - {ours, remote, _address(machine.mac)}
    if others:
        names = ", ".join(each.hex(":") for each in sorted(others))
        raise InfrastructureError(
            f"{ends}: expected a wire that nobody else uses, found frames of {names}; join the two by a cable of their own"
        )


def _exchange(machine: Machine, seen: Capture, there: bytes, back: bytes) -> list[str]:
    """Return the ends at which nothing has arrived in time."""
    agent, deadline = machine.agent, machine.deadline(ARRIVAL_TIMEOUT)
    lacking = {"the machine": there, "the far end": back}
    packet = agent.call("packet.open", ifname=machine.ifname)
    try:
        while lacking and not deadline.passed and machine.gone() is None:
            machine.remote.send(there)
            marked, begun = _encoded(back), _encoded(there)
            with suppress(AgentError):  # without a link it is not sent, or more came than could wait
                agent.call("packet.send", packet=packet, frames=[marked])
                found = agent.call("packet.receive", packet=packet, count=1 << 14, timeout=_AGAIN, last=begun)
                if any(each["frame"] == begun for each in found):
                    lacking.pop("the machine", None)
            if seen.wait(lambda frames: back in frames, _AGAIN):
                lacking.pop("the far end", None)
    finally:
        agent.call("handle.close", handle=packet)
    return list(lacking)


def _address(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _encoded(frame: bytes) -> str:
    return base64.b64encode(frame).decode()
