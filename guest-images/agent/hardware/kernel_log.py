# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's log from now on, as a serial console would print it, on each connection to a Unix socket; and lines of the suite's in it.

Source: Documentation/ABI/testing/dev-kmsg.
"""

from __future__ import annotations

import os
import select
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from agent.system.system import KMSG_RECORD

KMSG = "/dev/kmsg"


def write(text: str) -> None:
    """Write a line, which stays when the runner is gone."""
    with suppress(OSError):
        Path(KMSG).write_text(f"plugfest: {text}\n")


def serve(listener: socket.socket) -> NoReturn:
    """Print the log to whoever connects, until killed."""
    while True:
        connection, _ = listener.accept()
        # Opened at once: what is logged after the connection was made is printed.
        fd = os.open(KMSG, os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(fd, 0, os.SEEK_END)
        threading.Thread(target=_print, args=(connection, fd), daemon=True).start()


def _print(connection: socket.socket, fd: int) -> None:
    with connection, suppress(OSError):
        connection.sendall(b"\n")  # shows that the log is read
        while True:
            readable, _, _ = select.select([fd, connection.fileno()], [], [])
            if connection.fileno() in readable:  # it was closed
                break
            for text in _records(fd):
                connection.sendall(text)
    os.close(fd)


def _records(fd: int) -> list[bytes]:
    found = []
    with suppress(BlockingIOError):
        while True:
            try:
                record = os.read(fd, 8192).decode(errors="replace")
            except BrokenPipeError:
                found.append(b"[    0.000000] plugfest: the kernel's log was overwritten before it was read\n")
                continue
            match = KMSG_RECORD.match(record)
            if match is None:
                continue
            seconds = int(match["micros"]) / 1e6
            # What follows the first line are the record's properties, as SUBSYSTEM=pci.
            text = match["text"].partition("\n")[0]
            found.append(f"[{seconds:12.6f}] {text}\n".encode())
    return found
