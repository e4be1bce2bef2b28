# SPDX-License-Identifier: GPL-2.0-or-later
"""The log of what a test did."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from plugfest.machine import call_log
from plugfest.machine.call_log import CallLog, shortened
from plugfest.machine.ssh import CommandResult
from plugfest.machine.virtual import VirtualMachine


def lines(log: CallLog) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in log.text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in found]


def test_calls_and_steps_in_their_order() -> None:
    log = CallLog()
    log.step("Take it down", 0)
    log.call("agent", "link.set", {"ifname": "eth0", "up": False})
    log.call("shell", "ethtool eth0", {}, result={"exit_status": 0, "output": "Speed: 10000Mb/s"})
    log.sent(b"\1\2")
    log.call("model", "link.partner", {"up": False}, error="no such method")
    assert lines(log) == [
        {"step": "Take it down", "depth": 0},
        {"end": "agent", "method": "link.set", "params": {"ifname": "eth0", "up": False}},
        {
            "end": "shell",
            "method": "ethtool eth0",
            "params": {},
            "result": {"exit_status": 0, "output": "Speed: 10000Mb/s"},
        },
        {"end": "wire", "method": "send", "params": {"frame": "0102"}},
        {"end": "model", "method": "link.partner", "params": {"up": False}, "error": "no such method"},
    ]


def test_a_test_begins_with_an_empty_log_and_ends_with_its_failure() -> None:
    log = CallLog()
    log.call("agent", "link.get", {})
    log.begin()
    log.call("agent", "link.set", {})
    log.end()
    log.call("agent", "link.delete", {})
    log.sent(b"\1")
    assert [line["method"] for line in lines(log)] == ["link.set"]
    log.begin()
    log.call("agent", "link.get", {})
    assert [line["method"] for line in lines(log)] == ["link.get"]


def test_what_the_runner_does_for_itself_is_left_out() -> None:
    log = CallLog()
    log.call("model", "trace.start", {})
    log.call("agent", "agent.ping", {})
    assert lines(log) == []


def test_what_is_too_much_is_counted() -> None:
    log = CallLog()
    for _ in range(call_log.FRAMES + 3):
        log.sent(b"\1")
    for _ in range(call_log.MOST):
        log.call("agent", "link.get", {})
    found = lines(log)
    assert found[-2:] == [
        {"note": "3 more frames were put on the wire"},
        {"note": f"{call_log.FRAMES} more calls were made"},
    ]
    assert len(found) == call_log.MOST + 2


def test_what_a_command_in_the_guest_printed_on_either_output() -> None:
    machine = VirtualMachine.__new__(VirtualMachine)
    machine.calls = CallLog()
    done = CommandResult("ip link", 1, stdout="1: lo\n", stderr="Cannot find device\n", seconds=0.1)
    guest: Any = SimpleNamespace(ssh=SimpleNamespace(run=lambda *_, **__: done))
    machine.guest = guest
    machine.run("ip link", check=False)
    (line,) = lines(machine.calls)
    assert line["result"] == {"exit_status": 1, "output": "1: lo\n", "stderr": "Cannot find device\n"}


def test_long_parameters_are_cut() -> None:
    log = CallLog()
    frames = ["y" * call_log.LONGEST_PARAMETER] * 64
    log.call("agent", "files.put", {"path": "/a.ko", "parts": [{"data": "x" * (call_log.LONGEST_PARAMETER + 7)}]})
    log.call("agent", "af_xdp.send", {"frames": frames})
    put, send = lines(log)
    data = "x" * call_log.LONGEST_PARAMETER + "… (7 more characters)"
    assert put["params"] == {"path": "/a.ko", "parts": [{"data": data}]}
    assert send["params"] == {"frames": frames}


def test_long_results_are_cut() -> None:
    assert shortened("x" * 500) == "x" * 400 + "… (100 more characters)"
    assert shortened(list(range(30))) == [*range(24), "… (6 more)"]
    assert shortened({str(key): key for key in range(25)}) == {**{str(key): key for key in range(24)}, "…": "1 more"}
    deep: Any = 1
    for _ in range(10):
        deep = [deep]
    assert json.dumps(shortened(deep)) == '[[[[[["[\\u2026]"]]]]]]'
    assert shortened({"rx": [1.5, None, True], "error": ValueError("x")}) == {"rx": [1.5, None, True], "error": "x"}
