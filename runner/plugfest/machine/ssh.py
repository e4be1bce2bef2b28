# SPDX-License-Identifier: GPL-2.0-or-later
"""SSH into the guest: a key pair of the run's own, commands, channels."""

from __future__ import annotations

import base64
import io
import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import paramiko
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from plugfest.deadline import Deadline
from plugfest.errors import InfrastructureError

_WINDOW = 1 << 21
_CHUNK = 1 << 16
_GLANCE = 0.5
"""Seconds between two looks at whether the guest still lives, while a command says nothing."""


class KeyPair:
    """An ed25519 key pair that one run uses and no other.

    Attributes:
        public: the line for ``authorized_keys``.
        private: the private key, OpenSSH format.
    """

    def __init__(self) -> None:
        """Make a new pair."""
        key = Ed25519PrivateKey.generate()
        self.public: str = (
            key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
            + " plugfest"
        )
        self.private: str = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        ).decode()

    def write(self, path: Path) -> None:
        """Write the private key for ``ssh -i``: readable by its owner alone."""
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(self.private)

    @property
    def paramiko(self) -> paramiko.PKey:
        """The pair as paramiko wants it."""
        return paramiko.Ed25519Key.from_private_key(io.StringIO(self.private))


@dataclass(frozen=True)
class CommandResult:
    """What a command in the guest did.

    Attributes:
        command: the shell's line.
        exit_status: -1 if a signal ended the shell itself, which SSH does not report as a status.
        stdout: decoded as UTF-8; what is not becomes U+FFFD.
        stderr: likewise.
        seconds: wall time.
    """

    command: str
    exit_status: int
    stdout: str
    stderr: str
    seconds: float


class CommandFailed(Exception):  # noqa: N818 - the plugin knows it by this name
    """A command in the guest that was expected to succeed did not.

    Attributes:
        result: what it did.
    """

    def __init__(self, result: CommandResult) -> None:
        """Name the command, its status and the last thing it said."""
        said = [line for line in (result.stderr + "\n" + result.stdout).splitlines() if line.strip()]
        last = f": {said[0].strip()}" if said else ""
        super().__init__(f"`{result.command}` in the guest: expected exit status 0, found {result.exit_status}{last}")
        self.result = result


class CommandTimeout(TimeoutError):  # noqa: N818 - reads as what happened
    """A command in the guest did not end in time.

    Attributes:
        result: what it had said by then; its exit status is -1.
    """

    def __init__(self, result: CommandResult) -> None:
        """Name the command and the time."""
        super().__init__(f"`{result.command}` in the guest did not end within {result.seconds:.1f} s")
        self.result = result


class GuestGone(InfrastructureError):  # noqa: N818 - reads as what happened
    """The guest is no longer there: it panicked, was switched off, or QEMU died."""


class NotAuthorized(InfrastructureError):  # noqa: N818 - reads as what happened
    """The guest is there, but does not take the key."""


class SshSession:
    """One authenticated connection; each command has a channel of its own.

    Raises:
        NotAuthorized: the guest does not take the key.
        InfrastructureError: no connection, or the guest is not who the console says it is.
    """

    def __init__(
        self,
        address: tuple[str, int],
        key: KeyPair,
        host_key: str,
        *,
        timeout: float = 60.0,
        alive: Callable[[], str | None] = lambda: None,
        user: str = "root",
    ) -> None:
        """Connect and log in.

        Args:
            address: host and port.
            key: authorized in the guest.
            host_key: the guest's public key, as its guard told it over the second serial port.
            timeout: seconds for the whole login.
            alive: returns None while the guest lives, else what happened to it.
            user: whom to log in as.
        """
        self.address = address
        self._alive = alive
        deadline = Deadline.after(timeout)
        connection = self._connect(deadline)
        self._transport = paramiko.Transport(connection, default_window_size=_WINDOW)
        # Curve25519 alone: in an emulated guest each other exchange costs a second or more.
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
        words = host_key.split()
        found = self._transport.get_remote_server_key()
        if len(words) < 2 or base64.b64decode(words[1]) != found.asbytes():
            raise paramiko.SSHException(
                f"host key {found.get_base64()[:24]}…, but the guest's console said {host_key[:48]}…: another SSH server has this port"
            )

    @property
    def connected(self) -> bool:
        """Whether the connection stands."""
        return self._transport.is_active()

    def channel(self, command: str) -> paramiko.Channel:
        """Start a command and return its channel, for whoever wants to talk with it.

        Raises:
            GuestGone: there is no guest to run it.
        """
        try:
            channel = self._transport.open_session(window_size=_WINDOW, timeout=30.0)
            channel.exec_command(command)
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise GuestGone(
                f"`{command}`: expected a guest to run it, found {self._alive() or f'no connection ({error})'}"
            ) from error
        return channel

    def run(
        self, command: str, *, check: bool = True, timeout: float | None = None, stdin: bytes | None = None
    ) -> CommandResult:
        """Run a shell command in the guest.

        Args:
            command: for the guest's ``sh``.
            check: demand exit status 0.
            timeout: seconds of wall time; None waits for ever (or until the guest is gone).
            stdin: what it reads.

        Raises:
            CommandFailed: it ended with another exit status, and `check` was asked for.
            CommandTimeout: it did not end in time; the channel is closed, which ends it if it reads or writes.
            GuestGone: there is no guest to run it, or not any more.
        """
        begin = time.monotonic()
        end = None if timeout is None else begin + timeout
        output: tuple[list[bytes], list[bytes]] = ([], [])
        with self.channel(command) as channel:
            if stdin is not None:
                channel.sendall(stdin)
                channel.shutdown_write()
            while not self._drained(channel, output):
                if end is not None and time.monotonic() >= end:
                    raise CommandTimeout(_result(command, -1, output, begin))
                left = _GLANCE if end is None else max(0.0, min(_GLANCE, end - time.monotonic()))
                ready, _, _ = select.select([channel], [], [], left)
                if not ready:
                    self._glance(command)
            status = channel.recv_exit_status()
        if status == -1:
            # The channel closed without a status: the shell was killed by a signal, or the connection broke.
            self._glance(command)
        result = _result(command, status, output, begin)
        if check and result.exit_status != 0:
            raise CommandFailed(result)
        return result

    def _drained(self, channel: paramiko.Channel, output: tuple[list[bytes], list[bytes]]) -> bool:
        """Take what has come; True once nothing more will."""
        while channel.recv_ready():
            output[0].append(channel.recv(_CHUNK))
        while channel.recv_stderr_ready():
            output[1].append(channel.recv_stderr(_CHUNK))
        ended = channel.exit_status_ready() and bool(channel.eof_received or channel.closed)
        return (ended or channel.closed) and not (channel.recv_ready() or channel.recv_stderr_ready())

    def _glance(self, command: str) -> None:
        gone = self._alive() or (None if self._transport.is_active() else "the SSH connection is broken")
        if gone:
            raise GuestGone(f"`{command}`: the guest went away meanwhile: {gone}")

    def close(self) -> None:
        """Close the connection. Idempotent."""
        with suppress(EOFError, OSError, paramiko.SSHException):
            self._transport.close()


def _result(command: str, status: int, output: tuple[list[bytes], list[bytes]], begin: float) -> CommandResult:
    stdout, stderr = (b"".join(part).decode("utf-8", "replace") for part in output)
    return CommandResult(command, status, stdout, stderr, time.monotonic() - begin)
