# SPDX-License-Identifier: GPL-2.0-or-later
"""What can be wrong with a source or a patch, as opposed to with this machine."""

from __future__ import annotations

from typing import ClassVar

from plugfest.errors import PlugfestError


class BuildError(PlugfestError):
    """A source does not build, or takes more than it may."""

    exit_status: ClassVar[int] = 1


class LimitError(BuildError):
    """A confined process took more time, memory, processes or space than it may, and was ended."""


class SeriesError(BuildError):
    """A series of patches does not apply, or touches more than one module.

    Attributes:
        series: its name.
    """

    def __init__(self, series: str, message: str) -> None:
        """Name the series before the message."""
        super().__init__(f"{series}: {message}")
        self.series = series


class NothingTogetherError(BuildError):
    """Of several series that are to be judged together, fewer than two apply and build."""
