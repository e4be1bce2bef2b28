# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs strangers' programs, such as their makefiles: in namespaces of their own, unprivileged, and limited.

    plugfest ─ bwrap ─ bwrap, PID 1 of the namespace ─ prlimit ─ setpriv ─ the program

bubblewrap (bwrap(1)) makes mount, PID, network, IPC and UTS namespaces. Their root is a folder of the cache, read-only; nothing of the
host's files is in it. Two folders can be written: the build folder, as /build, and a scratch folder, as /tmp. The network has no more
than a loopback. Started by root, the program runs as nobody, of the host too (setpriv(1)), without capabilities; started by an
ordinary user, in a user namespace, as nobody there. No program gains privileges (``no_new_privs``), nor makes namespaces of its own
(`plugfest.build.system_calls`). What is left when the program ends, or when plugfest does, the kernel kills with the PID namespace.

A watcher ends what takes more than its `Limits`. Resource limits (setrlimit(2)) hold what could outrun it.
"""

from __future__ import annotations

import json
import os
import resource
import select
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import BinaryIO

from plugfest.build import folder as folders
from plugfest.build import system_calls
from plugfest.build.errors import LimitError
from plugfest.errors import InfrastructureError
from plugfest.provision.build_root import BUILD
from plugfest.run.capacity import cores

NOBODY = 65534
"""User and group of a confined program."""

_MIB = 1 << 20
_INTERVAL = 0.05
_SPACE_INTERVAL = 1.0
"""Seconds between two looks at processes and memory, and between two at the space: that reads the whole folder."""
_LARGEST_LOG = 64 << 20
"""Bytes of a program's output that are kept: the first."""
_LONGEST_EXTENSION = 9
"""Times its length by which the time limit is extended at most on a busy host."""
_END = 30
"""Seconds that killed processes have to end."""
_PATH = "/usr/local/bin:/usr/bin:/usr/sbin"
_NAMESPACES = ("--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--hostname", "plugfest")
_CAPABILITIES = ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP")
"""What setpriv needs to drop all."""
_DROP = (
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
    *("--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all"),
)


@dataclass(frozen=True)
class Limits:
    """What a confined program and all its children may take.

    Attributes:
        seconds: time from start to end, on a host that has time for it.
        memory: resident memory of all processes together, MiB.
        processes: how many processes at a time.
        space: of the two folders together, MiB; a file with holes counts as it would without.
        files: how many in the two folders together.
    """

    seconds: float = 600.0
    memory: int = 4096
    processes: int = 512
    space: int = 4096
    files: int = 200_000


