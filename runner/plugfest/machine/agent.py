# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's resident agent, over TCP: JSON lines (guest-images/agent/README.md has the protocol).

Not over SSH: in an emulated guest its encryption, and the process that joins a channel to the agent, cost as much as the calls.
"""

from __future__ import annotations

import itertools
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plugfest.deadline import Deadline, never
from plugfest.errors import InfrastructureError
from plugfest.machine.call_count import CallCount
from plugfest.machine.call_log import CallLog
from plugfest.machine.ssh import GuestGone

if TYPE_CHECKING:
    from plugfest.faults import Interposer

REPLY_TIMEOUT = 60.0
"""Seconds that a call may take beyond the ``timeout`` that it was itself asked to wait for."""

_LIVENESS_INTERVAL = 0.5
"""Seconds between two looks, while a reply is due, at whether the guest is still there."""


class AgentError(Exception):
    """The agent answered that a call failed.

    Attributes:
        type: the exception's name in the guest, as ``NetlinkError``.
        message: the reason.
        errno: the kernel's error number, or None where the failure was not the kernel's.
    """

    def __init__(self, method: str, type: str, message: str, errno: int | None) -> None:  # noqa: A002 - the protocol's word
        """Take the reply's ``error``."""
        number = "" if errno is None else f" (errno {errno})"
        super().__init__(f"{method}: {type}: {message}{number}")
        self.type = type
        self.message = message
        self.errno = errno

    @property
    def extack(self) -> str:
        """The extended acknowledgement: the message beyond the errno's own text, empty if there is none."""
        return self.message.removeprefix(os.strerror(self.errno or 0)).lstrip(": ")


class KernelLacksError(Exception):
    """The guest's kernel has no such interface, whatever the driver: a netlink family, an operation, an attribute, a kfunc.

    A test that one leaves is skipped.

    Attributes:
        what: the kernel lacks.
        evidence: how that shows.
    """

    def __init__(self, what: str, evidence: str) -> None:
        """Take both."""
        super().__init__(f"the kernel lacks {what}: {evidence}")
        self.what = what
        self.evidence = evidence


class NeedsModelError(Exception):
    """A real machine has no such thing, which a guest with one of our models has, or a guest at all.

    A test that one leaves is skipped.

    Attributes:
        what: a test needs.
        evidence: why there is none.
    """

    def __init__(self, what: str, evidence: str) -> None:
        """Take both."""
        super().__init__(f"needs the model: {what}: {evidence}")
        self.what = what
        self.evidence = evidence


def kernel_error(call: Callable[[], object]) -> AgentError | None:
    """Make a call; return the kernel's error, None if there is none.

    Raises:
        AgentError: the call failed, but not in the kernel.
    """
    try:
        call()
    except AgentError as error:
        if error.errno is None:
            raise
        return error
    return None


def result_or_error(call: Callable[..., Any], /, *args: Any, **params: Any) -> Any:
    """Make a call; return its result, or the exception that it raised."""
    try:
        return call(*args, **params)
    except Exception as error:
        return error


class AgentTimeout(TimeoutError):  # noqa: N818 - reads as what happened
    """The agent did not answer in time."""


