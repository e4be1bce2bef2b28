# SPDX-License-Identifier: MIT
"""The local end of the link: SerDes mode, auto-negotiation, training, FEC and the status of PMA and PCS.

Source: IEEE 802.3-2022, 45.2.1 (PMA, training, FEC), 45.2.3 (PCS), clauses 72 and 74.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicmodels.models.xgbe.an73 import AutoNegotiation
from nicmodels.models.xgbe.mailbox import Mailbox, Mode
from nicmodels.models.xgbe.registers import mmd as r
from nicmodels.phy import Kind, LocalSegment, Looks, State, Technology, TrainingState

if TYPE_CHECKING:
    from collections.abc import Callable

    from nicmodels.models.xgbe.interrupts import InterruptBlock
    from nicmodels.models.xgbe.variants import Variant
    from nicmodels.nic.device import Host
    from nicmodels.phy import Event
    from nicmodels.registers import RegisterFile

LINK, LOCK, BASER_LINK = 1 << 2, 1, 1 << 12
RESTART_TRAINING, ENABLE_TRAINING = 1, 2
TRAINED, FRAME_LOCK, IN_TRAINING, FAILURE = 1, 2, 4, 8
FEC_ABLE, FEC_ENABLE = 3, 1
TECHNOLOGIES = {Mode.KX: Technology.KX_1000M, Mode.KR: Technology.KR_10G}
_RUNNING = (TrainingState.SEND_TRAINING, TrainingState.TRAIN_LOCAL, TrainingState.TRAIN_REMOTE)


class Link:
    """The local end.

    Args:
        came_up: called when frames can pass again.

    Attributes:
        phy: the local transceiver.
        partner: the other end.
        looks: counts the driver's reads of the PCS's and the PMA's status.
    """

    def __init__(
        self,
        file: RegisterFile,
        host: Host,
        interrupts: InterruptBlock,
        variant: Variant,
        *,
        came_up: Callable[[], object],
    ) -> None:
        self._file = file
        self._host = host
        self._fec = variant.fec
        self._came_up = came_up
        self._stuck = host.faults["link.report.stuck"]
        self._unlatched = host.faults["an.latch.missing"]
        self._no_training = host.faults["an.training.ignored"]
        self._bad_training = host.faults["an.training.failed"]
        self._shown = 0
        self._stayed_up = False
        self._training_requested = False
        self.looks = Looks()
        segment = host.link_segment or LocalSegment(host.clock, variant.partner)
        self.phy = segment.attach(null_pages=False)
        self.phy.training.automatic = False
        self.phy.training.enabled = False
        self.partner = segment.partner
        self.negotiation = AutoNegotiation(file, host, interrupts, self.phy, changed=self._restarted)
        self.mailbox = Mailbox(file, host, changed=self._mode_changed, receiver_reset=self._receiver_reset)
        self.phy.subscribe(self._event)
        file.on_write(r.PMD_CTRL, self._write_training)
        file.on_write(r.FEC_CTRL, self._write_fec)
        file.on_read(r.PMD_STAT, self._training_status, peek=self._training_status)
        for status in (r.PCS_STAT1, r.PMA_STAT1):
            file.on_read(status, self._read_status, peek=self._status)
        file.on_read(r.BASER_STAT1, self._baser_status, peek=self._baser_status)

    def reset(self) -> None:
        """Turn the SerDes off, and disable negotiation."""
        self.mailbox.reset()
        self._file[r.FEC_ABILITY] = FEC_ABLE if self._fec else 0
        self._training_requested = False
        self._stayed_up = False
        self.negotiation.reset()
        self._mode_changed(Mode.OFF)

    @property
    def up(self) -> bool:
        """Whether frames can pass."""
        return self.phy.link is not None and self._fec_agrees()

    @property
    def speed(self) -> int:
        """Mbit/s; 0 while down."""
        return self.phy.link.speed if self.phy.link is not None else 0

    def _fec_agrees(self) -> bool:
        """Whether FEC is enabled exactly if both ends negotiated it (73.6.5)."""
        link = self.phy.link
        if link is None or not link.negotiated or link.technology is not Technology.KR_10G:
            return True
        return bool(self._file[r.FEC_CTRL] & FEC_ENABLE) == link.fec

    # Configuration

    def _mode_changed(self, mode: Mode) -> None:
        """The SerDes changes its rate, or powers off."""
        technology = TECHNOLOGIES.get(mode)
        self._stayed_up = False
        with self.phy.timeline.instant():
            self.phy.technologies = frozenset({technology} if technology is not None else ())
            self.phy.force(technology)
            self.phy.power(technology is not None)

    def _receiver_reset(self) -> None:
        """A receiver reset cycle has no effect."""

    def _restarted(self) -> None:
        self._stayed_up = False
        self._training_requested = False

    def _write_training(self, _index: int, value: int) -> None:
        """RESTART starts training, and is self-clearing; before a technology is selected, training starts when one is."""
        self._file[r.PMD_CTRL] = value & ENABLE_TRAINING
        self.phy.training.enabled = bool(value & ENABLE_TRAINING)
        if value & RESTART_TRAINING and value & ENABLE_TRAINING:
            if self._no_training.armed and self._no_training.fires():
                return
            self._training_requested = not self.phy.train()
            if self._bad_training.armed and self._bad_training.fires():
                self.phy.training.stop()

    def _write_fec(self, _index: int, value: int) -> None:
        """The link may come up now if the ends had disagreed on FEC."""
        before = self.up
        self._file[r.FEC_CTRL] = value & r.FEC_CTRL.writable
        if self.up and not before:
            self._came_up()

    def _event(self, event: Event) -> None:
        self.negotiation.event(event)
        if event.kind in (Kind.LINK_UP, Kind.LINK_DOWN):
            self.looks.changed()
        if event.kind is Kind.STATE and event.details["state"] == State.AN_GOOD_CHECK.name and self._training_requested:
            self._training_requested = not self.phy.train()
        elif event.kind is Kind.LINK_UP:
            self._host.events.add("link.up", **event.details)
            if self.up:
                self._came_up()
        elif event.kind is Kind.LINK_DOWN:
            self._stayed_up = self._unlatched.armed and self._unlatched.fires()
            self._host.events.add("link.down")

    # Status registers

    def _locked(self) -> bool:
        """Whether the PCS is locked to what is received."""
        technology = TECHNOLOGIES.get(self.mailbox.mode)
        return technology is not None and self.phy.signal_ok(technology) and self._fec_agrees()

    def _status(self, _index: int = 0) -> int:
        if self._stuck.armed and self._stuck.fires():
            return self._shown
        self._shown = LINK if self._stayed_up and self._locked() else 0
        return self._shown

    def _read_status(self, index: int) -> int:
        """The link bit is latched low: after a loss of the link it reads as down once."""
        self.looks.looked()
        value = self._status(index)
        self._stayed_up = self._locked()
        return value

    def _baser_status(self, _index: int = 0) -> int:
        return LOCK | BASER_LINK if self.mailbox.mode is Mode.KR and self._locked() else 0

    def _training_status(self, _index: int = 0) -> int:
        training = self.phy.training
        value = TRAINED if training.trained else 0
        if training.frame_lock:
            value |= FRAME_LOCK
        if training.state in _RUNNING:
            value |= IN_TRAINING
        return value | (FAILURE if training.failed else 0)
