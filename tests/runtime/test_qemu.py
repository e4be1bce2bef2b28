# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's command line, its monitor and its exit, with a fake QEMU."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from plugfest.deadline import Deadline
from plugfest.errors import InfrastructureError
from plugfest.machine import qemu as qemu_module
from plugfest.machine.qemu import CHANNELS, CONSOLE, PORTS, Qemu, QemuCommand
from plugfest.machine.qmp import QmpError
from plugfest.provision.artifact import GuestRoot, Kernel, Toolchain

Start = Callable[[str], Qemu]


@pytest.fixture
def command(kernel: Kernel, root: GuestRoot) -> QemuCommand:
    return QemuCommand(
        Toolchain(("/opt/ld.so", "qemu-system-x86_64"), "11.1.3", "d"), kernel, root, "tcg", "console=ttyS0 quiet"
    )


@pytest.fixture
def start(fake_toolchain: Callable[[str], Toolchain], kernel: Kernel, root: GuestRoot, tmp_path: Path) -> Start:
    def make(behaviour: str) -> Qemu:
        return Qemu(QemuCommand(fake_toolchain(behaviour), kernel, root, "tcg", ""), log=tmp_path / "console.log")

    return make


def after(argv: list[str], option: str) -> list[str]:
    return [argv[at + 1] for at, argument in enumerate(argv) if argument == option]


def test_command_line(command: QemuCommand) -> None:
    argv = command.argv(channels={name: number for number, name in enumerate([CONSOLE, *CHANNELS], 10)})
    assert argv[:2] == ["/opt/ld.so", "qemu-system-x86_64"]
    assert after(argv, "-append") == ["console=ttyS0 quiet"]
    assert "memory-backend-memfd,id=memory,size=1024M,share=on" in after(argv, "-object")
    assert after(argv, "-cpu") == ["max,erms=off,fsrm=off" if command.acceleration == "tcg" else "host"]
    assert after(argv, "-chardev") == [
        "socket,id=serial1,fd=11",
        "socket,id=monitor,fd=12",
        "file,id=serial0,path=/dev/fdset/1,append=on",
    ]
    assert after(argv, "-add-fd") == ["fd=10,set=1"]
    assert "-incoming" not in argv
    (netdev,) = after(argv, "-netdev")
    assert "restrict=on" in netdev
    assert "hostfwd=tcp:127.0.0.1:2222-10.0.2.15:22" in netdev
    assert "hostfwd=tcp:127.0.0.1:2223-10.0.2.15:2223" in netdev
    assert len([device for device in after(argv, "-device") if device.startswith("pcie-root-port")]) == PORTS
    assert all("read-only=on" in drive for drive in after(argv, "-blockdev"))


def test_incoming_command_differs_in_nothing_else(command: QemuCommand) -> None:
    channels = dict.fromkeys([CONSOLE, *CHANNELS], 3)
    assert command.argv(channels=channels, incoming=True) == [*command.argv(channels=channels), "-incoming", "defer"]


def test_dry_run_listens_on_sockets(command: QemuCommand, tmp_path: Path) -> None:
    *_, monitor, console = after(command.argv(channels=tmp_path), "-chardev")
    assert monitor == f"socket,id=monitor,path={tmp_path}/monitor,server=on,wait=off"
    assert console == f"file,id=serial0,path={tmp_path}/console.log"


def test_comma_in_a_path_is_doubled(command: QemuCommand) -> None:
    assert qemu_module._escaped(Path("/a,b/root.erofs")) == "/a,,b/root.erofs"