class AgentClient:
    """One connection to the agent; answers come in order, so a call that blocks needs a connection of its own.

    The connection is made at the first call, and made anew after one that was cut off (a timeout, a test's budget): what the
    old one had opened in the guest is closed by the agent.
    """

    def __init__(
        self,
        address: tuple[str, int] | Path,
        *,
        alive: Callable[[], str | None] = lambda: None,
        reply_timeout: float = REPLY_TIMEOUT,
        interposer: Interposer | None = None,
        lost: Callable[[], float] = never,
        count: CallCount | None = None,
        log: CallLog | None = None,
        beside: bool = False,
    ) -> None:
        """Connect to nothing yet.

        Args:
            address: host and port of the agent; or the path of a Unix socket that reaches it.
            alive: returns None while the guest lives, else what happened to it.
            reply_timeout: seconds that a call may take beyond its own ``timeout`` parameter.
            interposer: consulted for each call of a run that falsifies.
            lost: returns the seconds that the host has lost so far.
            count: of the calls; None for one of its own.
            log: of the calls; None for one of its own.
            beside: whether the caller goes on with other things while a call waits; no time of it is then idle.
        """
        self._address = address
        self._alive = alive
        self._interposer = interposer
        self._lost = lost
        self.count = CallCount() if count is None else count
        self._log = CallLog() if log is None else log
        self._beside = beside
        self.reply_timeout = reply_timeout
        self._socket: socket.socket | None = None
        self._buffer = bytearray()
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()

    def another(self) -> AgentClient:
        """Return a second connection, for a call that blocks while others go on."""
        return AgentClient(
            self._address,
            alive=self._alive,
            reply_timeout=self.reply_timeout,
            interposer=self._interposer,
            lost=self._lost,
            count=self.count,
            log=self._log,
            beside=True,
        )

    def call(self, method: str, /, **params: Any) -> Any:
        """Call a method of the agent and return its result.

        A number in the parameter ``timeout`` is the method's own, and lengthens how long the answer may take.

        Args:
            method: as ``link.get``.
            params: of the method.

        Raises:
            AgentError: the method failed in the guest.
            KernelLacksError: the guest's kernel has no such interface.
            AgentTimeout: no answer in time.
            GuestGone: there is no guest any more.
        """
        if self._interposer is not None:
            return self._interposer("agent", method, params, self._call)
        return self._call(method, params)

    def batch(self, calls: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Any]:
        """Make calls in order, in one exchange; returns their results. After one that fails the rest is not made.

        A run that falsifies makes them one by one, since each may be changed.

        Args:
            calls: method and parameters of each.

        Raises:
            AgentError: one failed in the guest.
            AgentTimeout: no answer in time.
            GuestGone: there is no guest any more.
        """
        if self._interposer is not None:
            return [self.call(method, **params) for method, params in calls]
        replies = self._batch(calls, carry_on=False)
        return [_result(method, reply) for (method, _), reply in zip(calls, replies, strict=False)]

    def try_batch(self, calls: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Any]:
        """Make all calls in order, in one exchange, whatever fails; returns the result of each, or the exception that it raised.

        Args:
            calls: method and parameters of each.
        """
        if self._interposer is not None or len(calls) == 1:
            return [result_or_error(self.call, method, **params) for method, params in calls]
        try:
            replies = self._batch(calls, carry_on=True)
        except Exception as error:
            return [error] * len(calls)
        return [result_or_error(_result, method, reply) for (method, _), reply in zip(calls, replies, strict=True)]

    def _batch(self, calls: Sequence[tuple[str, Mapping[str, Any]]], *, carry_on: bool) -> list[dict[str, Any]]:
        waits = [params.get("timeout") for _, params in calls]
        timeout = sum(float(each) for each in waits if isinstance(each, int | float))
        requests = [{"method": method, "params": dict(params)} for method, params in calls]
        batch = {"calls": requests, "timeout": timeout, "carry_on": carry_on}
        found: list[dict[str, Any]] = self._call("agent.batch", batch)
        return found

    def _call(self, method: str, params: Mapping[str, Any]) -> Any:
        own = params.get("timeout")
        limit = self.reply_timeout + (float(own) if isinstance(own, int | float) else 0.0)
        begin = time.monotonic()
        reply: dict[str, Any] | None = None
        with self._lock:
            try:
                reply = self._exchange(method, params, limit)
            except BaseException:
                # Half a line may be left, or a late answer: the next call starts on a new connection.
                self.close()
                raise
            finally:
                self.count.calls += 1
                if own:
                    seconds = time.monotonic() - begin
                    self.count.waiting += seconds
                    if seconds >= own and not self._beside:
                        self.count.idle += own
                if reply is None:
                    self._note(method, params, {"error": {"message": "no answer"}})
        if method == "agent.batch" and reply.get("error") is None:
            for each, answer in zip(params["calls"], reply.get("result") or (), strict=False):
                self._note(each["method"], each["params"], answer)
        else:
            self._note(method, params, reply)
        return _result(method, reply)

    def _note(self, method: str, params: Mapping[str, Any], reply: Mapping[str, Any]) -> None:
        error = reply.get("error")
        text = "" if error is None else str(error.get("message"))
        self._log.call("agent", method, params, result=reply.get("result"), error=text)

    def _exchange(self, method: str, params: Mapping[str, Any], limit: float) -> dict[str, Any]:
        if self._socket is None:
            self._socket = self._connect(method, limit)
        number = next(self._numbers)
        line = (
            json.dumps({"id": number, "method": method, "params": dict(params)}, separators=(",", ":")).encode() + b"\n"
        )
        deadline = Deadline.after(limit, lost=self._lost)
        try:
            self._socket.settimeout(max(0.1, limit))
            self._socket.sendall(line)
        except TimeoutError as error:
            raise AgentTimeout(f"{method}: the guest did not take the request within {limit:.0f} s") from error
        except OSError as error:
            raise GuestGone(
                f"{method}: expected an agent to ask, found {self._alive() or f'a closed connection ({error})'}"
            ) from error
        reply = self._reply(method, deadline)
        if reply.get("id") != number:
            raise InfrastructureError(
                f"{method}: expected the agent's answer {number}, found {reply.get('id')!r}; the guest's agent is broken"
            )
        return reply

    def _connect(self, method: str, limit: float) -> socket.socket:
        self._buffer.clear()
        try:
            if isinstance(self._address, Path):
                connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                connection.settimeout(max(0.1, limit))
                connection.connect(str(self._address))
                return connection
            connection = socket.create_connection(self._address, timeout=max(0.1, limit))
        except OSError as error:
            raise GuestGone(
                f"{method}: expected an agent to ask, found {self._alive() or f'no connection ({error})'}"
            ) from error
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _reply(self, method: str, deadline: Deadline) -> dict[str, Any]:
        connection = self._socket
        assert connection is not None
        searched = 0
        while True:
            newline = self._buffer.find(b"\n", searched)
            if newline >= 0:
                line = bytes(self._buffer[:newline])
                del self._buffer[: newline + 1]
                try:
                    reply: dict[str, Any] = json.loads(line)
                except ValueError as error:
                    raise InfrastructureError(f"{method}: expected JSON from the agent, found {line[:80]!r}") from error
                return reply
            searched = len(self._buffer)
            left = deadline.remaining
            if not left:
                raise AgentTimeout(f"{method}: the agent did not answer within {deadline.seconds:.0f} s")
            connection.settimeout(min(_LIVENESS_INTERVAL, left))
            try:
                data = connection.recv(1 << 16)
            except TimeoutError:
                gone = self._alive()
                if gone:
                    raise GuestGone(f"{method}: the guest went away meanwhile: {gone}") from None
                continue
            except ConnectionError:
                data = b""
            if not data:
                raise GuestGone(f"{method}: the agent closed the connection: {self._alive() or 'it is not running'}")
            self._buffer += data

    def close(self) -> None:
        """Close the connection; the next call makes a new one. Idempotent."""
        connection, self._socket = self._socket, None
        if connection is not None:
            connection.close()


def _result(method: str, reply: Mapping[str, Any]) -> Any:
    """Return the result in a reply.

    Raises:
        AgentError: it has an error instead.
        KernelLacksError: the guest's kernel has not what was asked for.
    """
    error = reply.get("error")
    if error is not None and error.get("type") == KernelLacksError.__name__:
        what, _, shown = str(error.get("message")).partition(": ")
        raise KernelLacksError(what, shown)
    if error is not None:
        raise AgentError(method, str(error.get("type")), str(error.get("message")), error.get("errno"))
    return reply.get("result")
