# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine over SSH that lends an interface: what it must have, and the folder there from which the run's programs are started."""

from __future__ import annotations

import json
import secrets
import shlex
from contextlib import suppress
from pathlib import Path

from plugfest.errors import InfrastructureError
from plugfest.machine.openssh import OpenSsh
from plugfest.machine.real import AGENT, KEEPER, LOG

TOOLS = ("bpftool", "ethtool", "grep", "ip", "modinfo", "modprobe")
"""Programs that the suite runs on the machine under test."""
PYTHON = (3, 10)
_FOLDERS = ("/run", "/root", "/opt")
"""Where the run's folder may be on a machine: programs are started from it."""
_CHECK = f"""
import json, os, platform, shutil, sys
def fit(path):
    return os.access(path, os.W_OK) and not os.statvfs(path).f_flag & os.ST_NOEXEC
print(json.dumps({{
    "folder": next((path for path in {_FOLDERS!r} if os.path.isdir(path) and fit(path)), None),
    "ipv6": os.path.exists("/proc/sys/net/ipv6"),
    "python": list(sys.version_info[:3]), "root": os.geteuid() == 0, "machine": platform.machine(), "system": platform.system(),
    "missing": [name for name in {TOOLS!r} if shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is None],
}}))
"""
_UNPACK = "import sys, tarfile; tarfile.open(fileobj=sys.stdin.buffer, mode='r|gz').extractall(sys.argv[1])"


class LendingError(InfrastructureError):
    """A real machine, or the host of the far end, does not lend its interface: it is away, lacks something, or has a reason."""


class SshHost:
    """A machine over SSH, with a folder of its own for the run."""

    def __init__(self, name: str, option: str, folder: Path, config: Path | None) -> None:
        self.folder = ""
        self.ssh = OpenSsh(name, option, folder=folder, config=config)
        self._sockets = folder

    def check(self, tools: bool) -> None:
        """See that it has what is needed.

        Raises:
            LendingError: it lacks something; one line has all of it.
        """
        name = self.ssh.name
        done = self.ssh.run(f"python3 -c {shlex.quote(_CHECK)}")
        wanted = ".".join(map(str, PYTHON))
        if done.returncode:
            last = (done.stderr.decode(errors="replace").strip().splitlines() or ["nothing"])[-1]
            raise LendingError(f"{name}: expected python3 ({wanted} or later), found: {last}; install it there")
        *others, answer = done.stdout.decode(errors="replace").splitlines() or [""]
        if others or not answer.startswith("{"):
            raise LendingError(
                f"{name}: expected a shell that prints nothing by itself, found: {(others or [answer])[0]!r}; "
                "let its profile print in a terminal only"
            )
        found = json.loads(answer)
        if found["system"] != "Linux" or found["machine"] != "x86_64":
            raise LendingError(
                f"{name}: expected Linux on x86_64, found {found['system']} on {found['machine']}; use another machine"
            )
        if tuple(found["python"]) < PYTHON:
            version = ".".join(map(str, found["python"]))
            raise LendingError(f"{name}: expected python3 {wanted} or later, found {version}; install it there")
        if not found["root"]:
            raise LendingError(f"{name}: expected a login as root, found another account; name root@HOST")
        if not found["ipv6"]:
            raise LendingError(f"{name}: expected a kernel with IPv6, found none; start it without ipv6.disable=1")
        if found["folder"] is None:
            raise LendingError(
                f"{name}: expected to start programs from one of {', '.join(_FOLDERS)}, found all of them mounted noexec"
            )
        self._place = found["folder"]
        if tools and found["missing"]:
            missing = ", ".join(found["missing"])
            raise LendingError(
                f"{name}: expected the programs {', '.join(TOOLS)}, found no {missing}; install what is missing there"
            )

    def put(self, archive: Path) -> None:
        """Unpack the archive there.

        Raises:
            LendingError: it cannot be.
        """
        self.folder = f"{self._place}/plugfest-{secrets.token_hex(4)}"
        with archive.open("rb") as file:
            done = self.ssh.run(
                f"umask 077 && mkdir {self.folder} && python3 -c {shlex.quote(_UNPACK)} {self.folder}", stdin=file
            )
        if done.returncode:
            last = (done.stderr.decode(errors="replace").strip().splitlines() or ["nothing"])[-1]
            raise LendingError(f"{self.ssh.name}: expected room for the agent in {self.folder}, found: {last}")

    def forward(self) -> None:
        """Have the sockets of the keeper's folder here.

        Raises:
            InfrastructureError: SSH does not allow it.
        """
        for name in (AGENT, KEEPER, LOG):
            self.ssh.forward(self._sockets / name, f"{self.folder}/{name}")

    def command(self, module: str, *words: str) -> str:
        """Return the command that starts one of the agent's programs there."""
        environment = f"PYTHONPATH={self.folder} PYTHONDONTWRITEBYTECODE=1 PATH=$PATH:/usr/sbin:/sbin"
        return f"cd / && exec env {environment} python3 -S -m agent.hardware.{module} {shlex.join(words)}"

    def close(self) -> None:
        """Remove the folder, and disconnect."""
        if self.folder and self.ssh.gone() is None:
            with suppress(InfrastructureError):
                self.ssh.run(f"rm -rf {self.folder}", timeout=20)
        self.ssh.close()
