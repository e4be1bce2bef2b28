# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m nicmodels` as a process: ready, bad arguments, signals, a dying parent."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nicmodels.models
import pytest
from nicmodels.__main__ import mac_address, main, queue_count
from nicmodels.models.registry import models
from nicmodels.server import privileges
from vfio_client import VfioClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXAMPLE_PACKAGE = '''
"""A model for the tests of the command line."""
from example_device import ExampleDevice
DESCRIPTION = "a device for tests"
PROFILES = {"plain": "the only one"}
def create(host, options):
    if options.profile not in (None, "plain"):
        raise ValueError(f"profile {options.profile!r}: expected plain")
    return ExampleDevice(host)
'''

LAUNCH = """
import sys
sys.path[:0] = [{here!r}]
import nicmodels.models
nicmodels.models.__path__.append({folder!r})
from nicmodels.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, '-c', *sys.argv[1:]], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    package = tmp_path / "packages" / "example"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(EXAMPLE_PACKAGE)
    return tmp_path / "packages"


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    running: list[subprocess.Popen[str]] = []

    def run(*arguments: str) -> subprocess.Popen[str]:
        code = LAUNCH.format(here=str(Path(__file__).parent), folder=str(folder))
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        running.append(process)
        return process

    yield run
    for process in running:
        process.kill()
        process.communicate()


def wait_ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], 20)[0], "not ready within 20 s"
    line = process.stdout.readline()
    assert line == "ready\n", process.communicate()[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serves_until_a_signal(start: Callable[..., subprocess.Popen[str]], tmp_path: Path, number: int) -> None:
    device, control = tmp_path / "device", tmp_path / "control"
    process = start("serve", "example", "--socket", str(device), "--control", str(control), "--fault", "dma.copy.lost")
    wait_ready(process)
    client = VfioClient(device)
    client.negotiate()
    assert client.read(0, 0) == 0x70667431
    with socket.socket(socket.AF_UNIX) as rpc:
        rpc.connect(str(control))
        rpc.sendall(b'{"jsonrpc":"2.0","id":1,"method":"faults.list"}\n')
        assert json.loads(rpc.recv(1 << 16))["result"][0]["armed"] is True
    process.send_signal(number)
    _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (0, "")
    assert not device.exists()
    assert not control.exists()
    client.close()


def ask(control: Path, method: str, **params: object) -> Any:
    with socket.socket(socket.AF_UNIX) as rpc:
        rpc.connect(str(control))
        rpc.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n")
        return json.loads(rpc.recv(1 << 16))


def test_unprivileged_it_serves_and_may_do_nothing_else(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    device, control = tmp_path / "device", tmp_path / "control"
    files = tmp_path / "files"
    tmp_path.chmod(0o700)
    process = start(
        "serve", "example", "--socket", str(device), "--control", str(control), "--unprivileged", str(files)
    )
    wait_ready(process)
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
    assert status["NoNewPrivs"] == "1"
    assert [int(status[which], 16) for which in ("CapPrm", "CapEff", "CapInh", "CapAmb")] == [0] * 4
    if os.geteuid() == 0:
        assert int(status["CapBnd"], 16) == 0
        nobody = [str(privileges.NOBODY)] * 4
        assert (status["Uid"].split(), status["Gid"].split(), status["Groups"].split()) == (nobody, nobody, [])
    limits = Path(f"/proc/{process.pid}/limits").read_text()
    for name, most in (("data size", privileges.MEMORY), ("open files", privileges.FILES), ("core file size", 0)):
        found = re.search(rf"Max {name} +(\d+) +(\d+)", limits)
        assert found is not None, limits
        assert all(int(value) <= most for value in found.groups())
    client = VfioClient(device)
    client.negotiate()
    assert client.read(0, 0) == 0x70667431
    assert "error" not in ask(control, "wire.record", path="wire.pcapng")
    assert ask(control, "wire.stop")["result"] == {"frames": 0}
    assert (files / "wire.pcapng").stat().st_size > 0
    if os.geteuid() == 0:
        assert "Permission denied" in str(ask(control, "wire.record", path=str(tmp_path / "wire.pcapng"))["error"])
    process.terminate()
    _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (0, "")
    client.close()


def test_it_ends_with_its_parent_unprivileged_too(folder: Path, tmp_path: Path) -> None:
    check_ends_with_parent(folder, tmp_path, "--unprivileged", str(folder))


def test_restart_over_a_stale_socket(start: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    device = tmp_path / "device"
    process = start("serve", "example", "--socket", str(device))
    wait_ready(process)
    process.kill()
    process.wait()
    assert device.exists()
    wait_ready(start("serve", "example", "--socket", str(device)))
    third = start("serve", "example", "--socket", str(device))
    _, errors = third.communicate(timeout=20)
    assert third.returncode == 2
    assert errors == f"nicmodels: {device}: another process listens there\n"


def test_ends_with_its_parent(folder: Path, tmp_path: Path) -> None:
    check_ends_with_parent(folder, tmp_path)


def check_ends_with_parent(folder: Path, tmp_path: Path, *options: str) -> None:
    code = LAUNCH.format(here=str(Path(__file__).parent), folder=str(folder))
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            PARENT,
            code,
            "serve",
            "example",
            "--socket",
            str(tmp_path / "device"),
            *options,
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    gone = os.pidfd_open(child)
    parent.kill()
    parent.communicate()
    assert select.select([gone], [], [], 10)[0], "the model outlived its parent"
    os.close(gone)


def test_list(start: Callable[..., subprocess.Popen[str]]) -> None:
    output, errors = start("list").communicate(timeout=20)
    assert "example: a device for tests\n  plain: the only one\n" in output
    assert errors == ""


def test_list_as_json(start: Callable[..., subprocess.Popen[str]]) -> None:
    output, errors = start("list", "--json").communicate(timeout=20)
    listed = {model["name"]: model for model in json.loads(output)}
    assert listed["example"]["profiles"] == {"plain": "the only one"}
    assert listed["example"]["default_profile"] is None
    assert listed["gve"]["default_profile"] in listed["gve"]["profiles"]
    assert "link.speed.wrong" in [fault["name"] for fault in listed["gve"]["faults"]]
    assert errors == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("serve", "none", "--socket", "{s}"), "unknown model 'none'; known models: "),
        (("serve", "example"), "required: --socket"),
        (("serve", "example", "--socket", "{s}", "--wire", "string"), "expected tap:NAME, pair:PATH or null"),
        (("serve", "example", "--socket", "{s}", "--wire", "tap:"), "expected tap:NAME, pair:PATH or null"),
        (("serve", "example", "--socket", "{s}", "--wire", "tap:sixteen-bytes-it-"), "1 to 15 bytes"),
        (("serve", "example", "--socket", "{s}", "--wire", "pair:/none/such/path"), "No such file"),
        (("serve", "example", "--socket", "/none/such/path"), "cannot listen at /none/such/path"),
        (("serve", "example", "--socket", "{s}", "--control", "/none/such/path"), "cannot listen at"),
        (("serve", "example", "--socket", "{s}", "--profile", "fancy"), "profile 'fancy': expected plain"),
        (("serve", "example", "--socket", "{s}", "--fault", "none"), "unknown fault 'none'"),
        (("serve", "example", "--socket", "{s}", "--mac", "1:2:3"), "expected six bytes"),
        (("serve", "example", "--socket", "{s}", "--mac", "01:00:00:00:00:01"), "unicast"),
        (("serve", "example", "--socket", "{s}", "--queues", "0"), "1 or more"),
        (("serve", "example", "--socket", "{s}", "--queues", "x"), "1 or more"),
        (("serve", "example", "--socket", "{s}", "--no-such-option"), "unrecognized arguments"),
        (("dance",), "invalid choice"),
        ((), "required: command"),
    ],
)
def test_bad_arguments(
    folder: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    """One line on standard error, status 2, nothing left behind."""
    monkeypatch.setattr(nicmodels.models, "__path__", [*nicmodels.models.__path__, str(folder)])
    monkeypatch.setattr("nicmodels.server.serve.die_with_parent", lambda parent: None)
    try:
        status = main([each.format(s=tmp_path / "device") for each in arguments])
    except SystemExit as end:
        status = end.code
    output, errors = capfd.readouterr()
    assert status == 2
    assert output == ""
    assert message in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "device").exists()


def test_argument_types() -> None:
    assert mac_address("02:70:66:00:00:01") == bytes.fromhex("027066000001")
    assert queue_count("16") == 16


def test_every_model_of_the_package_has_a_description() -> None:
    for model in models().values():
        assert model.description
        assert callable(model.create)


def test_starts_fast(start: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    """A model is started for every run: its imports must stay lean. By its processor time: the machine is shared."""
    process = start("serve", "example", "--socket", str(tmp_path / "device"))
    wait_ready(process)
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    assert (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") < 3
