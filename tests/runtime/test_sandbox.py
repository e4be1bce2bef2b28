# SPDX-License-Identifier: GPL-2.0-or-later
"""A run's namespaces: private inside, and nothing left outside however the runner ends."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from plugfest.deadline import Deadline, poll
from plugfest.errors import InfrastructureError
from plugfest.run import relay, sandbox

RUNNER = """
import os, subprocess, sys, time
from pathlib import Path
from plugfest.run import sandbox
from plugfest.machine.tap import Tap
folder = Path(sys.argv[1])
def payload():
    tap = Tap("pf-" + str(os.getppid()))
    child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    grandchild = subprocess.Popen(["sh", "-c", "sleep 1000 & exec sleep 1000"], start_new_session=True)
    (folder / "inside").write_text("a tmpfs")
    try:  # the signal may come as soon as this is written
        sys.stdout.write("ready\\n"); sys.stdout.flush()
        time.sleep(1000)
    except KeyboardInterrupt:
        if "stubborn" in sys.argv:
            sys.stdout.write("stubborn\\n"); sys.stdout.flush()
            time.sleep(1000)
        sys.stdout.write("orderly\\n"); sys.stdout.flush()
        return 0
outcome = sandbox.enter(payload, folder=folder, grace=float(sys.argv[2]))
sys.stdout.write(repr(outcome) + "\\n")
"""


class Runner:
    """A process that is inside `sandbox.enter`."""

    def __init__(self, folder: Path, *options: str, grace: float = 20.0) -> None:
        self.folder = folder
        argv = [sys.executable, "-c", RUNNER, str(folder), str(grace), *options]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"
        self.inside = descendants(self.process.pid)
        assert len(self.inside) >= 5

    def leftovers(self) -> list[str]:
        """What is left of the run, seen from outside."""
        found = [f"process {pid}" for pid in self.inside if alive(pid)]
        if str(self.folder) in Path("/proc/self/mountinfo").read_text():
            found.append("a mount")
        found += [f"interface {name}" for _, name in socket.if_nameindex() if name.startswith("pf-")]
        found += [f"file {path.name}" for path in self.folder.iterdir()]
        return found

    def gone(self) -> None:
        assert poll(lambda: not self.leftovers(), Deadline.after(10)), self.leftovers()

    def end(self) -> str:
        output, _ = self.process.communicate(timeout=20)
        return output


def descendants(pid: int) -> list[int]:
    children = [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]
    return children + [each for child in children for each in descendants(child)]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def runner(namespaces: None, tmp_path: Path) -> Iterator[Runner]:
    started = Runner(tmp_path / "run")
    yield started
    started.process.kill()
    started.process.communicate()


def test_kill_leaves_nothing(runner: Runner) -> None:
    runner.process.send_signal(signal.SIGKILL)
    runner.end()
    runner.gone()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_first_signal_asks_for_an_orderly_end(runner: Runner, number: signal.Signals) -> None:
    runner.process.send_signal(number)
    output = runner.end()
    assert output.startswith("orderly\n")
    assert f"status=0, signal={number!r}" in output
    runner.gone()


def test_a_stop_and_continue_changes_nothing(runner: Runner) -> None:
    for _ in range(3):
        runner.process.send_signal(signal.SIGSTOP)
        time.sleep(0.7)
        runner.process.send_signal(signal.SIGCONT)
        time.sleep(0.1)
    assert runner.process.poll() is None
    runner.process.send_signal(signal.SIGTERM)
    assert runner.end().startswith("orderly\n")
    runner.gone()


def test_second_signal_kills(namespaces: None, tmp_path: Path) -> None:
    stubborn = Runner(tmp_path / "run", "stubborn")
    stubborn.process.send_signal(signal.SIGTERM)
    assert stubborn.process.stdout is not None
    assert stubborn.process.stdout.readline() == "stubborn\n"
    stubborn.process.send_signal(signal.SIGINT)
    output = stubborn.end()
    assert "orderly" not in output
    assert "status=137" in output
    stubborn.gone()


def test_a_payload_that_does_not_end_is_killed_after_its_grace(namespaces: None, tmp_path: Path) -> None:
    stubborn = Runner(tmp_path / "run", "stubborn", grace=0.5)
    begin = time.monotonic()
    stubborn.process.send_signal(signal.SIGTERM)
    assert "status=137" in stubborn.end()
    assert time.monotonic() - begin < 10
    stubborn.gone()


def test_killing_the_launcher_or_init_leaves_nothing(namespaces: None, tmp_path: Path) -> None:
    for which in (0, 1):
        started = Runner(tmp_path / "run")
        os.kill(started.inside[which], signal.SIGKILL)
        assert "status=" in started.end()
        started.gone()


def test_inside_is_private(namespaces: None, tmp_path: Path) -> None:
    folder, witness = tmp_path / "run", tmp_path / "witness"

    def payload() -> int:
        processes = [name for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - /proc changes while it is read
        lines = [
            f"processes {len(processes)}",
            f"interfaces {[name for _, name in socket.if_nameindex()]}",
            f"plan {(folder / 'plan.json').read_text()}",
            f"user {os.geteuid()}",
        ]
        with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
            lines.append("loopback up")
        witness.write_text("\n".join(lines))
        return 7

    assert sandbox.enter(payload, folder=folder, files={"plan.json": "{}"}) == sandbox.Outcome(7)
    assert witness.read_text().splitlines() == ["processes 2", "interfaces ['lo']", "plan {}", "user 0", "loopback up"]
    assert list(folder.iterdir()) == []


def test_user_namespace_where_root_is_not_enough(
    namespaces: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container: unshare fails at first, and works inside a user namespace."""
    real = sandbox._LIBC
    seen: list[int] = []

    class FailingLibc:
        prctl, mount = real.prctl, real.mount

        @staticmethod
        def unshare(flags: int) -> int:
            seen.append(flags)
            return -1 if len(seen) == 1 else int(real.unshare(flags))

    if os.geteuid() == 0:
        monkeypatch.setattr(sandbox, "_LIBC", FailingLibc)
    assert (
        sandbox.enter(
            ["sh", "-c", "test $(id -u) = 0 && grep -q '^ *0 .* 1$' /proc/self/uid_map"], folder=tmp_path / "run"
        ).status
        == 0
    )


