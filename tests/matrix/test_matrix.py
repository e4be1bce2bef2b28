# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest matrix`` on this machine, whose jobs are carried out by a stand-in: what counts, what is tried again, what is continued."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import os
import shlex
import signal
from contextlib import closing
from pathlib import Path

import pytest
from plugfest import cli
from plugfest.matrix import attempt, ledger, pool, summary
from plugfest.matrix.attempt import AttemptEnd
from plugfest.matrix.job import Job, JobSettings
from plugfest.matrix.ledger import Finished, Ledger
from plugfest.report import document
from rich.console import Console
from stand_in import alive, counted, end, events, latest, wait_for


def test_all_jobs_have_a_report(plugfest, write, stand_in) -> None:
    stand_in.does(igb=[{"status": 1, "verdict": "fail"}])
    done = plugfest("matrix", str(write("ixgbe", "igb", run='areas = ["smoke"]')))
    assert done.status == 1
    folder = latest()
    assert folder.name.startswith("m-")
    for name in ("ixgbe-kr-trixie-backports", "igb-trixie-backports"):
        assert document.load(folder / name / "latest")["run"]["driver"] == name.partition("-")[0]
        assert (folder / name / "latest").resolve().name == "attempt-1"
    assert "passed    ixgbe (kr) on trixie-backports: 3 pass; " in done.out
    assert "failed    igb on trixie-backports: 3 fail; " in done.out
    assert done.out.splitlines()[-1] == (
        f"2 jobs: 1 passed, 1 failed; each has its report in results/{folder.name}/JOB/latest"
    )
    assert done.err == ""
    found = json.loads((folder / ledger.SUMMARY).read_text())
    assert (found["schema"], found["complete"], found["exit_status"]) == (1, True, 1)
    assert [(each["name"], each["outcome"], each["summary"]) for each in found["jobs"]] == [
        ("ixgbe-kr-trixie-backports", "passed", {"pass": 3}),
        ("igb-trixie-backports", "failed", {"fail": 3}),
    ]
    assert (folder / found["jobs"][0]["folder"] / "report.html").is_file()


def test_a_run_that_dies_costs_one_run(plugfest, write, stand_in) -> None:
    """The others have their results; what its journal has is reported."""
    stand_in.does(
        gve=[{"kill": signal.SIGKILL}], igb=[{"error": "expected the guest to boot within 60 s, found a panic"}]
    )
    done = plugfest("matrix", str(write("ixgbe", "gve", "igb", run="retries = 0")))
    assert done.status == 3
    found = {each["driver"]: each for each in json.loads((latest() / ledger.SUMMARY).read_text())["jobs"]}
    assert [found[name]["outcome"] for name in ("ixgbe", "gve", "igb")] == ["passed", "no result", "no result"]
    assert found["gve"]["reason"] == "it was ended by signal 9"
    assert found["igb"]["reason"] == "expected the guest to boot within 60 s, found a panic"
    report = document.load(latest() / found["gve"]["folder"])
    assert (report["run"]["complete"], report["run"]["interrupted"]) == (False, "killed by signal 9")
    assert report["summary"]["pass"] == 3
    assert "1 passed, 2 no result" in done.out


def test_a_job_without_a_result_is_tried_again(plugfest, write, stand_in) -> None:
    stand_in.does(ixgbe=[{"error": "no space"}, {"torn": True}, {}])
    done = plugfest("matrix", str(write("ixgbe", run="retries = 2")))
    assert done.status == 0
    assert len(stand_in.runs("ixgbe")) == 3
    assert counted(latest()) == {"ixgbe-kr-trixie-backports": ["passed"]}
    assert "ended without a result, and is tried again: no space" in done.out
    assert "report.json: expected a report.json, found" in done.out
    link = latest() / "ixgbe-kr-trixie-backports" / "latest"
    assert (link.resolve().name, len([*link.parent.glob("attempt-*")])) == ("attempt-3", 3)


def test_a_job_is_tried_again_no_more_often_than_its_file_says(plugfest, write, stand_in) -> None:
    stand_in.does(ixgbe=[{"error": "no space"}])
    assert plugfest("matrix", str(write("ixgbe"))).status == 3
    assert len(stand_in.runs("ixgbe")) == 2


def test_what_the_command_line_is_blamed_for_is_not_tried_again(plugfest, write, stand_in) -> None:
    stand_in.does(ixgbe=[{"error": "pytest's arguments: expected to select a test, found none", "status": 2}])
    done = plugfest("matrix", str(write("ixgbe", run="retries = 5")))
    assert (done.status, len(stand_in.runs("ixgbe"))) == (3, 1)
    assert "expected to select a test, found none" in done.out


