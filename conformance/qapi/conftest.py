# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures of the queue API tests."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, NoReturn

import pytest
from plugfest.dut.dut import TCP_DATA_SPLIT_ENABLED
from plugfest.machine.tap import DUT_IPV4, DUT_IPV6
from plugfest.queues.memory_provider import BEYOND, KINDS, RELEASE_TIMEOUT, RxMemoryProvider
from plugfest.queues.netdev_queues import QueueView

if TYPE_CHECKING:
    from plugfest.deadline import Until
    from plugfest.dut.dut import Dut
    from plugfest.dut.settings import Settings
    from plugfest.dut.steering import Steering
    from plugfest.machine.machine import Machine
    from plugfest.traffic.traffic import Traffic

ADDRESSES = {4: DUT_IPV4, 6: DUT_IPV6}


@pytest.fixture(params=sorted(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    """Each memory provider that an application can bind to a queue."""
    return str(request.param)


@pytest.fixture(scope="session")
def queue_management_errors() -> dict[str, str]:
    """The error by which the kernel showed that the driver has no queue management operations; the same for the whole run."""
    return {}


@pytest.fixture
def queue_management(
    dut: Dut,
    allocate: Callable[..., RxMemoryProvider],
    queue_management_errors: dict[str, str],
    skip_unsupported: Callable[..., NoReturn],
) -> Dut:
    """The interface, if its driver implements the queue management operations; skips if it does not (EOPNOTSUPP)."""
    if not queue_management_errors:
        error = allocate().try_bind(BEYOND)
        if error is not None and error.errno == errno.EOPNOTSUPP:
            queue_management_errors[f"bind-rx to queue {BEYOND}"] = str(error)
    if queue_management_errors:
        skip_unsupported("stopping and starting single queues", evidence=queue_management_errors)
    return dut


@pytest.fixture
def header_split(
    queue_management: Dut,
    settings: Settings,
    view: QueueView,
    until: Until,
    defer: Callable[..., None],
    skip_unsupported: Callable[..., NoReturn],
) -> Dut:
    """The interface with header split on, which memory providers require; skips if the driver has no header split."""
    rings = queue_management.get("rings") or {}
    if "tcp-data-split" not in rings:
        skip_unsupported("header split", evidence=rings)
    if queue_management.queues() < 2:
        skip_unsupported("more than one receive queue", evidence=queue_management.get("channels"))
    if settings.try_set("rings", tcp_data_split=TCP_DATA_SPLIT_ENABLED) is not None:
        skip_unsupported("header split with the current settings", evidence=rings)
    # The kernel releases the queue of a closed ring with a delay, and header split cannot be turned off before that.
    defer(until, lambda: not view.bound(), what="no queue has memory bound to it", timeout=RELEASE_TIMEOUT)
    return queue_management


@pytest.fixture
def last_queue(header_split: Dut, steering: Steering, skip_unsupported: Callable[..., NoReturn]) -> int:
    """The last receive queue, excluded from RSS as devmem.rst asks for a queue with bound memory."""
    queue = header_split.queues() - 1
    if not steering.avoid(queue):
        skip_unsupported("an RSS indirection table that excludes a queue", evidence=str(header_split.rss()))
    return queue


@pytest.fixture
def wait_for_interface(guest: Machine, dut: Dut, until: Until, defer: Callable[..., None]) -> Callable[[], None]:
    """``wait_for_interface()``: waits until the interface is back from another namespace, and configures it; also at teardown."""

    def wait() -> None:
        until(lambda: dut.ifname in guest.agent.call("link.list_all"), what=f"{dut.ifname} is back", timeout=1)
        if not guest.agent.call("link.addresses", ifname=dut.ifname):
            guest.configure()

    defer(wait)
    return wait


@pytest.fixture(params=(4, 6), ids=("ipv4", "ipv6"))
def version(request: pytest.FixtureRequest) -> int:
    """Each IP version."""
    return int(request.param)


@pytest.fixture
def bind_and_steer(
    last_queue: int, steering: Steering, skip_unsupported: Callable[..., NoReturn]
) -> Callable[..., int]:
    """``bind_and_steer(memory)``: listens, steers the port to the last queue, binds the memory to it; returns the port."""

    def listen(memory: RxMemoryProvider, version: int = 4) -> int:
        port = memory.listen(ADDRESSES[version])
        if steering.add_rule("tcp", version, port, last_queue) is None:
            skip_unsupported("flow steering by TCP port", evidence="ETHTOOL_SRXCLSRLINS returned EOPNOTSUPP")
        memory.bind(last_queue)
        return port

    return listen


@pytest.fixture
def check_unbound(view: QueueView, steering: Steering, traffic: Traffic, until: Until) -> Callable[[int], None]:
    """``check_unbound(3)``: queue 3 has no memory bound, receives into kernel memory, and no page pool is left behind."""

    def check(queue: int) -> None:
        until(lambda: not view.bound(), what="no queue has memory bound to it", timeout=RELEASE_TIMEOUT)
        until(lambda: not view.leaked_pools(), what="no page pool is left behind", timeout=RELEASE_TIMEOUT)
        assert queue in view.states(), f"queue {queue} is missing: netlink lists {sorted(view.states())}"
        steering.only(queue)
        traffic.check_delivery()

    return check


@pytest.fixture
def config_unchanged(dut: Dut, view: QueueView) -> Callable[[], AbstractContextManager[None]]:
    """``with config_unchanged():`` the block leaves queues, page pools, rings, channels, features and link as they were."""

    def read() -> dict[str, object]:
        return {
            "queues": view.states(),
            # One that is only waiting for its last pages, of an earlier test, may go at any moment.
            "page pools": sorted(pool["id"] for pool in view.pools() if "detach-time" not in pool),
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
        assert not differing, f"changed, before and after: {differing}"

    return compare
