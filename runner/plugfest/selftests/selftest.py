# SPDX-License-Identifier: GPL-2.0-or-later
"""Upstream's tests as the cache has them: part of a kernel's source, with the helpers that the tests need built in place.

The helpers are C programs and BPF objects. They are built as upstream's README says, by ``make -C tools/testing/selftests``, in a
confined root with Debian's compiler; what does not build is named to the tests that need it. Selftests, helpers and the Python library that
reads the netlink specifications go into the guest together, at `PLACE`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from plugfest.build.confinement import Confinement, Limits
from plugfest.errors import InfrastructureError, UsageError
from plugfest.provision.artifact import Kernel
from plugfest.provision.build_root import make_system
from plugfest.provision.cache import Cache, digest, fingerprint
from plugfest.provision.debian import UNUSED, MissingPackageError, Packages, unpack
from plugfest.provision.kernel import CHANNELS
from plugfest.provision.settings import ProvisionSettings
from plugfest.provision.source import unpack_parts
from plugfest.provision.toolchain import ensure_bwrap
from plugfest.run.capacity import cores

FORMAT = 1
"""Part of every key: incremented when this module makes something else."""

PLACE = "usr/src/linux"
"""Where the guest has the tests' part of the kernel's source."""

SELFTESTS = "tools/testing/selftests"
COLLECTIONS = ("drivers/net", "drivers/net/hw")
"""The folders of tests, as ``run_kselftest.sh -t COLLECTION:TEST`` names them."""
LIBRARY = "net/lib"
"""Folder of what both share, below `SELFTESTS`."""
CASES = f"{LIBRARY}/py/ksft.py"
"""What runs the cases of tests in Python, below `SELFTESTS`."""

PARTS = (
    *("Documentation/netlink", "Kbuild", "Kconfig", "MAINTAINERS", "Makefile", "arch/x86", "include", "scripts"),
    *("tools/arch", "tools/build", "tools/include", "tools/lib", "tools/net/ynl", "tools/scripts", SELFTESTS),
)
"""What the helpers are built of: ``make headers``, libbpf, libynl, and the tests."""

_WITHOUT = (
    *("include/dt-bindings", "arch/x86/kernel", "arch/x86/kvm", "arch/x86/crypto", "arch/x86/events"),
    *(
        f"{SELFTESTS}/{name}"
        for name in ("bpf", "kvm", "mm", "powerpc", "arm64", "tc-testing", "rcutorture", "filesystems")
    ),
)
_IN_GUEST = (
    *("Documentation/netlink/specs", "tools/net/ynl"),
    *(
        f"{SELFTESTS}/{name}"
        for name in ("drivers/net", "kselftest", LIBRARY, "net/lib.sh", "net/net_helper.sh", "net/forwarding")
    ),
)

TOOLS = Packages(
    (
        *("base-files", "bash", "bc", "bison", "clang", "coreutils", "dash", "diffutils", "findutils", "flex", "gawk"),
        *("gcc", "grep", "gzip", "libc6-dev", "libcap-dev", "libelf-dev", "libmnl-dev", "liburing-dev", "llvm", "make"),
        *(
            "perl-base",
            "python3",
            "python3-jsonschema",
            "python3-yaml",
            "rsync",
            "sed",
            "tar",
            "util-linux",
            "zlib1g-dev",
        ),
    ),
    backports=True,
    unused=tuple(name for name in UNUSED if name != "usr/lib/gcc"),
)
"""Of the release that the guest's root is made of, whatever its kernel."""

_BUILT_WITH = (
    *_IN_GUEST,
    f"{SELFTESTS}/Makefile",
    f"{SELFTESTS}/lib.mk",
    *("include/uapi", "arch/x86/include/uapi"),
    "tools/lib/bpf",
)
"""What decides what the guest gets of a user's tree."""
_BUILT = ("*.o", "*.a", "*.d", "*.cmd", "__pycache__")
"""What a build leaves in a tree: neither a part of the source nor, made on a host of another libc, of use."""

_BUILD_VERSION = re.compile(rb"Linux version [^\0\n]* Debian (\S+) \(\d{4}-\d\d-\d\d\)")
_LIST = re.compile(r"^(TEST_PROGS(?:_EXTENDED)?)[ \t]*[:+]?=((?:.*\\\n)*.*)", re.MULTILINE)
_LARGEST = 64 << 20
_LOG, _NOTE, _TREE = "build.log", "tests.json", "tree"
_MIB = 1 << 20


