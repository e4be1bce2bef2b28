# SPDX-License-Identifier: GPL-2.0-or-later
"""What a real machine lends: which interface it refuses to, and how it puts settings back."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

RECIPES = Path(__file__).parents[2] / "guest-images"
SSH = "192.0.2.9 50000 192.0.2.1 22"


@pytest.fixture(autouse=True)
def on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(RECIPES))


class Machine:
    """A machine with sysfs and interfaces, of which eth0 has the address that SSH comes in by."""

    def __init__(self, folder: Path) -> None:
        self.sysfs = folder / "class"
        self.sysfs.mkdir()
        self.devices = folder / "devices"
        self.addresses = {"eth0": "192.0.2.1/24"}
        self.toward = "eth0"
        self.programs: dict[str, dict[str, Any]] = {}
        self.add("eth0", "0000:01:00.0")

    def add(self, ifname: str, device: str | None = None, driver: str | None = "ixgbe") -> Path:
        link = self.sysfs / ifname
        link.mkdir()
        if device is not None:
            place = self.devices / "pci0000:00" / device
            place.mkdir(parents=True, exist_ok=True)
            (link / "device").symlink_to(place)
        (link / "driver-of-test").write_text(driver or "")
        return link

    def names(self) -> list[str]:
        return ["lo", *sorted(path.name for path in self.sysfs.iterdir())]

    def get(self, ifname: str) -> dict[str, Any]:
        return {"driver": (self.sysfs / ifname / "driver-of-test").read_text() or None}


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    from agent.hardware import device as module

    return module


@pytest.fixture
def machine(tmp_path: Path, device: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path)
    monkeypatch.setattr(device, "CLASS", made.sysfs)
    monkeypatch.setattr(device.link, "list_all", made.names)
    monkeypatch.setattr(device.link, "get", made.get)
    monkeypatch.setattr(device.link, "xdp", lambda ifname: made.programs.get(ifname, {"attached": "none"}))

    def addresses(ifname: str) -> list[dict[str, Any]]:
        return [{"address": made.addresses[ifname]}] if ifname in made.addresses else []

    monkeypatch.setattr(device.link, "addresses", addresses)
    monkeypatch.setattr(device, "manager", lambda _ifname: None)
    monkeypatch.setattr(device, "TCP", (tmp_path / "tcp", tmp_path / "tcp6"))
    monkeypatch.setattr(device, "_toward", lambda _address: {made.toward})
    return made


def refusal(device: ModuleType, ifname: str, *, routes: tuple[str, ...] = ("eth0",), connection: str = SSH) -> str:
    with pytest.raises(device.RefusedError) as found:
        device.check(ifname, connection, set(routes))
    text = str(found.value)
    assert "\n" not in text
    return text


def test_an_interface_of_its_own_is_lent(machine: Machine, device: ModuleType) -> None:
    machine.add("eth1", "0000:02:00.0")
    device.check("eth1", SSH, {"eth0"})
    device.check("eth1", "::ffff:192.0.2.9 50000 ::ffff:192.0.2.1 22", {"eth0"})
    device.check("eth1", "::ffff:192.0.2.9 50000 fe80::1%eth0 22", {"eth0"})


def test_no_second_interface(machine: Machine, device: ModuleType) -> None:
    assert refusal(device, "eth1") == (
        "expected a second interface beside eth0, by which the SSH session comes in, found none; "
        "add one, and connect it to the remote end"
    )


def test_a_name_that_none_has(machine: Machine, device: ModuleType) -> None:
    machine.add("ens1", "0000:02:00.0")
    assert "expected the interface eth1, found ens1" in refusal(device, "eth1")


def test_the_management_interface(machine: Machine, device: ModuleType) -> None:
    machine.add("eth1", "0000:02:00.0")
    assert "found that eth0 carries it" in refusal(device, "eth0", routes=())


def test_the_interface_of_the_route_to_the_client(machine: Machine, device: ModuleType) -> None:
    machine.add("eth1", "0000:02:00.0")
    machine.toward = "eth1"
    for name in ("eth0", "eth1"):
        assert f"expected another interface than eth0, eth1, by which the SSH session comes in, found that {name}" in (
            refusal(device, name, routes=())
        )


@pytest.mark.parametrize("connection", ["", "UNKNOWN 65535 UNKNOWN 65535", "192.0.2.9 50000"])
def test_an_unknown_management_interface(machine: Machine, device: ModuleType, connection: str) -> None:
    machine.add("eth1", "0000:02:00.0")
    assert "expected SSH_CONNECTION to have the addresses" in refusal(device, "eth1", connection=connection)


@pytest.mark.parametrize("tunnel", ["wg0", "lo"])
def test_a_tunnel_does_not_show_its_nic(machine: Machine, device: ModuleType, tunnel: str) -> None:
    machine.add("wg0")
    machine.add("eth1", "0000:02:00.0")
    machine.addresses = {tunnel: "192.0.2.1/24"}
    machine.toward = tunnel
    assert f"expected an SSH session over a NIC, found it over {tunnel}" in refusal(device, "eth1")


def test_what_the_management_interface_stands_on(machine: Machine, device: ModuleType) -> None:
    bond = machine.add("bond0")
    machine.addresses = {"bond0": "192.0.2.1/24"}
    machine.toward = "bond0"
    port = machine.add("eth1", "0000:02:00.0")
    (bond / "lower_eth1").symlink_to(port)
    assert "found that eth1 carries it" in refusal(device, "eth1", routes=())


def test_the_default_route(machine: Machine, device: ModuleType) -> None:
    machine.add("eth1", "0000:02:00.0")
    assert "expected an interface without a default route" in refusal(device, "eth1", routes=("eth1",))


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda machine: machine.add("eth1"), "found that eth1 is a virtual one"),
        (lambda machine: machine.add("eth1", "0000:02:00.0", None), "expected a driver of eth1, found none"),
        (lambda machine: machine.add("eth1", "0000:01:00.0"), "by which the SSH session comes in; test another device"),
        (
            lambda machine: (machine.add("eth1", "0000:02:00.0"), machine.add("eth2", "0000:02:00.0")),
            "found that 0000:02:00.0 has eth2, too, which would go with it",
        ),
        (
            lambda machine: (machine.add("eth1", "0000:02:00.0") / "upper_br0").symlink_to("br0"),
            "expected that nothing stands on eth1, found br0",
        ),
    ],
)
def test_what_else_is_refused(
    machine: Machine, device: ModuleType, prepare: Callable[[Machine], object], message: str
) -> None:
    prepare(machine)
    assert message in refusal(device, "eth1")


def test_virtual_functions_and_programs(machine: Machine, device: ModuleType) -> None:
    machine.add("eth1", "0000:02:00.0")
    functions = machine.devices / "pci0000:00/0000:02:00.0/sriov_numvfs"
    functions.write_text("4\n")
    assert "expected no virtual functions of eth1, found 4" in refusal(device, "eth1")
    functions.write_text("0\n")
    machine.programs["eth1"] = {"attached": "native", "prog-id": 7}
    assert "expected no XDP program on eth1, found one (native, id 7)" in refusal(device, "eth1")


def test_connections(machine: Machine, device: ModuleType, tmp_path: Path) -> None:
    machine.add("eth1", "0000:02:00.0")
    machine.addresses |= {"eth1": "198.51.100.7/24", "eth2": "2001:db9::7/64"}
    heads = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    listening = "   0: 076433C6:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0\n"
    established = listening.replace(" 0A ", " 01 ")
    mapped = established.replace("076433C6", "0000000000000000FFFF0000076433C6")
    (tmp_path / "tcp").write_text(heads + listening)
    device.check("eth1", SSH, {"eth0"})
    (tmp_path / "tcp").write_text(heads + established)
    assert "expected no TCP connection of eth1, found one of 198.51.100.7" in refusal(device, "eth1")
    (tmp_path / "tcp").write_text(heads)
    (tmp_path / "tcp6").write_text(heads + mapped)
    assert "expected no TCP connection of eth1, found one of 198.51.100.7" in refusal(device, "eth1")
    (tmp_path / "tcp6").write_text(heads + established.replace("076433C6", "B90D0120000000000000000007000000"))
    assert device._connected() == {"2001:db9::7"}


def test_usb_and_rdma(machine: Machine, device: ModuleType) -> None:
    machine.add("eth1", "0000:02:00.0")
    place = machine.devices / "pci0000:00/0000:02:00.0"
    (place / "infiniband" / "mlx5_0").mkdir(parents=True)
    assert "expected no RDMA device on eth1, found mlx5_0" in refusal(device, "eth1")
    # The controller above a NIC on USB has more than that.
    on_usb = machine.add("usb0", "0000:03:00.0/usb1/1-2/1-2:1.0")
    assert device.bus_device("usb0").name == "1-2:1.0"
    (machine.devices / "bus" / "usb").mkdir(parents=True)
    (on_usb.joinpath("device").resolve() / "subsystem").symlink_to(machine.devices / "bus" / "usb")
    assert "found that usb0 is on USB" in refusal(device, "usb0")


def test_the_device_of_virtio(machine: Machine, device: ModuleType) -> None:
    machine.add("eth1", "0000:04:00.0/virtio3")
    assert device.bus_device("eth1").name == "0000:04:00.0"


def test_an_interface_that_something_manages(
    machine: Machine, device: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.add("eth1", "0000:02:00.0")
    monkeypatch.setattr(device, "manager", lambda ifname: ("networkd", f"release {ifname}"))
    assert "found that networkd manages eth1; release it: release eth1" in refusal(device, "eth1")


@pytest.fixture
def managers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    from agent.hardware import managers as module

    monkeypatch.setattr(module, "NETWORKD", tmp_path / "networkd")
    monkeypatch.setattr(module, "LINKS", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    return module


@pytest.mark.parametrize(
    ("script", "managed"),
    [
        ("echo '100 (connected)'", True),
        ("echo '30 (disconnected)'", True),
        ("echo '10 (unmanaged)'", False),
        ("echo 'Error: NetworkManager is not running.'; exit 8", False),
    ],
)
def test_network_manager(managers: ModuleType, tmp_path: Path, script: str, managed: bool) -> None:
    (tmp_path / "nmcli").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "nmcli").chmod(0o755)
    found = managers.manager("eth1")
    assert (found is not None) is managed
    if found:
        assert "unmanaged-devices=interface-name:eth1\\n' > " in found[1]


@pytest.mark.parametrize(
    ("runs", "state", "managed"),
    [(True, "configured", True), (True, "failed", True), (True, "unmanaged", False), (False, "configured", False)],
)
def test_networkd(managers: ModuleType, tmp_path: Path, runs: bool, state: str, managed: bool) -> None:
    if runs:
        (tmp_path / "networkd").symlink_to("0123")
    (tmp_path / str(socket.if_nametoindex("lo"))).write_text(f"# private\nADMIN_STATE={state}\nOPER_STATE=up\n")
    found = managers.manager("lo")
    assert (found is not None) is managed
    if found:
        assert "\n" not in found[1]
        assert found[1].endswith("networkctl reload")


# --- settings ---------------------------------------------------------------------------------------------------------


class Settings:
    """Settings of an interface: some that can be set, one that the driver refuses, and one that it does not have."""

    def __init__(self) -> None:
        self.now: dict[str, Any] = {"MTU": 1500, "rings": 512, "stuck": 1}
        self.calls: list[str] = []

    def table(self) -> dict[str, Any]:
        def setter(name: str) -> Callable[[str, Any], None]:
            def set_(_ifname: str, value: Any) -> None:
                self.calls.append(name)
                if name == "stuck":
                    raise OSError(errno.EBUSY, "Device or resource busy")
                if name == "rings" and self.now["MTU"] != 1500:
                    raise OSError(errno.EINVAL, "not with this MTU")
                self.now[name] = value

            return set_

        def getter(name: str) -> Callable[[str], Any]:
            def get(_ifname: str) -> Any:
                if name not in self.now:
                    raise OSError(errno.EOPNOTSUPP, "no")
                return self.now[name]

            return get

        return {name: (getter(name), setter(name)) for name in ("rings", "MTU", "stuck", "missing")}


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    from agent.hardware import record as module

    monkeypatch.setattr(module, "CARRIER_WAIT", 0.0)
    return module


def test_only_what_differs_is_put_back_in_whatever_order_it_takes(
    record: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings()
    monkeypatch.setattr(record, "SETTINGS", settings.table())
    before = record.read("eth1")
    assert before == {"rings": 512, "MTU": 1500, "stuck": 1}, "what the driver does not have is not in the record"
    settings.now |= {"MTU": 9000, "rings": 64}
    assert record.restore("eth1", before) == []
    assert settings.now == {"MTU": 1500, "rings": 512, "stuck": 1}
    assert settings.calls == ["rings", "MTU", "rings"]


def test_what_cannot_be_put_back_is_said_and_keeps_nothing_else_from_it(
    record: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings()
    monkeypatch.setattr(record, "SETTINGS", settings.table())
    before = record.read("eth1")
    settings.now |= {"MTU": 1400, "stuck": 0}
    assert record.restore("eth1", before) == ["stuck: [Errno 16] Device or resource busy"]
    assert settings.now["MTU"] == 1500


def test_what_the_driver_cannot_be_asked_for_any_more_keeps_nothing_from_being_put_back(
    record: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings()
    table = settings.table()
    monkeypatch.setattr(record, "SETTINGS", table)
    before = record.read("eth1")
    settings.now["MTU"] = 1400

    def fail(_ifname: str) -> Any:
        raise OSError(errno.EIO, "Input/output error")

    table["rings"] = (fail, table["rings"][1])
    assert record.restore("eth1", before) == ["rings: [Errno 5] Input/output error"]
    assert settings.now["MTU"] == 1500


@pytest.mark.parametrize(
    ("present", "line"),
    [
        ({"eth1": "stranger"}, "eth1 is gone: 0000:02:00.0 has no interface, and another device has the name eth1"),
        ({"eth1": "stranger", "eth9": "0000:02:00.0"}, "0000:02:00.0 has eth9, and another device has the name eth1"),
        ({}, "eth1 is gone: 0000:02:00.0 has no interface"),
        ({"eth1": "0000:02:00.0"}, None),
    ],
)
def test_another_device_that_got_the_name_is_left_alone(
    record: ModuleType, monkeypatch: pytest.MonkeyPatch, present: dict[str, str], line: str | None
) -> None:
    from agent.hardware import loan as module

    restored: list[str] = []
    lent = object.__new__(module.Loan)
    lent.ifname, lent._namespace, lent._settings = "eth1", None, {}
    lent._device = lent._bound = Path("0000:02:00.0")
    lent.wait = lambda _seconds: True  # type: ignore[method-assign]

    def restore(ifname: str, _settings: Any) -> list[str]:
        restored.append(ifname)
        return []

    def refuse(*_arguments: Any, **_settings: Any) -> None:
        raise OSError(errno.EEXIST, "File exists")

    for owner, attribute, value in (
        (module, "PROBE_TIMEOUT", 0.0),
        (module.link, "list_all", lambda: ["lo", *present]),
        (module.link, "set", refuse),
        (module.device, "bus_device", lambda name: Path(present[name]) if name in present else None),
        (module.device, "interfaces_of", lambda where: [name for name in present if present[name] == str(where)]),
        (record, "restore", restore),
    ):
        monkeypatch.setattr(owner, attribute, value)
    lines = lent.give_back()
    assert (restored, lines) == ((["eth1"], []) if line is None else ([], lines))
    assert line is None or line in lines[0]


PAIR = """
import json, subprocess, sys
def run(*command): subprocess.run(command, check=True)
run("ip", "link", "add", "left", "type", "veth", "peer", "name", "right")
for each in ("left", "right"):
    run("ip", "link", "set", each, "up")
