# SPDX-License-Identifier: GPL-2.0-or-later
"""Bind and unbind the driver under test."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from plugfest.dut.binding import Binding
from plugfest.machine.agent import AgentTimeout

DEVICE = "/sys/devices/virtio3"
DRIVER = "/sys/bus/virtio/drivers/virtio_net"


class Agent:
    """A guest whose kernel does not return from a write to ``hangs``."""

    def __init__(self, hangs: str) -> None:
        self.hangs = hangs
        self.bound = True
        self.modules = ["virtio_net"]
        self.others: list[str] = []
        self.holders: list[str] = []
        self.written: list[str] = []

    def call(self, method: str, *, path: str = "", text: str = "") -> object:
        if method == "files.write":
            assert text == "virtio3"
            self.written.append(path)
            self.bound = path.endswith("/bind")
            if path.endswith(self.hangs):
                raise AgentTimeout("files.write: the agent did not answer within 60 s")
        found = {
            f"{DEVICE}/net/*": ["eth0"] if self.bound else [],
            f"{DRIVER}/*/driver": [f"{name}/driver" for name in ["virtio3", *self.others]],
            "/sys/module/virtio_net/holders/*": self.holders,
        }
        return {
            "files.resolve": DRIVER if path.endswith("/driver") else DEVICE,
            "files.exists": path == DRIVER or self.bound,
            "files.glob": [f"{path.replace('*/driver', '').rstrip('*')}{name}" for name in found.get(path, [])],
            "system.modules": self.modules,
            "files.write": None,
        }[method]


def binding(agent: Agent) -> Binding:
    driver = SimpleNamespace(module="virtio-net")
    machine = SimpleNamespace(load_error=None, agent=agent, ifname="eth0", driver=driver, configure=lambda: None)
    return Binding(machine)  # type: ignore[arg-type]


def test_a_driver_that_was_unbound_is_bound_again() -> None:
    agent = Agent(hangs="nothing")
    device = binding(agent)
    device.unbind()
    device.restore()
    device.restore()
    assert agent.written == [f"{DRIVER}/unbind", f"{DRIVER}/bind"]


@pytest.mark.parametrize("operation", ["unbind", "bind"])
def test_nothing_more_is_written_once_the_kernel_has_not_returned(operation: str) -> None:
    agent = Agent(hangs=f"/{operation}")
    device = binding(agent)
    with pytest.raises(AgentTimeout):
        getattr(device, operation)()
    with pytest.raises(AgentTimeout, match=r"files\.write"):
        device.restore()
    assert agent.written == [f"{DRIVER}/{operation}"]


def test_a_driver_that_is_built_in_is_bound_again_and_cannot_be_unloaded() -> None:
    agent = Agent(hangs="nothing")
    agent.modules = []
    device = binding(agent)
    assert device.kept_loaded_by() == "virtio_net is built in"
    device.unbind()
    device.restore()
    assert agent.written == [f"{DRIVER}/unbind", f"{DRIVER}/bind"]


def test_what_keeps_a_module_loaded() -> None:
    agent = Agent(hangs="nothing")
    device = binding(agent)
    assert device.kept_loaded_by() is None
    agent.holders = ["irdma", "bonding"]
    assert device.kept_loaded_by() == "other modules use virtio_net: bonding, irdma"
    agent.others = ["virtio0"]
    assert device.kept_loaded_by() == "the driver has other devices, too: virtio0"
