# SPDX-License-Identifier: GPL-2.0-or-later
"""The clocks that a device may stamp frames by, read before and after.

Of the model's own, of the hardware clock that ``ethtool -T`` names (PHC), and of the guest's, the first that can be read is taken. The
guest's are several, and nothing defines which of them a device without a clock uses, but it must be the same for all frames.

Source: Documentation/networking/timestamping.rst, SOF_TIMESTAMPING_RX_HARDWARE; include/uapi/linux/ethtool.h, struct ethtool_ts_info.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from plugfest.machine.agent import AgentError

if TYPE_CHECKING:
    from plugfest.machine.agent import AgentClient
    from plugfest.machine.model import ModelClient


Times = Mapping[str, int]
"""Nanoseconds by the name of the clock."""


class Clocks:
    """The clocks of one interface."""

    def __init__(
        self,
        agent: AgentClient,
        ifname: str,
        model: ModelClient | None,
        *,
        hardware: bool = True,
    ) -> None:
        """Read none yet; without `hardware` the guest's alone will be."""
        self._agent = agent
        self._model = model if model is not None and model.offers("model.clock") else None
        self._phc: int | None = (
            agent.call("ethtool.get", ifname=ifname, what="tsinfo").get("phc-index") if hardware else None
        )
        self._kept: set[str] | None = None

    def read(self) -> Times:
        """Return the time now."""
        device = self._model.call("model.clock")["now"] if self._model is not None else None
        if device is not None:
            return {"device": int(device)}
        if self._phc is not None:
            try:
                return {"phc": int(self._agent.call("phc.read", index=self._phc)[1])}
            except AgentError as error:
                if error.errno is None:
                    raise
        guests: dict[str, int] = self._agent.call("system.nanoseconds")
        return guests

    def check(self, before: Times, stamps: Sequence[int], after: Times) -> None:
        """Check that stamps lie between two readings, by a clock by which all did that were checked before.

        Raises:
            AssertionError: they do not by any.
        """
        names = before.keys() & after.keys() if self._kept is None else self._kept
        self._kept = {name for name in names if before[name] <= min(stamps) and max(stamps) <= after[name]}
        off = {
            name: f"{before[name] - min(stamps)} ns before, {max(stamps) - after[name]} ns after"
            for name in sorted(names - self._kept)
        }
        assert self._kept, f"stamped out of the time in which the frames went, by each clock: {off}"