SINCE = (6, 10)
"""The version of Linux since which upstream has them: drivers/net/hw and net/lib/py were merged for 6.10, in spring 2024."""


class MissingTestsError(UsageError):
    """A kernel has none of upstream's tests, or nobody here has its source.

    Attributes:
        wanted: what was expected.
        found: what was found.
    """

    def __init__(self, spec: str, wanted: str, found: str, advice: str) -> None:
        """Name the kernel, as the user gave it, what was expected and found, and what to do."""
        super().__init__(f"kernel {spec}: expected {wanted}, found {found}; {advice}")
        self.wanted, self.found = wanted, found


@dataclass(frozen=True, order=True)
class Selftest:
    """One of upstream's tests: a program with any number of cases.

    Attributes:
        collection: its folder, one of `COLLECTIONS`.
        name: of its file.
    """

    collection: str
    name: str

    def __str__(self) -> str:
        """Return ``drivers/net:ping.py``, as upstream's runner takes it."""
        return f"{self.collection}:{self.name}"


@dataclass(frozen=True)
class Selftests:
    """Upstream's tests, ready for a guest.

    Attributes:
        tree: the folder that is `PLACE` in the guest.
        title: whose source it is: ``Debian's linux-source-7.3 7.3.4-1~bpo13+1``.
        tests: all tests of both folders, in upstream's order.
        unbuilt: by the name of a helper that did not build, why.
        log: the output of the build.
        digest: identifies all of it.
    """

    tree: Path
    title: str
    tests: tuple[Selftest, ...]
    unbuilt: Mapping[str, str]
    log: Path
    digest: str

    def text(self, test: Selftest) -> str:
        """Return a test's source."""
        return (self.tree / SELFTESTS / test.collection / test.name).read_text(errors="replace")

    @property
    def lists_cases(self) -> bool:
        """Whether tests in Python list their cases (``-l``) and run single ones (``-t``)."""
        library = self.tree / SELFTESTS / CASES
        return library.is_file() and "list_tests" in library.read_text(errors="replace")

    def lacking(self, test: Selftest) -> dict[str, str]:
        """Return those helpers that did not build and that a test names, and why."""
        text = self.text(test)
        return {name: why for name, why in self.unbuilt.items() if re.search(rf"\b{re.escape(name)}\b", text)}


def ensure_tests(settings: ProvisionSettings, kernel: Kernel) -> Selftests:
    """Return the tests of a kernel's source: Debian's of its channel, or the user's tree.

    Args:
        settings: cache and mirror.
        kernel: as `plugfest.provision.kernel.ensure_kernel` returns it.

    Raises:
        MissingTestsError: the kernel is neither of a channel nor built in a tree, or its source has no such tests.
        InfrastructureError: the source or the compiler cannot be fetched, as where the mirror has no longer the kernel's version, or
            nothing can be built.
    """
    source = _DebianSource(kernel) if kernel.spec in CHANNELS else _TreeSource(kernel)
    key = digest(str(FORMAT), source.recipe(), TOOLS.recipe(), *PARTS, *_WITHOUT, *_IN_GUEST)

    def build(target: Path) -> None:
        tools = ensure_tools(settings)
        with tempfile.TemporaryDirectory(dir=target) as scratch:
            tree = Path(scratch) / "source"
            source.put(tree, settings)
            _check(tree, kernel)
            confined = Confinement(tools, ensure_bwrap(settings), Path(scratch) / "build", Limits(seconds=1200.0))
            built = _build(confined, tree, target / _LOG)
            for part in _IN_GUEST:
                _copy(tree / part, target / _TREE / part)
            for path, data in built.items():
                file = target / _TREE / SELFTESTS / path
                file.write_bytes(data)
                file.chmod(0o755)
            note = {"unbuilt": unbuilt(tree / SELFTESTS, set(built), (target / _LOG).read_text(errors="replace"))}
            (target / _NOTE).write_text(json.dumps(note))

    path = Cache(settings.cache).get(
        "selftests",
        key,
        build,
        title=f"upstream's tests of {kernel.release} and their helpers",
        size=16 * _MIB,
        space=1000 * _MIB,
    )
    note = json.loads((path / _NOTE).read_text())
    tree = path / _TREE
    return Selftests(
        tree, source.title, tuple(listed(tree / SELFTESTS)), note["unbuilt"], path / _LOG, fingerprint(path)
    )


