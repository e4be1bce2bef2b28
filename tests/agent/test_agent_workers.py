# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent's workers: processes that answer, are killed and move to other namespaces."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest
from agent_connection import AgentError, Client


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_worker_answers_as_the_agent_does(agent: Client) -> None:
    made = agent.call("worker.start")
    assert agent.call("worker.call", worker=made["handle"], method="agent.ping") == {"pid": made["pid"]}
    assert (
        agent.call("worker.call", worker=made["handle"], method="link.get", params={"ifname": "left"})["ifindex"]
        == (agent.call("link.get", ifname="left")["ifindex"])
    )
    with pytest.raises(AgentError, match="No such device") as caught:
        agent.call("worker.call", worker=made["handle"], method="link.get", params={"ifname": "absent"})
    assert caught.value.errno == errno.ENODEV
    with pytest.raises(AgentError, match="UnknownMethodError"):
        agent.call("worker.call", worker=made["handle"], method="no.such")
    agent.call("handle.close", handle=made["handle"])


@pytest.mark.parametrize("kill", [False, True])
def test_a_worker_is_gone_when_its_end_is_reported(agent: Client, kill: bool) -> None:
    made = agent.call("worker.start")
    assert alive(made["pid"])
    assert agent.call("worker.end", worker=made["handle"], kill=kill)
    assert not alive(made["pid"])
    with pytest.raises(AgentError, match="WorkerGoneError"):
        agent.call("worker.call", worker=made["handle"], method="agent.ping")
    agent.call("handle.close", handle=made["handle"])


def test_a_worker_dies_with_the_connection_that_started_it(connect: Any, agent: Client) -> None:
    first = connect()
    made = first.call("worker.start")
    process = os.pidfd_open(made["pid"])
    first.close()
    try:
        import select

        assert select.select([process], [], [], 10)[0]
    finally:
        os.close(process)


def test_what_a_worker_has_open_is_closed_before_it_is_gone(agent: Client) -> None:
    made = agent.call("worker.start")
    opened = agent.call("worker.call", worker=made["handle"], method="tcp.listen", params={"address": "::1"})
    with pytest.raises(AgentError) as caught:
        agent.call("tcp.listen", address="::1", port=opened["port"])
    assert caught.value.errno == errno.EADDRINUSE
    assert agent.call("worker.end", worker=made["handle"], kill=True)
    again = agent.call("tcp.listen", address="::1", port=opened["port"])
    for handle in (again["handle"], made["handle"]):
        agent.call("handle.close", handle=handle)


def test_a_worker_moves_to_a_network_of_its_own_and_takes_an_interface_along(agent: Client) -> None:
    agent.call("process.run", command=["ip", "link", "add", "moving", "type", "veth", "peer", "name", "staying"])
    made = agent.call("worker.start")
    agent.call("worker.call", worker=made["handle"], method="confinement.unshare_network")
    agent.call("link.set", ifname="moving", netns_pid=made["pid"])
    assert "moving" not in agent.call("link.list_all")
    assert "moving" in agent.call("worker.call", worker=made["handle"], method="link.list_all")
    assert agent.call("worker.end", worker=made["handle"], kill=True)
    agent.call("handle.close", handle=made["handle"])


def test_a_worker_without_privileges_is_refused(agent: Client) -> None:
    for method in ("confinement.drop_privileges", "confinement.unshare_user"):
        made = agent.call("worker.start")
        agent.call("worker.call", worker=made["handle"], method=method)
        with pytest.raises(AgentError) as caught:
            agent.call("worker.call", worker=made["handle"], method="link.set", params={"ifname": "left", "mtu": 1400})
        assert caught.value.errno == errno.EPERM
        agent.call("handle.close", handle=made["handle"])


def test_the_agent_itself_is_not_confined(agent: Client) -> None:
    with pytest.raises(AgentError, match="for workers"):
        agent.call("confinement.drop_privileges")


def test_an_error_about_an_attribute_names_its_offset(agent: Client) -> None:
    with pytest.raises(AgentError, match="attribute at byte") as caught:
        agent.call("netdev.napi_set", id=0x7FFFFFF, settings={"defer-hard-irqs": 1})
    assert caught.value.errno == errno.ENOENT
