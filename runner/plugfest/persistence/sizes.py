# SPDX-License-Identifier: GPL-2.0-or-later
"""MTU, rings, coalescing, pause, private flags, wake-on-LAN.

Source: Documentation/networking/ethtool-netlink.rst; include/uapi/linux/if_link.h, IFLA_MTU.
"""

from __future__ import annotations

import re
from typing import Any

from plugfest.dut.operations import NotOfferedError
from plugfest.persistence.setting import Setting

STANDARD_MTU, JUMBO_MTU = 1500, 4000
SMALLER_MTU = 1400
HEADER = 14
"""Bytes of an Ethernet header."""
ANY_MTU = 9710
"""The MTU of the remote end, so that it can send the frames of any."""
DELAY = 120
"""Microseconds between two interrupts, which is no driver's own value."""


class Mtu(Setting):
    """A larger MTU, or a smaller one where there is no larger."""

    name = "MTU"
    own = frozenset({"MTU"})

    def set(self) -> None:
        """Set it."""
        instruments = self.instruments
        most = instruments.dut.link()["max-mtu"]
        self._mtu = JUMBO_MTU if most >= JUMBO_MTU else SMALLER_MTU
        instruments.defer(setattr, instruments.remote, "mtu", instruments.remote.mtu)
        instruments.remote.mtu = ANY_MTU
        instruments.settings.set_link(mtu=self._mtu)

    def reported(self) -> Any:
        """The MTU."""
        return self.instruments.dut.mtu

    def observed(self) -> Any:
        """Whether frames of that MTU pass both ways."""
        instruments, length = self.instruments, self._mtu + HEADER
        try:
            instruments.send_from(instruments.ifname, instruments.frame_from(length))
        except AssertionError:
            sent = []
        else:
            sent = [length]
        return {"lengths received": instruments.reception.lengths(length), "lengths sent": sent}

    def shows(self, observed: Any) -> bool:
        """They do."""
        length = self._mtu + HEADER
        return bool(observed == {"lengths received": [length], "lengths sent": [length]})


class RingSizes(Setting):
    """Rings of half the size."""

    name = "ring sizes"
    own = frozenset({"ring-size"})

    def set(self) -> None:
        """Halve them."""
        rings = self.instruments.dut.get("rings") or {}
        if not rings.get("rx-max") or not rings.get("tx-max"):
            raise NotOfferedError(f"ethtool -g: {rings}")
        self._sizes = {side: rings[side] // 2 for side in ("rx", "tx")}
        error = self.instruments.settings.try_set("rings", **self._sizes)
        if error is not None:
            raise NotOfferedError(str(error))

    def reported(self) -> Any:
        """The sizes."""
        rings = self.instruments.dut.get("rings") or {}
        return {side: rings.get(side) for side in ("rx", "tx")}

    def observed(self) -> Any:
        """The sizes of the device's queues, where its model reports them."""
        queues = self.instruments.ask_model("model.queues")
        if queues is None:
            return None
        return {side: sorted({queue["size"] for queue in queues[side] if queue["enabled"]}) for side in ("rx", "tx")}

    def shows(self, observed: Any) -> bool:
        """They are as set."""
        return observed is None or bool(observed == {side: [size] for side, size in self._sizes.items()})


class InterruptDelay(Setting):
    """Another delay between interrupts."""

    name = "coalescing"

    def set(self) -> None:
        """Set it."""
        before = self.instruments.dut.get("coalesce") or {}
        if "rx-usecs" not in before:
            raise NotOfferedError(f"ethtool -c: {before}")
        error = self.instruments.settings.try_set("coalesce", rx_usecs=DELAY)
        if error is not None:
            raise NotOfferedError(str(error))
        after = self.instruments.dut.get("coalesce") or {}
        assert after["rx-usecs"] != before["rx-usecs"], f"rx-usecs is {after['rx-usecs']} after it was set to {DELAY}"

    def reported(self) -> Any:
        """All of ``ethtool -c``."""
        return self.instruments.dut.get("coalesce")


class PauseFrames(Setting):
    """Pause frames, the other way round."""

    name = "pause"

    def set(self) -> None:
        """Invert what is received and sent, without autonegotiation; or else what is sent alone."""
        before = self.instruments.dut.get("pause")
        if before is None:
            raise NotOfferedError("ethtool -a: EOPNOTSUPP")
        attempts = (
            {"autoneg": 0, "rx": 1 - before["rx"], "tx": 1 - before["tx"]},
            {"autoneg": 0, "rx": 1 - before["rx"], "tx": 1 - before["rx"]},
        )
        errors = []
        for wanted in attempts:
            error = self.instruments.settings.try_set("pause", **wanted)
            if error is None:
                self._wanted = wanted
                return
            errors.append(str(error))
        raise NotOfferedError("; ".join(errors))

    def reported(self) -> Any:
        """All of ``ethtool -a``."""
        return self.instruments.dut.get("pause")

    def observed(self) -> Any:
        """What the device is set to, where its model reports that."""
        return self.instruments.ask_model("model.flow_control")

    def shows(self, observed: Any) -> bool:
        """It is as set."""
        wanted = {"transmit": bool(self._wanted["tx"]), "receive": bool(self._wanted["rx"])}
        return observed is None or bool(observed == wanted)


class PrivateFlag(Setting):
    """A private flag, turned over: the first that the driver accepts."""

    name = "private flags"

    def _flags(self) -> dict[str, bool]:
        found = self.instruments.agent.call(
            "process.run", command=["ethtool", "--show-priv-flags", self.instruments.ifname]
        )
        pairs = re.findall(r"^(\S.*?)\s*: (on|off)$", found["stdout"], re.MULTILINE)
        return {name: state == "on" for name, state in pairs}

    def _try_set(self, flag: str, on: bool) -> dict[str, Any]:
        command = ["ethtool", "--set-priv-flags", self.instruments.ifname, flag, "on" if on else "off"]
        found: dict[str, Any] = self.instruments.agent.call("process.run", command=command)
        return found

    def set(self) -> None:
        """Turn it over."""
        before = self._flags()
        for flag, on in before.items():
            result = self._try_set(flag, not on)
            if result["exit_status"] == 0:
                self.instruments.defer(self._try_set, flag, on)
                assert self._flags()[flag] is not on, f"{flag} is still {'on' if on else 'off'}"
                return
        raise NotOfferedError(f"ethtool --show-priv-flags: {before}, none of which can be changed")

    def reported(self) -> Any:
        """All flags."""
        return self._flags()


class WakeOnLan(Setting):
    """What the device wakes the machine for."""

    name = "wake-on-LAN"

    def _modes(self) -> tuple[str, str]:
        text = self.instruments.agent.call("process.run", command=["ethtool", self.instruments.ifname])["stdout"]
        supported, now = (re.search(rf"{what}: (\w+)", text) for what in ("Supports Wake-on", "\tWake-on"))
        return (supported[1] if supported else "d"), (now[1] if now else "d")

    def set(self) -> None:
        """Choose one mode that is not the present one."""
        supported, before = self._modes()
        mode = next((each for each in supported if each not in {"d", before}), None)
        if mode is None:
            raise NotOfferedError(f"Supports Wake-on: {supported}")
        call = ("ethtool", "-s", self.instruments.ifname, "wol")
        self.instruments.run(*call, mode)
        self.instruments.defer(self.instruments.run, *call, before)
        assert self._modes()[1] == mode, f"Wake-on: {self._modes()[1]} after it was set to {mode}"

    def reported(self) -> Any:
        """The modes."""
        return self._modes()[1]
