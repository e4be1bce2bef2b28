# SPDX-License-Identifier: GPL-2.0-or-later
"""What settings and operations need of a test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plugfest.traffic.packet_socket import PacketSender
from plugfest.traffic.reception import LOCAL_ETHERTYPE

if TYPE_CHECKING:
    from plugfest.deadline import Until
    from plugfest.dut.dut import Dut
    from plugfest.dut.operations import Operations
    from plugfest.dut.settings import Settings
    from plugfest.dut.skb_trace import SkbTrace
    from plugfest.dut.steering import Steering
    from plugfest.link.partner import LinkPartner
    from plugfest.machine.agent import AgentClient
    from plugfest.machine.machine import Machine
    from plugfest.machine.remote import Remote
    from plugfest.traffic.peer import TrafficPeer
    from plugfest.traffic.reception import ReceptionProbe
    from plugfest.traffic.traffic import Traffic
    from plugfest.xdp.af_xdp import AfXdp
    from plugfest.xdp.programs import Xdp


@dataclass(frozen=True)
class Instruments:
    """The machine, its interface, both ends of the wire.

    Attributes:
        guest: the machine.
        dut: its interface.
        remote: the other end of the wire.
        settings: changes that are undone when the test ends.
        steering: likewise.
        operations: routine ones.
        traffic: probes.
        reception: which frames the DUT receives.
        peer: the remote end's own stack.
        trace_skbs: what passes between stack and driver.
        xdp: XDP in whatever mode.
        af_xdp: sockets.
        partner: the link partner.
        until: waits for a condition.
        defer: registers an undo.
        run: runs a program in the guest.
        native_xdp: returns XDP in native mode, once what the driver rejects a program for is turned off; skips where it has none.
        self_test: runs the offline self-test; skips where there is none.
        reset_by_watchdog: hangs a transmit queue until the driver resets its device; skips where that cannot be.
    """

    guest: Machine
    dut: Dut
    remote: Remote
    settings: Settings
    steering: Steering
    operations: Operations
    traffic: Traffic
    reception: ReceptionProbe
    peer: TrafficPeer
    trace_skbs: Callable[[], AbstractContextManager[SkbTrace]]
    xdp: Xdp
    af_xdp: AfXdp
    partner: LinkPartner
    until: Until
    defer: Callable[..., None]
    run: Callable[..., str]
    native_xdp: Callable[[], Xdp]
    self_test: Callable[[], Mapping[str, Any]]
    reset_by_watchdog: Callable[[], None]

    @property
    def agent(self) -> AgentClient:
        """The guest's agent."""
        return self.guest.agent

    @property
    def ifname(self) -> str:
        """The interface's name."""
        return self.dut.ifname

    def frame_from(self, length: int) -> bytes:
        """Return a frame from the interface to the remote end, of so many bytes without FCS."""
        macs = bytes.fromhex((self.remote.mac + self.dut.mac).replace(":", ""))
        head = macs + LOCAL_ETHERTYPE
        return head + bytes(at & 0xFF for at in range(length - len(head)))

    def send_from(self, ifname: str, frame: bytes, *, on_wire: bytes | None = None, cpu: int | None = None) -> None:
        """Send a frame from the interface, or one above it, and wait until it is on the wire.

        Args:
            ifname: of the interface.
            frame: without FCS.
            on_wire: what it must be there, if something else.
            cpu: of the sender.

        Raises:
            AssertionError: it is not.
        """
        wanted = frame if on_wire is None else on_wire
        with self.traffic.capture_sent(lambda each: each == wanted) as seen:
            PacketSender(self.guest, ifname, self.defer).send([frame], cpu=cpu)
            self.until(lambda: seen.reached(1), what=f"a frame of {len(wanted)} bytes is on the wire", timeout=0.5)

    def ask_model(self, method: str) -> Any:
        """Return what a control method of the model returns; None without a model, or where it has no such method."""
        model = self.guest.model
        return model.call(method) if model is not None and model.offers(method) else None
