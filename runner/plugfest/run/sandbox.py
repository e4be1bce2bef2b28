# SPDX-License-Identifier: GPL-2.0-or-later
"""The namespaces of one run: whatever happens to the runner, nothing of the run outlives it.

    runner ── lifeline ──┐
      └ usher            │   new user (if need be), mount, network namespaces; makes the PID namespace
          └ warden ──────┘   first process of the PID namespace; mounts, starts the payload, reaps
              └ payload      pytest, and below it QEMU, the model …

The warden holds one end of a socket, the lifeline, and the runner the other. When the runner is gone, by whatever signal, the
lifeline ends and so does the warden; with it the kernel kills everything in its PID namespace, and then takes the private
network namespace (taps, sockets) and the private mounts down. `PR_SET_PDEATHSIG` does the same a second way.
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
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from plugfest.errors import InfrastructureError

Payload = Sequence[str] | Callable[[], int]

GRACE = 30.0
"""Seconds that the payload has for an orderly end, after it was asked for one."""

_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWPID = 0x20000000
_CLONE_NEWNET = 0x40000000
_NAMESPACES = _CLONE_NEWNS | _CLONE_NEWPID | _CLONE_NEWNET
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REC, _MS_SLAVE = 2, 4, 8, 1 << 14, 1 << 19
_PR_SET_PDEATHSIG = 1
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_SI_KERNEL = 0x80
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_WATCHED = {*_FORWARDED, signal.SIGCHLD}
_GLANCE = 0.05
"""Seconds between two looks for a signal."""
_LIBC = ctypes.CDLL(None, use_errno=True)
_TUN = Path("/dev/net/tun")


@dataclass(frozen=True)
class Outcome:
    """How the payload ended.

    Attributes:
        status: its exit status; 128 + N if signal N ended it.
        signal: the signal that asked the runner to end, or None.
    """

    status: int
    signal: signal.Signals | None = None


@dataclass
class _Plan:
    payload: Payload
    folder: Path
    files: Mapping[str, str]
    environment: Mapping[str, str]
    keep: Sequence[int]
    mask: set[int | signal.Signals] = field(default_factory=set)


def enter(
    payload: Payload,
    *,
    folder: Path,
    files: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    keep: Sequence[socket.socket] = (),
    grace: float = GRACE,
) -> Outcome:
    """Run something in namespaces of its own and wait for its end.

    SIGINT, SIGTERM and SIGHUP ask the payload for an orderly end, each as SIGINT (a Python program's KeyboardInterrupt), once;
    a second one, or `grace` seconds, ends it by SIGKILL. The calling process must have no second thread that takes signals.

    Args:
        payload: a program with its arguments, or a function whose result is the exit status.
        folder: becomes an empty tmpfs inside, private to the run; created outside if it is not there.
        files: name and content of files to write into that folder first.
        environment: of a program; None for this process's own.
        keep: sockets that a program inherits under their present numbers.
        grace: seconds for an orderly end.

    Raises:
        InfrastructureError: the host does not allow it; the message says what and why.
    """
    check_host()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InfrastructureError(
            f"expected to create {folder}, found: {error.strerror}; set XDG_CACHE_HOME to a folder of your own"
        ) from error
    plan = _Plan(
        payload,
        folder.resolve(),
        files or {},
        dict(os.environ if environment is None else environment),
        [s.fileno() for s in keep],
    )
    sys.stdout.flush()
    sys.stderr.flush()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    plan.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    try:
        parent = os.getpid()
        usher = os.fork()
        if usher == 0:
            ours.close()
            _guarded(lambda: _usher(plan, theirs, parent), theirs)
        theirs.close()
        return _watch(usher, ours, grace)
    finally:
        ours.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, plan.mask)


def check_host() -> None:
    """See that taps can be made here.

    Raises:
        InfrastructureError: /dev/net/tun is not there or not ours to open.
    """
    try:
        mode = _TUN.stat().st_mode
    except OSError as error:
        raise InfrastructureError(
            f"expected {_TUN} for the wire's tap, found: {error.strerror}; "
            f"load it (modprobe tun), or start this container with --device {_TUN}"
        ) from error
    if not stat.S_ISCHR(mode):
        raise InfrastructureError(
            f"expected {_TUN} to be a character device, found another kind of file; make it (mknod {_TUN} c 10 200)"
        )
    try:
        os.close(os.open(_TUN, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        raise InfrastructureError(
            f"expected to open {_TUN} for the wire's tap, found: {error.strerror}; "
            f"run as root, or allow it (chmod 666 {_TUN}; modprobe tun)"
        ) from error


# --- the runner's side ------------------------------------------------------------------------------------------------


def _watch(usher: int, lifeline: socket.socket, grace: float) -> Outcome:
    """Wait for the payload's end, pass signals on."""
    asked: signal.Signals | None = None
    kill_at = float("inf")
    while True:
        pid, status = os.waitpid(usher, os.WNOHANG)
        if pid:
            return _outcome(status, lifeline, asked)
        try:
            # Never waits here: a wait that a stop (^Z, a suspend) outlasts returns what is no siginfo (CPython, sigtimedwait).
            info = signal.sigtimedwait(signal.sigpending() & _WATCHED, 0)
            if info is None:
                time.sleep(_GLANCE)
        except KeyboardInterrupt:  # another thread took the signal
            number, from_terminal = signal.SIGINT, False
        else:
            if info is None or info.si_signo == signal.SIGCHLD:
                if time.monotonic() >= kill_at:
                    os.kill(usher, signal.SIGKILL)
                    lifeline.shutdown(socket.SHUT_RDWR)
                continue
            number = signal.Signals(info.si_signo)
            # A terminal's ^C reaches the whole foreground group: the payload has it already.
            from_terminal = number is signal.SIGINT and info.si_code == _SI_KERNEL
        if asked is not None:
            os.kill(usher, signal.SIGKILL)
            lifeline.shutdown(socket.SHUT_RDWR)
            continue
        asked = number
        kill_at = time.monotonic() + grace
        if not from_terminal:
            with suppress(OSError):
                lifeline.send(b"interrupt")


def _outcome(status: int, lifeline: socket.socket, asked: signal.Signals | None) -> Outcome:
    lifeline.setblocking(False)
    with suppress(OSError, ValueError):
        while message := lifeline.recv(1 << 16):
            word = json.loads(message)
            if "error" in word:
                raise InfrastructureError(word["error"])
            if "status" in word:
                return Outcome(int(word["status"]), asked)
    code = os.waitstatus_to_exitcode(status)
    return Outcome(128 - code if code < 0 else code, asked)


# --- inside -----------------------------------------------------------------------------------------------------------


def _guarded(work: Callable[[], int], lifeline: socket.socket) -> NoReturn:
    """Do a forked process's work; whatever goes wrong goes out by the lifeline, not up the runner's stack."""
    status = 70
    try:
        status = work()
    except InfrastructureError as error:
        _say(lifeline, error=str(error))
    except BaseException as error:  # a forked process must never return into its parent's code
        _say(lifeline, error=f"expected to prepare the run's namespaces, found {type(error).__name__}: {error}")
    os._exit(status)


def _say(lifeline: socket.socket, **words: object) -> None:
    with suppress(OSError):
        lifeline.send(json.dumps(words).encode())


def _usher(plan: _Plan, lifeline: socket.socket, parent: int) -> int:
    """Make the namespaces, start the warden in them, wait for it."""
    _unshare()
    # After the user namespace: the kernel forgets the signal when credentials change.
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return 1
    warden = os.fork()
    if warden == 0:
        _guarded(lambda: _warden(plan, lifeline), lifeline)
    lifeline.close()
    _, status = os.waitpid(warden, 0)
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def _unshare() -> None:
    """Enter new namespaces, with a user namespace where that is needed."""
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
            f"expected to become root in a user namespace, found: {error.strerror}; {_WAYS_OUT}"
        ) from error
    if _LIBC.unshare(_NAMESPACES) != 0:
        number = ctypes.get_errno()
        raise InfrastructureError(
            f"expected to make mount, network and PID namespaces, found: {os.strerror(number)}; {_WAYS_OUT}"
        )


