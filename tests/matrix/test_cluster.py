# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest matrix --scheduler``: a cluster of Dask distributed on this machine, each of its workers a process of its own."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import signal
import socket
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess as Process
from pathlib import Path
from types import SimpleNamespace

import pytest
import stand_in_cluster
from plugfest.errors import InfrastructureError
from plugfest.matrix import archive, ledger, task
from plugfest.matrix import cluster as client
from plugfest.matrix.job import Job, JobSettings
from plugfest.report import document
from stand_in import PROGRAM, StandIn, alive, counted, end, events, latest, wait_for

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["distributed", "plugfest.matrix.task"])  # which is imported once, and not in each process

DECLARED = {"MEMORY": 4096, "KVM": 2}


@dataclass
class LocalCluster:
    """A scheduler and workers, each a process of its own."""

    home: Path
    processes: dict[str, Process] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return (self.home / "address").read_text()

    def start_scheduler(self) -> None:
        self._start("scheduler", stand_in_cluster.scheduler, self.home / "address")
        wait_for(lambda: (self.home / "address").exists() and self.address, "a scheduler")

    def start_workers(self, *names: str, broken: bool = False, **declared: int) -> None:
        home = os.environ["STAND_IN"]
        for name in names:
            self._start(name, stand_in_cluster.worker, home, PROGRAM, self.address, name, declared or DECLARED, broken)
        for name in names:
            wait_for((Path(home) / f"worker-{name}").exists, f"worker {name}")

    def _start(self, name: str, target: Callable[..., None], *arguments: object) -> None:
        self.processes[name] = FORKS.Process(target=target, args=arguments)
        self.processes[name].start()

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        process.kill()
        process.join()

    def close(self) -> None:
        for name in list(self.processes):
            self.kill(name)


@pytest.fixture
def cluster(stand_in, tmp_path) -> Iterator[LocalCluster]:
    folder = tmp_path / "cluster"
    folder.mkdir()
    made = LocalCluster(folder)
    made.start_scheduler()
    yield made
    made.close()


def who_runs(cluster: LocalCluster, pid: int) -> str:
    """The worker whose child a process is."""
    parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    (name,) = [name for name, process in cluster.processes.items() if process.pid == parent]
    return name


def test_a_worker_killed_in_the_middle_of_a_run(cluster, stand_in: StandIn, write) -> None:
    """Nothing is lost, and nothing is counted twice: another worker takes its job over, and each job counts once."""
    drivers = ("ixgbe", "gve", "igb", "e1000e")
    stand_in.does(**{name: [{"wait": True}] for name in drivers})
    cluster.start_workers("one", "two")
    matrix = stand_in.start("matrix", str(write(*drivers, run="guests = 2")), "--scheduler", cluster.address)
    wait_for(lambda: sum(len(stand_in.runs(name)) for name in drivers) == 2, "both workers run")
    victim = next(name for name in drivers if stand_in.runs(name))
    pid = stand_in.runs(victim)[0]["pid"]
    killed = who_runs(cluster, pid)
    cluster.kill(killed)
    wait_for(lambda: not alive(pid), "the run ends with its worker")
    stand_in.go(*drivers)
    assert end(matrix) == 0, stand_in.log()

    (survivor,) = {"one", "two"} - {killed}
    assert [len(stand_in.runs(name)) for name in drivers] == [2 if name == victim else 1 for name in drivers]
    assert [stand_in.ended(name) for name in drivers] == [1, 1, 1, 1]
    assert list(counted(latest()).values()) == [["passed"]] * 4
    found = json.loads((latest() / ledger.SUMMARY).read_text())
    assert (found["complete"], found["exit_status"]) == (True, 0)
    assert {job["where"] for job in found["jobs"]} == {survivor}
    for job in found["jobs"]:
        assert document.load(latest() / job["folder"])["run"]["driver"] == job["driver"]
        assert (
            latest() / job["folder"] / "output.log"
        ).read_text() == f"{job['driver']}, run {1 + (job['driver'] == victim)}\n"
        assert [path.name for path in (latest() / job["name"]).glob("attempt-*")] == ["attempt-1"]
    assert f"{killed} was lost in the middle of it; {survivor} takes it over" in stand_in.log()
    assert len([event for event in events(latest(), "begin") if event["job"].startswith(victim)]) == 2


def test_interrupted_and_continued(cluster, stand_in: StandIn, write, plugfest) -> None:
    """A run on a worker ends with its matrix; what is done stays, and the rest is run when it is continued."""
    stand_in.does(gve=[{"wait": True}, {}], igb=[{"wait": True}, {}])
    cluster.start_workers("one")
    path = write("ixgbe", "gve", "igb", run="guests = 1")
    matrix = stand_in.start("matrix", str(path), "--scheduler", cluster.address)
    wait_for(lambda: stand_in.runs("gve"), "the second run")
    wait_for(lambda: "passed    ixgbe" in stand_in.log(), "the first result")
    assert end(matrix, signal.SIGINT) == 130
    wait_for(lambda: stand_in.interrupted("gve") == 1, "the worker ends the run")
    matrix = stand_in.start("matrix", str(path), "--scheduler", cluster.address)
    wait_for(lambda: stand_in.runs("igb"), "the third run")
    # By SIGKILL: the scheduler sees that nobody waits any longer.
    end(matrix, signal.SIGKILL)
    wait_for(lambda: stand_in.interrupted("igb") == 1, "the worker ends the run")
    done = plugfest("matrix", str(path), "--scheduler", cluster.address)
    assert done.status == 0
    assert set(map(tuple, counted(latest()).values())) == {("passed",)}
    assert [len(stand_in.runs(name)) for name in ("ixgbe", "gve", "igb")] == [1, 2, 2]