class Confinement:
    """Runs programs in one folder, one after the other."""

    def __init__(self, root: Path, bwrap: Sequence[str], folder: Path, limits: Limits | None = None) -> None:
        """Make the build folder and the scratch folder.

        Args:
            root: root of the programs, with a mount point ``build``; read-only to them.
            bwrap: argv prefix of bubblewrap.
            folder: an empty or missing folder for both folders.
            limits: of each program.
        """
        self.root = root
        self.build = folder / "build"
        self._scratch = folder / "tmp"
        self._bwrap = tuple(bwrap)
        self.limits = limits or Limits()
        for path in (self.build, self._scratch):
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o755)

    def take(self, source: Path, name: str = "") -> Path:
        """Copy a folder into the build folder; symbolic links as they are, without sockets, pipes and devices.

        Args:
            source: the folder.
            name: path of the copy in the build folder; by default it becomes the build folder's contents.

        Returns:
            The copy.

        Raises:
            LimitError: it has more than a build may take.
            InfrastructureError: it cannot be copied.
        """
        excess = self._excess_of([source])
        if excess is not None:
            raise LimitError(f"{source}: expected at most {excess}; name the driver's folder alone")
        target = self.build / name
        _copy(source, target)
        return target

    def give(self, name: str, target: Path) -> None:
        """Copy a folder of the build folder to the host: folders and regular files, for a link leads where a stranger wants.

        Args:
            name: path of the folder in the build folder.
            target: the copy.

        Raises:
            InfrastructureError: it cannot be copied.
        """
        for path in self.files(name):
            data = self.read(path, self.limits.space * _MIB)
            if data is None:
                continue
            copy = target / path.relative_to(name)
            try:
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(data)
                shutil.copystat(self.build / path, copy, follow_symlinks=False)  # by its times make knows what is older
            except OSError as error:
                raise InfrastructureError(f"{copy}: expected to write it, found: {error.strerror}") from error

    def files(self, name: str | PurePosixPath = "") -> Iterator[PurePosixPath]:
        """Give the regular files of a folder in the build folder, by their paths there; see `plugfest.build.folder.files`."""
        return folders.files(self.build, name)

    def read(self, name: str | PurePosixPath, largest: int) -> bytes | None:
        """Return the contents of a file of the build folder; None if it is no regular file, or a larger one."""
        return folders.read(self.build, name, largest)

    def write(self, name: str | PurePosixPath, data: bytes) -> None:
        """Write a file of the build folder, in place of whatever is there; see `plugfest.build.folder.write`."""
        folders.write(self.build, name, data)

    def unlink(self, name: str | PurePosixPath) -> None:
        """Remove a file of the build folder, or what is in its place."""
        folders.unlink(self.build, name)

    def run(
        self,
        command: Sequence[str],
        *,
        log: Path,
        folder: str = "",
        environment: Mapping[str, str] | None = None,
        what: str = "the build",
    ) -> int:
        """Run a program, and wait until it and all its children have ended.

        Args:
            command: the program, in the root or in the build folder, and its arguments.
            log: file that its output goes to, appended.
            folder: its working folder, within the build folder.
            environment: added to PATH, HOME and LC_ALL, which is all that it gets.
            what: its name in messages.

        Returns:
            Its exit status; 128 + N if signal N ended it.

        Raises:
            LimitError: it took more than it may, and was ended.
            InfrastructureError: the namespaces cannot be made.
        """
        self._give_away()
        reading, writing = os.pipe()
        with _Output(log) as output, open(reading, "rb") as report:  # noqa: PTH123 - a descriptor, not a path
            try:
                process = self._start(command, output.writing, folder, environment or {}, writing)
            finally:
                os.close(writing)
                os.close(output.writing)
            with _init_of(report) as init:
                try:
                    excess = self._watch(process)
                finally:
                    process.kill()  # what is left of it ends with it
                    process.wait()
                    _wait_for_end(init)
            excess = excess or self._excess_of_space()
            began = b"exit-code" in report.read()
        if excess is not None:
            raise LimitError(f"{what}: expected at most {excess}; it was ended")
        if not began:
            raise InfrastructureError(
                f"expected to make namespaces for a build, found: {_last_line(log).removeprefix('bwrap: ')}; "
                "run as root, or allow user namespaces (sysctl kernel.unprivileged_userns_clone=1 on Debian, "
                "kernel.apparmor_restrict_unprivileged_userns=0 on Ubuntu)"
            )
        return 128 - process.returncode if process.returncode < 0 else process.returncode

    def _start(
        self, command: Sequence[str], output: int, folder: str, environment: Mapping[str, str], report: int
    ) -> subprocess.Popen[bytes]:
        argv = [*self._bwrap, *_NAMESPACES, "--die-with-parent", "--new-session", "--json-status-fd", str(report)]
        seccomp = system_calls.open_program()
        argv += ["--seccomp", str(seccomp)]
        as_root = os.geteuid() == 0
        if as_root:
            argv += [word for name in _CAPABILITIES for word in ("--cap-add", name)]
        else:
            argv += ["--unshare-user", "--uid", str(NOBODY), "--gid", str(NOBODY)]
        argv += ["--ro-bind", str(self.root), "/", "--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"]
        argv += ["--bind", str(self.build), f"/{BUILD}", "--bind", str(self._scratch), "/tmp"]  # noqa: S108 - a folder of our own
        argv += ["--chdir", str(Path(f"/{BUILD}", folder)), "--clearenv"]
        for name, value in {"PATH": _PATH, "HOME": f"/{BUILD}", "LC_ALL": "C", **environment}.items():
            argv += ["--setenv", name, value]
        argv += ["--", *self._resource_limits(), *(_DROP if as_root else ()), *command]
        try:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, pass_fds=(report, seccomp)
            )
        except OSError as error:
            raise InfrastructureError(f"expected to run {argv[0]}, found: {error.strerror}") from error
        finally:
            os.close(seccomp)
        with suppress(OSError):  # if the host is short of memory, this goes first
            Path(f"/proc/{process.pid}/oom_score_adj").write_text("1000")
        return process

    def _resource_limits(self) -> list[str]:
        limits = self.limits
        wanted = {
            "core": (resource.RLIMIT_CORE, 0),
            "nofile": (resource.RLIMIT_NOFILE, 1024),
            # Above the watcher's limits, whose message says what was exceeded, not what failed because of it.
            "nproc": (resource.RLIMIT_NPROC, 4 * limits.processes),
            "as": (resource.RLIMIT_AS, 2 * limits.memory * _MIB),
            "fsize": (resource.RLIMIT_FSIZE, limits.space * _MIB),
        }
        return ["prlimit", *(f"--{name}={at_most(kind, value)}" for name, (kind, value) in wanted.items())]

    def _watch(self, process: subprocess.Popen[bytes]) -> str | None:
        """Wait until a process has ended; return which limit it exceeded, if any."""
        begin = last = before = time.monotonic()
        lost_time = LostTime()
        while True:
            try:
                process.wait(_INTERVAL)
            except subprocess.TimeoutExpired:
                now = time.monotonic()
                processes = _descendants(process.pid)
                lost_time.look(processes, now - before)
                before = now
                excess = self._excess_of_processes(processes)
                if excess is None and now - last >= _SPACE_INTERVAL:
                    last = now
                    excess = self._excess_of_space()
                lost = min(lost_time.seconds, _LONGEST_EXTENSION * self.limits.seconds)
                if excess is None and now - begin > self.limits.seconds + lost:
                    excess = f"{self.limits.seconds:g} s (--build-seconds), found that it was still running"
                if excess is not None:
                    return excess
            else:
                return None

    def _excess_of_processes(self, processes: Sequence[int]) -> str | None:
        if len(processes) > self.limits.processes:
            return f"{self.limits.processes} processes, found more"
        pages = 0
        for each in processes:
            with suppress(OSError, ValueError, IndexError):
                pages += int(Path(f"/proc/{each}/statm").read_text().split()[1])
        memory = pages * os.sysconf("SC_PAGE_SIZE") // _MIB
        if memory > self.limits.memory:
            return f"{self.limits.memory} MiB of memory (--build-memory), found {memory} MiB"
        return None

    def _excess_of_space(self) -> str | None:
        return self._excess_of([self.build, self._scratch])

    def _excess_of(self, tops: Sequence[Path]) -> str | None:
        used = [folders.measure(top, self.limits.files) for top in tops]
        if sum(each.files for each in used) > self.limits.files:
            return f"{self.limits.files} files, found more"
        if max(each.depth for each in used) > folders.DEEPEST:
            return f"{folders.DEEPEST} folders within each other, found more"
        if any(each.closed for each in used):
            return "folders that their owner can read, found one that is closed"
        space = sum(each.size for each in used) // _MIB
        return f"{self.limits.space} MiB of files, found {space} MiB" if space > self.limits.space else None

    def _give_away(self) -> None:
        """Let the program write what is in its folders."""
        if os.geteuid() != 0:
            return
        for top in (self.build, self._scratch):
            os.chown(top, NOBODY, NOBODY)
            for parent, below, names in os.walk(top):
                for name in (*below, *names):
                    os.chown(Path(parent, name), NOBODY, NOBODY, follow_symlinks=False)


