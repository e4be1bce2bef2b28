# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest nightly``: what comes into the history and onto the site, what is news, and what is never lost."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from plugfest.errors import InfrastructureError
from plugfest.history.database import HistoryError
from plugfest.matrix import definition, ledger
from plugfest.matrix.ledger import Ledger
from stand_in import counted, end, latest, wait_for

HISTORY = Path("nightly/history.db")
NAME = "nightly/results"


def rows(query: str) -> list[tuple]:
    with sqlite3.connect(HISTORY) as connection:
        return connection.execute(query).fetchall()


def verdicts() -> list[tuple]:
    return rows(
        "SELECT driver, profile, kernel, verdict, count(*) FROM result JOIN run ON run.id = result.run "
        "JOIN configuration ON configuration.id = run.configuration GROUP BY run.id ORDER BY run.id"
    )


def test_two_nights(plugfest, write, stand_in) -> None:
    """The first breaks nothing, for there was none before; in the second a test breaks, in the third it is fixed."""
    stand_in.does(ixgbe=[{}, {"status": 1, "verdict": "fail"}, {}])
    path = write("ixgbe", "igb", run='areas = ["smoke"]')
    path.write_text(path.read_text() + '[nightly]\ntitle = "Our drivers"\n')
    nights = [plugfest("nightly", str(path)) for _ in range(3)]
    assert [night.status for night in nights] == [0, 1, 0]
    assert "m: 2 runs in the history; no verdict changed" in nights[0].out
    assert "m: 2 runs in the history; 3 broken" in nights[1].out
    assert (
        len(re.findall(r"ixgbe \(kr\) +trixie-backports .* broken +SMOKE-[ABC]-01 .* pass → fail", nights[1].out)) == 3
    )
    assert "m: 2 runs in the history; 3 fixed" in nights[2].out
    ixgbe, igb = ("ixgbe", "kr", "trixie-backports"), ("igb", "", "trixie-backports")
    assert sorted(verdicts()) == sorted(
        [(*ixgbe, "pass", 3), (*ixgbe, "fail", 3), (*ixgbe, "pass", 3), *[(*igb, "pass", 3)] * 3]
    )
    index = Path("nightly/site/index.html").read_text()
    assert "Our drivers" in index
    pages = [*Path("nightly/site/runs").glob("*.html")]
    assert len(pages) == 6
    for page in pages:
        (report,) = set(re.findall(r'href="([^"]*report\.html)"', page.read_text()))
        assert (page.parent / report).is_file(), "the site and the reports can be published together"


def test_a_matrix_that_has_been_run(plugfest, write, stand_in) -> None:
    path = write("ixgbe")
    assert plugfest("matrix", str(path), "--output", "out").status == 0
    for _ in range(2):
        done = plugfest("nightly", str(path), "--results", "out")
        assert (done.status, len(stand_in.runs("ixgbe"))) == (0, 1)
        assert len(verdicts()) == 1


def test_an_unfinished_night_is_continued(plugfest, write, stand_in) -> None:
    stand_in.does(igb=[{"wait": True}, {}])
    path = write("ixgbe", "igb")
    process = stand_in.start("nightly", str(path), "--jobs", "1")
    wait_for(lambda: stand_in.runs("igb"), "the second run")
    assert end(process, signal.SIGTERM) == 143
    done = plugfest("nightly", str(path))
    assert done.status == 0
    assert [len(stand_in.runs(name)) for name in ("ixgbe", "igb")] == [1, 2]
    assert len(verdicts()) == 2
    assert set(map(tuple, counted(latest(NAME)).values())) == {("passed",)}


def test_a_night_that_was_never_continued_is_not_lost(plugfest, write, stand_in, monkeypatch) -> None:
    """The next one begins anew, and what had been done comes into the history first."""
    from plugfest.cli import nightly

    stand_in.does(igb=[{"wait": True}, {}])
    path = write("ixgbe", "igb")
    process = stand_in.start("nightly", str(path), "--jobs", "1")
    wait_for(lambda: stand_in.runs("igb"), "the second run")
    end(process, signal.SIGKILL)
    monkeypatch.setattr(nightly, "FRESH", 0.0)
    assert plugfest("nightly", str(path)).status == 0
    assert [len(stand_in.runs(name)) for name in ("ixgbe", "igb")] == [2, 2]
    assert [each[0] for each in verdicts()] == ["ixgbe", "ixgbe", "igb"]
    assert len([*Path(NAME).iterdir()]) == 2


@pytest.mark.parametrize(("hours", "runs"), [(12.9, 1), (13.1, 2)])
def test_a_night_is_continued_by_the_age_of_what_it_did_last(plugfest, write, stand_in, hours: float, runs) -> None:
    path = write("ixgbe")
    folder = Path(NAME).absolute() / "m-20000101-000000"
    job = definition.read(path, ["run"]).jobs[0]
    with closing(Ledger(folder, [job])) as opened:
        opened.begin(job, 1)
        opened.interrupt(job, 1)
    lines = [json.loads(line) for line in (folder / ledger.NAME).read_text().splitlines()]
    for line in lines:
        line["time"] = time.time() - 3600 * (hours + (line["event"] == "matrix"))
    (folder / ledger.NAME).write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert plugfest("nightly", str(path)).status == 0
    assert len([*Path(NAME).iterdir()]) == runs


