# SPDX-License-Identifier: GPL-2.0-or-later
"""Real guests: booted, stored, restored, crashed, rebooted, with QEMU's igb and with our 82599."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from plugfest.deadline import Deadline, poll, until
from plugfest.dut.dut import Dut
from plugfest.errors import InfrastructureError
from plugfest.machine import virtual
from plugfest.machine.console import Problem
from plugfest.machine.guest import Guest
from plugfest.machine.machine import DriverLoadError
from plugfest.machine.qemu import PORTS
from plugfest.machine.snapshot import Snapshots
from plugfest.machine.ssh import GuestGone
from plugfest.machine.virtual import VirtualMachine
from plugfest.provision.kernel import CHANNELS, ensure_kernel
from plugfest.provision.settings import ProvisionSettings
from plugfest.run import sandbox
from plugfest.run.plan import RunPlan
from scapy.utils import rdpcap

Inside = Callable[[Callable[[], object]], None]


def pings(machine: VirtualMachine) -> None:
    until(lambda: Dut(machine).carrier, what="the carrier comes up", timeout=10, speed=machine.speed)
    for address in ("198.18.0.1", "2001:db8::1"):
        machine.ssh.run(f"ping -c 2 -i 0.2 -W 10 {address}")


def no_problems(machine: VirtualMachine) -> None:
    machine.synchronize()
    assert machine.console.problems_since(0) == []


def test_boot_store_restore(boot: Callable[..., None]) -> None:
    def first(machine: VirtualMachine) -> None:
        assert machine.startup.startswith(("booted in", "restored from a snapshot in"))
        assert machine.agent.call("link.get", ifname=machine.ifname)["driver"] == "igb"
        assert abs(machine.agent.call("system.clock")["realtime"] - time.time()) < 2
        machine.agent.call("files.write", path="/run/witness", text="x", create=True)
        pings(machine)
        no_problems(machine)

    def second(machine: VirtualMachine) -> None:
        assert machine.startup.startswith("restored from a snapshot in")
        # Every hung task is reported within a test's time, which is longer on a slow guest.
        hung = machine.ssh.run("cat /proc/sys/kernel/hung_task_timeout_secs /proc/sys/kernel/hung_task_warnings").stdout
        assert hung.split() == [str(min(120, max(12, round(12 / machine.speed)))), "-1"]
        lockup = machine.ssh.run("cat /proc/sys/kernel/watchdog_thresh").stdout
        assert lockup.strip() == str(min(60, max(10, round(10 / machine.speed))))
        assert not machine.agent.call("files.exists", path="/run/witness")
        assert abs(machine.agent.call("system.clock")["realtime"] - time.time()) < 2
        pings(machine)
        no_problems(machine)

    boot(first)
    boot(second)


@pytest.mark.parametrize("channel", CHANNELS)
def test_the_guests_clock_is_the_hosts(
    boot: Callable[..., None], provisioning: ProvisionSettings, channel: str
) -> None:
    """A kernel that calibrates its clock on a loaded host must not take another rate for it, which its snapshot would keep."""

    def work(machine: VirtualMachine) -> None:
        def read() -> tuple[float, float, float]:
            begin = time.monotonic()
            return begin, machine.agent.call("system.clock")["boottime"], time.monotonic()

        before = read()
        poll(lambda: False, Deadline.after(2))
        after = read()
        seconds = after[1] - before[1]
        assert 0.99 * (after[0] - before[2]) <= seconds <= 1.01 * (after[2] - before[0])

    boot(work, kernel=ensure_kernel(provisioning, channel))


def test_twins_of_a_snapshot_differ_in_their_random_numbers(plan: RunPlan, inside: Inside, tmp_path: Path) -> None:
    def check() -> None:
        command = virtual.qemu_command(plan)
        assert plan.snapshots is not None
        seen = []
        for _ in range(3):
            guest = Guest(command, log=tmp_path / "console.log", snapshots=Snapshots(plan.snapshots))
            seen.append(guest.agent.call("system.entropy"))
            guest.close()
        assert len(set(seen)) == 3

    inside(check)


def test_of_two_guests_without_a_snapshot_one_boots_and_the_other_waits_for_it(
    plan: RunPlan, inside: Inside, tmp_path: Path
) -> None:
    def payload() -> None:
        reading, writing = os.pipe()
        other = os.fork()
        if other == 0:
            sandbox.enter_own_network()
        snapshots = Snapshots(tmp_path / "snapshots")
        guest = Guest(virtual.qemu_command(plan), log=tmp_path / f"console-{other}.log", snapshots=snapshots)
        guest.close()
        if other == 0:
            os.write(writing, guest.startup.encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as answer:
            boots = sorted([guest.startup, answer.read()])
        assert boots[0].startswith("booted in ")
        assert boots[0].endswith("(there was no snapshot yet)")
        assert boots[1].startswith("restored from a snapshot in ")
        assert boots[1].endswith("(after another guest had stored it)")

    inside(payload)


def test_damaged_snapshot_is_deleted_and_reported(plan: RunPlan, inside: Inside, tmp_path: Path) -> None:
    def check() -> None:
        command = virtual.qemu_command(plan)
        assert plan.snapshots is not None
        snapshots = Snapshots(plan.snapshots)
        Guest(command, log=tmp_path / "console.log", snapshots=snapshots).close()
        stored = snapshots.find(command)
        assert stored is not None
        with stored.state.open("r+b") as file:
            file.write(bytes(4096))
        guest = Guest(command, log=tmp_path / "console.log", snapshots=snapshots)
        assert guest.startup.startswith("booted in ")
        assert "the snapshot did not restore and was deleted: " in guest.startup
        assert guest.ssh.run("echo alive").stdout == "alive\n"
        guest.close()
        again = snapshots.find(command)
        assert again is not None
        again.verify()

    inside(check)


def test_panic_is_noticed_at_once(boot: Callable[..., None]) -> None:
    def work(machine: VirtualMachine) -> None:
        begin = time.monotonic()
        with pytest.raises(
            GuestGone, match="the guest's kernel panicked: Kernel panic - not syncing: sysrq triggered crash"
        ):
            machine.ssh.run("echo c > /proc/sysrq-trigger", timeout=120)
        assert time.monotonic() - begin < 60
        assert not machine.alive()
        (problem,) = machine.console.problems_since(0)
        assert (problem.kind, problem.fatal) == ("panic", True)
        assert "sysrq_handle_crash" in problem.excerpt

    boot(work)


def test_warnings_of_the_kernel_reach_the_console(boot: Callable[..., None]) -> None:
    """A line at KERN_WARNING, as WARN() prints: "quiet" and a console's log level could have hidden it."""

    def work(machine: VirtualMachine) -> None:
        mark = machine.console.mark()
        machine.agent.call(
            "files.write", path="/dev/kmsg", text="<4>WARNING: made/up.c:1 at plugfest+0x0/0x0, CPU#0: agent/1\n"
        )
        machine.synchronize()
        found: list[Problem] = machine.console.problems_since(mark)
        assert [problem.kind for problem in found] == ["WARNING"]

    boot(work)


