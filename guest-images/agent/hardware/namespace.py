# SPDX-License-Identifier: GPL-2.0-or-later
"""A network namespace for the interface under test alone, so that nothing done there can reach another interface of the machine.

The kernel gives a NIC's interface back to the initial namespace when this one ends, by whatever cause. A process holds it, and serves
the kernel's log meanwhile. Source: network_namespaces(7), mount_namespaces(7); net/core/dev.c, default_device_exit_net.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from agent.netlink import connection
from agent.system.libc import checked, libc

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
MS_NOSUID_NODEV_NOEXEC, MS_REC, MS_PRIVATE = 2 | 4 | 8, 1 << 14, 1 << 18
MNT_DETACH = 2
PR_SET_PDEATHSIG = 1
DEBUG_FILE_SYSTEMS = (
    ("bpf", "/sys/fs/bpf"),
    ("debugfs", "/sys/kernel/debug"),
    ("tracefs", "/sys/kernel/tracing"),
)
"""What a sysfs that was just mounted has empty folders for, and the agent uses."""

INHERITED = "/proc/sys/net/core/devconf_inherit_init_net"
"""2: a new namespace begins with the kernel's own defaults, not with what the machine's sysctl.d says of forwarding, filters and ARP."""


class InsideError(Exception):
    """What was done in the namespace failed; the message says how."""


def die_with_parent() -> None:
    """Have the kernel kill this process when the process that forked it ends."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def outlive_shortage(yes: bool) -> None:
    """Have the kernel end all others before this process when memory is short, or treat it like any other."""
    with suppress(OSError):  # only root may
        Path("/proc/self/oom_score_adj").write_text("-1000" if yes else "0")


class Namespace:
    """The namespaces of network and mounts, with a sysfs that shows the former.

    Attributes:
        pid: of the process that holds them.
    """

    def __init__(self, work: Callable[[], NoReturn]) -> None:
        """Create them.

        Args:
            work: what the process that holds them does; it ends with this process, or when it is killed.

        Raises:
            OSError: the kernel does not allow it.
        """
        reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                die_with_parent()
                os.setsid()
                os.close(reading)
                _unshare()
                os.write(writing, b"+")
                os.close(writing)
                work()
            except OSError as error:
                os.write(writing, str(error).encode())
            finally:
                os._exit(status)
        os.close(writing)
        with os.fdopen(reading, "rb") as answer:
            found = answer.read()
        if found != b"+":
            raise OSError(
                f"expected to create a network namespace, found: {found.decode() or 'nothing'}; run it as root"
            )
        # Opened here, they outlive that process: the interface stays until it is given back, or this process ends.
        self._files = [os.open(f"/proc/{self.pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC) for name in ("net", "mnt")]

    def enter(self) -> None:
        """Move the calling process, which must have one thread, into both."""
        for file, kind in zip(self._files, (CLONE_NEWNET, CLONE_NEWNS), strict=True):
            checked(libc.setns(file, kind))
        connection.forget()

    def do(self, work: Callable[[], Any], timeout: float = 60) -> Any:
        """Do something inside, in a process of its own; returns its result, a JSON value.

        Raises:
            InsideError: it failed, or took too long.
        """

        def inside() -> Any:
            self.enter()
            return work()

        return in_a_process(inside, timeout)

    def start(self, command: Sequence[str], environment: dict[str, str], log: str) -> subprocess.Popen[bytes]:
        """Start a program inside, in a session of its own, its output appended to a file; it ends with this process."""

        def prepare() -> None:
            die_with_parent()
            outlive_shortage(False)
            self.enter()

        with open(log, "ab") as output:  # noqa: PTH123 - a name from the command line
            return subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=prepare,  # noqa: PLW1509 - this process has one thread
            )

    def processes(self) -> set[int]:
        """Return the processes inside, but for the one that holds the namespace."""
        inside = os.fstat(self._files[0])
        found = set()
        for path in Path("/proc").glob("[0-9]*/ns/net"):
            with suppress(OSError):  # it ended, or has done so but for its parent
                if os.path.samestat(path.stat(), inside):
                    found.add(int(path.parts[2]))
        return found - {self.pid}

    def close(self) -> None:
        """End them; an interface of a device that is still inside goes to the initial namespace."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        for file in self._files:
            os.close(file)


def in_a_process(work: Callable[[], Any], timeout: float = 60) -> Any:
    """Do something in a process of its own, which the kernel may never let return; returns its result, a JSON value.

    Raises:
        InsideError: it failed, or took too long.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            signal.alarm(0)
            try:
                answer = {"result": work()}
            except Exception as error:
                answer = {"error": str(error) or type(error).__name__}
            with os.fdopen(writing, "wb") as out:
                out.write(json.dumps(answer).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as incoming:
        os.set_blocking(incoming.fileno(), False)
        data = _read_all(incoming.fileno(), timeout)
    if data is None:
        os.kill(child, signal.SIGKILL)  # it may be in the kernel for good: it is not waited for
        raise InsideError(f"expected the kernel to return within {timeout:.0f} s, found that it has not")
    os.waitpid(child, 0)
    found = json.loads(data or b'{"error": "the process ended"}')
    if "error" in found:
        raise InsideError(found["error"])
    return found["result"]


def _read_all(file: int, timeout: float) -> bytes | None:
    """Read to the end; None where that did not come in time."""
    end, data = time.monotonic() + timeout, b""
    while (left := end - time.monotonic()) > 0:
        if not select.select([file], [], [], left)[0]:
            continue
        part = os.read(file, 1 << 16)
        if not part:
            return data
        data += part
    return None


def _unshare() -> None:
    # Opened before: the new namespace does not have this parameter.
    try:
        inherited = os.open(INHERITED, os.O_RDWR | os.O_CLOEXEC)
    except OSError:  # a kernel before 5.4, or one that is locked
        inherited = None
    before = b"" if inherited is None else os.read(inherited, 16)
    try:
        if inherited is not None:
            os.pwrite(inherited, b"2", 0)
        checked(libc.unshare(CLONE_NEWNET | CLONE_NEWNS))
    finally:
        if inherited is not None:
            os.pwrite(inherited, before, 0)
            os.close(inherited)
    checked(libc.mount(None, b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None))
    # The mounted sysfs shows the interfaces of the namespace in which it was mounted.
    checked(libc.mount(b"plugfest", b"/sys", b"sysfs", ctypes.c_ulong(MS_NOSUID_NODEV_NOEXEC), None), "/sys")
    for kind, path in DEBUG_FILE_SYSTEMS:
        # One that this kernel lacks, or locks, is missed where a test needs it.
        libc.mount(b"plugfest", path.encode(), kind.encode(), ctypes.c_ulong(MS_NOSUID_NODEV_NOEXEC), None)
