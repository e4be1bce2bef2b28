# SPDX-License-Identifier: GPL-2.0-or-later
"""Socket buffers between the guest's network stack and the driver, with their metadata.

The tracepoints at the entries of napi_gro_receive, napi_gro_frags and netif_receive_skb, and ``net:net_dev_start_xmit``, stand at
exactly that boundary: what the driver
claims of a received frame (queue, hash, checksum, VLAN tag), and what the stack asks the driver to do with a sent one
(checksum, segmentation, VLAN tag).

Source: include/trace/events/net.h; include/linux/skbuff.h (CHECKSUM_NONE …).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plugfest.machine.agent import AgentClient

RECEIVED = ("net:napi_gro_receive_entry", "net:napi_gro_frags_entry", "net:netif_receive_skb_entry")
"""By which a driver passes a buffer to the stack; a buffer in GRO passes none of them a second time."""
SENT = ("net:net_dev_start_xmit",)
_ETHERNET = 14


class Checksum(IntEnum):
    """ip_summed of a socket buffer."""

    NONE = 0
    UNNECESSARY = 1
    COMPLETE = 2
    PARTIAL = 3


@dataclass(frozen=True)
class Skb:
    """One socket buffer at the boundary.

    Attributes:
        received: whether the driver passed it to the stack; else the stack passed it to the driver.
        length: bytes, with the Ethernet header and without an accelerated VLAN tag.
        linear: bytes of it that are not in page fragments.
        protocol: the EtherType that the stack goes by.
        queue: of the driver; None where the driver recorded no receive queue.
        checksum: ip_summed: what the driver reports of the checksum, or what the stack requests.
        tag: tag control information of an accelerated VLAN tag; None without.
        hash: receive hash, None where the driver reports none (or 0).
        layer4: whether the hash covers ports.
        segment: bytes of payload a segment, 0 where the buffer is one frame.
    """

    received: bool
    length: int
    linear: int
    protocol: int
    queue: int | None
    checksum: Checksum
    tag: int | None
    hash: int | None
    layer4: bool
    segment: int


class SkbTrace:
    """The buffers of one interface since `watch` began."""

    def __init__(self, agent: AgentClient, ifname: str, handle: int) -> None:
        """Read from a recording of the agent."""
        self._agent = agent
        self._ifname = ifname
        self._handle = handle
        self._last: list[Skb] | None = None

    def skbs(self) -> list[Skb]:
        """Return all, in order."""
        if self._last is not None:
            return self._last
        entries = self._agent.call("trace.read", trace=self._handle)
        return [skb_of(entry) for entry in entries if entry["fields"].get("dev") == self._ifname]

    def received(self) -> list[Skb]:
        """Return what the driver passed to the stack."""
        return [each for each in self.skbs() if each.received]

    def sent(self) -> list[Skb]:
        """Return what the stack passed to the driver."""
        return [each for each in self.skbs() if not each.received]

    def close(self) -> None:
        """Stop; what was seen stays readable."""
        self._last = self.skbs()
        self._agent.call("handle.close", handle=self._handle)


@contextmanager
def trace_skbs(agent: AgentClient, ifname: str, events: tuple[str, ...] = RECEIVED + SENT) -> Iterator[SkbTrace]:
    """Trace socket buffers while the block runs."""
    trace = SkbTrace(agent, ifname, agent.call("trace.open", events=list(events)))
    try:
        yield trace
    finally:
        trace.close()


def skb_of(entry: Mapping[str, Any]) -> Skb:
    """Turn one line of the trace, as the agent's ``trace.read`` returns it, into a buffer."""
    fields: Mapping[str, str] = entry["fields"]

    def number(name: str) -> int:
        return int(fields.get(name, "0"), 0)

    received = f"net:{entry['event']}" in RECEIVED
    # eth_type_trans() has taken the Ethernet header off a received buffer by then.
    length = number("len") + (_ETHERNET if received else 0)
    queue = number("queue_mapping")
    return Skb(
        received=received,
        length=length,
        linear=length - number("data_len"),
        protocol=number("protocol"),
        # skb_record_rx_queue() keeps 0 for "not recorded".
        queue=(queue - 1 if queue else None) if received else queue,
        checksum=Checksum(number("ip_summed")),
        tag=number("vlan_tci") if number("vlan_tagged") else None,
        hash=number("hash") or None,
        layer4=bool(number("l4_hash")),
        segment=number("gso_size"),
    )
