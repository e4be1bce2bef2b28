# SPDX-License-Identifier: GPL-2.0-or-later
"""Users of receive queues on a veth pair, which has no queue management: the errors, and that nothing stays open."""

from __future__ import annotations

import errno
import time
from pathlib import Path
from typing import Any

import pytest
from agent_connection import DEADLINE, AgentError, Client

REFUSED = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.EPERM}


def refused(error: AgentError) -> bool:
    """Whether the driver or the kernel refused, or this kernel has no such operation at all."""
    return error.errno in REFUSED or error.type == "KernelLacksError"


def test_flow_rules_of_a_driver_without_any_are_refused(agent: Client) -> None:
    with pytest.raises(AgentError) as caught:
        agent.call("flow_rules.add", ifname="left", protocol="tcp", version=4, port=5000, queue=0)
    assert caught.value.errno == errno.EOPNOTSUPP
    with pytest.raises(AgentError) as caught:
        agent.call("flow_rules.delete", ifname="left", location=0)
    assert caught.value.errno == errno.EOPNOTSUPP


def test_an_af_xdp_socket_takes_a_queue_and_gives_it_back(agent: Client) -> None:
    try:
        first = agent.call("xsk.bind", ifname="left", queue=0)
    except AgentError as error:
        if error.errno in {errno.EAFNOSUPPORT, errno.EOPNOTSUPP}:
            pytest.skip("this kernel has no AF_XDP")
        raise
    with pytest.raises(AgentError) as caught:
        agent.call("xsk.bind", ifname="left", queue=0)
    assert caught.value.errno == errno.EBUSY
    agent.call("handle.close", handle=first)
    end = time.monotonic() + DEADLINE
    while (again := bound(agent)) is None:  # the kernel releases it some time after the socket is closed
        assert time.monotonic() < end
    agent.call("handle.close", handle=again)


def bound(agent: Client) -> int | None:
    try:
        return int(agent.call("xsk.bind", ifname="left", queue=0))
    except AgentError as error:
        if error.errno != errno.EBUSY:
            raise
        return None


def test_a_queue_number_that_is_not_there_is_refused_to_an_af_xdp_socket(agent: Client) -> None:
    open_before = agent.call("handle.count")
    with pytest.raises(AgentError) as caught:
        agent.call("xsk.bind", ifname="left", queue=77)
    assert caught.value.errno in {errno.EINVAL, errno.EAFNOSUPPORT}
    assert agent.call("handle.count") == open_before


def test_a_ring_is_not_given_a_queue_of_a_driver_without_queue_management(agent: Client) -> None:
    made = agent.call("worker.start")
    parameters = {"ifname": "left", "queue": 0, "length": 1 << 16}
    with pytest.raises(AgentError) as caught:
        agent.call("worker.call", worker=made["handle"], method="zcrx.register", params=parameters)
    assert refused(caught.value)
    assert agent.call("worker.call", worker=made["handle"], method="handle.count") == 0
    agent.call("handle.close", handle=made["handle"])


@pytest.mark.skipif(not Path("/dev/udmabuf").exists(), reason="this kernel has no udmabuf")
def test_bound_memory_is_refused_by_a_driver_without_queue_management(agent: Client) -> None:
    buffer = agent.call("udmabuf.create", length=1 << 16)
    agent.call("udmabuf.fill", buffer=buffer, value=7)
    assert len(agent.call("udmabuf.pages", buffer=buffer)) == 16
    with pytest.raises(AgentError) as caught:
        agent.call("devmem.bind", ifname="left", queues=[0], buffer=buffer)
    assert refused(caught.value)
    agent.call("handle.close", handle=buffer)


def test_a_lease_from_a_device_that_takes_none_is_refused(agent: Client) -> None:
    with pytest.raises(AgentError) as caught:
        agent.call("netdev.queue_create", ifname="left", lender="right", queue=0)
    assert refused(caught.value)


def test_page_pools_of_all_devices_have_those_of_one(agent: Client) -> None:
    try:
        every: list[dict[str, Any]] = agent.call("netdev.page_pool_get")
    except AgentError as error:
        if error.errno == errno.EOPNOTSUPP:
            pytest.skip("this kernel reports no page pools")
        raise
    assert all(pool in every for pool in agent.call("netdev.page_pool_get", ifname="left"))
