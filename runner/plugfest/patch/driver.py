# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds a driver's folder of a kernel's source as the one module that it is, patched or not."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from plugfest.build import module
from plugfest.build.confinement import Confinement, Limits
from plugfest.build.errors import BuildError, NothingTogetherError, SeriesError
from plugfest.errors import UsageError
from plugfest.patch.queue import Series
from plugfest.patch.series import TREE, Patch, apply
from plugfest.patch.tree import GitTree
from plugfest.provision.artifact import BuildRoot, DriverSource
from plugfest.provision.cache import Cache, digest, digest_of_files
from plugfest.provision.modules import base_name
from plugfest.provision.settings import ProvisionSettings
from plugfest.requirements.drivers import Driver

FORMAT = 2
"""Part of every key: incremented when a driver is built in another way."""
GIT_LOG = "git.log"
_MODULE = "module"
_SOURCES = (".c", ".h", ".S")
_MAKEFILES = ("Makefile", "Kbuild", "Kconfig")
_BUILT = re.compile(r".+\.(?:o|ko|a|mod|mod\.c)|\..+\.cmd|modules\.order|Module\.symvers")
"""What a build leaves beside the source."""


def check_driver(driver: Driver) -> None:
    """Check that a driver can be replaced in a guest by another build of its own.

    Raises:
        UsageError: it is one file among others, or the guest needs it before.
    """
    if driver.source.endswith(".c"):
        raise UsageError(
            f"--driver {driver.name}: expected a driver with a folder of its own, found {driver.source}, of which the guest's management "
            "NIC has a module loaded already; build your tree, and run plugfest run with --kernel TREE"
        )


@dataclass(frozen=True)
class Source:
    """A driver's source.

    Attributes:
        folder: the driver's, in the kernel's source.
        tree: a folder that holds it by that path; or the git tree of `commit`.
        commit: hash of the commit; None for a plain folder.
        title: what it is, for messages.
        of_kernel: it is that of the kernel under test itself.
    """

    folder: str
    tree: Path
    commit: str | None
    title: str
    of_kernel: bool = False

    @classmethod
    def of_channel(cls, driver: Driver, source: DriverSource) -> Source:
        """Return Debian's source of a driver."""
        return cls(driver.source, source.tree, None, source.title, of_kernel=True)

    @classmethod
    def of_tree(cls, driver: Driver, path: Path, revision: str = "HEAD") -> Source:
        """Return a driver's source of the user's tree: of a commit, if it is a git tree, and else as it is.

        Raises:
            UsageError: there is no such folder or commit.
        """
        if not (path / ".git").exists() and not (path / "HEAD").is_file():
            if not (path / driver.source).is_dir():
                raise UsageError(f"--tree {path}: expected a kernel's source with {driver.source}, found none")
            return cls(driver.source, path, None, str(path))
        tree = GitTree(path)
        commit = tree.commit(revision)
        return cls(driver.source, path, commit, f"{path} at {tree.describe(commit)}")

    def lay_out(self, scratch: Path) -> Path:
        """Return the driver's folder, copied into a scratch folder if it is a commit's.

        Raises:
            UsageError: the commit has no such folder.
        """
        if self.commit is None:
            return self.tree / self.folder
        GitTree(self.tree).unpack(self.commit, self.folder, scratch)
        return scratch / self.folder


def update(confined: Confinement, place: str, source: Path) -> None:
    """Make a built folder's source that of another folder; what is the same keeps its time, by which make knows it.

    Args:
        confined: with the built folder, in which a build may have put anything.
        place: the built folder's, within the build folder.
        source: the other folder.
    """
    wanted = {path.relative_to(source) for path in source.rglob("*") if path.is_file() and not path.is_symlink()}
    for path in wanted:
        data = (source / path).read_bytes()
        if confined.read(f"{place}/{path}", len(data)) != data:
            confined.write(f"{place}/{path}", data)
    for there in list(confined.files(place)):
        source_file = there.suffix in _SOURCES or there.name in _MAKEFILES
        of_modpost = there.name.endswith(".mod.c")
        if source_file and not of_modpost and Path(there.relative_to(place)) not in wanted:
            confined.unlink(there)


def clean(confined: Confinement, place: str) -> None:
    """Remove what a build for some other kernel has left in a user's folder: make could take it for up to date."""
    for path in list(confined.files(place)):
        if _BUILT.fullmatch(path.name):
            confined.unlink(path)


@dataclass(frozen=True)
class Together:
    """What was built at once.

    Attributes:
        series: that were applied, in this order.
        refusals: why the others were left out.
    """

    series: tuple[Series, ...]
    refusals: tuple[BuildError, ...]


