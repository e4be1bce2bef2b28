# SPDX-License-Identifier: GPL-2.0-or-later
"""SSH to the guest: the run's key pair, commands, channels."""

from __future__ import annotations

import base64
import io
import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import paramiko
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from plugfest.deadline import Deadline, never
from plugfest.errors import InfrastructureError

_WINDOW = 1 << 21
_CHUNK = 1 << 16
_ALIVE_CHECK_INTERVAL = 0.5
"""Seconds between two checks that the guest is running, while a command has no output."""


class KeyPair:
    """An ed25519 key pair for one run.

    Attributes:
        public: the line for ``authorized_keys``.
        private: the private key, OpenSSH format.
    """

    def __init__(self) -> None:
        """Generate a new pair."""
        key = Ed25519PrivateKey.generate()
        self.public: str = (
            key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
            + " plugfest"
        )
        self.private: str = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        ).decode()

    def write(self, path: Path) -> None:
        """Write the private key for ``ssh -i``, readable by its owner only."""
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(self.private)

    @property
    def paramiko(self) -> paramiko.PKey:
        """The pair as a paramiko key."""
        return paramiko.Ed25519Key.from_private_key(io.StringIO(self.private))


@dataclass(frozen=True)
class CommandResult:
    """The result of a command in the guest.

    Attributes:
        command: the command line.
        exit_status: -1 if a signal ended the shell itself, for which SSH reports no status.
        stdout: decoded as UTF-8; invalid bytes become U+FFFD.
        stderr: likewise.
        seconds: wall time.
    """

    command: str
    exit_status: int
    stdout: str
    stderr: str
    seconds: float


class CommandFailed(Exception):  # noqa: N818 - reads as what happened
    """A command in the guest failed.

    Attributes:
        result: its result.
    """

    def __init__(self, result: CommandResult) -> None:
        """Name the command, its exit status and its first line of output."""
        output = [line for line in (result.stderr + "\n" + result.stdout).splitlines() if line.strip()]
        first = f": {output[0].strip()}" if output else ""
        super().__init__(f"`{result.command}` in the guest: expected exit status 0, found {result.exit_status}{first}")
        self.result = result


class CommandTimeout(TimeoutError):  # noqa: N818 - reads as what happened
    """A command in the guest did not end in time.

    Attributes:
        result: its output so far; the exit status is -1.
    """

    def __init__(self, result: CommandResult) -> None:
        """Name the command and the time."""
        super().__init__(f"`{result.command}` in the guest did not end within {result.seconds:.1f} s")
        self.result = result


class GuestGone(InfrastructureError):  # noqa: N818 - reads as what happened
    """The guest has ended: it panicked, was powered off, or QEMU died."""


class NotAuthorized(InfrastructureError):  # noqa: N818 - reads as what happened
    """The guest is running, but does not accept the key."""