def test_devices() -> None:
    device = qemu_module.vfio_user_device("dut1", 2, Path("/run/model"))
    assert device["socket"] == {"type": "unix", "path": "/run/model"}
    assert device["bus"] == "port2"
    assert qemu_module.port_address(2) == "0000:00:12.0"
    nic = qemu_module.emulated_device("igb", "dut1", 0, netdev="n", mac="02:70:66:00:00:01", properties={"x": 1})
    assert (nic["driver"], nic["mac"], nic["x"]) == ("igb", "02:70:66:00:00:01", 1)
    assert qemu_module.tap_netdev("n", "wire0")["vnet_hdr"] is False
    assert "queues" not in qemu_module.tap_netdev("n", "wire0")
    assert qemu_module.tap_netdev("n", "wire0", 4)["queues"] == 4


def test_monitor(start: Start) -> None:
    qemu = start("boots")
    try:
        assert qemu.qmp.execute("query-status") == {"status": "running", "running": True}
        with pytest.raises(QmpError, match=r"QEMU returned an error for reject {'a': 1}: it is not possible"):
            qemu.qmp.execute("reject", {"a": 1})
        with pytest.raises(QmpError, match="expected a reply to ignore from QEMU within 0 s, found none"):
            qemu.qmp.execute("ignore", timeout=0.2)
        assert qemu.qmp.execute("query-status")["running"]
    finally:
        qemu.quit()
    assert not qemu.alive()
    qemu.quit()


def test_events_are_waited_for_and_kept(start: Start) -> None:
    qemu = start("boots")
    try:
        assert qemu.qmp.wait_event("RESET", deadline=Deadline.after(0.05)) is None
        mark = qemu.qmp.mark
        waiting = threading.Timer(0.1, lambda: qemu.qmp.execute("announce"))
        waiting.start()
        event = qemu.qmp.wait_event("SHUTDOWN", "RESET", deadline=Deadline.after(10), mark=mark)
        assert event is not None
        assert event["data"] == {"guest": True}
        assert [each["event"] for each in qemu.qmp.events(mark)] == ["RESET"]
        waiting.join()
    finally:
        qemu.quit()


def test_console_from_the_first_byte(start: Start, tmp_path: Path) -> None:
    qemu = start("boots")
    assert qemu.console.wait_for(lambda line: "Unable to mount" in line, Deadline.after(10)) is not None
    qemu.quit()
    assert (tmp_path / "console.log").read_bytes().startswith(b"[    0.000000] Linux version")


def test_qemu_that_does_not_start_has_a_reason(start: Start) -> None:
    with pytest.raises(
        InfrastructureError,
        match="expected QEMU to start, found: QEMU ended with exit status 1: -accel kvm: failed to initialize kvm: No such device",
    ):
        start("dies")


def test_qemu_that_vanishes(start: Start) -> None:
    qemu = start("vanishes")
    qemu.qmp.execute("cont")
    with pytest.raises(QmpError, match="QEMU did not execute query-status: QEMU ended with exit status 3"):
        qemu.qmp.execute("query-status")
    qemu.quit()


def test_qemu_that_is_killed(start: Start) -> None:
    qemu = start("silent")
    qemu._process.kill()
    assert qemu.exit_reason() == "QEMU ended by signal 9 (SIGKILL)"
    qemu.quit()


def test_program_that_is_not_there(kernel: Kernel, root: GuestRoot, tmp_path: Path) -> None:
    command = QemuCommand(Toolchain(("/nowhere/qemu",), "11", "d"), kernel, root, "tcg", "")
    with pytest.raises(InfrastructureError, match="expected QEMU at /nowhere/qemu, found: No such file"):
        Qemu(command, log=tmp_path / "console.log")


def test_a_console_that_cannot_be_kept_ends_qemu(
    fake_toolchain: Callable[[str], Toolchain],
    kernel: Kernel,
    root: GuestRoot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **more: started.append(popen(*args, **more)) or started[-1])
    (tmp_path / "file").touch()
    with pytest.raises(
        InfrastructureError, match=r"console\.log: expected to write the guest's console there, found: "
    ):
        Qemu(QemuCommand(fake_toolchain("silent"), kernel, root, "tcg", ""), log=tmp_path / "file" / "console.log")
    assert started[0].poll() is not None
