# SPDX-License-Identifier: GPL-2.0-or-later
"""One cell of a matrix: a driver with a profile of its device, a kernel, and what is run on them."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SUITE = "suite"
"""The kind of job that ``plugfest run`` carries out."""
SELFTESTS = "selftests"
"""The kind of job that ``plugfest selftests`` carries out: upstream's tests."""
KINDS = {SUITE: "run", SELFTESTS: "selftests"}
"""The kinds of jobs, each with its command."""

_LONGEST = 80
"""Bytes of a name at most: it is that of a folder."""


@dataclass(frozen=True)
class JobSettings:
    """How a job is run; what is not set is as by ``plugfest run``.

    Attributes:
        areas: of the suite; none for all of the driver's.
        slow: run the tests that take minutes each, too.
        guests: how many guests of the run work side by side; None for what suits the machine.
        cpus: of each guest.
        memory: of each guest, MiB.
        accel: ``auto``, ``kvm`` or ``tcg``.
        modules: out-of-tree ``.ko`` files.
        strict_known: a known issue that does not show is a failure.
        strict_waits: a tight wait is a failure.
        pytest: further arguments of pytest.
        retries: how often a job without a result is tried again.
        time_limit: of one attempt, minutes.
    """

    areas: tuple[str, ...] = ()
    slow: bool = False
    guests: int | None = None
    cpus: int = 2
    memory: int = 1024
    accel: str = "auto"
    modules: tuple[str, ...] = ()
    strict_known: bool = False
    strict_waits: bool = False
    pytest: tuple[str, ...] = ()
    retries: int = 1
    time_limit: float = 360.0


@dataclass(frozen=True)
class Job:
    """A job.

    Attributes:
        driver: name in the registry.
        profile: of the model; None for a device that has none.
        kernel: a channel, a build tree, or a boot image.
        kind: one of `KINDS`.
        settings: how it is run.
    """

    driver: str
    profile: str | None
    kernel: str
    kind: str = SUITE
    settings: JobSettings = JobSettings()

    @property
    def title(self) -> str:
        """What it is, in words."""
        profile = f" ({self.profile})" if self.profile else ""
        kind = "" if self.kind == SUITE else f", {self.kind}"
        return f"{self.driver}{profile} on {self.kernel}{kind}"

    @property
    def name(self) -> str:
        """The name of its folder, which no other job of the matrix has."""
        axes = [self.driver, self.profile, self.kernel, None if self.kind == SUITE else self.kind]
        text = "-".join(word for word in axes if word)
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-")
        if name == text and len(name) <= _LONGEST:
            return name
        return f"{name[:_LONGEST]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    def arguments(self, output: Path, most_guests: int) -> list[str]:
        """Return the arguments of plugfest that run it.

        Args:
            output: its output folder.
            most_guests: how many guests the run may have, if the job's settings do not say how many it has. It has fewer if memory
                is short by then, and one if pytest's arguments need that. Upstream's tests run in one guest.
        """
        chosen = self.settings
        made = [KINDS[self.kind], self.driver, "--kernel", self.kernel, "--output", str(output)]
        made += ["--profile", self.profile] if self.profile else []
        made += ["--accel", chosen.accel, "--cpus", str(chosen.cpus), "--memory", str(chosen.memory)]
        for module in chosen.modules:
            made += ["--module", module]
        if self.kind == SUITE:
            made += ["--max-guests", str(most_guests)] if chosen.guests is None else ["--guests", str(chosen.guests)]
            for area in chosen.areas:
                made += ["--area", area]
            flags = {
                "--slow": chosen.slow,
                "--strict-known": chosen.strict_known,
                "--strict-waits": chosen.strict_waits,
            }
            made += [flag for flag, wanted in flags.items() if wanted]
            made += ["--", *chosen.pytest] if chosen.pytest else []
        return made

    def describe(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        found = dataclasses.asdict(self)
        found["settings"] = {
            key: list(value) if isinstance(value, tuple) else value for key, value in found["settings"].items()
        }
        return found

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> Job:
        """Return what `describe` described.

        Raises:
            KeyError, TypeError: it did not.
        """
        settings: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in described["settings"].items()
        }
        return cls(**{**described, "settings": JobSettings(**settings)})
