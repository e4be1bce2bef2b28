# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds kernel modules, confined, and brings them out."""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from plugfest.build.confinement import Confinement, Limits
from plugfest.build.errors import BuildError
from plugfest.build.folder import remove
from plugfest.errors import InfrastructureError, UsageError
from plugfest.provision.artifact import BuildRoot
from plugfest.provision.build_root import BUILD
from plugfest.provision.modules import module_info
from plugfest.provision.settings import ProvisionSettings
from plugfest.provision.toolchain import ensure_bwrap
from plugfest.run.capacity import cores

LOG = "build.log"
_LARGEST = 256 << 20
"""Most bytes of a module that is brought out."""
_NAME = re.compile(r"[\w.+-]+\.ko", re.ASCII)
"""What modules are called; of other names a terminal or a shell may make something else."""
_LONGEST = 300
"""Most characters of a line of a build's output that a message quotes."""
_ENVIRONMENT = {"DEB_BUILD_ARCH": "amd64", "DEB_HOST_ARCH": "amd64"}
"""What Debian's headers ask dpkg for otherwise."""
_MAKEFILES = ("GNUmakefile", "makefile", "Makefile", "Kbuild")
_NO_TARGETS = re.compile(r"No targets|No rule to make target 'modules'")
_ERRORS = (
    re.compile(r"^(.*?: (?:fatal )?error: .*)"),
    re.compile(r"^ERROR: (modpost: .*)"),
    re.compile(r"^((?:make(?:\[\d+\])?: )?\*\*\* .*)"),
    re.compile(r"^(.*(?:[Ee]rror|not found|No such file).*)"),
)
"""What a line of a build's output looks like that says why it failed; the first pattern that occurs counts."""


@dataclass(frozen=True)
class Built:
    """What a build made.

    Attributes:
        modules: the ``.ko`` files, in the build's output folder.
        log: all of the build's output.
        warnings: the compiler's, in order, each once.
    """

    modules: tuple[Path, ...]
    log: Path
    warnings: tuple[str, ...]


@contextmanager
def confinement(settings: ProvisionSettings, root: BuildRoot, limits: Limits) -> Iterator[Confinement]:
    """Give a confinement for one build, whose folder is in the cache and ends with it.

    Raises:
        InfrastructureError: bubblewrap cannot be fetched, or the folder cannot be made.
    """
    bwrap = ensure_bwrap(settings)
    builds = settings.cache / "builds"
    try:
        folder, lock = _begin_build(builds)
    except OSError as error:
        raise InfrastructureError(
            f"expected to write to {builds}, found: {error.strerror}; choose another folder with --cache-dir"
        ) from error
    try:
        yield Confinement(root.root, bwrap, folder, limits)
    finally:
        remove(folder)
        os.close(lock)


def _begin_build(builds: Path) -> tuple[Path, int]:
    """Make the folder of a build, and remove those that killed builds left: whose lock nobody holds any more.

    Returns:
        The folder, and the descriptor of its lock, which the kernel releases however this process ends.
    """
    builds.mkdir(parents=True, exist_ok=True)
    with (builds / ".lock").open("w") as alone:
        fcntl.flock(alone, fcntl.LOCK_EX)
        for left in builds.glob("[!.]*"):
            with suppress(FileNotFoundError), _locked(left) as free:  # its build may end just now
                if free:
                    remove(left)
        folder = Path(tempfile.mkdtemp(dir=builds))
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX)
    return folder, lock


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Hold the lock of a build's folder, if it is free."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(descriptor)


