# SPDX-License-Identifier: GPL-2.0-or-later
"""Naming a real machine: options, net.config, environment, and what contradicts them."""

from __future__ import annotations

import signal
from pathlib import Path

import click
import pytest
from command import run
from plugfest.cli import dut
from plugfest.cli.dut import DutOptions, ends, read_config
from plugfest.cli.run import run as command
from plugfest.errors import UsageError
from plugfest.machine.lending import Endpoints

NOTHING = DutOptions("root@dut", None, None, None, None, None)
UPSTREAM = {
    "NETIF": "eth1",
    "LOCAL_V4": "192.0.2.1",
    "REMOTE_V4": "192.0.2.2",
    "REMOTE_TYPE": "ssh",
    "REMOTE_ARGS": "root@peer",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_options_name_both_ends() -> None:
    options = DutOptions("root@dut:2222", "eth1", "netns:peer", "wire0", None, None)
    assert ends(options, UPSTREAM) == Endpoints("root@dut:2222", "eth1", "netns:peer", "wire0")


def test_the_variables_of_upstreams_tests_name_them() -> None:
    assert ends(NOTHING, UPSTREAM) == Endpoints("root@dut", "eth1", "root@peer", "to 192.0.2.2")
    assert ends(NOTHING, UPSTREAM | {"REMOTE_TYPE": "netns", "REMOTE_ARGS": "peer"}).remote == "netns:peer"
    assert ends(NOTHING, {**UPSTREAM, "NETIF": ""}).ifname == "to 192.0.2.1"


def test_a_file_wins_over_the_environment_and_an_option_over_both(folder: Path) -> None:
    (folder / "net.config").write_text('# testbed 3\nNETIF="ens1" # the second port\n\nREMOTE_V6=2001:db8::2\n')
    found = ends(NOTHING, {name: value for name, value in UPSTREAM.items() if name != "REMOTE_V4"})
    assert (found.ifname, found.remote, found.remote_ifname) == ("ens1", "root@peer", "to 2001:db8::2")
    other = folder / "other.config"
    other.write_text("NETIF=ens9\n")
    chosen = DutOptions("root@dut", None, None, "eth7", other, None)
    assert (ends(chosen, UPSTREAM).ifname, ends(chosen, UPSTREAM).remote_ifname) == ("ens9", "eth7")


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (("NETIF", "LOCAL_V4"), r"expected --ifname \(or NETIF\)"),
        (("REMOTE_ARGS",), r"expected --remote \(or REMOTE_TYPE and REMOTE_ARGS\)"),
        (("REMOTE_V4",), r"expected --remote-ifname \(or REMOTE_V4 or REMOTE_V6\)"),
    ],
)
def test_what_is_missing(missing: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ends(NOTHING, {name: value for name, value in UPSTREAM.items() if name not in missing})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"REMOTE_TYPE": "serial"}, "REMOTE_TYPE=serial: expected one of ssh, netns"),
        ({"NETIF": "eth1; reboot"}, "--ifname eth1; reboot: expected the name of an interface"),
        ({"NETIF": "a" * 16}, "expected the name of an interface"),
        ({"REMOTE_TYPE": "netns", "REMOTE_ARGS": "../etc"}, "expected netns:NAME"),
    ],
)
def test_what_cannot_be_meant(changes: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ends(NOTHING, UPSTREAM | changes)


@pytest.mark.parametrize("text", ["NETIF\n", "=eth0\n", "NETIF eth0\n", "a-b=c\n"])
def test_a_file_of_another_form(folder: Path, text: str) -> None:
    (folder / "net.config").write_text(f"# fine\n{text}")
    with pytest.raises(UsageError, match=r"net\.config, line 2: expected NAME=VALUE"):
        read_config(folder / "net.config")


def test_a_file_that_is_not_there_or_no_text(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"expected a net\.config, found: No such file"):
        read_config(folder / "net.config")
    (folder / "net.config").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="found: bytes that are no text"):
        read_config(folder / "net.config")


