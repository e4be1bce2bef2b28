# SPDX-License-Identifier: GPL-2.0-or-later
"""What each test stands on, and which of it the driver was found not to provide.

A driver without a netdev, a link or a reply to a ping fails every other test, slowly. So the requirements that say so are tested
first; once one has failed, what stands on it is blocked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pytest

from plugfest.plugin.item import required
from plugfest.requirements.base import Base
from plugfest.requirements.verdict import Verdict

FIXTURES = {
    "binding": Base.NETDEV,
    "dut": Base.NETDEV,
    "link_partner": Base.LINK,
    "settings": Base.LINK,
    "packet_sender": Base.PING,
    "peer": Base.PING,
    "remote": Base.PING,
}
"""What a test that uses these fixtures, itself or by others of its fixtures, stands on."""

MARKER = "stands_on"


def stands_on(item: pytest.Item) -> Base | None:
    """Return what a test stands on: the last of the bases, which stands on those before it; None if on none.

    The marker ``stands_on`` decides, else the test's fixtures. A base's own requirement stands on the base before it.

    Raises:
        pytest.UsageError: the marker is malformed.
    """
    own = required(item).base
    if own is not None:
        return list(Base)[own.rank - 1] if own.rank else None
    marker = item.get_closest_marker(MARKER)
    if marker is None:
        used = [FIXTURES[name] for name in getattr(item, "fixturenames", ()) if name in FIXTURES]
        return max(used, key=lambda base: base.rank, default=None)
    if len(marker.args) != 1 or marker.args[0] not in (None, *Base):
        raise pytest.UsageError(
            f"{item.nodeid}: expected @pytest.mark.{MARKER}(base), one of {', '.join(Base)} and None, "
            f"found arguments {marker.args}"
        )
    return None if marker.args[0] is None else Base(marker.args[0])


def first(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Put the tests of the bases' requirements before all others, which keep their order."""

    def rank(item: pytest.Item) -> int:
        base = required(item).base
        return len(Base) if base is None else base.rank

    return sorted(items, key=rank)


def selected(items: Sequence[pytest.Item]) -> set[Base]:
    """Return the bases whose requirements are among those of these tests."""
    return {base for item in items if (base := required(item).base) is not None}


@dataclass(frozen=True)
class FailedBase:
    """A base that the driver does not provide.

    Attributes:
        base: which.
        requirement: id of the requirement whose test has shown it.
        verdict: of that test.
        reason: of that verdict, one line.
    """

    base: Base
    requirement: str
    verdict: Verdict
    reason: str

    @classmethod
    def of(cls, fields: Mapping[str, str]) -> FailedBase:
        """Return it from its fields, as JSON has them."""
        return cls(Base(fields["base"]), fields["requirement"], Verdict(fields["verdict"]), fields["reason"])

    def __str__(self) -> str:
        """Return the reason of what is blocked."""
        return f"stands on {self.requirement}, which is {self.verdict}: {self.reason}"


class Bases:
    """The bases that failed in this run."""

    def __init__(self) -> None:
        """None has."""
        self._failed: dict[Base, FailedBase] = {}

    def failed(self, found: FailedBase) -> bool:
        """Take note that a base failed; return whether that is news, since the first finding of each base counts."""
        return self._failed.setdefault(found.base, found) is found

    def __iter__(self) -> Iterator[FailedBase]:
        """Iterate over those that failed."""
        return iter(self._failed.values())

    def blocking(self, item: pytest.Item) -> FailedBase | None:
        """Return the failed base that a test stands on, the deepest of them; None if it can run."""
        base = stands_on(item)
        if base is None:
            return None
        return next((self._failed[each] for each in Base if each.rank <= base.rank and each in self._failed), None)
