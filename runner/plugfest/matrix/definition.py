# SPDX-License-Identifier: GPL-2.0-or-later
"""The file that defines a matrix: TOML, read and checked as a whole before anything runs.

::

    [matrix]
    drivers = ["ixgbe", "gve"]
    kernels = ["trixie-backports", "bookworm"]
    kinds = ["suite"]
    profiles.gve = ["std", "hds"]
    exclude = [{driver = "gve", kernel = "bookworm"}]
    include = [{driver = "xgbe", areas = ["link"]}]
    queues = [{driver = "ixgbe", kernel = "trixie-backports", folder = "pending/ixgbe"}]

    [run]
    slow = true

    [nightly]
    keep = 30

``exclude`` and ``include`` are those of GitHub Actions: a job that has all values of an exclusion is left out. Then the settings of
an inclusion are added to each job that agrees with its axes; where none does, it is a job of its own. Last, a queue is a folder of
pending series: each job that agrees with its axes gets one like itself for each series, and one for all of them together.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plugfest.choice import advice
from plugfest.errors import UsageError
from plugfest.matrix.job import KINDS, SUITE, Job, JobSettings, Queued
from plugfest.patch import queue
from plugfest.patch.driver import check_driver
from plugfest.plugin import suite
from plugfest.provision.kernel import CHANNELS, DEFAULT_CHANNEL
from plugfest.requirements import drivers as registry

ALL = "all"
"""In place of a list of profiles: all that the driver's model has."""


@dataclass(frozen=True)
class Nightly:
    """What ``plugfest nightly`` does besides.

    Attributes:
        keep: how many nights' output folders stay; None for all.
        title: of the site; None for the site's own.
    """

    keep: int | None = None
    title: str | None = None


@dataclass(frozen=True)
class Matrix:
    """A matrix.

    Attributes:
        name: that of its file, without the suffix.
        jobs: at least one, in the order of the file.
        nightly: what ``plugfest nightly`` does besides.
    """

    name: str
    jobs: tuple[Job, ...]
    nightly: Nightly


@dataclass(frozen=True)
class _Key:
    """A key that a table may have.

    Attributes:
        expected: its value, in words.
        fits: whether a value is one.
        field: the attribute that it sets; None for that of its own name.
    """

    expected: str
    fits: Callable[[Any], bool]
    field: str | None = None


