# SPDX-License-Identifier: GPL-2.0-or-later
"""The client of the guest's agent: answers, errors, and missing answers."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from plugfest.errors import InfrastructureError
from plugfest.machine.agent import AgentClient, AgentError, AgentTimeout, KernelLacksError, kernel_error
from plugfest.machine.call_log import CallLog
from plugfest.machine.ssh import GuestGone
from plugfest.requirements.verdict import BudgetExceeded

Address = tuple[str, int]


@pytest.fixture(scope="module")
def address() -> Iterator[Address]:
    """Where a fake of the guest's agent listens."""
    with subprocess.Popen(
        [sys.executable, Path(__file__).with_name("fake_agent.py")], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield "127.0.0.1", int(process.stdout.readline())
        process.kill()


@pytest.fixture
def agent(address: Address) -> Iterator[AgentClient]:
    made = AgentClient(address)
    yield made
    made.close()


def unused_address() -> Address:
    with socket.create_server(("127.0.0.1", 0)) as server:
        found: Address = server.getsockname()
    return found


def test_result(agent: AgentClient) -> None:
    assert agent.call("echo", text="ü", number=1, nothing=None) == {"text": "ü", "number": 1, "nothing": None}


def test_parameter_named_method(agent: AgentClient) -> None:
    assert agent.call("echo", method="x") == {"method": "x"}


def test_one_connection_serves_many_calls(agent: AgentClient) -> None:
    assert len({agent.call("connection") for _ in range(5)}) == 1


def test_long_answers(agent: AgentClient) -> None:
    assert len(agent.call("echo", data="x" * 2_000_000)["data"]) == 2_000_000


def test_failure_keeps_type_message_and_errno(agent: AgentClient) -> None:
    with pytest.raises(AgentError, match=r"^fail: NetlinkError: Operation not supported \(errno 95\)$") as caught:
        agent.call("fail")
    assert (caught.value.type, caught.value.message, caught.value.errno) == (
        "NetlinkError",
        "Operation not supported",
        95,
    )
    assert agent.call("echo") == {}


def test_batch_is_one_exchange(agent: AgentClient) -> None:
    assert agent.batch([("echo", {"number": 1}), ("echo", {"number": 2})]) == [{"number": 1}, {"number": 2}]
    assert agent.count.calls == 1
    assert agent.batch([]) == []


def test_batch_raises_for_the_call_that_failed(agent: AgentClient) -> None:
    with pytest.raises(AgentError, match=r"^fail: NetlinkError: Operation not supported \(errno 95\)$"):
        agent.batch([("echo", {}), ("fail", {}), ("echo", {})])


def test_calls_of_a_batch_are_noted_as_far_as_they_were_made(address: Address) -> None:
    log = CallLog()
    with closing(AgentClient(address, log=log)) as agent, pytest.raises(AgentError):
        agent.batch([("echo", {"number": 1}), ("fail", {}), ("echo", {"number": 2})])
    noted = [json.loads(line) for line in log.text().splitlines()]
    assert [(line["method"], line.get("error")) for line in noted] == [
        ("echo", None),
        ("fail", "Operation not supported"),
    ]


def test_a_batch_that_the_agent_refuses_is_noted(address: Address) -> None:
    log = CallLog()
    refused = pytest.raises(AgentError, match=r"^agent\.batch: TypeError: a call has no name")
    with closing(AgentClient(address, log=log)) as agent, refused:
        agent.batch([("echo", {}), ("no batch", {})])
    (line,) = [json.loads(line) for line in log.text().splitlines()]
    assert (line["method"], line["error"]) == ("agent.batch", "a call has no name")
    assert [each["method"] for each in line["params"]["calls"]] == ["echo", "no batch"]


def test_try_batch_makes_all_calls_in_one_exchange(agent: AgentClient) -> None:
    first, second, third = agent.try_batch([("echo", {"number": 1}), ("fail", {}), ("echo", {"number": 2})])
    assert (first, third) == ({"number": 1}, {"number": 2})
    assert isinstance(second, AgentError)
    assert second.errno == 95
    assert agent.count.calls == 1


def test_try_batch_gives_the_error_of_the_exchange_to_each_call() -> None:
    agent = AgentClient(unused_address())
    errors = agent.try_batch([("echo", {}), ("echo", {})])
    assert [type(error) for error in errors] == [GuestGone] * 2


def test_batch_of_a_run_that_falsifies_may_be_changed_call_by_call(address: Address) -> None:
    seen = []

    def interposer(side: str, method: str, params: Mapping[str, Any], call: Callable[..., Any]) -> Any:
        seen.append((side, method))
        return call(method, params)

    agent = AgentClient(address, interposer=interposer)
    assert agent.batch([("echo", {"number": 1}), ("echo", {"number": 2})]) == [{"number": 1}, {"number": 2}]
    assert seen == [("agent", "echo")] * 2
    agent.close()


def test_calls_and_the_seconds_of_those_that_wait_are_counted(agent: AgentClient) -> None:
    other = agent.another()
    agent.call("echo")
    assert (agent.count.calls, agent.count.waiting) == (1, 0)
    other.call("sleep", seconds=0.2, timeout=1)
    other.close()
    assert agent.count.calls == 2
    assert 0.2 <= agent.count.waiting < 5


@pytest.mark.parametrize(("seconds", "timeout", "idle"), [(0.3, 0.2, 0.2), (0.1, 30, 0), (0.1, None, 0)])
def test_call_is_idle_whose_own_timeout_passes(
    address: Address, seconds: float, timeout: float | None, idle: float
) -> None:
    agent = AgentClient(address)
    agent.call("sleep", seconds=seconds, timeout=timeout)
    assert agent.count.idle == idle
    agent.another().call("sleep", seconds=seconds, timeout=timeout)
    assert agent.count.idle == idle, "whoever makes a call beside others does not wait for it"


def test_busy_host_extends_the_time_for_an_answer(address: Address) -> None:
    begin = time.monotonic()
    agent = AgentClient(address, reply_timeout=0.3, lost=lambda: (time.monotonic() - begin) * 0.8)
    assert agent.call("sleep", seconds=0.8) == "slept"
    agent.close()


def test_what_the_kernel_lacks_is_not_an_error_of_the_driver(agent: AgentClient) -> None:
    with pytest.raises(
        KernelLacksError, match=r"^the kernel lacks bind-tx of netdev: it has \[1, 5\]: no 15$"
    ) as caught:
        agent.call("lack")
    assert (caught.value.what, caught.value.evidence) == ("bind-tx of netdev", "it has [1, 5]: no 15")
    with pytest.raises(KernelLacksError):
        kernel_error(lambda: agent.call("lack"))


def test_late_answer_is_not_taken_for_the_next_ones(address: Address) -> None:
    agent = AgentClient(address, reply_timeout=0.3)
    first = agent.call("connection")
    with pytest.raises(AgentTimeout, match="sleep: the agent did not answer within 0 s"):
        agent.call("sleep", seconds=1)
    agent.reply_timeout = 20
    assert agent.call("echo", fresh=True) == {"fresh": True}
    assert agent.call("connection") != first
    agent.close()


def test_own_timeout_of_a_method_lengthens_the_wait(address: Address) -> None:
    agent = AgentClient(address, reply_timeout=0.5)
    assert agent.call("echo", timeout=5) == {"timeout": 5}
    assert agent.call("sleep", seconds=1, timeout=20) == "slept"
    agent.close()


def test_call_that_a_budget_cut_off_poisons_nothing(agent: AgentClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert agent.call("echo") == {}

    def cut_off(*_arguments: object) -> None:
        raise BudgetExceeded("call took more than its 1 s")

    with monkeypatch.context() as patch:
        patch.setattr(agent, "_reply", cut_off)
        with pytest.raises(BudgetExceeded):
            agent.call("sleep", seconds=0.1)
    assert agent.call("echo", after="it") == {"after": "it"}


def test_agent_that_exits(agent: AgentClient) -> None:
    with pytest.raises(GuestGone, match="exit: the agent closed the connection"):
        agent.call("exit")
    assert agent.call("echo") == {}


@pytest.mark.parametrize("method", ["junk", "other"])
def test_answers_that_make_no_sense(agent: AgentClient, method: str) -> None:
    with pytest.raises(InfrastructureError, match=f"^{method}: expected"):
        agent.call(method)
    assert agent.call("echo") == {}


def test_agent_that_is_not_there() -> None:
    with pytest.raises(
        GuestGone, match=r"connection: expected an agent to ask, found no connection \(.*Connection refused\)"
    ):
        AgentClient(unused_address()).call("connection")


def test_guest_that_is_gone(address: Address) -> None:
    agent = AgentClient(address, alive=lambda: "QEMU ended with exit status 1")
    with pytest.raises(GuestGone, match="sleep: the guest went away meanwhile: QEMU ended with exit status 1"):
        agent.call("sleep", seconds=1000)


def test_second_connection_is_not_held_up_by_the_first(agent: AgentClient) -> None:
    slow = threading.Thread(target=lambda: agent.call("sleep", seconds=2), daemon=True)
    slow.start()
    other = agent.another()
    assert other.call("echo", fast=True) == {"fast": True}
    assert slow.is_alive()
    other.close()
    slow.join()
