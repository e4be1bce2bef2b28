# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory of a process in the guest that the device sends from: a dma-buf that is bound to the interface by bind-tx.

Source: Documentation/networking/devmem.rst, TX Interface.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from plugfest.machine.agent import AgentError, kernel_error
from plugfest.queues.memory_provider import LENGTH

if TYPE_CHECKING:
    from plugfest.machine.worker import Worker


@dataclass(frozen=True)
class TxDmabufResult:
    """The result of one connection that memory was sent over.

    Attributes:
        length: bytes that the kernel took.
        sends: calls that it took.
        completed: how many of these the kernel reported as completed, so that the memory may be reused.
        copied: how many of these it had copied after all.
    """

    length: int
    sends: int
    completed: int
    copied: int


class TxDmabuf:
    """A udmabuf of a process of its own, not yet bound."""

    def __init__(self, worker: Worker, ifname: str) -> None:
        """Allocate it."""
        self._worker = worker
        self._ifname = ifname
        self._buffer: int = worker.call("udmabuf.create", length=LENGTH)
        self._binding: int | None = None
        self._handle: int | None = None

    def try_bind(self) -> AgentError | None:
        """Try to bind to the interface; returns the error, None if it was bound.

        Raises:
            AgentError: it failed, but not in the kernel.
        """

        def bind() -> None:
            made = self._worker.call("devmem.bind_tx", ifname=self._ifname, buffer=self._buffer)
            self._binding, self._handle = int(made["id"]), int(made["handle"])

        return kernel_error(bind)

    @property
    def bound(self) -> bool:
        """Whether a binding was made, and not closed."""
        return self._handle is not None

    def unbind(self) -> None:
        """Close what the memory was bound by; sending with the binding's id now fails."""
        if self._handle is not None:
            self._worker.call("handle.close", handle=self._handle)
            self._handle = None

    def pages(self) -> list[int]:
        """Return the physical address of each page of the memory."""
        found: list[int] = self._worker.call("udmabuf.pages", buffer=self._buffer)
        return found

    def send(self, address: str, port: int, length: int, *, seed: int, timeout: float) -> TxDmabufResult | AgentError:
        """Fill the memory with a stream (`plugfest.frames.payload`) and send it by TCP; returns the error if the kernel rejects it.

        Args:
            address: where to.
            port: of the remote end.
            length: bytes, at most `LENGTH`.
            seed: of the stream.
            timeout: seconds.

        Raises:
            AgentError: it failed, but not in the kernel.
        """
        try:
            found = self._worker.call(
                "devmem_tx.send",
                address=address,
                port=port,
                buffer=self._buffer,
                length=length,
                seed=seed,
                binding=self._binding,
                device=self._ifname,
                timeout=timeout,
            )
        except AgentError as error:
            if error.errno is None:
                raise
            return error
        return TxDmabufResult(found["bytes"], found["sends"], found["completed"], found["copied"])
