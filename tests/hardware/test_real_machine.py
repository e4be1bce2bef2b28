# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest run --dut`` on a guest that stands for a real machine, with a network namespace at the other end of its wire."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from machine_stand_in import StandIn, stand_in
from plugfest.deadline import Deadline, poll
from plugfest.errors import InfrastructureError
from plugfest.machine.acceleration import choose
from plugfest.provision.kernel import ensure_kernel
from plugfest.provision.root import ensure_root
from plugfest.provision.settings import ProvisionSettings
from plugfest.provision.toolchain import ensure_toolchain
from plugfest.run.plan import RunPlan

NEEDS_MODEL = "needs the model: "
VERDICTS = {
    "SMOKE-PROBE-01": {"pass"},
    "SMOKE-MODULE-01": {"pass"},
    "SMOKE-PING-01": {"pass"},
    "LINK-CARRIER-01": {"skip"},
    "OFFLOAD-TSO-01": {"pass"},
    "XDP-BASIC-01": {"pass"},
    "XDP-XSK-01": {"pass"},
    "XDP-XSK-03": {"pass"},
    "XDP-XSK-04": {"pass"},
}
"""Of ixgbe on our model, whichever way it is reached: on loan it must neither get worse nor be skipped for what the loan takes away."""


@pytest.fixture(scope="module")
def machine(provisioning: ProvisionSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """The stand-in, with settings of a user's on its interface."""
    if os.geteuid():
        pytest.skip("a network namespace for the far end needs root")
    toolchain, kernel = ensure_toolchain(provisioning), ensure_kernel(provisioning)
    acceleration = choose("auto", toolchain, kernel, cache=provisioning.cache)
    folder = tmp_path_factory.mktemp("si")
    plan = RunPlan(
        driver="ixgbe",
        toolchain=toolchain,
        root=ensure_root(provisioning),
        kernel=kernel,
        acceleration=acceleration.name,
        acceleration_reason=acceleration.reason,
        output=folder,
        scratch=folder,
        snapshots=folder / "snapshots",
    )
    with stand_in(plan, folder, name=f"peer-{os.getpid()}", port=2300 + os.getpid() % 1000) as standing:
        for command in (
            "ip link set eth0 up mtu 1400",
            "ip address add 203.0.113.7/24 dev eth0",
            "ip route add 198.51.100.0/24 via 203.0.113.1 dev eth0",
            "ethtool -G eth0 rx 256",
            "ethtool -L eth0 combined 1",
            "ethtool -K eth0 gro off",
        ):
            standing.guest.ssh.run(command)
        yield standing


def settings(machine: StandIn) -> str:
    """What the machine's user sees of the interface, without what counts."""
    commands = (
        "cat /sys/class/net/eth0/mtu",
        "ip -br address show dev eth0 | sed 's,fe80[^ ]*,,'",
        "ip route show dev eth0",
        "ethtool -g eth0",
        "ethtool -l eth0",
        "ethtool -k eth0",
        "ethtool -x eth0",
        "ls /sys/class/net",
        "cat /proc/sys/kernel/hung_task_timeout_secs /proc/sys/net/core/default_qdisc",
        "ls -d /run/plugfest-* 2>/dev/null",
    )
    return machine.guest.ssh.run("; ".join(commands), check=False).stdout


def start(machine: StandIn, output: Path, *arguments: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "plugfest", "run", *machine.options(), "--output", str(output), *arguments]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def report(output: Path) -> Mapping[str, Any]:
    found: dict[str, Any] = json.loads((output / "report.json").read_text())
    return found


def test_the_suite_judges_it_and_gives_it_back(machine: StandIn, tmp_path: Path) -> None:
    before = settings(machine)
    run = start(machine, tmp_path / "out", "--", "-k", " or ".join(VERDICTS))
    printed, _ = run.communicate(timeout=400)
    assert "not restored" not in printed
    found = report(tmp_path / "out")
    verdicts: dict[str, set[str]] = {}
    for result in found["results"]:
        verdicts.setdefault(result["requirement"], set()).add(result["verdict"])
    assert verdicts == VERDICTS, printed
    assert run.returncode == 0, printed
    reasons = {result["reason"] for result in found["results"] if result["requirement"] == "LINK-CARRIER-01"}
    assert all(reason.startswith(NEEDS_MODEL) for reason in reasons)
    machine_described = found["run"]["testbed"]["machine"]
    assert (found["run"]["subject"]["kind"], machine_described["driver"]) == ("hardware", "ixgbe")
    assert machine_described["pci-id"] == "8086:1517"
    assert settings(machine) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_runner_that_ends_early_leaves_the_machine_as_it_was(
    machine: StandIn, tmp_path: Path, number: signal.Signals
) -> None:
    before = settings(machine)
    run = start(machine, tmp_path / "out", "--area", "smoke")
    journal = tmp_path / "out" / "journal.jsonl"
    assert poll(lambda: journal.exists() and '"event": "result"' in journal.read_text(), Deadline.after(120))
    assert settings(machine) != before, "the interface is on loan"
    run.send_signal(number)
    printed, _ = run.communicate(timeout=120)
    if number is signal.SIGINT:
        assert run.returncode == 130, printed
        assert report(tmp_path / "out")["summary"]["pass"]
    assert poll(lambda: settings(machine) == before, Deadline.after(60)), settings(machine)


@pytest.mark.parametrize(
    ("ifname", "message"),
    [
        ("mgmt0", "found that mgmt0 carries it"),
        ("lo", "expected the interface lo, found eth0"),
        ("eth7", "expected the interface eth7, found eth0"),
    ],
)
def test_an_interface_that_it_does_not_lend(machine: StandIn, ifname: str, message: str) -> None:
    options = [ifname if word == "eth0" else word for word in machine.options()]
    done = subprocess.run(
        [sys.executable, "-m", "plugfest", "run", *options], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 3
    (line,) = done.stderr.strip().splitlines()
    assert message in line


def test_a_machine_that_crashes_ends_the_run_and_loses_no_result(machine: StandIn, tmp_path: Path) -> None:
    """The last test: nothing is left of the machine."""
    run = start(machine, tmp_path / "out", "--area", "smoke")
    journal = tmp_path / "out" / "journal.jsonl"
    assert poll(lambda: journal.exists() and journal.read_text().count('"event": "result"') > 2, Deadline.after(120))
    with suppress(InfrastructureError):
        machine.guest.ssh.run("echo c > /proc/sysrq-trigger", check=False, timeout=5)
    printed, _ = run.communicate(timeout=240)
    assert run.returncode == 3, printed
    assert f"not restored: {machine.dut} eth0: expected it to be given back as it was" in printed.replace("\n", " ")
    found = report(tmp_path / "out")
    assert found["summary"]["pass"] > 1
    assert found["summary"]["miss"] > 1
    assert not found["run"]["complete"]
