# SPDX-License-Identifier: GPL-2.0-or-later
"""Where jobs are carried out: what this machine's pool and a Dask cluster have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from plugfest.matrix.attempt import AttemptEnd, Count
from plugfest.matrix.job import Job


class Watcher(Protocol):
    """What is reported of one attempt while it goes on."""

    def began(self, where: str | None) -> None:
        """Tell that it begins, on a machine; None for this one. Called again if that machine was lost and another took over."""

    def counted(self, count: Count) -> None:
        """Tell how far it is."""


class Place(Protocol):
    """Carries out jobs, as many at a time as it can."""

    async def attempt(self, job: Job, folder: Path, watcher: Watcher) -> AttemptEnd:
        """Carry out one attempt at a job, once there is room for it.

        Args:
            job: the job.
            folder: its output folder; once this returns, it has all that the attempt left.
            watcher: gets its progress.

        Raises:
            InfrastructureError: no job can be carried out here any longer.
        """

    def kill(self) -> None:
        """Give what runs no time to end."""
