# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent's line protocol, its threads and its handles."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from agent_connection import DEADLINE, AgentError, Client
from plugfest.location import recipes_root
from plugfest.machine.qemu import GUEST_ADDRESS, GUEST_AGENT_PORT


def test_answers_carry_the_request_id(agent: Client) -> None:
    assert agent.call("agent.ping")["pid"] > 0
    assert agent.call("agent.ping")["pid"] > 0


def test_every_method_is_listed_with_a_sentence(agent: Client) -> None:
    listed = agent.call("agent.list_methods")
    assert {"netdev.qstats_get", "link.xdp_attach", "bpf.load", "tcp.receive"} <= {each["method"] for each in listed}
    assert all(each["text"].endswith(".") for each in listed), [
        each for each in listed if not each["text"].endswith(".")
    ]


@pytest.mark.parametrize("method", ["link.nothing", "nothing.get", "nothing", "link.header", "netlink.shared", ""])
def test_unknown_and_inner_functions_are_refused(agent: Client, method: str) -> None:
    with pytest.raises(AgentError, match="no method"):
        agent.call(method)


def test_wrong_parameters_are_an_error_and_the_connection_lives(agent: Client) -> None:
    with pytest.raises(AgentError) as caught:
        agent.call("files.read", nonsense=1)
    assert caught.value.type == "TypeError"
    assert caught.value.errno is None
    assert agent.call("agent.ping")


def test_a_failed_system_call_reports_its_errno(agent: Client) -> None:
    with pytest.raises(AgentError, match="No such file or directory: /nowhere") as caught:
        agent.call("files.read", path="/nowhere")
    assert caught.value.errno == 2


def test_batch_carries_out_its_calls_in_order_up_to_the_first_that_fails(agent: Client, tmp_path: Path) -> None:
    def write(name: str, text: str) -> dict[str, Any]:
        return {"method": "files.write", "params": {"path": str(tmp_path / name), "text": text}}

    (tmp_path / "a").touch()
    read = {"method": "files.read", "params": {"path": str(tmp_path / "a")}}
    replies = agent.call("agent.batch", calls=[write("a", "1"), read, {"method": "agent.nothing"}, write("a", "2")])
    assert [sorted(reply) for reply in replies] == [["result"], ["result"], ["error"]]
    assert replies[1]["result"] == "1"
    assert replies[2]["error"]["type"] == "UnknownMethodError"
    assert (tmp_path / "a").read_text() == "1"
    assert agent.call("agent.batch", calls=[]) == []
    replies = agent.call("agent.batch", calls=[{"method": "agent.nothing"}, write("a", "2")], carry_on=True)
    assert [sorted(reply) for reply in replies] == [["error"], ["result"]]
    assert (tmp_path / "a").read_text() == "2"


@pytest.mark.parametrize("line", [b"{}", b"not json", b"[1]", b'{"id":4}', b'{"id":4,"method":7}', b"\xff\xfe"])
def test_a_malformed_line_is_answered_and_the_next_one_works(agent_path: Path, line: bytes) -> None:
    client = Client(agent_path)
    client.socket.sendall(line + b"\n" + b'{"id": "x", "method": "agent.ping"}\n')
    refused = json.loads(client.lines.readline())
    assert refused["error"]["type"]
    answered = json.loads(client.lines.readline())
    assert answered["id"] == "x"
    assert answered["result"]["pid"]
    client.close()


def test_a_blocking_call_does_not_hold_up_another_connection(connect: Any) -> None:
    waiting, other = connect(), connect()
    listener = other.call("tcp.listen", address="127.0.0.1")
    waiting.send("tcp.receive", listener=listener["handle"], timeout=15)
    assert other.call("agent.ping")
    sent = other.call("tcp.send", address="127.0.0.1", port=listener["port"], length=300_000, seed=7)
    received = waiting.receive()
    assert received["bytes"] == sent["bytes"] == 300_000
    assert received["sha256"] == sent["sha256"]


def test_handles_close_with_their_connection(agent: Client, agent_path: Path) -> None:
    short = Client(agent_path)
    started = short.call("process.start", command=["sleep", "1000"])
    assert agent.call("process.poll", process=started["handle"])["exit_status"] is None
    short.close()
    # The agent notices the end of the connection in that connection's own thread.
    end = time.monotonic() + 10
    while _is_open(agent, started["handle"]) or agent.call("files.exists", path=f"/proc/{started['pid']}/fd"):
        assert time.monotonic() < end, "the process outlives its connection"


def _is_open(agent: Client, process: int) -> bool:
    try:
        agent.call("process.poll", process=process)
    except AgentError as error:
        if "no open Running" in str(error):
            return False
        raise
    return True


def test_a_handle_of_another_kind_is_refused(agent: Client) -> None:
    program = agent.call("bpf.load_return", verdict=2)["program"]
    with pytest.raises(AgentError, match="no open Map but Program"):
        agent.call("bpf.map_counters", map=program)


def test_agent_listens_where_qemu_forwards_to() -> None:
    """On the management NIC alone, even before that has its address."""
    environment = {name: value for name, value in os.environ.items() if name != "PLUGFEST_AGENT_SOCKET"}
    script = f"{sys.executable} -m agent & until ss -Hltn | grep .; do sleep 0.05; done; kill $!"
    found = subprocess.run(
        ["unshare", "--net", "sh", "-c", script],
        env=environment | {"PYTHONPATH": str(recipes_root())},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    (listening,) = found.stdout.splitlines()
    assert listening.split()[3] == f"{GUEST_ADDRESS}:{GUEST_AGENT_PORT}"
