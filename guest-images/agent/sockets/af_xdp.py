# SPDX-License-Identifier: GPL-2.0-or-later
"""AF_XDP sockets and their rings, driven by a C program, ``guest-images/programs/af_xdp.c``. Methods ``af_xdp.*``."""

from __future__ import annotations

import base64
import errno
import os
import subprocess
from typing import Any

from agent import handle
from agent.bpf.objects import Map
from agent.methods import exposed

FOLDER = "/usr/lib/plugfest/programs"


class CommandError(OSError):
    """A command of the program failed; errno is the kernel's."""


class Sockets:
    """A process of the program, whose sockets share a umem.

    Args:
        descriptor: of the map (BPF_MAP_TYPE_XSKMAP) for its sockets, None for none.
    """

    def __init__(self, descriptor: int | None) -> None:
        """Start the process."""
        program = os.path.join(os.environ.get("PLUGFEST_PROGRAMS", FOLDER), "af_xdp")  # noqa: PTH118 - as exec wants it
        maps = () if descriptor is None else (descriptor,)
        self.process = subprocess.Popen(
            [program, *map(str, maps)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=maps,
            start_new_session=True,
        )

    def ask(self, command: str) -> tuple[int, list[str]]:
        """Carry out a command; returns the number after its ``ok``, and the lines before that.

        Raises:
            CommandError: it failed.
            RuntimeError: the process ended.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()
        lines: list[str] = []
        for line in self.process.stdout:
            kind, _, rest = line.decode().rstrip("\n").partition(" ")
            if kind == "ok":
                return int(rest), lines
            if kind == "error":
                number, _, what = rest.partition(" ")
                raise CommandError(int(number), f"{os.strerror(int(number))}: {what}")
            lines.append(f"{kind} {rest}")
        raise RuntimeError(f"af_xdp ended with status {self.process.wait()}")

    def close(self) -> None:
        """Kill the process, which closes its sockets."""
        self.process.kill()
        self.process.communicate()


def _sockets(sockets: int) -> Sockets:
    return handle.get(sockets, Sockets)


@exposed
def start(map: int | None = None, command: str | None = None) -> int:  # noqa: A002
    """Start a process for sockets that share a umem, and give it its first command; returns a handle.

    Args:
        map: handle of an XSKMAP for the sockets, or null.
        command: as of `ask`.
    """
    sockets = Sockets(None if map is None else handle.get(map, Map).fd)
    if command is not None:
        try:
            sockets.ask(command)
        except BaseException:
            sockets.close()
            raise
    return handle.keep(sockets)


@exposed
def ask(sockets: int, command: str) -> int:
    """Carry out a command whose result is a number, and return that."""
    return _sockets(sockets).ask(command)[0]


@exposed
def statistics(sockets: int, socket: int) -> dict[str, int]:
    """Return the socket's XDP_STATISTICS by the names of struct xdp_statistics."""
    _, lines = _sockets(sockets).ask(f"statistics {socket}")
    return {name: int(number) for name, _, number in (line.partition(" ") for line in lines)}


@exposed
def receive(sockets: int, socket: int, count: int, timeout: float) -> list[dict[str, Any]]:
    """Receive up to `count` buffers, waiting up to `timeout` seconds for each.

    Returns:
        For each, options (XDP_PKT_CONTD: another buffer of the packet follows), offset in its chunk, and data (base64).
    """
    _, lines = _sockets(sockets).ask(f"receive {socket} {count} {int(timeout * 1000)}")
    found = []
    for line in lines:
        _, options, offset, data = line.split(" ")
        encoded = base64.b64encode(bytes.fromhex(data)).decode()
        found.append({"options": int(options), "offset": int(offset), "data": encoded})
    return found


@exposed
def send(sockets: int, socket: int, frames: list[str], options: int = 0, metadata: str = "") -> int:
    """Put frames into the TX ring until it is full; returns their number. Does not wake up the kernel.

    Args:
        sockets: handle of the process.
        socket: number of the socket in the process.
        frames: in base64.
        options: of each descriptor (XDP_TX_METADATA).
        metadata: before each frame, in hexadecimal digits.
    """
    own = _sockets(sockets)
    for number, frame in enumerate(frames):
        try:
            own.ask(f"send {socket} {options} {base64.b64decode(frame).hex()} {metadata}")
        except CommandError as error:
            if error.errno == errno.ENOBUFS:
                return number
            raise
    return len(frames)


@exposed
def reap(sockets: int, socket: int, count: int) -> list[str]:
    """Take up to `count` completions; returns the metadata of each frame, in hexadecimal digits."""
    _, lines = _sockets(sockets).ask(f"reap {socket} {count}")
    return [line.partition(" ")[2] for line in lines]
