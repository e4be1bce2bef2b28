# SPDX-License-Identifier: GPL-2.0-or-later
"""What a stranger's makefile cannot do: reach the network, write outside its folder, take too much, be root."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from plugfest.build import folder
from plugfest.build.confinement import NOBODY, Confinement, Limits, LostTime
from plugfest.build.errors import LimitError
from plugfest.deadline import Deadline, poll
from plugfest.provision.artifact import BuildRoot
from plugfest.provision.settings import ProvisionSettings
from plugfest.provision.toolchain import ensure_bwrap

Confine = Callable[..., Confinement]


@pytest.fixture
def confine(build_root: BuildRoot, provisioning: ProvisionSettings, tmp_path: Path) -> Iterator[Confine]:
    def make(**limits: float) -> Confinement:
        return Confinement(
            build_root.root,
            ensure_bwrap(provisioning),
            tmp_path / "work",
            Limits(**limits),  # type: ignore[arg-type]
        )

    yield make
    folder.remove(tmp_path / "work")  # pytest, which removes it some sessions later, may not get down to its end


def shell(confined: Confinement, script: str, log: Path) -> tuple[int, list[str]]:
    log.write_text("")
    status = confined.run(["sh", "-c", script], log=log)
    return status, log.read_text().splitlines()


@pytest.fixture
def listener() -> Iterator[int]:
    """A port of the host's loopback that accepts."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_the_network_is_unreachable(confine: Confine, tmp_path: Path, listener: int) -> None:
    connect = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)"
    subprocess.run([sys.executable, "-c", connect, "127.0.0.1", str(listener)], check=True)
    confined = confine()
    status, lines = shell(confined, f"python3 -c '{connect}' 127.0.0.1 {listener}", tmp_path / "log")
    assert status == 1
    assert "ConnectionRefusedError" in lines[-1]
    status, lines = shell(confined, f"python3 -c '{connect}' 192.0.2.1 80", tmp_path / "log")
    assert status == 1
    assert "Network is unreachable" in lines[-1]
    _, lines = shell(confined, "grep -c : /proc/net/dev; grep -o 'lo:' /proc/net/dev", tmp_path / "log")
    assert lines == ["1", "lo:"]


def test_writes_stay_in_the_build_folder(confine: Confine, tmp_path: Path) -> None:
    outside = tmp_path / "host"
    outside.write_text("the host's")
    script = f"""
    for each in / /usr /etc /dev /dev/shm /proc /lib/modules /usr/local/bin; do
        touch "$each/mine" 2>/dev/null && echo "wrote in $each"
    done
    ls -d {outside} {Path(__file__)} 2>/dev/null
    ln -s {outside} link; {{ echo changed >link; }} 2>/dev/null
    echo good >inside && echo good >/tmp/inside && cat inside /tmp/inside >/dev/stdout
    mount -t tmpfs none /mnt 2>/dev/null && echo mounted
    """
    status, lines = shell(confine(), script, tmp_path / "log")
    assert lines == ["good", "good"]
    assert status != 0, "what mount says"
    assert outside.read_text() == "the host's"
    assert sorted(path.name for path in (tmp_path / "work/build").iterdir()) == ["inside", "link"]


def test_it_is_not_root_on_the_host(confine: Confine, tmp_path: Path) -> None:
    confined = confine()
    script = "id -u; grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status; touch mine; sleep 1"
    status, lines = shell(confined, script, tmp_path / "log")
    assert status == 0
    assert lines[0] == str(NOBODY)
    assert "NoNewPrivs:\t1" in lines
    assert "CapEff:\t0000000000000000" in lines
    owner = (confined.build / "mine").stat().st_uid
    assert owner == (NOBODY if os.geteuid() == 0 else os.geteuid())
    assert owner != 0


def test_it_sees_no_process_and_no_variable_of_the_host(
    confine: Confine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "of the host")
    _, lines = shell(confine(), "env; echo; echo /proc/[0-9]*", tmp_path / "log")
    at = lines.index("")
    assert {line.partition("=")[0] for line in lines[:at]} <= {"PATH", "HOME", "LC_ALL", "PWD"}
    assert len(lines[at + 1].split()) < 8


