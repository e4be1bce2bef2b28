# SPDX-License-Identifier: GPL-2.0-or-later
"""Which of the frames on the wire the DUT receives: by destination address, by VLAN, by length.

Frames of one flow keep their order, so frames that are missing when the last one arrives were filtered out, and nothing waits for them.
"""

from __future__ import annotations

import base64
import errno
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from plugfest.frames.probe import tagged
from plugfest.machine.agent import AgentError

if TYPE_CHECKING:
    from plugfest.deadline import Until
    from plugfest.dut.dut import Dut
    from plugfest.machine.machine import Machine
    from plugfest.machine.remote import Remote

LOCAL_ETHERTYPE = bytes.fromhex("88b5")
"""EtherType for local experiments (IEEE 802, clause 9.2.4): no host replies to it."""
SHORTEST = 60
VLAN_ID = 0xFFF
_TAG = bytes.fromhex("8100")
_ALL = 0x0003
"""ETH_P_ALL: a tag is not part of the protocol then."""


class ReceptionProbe:
    """Sends frames, and reads from a packet socket in the guest which of them the DUT receives."""

    def __init__(self, guest: Machine, dut: Dut, remote: Remote, until: Until, defer: Callable[..., None]) -> None:
        """Listen from now on, until the test ends."""
        self._agent = guest.agent
        self._remote = remote
        self._until = until
        self._own = dut.mac
        self._round = 0
        self._handle = self._agent.call("packet.open", ifname=dut.ifname, protocol=_ALL)
        defer(self._agent.call, "handle.close", handle=self._handle)

    def received(self, *destinations: str, sentinel: str | None = None) -> list[str]:
        """Send a frame to each address, then one to an address that the DUT must receive; return which of the former it received.

        Args:
            destinations: addresses, as ``02:70:66:00:00:99``.
            sentinel: the last one; by default the address that the interface had when this was made.

        Raises:
            AssertionError: the DUT does not receive the last frame.
        """
        self._round += 1
        frames = [self.frame(address) for address in destinations]
        found = self._arrived(frames, self.frame(sentinel or self._own))
        return [raw[:6].hex(":") for raw, _ in found]

    def vlans(self, *vlans: int) -> list[int]:
        """Send a frame with the tag of each VLAN, then one without a tag; return the VLANs whose frames the DUT received.

        Raises:
            AssertionError: the DUT does not receive the frame without a tag.
        """
        self._round += 1
        frame = self.frame(self._own)
        found = self._arrived([tagged(frame, vlan) for vlan in vlans], self.frame(self._own, SHORTEST + 1))
        return [vlan for raw, vlan in found if vlan is not None]

    def lengths(self, *lengths: int) -> list[int]:
        """Send a frame of each length (bytes without FCS), then a short one; return the lengths that the DUT received.

        Raises:
            AssertionError: the DUT does not receive the short one.
        """
        self._round += 1
        found = self._arrived([self.frame(self._own, length) for length in lengths], self.frame(self._own))
        return [len(raw) for raw, _ in found]

    def deliver(self, *frames: bytes) -> None:
        """Send frames of any kind, and wait until the DUT has received each, on whatever queue.

        Raises:
            AssertionError: one does not arrive.
        """
        missing = Counter(untagged(frame) for frame in frames)
        self._remote.send(list(frames))

        def all_received() -> bool:
            for each in self._receive((+missing).total(), None):
                frame = base64.b64decode(each["frame"])
                if frame in missing:
                    missing[frame] -= 1
            return not +missing

        self._until(all_received, what=f"the DUT receives {len(frames)} frames", timeout=1)
        self._round += 1

    def check(self, *destinations: str, expected: Sequence[str]) -> None:
        """Expect the DUT to receive exactly the frames to `expected` of those sent to these addresses, once a change has taken effect.

        Some drivers program the filter from a work queue, after the kernel's call has returned (include/linux/netdevice.h:
        ndo_set_rx_mode must not sleep).

        Raises:
            AssertionError: the DUT receives others, or fewer.
        """
        what = f"of frames to {', '.join(destinations)} the DUT receives: {', '.join(expected) or 'none'}"
        self._until(lambda: self.received(*destinations) == list(expected), what=what, timeout=0.3)

    def frame(self, destination: str, length: int = SHORTEST) -> bytes:
        """Return a frame of this round to an address, of so many bytes without FCS."""
        macs = bytes.fromhex((destination + self._remote.mac).replace(":", ""))
        head = macs + LOCAL_ETHERTYPE + self._round.to_bytes(4, "big")
        return head + bytes((at + self._round) & 0xFF for at in range(length - len(head)))

    def _arrived(self, frames: Sequence[bytes], last: bytes) -> list[tuple[bytes, int | None]]:
        """Send frames and a last one; return those of the former that arrived, without their tag, and the VLAN of each."""
        self._remote.send([*frames, last])
        found: list[tuple[bytes, int | None]] = []
        encoded = base64.b64encode(last).decode()

        def last_received() -> bool:
            for each in self._receive(len(frames) + 1, encoded):
                raw, vlan = base64.b64decode(each["frame"]), each.get("vlan")
                # One of an earlier round may come late.
                if raw[12:18] == LOCAL_ETHERTYPE + self._round.to_bytes(4, "big"):
                    found.append((raw, None if vlan is None else vlan["tci"] & VLAN_ID))
            return bool(found) and found[-1][0] == last

        self._until(last_received, what=f"the DUT receives the frame to {last[:6].hex(':')}", timeout=1)
        return found[:-1]

    def _receive(self, count: int, last: str | None) -> list[dict[str, Any]]:
        try:
            found: list[dict[str, Any]] = self._agent.call(
                "packet.receive", packet=self._handle, count=count, timeout=0.2, last=last
            )
        except AgentError as error:
            if error.errno != errno.ENETDOWN:  # of an interface that was down since the last round, once
                raise
            return []
        return found


def untagged(frame: bytes) -> bytes:
    """Return a frame without its VLAN tag, as a packet socket has it."""
    return frame[:12] + frame[16:] if frame[12:14] == _TAG else frame
