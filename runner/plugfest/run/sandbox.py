# SPDX-License-Identifier: GPL-2.0-or-later
"""The namespaces of one run, which end with it: no process, tap or mount of a run outlives the runner.

    runner ── control socket ─┐
      └ launcher              │   new user (if necessary), mount and network namespaces; creates the PID namespace
          └ init ─────────────┘   PID 1 of the namespace; mounts, starts the payload, reaps
              └ payload           pytest, and below it QEMU, the model …

Init and runner each hold one end of the control socket. When the runner ends, by whatever signal, init reads end of file and exits. The
kernel then kills every process of the PID namespace, and removes the network namespace (taps, sockets) and the mounts with it.
`PR_SET_PDEATHSIG` ensures the same if the launcher is killed.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import select
import signal
import socket
import stat
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from plugfest.errors import InfrastructureError

Payload = Sequence[str] | Callable[[], int]

GRACE = 30.0
"""Seconds that the payload has to exit after a signal."""

SCRATCH_SIZE = "1g"
"""Of the tmpfs of a run: sockets, QEMU's output, and what the suite writes for a moment."""

_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWPID = 0x20000000
_CLONE_NEWNET = 0x40000000
_NAMESPACES = _CLONE_NEWNS | _CLONE_NEWPID | _CLONE_NEWNET
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND, _MS_REC, _MS_SLAVE = 2, 4, 8, 1 << 12, 1 << 14, 1 << 19
_MOUNT_SETATTR, _MOUNT_ATTR_RDONLY, _AT_FDCWD, _AT_RECURSIVE = 442, 1, -100, 0x8000
_PR_SET_PDEATHSIG = 1
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_SI_KERNEL = 0x80
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_WATCHED = {*_FORWARDED, signal.SIGCHLD}
_POLL_INTERVAL = 0.05
"""Seconds between two checks for a signal."""
_LIBC = ctypes.CDLL(None, use_errno=True)
_TUN = Path("/dev/net/tun")


@dataclass(frozen=True)
class Outcome:
    """How the payload ended.

    Attributes:
        status: its exit status; 128 + N if signal N ended it.
        signal: the signal that ended the runner, or None.
    """

    status: int
    signal: signal.Signals | None = None


@dataclass
class _Setup:
    payload: Payload
    folder: Path
    files: Mapping[str, str]
    environment: Mapping[str, str]
    keep: Sequence[int]
    writable: Sequence[Path] | None = None
    mask: set[int | signal.Signals] = field(default_factory=set)


def enter(
    payload: Payload,
    *,
    folder: Path,
    files: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    keep: Sequence[socket.socket] = (),
    grace: float = GRACE,
    writable: Sequence[Path] | None = None,
) -> Outcome:
    """Run a program or function in new namespaces and wait until it ends.

    SIGINT, SIGTERM and SIGHUP are passed to the payload as one SIGINT (KeyboardInterrupt in Python), so that it can clean up; a second
    signal, or `grace` seconds, kill it. The calling process must have no other thread that handles signals.

    Args:
        payload: a program with its arguments, or a function that returns the exit status.
        folder: an empty tmpfs inside, private to the run; created outside if it does not exist.
        files: names and contents of files to write into that folder first.
        environment: of a program; None for this process's environment.
        keep: sockets that a program inherits with the same descriptor numbers.
        grace: seconds that the payload has to exit after a signal.
        writable: folders of the host; all the rest of its file systems is read-only inside, and temporary files go to `folder`.
            None leaves everything as it is outside.

    Raises:
        InfrastructureError: the host does not allow it; the message has what failed and why.
    """
    check_host()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InfrastructureError(
            f"expected to create {folder}, found: {error.strerror}; set XDG_CACHE_HOME to a folder of your own"
        ) from error
    setup = _Setup(
        payload,
        folder.resolve(),
        files or {},
        dict(os.environ if environment is None else environment),
        [s.fileno() for s in keep],
        None if writable is None else [each.resolve() for each in writable],
    )
    sys.stdout.flush()
    sys.stderr.flush()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    setup.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    try:
        parent = os.getpid()
        launcher = os.fork()
        if launcher == 0:
            ours.close()
            _run_child(lambda: _make_namespaces(setup, theirs, parent), theirs)
        theirs.close()
        return _wait(launcher, ours, grace)
    finally:
        ours.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, setup.mask)


