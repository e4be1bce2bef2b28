# SPDX-License-Identifier: GPL-2.0-or-later
"""The history of runs: what comes in, what stays out, and what it says about each test."""

from __future__ import annotations

import hashlib
import itertools
import json
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from nights import FINGERPRINT, night
from plugfest.errors import InfrastructureError, UsageError
from plugfest.history import database, recording, timeline
from plugfest.history.stability import STREAK, Stability, stability
from plugfest.history.timeline import Configuration, Timeline
from plugfest.report.comparison import Change
from plugfest.requirements.verdict import Verdict


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.db"


def read(path: Path) -> Timeline:
    with database.reading(path) as connection:
        return timeline.read(connection)


def nights(path: Path, verdicts: Sequence[str], **more: str) -> Configuration:
    """Add one run a night of one test, and return the configuration."""
    runs = [
        night(path.parent / f"{number}", number, {"LINK-A-01": verdict}, **more)
        for number, verdict in enumerate(verdicts)
    ]
    recording.add(path, runs)
    (configuration,) = read(path).configurations
    return configuration


def changes(configuration: Configuration) -> list[list[str]]:
    return [
        [f"{each.change}: {each.before} → {each.outcome.verdict}" for each in run.transitions]
        for run in configuration.runs
    ]


class TestAdding:
    def test_what_a_run_leaves(self, path, tmp_path) -> None:
        (added,) = recording.add(
            path, [night(tmp_path / "a", 0, {"LINK-A-01[zero-copy]": "crash", "XDP-B-01": "xfail"})]
        )
        assert (added.added, len(added.document["results"])) == (True, 2)
        found = read(path)
        (configuration,) = found.configurations
        assert (configuration.name, configuration.modules) == ("ixgbe (kr) on trixie-backports", "")
        run = configuration.latest
        assert (run.release, run.when, run.complete, run.counts) == (
            "7.3.4+deb13-amd64",
            "2026-09-21 14:13",
            True,
            {Verdict.XFAIL: 1, Verdict.CRASH: 1},
        )
        assert run.folder == str((tmp_path / "a").resolve())
        first, second = found.tests.values()
        assert (first.name, first.subtest, first.requirement) == (
            "link/test_link.py::test_link_a_01",
            "zero-copy",
            "LINK-A-01",
        )
        assert (second.subtest, second.short) == ("", "test_xdp_b_01")
        assert run.outcomes[first.id].crashes == (FINGERPRINT,)
        assert (run.outcomes[second.id].reason, run.outcomes[second.id].seconds) == ("ixgbe: off by one", 1.75)
        assert found.requirements["XDP-B-01"]["sentence"] == "The driver does what XDP-B-01 requires."

    def test_the_same_run_twice_changes_nothing(self, path, tmp_path) -> None:
        folder = night(tmp_path / "a", 0, {"LINK-A-01": "pass"})
        (first,) = recording.add(path, [folder])
        content = path.read_bytes()
        again = recording.add(path, [folder, folder])
        assert [(each.id, each.added) for each in again] == [(first.id, False)] * 2
        assert path.read_bytes() == content

    def test_a_run_that_moved_or_was_reported_again_is_the_same(self, path, tmp_path) -> None:
        recording.add(path, [night(tmp_path / "a", 0, {"LINK-A-01": "pass"})])
        (moved,) = recording.add(path, [night(tmp_path / "b", 0, {"LINK-A-01": "fail"}) / "report.json"])
        assert not moved.added
        assert len(read(path).configurations[0].runs) == 1

    @pytest.mark.parametrize(
        "other",
        [
            {"driver": "gve"},
            {"profile": "kx4"},
            {"profile": None},
            {"kernel": "trixie"},
            {"modules": ["/home/vendor/ixgbe.ko"]},
        ],
        ids=str,
    )
    def test_what_makes_another_configuration(self, path, tmp_path, other) -> None:
        verdicts = {"LINK-A-01": "pass"}
        recording.add(
            path, [night(tmp_path / "a", 0, verdicts), night(tmp_path / "b", 1, {"LINK-A-01": "fail"}, **other)]
        )
        found = read(path).configurations
        assert len(found) == 2
        assert all(len(each.runs) == 1 and each.latest.transitions == [] for each in found)

    @pytest.mark.parametrize(
        "other", [{"seed": 7}, {"pytest": ["-k", "xdp"]}, {"release": "7.3.5+deb13-amd64"}], ids=str
    )
    def test_two_runs_of_one_second_and_configuration_are_two(self, path, tmp_path, other) -> None:
        verdicts = {"LINK-A-01": "pass"}
        recording.add(path, [night(tmp_path / "a", 0, verdicts), night(tmp_path / "b", 0, verdicts, **other)])
        assert [len(each.runs) for each in read(path).configurations] == [2]

    def test_two_hosts_whose_timers_fire_in_one_second(self, path, tmp_path) -> None:
        one, other = (night(tmp_path / name, 0, {"LINK-A-01": "pass"}) for name in "ab")
        found = json.loads((other / "report.json").read_text())
        found["results"][0]["start"] = found["results"][0]["start"].replace(".000+", ".007+")
        (other / "report.json").write_text(json.dumps(found))
        assert [each.added for each in recording.add(path, [one, other, other])] == [True, True, False]

    def test_an_older_run_takes_its_place_in_time(self, path, tmp_path) -> None:
        recording.add(path, [night(tmp_path / "b", 1, {"LINK-A-01": "fail"})])
        recording.add(path, [night(tmp_path / "a", 0, {"LINK-A-01": "pass"})])
        (configuration,) = read(path).configurations
        assert changes(configuration) == [[], ["broken: pass → fail"]]

    @pytest.mark.parametrize("wrong", [{"falsify": True}, {"faults": ["link.report.stuck"]}], ids=str)
    def test_a_run_with_faults_stays_out(self, path, tmp_path, wrong) -> None:
        folder = night(tmp_path / "a", 0, {"LINK-A-01": "pass"}, **wrong)
        with pytest.raises(UsageError, match="expected a run of the driver as it is, found one with faults armed"):
            recording.add(path, [folder])
        assert not path.exists()

    @pytest.mark.parametrize("length", [0, 1, 100, -2])
    def test_a_torn_report_adds_nothing_of_the_others(self, path, tmp_path, length: int) -> None:
        recording.add(path, [night(tmp_path / "a", 0, {"LINK-A-01": "pass"})])
        content = path.read_bytes()
        good, torn = (night(tmp_path / name, number, {"LINK-A-01": "fail"}) for number, name in enumerate("bc", 1))
        report = torn / "report.json"
        report.write_text(report.read_text()[:length])
        with pytest.raises(InfrastructureError, match=r"c/report\.json: expected a report\.json, found"):
            recording.add(path, [good, torn])
        assert path.read_bytes() == content

    @pytest.mark.parametrize("damage", ["a test twice", "a requirement that is not listed"])
    def test_a_damaged_report_is_blamed_and_adds_nothing_of_the_others(self, path, tmp_path, damage: str) -> None:
        recording.add(path, [night(tmp_path / "a", 0, {"LINK-A-01": "pass"})])
        content = path.read_bytes()
        good, damaged = (night(tmp_path / name, number, {"LINK-B-01": "fail"}) for number, name in enumerate("bc", 1))
        report = damaged / "report.json"
        found = json.loads(report.read_text())
        (result,) = found["results"]
        if damage == "a test twice":
            found["results"].append(result)
        else:
            result["requirement"] = "LINK-C-01"
        report.write_text(json.dumps(found))
        with pytest.raises(InfrastructureError, match="expected a report with each test once") as error:
            recording.add(path, [good, damaged])
        assert str(error.value).startswith(f"{damaged}: ")
        assert str(path) not in str(error.value)
        assert path.read_bytes() == content

    def test_an_error_within_the_transaction_leaves_it_as_it_was(self, path, tmp_path, monkeypatch) -> None:
        """Not even a database that was not there before is left with a half of something."""
        runs = [
            night(tmp_path / name, number, {"LINK-A-01": "crash", "LINK-B-01": "crash"})
            for number, name in enumerate("ab")
        ]
        calls = itertools.count()

        def fails_late(problem: str) -> str:
            if next(calls) == 3:
                raise KeyboardInterrupt
            return problem

        monkeypatch.setattr(recording, "fingerprint", fails_late)
        with pytest.raises(KeyboardInterrupt):
            recording.add(path, runs)
        monkeypatch.undo()
        assert [each.added for each in recording.add(path, runs)] == [True, True]

    def test_two_processes_that_add_at_once_lose_nothing(self, path, tmp_path) -> None:
        runs = [night(tmp_path / str(number), number, {"LINK-A-01": "pass"}) for number in range(8)]
        threads = [threading.Thread(target=recording.add, args=(path, [run, runs[0]])) for run in runs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (configuration,) = read(path).configurations
        assert [run.folder for run in configuration.runs] == [str(run.resolve()) for run in runs]


class TestOpening:
    def test_none(self, path) -> None:
        with pytest.raises(InfrastructureError, match=r"history\.db: expected a history, found no such file"):
            read(path)
        assert not path.exists()

    def spoil(self, path: Path, how: str) -> None:
        if how == "text":
            path.write_text("this is no database, whatever its name may be\n" * 40)
        elif how == "other":
            with sqlite3.connect(path) as connection:
                connection.execute("CREATE TABLE run (id INTEGER)")
        elif how == "newer":
            with sqlite3.connect(path) as connection:
                connection.execute(f"PRAGMA user_version = {database.VERSION + 1}")
        elif how == "cut":
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        else:
            content = bytearray(path.read_bytes())
            content[4096:12000] = bytes(range(256)) * 30 + bytes(224)
            path.write_bytes(content)

    @pytest.mark.parametrize(
        ("how", "message"),
        [
            ("text", "expected a history, found: file is not a database"),
            ("other", "expected a history, found another program's database"),
            ("newer", "expected a history of version 1, found version 2 of a newer plugfest; upgrade this one"),
            ("cut", "expected a history, found"),
            ("overwritten", "expected a history, found"),
        ],
    )
    def test_what_is_no_history_is_refused_and_left_alone(self, path, tmp_path, how: str, message: str) -> None:
        run = night(tmp_path / "a", 0, {f"LINK-A-{number:02}": "pass" for number in range(1, 60)})
        if how not in ("text", "other"):
            recording.add(path, [run])
        self.spoil(path, how)
        digest = hashlib.sha256(path.read_bytes()).digest()
        for work in (
            lambda: read(path),
            lambda: recording.add(path, [night(tmp_path / "b", 1, {"LINK-A-01": "pass"})]),
        ):
            with pytest.raises(InfrastructureError) as error:
                work()
            assert str(error.value).startswith(f"{path}: ")
            assert message in str(error.value)
            assert "\n" not in str(error.value)
        assert hashlib.sha256(path.read_bytes()).digest() == digest

    def test_a_folder_that_is_not_there(self, tmp_path) -> None:
        run = night(tmp_path / "a", 0, {"LINK-A-01": "pass"})
        with pytest.raises(InfrastructureError, match="expected a history, found: unable to open database file"):
            recording.add(tmp_path / "absent" / "history.db", [run])

    def test_one_that_cannot_be_written_can_be_read(self, path, tmp_path) -> None:
        recording.add(path, [night(tmp_path / "a", 0, {"LINK-A-01": "pass"})])
        with (
            pytest.raises(
                InfrastructureError, match="expected to use the history, found: attempt to write a readonly database"
            ),
            database.reading(path) as connection,
        ):
            connection.execute("DELETE FROM run")

    def test_one_that_another_process_holds(self, path, tmp_path, monkeypatch) -> None:
        run = night(tmp_path / "a", 0, {"LINK-A-01": "pass"})
        recording.add(path, [run])
        monkeypatch.setattr(database, "_BUSY", 0.01)
        with sqlite3.connect(path, isolation_level=None) as other:
            other.execute("BEGIN EXCLUSIVE")
            for work in (lambda: read(path), lambda: recording.add(path, [run])):
                with pytest.raises(
                    InfrastructureError, match="found: database is locked; try again when no other process"
                ):
                    work()
            other.execute("ROLLBACK")
        assert len(read(path).configurations) == 1

    def test_the_newest_runs_of_each_configuration(self, path, tmp_path) -> None:
        runs = [
            night(
                tmp_path / f"{driver}-{number}", number, {"LINK-A-01": "crash" if number % 2 else "pass"}, driver=driver
            )
            for driver in ("gve", "ixgbe")
            for number in (3, 0, 2, 1)
        ]
        recording.add(path, runs)
        with database.reading(path) as connection:
            found = timeline.read(connection, newest=3)
        assert [changes(each) for each in found.configurations] == [
            [[], ["fixed: crash → pass"], ["broken: pass → crash"]]
        ] * 2
        assert [len(run.outcomes) for each in found.configurations for run in each.runs] == [1] * 6
        assert [bool(next(iter(run.outcomes.values())).crashes) for run in found.configurations[0].runs] == [
            True,
            False,
            True,
        ]


class TestChanges:
    @pytest.mark.parametrize(
        ("verdicts", "found"),
        [
            ("pass fail", "broken: pass → fail"),
            ("fail pass", "fixed: fail → pass"),
            ("xfail pass", "fixed: xfail → pass"),
            ("pass pass", None),
            ("pass error", "lost: pass → error"),
            ("pass error error", None),
            ("pass error fail", "broken: pass → fail"),
            ("pass error pass", None),
            ("fail miss fail", None),
            ("pass blocked crash", "broken: pass → crash"),
            ("error fail", None),
            ("skip pass", "changed: skip → pass"),
            ("fail", None),
        ],
    )
    def test_the_last_night(self, path, verdicts: str, found: str | None) -> None:
        assert changes(nights(path, verdicts.split()))[-1] == ([found] if found else [])

    def test_a_new_kernel_of_the_channel_breaks_a_test(self, path, tmp_path) -> None:
        recording.add(path, [night(tmp_path / "a", 0, {"LINK-A-01": "pass"})])
        recording.add(path, [night(tmp_path / "b", 1, {"LINK-A-01": "crash"}, release="7.3.5+deb13-amd64")])
        (configuration,) = read(path).configurations
        assert [run.release for run in configuration.runs] == ["7.3.4+deb13-amd64", "7.3.5+deb13-amd64"]
        (change,) = configuration.latest.transitions
        assert (change.change, change.worse, change.outcome.crashes) == (Change.BROKEN, True, (FINGERPRINT,))

    def test_a_run_of_some_tests_says_nothing_about_the_others(self, path, tmp_path) -> None:
        both, one = {"LINK-A-01": "pass", "LINK-B-01": "pass"}, {"LINK-A-01": "pass"}
        runs = [night(tmp_path / str(n), n, each) for n, each in enumerate([both, one, {**both, "LINK-B-01": "fail"}])]
        recording.add(path, runs)
        (configuration,) = read(path).configurations
        assert changes(configuration) == [[], [], ["broken: pass → fail"]]
        (_, second) = read(path).tests
        assert len(configuration.verdicts(second)) == 2

    def test_an_intermittent_issue_breaks_nothing(self, path, tmp_path) -> None:
        runs = [
            night(tmp_path / str(n), n, {"LINK-A-01": verdict}) for n, verdict in enumerate(["xfail", "pass", "xfail"])
        ]
        for run in runs:
            found = json.loads((run / "report.json").read_text())
            issue = {
                "title": "t",
                "link": "l",
                "requirement": "LINK-A-01",
                "showed": 1,
                "unseen": False,
                "intermittent": True,
            }
            found["known_issues"] = [{**issue, "tests": [found["results"][0]["test"]]}]
            (run / "report.json").write_text(json.dumps(found))
        recording.add(path, runs)
        (configuration,) = read(path).configurations
        assert changes(configuration)[1:] == [["changed: xfail → pass"], ["changed: pass → xfail"]]
        assert not any(each.worse for run in configuration.runs for each in run.transitions)


class TestStability:
    @pytest.mark.parametrize(
        ("verdicts", "found"),
        [
            ("p" * STREAK, "stable"),
            ("p" * (STREAK - 1), "settling"),
            ("f" * STREAK, "stable"),
            ("pf" * 5 + "p" * STREAK, "stable"),
            ("p", "settling"),
            ("p" * 20 + "f", "settling"),
            ("p" * 20 + "fp", "flaky"),
            ("p" * 3 + "f" * 3, "settling"),
            ("pfp", "flaky"),
            ("pfp" + "p" * (STREAK - 1), "stable"),
            ("pfp" + "p" * (STREAK - 2), "flaky"),
            ("pf" * 5 + "p" * 20 + "f", "settling"),
            ("psx", "settling"),
            ("pep", "flaky"),
            ("pmp" + "b" * 40, "settling"),
            ("pu", "flaky"),
            ("q", "flaky"),
            ("u" + "p" * STREAK, "stable"),
            ("u" * STREAK, "flaky"),
            ("q" * STREAK, "flaky"),
            ("", "settling"),
        ],
    )
    def test_it(self, verdicts: str, found: str) -> None:
        letters = {str(verdict)[0]: verdict for verdict in reversed(Verdict)}
        assert letters["e"] is Verdict.ERROR
        assert stability(letters[each] for each in verdicts) == found

    def test_over_nights(self, path) -> None:
        configuration = nights(path, ["pass", "fail", "pass"])
        (test,) = read(path).tests
        assert configuration.stability(test) is Stability.FLAKY
        assert [each.short for each in read(path).flaky(configuration)] == ["test_link_a_01"]

    def test_a_test_that_never_ran_has_none(self, path) -> None:
        configuration = nights(path, ["blocked", "miss"])
        (test,) = read(path).tests
        assert configuration.stability(test) is None
        assert read(path).flaky(configuration) == []