def test_the_console_loses_nothing_while_its_reader_has_no_core(boot: Callable[..., None]) -> None:
    lines = [f"line {number} of a report that is as long as the kernel's" for number in range(400)]

    def work(machine: VirtualMachine) -> None:
        mark = machine.console.mark()
        with machine.console._changed:  # the thread stops at the next line
            machine.agent.call("files.write", path="/proc/sys/kernel/printk_devkmsg", text="on\n")
            machine.agent.call("files.write", path="/tmp/lines", text="\n".join([*lines, ""]), create=True)
            machine.agent.call(
                "process.run",
                command=["sh", "-c", "while read -r line; do echo $line >/dev/kmsg; done </tmp/lines"],
                timeout=120,
            )
        machine.synchronize()
        found = machine.console.text_since(mark)
        assert [line for line in lines if line not in found] == []

    boot(work, driver="igb")


def test_driver_that_finds_no_device(boot: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine still comes up, so that the suite can report what failed."""

    def work(machine: VirtualMachine) -> None:
        with pytest.raises(
            DriverLoadError,
            match=r"expected igb to create a netdev within .* s, found PCI device 0000:01:00\.0 without one",
        ):
            Dut(machine)
        assert machine.ssh.run("echo alive").stdout == "alive\n"

    monkeypatch.setattr(VirtualMachine, "probe_timeout", 0.3)
    monkeypatch.setattr(VirtualMachine, "_load_module", lambda _machine: None)
    boot(work)


@pytest.mark.parametrize("driver", ["igb", "ixgbe"])
def test_reboot_with_the_nic_plugged(boot: Callable[..., None], driver: str) -> None:
    def work(machine: VirtualMachine) -> None:
        before = machine.agent.call("system.clock")["boottime"]
        machine.reboot()
        assert machine.agent.call("system.clock")["boottime"] < before + 60
        pings(machine)
        no_problems(machine)

    boot(work, driver=driver)


def test_the_device_of_a_model_that_waits_for_a_core_stays(boot: Callable[..., None]) -> None:
    def work(machine: VirtualMachine) -> None:
        stopped = [process.pid for process in machine._processes]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        timer = threading.Timer(7, lambda: [os.kill(pid, signal.SIGCONT) for pid in stopped])
        timer.start()
        dump = machine.agent.call("process.run", command=["ethtool", "-d", machine.ifname], timeout=60)
        timer.join()
        assert dump["exit_status"] == 0
        pings(machine)
        no_problems(machine)

    boot(work, driver="ixgbe")


def test_what_a_model_without_privileges_recorded_is_in_the_output_folder(boot: Callable[..., None]) -> None:
    def work(machine: VirtualMachine) -> None:
        assert machine.model is not None
        capture = machine.plan.guest_output / "wire.pcap"
        machine.model.record_wire(capture)
        pings(machine)
        assert machine.model.stop_recording() >= len(rdpcap(str(capture))) > 0

    boot(work, driver="ixgbe")


@pytest.mark.parametrize("driver", ["igb", "ixgbe"])
def test_another_device_in_another_port(boot: Callable[..., None], driver: str) -> None:
    def work(machine: VirtualMachine) -> None:
        machine.replace_nic()
        pings(machine)
        no_problems(machine)
        for _ in range(PORTS - 2):
            machine.replace_nic()
        with pytest.raises(InfrastructureError, match=f"expected a free PCIe port, found all {PORTS} used"):
            machine.replace_nic()

    boot(work, driver=driver)


RUNNER = """
import sys, time
from pathlib import Path
from plugfest.machine import virtual
from plugfest.run import sandbox
from plugfest.run.plan import RunPlan
plan = RunPlan.load(Path(sys.argv[1]))
def payload():
    booted = virtual.boot(plan)
    sys.stdout.write("ready\\n"); sys.stdout.flush()
    time.sleep(1000)
sandbox.enter(payload, folder=plan.scratch)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_runner_that_is_killed_takes_qemu_and_the_model_along(
    plan: RunPlan, namespaces: None, tmp_path: Path, number: signal.Signals
) -> None:
    dataclasses.replace(plan, driver="ixgbe", scratch=tmp_path / "run", output=tmp_path).dump(tmp_path / "plan.json")
    runner = subprocess.Popen(
        [sys.executable, "-c", RUNNER, str(tmp_path / "plan.json")], stdout=subprocess.PIPE, text=True
    )
    assert runner.stdout is not None
    assert runner.stdout.readline() == "ready\n"

    def ours() -> list[str]:
        """Processes that name this test's folder: QEMU by the model's socket, the model by both."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                argv = path.read_bytes()
            except OSError:
                continue
            if str(tmp_path / "run").encode() in argv or str(tmp_path / "plan.json").encode() in argv:
                found.append(argv.decode(errors="replace").replace("\0", " "))
        return found

    assert any("nicmodels" in argv for argv in ours())
    runner.send_signal(number)
    runner.communicate(timeout=60)
    assert poll(lambda: not ours(), Deadline.after(20)), ours()
    assert str(tmp_path / "run") not in Path("/proc/self/mountinfo").read_text()
    assert list((tmp_path / "run").iterdir()) == []
