# SPDX-License-Identifier: GPL-2.0-or-later
"""BPF programs through the agent: attach modes, maps, and the tracepoint of an aborted frame."""

from __future__ import annotations

import base64
import errno
from typing import TYPE_CHECKING, Any

import pytest
from agent_connection import AgentError, Client

if TYPE_CHECKING:
    from collections.abc import Iterator

ABORTED, DROP, PASS = 0, 1, 2
FRAME = base64.b64encode(b"\xff" * 6 + b"\x02\0\0\0\0\x09\x88\xb5" + bytes(50)).decode()


@pytest.fixture
def attach(agent: Client) -> Iterator[Any]:
    """Attaches a program that returns a verdict; all is detached afterwards."""

    def attach_return(verdict: int, **params: Any) -> dict[str, Any]:
        program: dict[str, Any] = agent.call("bpf.load_return", verdict=verdict)
        agent.call("link.xdp_attach", ifname="right", program=program["program"], **params)
        return program

    yield attach_return
    mode = agent.call("link.xdp", ifname="right")["attached"]
    if mode != "none":
        agent.call("link.xdp_attach", ifname="right", program=None, mode=mode)


@pytest.mark.parametrize("mode", ["native", "generic"])
def test_an_attached_program_is_reported_by_mode_and_id(agent: Client, attach: Any, mode: str) -> None:
    program = attach(PASS, mode=mode)
    attached = agent.call("link.xdp", ifname="right")
    assert attached["attached"] == mode
    assert attached["prog-id"] == attached[f"{mode}-prog-id"] == program["id"]
    assert program["id"] in agent.call("bpf.program_ids")
    agent.call("link.xdp_attach", ifname="right", program=None, mode=mode)
    assert agent.call("link.xdp", ifname="right") == {"attached": "none"}


def test_drop_and_pass_do_that(agent: Client, attach: Any) -> None:
    out = agent.call("packet.open", ifname="left", protocol=0x88B5)
    back = agent.call("packet.open", ifname="right", protocol=0x88B5)
    attach(DROP)
    agent.call("packet.send", packet=out, frames=[FRAME], repeat=4)
    assert agent.call("ethtool.stats", ifname="right")["rx_queue_0_xdp_drops"] == 4
    assert agent.call("packet.receive", packet=back, timeout=0) == []
    attach(PASS)
    agent.call("packet.send", packet=out, frames=[FRAME])
    assert len(agent.call("packet.receive", packet=back, count=1)) == 1
    for each in (out, back):
        agent.call("handle.close", handle=each)


def test_the_tracepoint_records_each_aborted_frame(agent: Client, attach: Any) -> None:
    out = agent.call("packet.open", ifname="left", protocol=0x88B5)
    trace = agent.call("trace.open", events=["xdp:xdp_exception"])
    attach(ABORTED)
    assert agent.call("trace.read", trace=trace) == []
    agent.call("packet.send", packet=out, frames=[FRAME], repeat=3)
    entries: list[dict[str, Any]] = []
    for _ in range(100):
        entries = agent.call("trace.read", trace=trace)
        if len(entries) >= 3:
            break
    index = agent.call("link.get", ifname="right")["ifindex"]
    assert [(each["event"], each["fields"]["action"], each["fields"]["ifindex"]) for each in entries] == [
        ("xdp_exception", "ABORTED", str(index))
    ] * 3
    for each in (out, trace):
        agent.call("handle.close", handle=each)


def test_conditions_of_attaching_are_kept(agent: Client, attach: Any) -> None:
    first = attach(PASS)
    other = agent.call("bpf.load_return", verdict=PASS)
    with pytest.raises(AgentError, match="already attached") as caught:
        agent.call("link.xdp_attach", ifname="right", program=other["program"], if_none=True)
    assert caught.value.errno == errno.EBUSY
    with pytest.raises(AgentError) as caught:
        agent.call("link.xdp_attach", ifname="right", program=first["program"], expected=other["program"])
    assert caught.value.errno == errno.EEXIST
    agent.call("link.xdp_attach", ifname="right", program=other["program"], expected=first["program"])
    assert agent.call("link.xdp", ifname="right")["prog-id"] == other["id"]
    with pytest.raises(AgentError) as caught:
        agent.call("link.xdp_attach", ifname="right", program=first["program"], mode="offload")
    assert caught.value.errno


def test_a_bpf_link_detaches_when_it_is_closed(agent: Client) -> None:
    program = agent.call("bpf.load_return", verdict=PASS)
    link = agent.call("bpf.link_create", program=program["program"], ifname="right")
    assert agent.call("link.xdp", ifname="right")["prog-id"] == program["id"]
    agent.call("handle.close", handle=link)
    assert agent.call("link.xdp", ifname="right")["attached"] == "none"


def test_no_program_is_left_behind(agent: Client) -> None:
    program = agent.call("bpf.load_return", verdict=DROP)
    agent.call("handle.close", handle=program["program"])
    # The kernel frees a program after a grace period.
    for _ in range(2000):
        if program["id"] not in agent.call("bpf.program_ids"):
            return
    pytest.fail(f"program {program['id']} is still there")


def test_an_object_that_is_not_there_is_a_load_error(agent: Client) -> None:
    with pytest.raises(AgentError) as caught:
        agent.call("bpf.load", object="absent")
    assert caught.value.type in {"LoadError", "FileNotFoundError"}


def test_a_program_for_a_device_that_runs_none_is_refused(agent: Client) -> None:
    with pytest.raises(AgentError) as caught:
        agent.call("bpf.load_return", verdict=DROP, device="lo")
    assert caught.value.errno in {errno.EINVAL, errno.EOPNOTSUPP}