VALUES = {
    "--accel": "kvm",
    "--kernel": "trixie",
    "--fault": "rx.frame.dropped",
    "--profile": "kr",
    "--module": "ixgbe.ko",
    "--patch": "fix.mbox",
    "--qemu": "",
    "--memory": "2048",
    "--build-memory": "2048",
    "--ssh-config": "net.config",
}
"""Where a number is none."""


def given(parameter: str, option: str) -> list[str]:
    """An option as a user gives it, with a value that it takes."""
    (declared,) = [each for each in command.params if each.name == parameter]
    assert option in declared.opts
    assert isinstance(declared, click.Option)
    return [option] if declared.is_flag else [option, VALUES.get(option, "3")]


@pytest.mark.parametrize(("parameter", "option"), dut.OF_GUESTS.items())
def test_what_belongs_to_guests(capfd: pytest.CaptureFixture[str], folder: Path, parameter: str, option: str) -> None:
    words = [word or str(folder) for word in given(parameter, option)]
    done = run(capfd, "run", "--dut", "root@dut", "--ifname", "eth1", *words)
    assert done.status == 2
    assert done.line.startswith(f"{option} with --dut: expected one of them")


def test_every_option_is_for_guests_or_for_all_or_for_a_real_machine() -> None:
    for_all = {
        *(
            "driver",
            "pytest_arguments",
            "help",
            "output",
            "areas",
            "slow",
            "no_confirm",
            "strict_waits",
            "strict_known",
        ),
        *("shuffle", "cache_dir", "mirror", "dut"),
    }
    assert {each.name for each in command.params} - {"help"} == {*dut.OF_GUESTS, *dut.RELATED, *for_all} - {"help"}


@pytest.mark.parametrize(("parameter", "option"), dut.RELATED.items())
def test_what_belongs_to_a_real_machine(
    capfd: pytest.CaptureFixture[str], folder: Path, parameter: str, option: str
) -> None:
    (folder / "net.config").touch()
    done = run(capfd, "run", "ixgbe", *given(parameter, option))
    assert (done.status, done.line) == (2, f"{option}: expected --dut with it, found none; add --dut root@HOST")


def test_neither_driver_nor_machine(capfd: pytest.CaptureFixture[str]) -> None:
    done = run(capfd, "run", "--", "-k", "xdp")
    assert done.status == 2
    assert done.line == "Missing argument 'DRIVER', or --dut (see plugfest run --help)"


def test_what_is_not_restored_is_printed_after_an_interrupt_too(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted:
        def __init__(self, _ends: Endpoints) -> None:
            """Nothing."""

        def take(self, _archive: object) -> None:
            raise KeyboardInterrupt

        def give_back(self) -> list[str]:
            signal.raise_signal(signal.SIGINT)  # another one, which must wait
            return ["root@dut eth1: MTU: busy"]

    monkeypatch.setattr(dut, "Lending", Interrupted)
    with pytest.raises(KeyboardInterrupt), dut._on_loan(Endpoints("root@dut", "eth1", "netns:a", "b"), Path):
        pass
    printed = capfd.readouterr()
    assert "not restored: root@dut eth1: MTU: busy" in printed.err + printed.out
    assert "giving eth1 of root@dut back" in printed.err + printed.out


def test_no_ssh_gets_in(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """No fixture of a cache is needed to find that out: it comes before anything is fetched."""
    program = folder / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'ssh: connect to host dut port 22: No route to host' >&2\nexit 255\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    done = run(capfd, "run", "--dut", "root@dut", "--ifname", "eth1", "--remote", "netns:peer", "--remote-ifname", "w0")
    assert done.status == 3
    assert done.line == (
        "--dut root@dut: expected a login without a question, found: ssh: connect to host dut port 22: No route to host; "
        "`ssh root@dut` must work"
    )
