# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of the queue API share."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, NoReturn

import pytest
from plugfest.dut.dut import TCP_DATA_SPLIT_ENABLED
from plugfest.machine.tap import DUT_IPV4, DUT_IPV6
from plugfest.queues.memory_provider import BEYOND, KINDS, RxMemoryProvider
from plugfest.queues.netdev_queues import QueueView

if TYPE_CHECKING:
    from plugfest.deadline import Until
    from plugfest.dut.dut import Dut
    from plugfest.dut.settings import Settings
    from plugfest.dut.steering import Steering
    from plugfest.machine.machine import Machine
    from plugfest.traffic.traffic import Traffic

SOON = 0.3
"""Seconds, on a guest of speed 1, for the kernel to give back what nobody holds any more."""
ADDRESSES = {4: DUT_IPV4, 6: DUT_IPV6}


@pytest.fixture(params=sorted(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    """Each way by which an application binds memory to a queue."""
    return str(request.param)


@pytest.fixture(scope="session")
def unmanaged() -> dict[str, str]:
    """What a driver without the operations answered when it was asked: it has them or not for the whole run."""
    return {}


@pytest.fixture
def managed(
    dut: Dut,
    allocate: Callable[..., RxMemoryProvider],
    unmanaged: dict[str, str],
    skip_unsupported: Callable[..., NoReturn],
) -> Dut:
    """The interface, where its driver stops and starts single queues; skips where it does not (EOPNOTSUPP)."""
    if not unmanaged:
        refused = allocate().try_bind(BEYOND)
        if refused is not None and refused.errno == errno.EOPNOTSUPP:
            unmanaged[f"bind-rx to queue {BEYOND}"] = str(refused)
    if unmanaged:
        skip_unsupported("stopping and starting single queues", evidence=unmanaged)
    return dut


@pytest.fixture
def splitting(
    managed: Dut,
    settings: Settings,
    view: QueueView,
    until: Until,
    defer: Callable[..., None],
    skip_unsupported: Callable[..., NoReturn],
) -> Dut:
    """The interface with header split on, which bound memory needs; skips where the driver has none."""
    rings = managed.get("rings") or {}
    if "tcp-data-split" not in rings:
        skip_unsupported("header split", evidence=rings)
    if managed.queues() < 2:
        skip_unsupported("more than one receive queue", evidence=managed.get("channels"))
    if settings.try_set("rings", tcp_data_split=TCP_DATA_SPLIT_ENABLED) is not None:
        skip_unsupported("header split with its present settings", evidence=rings)
    # A ring that was closed gives its queue back some time later, and until then header split stays on.
    defer(until, lambda: not view.bound(), what="no queue has memory bound to it", timeout=SOON)
    return managed


@pytest.fixture
def spare(splitting: Dut, steering: Steering, skip_unsupported: Callable[..., NoReturn]) -> int:
    """The last receive queue, which RSS sends nothing to, as bound memory needs it."""
    queue = splitting.queues() - 1
    if not steering.avoid(queue):
        skip_unsupported("an RSS table that leaves a queue out", evidence=str(splitting.rss()))
    return queue


@pytest.fixture
def come_back(guest: Machine, dut: Dut, until: Until, defer: Callable[..., None]) -> Callable[[], None]:
    """``come_back()`` waits until the interface is back from another namespace, and sets it up; so does the test's end."""

    def wait() -> None:
        until(lambda: dut.ifname in guest.agent.call("link.list_all"), what=f"{dut.ifname} is back", timeout=1)
        if not guest.agent.call("link.addresses", ifname=dut.ifname):
            guest.configure()

    defer(wait)
    return wait


@pytest.fixture(params=(4, 6), ids=("ipv4", "ipv6"))
def version(request: pytest.FixtureRequest) -> int:
    """Each version of IP."""
    return int(request.param)


@pytest.fixture
def bring(spare: int, steering: Steering, skip_unsupported: Callable[..., NoReturn]) -> Callable[..., int]:
    """``bring(memory)``: binds memory to the spare queue, listens, steers the port to the queue; returns the port."""

    def listen(memory: RxMemoryProvider, version: int = 4) -> int:
        port = memory.listen(ADDRESSES[version])
        if steering.add_rule("tcp", version, port, spare) is None:
            skip_unsupported("receive classification by TCP port", evidence="ETHTOOL_SRXCLSRLINS gave EOPNOTSUPP")
        memory.bind(spare)
        return port

    return listen


@pytest.fixture
def check_in_service(view: QueueView, steering: Steering, traffic: Traffic, until: Until) -> Callable[[int], None]:
    """``check_in_service(3)``: the queue receives into the kernel's memory again, and no page pool is left behind."""

    def check(queue: int) -> None:
        until(lambda: not view.bound(), what="no queue has memory bound to it", timeout=SOON)
        until(lambda: not view.leaked_pools(), what="no page pool is left behind", timeout=SOON)
        assert queue in view.states(), f"queue {queue} is gone: {sorted(view.states())}"
        steering.only(queue)
        traffic.check_delivery()

    return check


@pytest.fixture
def unchanged(dut: Dut, view: QueueView) -> Callable[[], AbstractContextManager[None]]:
    """``with unchanged():`` what the block asks for leaves queues, page pools, rings, channels, features and link alone."""

    def read() -> dict[str, object]:
        return {
            "queues": view.states(),
            "page pools": sorted(pool["id"] for pool in view.pools()),
            "rings": dut.get("rings"),
            "channels": dut.get("channels"),
            "features": dut.features(),
            "carrier changes": dut.link()["carrier-changes"],
        }

    @contextmanager
    def compare() -> Iterator[None]:
        before = read()
        yield
        after = read()
        differing = {name: (before[name], after[name]) for name in before if before[name] != after[name]}
        assert not differing, f"changed by what was refused: {differing}"

    return compare