run("ip", "address", "add", "192.0.2.1/24", "dev", "left")
run("ip", "route", "add", "198.51.100.0/24", "via", "192.0.2.7", "dev", "left")
run("ip", "link", "set", "left", "mtu", "1400", "txqueuelen", "77")
from agent.hardware import record
from agent.hardware.loan import named
assert named("to 192.0.2.1") == "left"
before = json.loads(json.dumps(record.read("left")))
run("ip", "address", "flush", "dev", "left")
run("ip", "link", "set", "left", "mtu", "9000", "txqueuelen", "5", "address", "02:00:00:00:00:77")
run("ip", "link", "set", "left", "down")
from agent.ethtool import features
features.set("left", {"tx-checksum-ip-generic": False})
open("/proc/sys/net/ipv4/conf/left/rp_filter", "w").write("2")
changed = [name for name, value in before.items() if record.read("left").get(name) != value]
left = record.restore("left", before)
now = record.read("left")
print(json.dumps({"changed": changed, "left": left, "same": json.loads(json.dumps(now)) == before}))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a network namespace: needs root")
def test_the_settings_of_a_real_interface_are_put_back() -> None:
    done = subprocess.run(
        ["unshare", "--net", "--mount", sys.executable, "-c", PAIR],
        env=os.environ | {"PYTHONPATH": str(RECIPES)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {"address", "MTU", "queue length", "up", "addresses", "routes", "features", "kernel parameters"} <= {
        *found["changed"]
    }
    assert found["left"] == []
    assert found["same"]


# --- the far end ------------------------------------------------------------------------------------------------------


class FullDevice:
    """A packet socket whose device takes no frame."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.sent: list[bytes] = []

    def send(self, frame: bytes) -> None:
        if self.number:
            raise OSError(self.number, "no")
        self.sent.append(frame)


@pytest.fixture
def relay(monkeypatch: pytest.MonkeyPatch) -> Any:
    from agent.hardware import far_end as module

    monkeypatch.setattr(module, "SEND_TIMEOUT", 0.05)
    made = object.__new__(module.Relay)
    reading, made.runner = socket.socketpair()
    made.kept = reading
    made._reading, made._lost, made._stuck = reading.fileno(), 0, False
    return made


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOBUFS])
def test_a_device_that_takes_no_frame_is_waited_for_once(relay: Any, number: int) -> None:
    relay._socket = FullDevice(number)
    begin = time.monotonic()
    for _ in range(1000):
        relay._send(b"frame")
    assert 0.05 <= time.monotonic() - begin < 1
    assert relay._lost == 1000
    relay._socket.number = 0
    relay._send(b"frame")
    assert (relay._socket.sent, relay._stuck) == ([b"frame"], False)


def test_a_device_is_not_waited_for_when_the_runner_is_gone(relay: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[type(relay).__module__], "SEND_TIMEOUT", 30.0)
    relay._socket = FullDevice(errno.EAGAIN)
    relay.runner.sendall(b"what it has sent before")
    relay.runner.shutdown(socket.SHUT_WR)
    begin = time.monotonic()
    relay._send(b"frame")
    assert time.monotonic() - begin < 1
    assert relay._lost == 1


@pytest.mark.parametrize(
    ("step", "events", "failures"),
    [
        ("prepare", ["refused"], []),
        ("run", ["ready"], ["its relay failed: [Errno 5] Input/output error"]),
        ("finish", ["ready"], ["its relay failed: [Errno 5] Input/output error"]),
        (None, ["ready"], []),
    ],
)
def test_what_fails_at_the_far_end_is_said(
    monkeypatch: pytest.MonkeyPatch, step: str | None, events: list[str], failures: list[str]
) -> None:
    from agent.hardware import far_end as module

    seen: list[str] = []

    class Stub:
        def __init__(self, *_: object) -> None:
            pass

        def run(self) -> None:
            pass

        def finish(self) -> None:
            pass

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(module, "Relay", Stub)
    monkeypatch.setattr(module, "prepare", lambda _ifname: 1500)
    monkeypatch.setattr(module, "event", lambda _writing, name, **_fields: seen.append(name))
    if step is not None:
        monkeypatch.setattr(*((module, step) if step == "prepare" else (Stub, step)), fail)
    with Path(os.devnull).open() as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        assert module._relay("eth1", 1) == failures
    assert seen == events


def test_what_is_left_goes_out_whole_before_an_event(relay: Any) -> None:
    relay.runner.settimeout(5)
    writing = os.dup(relay._reading)
    os.set_blocking(writing, False)
    relay._writing, relay._outgoing = writing, bytearray(4 << 20)
    found = 0

    def read() -> None:
        nonlocal found
        while found < 4 << 20:
            found += len(relay.runner.recv(1 << 16))

    reader = threading.Thread(target=read)
    reader.start()
    relay.finish()
    reader.join(5)
    os.close(writing)
    assert (found, len(relay._outgoing)) == (4 << 20, 0)
    relay._writing, relay._outgoing = relay._reading, bytearray(4 << 20)
    relay.finish()  # nobody reads
    assert relay._outgoing


BELONGINGS = """
import json, subprocess
def run(command): subprocess.run(command.split(), check=True)
def make():
    run("ip link add left type veth peer name right")
    run("ip link set left up")
    run("ip link set right up")
make()
for command in (
    "ip address add 192.0.2.1/24 brd + metric 77 label left:one dev left",
    "ip address add 192.0.2.9/32 scope link dev left",
    "ip address add 203.0.113.1 peer 203.0.113.2/32 dev left",
    "ip address add 192.0.2.5/24 dev left",
    "ip address add 198.51.100.1/24 dev left noprefixroute",
    "ip address add 2001:db8::1/64 dev left nodad",
    "ip address add 2001:db8::2/64 dev left nodad noprefixroute",
    "ip address add 198.51.100.77/32 dev left valid_lft 5000 preferred_lft 4000",
    "ip route add 10.1.0.0/16 via 192.0.2.7 dev left table 100 metric 5",
    "ip route add 10.2.0.0/16 nexthop via 192.0.2.7 dev left nexthop via 192.0.2.8 dev left",
    "ip neighbour add 192.0.2.7 lladdr 02:00:00:00:00:07 dev left nud permanent",
    "ip neighbour add 2001:db8::7 lladdr 02:00:00:00:00:07 dev left nud permanent",
    "ip neighbour add 192.0.2.8 lladdr 02:00:00:00:00:08 dev left nud reachable",
    "ip link property add dev left altname an-alternative-name",
    "ip link set left alias rack-7",
):
    run(command)
def shown():
    found = []
    for what in (
        "-4 -o address", "-6 -o address", "route", "route show table 100", "neighbour show nud permanent", "-d link show left"
    ):
        done = subprocess.run(f"ip {what}".split(), check=True, capture_output=True, text=True)
        lines = [line.partition(": ")[2] or line for line in done.stdout.splitlines()]
        found.append([line.strip() for line in lines if "fe80:" not in line and "right " not in line])
    return found
from agent.hardware import record
before, seen = json.loads(json.dumps(record.read("left"))), shown()
run("ip link delete left")
run("ip link add another type veth peer name one")
make()
from agent.netlink import link
link.set("left", address=before["address"])
record.CARRIER_WAIT = 0
print(json.dumps({"left": record.restore("left", before), "then": seen, "now": shown()}))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a network namespace: needs root")
def test_what_belongs_to_an_interface_is_put_back_or_its_loss_said() -> None:
    done = subprocess.run(
        [
            *("unshare", "--net", "--mount", "sh", "-c"),
            'mount -t sysfs none /sys && exec "$@"',
            "sh",
            sys.executable,
            "-c",
            BELONGINGS,
        ],
        env=os.environ | {"PYTHONPATH": str(RECIPES)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["left"] == [
        "addresses for a time: was ['198.51.100.77/32']; the DHCP client must ask for them again",
        "routes of several hops: was ['10.2.0.0/16 table 254']; add them again",
    ]
    lost = ("198.51.100.77/32", "10.2.0.0/16", "nexthop")
    then = [[line for line in lines if not line.startswith(lost) and lost[0] not in line] for lines in found["then"]]
    assert found["now"] == then
    assert any("an-alternative-name" in line for line in then[-1])


def test_queueing_disciplines_of_a_user_are_not_lost_in_silence(
    record: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    disciplines = ["clsact ffff0000 fffffff1", "mq 0 ffffffff"]
    monkeypatch.setattr(record.belongings, "queueing_disciplines", lambda _ifname: disciplines)
    monkeypatch.setattr(record, "_up", lambda _ifname: False)
    monkeypatch.setattr(record, "SETTINGS", {"disciplines": record.SETTINGS["queueing disciplines"]})
    before = record.read("eth1")
    assert before == {"disciplines": ["clsact ffff0000 fffffff1"]}, "down, an interface has any of its own"
    disciplines[:] = ["noop 0 ffffffff"]
    assert record.restore("eth1", before) == [
        "disciplines: was ['clsact ffff0000 fffffff1']; set them again, with their classes and filters"
    ]


def test_a_file_that_cannot_be_written_keeps_no_other_from_it(record: ModuleType, tmp_path: Path) -> None:
    first, second = tmp_path / "a" / "lost", tmp_path / "b"
    second.write_text("1\n")
    with pytest.raises(FileNotFoundError):
        record._set_files({str(first): "1", str(second): "1"}, {str(first): "0", str(second): "0"})
    assert second.read_text() == "0\n"


def test_eee(record: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    now = {"modes-ours": ["1000baseT/Full"], "modes-peer": [], "active": 1, "enabled": 1, "tx-lpi-timer": 17}
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(record.ethtool, "get", lambda _ifname, _what: now)
    monkeypatch.setattr(record.ethtool, "set", lambda _ifname, _what, settings: sent.append(settings))
    getter, setter = record.SETTINGS["EEE"]
    wanted = getter("eth1")
    assert wanted == {"modes-ours": ["1000baseT/Full"], "enabled": 1, "tx-lpi-timer": 17}, "without what is a state"
    now |= {"enabled": 0, "active": 0}
    setter("eth1", wanted)
    assert sent == [{"enabled": 1}]