@pytest.mark.parametrize(
    ("limits", "script", "expected"),
    [
        ({"seconds": 1.0}, "while :; do :; done", r"at most 1 s \(--build-seconds\), found that it was still running"),
        ({"processes": 64}, "bomb() { bomb & bomb & }; bomb; wait; sleep 60", r"at most 64 processes, found more"),
        (
            {"memory": 128},
            "python3 -c 'import time; data = bytes(1) * (200 << 20); time.sleep(60)'",
            r"at most 128 MiB of memory \(--build-memory\), found \d+ MiB",
        ),
        (
            {"memory": 128},
            "for each in 1 2 3 4; do python3 -c 'import time; data = bytes(1) * (60 << 20); time.sleep(60)' & done; wait",
            r"at most 128 MiB of memory \(--build-memory\), found \d+ MiB",
        ),
        (
            {"space": 8},
            "head -c 9M /dev/zero >/build/a & head -c 9M /dev/zero >/tmp/b; wait",
            r"at most 8 MiB of files",
        ),
        ({"files": 100}, "for each in $(seq 200); do : >f$each; done", r"at most 100 files, found more"),
        (
            {},
            "python3 -c 'import os\nfor each in range(2000): os.mkdir(chr(97)); os.chdir(chr(97))'",
            r"at most 64 folders within each other, found more",
        ),
        (
            {"space": 8},
            "for each in 1 2 3; do truncate -s 4M /build/$each; done",
            r"at most 8 MiB of files, found 12 MiB",
        ),
    ],
    ids=["loop", "forks", "memory", "memory of several", "space", "files", "depth", "files with holes"],
)
def test_a_hog_is_ended_with_one_line(
    confine: Confine, tmp_path: Path, limits: dict[str, float], script: str, expected: str
) -> None:
    begin = time.monotonic()
    with pytest.raises(LimitError, match=expected) as caught:
        shell(confine(**limits), script, tmp_path / "log")
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("; it was ended")
    assert caught.value.exit_status == 1
    assert time.monotonic() - begin < 30
    assert not left_of(tmp_path / "work/build"), "a process is left"


@pytest.mark.parametrize(
    "script",
    [
        "unshare --user --map-root-user true",
        "unshare --net true",
        "python3 -c 'import os; os.memfd_create(\"x\")'",
        "fallocate -l 1M large",
        "perl -e 'shmget(0, 1 << 20, 0700) or die'",
    ],
    ids=["user namespace", "network namespace", "memfd", "fallocate", "System V"],
)
def test_nothing_gets_around_the_limits(confine: Confine, tmp_path: Path, script: str) -> None:
    """Each succeeds without the filter of system calls, in namespaces and as nobody too."""
    confined = confine()
    status, lines = shell(confined, script, tmp_path / "log")
    assert status not in (0, 127), lines
    assert any("not permitted" in line or "not supported" in line or "Died" in line for line in lines), lines


