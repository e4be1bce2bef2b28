# SPDX-License-Identifier: GPL-2.0-or-later
"""Known issues: the bugs that make a requirement fail, on which driver and kernel, and where each is in the source."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from plugfest.errors import UsageError

DEFAULT = Path(__file__).with_name("known-issues.toml")

_SHAPE = (
    'expected [[issue]] with title = "driver: …", whose = "driver" | "core" | "qemu" | "device", '
    'requirement = "AREA-TOPIC-01" or a list of them, drivers = ["name"], kernels = ">=6.1,<6.13" or "" for all, '
    'where = ["drivers/net/…/file.c:function"], reason = "…" and link = "https://…"; '
    'and, if it is limited to them, profiles = ["name"] and parameters = ["zero-copy"]'
)
_KEYS = {
    "title": str,
    "whose": str,
    "requirement": str | list,
    "drivers": list,
    "kernels": str,
    "where": list,
    "reason": str,
    "link": str,
}
_LIMITS = ("profiles", "parameters")
_TITLE = re.compile(r"[a-z][a-z0-9_]*: \S.*[^.]")
_WHERE = re.compile(r"[\w./-]+\.[ch](:\w+)?")


class Whose(StrEnum):
    """Whose bug it is."""

    DRIVER = "driver"
    CORE = "core"
    QEMU = "qemu"
    DEVICE = "device"

    @property
    def meaning(self) -> str:
        """A few words for people."""
        return _MEANINGS[self]


_MEANINGS = {
    Whose.DRIVER: "the driver",
    Whose.CORE: "the kernel's core",
    Whose.QEMU: "QEMU's device",
    Whose.DEVICE: "the device's interface",
}


@dataclass(frozen=True)
class KnownIssue:
    """One bug that is known.

    Attributes:
        title: one line, as the subject of a bug report: ``gve: qstats-get oopses while the interface is down``.
        whose: the driver's, the kernel core's, QEMU's, or a limit of the device's interface.
        requirements: ids of the requirements that are expected to fail.
        drivers: the drivers that have it.
        kernels: the kernel versions that have it; empty for all.
        where: where in the source of Linux or QEMU, each ``FILE`` or ``FILE:FUNCTION``.
        reason: one paragraph: symptom and cause.
        link: the document that it contradicts, or the source.
        profiles: only with these profiles of the driver's model; empty for all.
        parameters: only in tests with one of these parameters; empty for all.
    """

    title: str
    whose: Whose
    requirements: tuple[str, ...]
    drivers: tuple[str, ...]
    kernels: SpecifierSet
    where: tuple[str, ...]
    reason: str
    link: str
    profiles: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()

    def applies(
        self,
        requirement: str,
        driver: str,
        release: str,
        profile: str | None = None,
        parameters: Collection[str] = (),
    ) -> bool:
        """Return whether a failure of this requirement is expected here.

        Args:
            requirement: the requirement's id.
            driver: the driver's name.
            release: ``uname -r``, as ``6.12.57+deb13-amd64``.
            profile: the model's; None if the device is not one of our models.
            parameters: of the test.
        """
        return (
            requirement in self.requirements
            and driver in self.drivers
            and (not self.profiles or profile in self.profiles)
            and (not self.parameters or not set(self.parameters).isdisjoint(parameters))
            and self.kernels.contains(kernel_version(release), prereleases=True)
        )

    def __str__(self) -> str:
        """Return title and link, one line, for the reports."""
        return f"{self.title}, {self.link}"


def kernel_version(release: str) -> Version:
    """Return the upstream part of ``uname -r``: ``7.3.4+deb13-amd64`` is 7.3.4, ``7.4.0-rc2-dirty`` is 7.4.0rc2.

    Raises:
        UsageError: the release does not begin with a version.
    """
    match = re.match(r"(\d+(?:\.\d+)+)(?:-(rc\d+))?", release)
    if match is None:
        raise UsageError(
            f"kernel release {release!r}: expected it to begin with a version such as 7.3.4; choose another --kernel"
        )
    return Version(match[1] + (match[2] or ""))


def load(path: Path = DEFAULT) -> tuple[KnownIssue, ...]:
    """Read a list of known issues.

    Raises:
        UsageError: the file is missing or malformed; the message shows the correct form.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: expected a list of known issues, found: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: expected TOML, found: {error}; {_SHAPE}") from error
    if set(raw) - {"issue"} or not isinstance(raw.get("issue", []), list):
        raise UsageError(f"{path}: found {', '.join(sorted(raw))}; {_SHAPE}")
    return tuple(_issue(path, number, entry) for number, entry in enumerate(raw.get("issue", []), 1))


def _issue(path: Path, number: int, entry: dict[str, Any]) -> KnownIssue:
    def wrong(what: str) -> UsageError:
        return UsageError(f"{path}: issue {number} has {what}; {_SHAPE}")

    for key, kind in _KEYS.items():
        if not isinstance(entry.get(key), kind) or (not entry[key] and key != "kernels"):
            raise wrong(f"no valid {key!r}")
    unknown = set(entry) - set(_KEYS) - set(_LIMITS)
    if unknown:
        raise wrong(f"the unknown key {', '.join(sorted(unknown))}")
    requirements = [entry["requirement"]] if isinstance(entry["requirement"], str) else entry["requirement"]
    limits = {name: entry.get(name, []) for name in _LIMITS}
    lists = {"requirement": requirements, "drivers": entry["drivers"], "where": entry["where"], **limits}
    for name, values in lists.items():
        if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
            raise wrong(f"no valid {name!r}")
    if not _TITLE.fullmatch(entry["title"]):
        raise wrong(f"the title {entry['title']!r}")
    if entry["whose"] not in set(Whose):
        raise wrong(f"whose = {entry['whose']!r}")
    for place in entry["where"]:
        if not _WHERE.fullmatch(place):
            raise wrong(f"{place!r} in 'where'")
    if not entry["link"].startswith("https://"):
        raise wrong(f"the link {entry['link']!r}")
    try:
        kernels = SpecifierSet(entry["kernels"])
    except InvalidSpecifier as error:
        raise wrong(f"kernels = {entry['kernels']!r}") from error
    return KnownIssue(
        entry["title"],
        Whose(entry["whose"]),
        tuple(requirements),
        tuple(entry["drivers"]),
        kernels,
        tuple(entry["where"]),
        " ".join(entry["reason"].split()),
        entry["link"],
        **{name: tuple(values) for name, values in limits.items()},
    )


def matching(
    issues: Iterable[KnownIssue],
    requirement: str,
    driver: str,
    release: str,
    profile: str | None = None,
    parameters: Collection[str] = (),
) -> KnownIssue | None:
    """Return the first known issue that applies, or None."""
    return next((issue for issue in issues if issue.applies(requirement, driver, release, profile, parameters)), None)
