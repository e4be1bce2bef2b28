# SPDX-License-Identifier: GPL-2.0-or-later
"""The SSH server of the remote host, on this machine."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from plugfest.errors import InfrastructureError
from plugfest.location import recipes_root
from plugfest.machine.ssh import KeyPair, SshSession

HOST, CLIENT = KeyPair(), KeyPair()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory, home: Path) -> Iterator[int]:
    """Of the server as the remote host has it."""
    folder = tmp_path_factory.mktemp("remote")
    HOST.write(folder / "host-key")
    (folder / "authorized").write_text(CLIENT.public)
    program = recipes_root() / "remote/ssh_server.py"
    server = subprocess.Popen(
        [sys.executable, "-I", "-B", program, folder, "0", home], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    assert server.stdout is not None
    found = re.fullmatch(rb"listening on port (\d+)\n", server.stdout.readline())
    assert found is not None
    yield int(found[1])
    server.kill()
    server.wait()
    server.stdout.close()


@pytest.fixture(scope="module")
def session(port: int) -> Iterator[SshSession]:
    found = SshSession(("127.0.0.1", port), CLIENT, HOST.public)
    yield found
    found.close()


def test_a_command_has_its_output_and_status(session: SshSession) -> None:
    done = session.run("echo out; echo err >&2; exit 7", check=False)
    assert (done.stdout, done.stderr, done.exit_status) == ("out\n", "err\n", 7)


def test_what_is_sent_is_its_input(session: SshSession) -> None:
    assert session.run("wc -c", stdin=b"x" * 300_000).stdout.strip() == "300000"


def test_much_output_arrives_whole(session: SshSession) -> None:
    assert len(session.run("head -c 3000000 /dev/zero | tr '\\0' x").stdout) == 3_000_000


def test_commands_run_side_by_side(session: SshSession, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    with session.channel(f"mkfifo {fifo}; echo made; cat {fifo}") as reading:
        assert reading.recv(5) == b"made\n"
        session.run(f"echo through >{fifo}")
        assert reading.recv(100) == b"through\n"


def test_a_stranger_is_not_let_in(port: int) -> None:
    with pytest.raises(InfrastructureError, match="AuthenticationException"):
        SshSession(("127.0.0.1", port), KeyPair(), HOST.public)


def test_a_command_begins_at_home(session: SshSession, home: Path) -> None:
    assert session.run("pwd; echo $HOME").stdout.split() == [str(home), str(home)]


def ended(pid: int, within: float = 4.0) -> bool:
    end = time.monotonic() + within
    while Path("/proc", str(pid)).exists() and time.monotonic() < end:
        time.sleep(0.02)
    return not Path("/proc", str(pid)).exists()


def test_a_program_that_prints_ends_with_its_client(session: SshSession) -> None:
    with session.channel("echo $$; exec yes") as reading:
        pid = int(reading.recv(100).split()[0])
    assert ended(pid)


def test_a_program_that_prints_little_ends_with_its_client(session: SshSession) -> None:
    with session.channel("echo $$; while sleep 0.3; do echo more; done") as reading:
        pid = int(reading.recv(100).split()[0])
    assert ended(pid)


def test_a_silent_program_outlives_its_client(session: SshSession, tmp_path: Path) -> None:
    with session.channel(f"echo $$; sleep 0.8; exec >/dev/null; echo done >{tmp_path}/said") as reading:
        pid = int(reading.recv(100).split()[0])
    assert ended(pid)
    assert (tmp_path / "said").read_text() == "done\n"
