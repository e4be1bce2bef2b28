# SPDX-License-Identifier: GPL-2.0-or-later
"""The SSH server of the remote host, on this machine."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from plugfest.errors import InfrastructureError
from plugfest.location import recipes_root
from plugfest.machine.ssh import KeyPair, SshSession

HOST, CLIENT = KeyPair(), KeyPair()
START = """
import pathlib, runpy, socket, sys
sys.path.insert(0, sys.argv[1])
import ssh_server
create = socket.create_server
def created(address):
    found = create(("127.0.0.1", 0))
    pathlib.Path(sys.argv[1], "port").write_text(str(found.getsockname()[1]))
    return found
socket.create_server = created
ssh_server.main()
"""


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("remote")
    HOST.write(folder / "host-key")
    (folder / "authorized").write_text(CLIENT.public)
    script = START.replace("/root", str(folder))
    text = (recipes_root() / "remote/ssh_server.py").read_text().replace('cwd="/root"', f'cwd="{folder}"')
    (folder / "ssh_server.py").write_text(text)
    server = subprocess.Popen([sys.executable, "-c", script, str(folder), "0"], stdout=subprocess.PIPE)
    assert server.stdout is not None
    assert server.stdout.readline() == b"listening\n"
    yield int((folder / "port").read_text())
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
