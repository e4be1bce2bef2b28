# SPDX-License-Identifier: MIT
"""A flow cache for the bulk of traffic: frames of known flows, one descriptor each, delivered in bursts.

The first frame of a flow takes the slow path, `nicmodels.models.xgbe.receive`. The results of filters, steering and parsing
are cached, and apply to the frames that follow until the driver writes a register that is not in `NEUTRAL`. Checksums are
verified for every frame. Unusual frames take the slow path, and so do all frames while a receive fault is armed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicmodels.models.xgbe.cached_flow import CachedFlow
from nicmodels.models.xgbe.registers import REGISTERS, dma
from nicmodels.offload.flow_table import FlowTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nicmodels.models.xgbe.mmc import Counters
    from nicmodels.models.xgbe.rx_dma import RxDma
    from nicmodels.models.xgbe.rx_offload import RxStatus
    from nicmodels.offload.headers import Headers

NEUTRAL = frozenset(
    REGISTERS.offset(register, index)
    for register in (dma.RDTR_LO, dma.TDTR_LO, dma.IER, dma.SR, dma.RIWT)
    for index in range(register.total)
)
"""The registers that drivers write under traffic, and that do not influence how a frame is received."""


class FlowCache(FlowTable[CachedFlow]):
    """The cached flows.

    Args:
        receive_dma: the channels.
        counters: of the device.
    """

    def __init__(self, receive_dma: RxDma, counters: Counters) -> None:
        super().__init__()
        self._dma = receive_dma
        self._counters = counters

    def learn(self, frame: memoryview, headers: Headers, channel: int, report: RxStatus, longest: int) -> None:
        """Cache the flow of a delivered frame; `longest` is the length of the longest frame without FCS."""
        if self._dma.channels[channel].splits and headers.version and not report.header:
            return  # an exception, by which the next frame cannot be judged
        self.remember(frame, headers, CachedFlow(frame, headers, channel, report), longest)

    def deliver_many(self, frames: Sequence[bytes], at: int) -> int:
        """Deliver frames of cached flows, from number `at` on.

        Args:
            frames: without FCS.
            at: the number of the first.

        Returns:
            The number of the first that must take the slow path.
        """
        for flow, run, sizes in self.runs(frames, at) if len(self) else ():
            if flow.header:
                alike = [*map(flow.splits, run)]
                if not all(alike):
                    del sizes[alike.index(False) :]
            taken, delivered = self._dma.deliver_run(flow, run, sizes)
            self._counters.arrived_many(sizes[:taken], flow.destination)
            self._counters.delivered(flow.channel, sum(sizes[:delivered]), delivered)
            at += taken
            if taken < len(run):
                break
        return at
