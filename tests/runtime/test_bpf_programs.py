# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's BPF programs on every kernel that README names: its verifier takes each, or the kernel says what it lacks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from plugfest.machine.agent import AgentError, KernelLacksError
from plugfest.machine.machine import Machine
from plugfest.provision.kernel import CHANNELS, ensure_kernel
from plugfest.provision.settings import ProvisionSettings

PROGRAMS = sorted(path.stem for path in (Path(__file__).parents[2] / "guest-images/bpf").glob("*.c"))
BOUND = "xdp_rx_metadata"
"""The program that is bound to a device, whose driver has its kfuncs: virtio_net has one of them."""
LACKS = {"bookworm": {BOUND: "the kfunc bpf_xdp_metadata_rx_hash"}}
"""What is not in Linux 6.1: metadata of received frames came with 6.3."""


@pytest.mark.parametrize("channel", CHANNELS)
def test_programs_load(boot: Callable[..., None], provisioning: ProvisionSettings, channel: str) -> None:
    def work(machine: Machine) -> None:
        rejected, lacks = [], {}
        for name in PROGRAMS:
            device = machine.ifname if name == BOUND else None
            try:
                machine.agent.call("bpf.load", object=name, type=None, device=device)
            except AgentError as error:
                rejected.append(f"{name}: {error}")
            except KernelLacksError as error:
                lacks[name] = error.what
        assert not rejected, "\n".join(rejected)
        assert lacks == LACKS.get(channel, {})

    boot(work, kernel=ensure_kernel(provisioning, channel), driver="virtio_net")
