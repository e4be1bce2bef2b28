# SPDX-License-Identifier: GPL-2.0-or-later
"""Getting the interfaces of two machines over SSH, and giving them back."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from plugfest.errors import InfrastructureError, UsageError
from plugfest.machine import lending as lending_module
from plugfest.machine.lending import Endpoints, Lending, LendingError
from plugfest.machine.openssh import destination

FAKE = Path(__file__).with_name("fake_ssh.py")
FIT = {
    "python": [3, 11, 2],
    "root": True,
    "machine": "x86_64",
    "system": "Linux",
    "missing": [],
    "ipv6": True,
    "folder": "/run",
}
DEVICE = {"ifname": "eth1", "driver": "ixgbe", "module": "ixgbe"}
DUT: dict[str, Any] = {"check": FIT, "keeper": {"event": "ready", "device": DEVICE, "release": "6.12.1", "cpus": 8}}
FAR = {"check": FIT, "far": {"event": "ready", "ifname": "eth3", "mtu": 9600}}

Lend = Callable[..., Lending]


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    return tmp_path / "ran"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "archive"
    path.write_bytes(b"the archive")
    return path


@pytest.fixture
def wanted(tmp_path: Path, ran: Path, monkeypatch: pytest.MonkeyPatch) -> Lend:
    """What is to be borrowed from two machines that answer so."""
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -S {FAKE} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")

    def want(dut: dict[str, Any] = DUT, far: dict[str, Any] = FAR, remote: str = "root@peer") -> Lending:
        behaviour = {"ran": str(ran), "root@dut": dut, "root@peer": far}
        monkeypatch.setenv("FAKE_SSH", json.dumps(behaviour))
        return Lending(Endpoints("root@dut", "eth1", remote, "to 192.0.2.2"))

    return want


@pytest.fixture
def lend(wanted: Lend, archive: Path) -> Lend:
    """Borrow from two machines that answer so."""

    def borrow(*answers: dict[str, Any], **more: Any) -> Lending:
        lending = wanted(*answers, **more)
        try:
            lending.take(lambda: archive)
        except BaseException:
            assert lending.give_back() == [], "the error has said it all"
            raise
        return lending

    return borrow


def test_both_are_got_and_given_back(lend: Lend, ran: Path) -> None:
    lending = lend()
    assert (lending.device, lending.release, lending.cpus) == (DEVICE, "6.12.1", 8)
    assert (lending.remote, lending.remote_mtu) == ("root@peer eth3", 9600)
    assert lending.give_back() == []
    assert lending.give_back() == [], "once"
    assert not lending.sockets.exists()
    commands = ran.read_text().splitlines()
    assert any("keeper eth1 /run/plugfest-" in each for each in commands if each.startswith("root@dut "))
    assert any("far_end 'to 192.0.2.2' lent" in each for each in commands if each.startswith("root@peer "))
    folders = {each.split()[-1] for each in commands if " rm -rf /run/plugfest-" in each}
    assert len(folders) == 2, "what was put there is removed"


def test_what_is_not_as_it_was_is_said_for_each_machine(lend: Lend) -> None:
    lending = lend({**DUT, "returned": ["rings: was 512, is 256"]}, {**FAR, "returned": ["MTU: busy"]})
    assert lending.give_back() == ["root@dut eth1: rings: was 512, is 256", "root@peer to 192.0.2.2: MTU: busy"]


@pytest.mark.parametrize("late", ["dut", "far"])
def test_what_is_ready_only_when_the_run_is_over_is_given_back(
    wanted: Lend, archive: Path, ran: Path, late: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lending_module, "READY_TIMEOUT", 0.3)
    dut = {**DUT, "late": late == "dut", "returned": ["rings: was 512, is 256"]}
    far = {**FAR, "late": late == "far", "returned": ["MTU: busy"]}
    lending = wanted(dut, far)
    with pytest.raises(LendingError, match="expected it to lend the interface, found: no answer"):
        lending.take(lambda: archive)
    of_dut = ["root@dut eth1: rings: was 512, is 256"] if late == "dut" else []
    assert lending.give_back() == [*of_dut, "root@peer to 192.0.2.2: MTU: busy"]
    assert not lending.sockets.exists()
    assert len([each for each in ran.read_text().splitlines() if " rm -rf /run/plugfest-" in each]) == 2


def test_what_a_refusal_leaves_is_said_once(wanted: Lend, archive: Path) -> None:
    lending = wanted({**DUT, "keeper": {"event": "refused", "reason": "no agent", "failures": ["MTU: busy"]}})
    with pytest.raises(LendingError, match="no agent; not restored: MTU: busy"):
        lending.take(lambda: archive)
    assert lending.give_back() == []


@pytest.mark.parametrize(
    ("dut", "message"),
    [
        (
            {"check": "bash: python3: command not found"},
            r"root@dut: expected python3 \(3\.10 or later\), found: bash: python3: command",
        ),
        (
            {"check": FIT, "prints": "Welcome!\nNo mail.\n"},
            "root@dut: expected a shell that prints nothing by itself, found: 'Welcome!'; let",
        ),
        ({"check": {**FIT, "python": [3, 9, 2]}}, r"root@dut: expected python3 3\.10 or later, found 3\.9\.2"),
        ({"check": {**FIT, "ipv6": False}}, "root@dut: expected a kernel with IPv6, found none"),
        (
            {"check": {**FIT, "folder": None}},
            "expected to start programs from one of /run, /root, /opt, found all of them",
        ),
        ({"check": {**FIT, "root": False}}, "root@dut: expected a login as root, found another account"),
        ({"check": {**FIT, "machine": "aarch64"}}, "root@dut: expected Linux on x86_64, found Linux on aarch64"),
        (
            {"check": {**FIT, "missing": ["bpftool", "ethtool"]}},
            "found no bpftool, ethtool; install what is missing there",
        ),
        (
            {**DUT, "keeper": {"event": "refused", "reason": "expected a second interface beside eth0, found none"}},
            "--dut root@dut --ifname eth1: expected a second interface beside eth0, found none",
        ),
        ({"refuses": "root@dut: Permission denied (publickey)."}, "found: root@dut: Permission denied"),
    ],
)
def test_a_machine_that_does_not_lend(lend: Lend, dut: dict[str, Any], message: str) -> None:
    with pytest.raises(InfrastructureError, match=message) as found:
        lend(dut)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("ready", "message"),
    [
        ({"release": "../../etc"}, r"--dut root@dut: expected the name of its kernel release, found '\.\./\.\./etc'"),
        ({"device": {**DEVICE, "driver": "a/b"}}, "expected the name of its driver, found 'a/b'"),
        ({"device": {**DEVICE, "module": ""}}, "expected the name of its module, found ''"),
        ({"device": {**DEVICE, "ifname": "e\n1"}}, r"expected the name of its interface, found 'e\\n1'"),
    ],
)
def test_names_that_would_lead_out_of_a_folder(lend: Lend, ready: dict[str, Any], message: str) -> None:
    with pytest.raises(LendingError, match=message):
        lend({**DUT, "keeper": {**DUT["keeper"], **ready}})


def test_a_far_end_that_does_not_lend_leaves_the_machine_alone(lend: Lend, ran: Path) -> None:
    with pytest.raises(
        LendingError, match=r"--remote root@peer --remote-ifname to 192\.0\.2\.2: expected an interface"
    ):
        lend(far={**FAR, "far": {"event": "refused", "reason": "expected an interface with the address, found none"}})
    assert "keeper" not in ran.read_text()


def test_a_namespace_that_is_not_there(lend: Lend) -> None:
    with pytest.raises(LendingError, match=r"--remote netns:nowhere-7: expected the network namespace nowhere-7"):
        lend(remote="netns:nowhere-7")


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("root@host", ["root@host"]),
        ("host", ["host"]),
        ("root@10.0.0.1:2222", ["-p", "2222", "root@10.0.0.1"]),
        ("root@[2001:db8::1]:22", ["-p", "22", "root@2001:db8::1"]),
    ],
)
def test_destinations(text: str, arguments: list[str]) -> None:
    assert destination(text, "--dut") == arguments


@pytest.mark.parametrize("text", ["", "-oProxyCommand=reboot", "root@-v", "a b", "root@host:port", "root@host;reboot"])
def test_what_is_no_destination(text: str) -> None:
    with pytest.raises(UsageError, match="expected root@HOST"):
        destination(text, "--dut")
