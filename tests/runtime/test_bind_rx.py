# SPDX-License-Identifier: GPL-2.0-or-later
"""Binding memory to a queue on every kernel that README names: the kernel lacks it, or the driver is asked."""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import nullcontext

import pytest
from plugfest.machine.agent import KernelLacksError
from plugfest.machine.machine import Machine
from plugfest.provision.kernel import CHANNELS, ensure_kernel
from plugfest.provision.settings import ProvisionSettings

LACKS = {"trixie": r"netif_mp_open_rxq\(\) behind bind-rx", "bookworm": "netdev"}
"""Linux 6.1 has not even the family; the newest kernel lacks nothing, so that there no test of the area qapi is skipped for it."""


@pytest.mark.parametrize("channel", CHANNELS)
def test_bind_rx(boot: Callable[..., None], provisioning: ProvisionSettings, channel: str) -> None:
    def work(machine: Machine) -> None:
        lacks = LACKS.get(channel)
        with nullcontext() if lacks is None else pytest.raises(KernelLacksError, match=lacks):
            refused = machine.agent.call("netdev.queue_api_error", ifname=machine.ifname)
            assert refused["errno"] == errno.EOPNOTSUPP, "virtio_net cannot restart single queues"

    boot(work, kernel=ensure_kernel(provisioning, channel), driver="virtio_net")
