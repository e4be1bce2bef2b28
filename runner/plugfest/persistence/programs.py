# SPDX-License-Identifier: GPL-2.0-or-later
"""XDP programs and AF_XDP sockets.

Sources: include/uapi/linux/if_link.h, XDP_FLAGS_MODES; Documentation/networking/af_xdp.rst.
"""

from __future__ import annotations

from typing import Any, ClassVar

from plugfest.dut.operations import NotOfferedError
from plugfest.frames.probe import burst, frames_of, number_of
from plugfest.machine.agent import AgentError, KernelLacksError
from plugfest.persistence.setting import Setting
from plugfest.statistics.queue_counters import total
from plugfest.traffic.traffic import check_same, payloads
from plugfest.xdp.af_xdp import CHUNKS, Socket, enter_all, open_all, receive_frames
from plugfest.xdp.programs import Program, Xdp

SIZES = (60, 512, 1294)
JUMBO_MTU, JUMBO_SIZES = 9000, (60, 4500, 9014)
"""Frames that need more than one buffer."""
FEW = 16
"""Frames that a socket sends."""


class NativeProgram(Setting):
    """A program that passes all frames.

    Attributes:
        program: its object.
        sizes: of frames, bytes without FCS.
    """

    name = "XDP program"
    own = frozenset({"XDP-program"})
    program: ClassVar[str] = "xdp_pass"
    sizes: ClassVar[tuple[int, ...]] = SIZES

    def set(self) -> None:
        """Attach it in native mode."""
        self._attach(self.instruments.native_xdp())

    def _attach(self, xdp: Xdp) -> None:
        try:
            self._program: Program = xdp.attach(self.program)
        except AgentError as error:
            raise NotOfferedError(str(error)) from error

    def reported(self) -> Any:
        """Which program is attached, and in which mode."""
        state = self.instruments.xdp.state()
        return {"attached": state["attached"], "as set": state.get("prog-id") == self._program.identifier}

    def observed(self) -> Any:
        """How many of some frames the program saw, and whether all reached the stack."""
        traffic, xdp = self.instruments.traffic, self.instruments.xdp
        xdp.clear(self._program)
        probes = traffic.probes(sizes=self.sizes)
        traffic.send(probes)
        check_same(traffic.received(probes), payloads(probes), "payloads in the stack")
        seen = total(xdp.seen(self._program).values()).frames
        return {"frames": len(probes), "seen by the program": seen}

    def shows(self, observed: Any) -> bool:
        """It saw all."""
        return bool(observed["frames"] == observed["seen by the program"])


class FragmentsProgram(NativeProgram):
    """A program that passes all frames, of an MTU for which one buffer is too small."""

    name = "XDP program with fragments"
    own = frozenset({"XDP-program", "MTU"})
    program = "xdp_pass_frags"
    sizes = JUMBO_SIZES

    def set(self) -> None:
        """Raise the MTU, and attach it in native mode."""
        instruments = self.instruments
        try:
            flags = instruments.xdp.advertised()
        except KernelLacksError:
            flags = frozenset({"xdp-act:rx-sg"})
        most = instruments.dut.link()["max-mtu"]
        if "xdp-act:rx-sg" not in flags or most < JUMBO_MTU:
            raise NotOfferedError(f"netdev dev-get: {sorted(flags)}; max-mtu: {most}")
        instruments.defer(setattr, instruments.remote, "mtu", instruments.remote.mtu)
        instruments.remote.mtu = JUMBO_MTU
        instruments.settings.set_link(mtu=JUMBO_MTU)
        self._attach(instruments.xdp)


class ZeroCopySockets(Setting):
    """A zero-copy AF_XDP socket on each receive queue, and a program that redirects to them."""

    name = "AF_XDP socket"
    own = frozenset({"XDP-program", "AF_XDP-socket"})

    def set(self) -> None:
        """Attach the program, and bind the sockets."""
        instruments = self.instruments
        try:
            flags = instruments.xdp.advertised()
        except KernelLacksError:
            error = instruments.af_xdp.try_bind(0, "zero-copy")
            if error is not None:
                raise NotOfferedError(str(error)) from None
            flags = frozenset({"xdp-act:xsk-zerocopy", "xdp-act:redirect"})
        if not {"xdp-act:xsk-zerocopy", "xdp-act:redirect"} <= flags:
            raise NotOfferedError(f"netdev dev-get: {sorted(flags)}")
        program = instruments.native_xdp().attach("xdp_redirect_xsk")
        umems = instruments.af_xdp.umems(instruments.traffic.queues(), program.maps["sockets"])
        self._sockets: list[Socket] = open_all(dict(enumerate(umems)), "zero-copy")
        enter_all(self._sockets, fill=CHUNKS // 2)
        self._identifier = program.identifier

    def reported(self) -> Any:
        """The mode of the sockets, and the program."""
        state = self.instruments.xdp.state()
        return {
            "zero-copy": [socket.zero_copy for socket in self._sockets],
            "attached": state["attached"],
            "as set": state.get("prog-id") == self._identifier,
        }

    def observed(self) -> Any:
        """How many frames the sockets received, and how many of theirs are on the wire."""
        instruments = self.instruments
        probes = instruments.traffic.probes(sizes=SIZES, versions=(4,))
        instruments.traffic.send(probes)
        found = receive_frames(self._sockets, set(frames_of(probes)), instruments.until)
        check_same([each.data for each in found], frames_of(probes), "frames that the sockets received")
        sent: list[bytes] = []
        with instruments.traffic.capture_sent() as seen:
            for number, socket in enumerate(self._sockets[: instruments.traffic.queues("tx")]):
                frames = frames_of(
                    burst(instruments.traffic.ends_back, flows=FEW, sizes=SIZES, versions=(4,), first=number * FEW)
                )
                socket.send(frames)
                sent += frames
            instruments.until(lambda: seen.reached(len(sent)), what=f"{len(sent)} frames are on the wire", timeout=1)
        # What a frame then has in it is for the area xdp to judge.
        numbers = {number_of(frame) for frame in seen.frames()}
        assert numbers == {number_of(frame) for frame in sent}, f"{len(numbers)} of {len(sent)} frames are on the wire"
        return {"received": len(found), "sent": len(sent)}