@pytest.fixture
def time_is_up(stand_in, monkeypatch) -> None:
    """A time limit is over as soon as the run of ixgbe has begun, however busy the host is."""
    original = asyncio.timeout

    def timeout(seconds: float) -> asyncio.Timeout:
        assert seconds == 90
        made = original(None)

        async def watch() -> None:
            while not stand_in.runs("ixgbe"):
                await asyncio.sleep(0.01)
            made.reschedule(asyncio.get_running_loop().time())

        stand_in.watches.append(asyncio.get_running_loop().create_task(watch()))
        return made

    monkeypatch.setattr(asyncio, "timeout", timeout)


@pytest.mark.usefixtures("time_is_up")
def test_a_time_limit(plugfest, write, stand_in) -> None:
    """The run has its time to make a report, which counts for what it has; a second attempt would take as long."""
    stand_in.does(ixgbe=[{"wait": True}])
    done = plugfest("matrix", str(write("ixgbe", run="time-limit = 1.5")))
    assert (done.status, stand_in.interrupted("ixgbe"), len(stand_in.runs("ixgbe"))) == (3, 1, 1)
    assert "it took longer than its time limit, 1.5 min" in done.out


@pytest.mark.usefixtures("time_is_up")
def test_a_run_that_does_not_end_is_killed(plugfest, write, stand_in, monkeypatch) -> None:
    monkeypatch.setattr(attempt, "GRACE", 0.2)
    stand_in.does(ixgbe=[{"wait": True, "stubborn": True}])
    done = plugfest("matrix", str(write("ixgbe", run="time-limit = 1.5")))
    assert done.status == 3
    (run,) = stand_in.runs("ixgbe")
    assert not alive(run["pid"])