def enter_own_network() -> None:
    """Give this process, inside a run's namespaces, a network namespace of its own, with the loopback up.

    Raises:
        InfrastructureError: the host does not allow it.
    """
    if _LIBC.unshare(_CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise InfrastructureError(f"expected to create a network namespace, found: {os.strerror(number)}; {_HINT}")
    _set_loopback_up()


def check_host() -> None:
    """Check that this process can create taps.

    Raises:
        InfrastructureError: /dev/net/tun does not exist or cannot be opened.
    """
    try:
        mode = _TUN.stat().st_mode
    except OSError as error:
        raise InfrastructureError(
            f"expected {_TUN} for the tap, found: {error.strerror}; "
            f"load it (modprobe tun), or start this container with --device {_TUN}"
        ) from error
    if not stat.S_ISCHR(mode):
        raise InfrastructureError(
            f"expected {_TUN} to be a character device, found another kind of file; create it (mknod {_TUN} c 10 200)"
        )
    try:
        os.close(os.open(_TUN, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        raise InfrastructureError(
            f"expected to open {_TUN} for the tap, found: {error.strerror}; "
            f"run as root, or permit it (chmod 666 {_TUN}; modprobe tun)"
        ) from error


# --- the runner's side ------------------------------------------------------------------------------------------------


def _wait(launcher: int, control: socket.socket, grace: float) -> Outcome:
    """Wait until the payload ends, and pass signals on to it."""
    received: signal.Signals | None = None
    kill_at = float("inf")
    while True:
        pid, status = os.waitpid(launcher, os.WNOHANG)
        if pid:
            return _outcome(status, control, received)
        try:
            # With timeout 0: a wait during which the process is stopped (^Z, suspend) returns no valid siginfo (CPython, sigtimedwait).
            info = signal.sigtimedwait(signal.sigpending() & _WATCHED, 0)
            if info is None:
                time.sleep(_POLL_INTERVAL)
        except KeyboardInterrupt:  # another thread handled the signal
            number, from_terminal = signal.SIGINT, False
        else:
            if info is None or info.si_signo == signal.SIGCHLD:
                if time.monotonic() >= kill_at:
                    os.kill(launcher, signal.SIGKILL)
                    control.shutdown(socket.SHUT_RDWR)
                continue
            number = signal.Signals(info.si_signo)
            # ^C in a terminal goes to the whole foreground process group: the payload got it already.
            from_terminal = number is signal.SIGINT and info.si_code == _SI_KERNEL
        if received is not None:
            os.kill(launcher, signal.SIGKILL)
            control.shutdown(socket.SHUT_RDWR)
            continue
        received = number
        kill_at = time.monotonic() + grace
        if not from_terminal:
            with suppress(OSError):
                control.send(b"interrupt")


def _outcome(status: int, control: socket.socket, received: signal.Signals | None) -> Outcome:
    control.setblocking(False)
    with suppress(OSError, ValueError):
        while message := control.recv(1 << 16):
            report = json.loads(message)
            if "error" in report:
                raise InfrastructureError(report["error"])
            if "status" in report:
                return Outcome(int(report["status"]), received)
    code = os.waitstatus_to_exitcode(status)
    return Outcome(128 - code if code < 0 else code, received)


# --- inside -----------------------------------------------------------------------------------------------------------


def _run_child(work: Callable[[], int], control: socket.socket) -> NoReturn:
    """Run the code of a forked process; report any exception over the control socket instead of unwinding the runner's stack."""
    status = 70
    try:
        status = work()
    except InfrastructureError as error:
        _send(control, error=str(error))
    except BaseException as error:  # a forked process must never return into its parent's code
        _send(control, error=f"expected to prepare the run's namespaces, found {type(error).__name__}: {error}")
    os._exit(status)


def _send(control: socket.socket, **fields: object) -> None:
    with suppress(OSError):
        control.send(json.dumps(fields).encode())


def _make_namespaces(setup: _Setup, control: socket.socket, parent: int) -> int:
    """Create the namespaces, start init in them, wait for it."""
    _unshare()
    # After the user namespace: the kernel clears the parent-death signal when credentials change.
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return 1
    init = os.fork()
    if init == 0:
        _run_child(lambda: _run_init(setup, control), control)
    control.close()
    _, status = os.waitpid(init, 0)
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def _unshare() -> None:
    """Enter new namespaces, with a user namespace if necessary."""
    user, group = os.geteuid(), os.getegid()
    if user == 0 and _LIBC.unshare(_NAMESPACES) == 0:
        return
    # Not root, or root without CAP_SYS_ADMIN, as in most containers.
    if _LIBC.unshare(_CLONE_NEWUSER) != 0:
        raise InfrastructureError(_no_user_namespace(ctypes.get_errno()))
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    except OSError as error:
        raise InfrastructureError(
            f"expected to become root in a user namespace, found: {error.strerror}; {_HINT}"
        ) from error
    if _LIBC.unshare(_NAMESPACES) != 0:
        number = ctypes.get_errno()
        raise InfrastructureError(
            f"expected to create mount, network and PID namespaces, found: {os.strerror(number)}; {_HINT}"
        )


_HINT = (
    "run as root, or allow user namespaces (sysctl kernel.unprivileged_userns_clone=1 on Debian, "
    "kernel.apparmor_restrict_unprivileged_userns=0 on Ubuntu; a container needs --cap-add SYS_ADMIN --security-opt seccomp=unconfined)"
)


def _no_user_namespace(number: int) -> str:
    if number == errno.ENOSPC:
        return "expected to create a user namespace, found: the host's limit is reached; raise it (sysctl user.max_user_namespaces=10000)"
    return f"expected to create a user namespace, found: {os.strerror(number)}; {_HINT}"


def _run_init(setup: _Setup, control: socket.socket) -> int:
    """Run as PID 1: mount, start the payload, reap children, and exit when the payload or the runner ends."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _mount_all(setup)
    _set_loopback_up()
    wake, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    child = os.fork()
    if child == 0:
        signal.set_wakeup_fd(-1)
        _become_payload(setup, control)
    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(wake, select.POLLIN)
    while True:
        status = _reap(child)
        if status is not None:
            _send(control, status=status)
            return status
        for descriptor, _ in poll.poll():
            if descriptor == wake:
                os.read(wake, 512)
            elif not control.recv(64):
                return 128 + signal.SIGKILL  # the runner has ended; our exit ends all processes of the namespace
            else:
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGINT)


def _reap(child: int) -> int | None:
    """Reap exited children; return the payload's exit status if it is among them."""
    found = None
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                found = 128 - code if code < 0 else code
    return found


def _become_payload(setup: _Setup, control: socket.socket) -> NoReturn:
    """Become the payload."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, setup.mask)
    if setup.writable is not None:
        os.environ["TMPDIR"] = tempfile.tempdir = str(setup.folder)
    if callable(setup.payload):
        function = setup.payload

        def work() -> int:
            control.close()
            try:
                return function()
            except KeyboardInterrupt:
                return 128 + signal.SIGINT
            finally:
                sys.stdout.flush()
                sys.stderr.flush()

        try:
            status = work()
        except BaseException:  # print the traceback here; the exception must not unwind into the runner's code
            sys.excepthook(*sys.exc_info())
            status = 1
        os._exit(status)
    for descriptor in setup.keep:
        os.set_inheritable(descriptor, True)
    argv = list(setup.payload)
    try:
        temporary = {} if setup.writable is None else {"TMPDIR": str(setup.folder)}
        os.execvpe(argv[0], argv, {**setup.environment, **temporary})  # noqa: S606 - no shell is wanted
    except OSError as error:
        _send(control, error=f"expected to run {argv[0]}, found: {error.strerror}")
        os._exit(127)


def _mount_all(setup: _Setup) -> None:
    # Slave, not private: file systems that the host unmounts later are unmounted here too, and not kept busy.
    _mount("none", Path("/"), "", _MS_REC | _MS_SLAVE)
    if setup.writable is not None:
        _protect(setup.writable)
    _mount("proc", Path("/proc"), "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    _mount("plugfest", setup.folder, "tmpfs", _MS_NOSUID | _MS_NODEV, f"mode=0700,size={SCRATCH_SIZE}")
    for name, content in setup.files.items():
        (setup.folder / name).write_text(content)


def _protect(writable: Sequence[Path]) -> None:
    """Make the host's file systems read-only here, but for these folders."""
    # What is read-only on the host stays so.
    writable = [folder for folder in writable if not os.statvfs(folder).f_flag & os.ST_RDONLY]
    if not _set_read_only(Path("/"), on=True, below=True):
        return
    for folder in writable:
        _mount(str(folder), folder, "", _MS_BIND | _MS_REC)
        _set_read_only(folder, on=False, below=False)
    # The working directory is still the one below the new mounts.
    os.chdir(Path.cwd())


def _set_read_only(mount: Path, *, on: bool, below: bool) -> bool:
    """Make a mount read-only, or no longer so; returns whether the kernel can (mount_setattr, Linux 5.12).

    Args:
        mount: where it is mounted.
        on: read-only.
        below: the mounts below it, too.
    """
    wanted = struct.pack("=4Q", _MOUNT_ATTR_RDONLY if on else 0, 0 if on else _MOUNT_ATTR_RDONLY, 0, 0)
    flags = _AT_RECURSIVE if below else 0
    if _LIBC.syscall(_MOUNT_SETATTR, _AT_FDCWD, os.fsencode(mount), flags, wanted, len(wanted)) == 0:
        return True
    number = ctypes.get_errno()
    if number == errno.ENOSYS:
        return False
    what = "read-only" if on else "writable"
    raise InfrastructureError(f"expected to make {mount} {what}, found: {os.strerror(number)}; {_HINT}")


def _mount(source: str, target: Path, kind: str, flags: int, data: str = "") -> None:
    if _LIBC.mount(os.fsencode(source), os.fsencode(target), kind.encode(), flags, data.encode()) != 0:
        number = ctypes.get_errno()
        raise InfrastructureError(
            f"expected to mount {kind or 'a private view of'} {target}, found: {os.strerror(number)}; {_HINT}"
        )


def _set_loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack_from("16sh", fcntl.ioctl(control, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))
