# SPDX-License-Identifier: GPL-2.0-or-later
"""One cell of a matrix: a driver with a profile of its device, a kernel, and what is run on them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plugfest.patch.queue import Pending

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
class Queued:
    """What is pending of a driver, and judged against the job without it.

    Attributes:
        name: of the series, or of all together.
        paths: of the series, each a file or a folder of files.
        digests: of their contents when the matrix began; a job is of what was pending then.
    """

    name: str
    paths: tuple[str, ...]
    digests: tuple[str, ...]

    @property
    def changed(self) -> str | None:
        """The path of a series that has other contents by now, or is gone; None if there is none."""
        series = (Pending("", Path(path), digest) for path, digest in zip(self.paths, self.digests, strict=True))
        return next((str(each.path) for each in series if each.changed), None)


@dataclass(frozen=True)
class Job:
    """A job.

    Attributes:
        driver: name in the registry.
        profile: of the model; None for a device that has none.
        kernel: a channel, a build tree, or a boot image.
        kind: one of `KINDS`.
        settings: how it is run.
        queued: the patches that the driver is built with; None for the driver as it is.
    """

    driver: str
    profile: str | None
    kernel: str
    kind: str = SUITE
    settings: JobSettings = JobSettings()
    queued: Queued | None = None

    @property
    def before(self) -> Job:
        """The job that it is judged against: itself without patches."""
        return dataclasses.replace(self, queued=None)

    @property
    def title(self) -> str:
        """What it is, in words."""
        profile = f" ({self.profile})" if self.profile else ""
        kind = "" if self.kind == SUITE else f", {self.kind}"
        patches = f" with {self.queued.name}" if self.queued else ""
        return f"{self.driver}{profile} on {self.kernel}{kind}{patches}"

    @property
    def name(self) -> str:
        """The name of its folder, which no other job of the matrix has."""
        axes = [self.driver, self.profile, self.kernel, None if self.kind == SUITE else self.kind]
        axes += ["with", self.queued.name] if self.queued else []
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
        if self.queued:
            for path in self.queued.paths:
                made += ["--patch", path]
            made += ["--together"] if len(self.queued.paths) > 1 else []
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
        found: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return found

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> Job:
        """Return what `describe` described.

        Raises:
            KeyError, TypeError: it did not.
        """
        queued = described.get("queued")
        return cls(
            **{
                **described,
                "settings": JobSettings(**_frozen(described["settings"])),
                "queued": None if queued is None else Queued(**_frozen(queued)),
            }
        )


def _frozen(described: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in described.items()}
