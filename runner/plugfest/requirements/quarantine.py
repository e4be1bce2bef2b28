# SPDX-License-Identifier: GPL-2.0-or-later
"""The quarantine: tests whose verdict cannot be made to repeat, each with its reason."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from plugfest.errors import UsageError
from plugfest.requirements.known_issues import kernel_version

DEFAULT = Path(__file__).with_name("quarantine.toml")

_SHAPE = (
    'expected [[test]] with requirement = "AREA-TOPIC-01" or a list of them, drivers = ["name"], '
    'kernels = ">=6.1,<6.13" or "" for all, reason = "…", and, if it is limited to them, parameters = ["zero-copy"]'
)
_KEYS = {"requirement": str | list, "drivers": list, "kernels": str, "reason": str}


@dataclass(frozen=True)
class Quarantined:
    """Tests whose verdict varies.

    Attributes:
        requirements: ids of their requirements.
        drivers: the drivers on which it varies.
        kernels: the kernel versions on which it varies; empty for all.
        reason: why, one line.
        parameters: only tests with one of these parameters; empty for all.
    """

    requirements: tuple[str, ...]
    drivers: tuple[str, ...]
    kernels: SpecifierSet
    reason: str
    parameters: tuple[str, ...] = ()

    def applies(self, requirement: str, driver: str, release: str, parameters: Collection[str] = ()) -> bool:
        """Return whether it lists a test.

        Args:
            requirement: the requirement's id.
            driver: the driver's name.
            release: ``uname -r``.
            parameters: of the test.
        """
        return (
            requirement in self.requirements
            and driver in self.drivers
            and (not self.parameters or not set(self.parameters).isdisjoint(parameters))
            and self.kernels.contains(kernel_version(release), prereleases=True)
        )


def load(path: Path = DEFAULT) -> tuple[Quarantined, ...]:
    """Read a quarantine.

    Raises:
        UsageError: the file is missing or malformed; the message shows the correct form.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: expected a quarantine, found: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: expected TOML, found: {error}; {_SHAPE}") from error
    if set(raw) - {"test"} or not isinstance(raw.get("test", []), list):
        raise UsageError(f"{path}: found {', '.join(sorted(raw))}; {_SHAPE}")
    return tuple(_entry(path, number, entry) for number, entry in enumerate(raw.get("test", []), 1))


def _entry(path: Path, number: int, entry: dict[str, Any]) -> Quarantined:
    def wrong(what: str) -> UsageError:
        return UsageError(f"{path}: test {number} has {what}; {_SHAPE}")

    for key, kind in _KEYS.items():
        if not isinstance(entry.get(key), kind) or (not entry[key] and key != "kernels"):
            raise wrong(f"no valid {key!r}")
    unknown = set(entry) - set(_KEYS) - {"parameters"}
    if unknown:
        raise wrong(f"the unknown key {', '.join(sorted(unknown))}")
    lists = {
        "requirement": [entry["requirement"]] if isinstance(entry["requirement"], str) else entry["requirement"],
        "drivers": entry["drivers"],
        "parameters": entry.get("parameters", []),
    }
    for name, values in lists.items():
        if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
            raise wrong(f"no valid {name!r}")
    try:
        kernels = SpecifierSet(entry["kernels"])
    except InvalidSpecifier as error:
        raise wrong(f"kernels = {entry['kernels']!r}") from error
    return Quarantined(
        requirements=tuple(lists["requirement"]),
        drivers=tuple(lists["drivers"]),
        kernels=kernels,
        reason=" ".join(entry["reason"].split()),
        parameters=tuple(lists["parameters"]),
    )


def matching(
    entries: Iterable[Quarantined], requirement: str, driver: str, release: str, parameters: Collection[str] = ()
) -> Quarantined | None:
    """Return the first entry that lists a test, or None."""
    return next((each for each in entries if each.applies(requirement, driver, release, parameters)), None)
