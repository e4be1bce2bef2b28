# SPDX-License-Identifier: GPL-2.0-or-later
"""Queues of pending series in a matrix and its nights: what is judged, what is refused, what is news, and what is continued."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from plugfest.matrix import definition
from plugfest.matrix.job import Job
from stand_in import counted, end, latest, wait_for

Write = Callable[..., Path]
FAILS = {"status": 1, "verdict": "fail"}
REFUSED = {"refused": "bad: expected “ixgbe: x” to apply to Debian's source, found: patch failed: a.c:1"}
ON = "ixgbe (kr) on trixie-backports"


@pytest.fixture
def queued(write: Write) -> Write:
    """Writes a matrix of ixgbe with a queue of series of these names."""

    def make(*names: str, more: str = "", **settings: str) -> Path:
        folder = Path("pending")
        folder.mkdir(exist_ok=True)
        for name in names:
            (folder / name).write_bytes(b"a patch of " + os.fsencode(name))
        queue = f'queues = [{{driver = "ixgbe", folder = "pending"}}]\n{more}'
        return write("ixgbe", more=queue, **settings)

    return make


def patches(folder: Path) -> dict[str, dict]:
    """The judgements of a night, by what is after the driver's and kernel's name."""
    jobs = json.loads((folder / "patches.json").read_text())["jobs"]
    return {name.rpartition("-with-")[2]: each for name, each in jobs.items()}


def test_each_alone_then_all_together(plugfest, queued: Write, stand_in) -> None:
    stand_in.does(**{"ixgbe": [FAILS], "ixgbe+a": [{}], "ixgbe+a+b": [{}]})
    done = plugfest("nightly", str(queued("a.patch", "b.mbox", "README")))
    assert done.status == 0
    lines = done.out.splitlines()
    assert f"{ON} with a: 3 fixed, 0 broken, 0 new, 0 unchanged" in lines
    assert f"{ON} with b: 3 fixed, 0 broken, 0 new, 0 unchanged" in lines
    assert f"{ON} with together: 3 fixed, 0 broken, 0 new, 0 unchanged" in lines
    asked = [stand_in.runs(key)[0]["arguments"] for key in ("ixgbe", "ixgbe+a", "ixgbe+b", "ixgbe+a+b")]
    assert [[word for word in words if word in ("--patch", "--together")] for words in asked] == [
        [],
        ["--patch"],
        ["--patch"],
        ["--patch", "--patch", "--together"],
    ]
    folder = latest("nightly/results")
    assert {name: each["outcome"] for name, each in patches(folder).items()} == dict.fromkeys(
        ("a", "b", "together"), "judged"
    )
    assert patches(folder)["together"]["series"] == ["a", "b"]
    names = plugfest("history", "runs", "nightly/history.db").out
    for name in ("ixgbe (kr)", "ixgbe (kr) with a", "ixgbe (kr) with b", "ixgbe (kr) with together"):
        assert f" {name} " in names, "each has a history of its own"
    index = Path("nightly/site/index.html").read_text()
    assert all(f"ixgbe (kr) with {name}" in index for name in ("a", "b", "together"))


def test_what_a_series_breaks_is_news_once(plugfest, queued: Write, stand_in) -> None:
    stand_in.does(**{"ixgbe+a": [FAILS, FAILS, {}]})
    path = queued("a.patch")
    first, second, third = (plugfest("nightly", str(path)) for _ in range(3))
    assert f"{ON} with a: 0 fixed, 3 broken, 0 new, 0 unchanged" in first.out
    assert f"{ON} with a: 0 fixed, 3 broken, 0 new, 0 unchanged" in second.out
    assert f"{ON} with a: 0 fixed, 0 broken, 0 new, 3 unchanged" in third.out
    assert [night.status for night in (first, second, third)] == [1, 0, 0]
    (Path("pending") / "a.patch").write_text("a second version")
    stand_in.does(**{"ixgbe+a": [FAILS]})
    assert plugfest("nightly", str(path)).status == 1, "it breaks what the first one did not any more"


def test_a_refused_series_costs_only_itself(plugfest, queued: Write, stand_in) -> None:
    stand_in.does(**{"ixgbe+bad": [REFUSED]})
    path = queued("bad.patch", "good.patch", run="retries = 3")
    first, second = (plugfest("nightly", str(path)) for _ in range(2))
    assert [night.status for night in (first, second)] == [1, 0], "it is news once"
    assert f"{ON} with bad: refused: {REFUSED['refused']}" in first.out.splitlines()
    assert f"{ON} with good: 0 fixed, 0 broken, 0 new, 3 unchanged" in first.out.splitlines()
    assert len(stand_in.runs("ixgbe+bad")) == 2, "it is not tried again in one night"
    assert {name: each["outcome"] for name, each in patches(latest("nightly/results")).items()} == {
        "bad": "refused",
        "good": "judged",
        "together": "judged",
    }
    outcomes = counted(latest("nightly/results"))
    assert outcomes["ixgbe-kr-trixie-backports-with-bad"] == ["refused"]


def test_what_was_left_out_of_all_together_is_counted(plugfest, queued: Write, stand_in) -> None:
    """A run says which series its module was built with: here one less than were given."""
    template = json.loads((stand_in.home / "template.json").read_text())
    path = queued("a.patch", "b.patch", "c.patch")
    assert plugfest("matrix", str(path), "--output", "out").status == 0
    report = Path("out/ixgbe-kr-trixie-backports-with-together/attempt-1/report.json")
    changed = json.loads(report.read_text())
    assert changed["run"]["options"]["series"] == ["a", "b", "c"]
    changed["run"]["options"]["series"] = ["a", "c"]
    report.write_text(json.dumps(changed))
    done = plugfest("nightly", str(path), "--results", "out")
    assert (
        f"{ON} with together: 0 fixed, 0 broken, 0 new, {len(template['report']['results'])} unchanged; 1 of 3 series were left out"
        in done.out
    )


def test_a_baseline_without_a_result(plugfest, queued: Write, stand_in) -> None:
    stand_in.does(ixgbe=[{"error": "no space"}])
    done = plugfest("nightly", str(queued("a.patch", run="retries = 0")))
    assert done.status == 3
    assert f"{ON} with a: not judged: no space" in done.out.splitlines()


def test_a_kernel_that_was_updated_between_the_two_runs(plugfest, queued: Write, stand_in) -> None:
    stand_in.does(**{"ixgbe+a": [{**FAILS, "release": "7.3.5+deb13-amd64"}]})
    done = plugfest("nightly", str(queued("a.patch")))
    assert (
        f"{ON} with a: not judged: the runs differ in more than the patches: Linux 7.3.4+deb13-amd64 and 7.3.5+deb13-amd64"
        in done.out.splitlines()
    )


def test_it_continues_after_an_interruption(plugfest, queued: Write, stand_in) -> None:
    stand_in.does(**{"ixgbe+b": [{"wait": True}, {}]})
    path = queued("a.patch", "b.patch")
    process = stand_in.start("nightly", str(path), "--jobs", "1")
    wait_for(lambda: stand_in.runs("ixgbe+b"), "the second series")
    assert end(process, signal.SIGTERM) == 143
    assert plugfest("nightly", str(path)).status == 0
    assert [len(stand_in.runs(key)) for key in ("ixgbe", "ixgbe+a", "ixgbe+b", "ixgbe+a+b")] == [1, 1, 2, 1]
    assert len([*Path("nightly/results").iterdir()]) == 1


def test_another_queue_is_another_night(plugfest, queued: Write, stand_in) -> None:
    """A series that came in the meantime is not mixed into what was begun without it."""
    stand_in.does(**{"ixgbe+a": [{"wait": True}, {}]})
    path = queued("a.patch")
    process = stand_in.start("nightly", str(path))
    wait_for(lambda: stand_in.runs("ixgbe+a"), "the series")
    end(process, signal.SIGTERM)
    queued("a.patch", "b.patch")
    assert plugfest("nightly", str(path)).status == 0
    assert [len(stand_in.runs(key)) for key in ("ixgbe", "ixgbe+a", "ixgbe+b")] == [2, 2, 1]
    assert len([*Path("nightly/results").iterdir()]) == 2


@pytest.mark.parametrize("how", ["another text", "removed"])
def test_a_series_that_changes_while_it_is_judged(plugfest, queued: Write, stand_in, how: str) -> None:
    stand_in.does(**{"ixgbe+a": [{"wait": True}]})
    path = queued("a.patch")
    process = stand_in.start("nightly", str(path))
    wait_for(lambda: stand_in.runs("ixgbe+a"), "the series")
    series = Path("pending/a.patch").absolute()
    series.unlink() if how == "removed" else series.write_text("a second version")
    stand_in.go("ixgbe+a")
    assert end(process) == 3
    assert f"{ON} with a: not judged: {series} was changed since the matrix began" in stand_in.log()


def test_an_empty_queue_is_no_error(plugfest, queued: Write, stand_in) -> None:
    assert plugfest("nightly", str(queued())).status == 0
    assert len(stand_in.runs("ixgbe")) == 1


def test_a_job_of_the_ledger_is_as_it_was(queued: Write) -> None:
    jobs = definition.read(queued("a.patch", "b.patch"), ["run"]).jobs
    assert [job.queued.name if job.queued else None for job in jobs] == [None, "a", "b", "together"]
    assert [Job.of(json.loads(json.dumps(job.describe()))) for job in jobs] == list(jobs)
    described = jobs[0].describe()
    del described["queued"]
    assert Job.of(described) == jobs[0], "one of an older plugfest"


def test_settings_and_kernels_are_those_of_the_job(queued: Write) -> None:
    path = queued("a.patch", more='kernels = ["trixie", "bookworm"]\ninclude = [{kernel = "trixie", memory = 2048}]')
    path.write_text(path.read_text().replace('driver = "ixgbe", folder', 'driver = "ixgbe", kernel = "trixie", folder'))
    jobs = definition.read(path, ["run"]).jobs
    assert [(job.kernel, job.settings.memory, job.queued is not None) for job in jobs] == [
        ("trixie", 2048, False),
        ("trixie", 2048, True),
        ("bookworm", 1024, False),
    ]


@pytest.mark.parametrize(
    ("queue", "expected"),
    [
        ('{driver = "ixgbe"}', "queue 1: expected a folder, found none; add folder = …"),
        ('{folder = "pending"}', "queue 1: expected a driver, found none; add driver = …"),
        ('{driver = "igb", folder = "pending"}', "queue 1: expected to agree with a job"),
        ('{driver = "ixgbe", folder = "none"}', "none: expected a folder of pending series, found: No such file"),
        ('{driver = "ixgbe", folder = 3}', "queue 1: folder: expected a folder of pending series, found 3"),
        ('{driver = "ixgbe", folder = "pending", memory = 1}', "queue 1: expected a key that it knows, found 'memory'"),
        ('{driver = "virtio_net", folder = "pending"}', "expected a driver with a folder of its own"),
        (", ".join(['{driver = "ixgbe", folder = "pending"}'] * 2), "queues: expected each once"),
    ],
)
def test_a_queue_that_is_wrong(plugfest, write: Write, queued: Write, queue: str, expected: str) -> None:
    queued("a.patch")
    done = plugfest("nightly", str(write("ixgbe", more=f"queues = [{queue}]")))
    assert done.status == 2
    assert expected in done.line


@pytest.mark.parametrize(
    ("more", "run", "expected"),
    [
        ('kernels = ["linux"]', "", "expected jobs on trixie-backports, trixie, bookworm, whose source Debian has"),
        ("", 'modules = ["a.ko"]', "expected jobs of the suite with the kernel's own driver"),
    ],
)
def test_jobs_that_cannot_have_a_queue(plugfest, queued: Write, more: str, run: str, expected: str) -> None:
    Path("linux").mkdir()
    Path("a.ko").touch()
    done = plugfest("nightly", str(queued("a.patch", more=more, run=run)))
    assert done.status == 2
    assert expected in done.line
    shutil.rmtree("linux")


def test_a_name_that_is_no_text(plugfest, queued: Write, stand_in) -> None:
    name = os.fsdecode(b"gr\xf6\xdfe.patch")
    done = plugfest("nightly", str(queued(name, "b.patch")))
    assert done.status == 0
    assert f"{ON} with b: 0 fixed, 0 broken, 0 new, 3 unchanged" in done.out.splitlines()
    (odd,) = [each["title"] for key, each in patches(latest("nightly/results")).items() if "gr" in each["title"]]
    assert odd == rf"{ON} with gr\xf6\xdfe"