BROKEN = {"status": 1, "verdict": "fail"}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_news_of_a_night_that_was_never_continued(plugfest, write, stand_in, monkeypatch, how: signal.Signals) -> None:
    """The next night has them, and the exit status; the one after that does not."""
    from plugfest.cli import nightly

    stand_in.does(ixgbe=[{}, BROKEN], igb=[{}, {"wait": True}, {}])
    path = write("ixgbe", "igb")
    assert plugfest("nightly", str(path)).status == 0
    process = stand_in.start("nightly", str(path), "--jobs", "1")
    wait_for(lambda: len(stand_in.runs("igb")) == 2, "the second run of the second night")
    end(process, how)
    if how == signal.SIGTERM:
        assert "3 broken" in stand_in.log(), "what is done is news at once"
        assert len(verdicts()) == 3
    monkeypatch.setattr(nightly, "FRESH", 0.0)
    third, fourth = plugfest("nightly", str(path)), plugfest("nightly", str(path))
    assert (third.status, "m: 3 runs in the history; 3 broken" in third.out) == (1, True)
    assert (fourth.status, "m: 2 runs in the history; no verdict changed" in fourth.out) == (0, True)


def test_news_of_a_night_that_ended_before_it_said_so(plugfest, write, stand_in, monkeypatch) -> None:
    from plugfest.cli import nightly

    stand_in.does(ixgbe=[{}, BROKEN])
    path = write("ixgbe")
    assert plugfest("nightly", str(path)).status == 0
    with monkeypatch.context() as broken:
        broken.setattr(nightly, "write", lambda *_, **__: 1 / 0)
        assert plugfest("nightly", str(path)).status == 3
    assert len(verdicts()) == 2
    assert [plugfest("nightly", str(path)).status for _ in range(2)] == [1, 0]


def test_a_history_that_cannot_be_written_for_a_while(plugfest, write, stand_in, monkeypatch) -> None:
    from plugfest.cli import nightly

    def full(*_: object) -> None:
        raise HistoryError("history.db: expected to use the history, found: database or disk is full")

    path = write("ixgbe", "igb")
    with monkeypatch.context() as disk:
        disk.setattr(nightly.recording, "add", full)
        done = plugfest("nightly", str(path))
    assert done.status == 3
    assert done.line == "history.db: expected to use the history, found: database or disk is full"
    assert verdicts() == []
    assert plugfest("nightly", str(path)).status == 0
    assert len(verdicts()) == 4


def test_an_earlier_report_that_cannot_be_read(plugfest, write, stand_in) -> None:
    """It is named each night, and its folder stays; what else that night had is news once."""
    path = write("ixgbe", "igb")
    path.write_text(path.read_text() + "[nightly]\nkeep = 1\n")
    earlier = Path(NAME) / "m-20000101-000000"
    assert plugfest("matrix", str(path), "--output", str(earlier)).status == 0
    report = earlier / "igb-trixie-backports/attempt-1/report.json"
    whole = report.read_text()
    report.write_text(whole[:100])
    nights = [plugfest("nightly", str(path)) for _ in range(2)]
    report.write_text(whole)
    nights += [plugfest("nightly", str(path)) for _ in range(2)]
    assert [night.status for night in nights] == [0, 0, 0, 0]
    assert [re.findall(r"m: (\d) runs", night.out) for night in nights] == [["3"], ["2"], ["3"], ["2"]]
    assert all(night.line.startswith("igb on trixie-backports is not in the history: ") for night in nights[:2])
    assert [night.err for night in nights[2:]] == ["", ""]
    assert not earlier.exists(), "once the history has it"
    assert len(verdicts()) == 2 * 5


def test_a_job_without_a_result_hides_no_other(plugfest, write, stand_in) -> None:
    stand_in.does(ixgbe=[{"kill": signal.SIGKILL}], gve=[{"error": "no space"}])
    done = plugfest("nightly", str(write("ixgbe", "gve", "igb", run="retries = 0")))
    assert done.status == 3
    # Of those that ended early, what their journals have.
    assert sorted((each[0], each[4]) for each in verdicts()) == [("gve", 3), ("igb", 3), ("ixgbe", 3)]
    ended = rows("SELECT driver, complete, interrupted FROM run JOIN configuration ON configuration.id = configuration")
    assert sorted(ended) == [
        ("gve", 0, "the run ended without a reason in its journal"),
        ("igb", 1, None),
        ("ixgbe", 0, "killed by signal 9"),
    ]
    assert Path("nightly/site/index.html").is_file()


def test_a_report_that_was_torn_later(plugfest, write, stand_in) -> None:
    path = write("ixgbe", "igb")
    plugfest("matrix", str(path), "--output", "out")
    torn = Path("out/ixgbe-kr-trixie-backports/attempt-1/report.json")
    torn.write_text(torn.read_text()[:100])
    done = plugfest("nightly", str(path), "--results", "out")
    assert done.status == 3
    assert done.line.startswith("ixgbe (kr) on trixie-backports is not in the history: ")
    assert [each[0] for each in verdicts()] == ["igb"]