def check_folder(folder: Path) -> None:
    """Check that a folder has a makefile.

    Raises:
        UsageError: it has none; the message names those below it.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: expected the folder of a driver's source, found none; name one")
    if any((folder / name).is_file() for name in _MAKEFILES):
        return
    below = sorted({str(path.parent) for name in _MAKEFILES for path in folder.glob(f"*/{name}") if path.is_file()})
    advice = f"did you mean {' or '.join(below[:3])}?" if below else "name the folder with the driver's makefile"
    raise UsageError(f"{folder}: expected one of {', '.join(_MAKEFILES)}, found none; {advice}")


def build_folder(
    confined: Confinement, root: BuildRoot, folder: str, output: Path, *, arguments: Sequence[str] = ()
) -> Built:
    """Build a vendor's folder as its makefile does it; if that has no target, as the kernel does it (``make M=…``).

    Args:
        confined: where its source is.
        root: what it is built with.
        folder: of the makefile, within the build folder.
        output: folder for the modules and the log.
        arguments: added to make's: targets and variables.

    Raises:
        BuildError: it does not build, or takes more than it may.
        InfrastructureError: it cannot be run.
    """
    log = _begin(output)
    jobs = f"-j{cores()}"
    status = confined.run(["make", jobs, *arguments], log=log, folder=folder, environment=_ENVIRONMENT)
    if status and _NO_TARGETS.search(log.read_text(errors="replace")):
        log.write_bytes(b"")
        return build_part(confined, root, folder, output, arguments=arguments)
    return _finish(confined, folder, output, log, status)


def build_part(
    confined: Confinement,
    root: BuildRoot,
    folder: str,
    output: Path,
    *,
    arguments: Sequence[str] = (),
    strip: bool = False,
) -> Built:
    """Build one folder of a kernel's source, or a folder made like one, as modules.

    Args:
        confined: where its source is.
        root: what it is built with.
        folder: with the Kbuild file, within the build folder.
        output: folder for the modules and the log.
        arguments: added to make's.
        strip: without what only a debugger reads, as Debian ships its modules: a tenth of the size.

    Raises:
        BuildError: it does not build, or takes more than it may.
        InfrastructureError: it cannot be run.
    """
    log = _begin(output)
    place = PurePosixPath(f"/{BUILD}", folder)
    command = ["make", f"-j{cores()}", "-C", f"/lib/modules/{root.release}/build", f"M={place}"]
    status = confined.run([*command, *(arguments or ["modules"])], log=log, environment=_ENVIRONMENT)
    if strip and not status:
        command = ["find", ".", "-name", "*.ko", "-exec", "strip", "--strip-debug", "{}", "+"]
        status = confined.run(command, log=log, folder=folder)
    return _finish(confined, folder, output, log, status)


def _begin(output: Path) -> Path:
    try:
        output.mkdir(parents=True, exist_ok=True)
        log = output / LOG
        log.write_bytes(b"")
    except OSError as error:
        raise InfrastructureError(
            f"{output}: expected a folder to write the modules to, found: {error.strerror}; choose another"
        ) from error
    return log


def _finish(confined: Confinement, folder: str, output: Path, log: Path, status: int) -> Built:
    text = log.read_text(errors="replace")
    if status:
        raise BuildError(
            f"expected make to succeed, found exit status {status}: {first_error(text)}; all of its output: {log}"
        )
    modules = tuple(bring_out(confined, folder, output))
    if not modules:
        raise BuildError(f"expected make to build a module (.ko), found none; all of its output: {log}")
    warnings = [_plain(line) for line in text.splitlines() if ": warning: " in line]
    return Built(modules, log, tuple(dict.fromkeys(warnings)))


def first_error(text: str) -> str:
    """Return the line of a build's output that says why it failed."""
    lines = text.splitlines()
    for pattern in _ERRORS:
        for line in lines:
            found = pattern.search(line)
            if found:
                return _plain(found[1])
    return _plain(next((line for line in reversed(lines) if line.strip()), "no output"))


def _plain(line: str) -> str:
    line = line.replace(f"/{BUILD}/", "").strip()
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def bring_out(confined: Confinement, folder: str, output: Path) -> Iterator[Path]:
    """Copy modules out of the build folder; what it has under their names, strangers chose.

    Raises:
        BuildError: a file with such a name is no module, two have one name, or together they are larger than a build may be.
        InfrastructureError: they cannot be written.
    """
    taken: dict[str, PurePosixPath] = {}
    left = confined.limits.space << 20
    for place in confined.files(folder):
        name = place.name
        if not name.endswith(".ko") or (data := confined.read(place, _LARGEST)) is None:
            continue
        if not _NAME.fullmatch(name):
            raise BuildError(f"expected modules' names of letters, digits and -_+., found {name!a}")
        if name in taken:
            raise BuildError(f"expected one {name}, found {taken[name]} and {place}; build one of the two folders")
        left -= len(data)
        if left < 0:
            raise BuildError(f"expected at most {confined.limits.space} MiB of modules, found more")
        try:
            module_info(data)
        except ValueError as error:
            raise BuildError(f"{place}: expected a kernel module, found {error}") from error
        taken[name] = place
        try:
            (output / name).write_bytes(data)
        except OSError as error:
            raise InfrastructureError(f"{output / name}: expected to write it, found: {error.strerror}") from error
        yield output / name