def _is_whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_minutes(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 7 * 24 * 60


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_list(value: Any) -> bool:
    return _are_texts(value) and bool(value)


def _are_tables(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)


_FLAG = "true or false"
_SETTINGS = {
    "areas": _Key("a list of areas", _are_texts),
    "slow": _Key(_FLAG, lambda value: isinstance(value, bool)),
    "guests": _Key("a number of guests from 1", lambda value: _is_whole(value, 1, 1024)),
    "cpus": _Key("a number of CPUs from 1 to 64", lambda value: _is_whole(value, 1, 64)),
    "memory": _Key("MiB from 256 to 65536", lambda value: _is_whole(value, 256, 65536)),
    "accel": _Key("auto, kvm or tcg", lambda value: value in ("auto", "kvm", "tcg")),
    "modules": _Key("a list of .ko files", _are_texts),
    "strict-known": _Key(_FLAG, lambda value: isinstance(value, bool), "strict_known"),
    "strict-waits": _Key(_FLAG, lambda value: isinstance(value, bool), "strict_waits"),
    "pytest": _Key("a list of pytest's arguments", _are_texts),
    "retries": _Key("a number from 0 to 10", lambda value: _is_whole(value, 0, 10)),
    "time-limit": _Key("minutes, more than 0 and at most a week's", _is_minutes, "time_limit"),
}
_OF_THE_SUITE = frozenset({"areas", "slow", "guests", "strict-known", "strict-waits", "pytest"})
"""The settings that jobs of other kinds do not have."""
_AXES = {
    "driver": _Key("a driver", _is_text),
    "profile": _Key("a profile", _is_text),
    "kernel": _Key("a kernel", _is_text),
    "kind": _Key(" or ".join(KINDS), _is_text),
}
_MATRIX = {
    "drivers": _Key("a list of at least one driver", _is_list),
    "kernels": _Key("a list of at least one kernel", _is_list),
    "kinds": _Key(f"a list of {' or '.join(KINDS)}", _is_list),
    "profiles": _Key("a table of drivers, each with its profiles", lambda value: isinstance(value, dict)),
    "include": _Key("a list of tables", _are_tables),
    "exclude": _Key("a list of tables", _are_tables),
    "queues": _Key("a list of tables", _are_tables),
}
_QUEUE = {"folder": _Key("a folder of pending series", _is_text)}
_NIGHTLY = {
    "keep": _Key("a number of nights from 1", lambda value: _is_whole(value, 1, 100_000)),
    "title": _Key("a title", _is_text),
}
_TOP = {name: _Key("a table", lambda value: isinstance(value, dict)) for name in ("matrix", "run", "nightly")}


def read(path: Path, available: Collection[str], *, elsewhere: bool = False) -> Matrix:
    """Read a matrix and check it as a whole.

    Args:
        path: the file.
        available: the commands that this plugfest has.
        elsewhere: the jobs run on other machines, so that kernels and modules are files of theirs.

    Raises:
        UsageError: it cannot be read, or something in it is wrong; the message names the place.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        found = error.strerror if isinstance(error, OSError) else "bytes that are no UTF-8"
        raise UsageError(f"{path}: expected a matrix in TOML, found: {found}; name the file of one") from error
    try:
        return _Reader(path, available, elsewhere=elsewhere).matrix(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: expected TOML, found: {error}; correct it") from error


class _Reader:
    def __init__(self, path: Path, available: Collection[str], *, elsewhere: bool) -> None:
        self._path = path
        self._available = available
        self._elsewhere = elsewhere

    def matrix(self, found: dict[str, Any]) -> Matrix:
        self._check(found, _TOP, "the file")
        axes = found.get("matrix", {})
        self._check(axes, _MATRIX, "[matrix]")
        common = self._settings(found.get("run", {}), "[run]")
        jobs = [Job(*each, JobSettings(**common)) for each in self._product(axes)]
        for number, each in enumerate(axes.get("exclude", []), 1):
            jobs = self._exclude(jobs, each, f"exclude {number}")
        crossed = len(jobs)
        for number, each in enumerate(axes.get("include", []), 1):
            self._include(jobs, crossed, each, f"include {number}", common)
        queued: list[Job] = []
        for number, each in enumerate(axes.get("queues", []), 1):
            queued += self._queue(jobs, each, f"queue {number}")
        self._check_unique([job.title for job in queued], "queues")
        # Each job before those that are judged against it.
        jobs = [one for job in jobs for one in (job, *(each for each in queued if each.before == job))]
        if not jobs:
            raise self._wrong("[matrix]", "at least one job", "none", "name drivers, or exclude less")
        self._check_used(found.get("run", {}), jobs, "[run]")
        nightly = found.get("nightly", {})
        self._check(nightly, _NIGHTLY, "[nightly]")
        return Matrix(self._path.stem, tuple(jobs), Nightly(**nightly))

    # --- tables and keys ------------------------------------------------------------------------------------------

    def _check(self, table: Mapping[str, Any], known: Mapping[str, _Key], where: str) -> None:
        for name, value in table.items():
            if name not in known:
                hint = advice(name, known, f"it may have {', '.join(known)}")
                raise self._wrong(where, "a key that it knows", repr(name), hint)
            if not known[name].fits(value):
                raise self._wrong(f"{where}: {name}", known[name].expected, _shown(value), "correct it")

    def _wrong(self, where: str, expected: str, found: str, advised: str) -> UsageError:
        return UsageError(f"{self._path}: {where}: expected {expected}, found {found}; {advised}")

    def _checked(self, where: str, check: Callable[[], Any]) -> Any:
        """Run a check of another room, and put the place before its message."""
        try:
            return check()
        except UsageError as error:
            raise UsageError(f"{self._path}: {where}: {error}") from error

    def _settings(self, table: Mapping[str, Any], where: str) -> dict[str, Any]:
        self._check(table, _SETTINGS, where)
        self._checked(where, lambda: suite.check_areas(table.get("areas", [])))
        found = {_SETTINGS[name].field or name: _frozen(value) for name, value in table.items()}
        if "modules" in found:
            found["modules"] = tuple(self._module(each, where) for each in found["modules"])
        return found

    def _check_used(self, table: Mapping[str, Any], jobs: Iterable[Job], where: str) -> None:
        """Check that at least one of the jobs to which a table's settings are added uses them."""
        kinds = {job.kind for job in jobs}
        for name in table:
            if name in _OF_THE_SUITE and SUITE not in kinds:
                found = f"{name!r}, which jobs of kind {' and '.join(sorted(kinds))} do not have"
                raise self._wrong(where, "settings that its jobs have", found, "leave it out")

    def _module(self, name: str, where: str) -> str:
        path = self._placed(name, where)
        if not path.endswith(".ko") or not (self._elsewhere or Path(path).is_file()):
            raise self._wrong(f"{where}: modules", "kernel modules (.ko)", repr(name), "correct the path")
        return path

    def _placed(self, name: str, where: str) -> str:
        """Return a path of the file, which is relative to the file's folder."""
        path = Path(name) if self._elsewhere else Path(name).expanduser()
        if self._elsewhere and not path.is_absolute():
            expected = "an absolute path, which the workers have" if "/" in name else f"one of {', '.join(CHANNELS)}"
            raise self._wrong(where, expected, repr(name), advice(name, CHANNELS, "correct it"))
        return str(path if self._elsewhere else (self._path.absolute().parent / path).resolve())

    # --- axes -----------------------------------------------------------------------------------------------------

    def _product(self, axes: Mapping[str, Any]) -> Iterable[tuple[str, str | None, str, str]]:
        names = [self._driver(name, "drivers") for name in axes.get("drivers", [])]
        kernels = [self._kernel(each, "kernels") for each in axes.get("kernels", [DEFAULT_CHANNEL])]
        kinds = [self._kind(each, "kinds") for each in axes.get("kinds", [SUITE])]
        profiles = {self._driver(name, "profiles"): chosen for name, chosen in axes.get("profiles", {}).items()}
        for where, values in (("drivers", names), ("kernels", kernels), ("kinds", kinds)):
            self._check_unique(values, where)
        for name in profiles:
            if name not in names:
                raise self._wrong("profiles", "drivers of the matrix", repr(name), "add it to drivers, or leave it out")
        for name, kernel, kind in itertools.product(names, kernels, kinds):
            for profile in self._profiles(name, profiles.get(name)):
                yield name, profile, kernel, kind

    def _check_unique(self, values: list[str], where: str) -> None:
        for value in values:
            if values.count(value) > 1:
                raise self._wrong(where, "each once", f"{value!r} twice", "remove one")

    def _driver(self, name: str, where: str) -> str:
        return str(self._checked(where, lambda: registry.find(name)).name)

    def _kernel(self, spec: str, where: str) -> str:
        if spec in CHANNELS:
            return spec
        places = [self._placed(part, where) for part in spec.split(":", 1)]
        if not self._elsewhere and not all(Path(place).exists() for place in places):
            hint = advice(spec, CHANNELS, "correct the path")
            expected = f"one of {', '.join(CHANNELS)}, a kernel build tree, or BZIMAGE[:MODULES]"
            raise self._wrong(where, expected, repr(spec), hint)
        return ":".join(places)

    def _kind(self, name: str, where: str) -> str:
        if name not in KINDS:
            raise self._wrong(where, f"one of {', '.join(KINDS)}", repr(name), advice(name, KINDS, "correct it"))
        if KINDS[name] not in self._available:
            raise self._wrong(
                where,
                "kinds that this plugfest has",
                f"{name!r}: no command {KINDS[name]}",
                "upgrade it, or leave it out",
            )
        return name

    def _profiles(self, driver: str, chosen: Any) -> list[str | None]:
        where, about = f"profiles.{driver}", registry.find(driver)
        if chosen is None:
            return [registry.check_profile(about, None)]
        if chosen == ALL:
            if isinstance(about.subject, registry.ModelSubject):
                return list(about.subject.profiles)
            return [self._profile(about, ALL, where)]  # which says that there is none
        if not _is_list(chosen):
            raise self._wrong(where, f"a list of profiles, or {ALL!r}", _shown(chosen), "correct it")
        self._check_unique(chosen, where)
        return [self._profile(about, each, where) for each in chosen]

    def _profile(self, driver: registry.Driver, profile: str, where: str) -> str | None:
        found: str | None = self._checked(where, lambda: registry.check_profile(driver, profile))
        return found

    # --- exclude and include --------------------------------------------------------------------------------------

    def _axes(self, table: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Return the axes that a table sets, each checked."""
        found: dict[str, Any] = {}
        if "driver" in table:
            found["driver"] = self._driver(table["driver"], where)
        if "kernel" in table:
            found["kernel"] = self._kernel(table["kernel"], where)
        if "kind" in table:
            found["kind"] = self._kind(table["kind"], where)
        if "profile" in table:
            found["profile"] = table["profile"]
            if "driver" in found:
                self._profile(registry.find(found["driver"]), table["profile"], where)
        return found

    def _exclude(self, jobs: list[Job], table: Mapping[str, Any], where: str) -> list[Job]:
        self._check(table, _AXES, where)
        axes = self._axes(table, where)
        left = [job for job in jobs if not _agrees(job, axes)]
        if len(left) == len(jobs) or not axes:
            raise self._wrong(where, "to leave out a job", "that it agrees with none", "correct or remove it")
        return left

    def _include(
        self, jobs: list[Job], crossed: int, table: Mapping[str, Any], where: str, common: Mapping[str, Any]
    ) -> None:
        """Extend the first `crossed` jobs, those of the product, where they agree; else add one."""
        self._check(table, {**_AXES, **_SETTINGS}, where)
        axes = self._axes(table, where)
        settings = self._settings({name: value for name, value in table.items() if name in _SETTINGS}, where)
        agreeing = [number for number in range(crossed) if _agrees(jobs[number], axes)]
        for number in agreeing:
            job = jobs[number]
            jobs[number] = dataclasses.replace(job, settings=dataclasses.replace(job.settings, **settings))
        if agreeing:
            self._check_used(table, [jobs[number] for number in agreeing], where)
            return
        if "driver" not in axes:
            raise self._wrong(where, "a driver, or values of jobs that there are", "neither", "add driver = …")
        about = registry.find(axes["driver"])
        job = Job(
            about.name,
            registry.check_profile(about, axes.get("profile")),
            axes.get("kernel", DEFAULT_CHANNEL),
            axes.get("kind", SUITE),
            JobSettings(**{**common, **settings}),
        )
        if any(job.name == each.name for each in jobs):
            raise self._wrong(where, "a job that there is not yet", f"a second one of {job.title}", "remove one")
        self._check_used(table, [job], where)
        jobs.append(job)

    # --- queues ---------------------------------------------------------------------------------------------------

    def _queue(self, jobs: list[Job], table: Mapping[str, Any], where: str) -> list[Job]:
        """Return the jobs of a queue: those that agree, with each series alone, then with all together."""
        self._check(table, {**_AXES, **_QUEUE}, where)
        axes = self._axes(table, where)
        for name in ("driver", "folder"):
            if name not in table:
                raise self._wrong(where, f"a {name}", "none", f"add {name} = …")
        self._checked(where, lambda: check_driver(registry.find(axes["driver"])))
        agreeing = [job for job in jobs if _agrees(job, axes)]
        if not agreeing:
            raise self._wrong(where, "to agree with a job", "that it agrees with none", "correct or remove it")
        for job in agreeing:
            if job.kernel not in CHANNELS:
                hint = "name one of them with kernel = …"
                raise self._wrong(where, f"jobs on {', '.join(CHANNELS)}, whose source Debian has", job.title, hint)
            if job.kind != SUITE or job.settings.modules:
                raise self._wrong(where, "jobs of the suite with the kernel's own driver", job.title, "leave it out")
        series = self._checked(where, lambda: queue.pending(Path(self._placed(table["folder"], where))))
        alone = [Queued(each.name, (str(each.path),), (each.digest,)) for each in series]
        paths, digests = tuple(str(each.path) for each in series), tuple(each.digest for each in series)
        found = [*alone, *([Queued(queue.TOGETHER, paths, digests)] if len(series) > 1 else [])]
        return [dataclasses.replace(job, queued=each) for job in agreeing for each in found]


def _agrees(job: Job, axes: Mapping[str, Any]) -> bool:
    return all(getattr(job, axis) == value for axis, value in axes.items())


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _shown(value: Any) -> str:
    """Return a value as TOML nearly has it, cut."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:60]}…"
