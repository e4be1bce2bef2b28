# SPDX-License-Identifier: GPL-2.0-or-later
"""How long the machine waits for the netdev of the driver under test."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import pytest
from plugfest.deadline import Deadline
from plugfest.machine.machine import DriverLoadError
from plugfest.machine.virtual import VirtualMachine

DEVICE = "/sys/bus/pci/devices/0000:01:00.0/"


class Sysfs:
    """Answers the agent's calls with what is there at each look of the machine."""

    def __init__(self, *states: str) -> None:
        self._states = itertools.chain(states, itertools.repeat(states[-1]))
        self.state = ""

    def call(self, method: str, **params: Any) -> list[Any]:
        if method == "system.log":
            return [{"text": "ixgbe 0000:01:00.0: probe failed"}]
        path = params["path"]
        if path.endswith("virtio*/net/*"):
            return []
        if path.endswith("/net/*"):
            self.state = next(self._states)
            return [f"{DEVICE}net/eth0"] if self.state == "netdev" else []
        if path.endswith("/driver"):
            return [f"{DEVICE}driver"] if self.state in ("probing", "netdev") else []
        if "keep_addr" in path:
            return [path]
        return [] if self.state == "no device" else [DEVICE]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> VirtualMachine:
    monkeypatch.setattr(VirtualMachine, "probe_timeout", 2.0)
    monkeypatch.setattr(VirtualMachine, "probe_failed", 0.05)
    monkeypatch.setattr(VirtualMachine, "agent", property(lambda self: self.sysfs))
    monkeypatch.setattr(VirtualMachine, "deadline", lambda _self, seconds: Deadline.after(seconds))
    made = object.__new__(VirtualMachine)
    made.driver = SimpleNamespace(module="ixgbe")  # type: ignore[assignment]
    made.guest = SimpleNamespace(gone=lambda: None)  # type: ignore[assignment]
    return made


def wait(machine: VirtualMachine, *states: str) -> str:
    machine.sysfs = Sysfs(*states)  # type: ignore[attr-defined]
    return machine._interface("/sys/bus/pci/devices/0000:00:11.0/0000:??:??.?/")


@pytest.mark.parametrize(
    "before",
    [[], ["no device"] * 8, ["unbound"], ["probing"] * 8, ["no device"] * 8 + ["unbound"] + ["probing"] * 3],
)
def test_the_netdev_may_take_its_time(machine, before: list[str]) -> None:
    assert wait(machine, *before, "netdev") == "eth0"


def test_a_driver_that_refuses_its_device_is_found_out_at_once(machine) -> None:
    deadline = Deadline.after(1.9)
    with pytest.raises(DriverLoadError, match=r"found PCI device .* without one; the driver logged: .*probe failed"):
        wait(machine, "no device", "probing", "unbound")
    assert not deadline.passed


@pytest.mark.parametrize("state", ["no device", "probing"])
def test_the_longest_wait(machine, state: str) -> None:
    deadline = Deadline.after(1.9)
    with pytest.raises(DriverLoadError, match="expected ixgbe to create a netdev within 2 s"):
        wait(machine, state)
    assert deadline.passed
