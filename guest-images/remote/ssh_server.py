#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The SSH server of the remote host, which upstream's tests send commands to: ``REMOTE_TYPE=ssh``.

    ssh_server.py FOLDER PORT HOME

It runs in the root of the remote host, confined, on the host's side of the wire. The sshd of OpenSSH and dropbear call setgroups(2), which
a user namespace of an ordinary user refuses; this server has one account and needs no such call. A command runs as sshd would run one:
by ``bash -c``, with pipes, in a session of its own, at HOME. When its client has gone nobody reads those pipes: it goes on until it prints,
and then SIGPIPE ends it. Upstream's tests end what they started in the background so. FOLDER has ``host-key`` and ``authorized``.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

import paramiko
from paramiko import common

SFTP = "/usr/lib/openssh/sftp-server"
BLOCK = 1 << 16
INTERVAL = 500
"""Milliseconds between two looks whether the client of a silent program has gone."""
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "USER": "root",
    "SHELL": "/bin/bash",
}

started: dict[paramiko.Channel, subprocess.Popen[bytes]] = {}
"""Programs whose start has yet to be confirmed to the client."""


class Server(paramiko.ServerInterface):
    """Lets one key log in, and carries out its commands."""

    def __init__(self, allowed: str, home: str) -> None:
        """Take the key that may log in, and the folder that its commands begin in."""
        self._allowed, self._home = allowed, home

    def get_allowed_auths(self, _username: str) -> str:
        """Allow keys only."""
        return "publickey"

    def check_auth_publickey(self, _username: str, key: paramiko.PKey) -> int:
        """Allow the one key."""
        good = key.get_base64() == self._allowed
        return common.AUTH_SUCCESSFUL if good else common.AUTH_FAILED

    def check_channel_request(self, kind: str, _number: int) -> int:
        """Allow sessions."""
        good = kind == "session"
        return common.OPEN_SUCCEEDED if good else common.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        """Start a command."""
        return start(channel, ["/bin/bash", "-c", command], self._home)

    def check_channel_subsystem_request(self, channel: paramiko.Channel, name: str) -> bool:
        """Start the file server that scp speaks to."""
        return name == "sftp" and start(channel, [SFTP], self._home)


def start(channel: paramiko.Channel, command: Sequence[str | bytes], home: str) -> bool:
    """Run a program whose standard streams are a channel's."""
    pipe, environment = subprocess.PIPE, {**ENVIRONMENT, "HOME": home}
    try:
        process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, cwd=home, env=environment, start_new_session=True
        )
    except OSError:
        return False
    started[channel] = process
    return True


def answer(channel: paramiko.Channel, message: paramiko.Message) -> None:
    """Answer a request of a channel, and only then serve the program that it has started: that may end, and close the channel, at once."""
    paramiko.Channel._handle_request(channel, message)  # type: ignore[attr-defined]
    process = started.pop(channel, None)
    if process is not None:
        threading.Thread(target=serve, args=(channel, process), daemon=True).start()


class Transport(paramiko.Transport):
    """A connection of a client."""

    _channel_handler_table = {  # noqa: RUF012 - paramiko's own
        **paramiko.Transport._channel_handler_table,  # type: ignore[attr-defined]
        common.MSG_CHANNEL_REQUEST: answer,
    }


def serve(channel: paramiko.Channel, process: subprocess.Popen[bytes]) -> None:
    """Pass data between a channel and a process until the process has ended and its output is read, or nobody wants it."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    threads = [
        threading.Thread(target=pump, args=(channel, process.stdout, channel.sendall), daemon=True),
        threading.Thread(target=pump, args=(channel, process.stderr, channel.sendall_stderr), daemon=True),
    ]
    threading.Thread(target=feed, args=(channel, process.stdin), daemon=True).start()
    for thread in threads:
        thread.start()
    status = process.wait()
    for thread in threads:
        thread.join()
    with suppress(OSError, EOFError, paramiko.SSHException):
        channel.send_exit_status(status if status >= 0 else 128 - status)
        channel.close()


def pump(channel: paramiko.Channel, source: IO[bytes], send: Callable[[bytes], object]) -> None:
    """Send what a process prints; once its client has gone, close the pipe, so that SIGPIPE ends a process that goes on printing."""
    poll = select.poll()
    poll.register(source, select.POLLIN)
    with source, suppress(OSError, EOFError, paramiko.SSHException):
        while not channel.closed:
            if poll.poll(INTERVAL):
                data = os.read(source.fileno(), BLOCK)
                if not data:
                    return
                send(data)


def feed(channel: paramiko.Channel, sink: IO[bytes]) -> None:
    """Write what a channel brings to a process."""
    with suppress(OSError):
        while data := channel.recv(BLOCK):
            sink.write(data)
            sink.flush()
    with suppress(OSError):
        sink.close()


def main() -> None:
    """Listen until killed."""
    folder, port, home = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    host_key = paramiko.Ed25519Key.from_private_key_file(str(folder / "host-key"))
    allowed = (folder / "authorized").read_text().split()[1]
    listener = socket.create_server(("127.0.0.1", port))
    sys.stdout.write(f"listening on port {listener.getsockname()[1]}\n")
    sys.stdout.flush()
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport = Transport(connection)
        transport.daemon = True
        transport.add_server_key(host_key)
        with suppress(OSError, EOFError, paramiko.SSHException):
            transport.start_server(server=Server(allowed, home), event=threading.Event())


if __name__ == "__main__":
    main()