def test_a_scheduler_that_goes_away(cluster, stand_in: StandIn, write, monkeypatch) -> None:
    monkeypatch.setattr(client, "CONNECT", 0.5)
    stand_in.does(gve=[{"wait": True}])
    cluster.start_workers("one")
    matrix = stand_in.start(
        "matrix", str(write("ixgbe", "gve", "igb", "e1000e", run="guests = 1")), "--scheduler", cluster.address
    )
    wait_for(lambda: stand_in.runs("gve"), "the second run")
    wait_for(lambda: "passed    ixgbe" in stand_in.log(), "the first result")
    cluster.kill("scheduler")
    assert end(matrix) == 3
    (line,) = [line for line in stand_in.log().splitlines() if line.startswith("plugfest: ")]
    assert "expected Dask's scheduler, found that the connection was lost" in line
    assert "the same command continues" in line
    assert "Traceback" not in stand_in.log()
    assert stand_in.log().splitlines()[-1] == line
    assert counted(latest()) == {"ixgbe-kr-trixie-backports": ["passed"]}


def test_workers_declare_what_they_have(cluster, stand_in: StandIn, write, plugfest, monkeypatch) -> None:
    """A job goes to a worker that has what it needs; where none has, one line says what to start, and the others are done."""
    monkeypatch.setattr(client, "LOOK", 0.1)
    monkeypatch.setattr(client, "PATIENCE", 1.0)
    cluster.start_workers("small", MEMORY=1536)
    cluster.start_workers("large", MEMORY=3072, KVM=2)
    more = 'include = [{driver = "gve", accel = "kvm", guests = 2}, {driver = "igb", memory = 4096}]'
    done = plugfest(
        "matrix", str(write("ixgbe", "gve", "igb", run="guests = 1", more=more)), "--scheduler", cluster.address
    )
    assert done.status == 3
    found = {job["driver"]: job.get("where") for job in json.loads((latest() / ledger.SUMMARY).read_text())["jobs"]}
    assert (found["ixgbe"] in ("small", "large"), found["gve"], found["igb"]) == (True, "large", None)
    text = (
        "igb on trixie-backports needs a worker with MEMORY=4608, and none of 2 declares that; start one: dask worker "
    )
    assert text in done.out
    assert text in done.line
    assert stand_in.runs("igb") == []


@pytest.mark.parametrize(
    ("run", "option"), [("", ["--max-guests", "4"]), ("guests = 1", ["--guests", "1"])], ids=["not set", "set"]
)
def test_a_job_has_no_more_guests_than_it_reserves(cluster, stand_in, write, plugfest, run, option) -> None:
    cluster.start_workers("one", MEMORY=8192)
    assert plugfest("matrix", str(write("ixgbe", run=run)), "--scheduler", cluster.address).status == 0
    arguments = stand_in.runs("ixgbe")[0]["arguments"]
    assert arguments[arguments.index(option[0]) :][:2] == option
    assert len([name for name in arguments if "guests" in name]) == 1


def test_what_a_job_needs() -> None:
    def needed(**settings: object) -> dict[str, float]:
        return client.resources(Job("ixgbe", "kr", "trixie", settings=JobSettings(**settings)))

    assert needed() == {"MEMORY": 4 * 1536}
    assert needed(guests=2, memory=512, accel="tcg") == {"MEMORY": 2 * 1024}
    assert needed(guests=3, accel="kvm") == {"MEMORY": 3 * 1536, "KVM": 3}


def test_a_worker_of_another_version(monkeypatch) -> None:
    monkeypatch.setattr(task, "get_worker", lambda: SimpleNamespace(name="one"))
    with pytest.raises(
        InfrastructureError, match=r"worker one: expected plugfest 9\.9, found .*; install the same one"
    ):
        task.carry_out(Job("ixgbe", "kr", "trixie").describe(), "topic", "9.9")


def test_workers_of_another_version_are_refused(cluster, stand_in: StandIn, write, plugfest, monkeypatch) -> None:
    """Such a worker would fail each job at once, and so get most of them."""
    monkeypatch.setattr(client, "__version__", "9.9")
    cluster.start_workers("one")
    command = ("matrix", str(write("ixgbe", run="guests = 1")), "--scheduler", cluster.address)
    text = "worker one: expected plugfest 9.9, found 0.1.0; install the same one on all workers"
    done = plugfest(*command)
    assert (done.status, done.line) == (3, text)

    async def not_yet(*_: object) -> None:
        """The worker comes later."""

    monkeypatch.setattr(client, "_check_versions", not_yet)
    done = plugfest(*command)
    assert (done.status, done.line) == (3, f"{text}; then the same command continues")
    assert counted(latest()) == {}


