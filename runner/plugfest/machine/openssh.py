# SPDX-License-Identifier: GPL-2.0-or-later
"""SSH to a real machine by the user's own client, with its configuration, keys and known hosts: one connection for all that is done there.

Source: ssh(1), ControlMaster and streamlocal forwarding.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

from plugfest.errors import InfrastructureError, UsageError
from plugfest.machine.qemu import die_with_parent

CONNECT_TIMEOUT = 30.0
"""Seconds for the connection; a machine that is away is found out before that."""
COMMAND_TIMEOUT = 120.0
_ALIVE_INTERVAL, _ALIVE_COUNT = 5, 6
"""Seconds between two questions whether the machine is still there, and how many may stay unanswered."""
_ALWAYS = {
    "BatchMode": "yes",  # nobody could answer a question in the middle of a run
    "RequestTTY": "no",
    "RemoteCommand": "none",
    "PermitLocalCommand": "no",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "ClearAllForwardings": "yes",
}
"""What holds whatever the user's configuration says: it may be meant for a terminal."""
_DESTINATION = re.compile(
    r"(?:(?P<user>\w[\w.-]*)@)?(?:\[(?P<v6>[0-9A-Fa-f:.%]+)\]|(?P<host>\w[\w.-]*))(?::(?P<port>\d{1,5}))?"
)


def destination(text: str, option: str) -> list[str]:
    """Return ssh's arguments for a machine, ``USER@HOST``, ``USER@HOST:PORT`` or ``USER@[IPV6]:PORT``.

    Args:
        text: as the user gives it.
        option: that it was given with, for the message.

    Raises:
        UsageError: it is none.
    """
    match = _DESTINATION.fullmatch(text)
    if match is None or text.startswith("-"):
        raise UsageError(f"{option} {text}: expected root@HOST, or root@HOST:PORT, found something else")
    host = match["v6"] or match["host"]
    port = ["-p", match["port"]] if match["port"] else []
    return [*port, f"{match['user']}@{host}" if match["user"] else host]


def _options(options: Mapping[str, str]) -> list[str]:
    return [word for name, value in options.items() for word in ("-o", f"{name}={value}")]


class OpenSsh:
    """A connection, which lasts until `close`, or this process's end.

    Attributes:
        name: of the machine, as the user gave it.
    """

    def __init__(
        self,
        name: str,
        option: str,
        *,
        folder: Path,
        config: Path | None = None,
    ) -> None:
        """Connect.

        Args:
            name: the machine, as `destination` takes it.
            option: that it was given with, for messages.
            folder: for sockets; short, since a socket's name has room for 107 bytes.
            config: file in place of the user's ssh_config.

        Raises:
            UsageError: the name is none of a machine.
            InfrastructureError: there is no ssh, or it does not get in.
        """
        self.name = name
        where = destination(name, option)
        program = shutil.which("ssh")
        if program is None:
            raise InfrastructureError(f"{option} {name}: expected the program ssh, found none; install openssh-client")
        self._program = program
        self._path = folder / "ssh"
        self._argv = [program, *(["-F", str(config)] if config else []), *_options(_ALWAYS)]
        self._argv += _options({"ControlPath": str(self._path)})
        options = {
            "ControlMaster": "yes",
            "ControlPersist": "no",  # else it goes into the background, and would outlive the run
            "ConnectTimeout": f"{CONNECT_TIMEOUT:.0f}",
            "ServerAliveInterval": str(_ALIVE_INTERVAL),
            "ServerAliveCountMax": str(_ALIVE_COUNT),
        }
        argv = [*self._argv, "-N", *_options(options)]
        self._argv += _options({"ControlMaster": "no"})
        self._where = where
        self._log = folder / "ssh.log"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*argv, *where],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a terminal's ^C must leave the connection, by which settings are put back
                preexec_fn=die_with_parent,  # noqa: PLW1509 - one system call, nothing that a thread could hold
            )
        end = time.monotonic() + CONNECT_TIMEOUT + 5
        while not self._path.exists():
            if self._process.poll() is not None or time.monotonic() > end:
                reason = self.gone() or f"no connection within {CONNECT_TIMEOUT:.0f} s"
                self.close()
                raise InfrastructureError(
                    f"{option} {name}: expected a login without a question, found: {reason}; `{shlex.join(['ssh', *where])}` must work"
                )
            time.sleep(0.02)

    def forward(self, here: Path, there: str) -> None:
        """Have a Unix socket here stand for one on the machine, which need not be there yet.

        Raises:
            InfrastructureError: it cannot.
        """
        # No configuration: the forwardings that the user has there would be asked for as well.
        options = _options({"ControlPath": str(self._path), "StreamLocalBindUnlink": "yes"})
        argv = [self._program, "-F", "none", *options, "-O", "forward", "-L", f"{here}:{there}", *self._where]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode:
            raise InfrastructureError(f"{self.name}: expected ssh to forward a socket, found: {done.stderr.strip()}")

    def gone(self) -> str | None:
        """Return why there is no connection any more; None while there is one."""
        if self._process.poll() is None:
            return None
        lines = [line.strip() for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else f"ssh ended with exit status {self._process.returncode}"

    def run(
        self, command: str, *, stdin: IO[bytes] | None = None, timeout: float = COMMAND_TIMEOUT
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command of the machine's shell to its end.

        Raises:
            InfrastructureError: it did not end in time.
        """
        try:
            return subprocess.run(
                [*self._argv, *self._where, command],
                stdin=stdin if stdin is not None else subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout,
                check=False,
                start_new_session=True,
            )
        except subprocess.TimeoutExpired as error:
            raise InfrastructureError(
                f"{self.name}: expected `{command[:60]}` to end within {timeout:.0f} s, found that it has not"
            ) from error

    def start(self, command: str, *, stdin: int, stdout: int, stderr: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start a command of the machine's shell that goes on; it ends with this process."""
        return subprocess.Popen(
            [*self._argv, *self._where, command],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - as above
        )

    def close(self) -> None:
        """End the connection. Idempotent."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5.0)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
