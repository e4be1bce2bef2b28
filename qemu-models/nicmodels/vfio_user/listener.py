# SPDX-License-Identifier: MIT
"""Listening unix sockets, which replace the socket files of dead processes."""

from __future__ import annotations

import contextlib
import errno
import socket
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class SocketInUseError(OSError):
    """Another process listens at the path."""


def listen(path: Path, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    """Listen at `path`; a socket file that a dead process left there is replaced.

    Raises:
        SocketInUseError: another process listens there.
        OSError: the path cannot be used.
    """
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.stat().st_mode):
            with socket.socket(socket.AF_UNIX, kind) as probe:
                try:
                    probe.connect(str(path))
                except ConnectionRefusedError:
                    path.unlink()
                else:
                    raise SocketInUseError(errno.EADDRINUSE, f"{path}: another process listens there")
    listener = socket.socket(socket.AF_UNIX, kind)
    try:
        listener.bind(str(path))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"cannot listen at {path}: {error.strerror or error}") from error
    listener.setblocking(False)
    return listener


def remove(path: Path) -> None:
    """Remove a socket's name, if this process, which may have given up its privileges, still may."""
    with contextlib.suppress(FileNotFoundError, PermissionError):
        path.unlink()