def test_a_job_inherits_what_is_the_machines_alone(plugfest, write, stand_in, monkeypatch) -> None:
    for name, value in {
        "PLUGFEST_AREA": "xdp",
        "PYTEST_ADDOPTS": "-x",
        "FORCE_COLOR": "1",
        "PLUGFEST_MIRROR": "m",
        "PLUGFEST_KNOWN_ISSUES": "mine.toml",
        "PLUGFEST_QUARANTINE": "mine.toml",
        "PLUGFEST_STRICT_WAITS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    plugfest("matrix", str(write("ixgbe")))
    found = json.loads((stand_in.home / "environment-ixgbe").read_text())
    inherited = {name: value for name, value in found.items() if name.startswith(("PLUGFEST_", "PYTEST_ADD", "FORCE_"))}
    assert inherited == {"PLUGFEST_MIRROR": "m"}


def test_a_log_without_a_terminal_says_how_far_it_is(plugfest, write, stand_in, monkeypatch) -> None:
    from plugfest.matrix import progress

    monkeypatch.setattr(progress, "_QUIET", 0.1)
    stand_in.does(ixgbe=[{"seconds": 0.6}])
    done = plugfest("matrix", str(write("ixgbe")))
    assert "ixgbe (kr) on trixie-backports: 3 of 3 tests" in done.out
    assert "\x1b" not in done.out


class TestRoom:
    def test_as_many_at_a_time_as_cores_and_memory_allow(self, plugfest, write, stand_in, monkeypatch) -> None:
        monkeypatch.setattr(pool, "cores", lambda: 6)
        monkeypatch.setattr(pool, "free_memory", lambda: 100_000)
        stand_in.does(**{name: [{"wait": True}] for name in ("ixgbe", "gve", "igb", "e1000e")})
        path = write("ixgbe", "gve", "igb", "e1000e", run="guests = 2")
        process = stand_in.start("matrix", str(path))
        first = ("ixgbe", "gve", "igb")
        wait_for(lambda: all(stand_in.runs(name) for name in first), "three runs")
        assert stand_in.runs("e1000e") == []
        stand_in.go("gve")
        wait_for(lambda: stand_in.runs("e1000e"), "the fourth run")
        assert (stand_in.ended("gve"), stand_in.ended("ixgbe")) == (1, 0)
        stand_in.go(*first, "e1000e")
        assert end(process) == 0

    @pytest.mark.parametrize(
        ("cores", "memory", "at_a_time", "guests", "running"),
        [
            (2, 100_000, None, None, 1),  # one run has four guests, all that a small host has
            (2, 100_000, None, 2, 2),
            (8, 100_000, None, 2, 4),
            (8, 100_000, None, None, 1),
            (64, 400_000, None, None, 4),  # of 16 guests each
            (8, 3 * 1536, None, 1, 3),
            (8, 100, None, 1, 1),  # too little for one, which tries nevertheless
            (8, None, None, 4, 2),
            (8, 100_000, 2, None, 2),
            (2, 100_000, 5, 4, 5),  # as asked for
            (2, 4 * 1536, 5, 2, 2),  # as asked for, if memory allows
            (2, 100_000, None, 100, 1),
        ],
    )
    def test_how_many(self, monkeypatch, tmp_path, cores, memory, at_a_time, guests, running) -> None:
        monkeypatch.setattr(pool, "cores", lambda: cores)
        monkeypatch.setattr(pool, "free_memory", lambda: memory)
        now, most, order = 0, 0, []

        async def carry_out(arguments, folder, **_):
            nonlocal now, most
            now, most = now + 1, max(most, now + 1)
            order.append(folder.name)
            await asyncio.sleep(0)
            now -= 1
            return AttemptEnd(0, 1.0)

        monkeypatch.setattr(attempt, "carry_out", carry_out)

        class Watcher:
            def began(self, where: str | None) -> None: ...
            def counted(self, count: object) -> None: ...

        async def run_all() -> None:
            made = pool.Pool(at_a_time)
            job = Job("ixgbe", "kr", "trixie", settings=JobSettings(guests=guests))
            await asyncio.gather(*(made.attempt(job, tmp_path / f"{number:02}", Watcher()) for number in range(10)))

        asyncio.run(run_all())
        assert most == running
        assert order == sorted(order)

    @pytest.mark.parametrize(
        ("run", "option"), [("", ["--max-guests", "4"]), ("guests = 9", ["--guests", "9"])], ids=["a share", "set"]
    )
    def test_a_share_is_no_demand(self, plugfest, write, stand_in, monkeypatch, run: str, option: list[str]) -> None:
        """A run that finds less memory by then has fewer guests, unless the file says how many."""
        monkeypatch.setattr(pool, "cores", lambda: 8)
        monkeypatch.setattr(pool, "free_memory", lambda: 100_000)
        assert plugfest("matrix", str(write("ixgbe", run=run)), "--jobs", "2").status == 0
        arguments = stand_in.runs("ixgbe")[0]["arguments"]
        assert [name for name in arguments if "guests" in name] == option[:1]
        assert arguments[arguments.index(option[0]) :][:2] == option


class TestContinued:
    def test_after_sigint(self, write, stand_in, plugfest) -> None:
        stand_in.does(gve=[{"wait": True}, {}])
        path = write("ixgbe", "gve", "igb")
        process = stand_in.start("matrix", str(path), "--jobs", "1")
        wait_for(lambda: stand_in.runs("gve"), "the second run")
        assert end(process, signal.SIGINT) == 130
        assert stand_in.interrupted("gve") == 1
        assert stand_in.log().endswith("interrupted (SIGINT); the same command continues\n")
        assert "1 passed, 2 to do" in stand_in.log()
        done = plugfest("matrix", str(path))
        assert done.status == 0
        assert "3 jobs in results/" in done.out
        assert "of which 1 are done; --new begins anew" in done.out
        assert [len(stand_in.runs(name)) for name in ("ixgbe", "gve", "igb")] == [1, 2, 1]
        assert set(map(tuple, counted(latest()).values())) == {("passed",)}
        assert len([*Path("results").iterdir()]) == 1

    @pytest.mark.parametrize("at_a_time", ["1", "2"])
    def test_interrupted_runs_have_their_time_to_end(self, write, stand_in, at_a_time: str) -> None:
        """Whether others run or wait."""
        drivers = ("ixgbe", "gve", "igb")
        stand_in.does(**{name: [{"wait": True, "ending": 1.0}] for name in drivers})
        process = stand_in.start("matrix", str(write(*drivers, run="guests = 1")), "--jobs", at_a_time)
        running = drivers[: int(at_a_time)]
        wait_for(lambda: all(map(stand_in.runs, running)), "the runs")
        assert end(process, signal.SIGINT) == 130
        assert [stand_in.ended_by_itself(name) for name in running] == [1] * len(running)
        assert [event["interrupted"] for event in events(latest(), "end")] == [True] * len(running)

    @pytest.mark.usefixtures("time_is_up")
    def test_a_run_whose_time_is_up_has_its_time_to_end_when_interrupted(self, write, stand_in) -> None:
        stand_in.does(ixgbe=[{"wait": True, "ending": 1.0}])
        process = stand_in.start("matrix", str(write("ixgbe", run="time-limit = 1.5")))
        wait_for(lambda: stand_in.interrupted("ixgbe"), "the end of its time")
        assert end(process, signal.SIGINT) == 130
        assert stand_in.ended_by_itself("ixgbe") == 1

    def test_a_terminals_interrupt_reaches_each_run_once(self, write, stand_in) -> None:
        """^C goes to the process group of the matrix. The runs get it from the matrix, and from it alone."""
        stand_in.does(ixgbe=[{"wait": True, "ending": 1.0}], gve=[{"wait": True, "ending": 1.0}])
        process = stand_in.start("matrix", str(write("ixgbe", "gve", run="guests = 1")))
        wait_for(lambda: stand_in.runs("ixgbe") and stand_in.runs("gve"), "the runs")
        os.killpg(process.pid, signal.SIGINT)
        assert end(process) == 130
        assert [stand_in.interrupted_by(name) for name in ("ixgbe", "gve")] == [[process.pid]] * 2

    def test_a_second_signal_kills(self, write, stand_in) -> None:
        stand_in.does(ixgbe=[{"wait": True, "stubborn": True}])
        process = stand_in.start("matrix", str(write("ixgbe")))
        wait_for(lambda: stand_in.runs("ixgbe"), "the run")
        os.kill(process.pid, signal.SIGTERM)
        wait_for(lambda: stand_in.interrupted("ixgbe"), "the interruption")
        assert end(process, signal.SIGTERM) == 143
        assert not alive(stand_in.runs("ixgbe")[0]["pid"])

    def test_after_sigkill(self, write, stand_in, plugfest) -> None:
        """The runs end with the matrix, so the next one is alone with them; nothing is counted twice."""
        stand_in.does(ixgbe=[{"wait": True}, {}], gve=[{"wait": True}, {}])
        path = write("ixgbe", "gve", run="guests = 1")
        process = stand_in.start("matrix", str(path))
        wait_for(lambda: stand_in.runs("ixgbe") and stand_in.runs("gve"), "both runs")
        pids = [stand_in.runs(name)[0]["pid"] for name in ("ixgbe", "gve")]
        end(process, signal.SIGKILL)
        wait_for(lambda: not any(map(alive, pids)), "the runs end")
        done = plugfest("matrix", str(path))
        assert done.status == 0
        assert counted(latest()) == {"ixgbe-kr-trixie-backports": ["passed"], "gve-std-trixie-backports": ["passed"]}
        assert [len(stand_in.runs(name)) for name in ("ixgbe", "gve")] == [2, 2]
        assert [event["attempt"] for event in events(latest(), "begin")] == [1, 1, 2, 2]

    def test_a_torn_last_line(self, write, stand_in, plugfest) -> None:
        path = write("ixgbe", "gve")
        plugfest("matrix", str(path), "--output", "out")
        file = Path("out") / ledger.NAME
        lines = file.read_text().splitlines(keepends=True)
        file.write_text("".join(lines[:-1]) + lines[-1][:40])
        links = [path / "latest" for path in Path("out").iterdir() if path.is_dir()]
        for link in links:
            link.unlink()
        assert plugfest("matrix", str(path), "--output", "out").status == 0
        assert set(map(tuple, counted(Path("out")).values())) == {("passed",)}
        assert sorted(link.is_symlink() for link in links) == [False, True], "what is counted now has a link"
        # The attempt whose end was torn had its report: it is not run again.
        assert [len(stand_in.runs(name)) for name in ("ixgbe", "gve")] == [1, 1]

    def test_a_job_that_takes_the_machine_with_it_is_given_up(self, tmp_path) -> None:
        job = Job("ixgbe", "kr", "trixie")
        for number in range(1, ledger.MOST_LOST + 1):
            with closing(Ledger(tmp_path, [job])) as opened:
                assert opened.next_attempt(job) == number
                opened.begin(job, number)
        with closing(Ledger(tmp_path, [job])) as opened:
            assert (opened.complete, opened.status) == (True, 3)
            assert opened.finished[job.name].reason.startswith("3 attempts were lost: each time the matrix was killed")
        assert counted(tmp_path) == {job.name: ["no result"]}

    def test_an_attempt_that_ended_before_it_began_is_one(self, tmp_path) -> None:
        """A worker that cannot begin is no machine that goes down."""
        job = Job("ixgbe", "kr", "trixie")
        with closing(Ledger(tmp_path, [job])) as opened:
            assert opened.end(job, 1, AttemptEnd(3, 0.0, "no space"), "one") is None
            assert opened.next_attempt(job) == 2
        for number in range(2, 2 + ledger.MOST_LOST):
            with closing(Ledger(tmp_path, [job])) as opened:
                assert opened.next_attempt(job) == number
                opened.begin(job, number)
        with closing(Ledger(tmp_path, [job])) as opened:
            assert opened.complete

    def test_after_an_upgrade_that_adds_a_setting(self, tmp_path) -> None:
        job = Job("ixgbe", "kr", "trixie")
        Ledger(tmp_path, [job]).close()
        file = tmp_path / ledger.NAME
        event = json.loads(file.read_text())
        del event["jobs"][0]["settings"]["strict_waits"]
        file.write_text(json.dumps(event) + "\n")
        assert ledger.unfinished(tmp_path, [job])
        with closing(Ledger(tmp_path, ledger.jobs_of(tmp_path))) as opened:
            assert opened.waiting() == [job]

    def test_interruptions_by_the_user_are_not_counted_as_lost(self, tmp_path) -> None:
        job = Job("ixgbe", "kr", "trixie")
        for number in range(1, 10):
            with closing(Ledger(tmp_path, [job])) as opened:
                assert opened.next_attempt(job) == number
                opened.begin(job, number)
                opened.interrupt(job, number)

    def test_new_begins_anew(self, write, stand_in, plugfest) -> None:
        stand_in.does(ixgbe=[{"wait": True}, {}])
        path = write("ixgbe")
        process = stand_in.start("matrix", str(path), "--output", "results/m-20000101-000000")
        wait_for(lambda: stand_in.runs("ixgbe"), "the run")
        end(process, signal.SIGINT)
        assert plugfest("matrix", str(path), "--new").status == 0
        assert len([*Path("results").iterdir()]) == 2

    def test_another_definition_begins_anew(self, write, stand_in, plugfest) -> None:
        stand_in.does(ixgbe=[{"wait": True}, {}])
        process = stand_in.start("matrix", str(write("ixgbe")), "--output", "results/m-20000101-000000")
        wait_for(lambda: stand_in.runs("ixgbe"), "the run")
        end(process, signal.SIGINT)
        assert plugfest("matrix", str(write("ixgbe", run="slow = true"))).status == 0
        assert len([*Path("results").iterdir()]) == 2

    def test_a_finished_one_is_shown_again(self, write, stand_in, plugfest) -> None:
        stand_in.does(ixgbe=[{"status": 1, "verdict": "fail"}])
        path = write("ixgbe")
        first, second = (plugfest("matrix", str(path), "--output", "out") for _ in range(2))
        assert (first.status, second.status, len(stand_in.runs("ixgbe"))) == (1, 1, 1)
        assert first.out.splitlines()[-1] == second.out.splitlines()[-1]


@pytest.mark.parametrize(
    ("reports", "says"),
    [
        (0, "2 jobs: 2 no result"),
        (1, "2 jobs: 1 passed, 1 no result; reports of 1 are in out/JOB/latest"),
        (2, "2 jobs: 2 passed; each has its report in out/JOB/latest"),
    ],
)
def test_the_summary_names_reports_that_there_are(tmp_path, reports: int, says: str) -> None:
    jobs = [Job("ixgbe", "kr", "trixie"), Job("igb", None, "trixie")]
    text = io.StringIO()
    with closing(Ledger(tmp_path, jobs)) as opened:
        for number, job in enumerate(jobs):
            found = {"pass": 3} if number < reports else {}
            opened.finished[job.name] = Finished(job, 1, tmp_path, 0 if found else 3, 1.0, found, None, None)
        summary.render(opened, Console(file=text, width=200), Path("out"))
    assert text.getvalue().splitlines()[-1] == says


class TestBadInput:
    def test_a_folder_of_another_matrix(self, write, plugfest) -> None:
        assert plugfest("matrix", str(write("ixgbe")), "--output", "out").status == 0
        done = plugfest("matrix", str(write("igb")), "--output", "out")
        assert done.status == 2
        assert (
            "out: expected a new folder, or the same matrix, found one of other jobs or settings; name another"
            in done.line
        )

    def test_a_folder_that_another_process_uses(self, write, stand_in, plugfest) -> None:
        stand_in.does(ixgbe=[{"wait": True}])
        path = write("ixgbe")
        process = stand_in.start("matrix", str(path), "--output", "out")
        wait_for(lambda: stand_in.runs("ixgbe"), "the run")
        done = plugfest("matrix", str(path), "--output", "out")
        assert (done.status, len(stand_in.runs("ixgbe"))) == (2, 1)
        assert "out: expected a matrix that no process carries out, found one that does; wait for it" in done.line
        stand_in.go("ixgbe")
        assert end(process) == 0

    def test_a_damaged_ledger(self, write, plugfest) -> None:
        path = write("ixgbe")
        assert plugfest("matrix", str(path), "--output", "out").status == 0
        file = Path("out") / ledger.NAME
        for text, expected in (
            ("x\n" + file.read_text(), "expected JSON in line 1"),
            ('{"event": "run"}\n', "expected the ledger"),
        ):
            file.write_text(text)
            done = plugfest("matrix", str(path), "--output", "out")
            assert done.status == 3
            assert expected in done.line
            assert file.read_text() == text

    def test_a_folder_that_cannot_be_written(self, write, plugfest) -> None:
        Path("file").write_text("")
        done = plugfest("matrix", str(write("ixgbe")), "--output", "file/out")
        assert done.status == 3
        assert "choose another folder with --output" in done.line

    def test_a_full_disk(self, write, plugfest, stand_in, monkeypatch) -> None:
        original, calls = os.fsync, []

        def fsync(descriptor: int) -> None:
            calls.append(descriptor)
            if len(calls) > 3:  # the matrix, and the beginnings of both jobs
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            original(descriptor)

        path = write("ixgbe", "igb", run="guests = 1")
        monkeypatch.setattr(os, "fsync", fsync)
        done = plugfest("matrix", str(path))
        assert done.status == 3
        assert (
            "matrix.jsonl: expected to write it, found: No space left on device; see that there is space" in done.line
        )
        monkeypatch.setattr(os, "fsync", original)
        assert plugfest("matrix", str(path)).status == 0
        assert set(map(tuple, counted(latest()).values())) == {("passed",)}

    def test_the_suite_and_upstreams_tests(self, write, stand_in, plugfest) -> None:
        done = plugfest("matrix", str(write("ixgbe", more='kinds = ["suite", "selftests"]')))
        assert done.status == 0
        found = {run["arguments"][0]: run["arguments"] for run in stand_in.runs("ixgbe")}
        assert set(found) == {"run", "selftests"}
        for command, arguments in found.items():
            # What a job passes, the command takes.
            cli.commands.commands[command].make_context(command, list(arguments[1:]))
        assert set(map(tuple, counted(latest()).values())) == {("passed",)}

    def test_selftests_are_refused_before_anything_runs(self, write, stand_in, plugfest, monkeypatch) -> None:
        monkeypatch.delitem(cli.commands.commands, "selftests", raising=False)
        done = plugfest("matrix", str(write("ixgbe", more='kinds = ["suite", "selftests"]')))
        assert (done.status, stand_in.runs("ixgbe"), [*Path().glob("results")]) == (2, [], [])
        assert "expected kinds that this plugfest has, found 'selftests': no command selftests" in done.line

    def test_a_machine_that_lacks_something(self, write, plugfest, stand_in, monkeypatch) -> None:
        from plugfest.errors import InfrastructureError
        from plugfest.run import sandbox

        def no_tun() -> None:
            raise InfrastructureError("expected /dev/net/tun for the tap, found: No such file or directory")

        monkeypatch.setattr(sandbox, "check_host", no_tun)
        done = plugfest("matrix", str(write("ixgbe")))
        assert (done.status, stand_in.runs("ixgbe")) == (3, [])
        assert "expected /dev/net/tun" in done.line


@pytest.mark.parametrize("run", ["", "guests = 2"], ids=["a share", "set"])
def test_a_dry_run_prints_what_is_run(plugfest, write, stand_in, run: str) -> None:
    command = ("matrix", str(write("ixgbe", "igb", run=run)), "--output", "out", "--jobs", "2")
    done = plugfest(*command, "--dry-run")
    assert done.status == 0
    assert (stand_in.runs("ixgbe"), Path("out").exists()) == ([], False)
    assert plugfest(*command).status == 0
    runs = [stand_in.runs(name)[0]["arguments"] for name in ("ixgbe", "igb")]
    assert [shlex.split(line) for line in done.out.splitlines()] == [["plugfest", *each] for each in runs]