class _Output:
    """Keeps what programs print. A pipe, as they expect: one that opens /dev/stderr anew would cut a file short.

    Attributes:
        writing: the programs' end, which the caller closes.
    """

    def __init__(self, log: Path) -> None:
        """Begin to read.

        Args:
            log: file that it goes to, appended, up to `_LARGEST_LOG` bytes.
        """
        self._log = log
        self._reading, self.writing = os.pipe()
        if os.geteuid() == 0:
            os.fchown(self.writing, NOBODY, NOBODY)
        self._thread = threading.Thread(target=self._read, daemon=True)

    def _read(self) -> None:
        left = _LARGEST_LOG
        with self._log.open("ab", buffering=0) as file:
            while data := os.read(self._reading, 1 << 16):
                file.write(data[:left])
                left = max(0, left - len(data))

    def __enter__(self) -> _Output:
        """Return itself."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Read what is left; no program has the other end any more."""
        self._thread.join()
        os.close(self._reading)


class LostTime:
    """Counts the time that programs lose to others on a busy host, by which their time limit is extended.

    A process that is ready to run waits for a core (its run delay, sched-stats.rst) because of others, or because the programs themselves
    have more processes than there are cores; that shows in the share of all cores that they had.

    Attributes:
        seconds: that were lost.
    """

    def __init__(self, proc: Path = Path("/proc")) -> None:
        """Begin to count.

        Args:
            proc: where procfs is mounted.
        """
        self.seconds = 0.0
        self._proc = proc
        self._before: dict[int, tuple[int, int]] = {}

    def look(self, processes: Sequence[int], elapsed: float) -> None:
        """Count what the processes lost since the last call, ``elapsed`` seconds ago."""
        times: dict[int, tuple[int, int]] = {}
        for pid in processes:
            with suppress(OSError, ValueError):
                running, waiting, _ = map(int, (self._proc / str(pid) / "schedstat").read_text().split())
                times[pid] = running, waiting
        if elapsed > 0:
            old = {pid: self._before.get(pid, (0, 0)) for pid in times}
            ran = sum(times[pid][0] - old[pid][0] for pid in times) / 1e9
            waited = max((times[pid][1] - old[pid][1] for pid in times), default=0) / 1e9
            self.seconds += min(waited, elapsed) * max(0.0, 1.0 - ran / (elapsed * cores()))
        self._before = times


