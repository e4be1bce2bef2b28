# SPDX-License-Identifier: GPL-2.0-or-later
"""AF_XDP sockets with their rings, by a program in C: ``guest-images/programs/af_xdp.c``. Methods ``af_xdp.*``."""

from __future__ import annotations

import base64
import errno
import os
import subprocess
from typing import Any

from agent import handle
from agent.bpf import bpf
from agent.methods import exposed

FOLDER = "/usr/lib/plugfest/programs"


class Refused(OSError):  # noqa: N818 - reads as what happened
    """The program said that a command failed, with the kernel's errno."""


class Sockets:
    """The program, whose sockets share one umem.

    Args:
        descriptor: of the map (BPF_MAP_TYPE_XSKMAP) that its sockets are entered in, None for none.
    """

    def __init__(self, descriptor: int | None) -> None:
        """Start it."""
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
        """Give a command; returns the number of its ``ok``, and the lines before that.

        Raises:
            Refused: it failed.
            RuntimeError: the program is gone.
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
                raise Refused(int(number), f"{os.strerror(int(number))}: {what}")
            lines.append(f"{kind} {rest}")
        raise RuntimeError(f"af_xdp ended with status {self.process.wait()}")

    def close(self) -> None:
        """Kill it: its sockets go with it."""
        self.process.kill()
        self.process.communicate()


def _sockets(sockets: int) -> Sockets:
    return handle.get(sockets, Sockets)


@exposed
def start(map: int | None = None) -> int:  # noqa: A002
    """Start a process for sockets that share one umem, to be entered in the XSKMAP of this handle; returns a handle."""
    return handle.keep(Sockets(None if map is None else handle.get(map, bpf.Map).fd))


@exposed
def ask(sockets: int, command: str) -> int:
    """Give a command that has no more to say than a number; returns that."""
    return _sockets(sockets).ask(command)[0]


@exposed
def statistics(sockets: int, socket: int) -> dict[str, int]:
    """Return XDP_STATISTICS by the names of struct xdp_statistics."""
    _, lines = _sockets(sockets).ask(f"statistics {socket}")
    return {name: int(number) for name, _, number in (line.partition(" ") for line in lines)}


@exposed
def receive(sockets: int, socket: int, count: int, timeout: float) -> list[dict[str, Any]]:
    """Return up to so many buffers, waiting so many seconds for each.

    Returns:
        For each ``options`` (XDP_PKT_CONTD: another buffer of the packet follows), ``offset`` within its chunk, ``data``.
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
    """Put frames into the transmit ring until it is full; returns how many it took. The kernel is not woken.

    Args:
        sockets: handle.
        socket: number.
        frames: base64.
        options: of each descriptor (XDP_TX_METADATA).
        metadata: hexadecimal, put before each frame.
    """
    own = _sockets(sockets)
    for number, frame in enumerate(frames):
        try:
            own.ask(f"send {socket} {options} {base64.b64decode(frame).hex()} {metadata}")
        except Refused as error:
            if error.errno == errno.ENOBUFS:
                return number
            raise
    return len(frames)


@exposed
def reap(sockets: int, socket: int, count: int) -> list[str]:
    """Take up to so many completions; returns the metadata before each frame, hexadecimal."""
    _, lines = _sockets(sockets).ask(f"reap {socket} {count}")
    return [line.partition(" ")[2] for line in lines]