class SshSession:
    """An authenticated connection; each command has its own channel.

    Raises:
        NotAuthorized: the guest does not accept the key.
        InfrastructureError: no connection, or another host key than the guard's.
    """

    def __init__(
        self,
        address: tuple[str, int],
        key: KeyPair,
        host_key: str,
        *,
        timeout: float = 60.0,
        alive: Callable[[], str | None] = lambda: None,
        lost: Callable[[], float] = never,
        user: str = "root",
    ) -> None:
        """Connect and log in.

        Args:
            address: host and port.
            key: a key that the guest has authorized.
            host_key: the guest's public host key, as its guard reported it over the second serial port.
            timeout: seconds for the whole login.
            alive: returns None while the guest is running, else what happened to it.
            lost: returns the seconds that the host has lost so far.
            user: the account to log in to.
        """
        self.address = address
        self._alive = alive
        self._lost = lost
        deadline = Deadline.after(timeout, lost=lost)
        connection = self._connect(deadline)
        self._transport = paramiko.Transport(connection, default_window_size=_WINDOW)
        # Curve25519 only: in an emulated guest every other key exchange takes a second or more.
        options = self._transport.get_security_options()
        options.kex = [name for name in options.kex if name.startswith("curve25519")] or options.kex
        self._transport.banner_timeout = timeout
        self._transport.handshake_timeout = timeout
        self._transport.auth_timeout = timeout
        self._transport.daemon = True
        try:
            self._transport.start_client(timeout=deadline.remaining)
            self._verify(host_key)
            self._transport.auth_publickey(user, key.paramiko)
        except (paramiko.SSHException, EOFError, OSError) as error:
            self.close()
            gone = alive()
            kind = NotAuthorized if isinstance(error, paramiko.AuthenticationException) else InfrastructureError
            raise kind(
                f"SSH to the guest at {address[0]}:{address[1]}: expected a login as {user}, found "
                f"{gone or f'{type(error).__name__}: {error}'}; see console.log"
            ) from error

    def _connect(self, deadline: Deadline) -> socket.socket:
        while True:
            try:
                connection = socket.create_connection(self.address, timeout=max(0.1, deadline.remaining))
            except OSError as error:
                if deadline.passed or self._alive():
                    raise InfrastructureError(
                        f"SSH to the guest: expected an open port {self.address[0]}:{self.address[1]}, found "
                        f"{self._alive() or error}; see console.log"
                    ) from error
                time.sleep(0.05)
            else:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return connection

    def _verify(self, host_key: str) -> None:
        fields = host_key.split()
        found = self._transport.get_remote_server_key()
        if len(fields) < 2 or base64.b64decode(fields[1]) != found.asbytes():
            raise paramiko.SSHException(
                f"host key {found.get_base64()[:24]}…, but the guest's guard reported {host_key[:48]}…: another SSH server has this port"
            )

    @property
    def connected(self) -> bool:
        """Whether the connection is open."""
        return self._transport.is_active()

    def channel(self, command: str) -> paramiko.Channel:
        """Start a command and return its channel, to exchange data with it.

        Raises:
            GuestGone: the guest has ended.
        """
        try:
            channel = self._transport.open_session(window_size=_WINDOW, timeout=30.0)
            channel.exec_command(command)
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise GuestGone(
                f"expected to run `{command}` in the guest, found {self._alive() or f'no connection ({error})'}"
            ) from error
        return channel

    def forward(self, port: int, target: tuple[str, int]) -> None:
        """Let the guest reach an address of this network namespace: at a port of its own loopback, until the connection is closed.

        Args:
            port: of the guest's 127.0.0.1.
            target: host and port here.

        Raises:
            InfrastructureError: the guest refuses.
        """

        def connected(channel: paramiko.Channel, _origin: tuple[str, int], _server: tuple[str, int]) -> None:
            threading.Thread(target=_relay, args=(channel, target), name="ssh-forward", daemon=True).start()

        try:
            self._transport.request_port_forward("127.0.0.1", port, connected)
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise InfrastructureError(
                f"expected the guest to forward its port {port}, found: {self._alive() or error}; see console.log"
            ) from error

    def run(
        self, command: str, *, check: bool = True, timeout: float | None = None, stdin: bytes | None = None
    ) -> CommandResult:
        """Run a shell command in the guest.

        Args:
            command: for the guest's ``sh``.
            check: raise `CommandFailed` unless the exit status is 0.
            timeout: seconds of wall time on an idle host, on any guest; None waits until the command or the guest ends.
            stdin: data for its standard input.

        Raises:
            CommandFailed: its exit status is not 0, and `check` is true.
            CommandTimeout: it did not end in time; the channel is closed, which ends a command that reads or writes.
            GuestGone: the guest has ended.
        """
        begin = time.monotonic()
        deadline = None if timeout is None else Deadline.after(timeout, lost=self._lost)
        output: tuple[list[bytes], list[bytes]] = ([], [])
        with self.channel(command) as channel:
            if stdin is not None:
                channel.sendall(stdin)
                channel.shutdown_write()
            while not self._drained(channel, output):
                if deadline is not None and deadline.passed:
                    raise CommandTimeout(_result(command, -1, output, begin))
                left = _ALIVE_CHECK_INTERVAL if deadline is None else min(_ALIVE_CHECK_INTERVAL, deadline.remaining)
                ready, _, _ = select.select([channel], [], [], left)
                if not ready:
                    self._check_alive(command)
            status = channel.recv_exit_status()
        if status == -1:
            # The channel closed without a status: the shell was killed by a signal, or the connection broke.
            self._check_alive(command)
        result = _result(command, status, output, begin)
        if check and result.exit_status != 0:
            raise CommandFailed(result)
        return result

    def _drained(self, channel: paramiko.Channel, output: tuple[list[bytes], list[bytes]]) -> bool:
        """Read the available output; return True once there can be no more."""
        while channel.recv_ready():
            output[0].append(channel.recv(_CHUNK))
        while channel.recv_stderr_ready():
            output[1].append(channel.recv_stderr(_CHUNK))
        ended = channel.exit_status_ready() and bool(channel.eof_received or channel.closed)
        return (ended or channel.closed) and not (channel.recv_ready() or channel.recv_stderr_ready())

    def _check_alive(self, command: str) -> None:
        gone = self._alive() or (None if self._transport.is_active() else "the SSH connection is broken")
        if gone:
            raise GuestGone(f"the guest ended during `{command}`: {gone}")

    def close(self) -> None:
        """Close the connection. Idempotent."""
        with suppress(EOFError, OSError, paramiko.SSHException):
            self._transport.close()


def _relay(channel: paramiko.Channel, target: tuple[str, int]) -> None:
    """Pass data between a forwarded channel and an address of this network namespace, until both directions have ended."""
    with suppress(OSError, EOFError, paramiko.SSHException), channel:  # to close it fails once the guest has ended
        try:
            connection = socket.create_connection(target, timeout=10.0)
        except OSError:
            return
        with connection:
            connection.settimeout(None)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sending = threading.Thread(target=_pump, args=(channel, connection), name="ssh-forward", daemon=True)
            sending.start()
            _pump(connection, channel)
            sending.join()


def _pump(source: paramiko.Channel | socket.socket, sink: paramiko.Channel | socket.socket) -> None:
    """Copy until the end of one side, and tell the other."""
    with suppress(OSError, EOFError, paramiko.SSHException):
        while data := source.recv(_CHUNK):
            sink.sendall(data)
    with suppress(OSError, EOFError, paramiko.SSHException):
        sink.shutdown(socket.SHUT_WR)


def _result(command: str, status: int, output: tuple[list[bytes], list[bytes]], begin: float) -> CommandResult:
    stdout, stderr = (b"".join(part).decode("utf-8", "replace") for part in output)
    return CommandResult(command, status, stdout, stderr, time.monotonic() - begin)
