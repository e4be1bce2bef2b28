# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands in the guest, against an SSH server in this process."""

from __future__ import annotations

import socket
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from plugfest.errors import InfrastructureError
from plugfest.machine import ssh as ssh_module
from plugfest.machine.ssh import CommandFailed, CommandTimeout, GuestGone, KeyPair, NotAuthorized, SshSession
from ssh_server import SshServer


@pytest.fixture(scope="module")
def key() -> KeyPair:
    return KeyPair()


@pytest.fixture
def server(key: KeyPair) -> Iterator[SshServer]:
    made = SshServer(key)
    yield made
    made.close()


@pytest.fixture
def session(server: SshServer, key: KeyPair) -> Iterator[SshSession]:
    made = SshSession(server.address, key, server.host_key)
    yield made
    made.close()


def test_result(session: SshSession) -> None:
    result = session.run("echo out; echo err >&2")
    assert (result.command, result.exit_status, result.stdout, result.stderr) == (
        "echo out; echo err >&2",
        0,
        "out\n",
        "err\n",
    )
    assert 0 < result.seconds < 30


def test_failure_has_command_status_and_reason(session: SshSession) -> None:
    with pytest.raises(
        CommandFailed,
        match=r"`echo no such device >&2; exit 19` in the guest: expected exit status 0, found 19: no such device",
    ) as caught:
        session.run("echo no such device >&2; exit 19")
    assert caught.value.result.exit_status == 19


def test_unchecked_failure_is_a_result(session: SshSession) -> None:
    assert session.run("exit 3", check=False).exit_status == 3
    assert session.run("nosuchprogram", check=False).exit_status == 127


def test_shell_killed_by_a_signal_failed(session: SshSession) -> None:
    with pytest.raises(CommandFailed):
        session.run("kill -9 $$")


def test_output_is_whole_whatever_its_bytes(session: SshSession) -> None:
    assert len(session.run("head -c 3000000 /dev/zero | tr '\\0' x; head -c 300000 /dev/zero >&2").stdout) == 3_000_000
    assert session.run(r"printf 'a\377b'").stdout == "a�b"


def test_input_is_read_to_its_end(session: SshSession) -> None:
    assert session.run("wc -c", stdin=b"x" * 1_000_000).stdout.strip() == "1000000"


def test_commands_run_side_by_side(session: SshSession, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    session.run(f"mkfifo {fifo}")
    results = []
    reader = threading.Thread(target=lambda: results.append(session.run(f"cat {fifo}").stdout))
    reader.start()
    session.run(f"echo met > {fifo}")
    reader.join(20)
    assert results == ["met\n"]


def test_timeout_has_the_output_and_leaves_the_session_usable(session: SshSession) -> None:
    begin = time.monotonic()
    with pytest.raises(CommandTimeout, match=r"did not end within 0.") as caught:
        session.run("echo begun; exec sleep 1000", timeout=0.7)
    assert time.monotonic() - begin < 10
    assert caught.value.result.stdout == "begun\n"
    assert not isinstance(caught.value, InfrastructureError)
    assert session.run("echo on").stdout == "on\n"


def test_timeout_is_extended_by_what_the_host_loses(server: SshServer, key: KeyPair) -> None:
    begin = time.monotonic()
    session = SshSession(server.address, key, server.host_key, lost=lambda: (time.monotonic() - begin) * 0.9)
    assert session.run("sleep 1; echo done", timeout=0.3).stdout == "done\n"
    with pytest.raises(CommandTimeout) as caught:
        session.run("exec sleep 1000", timeout=0.3)
    assert caught.value.result.seconds >= 2.7
    session.close()


def test_guest_that_dies_meanwhile(server: SshServer, key: KeyPair) -> None:
    fate: list[str] = []
    session = SshSession(server.address, key, server.host_key, alive=lambda: fate[0] if fate else None)
    fate.append("the guest's kernel panicked: Kernel panic - not syncing: test")
    with pytest.raises(GuestGone, match=r"the guest ended during `sleep 1000`: the guest's kernel panicked"):
        session.run("sleep 1000")
    session.close()
    with pytest.raises(GuestGone, match="in the guest, found the guest's kernel panicked"):
        session.run("true")


def test_connection_that_breaks_meanwhile(server: SshServer, session: SshSession) -> None:
    breaking = threading.Timer(0.3, server.drop)
    breaking.start()
    with pytest.raises(GuestGone, match="the SSH connection is broken"):
        session.run("sleep 1000")
    assert not session.connected
    breaking.join()


def test_another_server_on_the_port(server: SshServer, key: KeyPair) -> None:
    with pytest.raises(InfrastructureError, match="another SSH server has this port"):
        SshSession(server.address, key, " ".join(KeyPair().public.split()[:2]))
    assert server.logins == 0


def test_key_that_is_not_accepted(server: SshServer) -> None:
    with pytest.raises(NotAuthorized, match="expected a login as root, found AuthenticationException"):
        SshSession(server.address, KeyPair(), server.host_key)


def test_port_that_nobody_listens_on(key: KeyPair) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = taken.getsockname()
    with pytest.raises(InfrastructureError, match=r"expected an open port 127\.0\.0\.1:\d+, found .*refused"):
        SshSession(address, key, "ssh-ed25519 AAAA", timeout=0.2)
    with pytest.raises(InfrastructureError, match="found QEMU ended"):
        SshSession(address, key, "ssh-ed25519 AAAA", timeout=60, alive=lambda: "QEMU ended")


def test_server_that_accepts_and_sends_nothing(key: KeyPair) -> None:
    """As slirp does before the guest listens."""
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(InfrastructureError, match="expected a login"):
        SshSession(silent.getsockname(), key, "ssh-ed25519 AAAA", timeout=0.5)


def test_private_key_is_its_owners_alone(key: KeyPair, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("an old one, open to all")
    path.chmod(0o644)
    key.write(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().startswith("-----BEGIN OPENSSH PRIVATE KEY-----")
    assert key.public.startswith("ssh-ed25519 ")
    assert KeyPair().public != key.public


def test_keys_of_the_exchange_are_cheap_for_an_emulated_guest(session: SshSession) -> None:
    assert all(name.startswith("curve25519") for name in session._transport.get_security_options().kex)
    assert ssh_module._WINDOW >= 1 << 20


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def test_a_forwarded_port_leads_here(session: SshSession) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as here:
        session.forward(port, here.getsockname())
        with socket.create_connection(("127.0.0.1", port)) as there:
            there.sendall(b"question")
            connection, _ = here.accept()
            with connection:
                assert connection.recv(100) == b"question"
                there.shutdown(socket.SHUT_WR)
                assert connection.recv(100) == b""
                connection.sendall(b"answer")
            assert there.recv(100) == b"answer"
            assert there.recv(100) == b""


def test_a_port_that_is_not_forwarded(session: SshSession) -> None:
    with pytest.raises(InfrastructureError, match="expected the guest to forward its port 1, found: "):
        session.forward(1, ("127.0.0.1", 1))


def test_a_forwarded_port_that_leads_nowhere_is_closed(session: SshSession) -> None:
    port = free_port()
    session.forward(port, ("127.0.0.1", free_port()))
    with socket.create_connection(("127.0.0.1", port)) as there:
        assert there.recv(100) == b""
