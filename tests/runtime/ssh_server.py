# SPDX-License-Identifier: GPL-2.0-or-later
"""A fake of the guest's SSH server: in this process, runs commands on this machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from contextlib import suppress

import paramiko
from plugfest.machine.ssh import KeyPair


class SshServer(paramiko.ServerInterface):
    """Listens until closed; one key may log in."""

    def __init__(self, allowed: KeyPair) -> None:
        self.host = KeyPair()
        self.host_key = " ".join(self.host.public.split()[:2])
        self.allowed = allowed.paramiko
        self.logins = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = self._listener.getsockname()
        self.transports: list[paramiko.Transport] = []
        self.processes: list[subprocess.Popen[bytes]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.daemon = True
            transport.add_server_key(self.host.paramiko)
            self.transports.append(transport)
            with suppress(paramiko.SSHException, EOFError):
                transport.start_server(server=self)

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        self.logins += 1
        good = username == "root" and key == self.allowed
        return paramiko.common.AUTH_SUCCESSFUL if good else paramiko.common.AUTH_FAILED

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.common.OPEN_SUCCEEDED

    def check_port_forward_request(self, address: str, port: int) -> int | bool:
        if port == 1:
            return False
        listener = socket.create_server((address, port))
        threading.Thread(target=self._forward, args=(listener,), daemon=True).start()
        return int(listener.getsockname()[1])

    def _forward(self, listener: socket.socket) -> None:
        """Pass the first connection on."""
        with listener:
            near, origin = listener.accept()
        with near:
            try:
                channel = self.transports[-1].open_forwarded_tcpip_channel(origin, near.getsockname())
            except paramiko.SSHException:  # the client closed it before this thread saw that it was open
                return
            returning = threading.Thread(target=self._return, args=(channel, near), daemon=True)
            returning.start()
            with suppress(OSError):
                while data := near.recv(1 << 16):
                    channel.sendall(data)
                channel.shutdown_write()
            returning.join()

    def _return(self, channel: paramiko.Channel, near: socket.socket) -> None:
        with suppress(OSError):
            while data := channel.recv(1 << 16):
                near.sendall(data)
            near.shutdown(socket.SHUT_WR if channel.eof_received and not channel.closed else socket.SHUT_RDWR)

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=self._run, args=(channel, command), daemon=True).start()
        return True

    def _run(self, channel: paramiko.Channel, command: bytes) -> None:
        pipe = subprocess.PIPE
        process = subprocess.Popen(["sh", "-c", command], stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)
        self.processes.append(process)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None

        def feed(sink: int) -> None:
            with suppress(OSError):
                while data := channel.recv(1 << 16):
                    rest = memoryview(data)
                    while rest:
                        rest = rest[os.write(sink, rest) :]
            with suppress(OSError):
                os.close(sink)

        def errors(source: int) -> None:
            while data := os.read(source, 1 << 16):
                channel.sendall_stderr(data)

        threading.Thread(target=feed, args=(os.dup(process.stdin.fileno()),), daemon=True).start()
        process.stdin.close()
        complaints = threading.Thread(target=errors, args=(process.stderr.fileno(),), daemon=True)
        complaints.start()
        with suppress(OSError):
            while data := os.read(process.stdout.fileno(), 1 << 16):
                channel.sendall(data)
            complaints.join()
            status = process.wait()
            if status >= 0:
                channel.send_exit_status(status)
        channel.close()

    def drop(self) -> None:
        """Break all connections, as a guest that dies does."""
        for transport in self.transports:
            transport.close()

    def close(self) -> None:
        """Close it, and kill what it runs."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # which wakes the thread that accepts
        self._listener.close()
        self.drop()
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
