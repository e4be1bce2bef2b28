# SPDX-License-Identifier: GPL-2.0-or-later
"""The NIC model: its process, and what the runner asks of it over the control socket (JSON-RPC 2.0)."""

from __future__ import annotations

import itertools
import json
import select
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from plugfest.errors import InfrastructureError
from plugfest.machine.call_log import CallLog
from plugfest.machine.qemu import die_with_parent

if TYPE_CHECKING:
    from plugfest.faults import Interposer

_LONGEST_PATH = 107
"""Of a unix socket's name, struct sockaddr_un."""

_CAPTURE = "wire.pcap"
"""In the model's folder."""
REPLY_TIMEOUT = 10.0
"""Seconds that a model may take for an answer: it serves the guest in the same thread."""


class ModelError(Exception):
    """The model answered that a call failed.

    Attributes:
        code: JSON-RPC's error number.
        message: the reason.
    """

    def __init__(self, method: str, code: int, message: str) -> None:
        """Take the reply's ``error``."""
        super().__init__(f"{method}: {message}")
        self.code = code
        self.message = message


class ModelGone(InfrastructureError):  # noqa: N818 - reads as what happened
    """The model's process ended, or no longer answers."""


def command(
    model: str,
    *,
    vfio_user: Path,
    control: Path,
    files: Path,
    tap: str,
    mac: str,
    profile: str | None = None,
    options: Sequence[str] = (),
) -> list[str]:
    """Return the command line that serves a model."""
    argv = [sys.executable, "-m", "nicmodels", "serve", model, "--socket", str(vfio_user), "--control", str(control)]
    argv += ["--wire", f"tap:{tap}", "--mac", mac, "--unprivileged", str(files)]
    if profile is not None:
        argv += ["--profile", profile]
    return [*argv, *options]


