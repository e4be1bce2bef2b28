# SPDX-License-Identifier: GPL-2.0-or-later
"""The quarantine: tests whose verdict cannot be made to repeat, each with its reason."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from packaging.specifiers import SpecifierSet

from plugfest.requirements.entries import Form
from plugfest.requirements.known_issues import kernel_version

DEFAULT = Path(__file__).with_name("quarantine.toml")

_FORM = Form(
    what="a quarantine",
    table="test",
    shape=(
        'expected [[test]] with requirement = "AREA-TOPIC-01" or a list of them, drivers = ["name"], '
        'kernels = ">=6.1,<6.13" or "" for all, reason = "…", and, if it is limited to them, parameters = ["zero-copy"]'
    ),
    keys={"requirement": str | list, "drivers": list, "kernels": str, "reason": str},
    optional=("parameters",),
)


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
    return tuple(
        Quarantined(
            requirements=entry.strings("requirement", alone=True),
            drivers=entry.strings("drivers"),
            kernels=entry.versions("kernels", entry.fields["kernels"]),
            reason=entry.paragraph("reason"),
            parameters=entry.strings("parameters"),
        )
        for entry in _FORM.read(path)
    )


def matching(
    entries: Iterable[Quarantined], requirement: str, driver: str, release: str, parameters: Collection[str] = ()
) -> Quarantined | None:
    """Return the first entry that lists a test, or None."""
    return next((each for each in entries if each.applies(requirement, driver, release, parameters)), None)
