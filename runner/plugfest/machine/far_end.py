# SPDX-License-Identifier: GPL-2.0-or-later
"""The far end of a wire to a real machine, as tests use it: the run's own tap, whose frames go over another host's interface."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from plugfest import deadline as deadlines
from plugfest.errors import InfrastructureError
from plugfest.machine.agent import NeedsModelError
from plugfest.machine.remote import Capture, Remote

if TYPE_CHECKING:
    from plugfest.faults import Interposer
    from plugfest.machine.call_log import CallLog
    from plugfest.machine.tap import Tap
    from plugfest.machine.wire import Wire


class FarEnd(Remote):
    """The remote end of the wire."""

    def __init__(
        self,
        tap: Tap,
        wire: Wire,
        most: int,
        name: str,
        interposer: Interposer | None = None,
        lost: Callable[[], float] = deadlines.never,
        log: CallLog | None = None,
    ) -> None:
        """Take the tap, and what joins it with the far interface.

        Args:
            tap: of the run.
            wire: joins it.
            most: the MTU of the far interface.
            name: of that, for messages.
            interposer: as for `Remote`.
            lost: as for `Remote`.
            log: as for `Remote`.
        """
        super().__init__(tap, interposer, lost, log)
        self._wire = wire
        self._most = most
        self._name = name

    @property
    def mtu(self) -> int:
        """Bytes of payload that this end's stack sends in one frame."""
        return self.tap.mtu

    @mtu.setter
    def mtu(self, mtu: int) -> None:
        if mtu > self._most:
            raise NeedsModelError(f"a remote end with an MTU of {mtu}", f"{self._name} has {self._most}")
        self.tap.mtu = mtu

    def settle(self) -> int:
        """Wait until what is on the wire now has come to the tap; returns how many frames the far end has lost so far.

        Raises:
            InfrastructureError: the far end is gone.
        """
        lost = self._wire.settle()
        if lost is None:
            raise InfrastructureError(
                f"{self._name}: expected the far end of the wire to answer, found that it is gone"
            )
        return lost

    @contextmanager
    def capture(self) -> Iterator[Capture]:
        """``with remote.capture() as seen:`` records all that is on the wire meanwhile; `seen` stays usable afterwards."""
        seen = Capture(self.ifname, self._interposer, self._lost, self.settle)
        try:
            yield seen
        finally:
            seen.stop()
