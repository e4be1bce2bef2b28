# SPDX-License-Identifier: GPL-2.0-or-later
"""The remote host of upstream's tests: ``REMOTE_TYPE=ssh``, on the other side of the wire.

    guest: ssh ─ dropbear ─ mgmt0 ─ the run's SSH session ─ 127.0.0.1, in the run's network namespace: bwrap ─ ssh_server.py ─ commands

Its interface is the tap. Commands come through a port that the run's SSH session forwards, over the management NIC, so that they neither
show on the wire nor depend on it; and one connection carries them all: upstream's README asks for that. The host's files are out of their
reach: the remote host has the guest's root, read-only, with empty folders in memory to write to. Of the run's capabilities they have those
of the network, and of the run's processes they see their own, which end with the remote host. What they may take has limits, as a build
has (`plugfest.build.confinement`), and they have the system calls of a build. The network that they leave behind goes when it starts again.
"""

from __future__ import annotations

import base64
import os
import resource
import select
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from plugfest.build import system_calls
from plugfest.build.confinement import at_most
from plugfest.errors import InfrastructureError
from plugfest.location import recipes_root
from plugfest.machine.agent import AgentClient
from plugfest.machine.qemu import die_with_parent
from plugfest.machine.ssh import KeyPair
from plugfest.machine.tap import DUT_IPV4, DUT_IPV6, IPV4, IPV6
from plugfest.machine.tap import NAME as TAP
from plugfest.machine.virtual import VirtualMachine

SLOW = 0.5
"""Speed of a guest below which it is a slow machine."""

NAME = "remote"
"""What the guest calls it: ``REMOTE_ARGS``."""

PORT = 2224
"""Of its SSH server, on the loopback of the run's network namespace, and on that of the guest."""

LOCAL_PREFIX = "2001:db8:2::/64"
"""Addresses behind the DUT, for namespaces that a test makes there."""

_RATE = 100_000_000 / 8
"""Bytes a second that the remote host sends at most to a slow guest, for each unit of its speed: traffic of a host that is many times
faster than the guest takes all the guest's time, and its shell's with it."""
_BURST, _QUEUE = 1 << 16, 1 << 20

_INSIDE, _PROGRAM, _HOME = "/run/keys", "/run/remote", "/root"
_NAMESPACES = ("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname", NAME)
_CAPABILITIES = ("CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_NET_BIND_SERVICE")
_MIB = 1 << 20
_SPACE = {"/tmp": 256, "/run": 16, "/root": 64, "/var": 64, "/dev/shm": 64}  # noqa: S108 - its own
"""Folders that can be written, in memory, and how much of it each may have, MiB."""
_LIMITS = {
    "core": (resource.RLIMIT_CORE, 0),
    "nofile": (resource.RLIMIT_NOFILE, 4096),
    # Of the user, before Linux 5.14 with all that runs outside.
    "nproc": (resource.RLIMIT_NPROC, 4096),
    "as": (resource.RLIMIT_AS, 4096 * _MIB),
    "fsize": (resource.RLIMIT_FSIZE, max(_SPACE.values()) * _MIB),
}
_CLEAN, _END = 30.0, 10.0
_CLIENT = f"""Host {NAME}
  HostName 127.0.0.1
  Port {PORT}
  User root
  IdentityFile /root/.ssh/remote-key
  UserKnownHostsFile /root/.ssh/remote-host
  HostKeyAlias {NAME}
  StrictHostKeyChecking yes
  ControlPath /run/plugfest/remote-%C
  LogLevel ERROR
"""