_WAYS_OUT = (
    "run as root, or allow user namespaces (sysctl kernel.unprivileged_userns_clone=1 on Debian, "
    "kernel.apparmor_restrict_unprivileged_userns=0 on Ubuntu; a container needs --cap-add SYS_ADMIN --security-opt seccomp=unconfined)"
)


def _no_user_namespace(number: int) -> str:
    if number == errno.ENOSPC:
        return "expected to make a user namespace, found: the host's limit is reached; raise it (sysctl user.max_user_namespaces=10000)"
    return f"expected to make a user namespace, found: {os.strerror(number)}; {_WAYS_OUT}"


def _warden(plan: _Plan, lifeline: socket.socket) -> int:
    """Be the first process: mount, start the payload, reap, and end when the payload or the runner does."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _mount_all(plan)
    _raise_loopback()
    wake, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    child = os.fork()
    if child == 0:
        signal.set_wakeup_fd(-1)
        _start(plan, lifeline)
    poll = select.poll()
    poll.register(lifeline, select.POLLIN)
    poll.register(wake, select.POLLIN)
    while True:
        status = _reap(child)
        if status is not None:
            _say(lifeline, status=status)
            return status
        for descriptor, _ in poll.poll():
            if descriptor == wake:
                os.read(wake, 512)
            elif not lifeline.recv(64):
                return 128 + signal.SIGKILL  # the runner is gone; ending takes everything along
            else:
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGINT)


def _reap(child: int) -> int | None:
    """Bury the dead; return the payload's exit status if it is among them."""
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


def _start(plan: _Plan, lifeline: socket.socket) -> NoReturn:
    """Become the payload."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, plan.mask)
    if callable(plan.payload):
        function = plan.payload

        def work() -> int:
            lifeline.close()
            try:
                return function()
            except KeyboardInterrupt:
                return 128 + signal.SIGINT
            finally:
                sys.stdout.flush()
                sys.stderr.flush()

        try:
            status = work()
        except BaseException:  # the traceback is the payload's last word; it must not unwind into the runner
            sys.excepthook(*sys.exc_info())
            status = 1
        os._exit(status)
    for descriptor in plan.keep:
        os.set_inheritable(descriptor, True)
    argv = list(plan.payload)
    try:
        os.execvpe(argv[0], argv, dict(plan.environment))  # noqa: S606 - no shell is wanted
    except OSError as error:
        _say(lifeline, error=f"expected to run {argv[0]}, found: {error.strerror}")
        os._exit(127)


def _mount_all(plan: _Plan) -> None:
    # Slave, not private: what the host unmounts later is not kept busy by us.
    _mount("none", Path("/"), "", _MS_REC | _MS_SLAVE)
    _mount("proc", Path("/proc"), "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    _mount("plugfest", plan.folder, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0700")
    for name, content in plan.files.items():
        (plan.folder / name).write_text(content)


def _mount(source: str, target: Path, kind: str, flags: int, data: str = "") -> None:
    if _LIBC.mount(source.encode(), os.fsencode(target), kind.encode(), flags, data.encode()) != 0:
        number = ctypes.get_errno()
        raise InfrastructureError(
            f"expected to mount {kind or 'a private view of'} {target}, found: {os.strerror(number)}; {_WAYS_OUT}"
        )


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack_from("16sh", fcntl.ioctl(control, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))