def test_what_a_worker_raises_costs_one_attempt(cluster, stand_in: StandIn, write, plugfest) -> None:
    """Also before it has reported that it begins."""
    cluster.start_workers("one", broken=True)
    done = plugfest("matrix", str(write("ixgbe", run="guests = 1\nretries = 2")), "--scheduler", cluster.address)
    assert done.status == 3
    assert len([*stand_in.home.glob("tried-*")]) == 3
    assert [event["attempt"] for event in events(latest(), "end")] == [1, 2, 3]
    assert "this worker is broken" in done.out
    assert counted(latest()) == {"ixgbe-kr-trixie-backports": ["no result"]}


def test_a_torn_archive_costs_one_attempt(cluster, stand_in: StandIn, write, plugfest, monkeypatch) -> None:
    original, calls = archive.unpack, []

    def unpack(data: bytes, folder: Path) -> None:
        calls.append(folder)
        original(data[:100] if len(calls) == 1 else data, folder)

    monkeypatch.setattr(archive, "unpack", unpack)
    cluster.start_workers("one")
    done = plugfest("matrix", str(write("ixgbe", "igb", run="guests = 1")), "--scheduler", cluster.address)
    assert done.status == 0
    assert "is tried again: " in done.out
    assert sorted(len(stand_in.runs(name)) for name in ("ixgbe", "igb")) == [1, 2]


def test_a_scheduler_that_is_away(write, plugfest, monkeypatch) -> None:
    monkeypatch.setattr(client, "CONNECT", 0.5)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        done = plugfest("matrix", str(write("ixgbe")), "--scheduler", address)
    assert done.status == 3
    assert f"--scheduler {address}: expected Dask's scheduler, found: " in done.line
    assert "start it, or correct the address" in done.line


def test_an_address_that_is_none(write, plugfest) -> None:
    done = plugfest("matrix", str(write("ixgbe")), "--scheduler", "nonsense://x")
    assert done.status == 3
    assert "--scheduler nonsense://x: expected Dask's scheduler, found: " in done.line


def test_without_dask(write, plugfest, monkeypatch) -> None:
    from plugfest.cli import matrix

    monkeypatch.setattr(matrix.importlib.util, "find_spec", lambda name: None)
    done = plugfest("matrix", str(write("ixgbe")), "--scheduler", "tcp://127.0.0.1:1")
    assert (done.status, [*Path().glob("results")]) == (3, [])
    assert done.line == "--scheduler: expected Dask distributed, found none; install it: pip install 'plugfest[dask]'"


class TestArchive:
    @pytest.fixture
    def folder(self, tmp_path) -> Path:
        made = tmp_path / "a"
        (made / "guest-1" / "empty").mkdir(parents=True)
        (made / "guest-1" / "wire.pcap").write_bytes(bytes(range(256)) * 1000)
        (made / "latest").symlink_to("guest-1")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(made / "s"))
        listener.close()
        return made

    def test_there_and_back(self, folder, tmp_path) -> None:
        archive.unpack(archive.pack(folder), tmp_path / "deep" / "b")
        found = tmp_path / "deep" / "b"
        assert {str(path.relative_to(found)) for path in found.rglob("*")} == {
            "guest-1",
            "guest-1/empty",
            "guest-1/wire.pcap",
        }
        assert (found / "guest-1" / "wire.pcap").read_bytes() == bytes(range(256)) * 1000
        assert [path.name for path in found.parent.iterdir()] == ["b"]

    def test_torn(self, folder, tmp_path) -> None:
        data = archive.pack(folder)
        for cut in (0, 10, len(data) // 2, len(data) - 1):
            with pytest.raises(archive.TornArchiveError, match="expected the output folder of a run from a worker"):
                archive.unpack(data[:cut], tmp_path / "b")
            assert [path.name for path in tmp_path.iterdir() if path.name.startswith((".", "b"))] == []

    def test_a_disk_that_cannot_be_written(self, folder, tmp_path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(
            InfrastructureError, match=r"expected to write .* then the same command continues"
        ) as raised:
            archive.unpack(archive.pack(folder), tmp_path / "file" / "b")
        assert not isinstance(raised.value, archive.TornArchiveError)

    @pytest.mark.parametrize(
        ("name", "kind"),
        [("../x", tarfile.REGTYPE), ("/tmp/x", tarfile.REGTYPE), ("x", tarfile.SYMTYPE), ("x", tarfile.FIFOTYPE)],
    )
    def test_what_leads_out(self, tmp_path, name: str, kind: bytes) -> None:
        target = io.BytesIO()
        with tarfile.open(fileobj=target, mode="w:gz") as tar:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc"
            tar.addfile(member, io.BytesIO())
        with pytest.raises(InfrastructureError, match="which"):
            archive.unpack(target.getvalue(), tmp_path / "b")
        assert [*tmp_path.iterdir()] == []
