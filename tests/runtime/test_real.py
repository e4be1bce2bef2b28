# SPDX-License-Identifier: GPL-2.0-or-later
"""A real machine as a run has it, with a veth in place of its NIC and no SSH between: keeper, agent, far end and wire are the real ones."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from plugfest.deadline import Deadline, poll
from plugfest.errors import InfrastructureError
from plugfest.machine import one_wire, real
from plugfest.machine.agent import AgentError, NeedsModelError
from plugfest.machine.console import Problem
from plugfest.machine.events import MessageEvents
from plugfest.machine.real import RealMachine
from plugfest.run import plan as plans
from plugfest.run.plan import HardwarePlan
from plugfest.traffic.peer import TrafficPeer

TESTS = Path(__file__).parents[1]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(TESTS.parent / "guest-images")}
DEVICE = {
    "ifname": "eth9",
    "device": "/sys/devices/virtual",
    "driver": "veth",
    "module": "veth",
    "out-of-tree": False,
    "driver-version": "1.0",
    "firmware": "",
    "bus-address": "virtual",
    "pci-id": None,
    "subsystem-id": None,
    "address": "02:00:00:00:00:01",
    "max-mtu": 9000,
}

Inside = Callable[[Callable[[], object]], None]
WithMachine = Callable[[Callable[["RealMachine", "Lent"], object]], None]


@dataclasses.dataclass
class Lent:
    plan: HardwarePlan
    keeper: subprocess.Popen[bytes]


@contextmanager
def lent(folder: Path) -> Iterator[Lent]:
    """A machine that lends its interface, and the far end of its wire."""
    sockets = folder / "dut"
    (sockets / "bpf").mkdir(parents=True)
    keeper = subprocess.Popen(
        ["unshare", "--net", "--mount", sys.executable, str(TESTS / "agent" / "keeper_of_veth.py"), str(sockets)],
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert keeper.stdout is not None
    ready = json.loads(keeper.stdout.readline())
    assert ready["event"] == "ready", ready
    ours, theirs = socket.socketpair()
    with theirs:
        far = subprocess.Popen(
            [
                *("nsenter", f"--net=/proc/{keeper.pid}/ns/net"),
                *(sys.executable, "-m", "agent.hardware.far_end", "far", "here"),
            ],
            env=ENVIRONMENT,
            stdin=theirs,
            stdout=theirs,
        )
    prepared = MessageEvents(ours).next(20)
    assert prepared is not None
    try:
        yield Lent(
            HardwarePlan(
                driver="veth",
                output=folder / "output",
                scratch=folder / "run",
                dut="root@dut",
                remote="root@peer far",
                remote_mtu=prepared["mtu"],
                sockets=sockets,
                stream=ours.fileno(),
                kernel_release=os.uname().release,
                cpus=2,
                device=DEVICE,
            ),
            keeper,
        )
    finally:
        ours.close()
        far.wait(20)
        if keeper.poll() is None:
            keeper.communicate(b"end\n", timeout=20)


@pytest.fixture
def with_machine(
    inside: Inside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[RealMachine, Lent], object]], None]:
    """Do something with the machine, in a run's namespaces."""
    if os.geteuid():
        pytest.skip("a network namespace for the far end needs root")
    monkeypatch.setattr(one_wire, "QUIET", 0.1)
    monkeypatch.setattr(RealMachine, "link_timeout", 0.5)
    monkeypatch.setattr(one_wire, "ARRIVAL_TIMEOUT", 0.5)
    monkeypatch.setattr(one_wire, "_AGAIN", 0.1)

    def run(work: Callable[[RealMachine, Lent], object]) -> None:
        def payload() -> None:
            with lent(tmp_path) as made:
                machine = real.boot(made.plan)
                try:
                    work(machine, made)
                finally:
                    machine.close()
                    machine.close()

        inside(payload)

    return run


def test_agent_wire_and_log(with_machine: WithMachine) -> None:
    def work(machine: RealMachine, made: Lent) -> None:
        assert machine.load_error is None
        assert (machine.ifname, machine.mac, machine.alive()) == ("eth9", DEVICE["address"], True)
        assert machine.run("echo $((6 * 7))").stdout == "42\n"
        peer = TrafficPeer(machine)
        for version in (4, 6):
            peer.check_echo(version, 1000)
        mark = machine.console.mark()
        machine.agent.call("system.log_write", text="plugfest: test_real")
        machine.synchronize()
        assert "plugfest: test_real" in machine.console.text_since(mark)
        fatal = Problem("oops", "Oops: 0002", "", fatal=True, line=0)
        assert machine.unusable([dataclasses.replace(fatal, fatal=False)]) is None
        assert machine.unusable([fatal]) == (
            "root@dut: its kernel is beyond use (Oops: 0002); reboot the machine, and run again"
        )
        for lacking in (machine.plug_second, machine.reboot, lambda: machine.set_link(up=False)):
            with pytest.raises(NeedsModelError, match="needs the model: "):
                lacking()
        # Another one, as after a test that went wrong: on the same wire, with another agent.
        first = machine.agent.call("agent.ping")["pid"]
        machine.close()
        another = real.boot(made.plan)
        try:
            assert another.agent.call("agent.ping")["pid"] != first
            TrafficPeer(another).check_echo(4, 100)
        finally:
            another.close()

    with_machine(work)


def test_ends_that_are_not_on_one_wire(with_machine: WithMachine) -> None:
    def work(machine: RealMachine, made: Lent) -> None:
        assert machine.agent.call("handle.count") == 0, "what showed the wire is closed"
        machine.close()
        netns = f"--net=/proc/{made.keeper.pid}/ns/net"
        subprocess.run(["nsenter", netns, "ip", "link", "set", "far", "down"], check=True)
        again = real.boot(made.plan)
        assert again.load_error is None, "it has been shown before: now it is for the tests to judge"
        again.close()
        (made.plan.scratch / "one-wire").unlink()
        with pytest.raises(
            InfrastructureError,
            match=r"root@dut eth9 and root@peer far: expected both ends on one wire, .* none at the far end;",
        ):
            real.boot(made.plan)

    with_machine(work)


def test_a_machine_that_does_not_answer_any_more(with_machine: WithMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real, "HEARTBEAT", 0.1)

    def work(machine: RealMachine, made: Lent) -> None:
        made.keeper.kill()
        assert poll(lambda: not machine.alive(), Deadline.after(20))
        found = machine.unusable([])
        assert found is not None
        assert found.startswith(("root@dut does not answer any more", "the connection to root@dut ended"))
        with pytest.raises((InfrastructureError, AgentError)):
            real.boot(made.plan)

    with_machine(work)


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    plan = HardwarePlan(
        driver="veth",
        output=tmp_path / "out",
        scratch=tmp_path / "run",
        areas=("smoke",),
        dut="root@dut",
        remote="netns:peer wire0",
        remote_mtu=9000,
        sockets=tmp_path / "s",
        stream=7,
        kernel_release="6.12.1",
        cpus=8,
        device=DEVICE,
    )
    plan.dump(tmp_path / "plan.json")
    assert plans.load(tmp_path / "plan.json") == plan
    assert (plan.release, plan.tested.module, str(plan.subject)) == (
        "6.12.1",
        "veth",
        "eth9 of the real machine root@dut (virtual)",
    )
    known = dataclasses.replace(plan, driver="ixgbe", device={**DEVICE, "module": "ixgbe"})
    assert known.tested.claims, "the registry has it"
    assert str(known.tested.subject).startswith("eth9 of the real machine")
