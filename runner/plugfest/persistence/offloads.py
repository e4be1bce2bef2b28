# SPDX-License-Identifier: GPL-2.0-or-later
"""Features (``ethtool -K``), each turned to what it is not by default, and the time stamp filter.

Sources: Documentation/networking/netdev-features.rst; Documentation/networking/timestamping.rst.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from plugfest.dut.operations import NotOfferedError
from plugfest.dut.skb_trace import Checksum
from plugfest.frames.probe import burst, tagged
from plugfest.frames.ptp import covered
from plugfest.persistence.addresses import VLAN
from plugfest.persistence.setting import Setting
from plugfest.timestamps.hardware_clock import NONE, OFF, ON, Stamping

if TYPE_CHECKING:
    from plugfest.persistence.instruments import Instruments

STRIP, INSERT = "rx-vlan-hw-parse", "tx-vlan-hw-insert"
RECEIVE_CHECKSUM, SEGMENTATION = "rx-checksum", "tx-tcp-segmentation"
COALESCING = ("rx-lro", "rx-gro-hw")
FRAME = 1514
"""Bytes of the longest frame at the standard MTU, without FCS."""
LENGTH, TAGGED_LENGTH = 700, 701
"""Bytes of frames by which they are recognized in the trace."""
PAYLOAD, SEGMENT = 8000, 1400
STREAM = 200_000
"""Bytes of a TCP stream."""


class _Feature(Setting):
    """A feature, turned over.

    Attributes:
        choices: the feature, or several of which the first that can be changed is taken.
    """

    choices: ClassVar[tuple[str, ...]]

    def __init__(self, instruments: Instruments) -> None:
        """Choose the feature."""
        super().__init__(instruments)
        free = instruments.dut.features().free
        self._feature = next((name for name in self.choices if name in free), None)

    def set(self) -> None:
        """Turn it over."""
        if self._feature is None:
            raise NotOfferedError(f"{' and '.join(self.choices)}: fixed")
        self._on = self._feature not in self.instruments.dut.features().active
        self.instruments.settings.restore_features()
        unset = self.instruments.dut.try_set_features({self._feature: self._on})
        if unset:  # of a driver that couples it to another
            raise NotOfferedError(f"{' and '.join(unset)}: not set")

    def reported(self) -> Any:
        """Whether it is on."""
        return {self._feature: self._feature in self.instruments.dut.features().active}

    def observed(self) -> Any:
        """Whether what passes between stack and driver shows it."""
        return None if self._feature is None else {f"{self._feature} in use": self.in_use()}

    @abstractmethod
    def in_use(self) -> bool:
        """Whether the driver does the work of the feature.

        Raises:
            AssertionError: what was sent did not pass.
        """

    def shows(self, observed: Any) -> bool:
        """It is in use if it was turned on, and not if it was turned off."""
        return bool(observed[f"{self._feature} in use"] == self._on)


class VlanStripping(_Feature):
    """Whether the device takes the tag off."""

    name = "VLAN stripping"
    choices = (STRIP,)

    def set(self) -> None:
        """Create an interface for a VLAN, so that the filter passes it, and turn stripping over."""
        if STRIP in self.instruments.dut.features().free:
            self.instruments.settings.add_vlan(VLAN)
        super().set()

    def in_use(self) -> bool:
        """Whether a tag comes in the metadata of the skb."""
        frame = self.instruments.reception.frame(self.instruments.dut.mac, LENGTH)
        with self.instruments.trace_skbs() as seen:
            self.instruments.reception.deliver(tagged(frame, VLAN))
        tags = [each.tag for each in seen.received() if each.length in (LENGTH, LENGTH + 4)]
        assert len(tags) == 1, f"the driver passed {len(tags)} frames of the VLAN to the stack, of 1"
        return tags == [VLAN]


class VlanInsertion(_Feature):
    """Whether the device puts the tag in."""

    name = "VLAN insertion"
    choices = (INSERT,)

    def set(self) -> None:
        """Create an interface for a VLAN, and turn insertion over."""
        if INSERT in self.instruments.dut.features().free:
            self._vlan = self.instruments.settings.add_vlan(VLAN)
        super().set()

    def in_use(self) -> bool:
        """Whether the driver gets the tag in the metadata of the skb; the frame on the wire has it in either case."""
        instruments = self.instruments
        frame = instruments.frame_from(LENGTH)
        with instruments.trace_skbs() as seen:
            instruments.send_from(self._vlan, frame, on_wire=tagged(frame, VLAN))
        tags = [
            each.tag
            for each in seen.sent()
            if each.length in (LENGTH, LENGTH + 4) and each.protocol in (0x8100, 0x88B5)
        ]
        assert len(tags) == 1, f"the driver got {len(tags)} frames of the VLAN, of 1"
        return tags == [VLAN]


class ReceiveChecksum(_Feature):
    """Whether the driver reports what its device found of checksums."""

    name = "receive checksum"
    choices = (RECEIVE_CHECKSUM,)
    # The kernel, or the driver, keeps these off without it.
    features = frozenset({RECEIVE_CHECKSUM, *COALESCING})

    def in_use(self) -> bool:
        """Whether it reports the checksum of a right frame as verified, or computed."""
        instruments = self.instruments
        (probe,) = burst(instruments.traffic.ends, flows=1, sizes=(LENGTH,), versions=(4,))
        with instruments.trace_skbs() as seen:
            instruments.reception.deliver(probe.frame)
        found = [each.checksum for each in seen.received() if each.length == LENGTH]
        assert len(found) == 1, f"the driver passed {len(found)} frames to the stack, of 1"
        return found[0] is not Checksum.NONE


class Segmentation(_Feature):
    """Whether the driver gets TCP packets whole."""

    name = "TCP segmentation"
    choices = (SEGMENTATION,)
    # The kernel turns it off without them.
    features = frozenset({"tx-checksum-ip-generic", "tx-checksum-ipv4"})

    def in_use(self) -> bool:
        """Whether a long one is passed to it as it is; its segments are on the wire in either case."""
        with self.instruments.trace_skbs() as seen:
            self.instruments.traffic.send_segmented([4], payload=PAYLOAD, segment=SEGMENT)
        return any(each.length > PAYLOAD for each in seen.sent())


class Coalescing(_Feature):
    """Whether the device merges TCP segments."""

    name = "receive coalescing"
    choices = COALESCING
    features = frozenset({*COALESCING, RECEIVE_CHECKSUM})

    def in_use(self) -> bool:
        """Whether a stream arrives in skbs longer than a frame."""
        with self.instruments.trace_skbs() as seen:
            received = self.instruments.peer.to_dut(4, STREAM)
        assert received.length == STREAM, f"{received.length} bytes of a stream of {STREAM} arrived"
        return any(each.length > FRAME for each in seen.received())


class TimestampFilter(Setting):
    """Which received frames the device stamps."""

    name = "time stamp filter"

    def __init__(self, *arguments: Any) -> None:
        """Know what the driver has."""
        super().__init__(*arguments)
        self._info = self.instruments.dut.get("tsinfo") or {}
        self._stamping: Stamping | None = None

    def _filters(self) -> list[str]:
        offered = "hardware-receive" in self._info.get("timestamping", ())
        wanted = ("ptpv2-event", "ptpv2-l2-event", "ptpv2-l4-event", "all")
        return [name for name in wanted if offered and name in self._info.get("rx-filters", ())]

    def set(self) -> None:
        """Have it stamp event messages of PTP."""
        filters = self._filters()
        if not filters:
            raise NotOfferedError(f"ethtool -T: {self._info}")
        sent = ON if "on" in self._info.get("tx-types", ()) else OFF
        error = self._stamps().try_set_filter(sent=sent, received=filters[0])
        if error is not None:
            raise NotOfferedError(str(error))
        self._message = next(iter(covered(filters[0], self.instruments.traffic.ends)))

    def _stamps(self) -> Stamping:
        if self._stamping is None:
            instruments = self.instruments
            self._stamping = Stamping(instruments.guest, instruments.ifname, instruments.remote, instruments.defer)
        return self._stamping

    def reported(self) -> Any:
        """The filter."""
        return {"rx filter": self._stamps().now()[1]} if self._filters() else None

    def observed(self) -> Any:
        """Whether an event message is stamped."""
        if not self._filters():
            return None
        message = next(iter(covered(self._filters()[0], self.instruments.traffic.ends)))
        return {"stamped": self._stamps().receive(message.frame) is not None}

    def shows(self, observed: Any) -> bool:
        """It is."""
        return bool(observed["stamped"]) and self.reported() != {"rx filter": NONE}