def test_a_source_that_is_larger_than_a_build_may_be(confine: Confine, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/large").write_bytes(bytes(2 << 20))
    with pytest.raises(LimitError, match=r"source: expected at most 1 MiB of files, found 2 MiB; name the driver's"):
        confine(space=1).take(tmp_path / "source")
    assert not list((tmp_path / "work/build").iterdir())


def left_of(folder: Path) -> list[int]:
    """Return the processes that have a build folder mounted as /build."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            mounts = [line.split() for line in (entry / "mountinfo").read_text().splitlines()]
        except OSError:
            continue
        # A bind mount's root is the path in its file system, which may be mounted elsewhere than at /.
        if any(str(folder).endswith(fields[3]) and fields[4] == "/build" and fields[3] != "/" for fields in mounts):
            found.append(int(entry.name))
    return found


def test_a_host_whose_own_limits_are_lower(confine: Confine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = resource.getrlimit

    def lower(kind: int) -> tuple[int, int]:
        return (100, 200) if kind == resource.RLIMIT_NOFILE else own(kind)

    monkeypatch.setattr(resource, "getrlimit", lower)
    assert shell(confine(), "ulimit -Hn", tmp_path / "log") == (0, ["200"])


def test_all_output_is_kept_in_its_order(confine: Confine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "echo one; echo two >/dev/stderr; echo three >/dev/stdout; echo four >&2"
    assert shell(confine(), script, tmp_path / "log") == (0, ["one", "two", "three", "four"])
    monkeypatch.setattr("plugfest.build.confinement._LARGEST_LOG", 1000)
    shell(confine(), "yes | head -c 999999", tmp_path / "log")
    assert (tmp_path / "log").stat().st_size == 1000


def test_what_a_program_leaves_behind_ends_with_it(confine: Confine, tmp_path: Path) -> None:
    status, _ = shell(
        confine(), "setsid sh -c 'while :; do echo . >>after; sleep 0.01; done' & sleep 0.3", tmp_path / "log"
    )
    assert status == 0
    after = tmp_path / "work/build/after"
    size = after.stat().st_size
    assert size > 0
    time.sleep(0.2)
    assert after.stat().st_size == size


def test_a_killed_runner_leaves_no_process(
    build_root: BuildRoot, provisioning: ProvisionSettings, tmp_path: Path
) -> None:
    code = f"""
from pathlib import Path
from plugfest.build.confinement import Confinement
bwrap = {ensure_bwrap(provisioning)!r}
confined = Confinement(Path({str(build_root.root)!r}), bwrap, Path({str(tmp_path / "work")!r}))
confined.run(["sh", "-c", "touch ready; sleep 1000"], log=Path({str(tmp_path / "log")!r}))
"""
    runner = subprocess.Popen([sys.executable, "-c", code])
    try:
        assert poll((tmp_path / "work/build/ready").exists, Deadline.after(20))
        assert left_of(tmp_path / "work/build")
    finally:
        runner.kill()
        runner.wait()
    assert poll(lambda: not left_of(tmp_path / "work/build"), Deadline.after(10)), "a process is left"


def test_pipes_and_sockets_are_not_copied(confine: Confine, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    os.mkfifo(source / "pipe")
    (source / "deep/file.c").write_text("int x;")
    (source / "link").symlink_to("/etc/passwd")
    confined = confine()
    confined.take(source)
    assert sorted(path.name for path in confined.build.rglob("*")) == ["deep", "file.c", "link"]
    assert (confined.build / "link").is_symlink()


@pytest.mark.parametrize(
    ("cores", "before", "after", "lost"),
    [
        (2, {1: (0, 0)}, {1: (1.0, 0.0)}, 0.0),  # a loop on an idle host
        (2, {1: (5, 3)}, {1: (5.1, 3.9)}, 0.9 * 0.95),  # a loop that gets a tenth of a core
        (
            2,
            dict.fromkeys(range(9), (0, 0)),
            dict.fromkeys(range(9), (2 / 9, 7 / 9)),
            0.0,
        ),  # nine loops alone
        (2, {1: (0, 0)}, {1: (0.0, 0.0)}, 0.0),  # one that sleeps
        (1, {}, {1: (0.0, 7.0)}, 1.0),  # a process waits no longer than there was time
        (2, {1: (9, 9)}, {}, 0.0),  # one that has ended
    ],
)
def test_time_that_others_take_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    cores: int,
    before: dict[int, tuple[float, float]],
    after: dict[int, tuple[float, float]],
    lost: float,
) -> None:
    """Each with the seconds that its processes ran and waited for a core, before and after one second."""
    monkeypatch.setattr("plugfest.build.confinement.cores", lambda: cores)
    counted = LostTime(tmp_path)
    for times, elapsed in ((before, 0.0), (after, 1.0)):
        for pid, (ran, waited) in times.items():
            (tmp_path / str(pid)).mkdir(exist_ok=True)
            (tmp_path / str(pid) / "schedstat").write_text(f"{int(ran * 1e9)} {int(waited * 1e9)} 1\n")
        counted.look(list(times), elapsed)
    assert counted.seconds == pytest.approx(lost, abs=1e-6)
