# SPDX-License-Identifier: GPL-2.0-or-later
"""A process in the guest that carries out the agent's methods, and can be killed or confined (guest-images/agent/process/worker.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plugfest.machine.agent import kernel_error

if TYPE_CHECKING:
    from plugfest.machine.agent import AgentClient, AgentError

EXIT_TIMEOUT = 10.0
"""Seconds for a process to end: the kernel gives its queues back before it is gone."""


class Worker:
    """One such process.

    Attributes:
        pid: its process id in the guest.
    """

    def __init__(self, agent: AgentClient) -> None:
        """Start it."""
        self._agent = agent
        started = agent.call("worker.start")
        self._handle: int = started["handle"]
        self.pid: int = started["pid"]

    def call(self, method: str, /, **params: Any) -> Any:
        """Have it carry out one of the agent's methods.

        Raises:
            AgentError: the method failed there.
        """
        limit = {"timeout": params["timeout"]} if "timeout" in params else {}
        return self._agent.call("worker.call", worker=self._handle, method=method, params=params, **limit)

    def try_call(self, method: str, /, **params: Any) -> AgentError | None:
        """Have it carry out a method; returns the error of the kernel, None if it was done.

        Raises:
            AgentError: it failed, but not in the kernel.
        """
        return kernel_error(lambda: self.call(method, **params))

    def end(self, *, kill: bool = False) -> None:
        """Have it exit, or kill it, and wait until it has closed everything.

        Raises:
            AssertionError: it did not end in time: something in the kernel holds it.
        """
        gone = self._agent.call("worker.end", worker=self._handle, kill=kill, timeout=EXIT_TIMEOUT)
        assert gone, (
            f"process {self.pid} has not ended {EXIT_TIMEOUT:.0f} s after it was {'killed' if kill else 'asked to'}"
        )

    def close(self) -> None:
        """Kill it, whatever it does, and wait until it is gone."""
        self.end(kill=True)
        self._agent.call("handle.close", handle=self._handle)