@contextmanager
def _init_of(report: BinaryIO) -> Iterator[int | None]:
    """Give a descriptor of the first process of the namespaces, as bubblewrap reports it; None if it made none."""
    descriptor = None
    with suppress(ValueError, KeyError, OSError):
        descriptor = os.pidfd_open(json.loads(report.readline())["child-pid"])
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _wait_for_end(init: int | None) -> None:
    """Wait until a namespace's first process has ended, before which the kernel ends all others: none may write any more."""
    if init is None:
        return
    poll = select.poll()
    poll.register(init, select.POLLIN)
    if not poll.poll(_END * 1000):
        raise InfrastructureError(f"expected a killed build to end within {_END} s, found that it runs; kill it")


def _last_line(log: Path) -> str:
    lines = log.read_bytes()[-1024:].decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no message"


def at_most(kind: int, wanted: int) -> int:
    """Return a resource limit, or the host's own where that is lower: only root could raise it."""
    hard = resource.getrlimit(kind)[1]
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)


def _descendants(pid: int) -> list[int]:
    """Return a process's children, their children, and so on, as far as they have not ended meanwhile."""
    found: list[int] = []
    pending = [pid]
    while pending:
        each = pending.pop()
        with suppress(OSError):
            for task in os.scandir(f"/proc/{each}/task"):
                children = Path(task.path, "children").read_text().split()
                found += map(int, children)
                pending += map(int, children)
    return found


def _copy(source: Path, target: Path) -> None:
    try:
        shutil.copytree(source, target, symlinks=True, ignore=_not_copied, dirs_exist_ok=True)
    except (OSError, shutil.Error) as error:
        # shutil.Error has a list of (source, target, text)
        first = error.args[0][0] if isinstance(error, shutil.Error) else (source, target, error)
        raise InfrastructureError(f"{first[0]}: expected to copy it to {target}, found: {first[2]}") from error


def _not_copied(folder: str, names: list[str]) -> list[str]:
    """Return the names of what is neither a file, a folder nor a link: a pipe would be waited for."""
    paths = (Path(folder, name) for name in names)
    return [path.name for path in paths if not (path.is_symlink() or path.is_file() or path.is_dir())]
