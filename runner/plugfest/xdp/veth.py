# SPDX-License-Identifier: GPL-2.0-or-later
"""Two interfaces of the guest that are the ends of one wire (veth): where frames are redirected to, and where they come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from plugfest.errors import InfrastructureError
from plugfest.frames.probe import is_probe
from plugfest.traffic.packet_socket import PacketReceiver, PacketSender
from plugfest.xdp.programs import Xdp

if TYPE_CHECKING:
    from plugfest.deadline import Until
    from plugfest.machine.machine import Machine
    from plugfest.xdp.programs import Program

CARRIER_TIMEOUT = 10.0
"""Seconds for the kernel to see the carrier of a veth end; it takes at most one, and what a busy host adds."""
NEAR, FAR = "near0", "far0"
SENTINEL = b"\xff" * 6 + bytes.fromhex("020000000001 88b5") + bytes(46)
"""A frame of a local experimental EtherType, which programs leave alone."""


class Pair:
    """The two ends; what one sends, the other receives.

    Attributes:
        near: XDP on the end that a program redirects to, or that redirects what comes to it.
        far: XDP on the other.
        packet_receiver: frames as they come out of the far end.
        packet_sender: frames into the far end, to come out of the near one.
    """

    def __init__(self, guest: Machine, defer: Callable[..., None], until: Until) -> None:
        """Make them, and set them up; they are gone when the test ends."""
        self._guest = guest
        self._defer = defer
        guest.agent.call("link.add_pair", name=NEAR, peer=FAR)
        defer(guest.agent.call, "link.delete", ifname=NEAR)
        up = [("link.set", {"ifname": name, "up": True}) for name in (NEAR, FAR)]
        # The end that is up first has no queue before link_watch has seen its carrier, and drops what it is to send.
        carrier = {"ifname": NEAR, "wanted": {"operstate": ["up"]}, "timeout": CARRIER_TIMEOUT}
        guest.agent.batch([*up, ("link.wait", carrier)])
        self.near, self.far = (
            Xdp(guest.agent, name, defer=defer, until=until, advertises=lambda _: None) for name in (NEAR, FAR)
        )
        self.packet_receiver = PacketReceiver(guest, FAR, defer)
        self.packet_sender = PacketSender(guest, FAR, defer)
        self._near_sender = PacketSender(guest, NEAR, defer)
        self._senders = [self.packet_sender, self._near_sender]

    def accept(self) -> Program:
        """Let the near end be a target of redirections: for that the far end needs a program (drivers/net/veth.c).

        Returns:
            That program, which counts the test frames that come out.
        """
        program = self.far.load("xdp_pass_frags")
        self.far.attach_program(program)
        return program

    def another_packet_sender(self) -> PacketSender:
        """Return one by a connection of its own, to send at the same time as others."""
        agent = self._guest.agent.another()
        self._defer(agent.close)
        made = PacketSender(self._guest, FAR, self._defer, agent=agent)
        self._senders.append(made)
        return made

    def nothing_came_out(self) -> bool:
        """Whether no test frame was sent or redirected to the near end.

        It waits no time: a frame that is sent there now comes out of the far end behind all others, by the one queue there is.
        """
        self._near_sender.send([SENTINEL])
        return self.packet_receiver.take(lambda frame: frame == SENTINEL or is_probe(frame), 1) == [SENTINEL]

    def _lost(self) -> int:
        """Frames that the pair has lost so far: a frame that it refused was counted, too, and sent again."""
        counters = self._guest.agent.batch([("link.stats64", {"ifname": name}) for name in (NEAR, FAR)])
        dropped = sum(int(each["tx_dropped"]) for each in counters)
        return dropped - sum(each.refused() for each in self._senders)

    @contextmanager
    def lossless(self) -> Iterator[None]:
        """Tell frames that the pair itself loses in the block from those that the driver under test does.

        Their ring holds 256 frames, less up to 15 that were taken and not yet cleared (drivers/net/veth.c; include/linux/ptr_ring.h).
        The senders see that a frame is refused, and send it again; some kernels before Linux 6.6 drop it without a word.

        Raises:
            InfrastructureError: an assertion failed in the block, and the pair has lost frames, so that it proves nothing.
        """
        lost_before = self._lost()
        try:
            yield
        except AssertionError as error:
            lost = self._lost() - lost_before
            if lost > 0:
                raise InfrastructureError(
                    f"expected the veth pair to pass every frame on, found that it lost {lost}: the test sends too many at once"
                ) from error
            raise

    def set_mtu(self, mtu: int) -> None:
        """Set the MTU of both ends."""
        self._guest.agent.batch([("link.set", {"ifname": name, "mtu": mtu}) for name in (NEAR, FAR)])