def ensure_tools(settings: ProvisionSettings) -> Path:
    """Return the root in which helpers are built.

    Raises:
        InfrastructureError: it cannot be fetched.
    """

    def build(target: Path) -> None:
        unpack(TOOLS, target, settings)
        make_system(target)
        # Makefiles of the tests call "echo -e", which dash prints.
        shell = target / "usr/bin/sh"
        shell.unlink(missing_ok=True)
        shell.symlink_to("bash")

    return Cache(settings.cache).get(
        "selftests-tools",
        digest(str(FORMAT), TOOLS.recipe()),
        build,
        title="compilers for the helpers of upstream's tests (Debian packages)",
        size=560 * _MIB,
        space=1400 * _MIB,
    )


def listed(selftests: Path) -> Iterator[Selftest]:
    """Give the tests that the makefiles of both folders list, those that upstream's runner leaves to people (EXTENDED) last."""
    for collection in COLLECTIONS:
        text = re.sub(r"#.*", "", (selftests / collection / "Makefile").read_text())
        lists: dict[str, list[str]] = {}
        for name, words in _LIST.findall(text):
            lists.setdefault(name, []).extend(words.replace("\\", " ").split())
        for name in sorted(lists):
            yield from (Selftest(collection, word) for word in lists[name])


def unbuilt(selftests: Path, built: set[str], log: str) -> dict[str, str]:
    """Return why each helper was not built, by its name.

    Args:
        selftests: the tests' source.
        built: paths within it of what was built.
        log: of the build.
    """
    found = {}
    for folder in (LIBRARY, *COLLECTIONS):
        for source in sorted((selftests / folder).glob("*.c")):
            product = source.name.removesuffix(".c") + (".o" if source.name.endswith(".bpf.c") else "")
            if f"{folder}/{product}" not in built:
                found[product] = _why(source.name, product, log)
    return found


def _why(source: str, product: str, log: str) -> str:
    """Return the line of a build's log that says it, the most telling kind that there is."""
    stem = re.escape(re.split(r"[.-]", source, maxsplit=1)[0])
    for pattern in (
        rf"{re.escape(source)}:.*error",
        rf"{re.escape(product)}.*(?:undefined reference|cannot find)",
        rf"excluding .*{stem}|{stem}.*(?:not installed|too old)",
        r"Error: |: error: ",
    ):
        found = re.search(rf"^.*(?:{pattern}).*$", log, re.MULTILINE)
        if found:
            return re.sub(r"^Makefile:\d+: ", "", found[0].strip())[:300]
    return "its makefile did not build it"


def _build(confined: Confinement, tree: Path, log: Path) -> dict[str, bytes]:
    """Build all helpers that build; return what was built, by path below `SELFTESTS`."""
    confined.take(tree)
    jobs = f"-j{cores()}"
    status = confined.run(["make", jobs, "headers"], log=log, what="the kernel's headers")
    if status:
        raise InfrastructureError(
            f"expected `make headers` to succeed, found exit status {status}; its output: {log.read_text(errors='replace')[-300:].strip()}"
        )
    targets = " ".join((LIBRARY, *COLLECTIONS))
    # -k: a helper that does not build leaves the others.
    confined.run(["make", "-k", jobs, "-C", SELFTESTS, f"TARGETS={targets}"], log=log, what="the tests' helpers")
    found = {}
    for folder in (LIBRARY, *COLLECTIONS):
        for source in (tree / SELFTESTS / folder).glob("*.c"):
            name = source.name.removesuffix(".c") + (".o" if source.name.endswith(".bpf.c") else "")
            data = confined.read(f"{SELFTESTS}/{folder}/{name}", _LARGEST)
            if data is not None:
                found[f"{folder}/{name}"] = data
    return found


def _check(tree: Path, kernel: Kernel) -> None:
    if not all((tree / SELFTESTS / name / "Makefile").is_file() for name in COLLECTIONS):
        raise _none_in_source(kernel)


