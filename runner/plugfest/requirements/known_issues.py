# SPDX-License-Identifier: GPL-2.0-or-later
"""Known issues: which requirements are expected to fail, on which driver and kernel, and where that was reported."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from plugfest.errors import UsageError

DEFAULT = Path(__file__).with_name("known-issues.toml")

_SHAPE = (
    'expected [[issue]] with requirement = "AREA-TOPIC-01", drivers = ["name"], kernels = ">=6.1,<6.13", '
    'reason = "…" and link = "https://…"; requirement = ["AREA-TOPIC-01", "AREA-TOPIC-02"] for several, and profiles = ["name"] '
    'or parameters = ["zero-copy"], of the test, if it fails only with these'
)
_KEYS = {"requirement": str | list, "drivers": list, "kernels": str, "reason": str, "link": str}
_LIMITS = ("profiles", "parameters")


@dataclass(frozen=True)
class KnownIssue:
    """One known issue.

    Attributes:
        requirements: ids of the requirements that are expected to fail.
        drivers: the drivers that have it.
        kernels: the kernel versions that have it; empty for all.
        reason: one line.
        link: where it was reported.
        profiles: only with these profiles of the driver's model; empty for all.
        parameters: only in tests with one of these parameters; empty for all.
    """

    requirements: tuple[str, ...]
    drivers: tuple[str, ...]
    kernels: SpecifierSet
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
            profile: the model's; None if the device is not a model.
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
        """Return reason and link, for the reports."""
        return f"{self.reason}, {self.link}"


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
    for key, kind in _KEYS.items():
        if not isinstance(entry.get(key), kind) or (not entry[key] and key != "kernels"):
            raise UsageError(f"{path}: issue {number} has no valid {key!r}; {_SHAPE}")
    requirements = [entry["requirement"]] if isinstance(entry["requirement"], str) else entry["requirement"]
    limits = {name: entry.get(name, []) for name in _LIMITS}
    if not all(isinstance(each, str) for each in requirements):
        raise UsageError(f"{path}: issue {number} has no valid 'requirement'; {_SHAPE}")
    for name, values in limits.items():
        if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
            raise UsageError(f"{path}: issue {number} has no valid {name!r}; {_SHAPE}")
    unknown = set(entry) - set(_KEYS) - set(_LIMITS)
    if unknown:
        raise UsageError(f"{path}: issue {number} has unknown keys {', '.join(sorted(unknown))}; {_SHAPE}")
    if not entry["link"].startswith("https://"):
        raise UsageError(f"{path}: issue {number} has the link {entry['link']!r}; {_SHAPE}")
    try:
        kernels = SpecifierSet(entry["kernels"])
    except InvalidSpecifier as error:
        raise UsageError(f"{path}: issue {number} has kernels = {entry['kernels']!r}; {_SHAPE}") from error
    return KnownIssue(
        tuple(requirements),
        tuple(entry["drivers"]),
        kernels,
        entry["reason"],
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