@dataclass(frozen=True)
class Workshop:
    """What a driver is built with.

    Attributes:
        settings: cache and mirror.
        root: headers and compiler.
        limits: of each build.
    """

    settings: ProvisionSettings
    root: BuildRoot
    limits: Limits

    def base(self, driver: Driver, source: Source, output: Path) -> tuple[Path, Path]:
        """Build an unpatched driver, or take what the cache has of such a build.

        Args:
            driver: the driver.
            source: its source.
            output: folder for the module and build.log.

        Returns:
            The module, and the folder of the build, with which `build` begins.

        Raises:
            BuildError: it does not build.
            InfrastructureError: nothing can be built here.
        """
        with tempfile.TemporaryDirectory() as scratch:
            folder = source.lay_out(Path(scratch))
            key = digest(str(FORMAT), self.root.root.name, source.folder, digest_of_files(folder))

            def build(target: Path) -> None:
                with module.confinement(self.settings, self.root, self.limits) as confined:
                    place = f"{TREE}/{source.folder}"
                    confined.take(folder, place)
                    clean(confined, place)
                    self._make(confined, driver, source, place, output, source.title)  # of a failure the log stays
                    confined.give(TREE, target / TREE)
                shutil.copytree(output, target / _MODULE)

            title = f"{driver.name} of {source.title}"
            entry = Cache(self.settings.cache).get("driver", key, build, title=title, size=64 << 20, space=512 << 20)
        shutil.copytree(entry / _MODULE, output, dirs_exist_ok=True)
        return self._module(driver, source, list(output.glob("*.ko")), source.title), entry / TREE

    def build(
        self, driver: Driver, source: Source, output: Path, series: Sequence[Series] = (), start: Path | None = None
    ) -> tuple[Path, list[Patch]]:
        """Apply series to a driver's source, and build it.

        Args:
            driver: the driver.
            source: its source.
            output: folder for the module, build.log and git.log.
            series: to apply, in this order.
            start: folder of a build by `base`, of this source or of one like it; make then compiles no more than what differs.

        Returns:
            The module, and the patches that were applied.

        Raises:
            BuildError: a series does not apply, or touches more than the module; or it does not build.
            InfrastructureError: nothing can be built here.
        """
        output.mkdir(parents=True, exist_ok=True)
        place = f"{TREE}/{source.folder}"
        with (
            module.confinement(self.settings, self.root, self.limits) as confined,
            tempfile.TemporaryDirectory() as scratch,
        ):
            folder = source.lay_out(Path(scratch))
            if start is None:
                confined.take(folder, place)
                clean(confined, place)
            else:
                confined.take(start, TREE)
                update(confined, place, folder)
            patches: list[Patch] = []
            for order, each in enumerate(series, 1):
                log = output / GIT_LOG
                patches += apply(confined, each, source.folder, title=source.title, log=log, order=order)
            name = " and ".join(each.name for each in series) or source.title
            return self._make(confined, driver, source, place, output, name), patches

    def build_together(
        self, driver: Driver, source: Source, output: Path, series: Sequence[Series], start: Path | None
    ) -> tuple[Path, list[Patch], Together]:
        """Build several series at once, without those that do not apply on top of the others.

        Args:
            driver: the driver.
            source: its source.
            output: folder for the module, build.log and git.log.
            series: each of which builds alone.
            start: as of `build`.

        Returns:
            The module, the patches that were applied, and which series those are.

        Raises:
            BuildError: what is left does not build, or is one series.
            InfrastructureError: nothing can be built here.
        """
        left, refusals = tuple(series), list[BuildError]()
        while len(left) > 1:
            try:
                return *self.build(driver, source, output, left, start), Together(left, tuple(refusals))
            except SeriesError as error:
                refusals.append(error)
                left = tuple(each for each in left if each.name != error.series)
        why = f": {'; '.join(map(str, refusals))}" if refusals else ""
        raise NothingTogetherError(f"expected two series or more to judge together, found {len(left)}{why}")

    def _make(self, confined: Confinement, driver: Driver, source: Source, place: str, output: Path, name: str) -> Path:
        try:
            made = module.build_part(confined, self.root, place, output, strip=True)
        except BuildError as error:
            raise type(error)(f"{name}: {error}") from error
        return self._module(driver, source, made.modules, name)

    @staticmethod
    def _module(driver: Driver, source: Source, modules: Sequence[Path], name: str) -> Path:
        wanted = base_name(driver.module)
        for path in modules:
            if base_name(path.name) == wanted:
                return path
        found = ", ".join(path.name for path in modules)
        raise BuildError(f"{name}: expected {source.folder} to build {driver.module}.ko, found {found}")
