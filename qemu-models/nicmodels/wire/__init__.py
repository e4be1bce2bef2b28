# SPDX-License-Identifier: MIT
"""Wires: taps, cables between models, and captures."""

from nicmodels.wire.null import NullWire
from nicmodels.wire.pair import PairWire
from nicmodels.wire.pcap import PcapRecorder
from nicmodels.wire.protocol import Wire, WireCounters
from nicmodels.wire.tap import TapWire

__all__ = ["NullWire", "PairWire", "PcapRecorder", "TapWire", "Wire", "WireCounters"]
