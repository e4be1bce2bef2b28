# SPDX-License-Identifier: GPL-2.0-or-later
"""Who polls a device: each poll of the interface's NAPI instances, and the interrupts that went with them.

A poll is known by its budget: that of an interrupt's is the driver's weight, that of a socket's own the socket's (SO_BUSY_POLL_BUDGET).

Source: include/trace/events/napi.h; Documentation/networking/napi.rst; net/core/dev.c, __napi_busy_loop.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plugfest.machine.agent import AgentClient

EVENT = "napi:napi_poll"
_TEXT = re.compile(
    r"napi struct (?P<napi>\S+) for device (?P<device>\S+) work (?P<work>-?\d+) budget (?P<budget>-?\d+)"
)


@dataclass(frozen=True)
class Poll:
    """One poll.

    Attributes:
        napi: the instance, by what stands for its address.
        work: packets that it has received, by the driver's account.
        budget: that it might.
    """

    napi: str
    work: int
    budget: int


@dataclass
class NapiPolls:
    """What happened while `watch` was open; empty before it is over.

    Attributes:
        polls: of the interface, in order.
        interrupts: how many there were, by number of the interrupt.
    """

    polls: list[Poll] = field(default_factory=list)
    interrupts: dict[int, int] = field(default_factory=dict)

    def of(self, budget: int) -> list[Poll]:
        """Return the polls with this budget."""
        return [each for each in self.polls if each.budget == budget]

    def others(self, budget: int) -> list[Poll]:
        """Return those with another budget, of the NAPI instances that were polled with this one too.

        A queue that only sends may have an instance of its own, whose interrupts are not deferred.
        """
        mine = {each.napi for each in self.of(budget)}
        return [each for each in self.polls if each.budget != budget and each.napi in mine]


@contextmanager
def watch(agent: AgentClient, ifname: str, irqs: Collection[int]) -> Iterator[NapiPolls]:
    """Record the polls of an interface, and count these interrupts."""
    seen = NapiPolls()
    before = _counted(agent, irqs)
    handle = agent.call("trace.open", events=[EVENT])
    try:
        yield seen
        entries = agent.call("trace.read", trace=handle)
        seen.polls = list(polls_of([each["text"] for each in entries], ifname))
        after = _counted(agent, irqs)
        seen.interrupts = {irq: after[irq] - before[irq] for irq in before}
    finally:
        agent.call("handle.close", handle=handle)


def polls_of(texts: list[str], ifname: str) -> Iterator[Poll]:
    """Read the lines of the tracepoint, without those of other interfaces."""
    for text in texts:
        match = _TEXT.search(text)
        if match and match["device"] == ifname:
            yield Poll(match["napi"], int(match["work"]), int(match["budget"]))


def _counted(agent: AgentClient, irqs: Collection[int]) -> dict[int, int]:
    counts = {each["irq"]: each["count"] for each in agent.call("system.interrupts")}
    return {irq: counts[str(irq)] for irq in irqs}
