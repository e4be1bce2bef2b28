# SPDX-License-Identifier: GPL-2.0-or-later
"""The receive queues of an interface as netlink shows them: queue-get, napi-get, page-pool-get, and the ring size.

Source: Documentation/netlink/specs/netdev.yaml.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plugfest.machine.agent import AgentError, KernelLacksError

if TYPE_CHECKING:
    from plugfest.machine.agent import AgentClient


PROVIDERS = ("dmabuf", "io-uring")


@dataclass(frozen=True)
class QueueState:
    """One receive queue.

    Attributes:
        index: its number.
        napi: id of its NAPI instance, None where it has none.
        irq: of that, None where the driver reports none.
        provider: dmabuf or io-uring, or None while it receives into the kernel's own memory.
        lease: of a virtual device's queue that it is lent to, None where it is not.
    """

    index: int
    napi: int | None
    irq: int | None
    provider: str | None = None
    lease: Mapping[str, Any] | None = None


class QueueView:
    """The receive queues of one interface."""

    def __init__(self, agent: AgentClient, ifname: str) -> None:
        """Read nothing yet."""
        self._agent = agent
        self._ifname = ifname

    def states(self) -> dict[int, QueueState]:
        """Return every receive queue by its number; empty while the interface is down."""
        irqs = {napi["id"]: napi.get("irq") for napi in self._agent.call("netdev.napi_get", ifname=self._ifname)}
        return {queue["id"]: self._state(queue, irqs) for queue in self.queues()}

    @staticmethod
    def _state(queue: Mapping[str, Any], irqs: Mapping[int, int | None]) -> QueueState:
        napi = queue.get("napi-id")
        return QueueState(
            index=queue["id"],
            napi=napi,
            irq=irqs.get(napi) if napi is not None else None,
            provider=next((name for name in PROVIDERS if name in queue), None),
            lease=queue.get("lease"),
        )

    def queues(self) -> list[dict[str, Any]]:
        """Return the receive queues as netlink reports them; empty while the interface is down."""
        found: list[dict[str, Any]] = self._agent.call("netdev.queue_get", ifname=self._ifname, type="rx")
        return found

    def bound(self) -> dict[int, str]:
        """Return which queues receive into memory that was bound to them, and of what kind that is."""
        return {queue["id"]: name for queue in self.queues() for name in PROVIDERS if name in queue}

    def bindings(self) -> dict[int, int]:
        """Return the id of the binding of each queue that a dma-buf is bound to."""
        return {queue["id"]: queue["dmabuf"] for queue in self.queues() if "dmabuf" in queue}

    def pools(self) -> list[dict[str, Any]]:
        """Return the interface's page pools; empty where the kernel reports none."""
        try:
            found: list[dict[str, Any]] = self._agent.call("netdev.page_pool_get", ifname=self._ifname)
        except AgentError as error:
            if error.errno not in {errno.EOPNOTSUPP, errno.ENOENT}:
                raise
            return []
        except KernelLacksError:
            return []
        return found

    def bound_pools(self) -> list[dict[str, Any]]:
        """Return those whose memory was bound."""
        return [pool for pool in self.pools() if any(name in pool for name in PROVIDERS)]

    def leaked_pools(self) -> list[dict[str, Any]]:
        """Return every page pool of the guest, whosever it is, that has outlived its queue, or whose memory was bound."""
        found: list[dict[str, Any]] = self._agent.call("netdev.page_pool_get")
        return [pool for pool in found if "detach-time" in pool or any(name in pool for name in PROVIDERS)]