@pytest.mark.parametrize(
    ("number", "message"), [(1, "user namespace, found: Operation not permitted"), (28, "limit is reached; raise it")]
)
def test_no_namespaces_is_one_clear_error(
    namespaces: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, message: str
) -> None:
    class FailingLibc:
        @staticmethod
        def unshare(_flags: int) -> int:
            return -1

    monkeypatch.setattr(sandbox, "_LIBC", FailingLibc)
    monkeypatch.setattr(sandbox.ctypes, "get_errno", lambda: number)
    with pytest.raises(InfrastructureError, match=message) as caught:
        sandbox.enter(["true"], folder=tmp_path / "run")
    assert "\n" not in str(caught.value)


def test_a_mount_that_fails_is_one_clear_error(
    namespaces: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sandbox._LIBC

    class FailingLibc:
        prctl, unshare = real.prctl, real.unshare

        @staticmethod
        def mount(*_arguments: object) -> int:
            return -1

    monkeypatch.setattr(sandbox, "_LIBC", FailingLibc)
    with pytest.raises(InfrastructureError, match=r"expected to mount a private view of /, found"):
        sandbox.enter(["true"], folder=tmp_path / "run")


def test_no_tun_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_TUN", tmp_path / "tun")
    with pytest.raises(InfrastructureError, match=r"expected .*tun for the tap, found: No such file.*modprobe tun"):
        sandbox.check_host()
    (tmp_path / "tun").touch()
    with pytest.raises(InfrastructureError, match="found another kind of file"):
        sandbox.check_host()


@pytest.mark.parametrize(("script", "status"), [("exit 5", 5), ("kill -TERM $$", 143), ("sleep 1000 & exit 0", 0)])
def test_status_of_a_program(namespaces: None, tmp_path: Path, script: str, status: int) -> None:
    assert sandbox.enter(["sh", "-c", script], folder=tmp_path / "run").status == status


def test_program_that_is_not_there(namespaces: None, tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match=r"expected to run /nowhere/pytest, found: No such file"):
        sandbox.enter(["/nowhere/pytest"], folder=tmp_path / "run")


def test_exception_of_a_function_is_its_own(
    namespaces: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken() -> int:
        raise ValueError("as it should")

    assert sandbox.enter(broken, folder=tmp_path / "run").status == 1
    assert "ValueError: as it should" in capfd.readouterr().err


@pytest.mark.parametrize("within", [False, True], ids=["elsewhere", "in-the-writable-folder"])
def test_the_hosts_file_systems_are_read_only(
    namespaces: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, within: bool
) -> None:
    """Only what is named can be written, by whatever path; the host's own view stays as it was."""
    writable, other = tmp_path / "results", tmp_path / "other"
    for folder in (writable, other):
        folder.mkdir()
        (folder / "there").touch()
    monkeypatch.chdir(writable if within else other)

    def refused(change: Callable[[], object]) -> bool:
        try:
            change()
        except OSError as error:
            return error.errno == errno.EROFS
        return False

    def payload() -> int:
        assert refused((other / "new").touch)
        assert refused((other / "there").unlink)
        assert refused((tmp_path / "new").mkdir)
        (writable / "new").touch()
        here = Path("here")
        if within:
            here.touch()
        else:
            assert refused(here.touch)
        with tempfile.NamedTemporaryFile() as file:
            assert Path(file.name).parent == tmp_path / "run"
        Path("/proc/sys/net/ipv6/conf/lo/disable_ipv6").write_text("1")
        return 0

    assert sandbox.enter(payload, folder=tmp_path / "run", writable=[writable]) == sandbox.Outcome(0)
    assert (writable / "new").exists()
    (other / "new").touch()


def test_a_programs_temporary_files_are_the_runs(namespaces: None, tmp_path: Path) -> None:
    script = 'mktemp && ! touch "$HERE" && test "$TMPDIR" = "$FOLDER"'
    environment = {**os.environ, "HERE": str(tmp_path / "new"), "FOLDER": str(tmp_path / "run")}
    outcome = sandbox.enter(["sh", "-c", script], folder=tmp_path / "run", environment=environment, writable=[])
    assert outcome == sandbox.Outcome(0)


def test_scratch_is_limited(namespaces: None, tmp_path: Path) -> None:
    def payload() -> int:
        found = os.statvfs(tmp_path / "run")
        return int(found.f_frsize * found.f_blocks != 1 << 30)

    assert sandbox.enter(payload, folder=tmp_path / "run").status == 0


def test_folder_that_cannot_be_made(namespaces: None, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InfrastructureError, match=r"expected to create .*set XDG_CACHE_HOME"):
        sandbox.enter(["true"], folder=tmp_path / "file" / "run")


def test_signals_are_as_before(namespaces: None, tmp_path: Path) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    sandbox.enter(["true"], folder=tmp_path / "run")
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


def test_relay_reaches_into_the_run(namespaces: None, tmp_path: Path) -> None:
    """A connection to the host's loopback reaches a server inside, which echoes; closing works in both directions."""
    listener = relay.listen()
    port = listener.getsockname()[1]
    client = subprocess.Popen(
        [
            sys.executable,
            "-c",
            (
                f"import socket; s = socket.create_connection(('127.0.0.1', {port}), 20); s.sendall(b'x' * 300000); s.shutdown(1)\n"
                f"n = 0\nwhile d := s.recv(65536): n += len(d)\nprint(n); open({str(tmp_path / 'received')!r}, 'w')"
            ),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )

    def payload() -> int:
        with socket.create_server(("127.0.0.1", 0)) as server:
            joined = relay.Relay(listener, server.getsockname())
            connection, _ = server.accept()
            while data := connection.recv(1 << 16):
                connection.sendall(data)
            connection.close()
            # The relay ends with this process, so the client must have everything before.
            assert poll((tmp_path / "received").exists, Deadline.after(20))
            joined.close()
        return 0

    try:
        assert sandbox.enter(payload, folder=tmp_path / "run", grace=5).status == 0
        assert client.communicate(timeout=10)[0] == "300000\n"
    finally:
        client.kill()
        listener.close()


def test_relay_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            InfrastructureError, match=f"expected 127.0.0.1:{port} to be free, found: Address already in use"
        ):
            relay.listen(port)