class ModelProcess:
    """A model that is being served.

    Attributes:
        socket: where QEMU attaches.
        control: where `ModelClient` asks.
        files: the folder in which it makes files.
    """

    def __init__(
        self,
        model: str,
        *,
        folder: Path,
        tap: str,
        mac: str,
        profile: str | None = None,
        options: Sequence[str] = (),
        log: Path | None = None,
        name: str = "model",
    ) -> None:
        """Start it. It comes up while the guest boots: `wait_ready` before the device is plugged.

        Args:
            model: name, as ``ixgbe``.
            folder: for the sockets; short, since a socket's name has room for 107 bytes.
            tap: name of the wire.
            mac: the NIC's address.
            profile: of the model.
            options: more of its command line.
            log: its standard error; None to keep the last line alone.
            name: of the sockets.

        Raises:
            InfrastructureError: it cannot be started.
        """
        self.socket = folder / f"{name}.vfio-user"
        self.control = folder / f"{name}.control"
        self.files = folder / f"{name}.files"
        longest = max(len(str(self.socket)), len(str(self.control)))
        if longest > _LONGEST_PATH:
            raise InfrastructureError(
                f"expected a folder whose sockets' names have at most {_LONGEST_PATH} bytes, found {folder} ({longest}); "
                "set XDG_CACHE_HOME to a shorter one"
            )
        self._log = log or folder / f"{name}.log"
        argv = command(
            model,
            vfio_user=self.socket,
            control=self.control,
            files=self.files,
            tap=tap,
            mac=mac,
            profile=profile,
            options=options,
        )
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log_file:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log_file,
                start_new_session=True,  # a terminal's ^C is the runner's to handle
                preexec_fn=die_with_parent,  # noqa: PLW1509 - one system call, nothing that a thread could hold
            )
        self._ready = False

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def wait_ready(self, timeout: float = 20.0) -> None:
        """Wait until both sockets listen.

        Raises:
            ModelGone: it ended, or was not ready in time.
        """
        if self._ready:
            return
        output: IO[bytes] | None = self._process.stdout
        assert output is not None
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if not select.select([output], [], [], max(0.0, end - time.monotonic()))[0]:
                break
            line = output.readline()
            if line.strip() == b"ready":
                self._ready = True
                return
            if not line:
                raise ModelGone(f"expected the model to serve, found: {self.exit_reason()}")
        raise ModelGone(f"expected the model to be ready within {timeout:.0f} s, found: {self._last_line()}")

    def exit_reason(self) -> str:
        """Return how it ended, in one line."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(2.0)
        status = self._process.poll()
        return f"the model {'runs' if status is None else f'ended with exit status {status}'}: {self._last_line()}"

    def _last_line(self) -> str:
        lines = [line for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1].strip() if lines else "its log is empty"

    def close(self) -> None:
        """End it. Idempotent."""
        if self.alive():
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(3.0)
        if self.alive():
            self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        for path in (self.socket, self.control):
            path.unlink(missing_ok=True)


class ModelClient:
    """Asks a model over its control socket; may be used from several threads.

    Attributes:
        path: the control socket.
    """

    def __init__(
        self,
        path: Path,
        *,
        process: ModelProcess | None = None,
        interposer: Interposer | None = None,
        log: CallLog | None = None,
    ) -> None:
        """Connect to nothing yet.

        Args:
            path: the control socket.
            process: who serves it, for error messages.
            interposer: consulted for each call of a run that falsifies.
            log: of the calls; None for one of its own.
        """
        self._log = CallLog() if log is None else log
        self.path = path
        self._process = process
        self._interposer = interposer
        self._socket: socket.socket | None = None
        self._buffer = bytearray()
        self._capture: Path | None = None
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()
        self._methods: frozenset[str] | None = None

    def call(self, method: str, /, **params: Any) -> Any:
        """Call a control method and return its result.

        Args:
            method: as ``model.counters``.
            params: of the method.

        Raises:
            ModelError: the model rejects it.
            ModelGone: it is not there, or did not answer in time.
        """
        if self._interposer is not None:
            return self._interposer("model", method, params, self._call)
        return self._call(method, params)

    def offers(self, method: str) -> bool:
        """Whether the model has a control method: some are of models with a link that negotiates, or with a clock."""
        if self._methods is None:
            self._methods = frozenset(self.call("control.methods"))
        return method in self._methods

    def _call(self, method: str, params: Mapping[str, Any]) -> Any:
        with self._lock:
            try:
                reply = self._exchange(method, params)
            except BaseException:
                self.close()  # a late answer may be on its way
                raise
        error = reply.get("error")
        text = "" if error is None else str(error.get("message"))
        self._log.call("model", method, params, result=reply.get("result"), error=text)
        if error is not None:
            raise ModelError(method, int(error.get("code", 0)), str(error.get("message")))
        return reply.get("result")

    def _exchange(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        number = next(self._numbers)
        line = (
            json.dumps(
                {"jsonrpc": "2.0", "id": number, "method": method, "params": dict(params)}, separators=(",", ":")
            ).encode()
            + b"\n"
        )
        try:
            if self._socket is None:
                self._buffer.clear()
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                self._socket.settimeout(REPLY_TIMEOUT)
                self._socket.connect(str(self.path))
            self._socket.sendall(line)
            while True:
                reply = self._line()
                # A message without our number is a notification.
                if reply.get("id") == number:
                    return reply
        except TimeoutError as error:
            raise ModelGone(
                f"{method}: expected the model to answer within {REPLY_TIMEOUT:.0f} s; it did not: {self._state()}"
            ) from error
        except (OSError, ValueError) as error:
            raise ModelGone(
                f"{method}: expected an answer of the model, found {type(error).__name__} {error}: {self._state()}"
            ) from error

    def _state(self) -> str:
        return "is it running?" if self._process is None else self._process.exit_reason()

    def _line(self) -> dict[str, Any]:
        assert self._socket is not None
        while (newline := self._buffer.find(b"\n")) < 0:
            data = self._socket.recv(1 << 18)
            if not data:
                raise ConnectionResetError("the model closed the connection")
            self._buffer += data
        line = bytes(self._buffer[:newline])
        del self._buffer[: newline + 1]
        reply: dict[str, Any] = json.loads(line)
        return reply

    def record_wire(self, path: Path) -> None:
        """Have the model record the wire, in its folder, where alone it may write; the file is at `path` once the recording is stopped."""
        self.call("wire.record", path=_CAPTURE)
        self._capture = path

    def stop_recording(self) -> int:
        """Stop the recording; returns the number of frames. What a model that has ended had recorded is kept, too."""
        path, self._capture = self._capture, None
        try:
            return int(self.call("wire.stop")["frames"])
        finally:
            if path is not None and self._process is not None and (self._process.files / _CAPTURE).exists():
                shutil.move(self._process.files / _CAPTURE, path)

    def close(self) -> None:
        """Disconnect; the next call connects anew. Idempotent."""
        connection, self._socket = self._socket, None
        if connection is not None:
            connection.close()