class RemoteHost:
    """A running remote host."""

    def __init__(self, bwrap: Sequence[str], root: Path, folder: Path) -> None:
        """Start it in this network namespace.

        Args:
            bwrap: argv prefix of bubblewrap.
            root: its root.
            folder: for its keys; private to the run.

        Raises:
            InfrastructureError: it did not start.
        """
        self._bwrap, self._root, self._folder = tuple(bwrap), root, folder
        self._host, self._client = KeyPair(), KeyPair()
        self._log = folder.with_suffix(".log")
        folder.mkdir(parents=True, exist_ok=True)
        self._host.write(folder / "host-key")
        (folder / "authorized").write_text(self._client.public)
        with IPRoute() as route:
            links = [link.get_attr("IFLA_IFNAME") for link in route.get_links()]
        self._links = tuple(dict.fromkeys((*links, "lo", TAP)))
        self._process: subprocess.Popen[bytes] | None = None
        self._listen()

    def start(self, command: Sequence[str], errors: BinaryIO) -> subprocess.Popen[bytes]:
        """Run a program as the remote host's commands run: with what they can reach, and no more.

        Args:
            command: the program and its arguments.
            errors: file that gets its standard error; standard output is a pipe.
        """
        argv = [*self._bwrap, *_NAMESPACES, "--die-with-parent", "--new-session"]
        # Run by root, bubblewrap leaves all that nobody drops.
        argv += ["--cap-drop", "ALL", *(word for name in _CAPABILITIES for word in ("--cap-add", name))]
        argv += ["--ro-bind", str(self._root), "/", "--proc", "/proc", "--dev", "/dev"]
        for place, space in _SPACE.items():
            argv += ["--size", str(space * _MIB), "--tmpfs", place]
        argv += ["--remount-ro", "/dev", "--ro-bind", str(self._folder), _INSIDE]
        argv += ["--ro-bind", str(recipes_root() / "remote"), _PROGRAM, "--clearenv"]
        argv += ["--setenv", "PATH", "/usr/sbin:/usr/bin"]
        limits = [f"--{name}={at_most(kind, value)}" for name, (kind, value) in _LIMITS.items()]
        seccomp = system_calls.open_program()
        try:
            process = subprocess.Popen(
                [*argv, "--seccomp", str(seccomp), "--", "prlimit", *limits, *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                pass_fds=(seccomp,),
                preexec_fn=die_with_parent,  # noqa: PLW1509 - one system call, which needs no lock
            )
        finally:
            os.close(seccomp)
        with suppress(OSError):  # if the host is short of memory, this goes first
            Path(f"/proc/{process.pid}/oom_score_adj").write_text("1000")
        return process

    def restart(self) -> None:
        """End all that runs on it, remove what it left in this network namespace, and start it again; no guest runs meanwhile.

        What was there when it was made stays: links, and rules that every namespace has.

        Raises:
            InfrastructureError: it did not start.
        """
        self.close()
        with (
            self._log.open("wb") as errors,
            self.start(["sh", f"{_PROGRAM}/remove-leftovers", *self._links], errors) as process,
        ):
            status = process.wait(_CLEAN)
        if status:
            raise InfrastructureError(f"expected to reset the tests' remote host, found: {self._said()}")
        self._listen()

    def _listen(self) -> None:
        server = ["python3", "-I", "-B", f"{_PROGRAM}/ssh_server.py", _INSIDE, str(PORT), _HOME]
        with self._log.open("wb") as errors:
            process = self.start(server, errors)
        self._process = process
        assert process.stdout is not None
        if not process.stdout.readline():
            raise InfrastructureError(f"expected the tests' remote host to listen, found that it ended: {self._said()}")

    def _said(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "no message"

    def introduce(self, agent: AgentClient) -> None:
        """Let a guest log in: write its client's configuration and keys."""
        agent.call("process.run", command=["mkdir", "-p", "-m", "0700", "/root/.ssh"])
        put(agent, "/root/.ssh/config", _CLIENT)
        put(agent, "/root/.ssh/remote-key", self._client.private)
        put(agent, "/root/.ssh/remote-host", f"{NAME} {' '.join(self._host.public.split()[:2])}\n")
        agent.call("process.run", command=["chmod", "0600", "/root/.ssh/config", "/root/.ssh/remote-key"])

    def close(self) -> None:
        """End it, with all that runs on it. Idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait(_END)
        assert process.stdout is not None
        with process.stdout:
            # bubblewrap ends before what it started: the SSH server, which has this pipe and its port until then.
            while select.select([process.stdout], [], [], _END)[0] and os.read(process.stdout.fileno(), 1024):
                pass


def put(agent: AgentClient, path: str, text: str) -> None:
    """Write a file of the guest."""
    agent.call("files.put", path=path, data=base64.b64encode(text.encode()).decode())


def connect(machine: VirtualMachine) -> None:
    """Open the connection of a guest's ssh that carries all commands, and give the remote host its route to what is behind the DUT.

    Raises:
        InfrastructureError: no connection.
    """
    machine.ssh.forward(PORT, ("127.0.0.1", PORT))
    done = machine.agent.call(
        "process.run",
        command=["sh", "-c", f"exec ssh -fNM {NAME} </dev/null >/run/plugfest/ssh.log 2>&1"],
        timeout=60.0,
    )
    if done["exit_status"] != 0:
        log = machine.agent.call("files.read", path="/run/plugfest/ssh.log").strip()
        raise InfrastructureError(f"expected the guest to log in to the remote host, found: {log or 'no message'}")
    with IPRoute() as route:
        with suppress(NetlinkError):  # it may have the route
            route.route("add", dst=LOCAL_PREFIX, gateway=DUT_IPV6, oif=machine.tap.index)
        if machine.speed < SLOW:
            rate = int(_RATE * machine.speed)
            with suppress(NetlinkError):  # this machine's kernel need not have it
                route.tc("replace", "tbf", machine.tap.index, 0x10000, rate=rate, burst=_BURST, limit=_QUEUE)


def configuration(ifname: str) -> dict[str, str]:
    """Return the variables of ``net.config``: see drivers/net/README.rst."""
    return {
        "NETIF": ifname,
        "LOCAL_V4": DUT_IPV4,
        "LOCAL_V6": DUT_IPV6,
        "LOCAL_PREFIX_V6": LOCAL_PREFIX,
        "REMOTE_V4": IPV4,
        "REMOTE_V6": IPV6,
        "REMOTE_TYPE": "ssh",
        "REMOTE_ARGS": NAME,
    }