def test_a_cluster_that_is_lost(plugfest, write, stand_in, monkeypatch) -> None:
    """What is done is in the history and on the site."""
    from plugfest.matrix import conduct

    original = conduct._carry_out

    async def carry_out(job, opened, place, display) -> None:
        if job.driver == "igb":
            raise InfrastructureError("--scheduler: expected Dask's scheduler, found that the connection was lost")
        await original(job, opened, place, display)

    async def one_after_the_other(opened, place, display) -> None:
        for job in opened.waiting():
            await carry_out(job, opened, place, display)

    monkeypatch.setattr(conduct, "_all", one_after_the_other)
    done = plugfest("nightly", str(write("ixgbe", "igb")))
    assert done.status == 3
    assert done.line.startswith("--scheduler: expected Dask's scheduler, found that the connection was lost")
    assert [each[0] for each in verdicts()] == ["ixgbe"]
    assert Path("nightly/site/index.html").is_file()


def test_the_oldest_nights_are_deleted(plugfest, write, stand_in) -> None:
    path = write("ixgbe")
    path.write_text(path.read_text() + "[nightly]\nkeep = 2\n")
    other = write("ixgbe", name="m-2.toml")
    assert plugfest("nightly", str(other)).status == 0
    for _ in range(4):
        assert plugfest("nightly", str(path)).status == 0
    assert len(ledger.folders(Path(NAME), "m")) == 2
    assert len(ledger.folders(Path(NAME), "m-2")) == 1, "those of another matrix are not its own"
    assert len(verdicts()) == 5
    assert len([*Path("nightly/site/runs").glob("*.html")]) == 5


def test_a_new_complaint_of_the_kernel(plugfest, write, stand_in) -> None:
    path = write("ixgbe")
    assert plugfest("nightly", str(path)).status == 0
    template = json.loads((stand_in.home / "template.json").read_text())
    template["report"]["results"][0]["problems"] = ["[   60.0] BUG: unable to handle page fault for address: 0000a\n"]
    (stand_in.home / "template.json").write_text(json.dumps(template))
    second, third = plugfest("nightly", str(path)), plugfest("nightly", str(path))
    assert "new complaint of the kernel: BUG: unable to handle page fault" in second.out
    assert "(SMOKE-A-01, ixgbe (kr) on trixie-backports)" in second.out
    assert "new complaint" not in third.out


class TestBadInput:
    def test_two_at_once(self, plugfest, write, stand_in) -> None:
        stand_in.does(ixgbe=[{"wait": True}])
        path = write("ixgbe")
        process = stand_in.start("nightly", str(path))
        wait_for(lambda: stand_in.runs("ixgbe"), "the run")
        done = plugfest("nightly", str(path))
        assert done.status == 2
        assert (
            "--output nightly: expected no other plugfest nightly there, found one that runs; wait for it" in done.line
        )
        stand_in.go("ixgbe")
        assert end(process) == 0

    @pytest.mark.parametrize("made", [True, False])
    def test_results_that_are_none(self, plugfest, write, made: bool) -> None:
        if made:
            Path("out").mkdir()
        done = plugfest("nightly", str(write("ixgbe")), "--results", "out")
        assert done.status == 2
        assert "--results out: expected the output folder of a matrix, found none; run the matrix" in done.line
        assert not HISTORY.exists()

    def test_results_of_another_matrix(self, plugfest, write) -> None:
        plugfest("matrix", str(write("ixgbe")), "--output", "out")
        done = plugfest("nightly", str(write("igb")), "--results", "out")
        assert done.status == 2
        assert "found one of other jobs or settings" in done.line

    def test_a_history_that_is_none(self, plugfest, write, stand_in) -> None:
        """The results stay, and the next night adds them."""
        HISTORY.parent.mkdir()
        HISTORY.write_text("no database, but long enough to be read as the header of one, " * 10)
        path = write("ixgbe")
        done = plugfest("nightly", str(path))
        assert done.status == 3
        assert "expected a history, found: file is not a database" in done.err
        assert HISTORY.read_text().startswith("no database")
        HISTORY.unlink()
        assert plugfest("nightly", str(path)).status == 0
        assert len(verdicts()) == 2

    def test_a_folder_that_cannot_be_written(self, plugfest, write) -> None:
        Path("file").touch()
        done = plugfest("nightly", str(write("ixgbe")), "--output", "file/nightly")
        assert done.status == 3
        assert "choose another folder with --output" in done.line

    def test_a_folder_of_an_earlier_night_that_is_damaged(self, plugfest, write, stand_in) -> None:
        """It is named each night, and nothing else is lost."""
        path = write("ixgbe")
        damaged = Path(NAME) / "m-20000101-000000"
        damaged.mkdir(parents=True)
        (damaged / ledger.NAME).write_text("x\ny\n")
        done = plugfest("nightly", str(path))
        assert done.status == 0
        assert "m-20000101-000000 is not in the history: " in done.line
        assert len(verdicts()) == 1
        assert (damaged / ledger.NAME).stat().st_size == 4