def _none_in_source(kernel: Kernel) -> MissingTestsError:
    since = ".".join(map(str, SINCE))
    return MissingTestsError(
        kernel.spec,
        f"{SELFTESTS}/{COLLECTIONS[-1]} in its source",
        f"none in that of Linux {kernel.release}",
        f"upstream has these tests since {since}, choose another --kernel",
    )


def _copy(source: Path, target: Path, without: Sequence[Path] = ()) -> None:
    """Copy a part of a tree, but not what was built in it.

    Args:
        source: a folder or a file, which need not exist.
        target: the copy.
        without: folders that are left out.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        built = shutil.ignore_patterns(*_BUILT)

        def left(folder: str, names: list[str]) -> set[str]:
            return built(folder, names) | {name for name in names if Path(folder, name) in without}

        shutil.copytree(source, target, symlinks=True, ignore=left)
    elif source.exists():
        shutil.copy(source, target)


def _source_files(folder: Path) -> Iterator[Path]:
    """Give the files, and the links, that `_copy` copies of a folder."""
    built = shutil.ignore_patterns(*_BUILT)
    for parent, below, names in os.walk(folder):
        below[:] = set(below) - built(parent, below)
        links = [name for name in below if Path(parent, name).is_symlink()]
        yield from (Path(parent, name) for name in (*links, *(set(names) - built(parent, names))))


class _DebianSource:
    """The source package of a channel's kernel.

    Attributes:
        title: its name and version.
    """

    def __init__(self, kernel: Kernel) -> None:
        channel = CHANNELS[kernel.spec]
        if tuple(map(int, kernel.release.split(".")[:2])) < SINCE:  # before anything is fetched for them
            raise _none_in_source(kernel)
        found = _BUILD_VERSION.search(kernel.image.read_bytes())
        if found is None:
            raise InfrastructureError(
                f"kernel {kernel.spec}: expected the version of Debian's package in its image, found none; choose another --kernel"
            )
        version = found[1].decode()
        self._name = "linux-source-" + ".".join(kernel.release.split(".")[:2])
        self._spec = kernel.spec
        self._packages = Packages((f"{self._name}={version}",), channel.suite, channel.backports)
        self.title = f"Debian's {self._name} {version}"

    def recipe(self) -> str:
        """Return what identifies it."""
        return self._packages.recipe()

    def put(self, target: Path, settings: ProvisionSettings) -> None:
        """Put the wanted parts into a folder."""
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            fetched = Path(scratch) / "packages"
            try:
                unpack(self._packages, fetched, settings)
            except MissingPackageError as error:
                # Without what names the mirror: its address may have a password.
                raise InfrastructureError(
                    f"kernel {self._spec}: expected the mirror to have {self.title}, found none; the cache has an older kernel "
                    "than the mirror: delete it (plugfest cache prune --days 0), and the newest is fetched"
                ) from error
            unpack_parts(fetched / f"usr/src/{self._name}.tar.xz", target, PARTS, _WITHOUT)


class _TreeSource:
    """The user's tree.

    Attributes:
        title: where it is.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._tree = Path(kernel.spec).expanduser()
        missing = [part for part in PARTS if not (self._tree / part).exists()]
        if missing:
            raise MissingTestsError(
                kernel.spec,
                "the source of upstream's tests in a kernel tree",
                f"no {missing[0]} there",
                "name a channel or a complete tree with --kernel",
            )
        self.title = str(self._tree)

    def recipe(self) -> str:
        """Return what identifies it: the contents of what the guest gets, of its makefiles and of the headers."""
        return digest(*(self._digest(part) for part in _BUILT_WITH))

    def _digest(self, part: str) -> str:
        path = self._tree / part
        if path.is_file():
            return digest(path.read_bytes())
        parts: list[str | bytes] = []
        for file in sorted(_source_files(path)):
            parts.append(str(file.relative_to(path)))
            parts += (
                [str(file.readlink())] if file.is_symlink() else [oct(file.stat().st_mode & 0o111), file.read_bytes()]
            )
        return digest(*parts)

    def put(self, target: Path, _settings: ProvisionSettings) -> None:
        """Put the wanted parts into a folder."""
        left = [self._tree / name for name in _WITHOUT]
        for part in PARTS:
            _copy(self._tree / part, target / part, left)
