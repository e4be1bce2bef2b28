# SPDX-License-Identifier: GPL-2.0-or-later
"""From a journal, whole or not, to the document."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from plugfest.errors import InfrastructureError
from plugfest.report import document, junit, ktap, tap
from plugfest.requirements.verdict import Verdict
from plugfest.run import journal

IDENTITY = ("requirement", "area", "level", "test", "verdict", "reason", "seconds", "artifacts")


def test_a_complete_run(history) -> None:
    test = history.plan("LINK-A-01")
    history.boot()
    history.result(test, "pass")
    history.end()
    found = history.document()
    assert found["run"]["start"] == "2026-09-21T14:13:21+00:00"
    assert found["run"]["seconds"] == 5.0
    assert (found["run"]["complete"], found["run"]["interrupted"], found["run"]["exit_status"]) == (True, None, 0)
    assert found["run"]["guest"]["speed"] == 0.125
    assert found["run"]["subject"]["description"]["mac"] == "02:70:66:00:00:01"
    (result,) = found["results"]
    assert {key: result[key] for key in IDENTITY} == {
        "requirement": "LINK-A-01",
        "area": "link",
        "level": "MUST",
        "test": "link/test_link.py::test_link_a_01",
        "verdict": "pass",
        "reason": "",
        "seconds": 1.75,
        "artifacts": {},
    }


@pytest.mark.parametrize("verdict", list(Verdict))
def test_exit_status(history, verdict: Verdict) -> None:
    history.result(history.plan("LINK-A-01"), verdict)
    history.end()
    expected = 0 if verdict in (Verdict.PASS, Verdict.SKIP, Verdict.XFAIL, Verdict.QUARANTINED) else 1
    assert history.document()["run"]["exit_status"] == expected


def test_a_run_that_ends_between_any_two_events_has_a_document(full) -> None:
    history, _ = full
    history.events = [event for event in history.events if event["event"] != "stopped"]
    for length in range(2, len(history.events)):
        found = document.build(history.events[:length], died="killed by signal 9")
        document.validate(found, "cut")
        results = [event for event in history.events[:length] if event["event"] == "result"]
        assert len(found["results"]) == len(Verdict)
        assert sum(result["verdict"] == "miss" for result in found["results"]) == len(Verdict) - len(results)
        assert found["run"]["interrupted"] == "killed by signal 9"
        assert found["run"]["exit_status"] == 3
        assert not found["run"]["complete"]


def test_the_test_that_was_running_is_named(history) -> None:
    first, second = history.plan("LINK-A-01"), history.plan("LINK-A-02")
    history.attempt(first)
    found = history.document(died="killed by signal 9")
    assert [result["reason"] for result in found["results"]] == [
        "this test was running when the run ended: killed by signal 9",
        "never started: killed by signal 9",
    ]
    assert found["results"][0]["start"] is not None
    assert found["results"][1]["start"] is None
    assert second["test"] == found["results"][1]["test"]


def test_a_run_that_stopped_at_the_first_failure(history) -> None:
    first, _ = history.plan("LINK-A-01"), history.plan("LINK-A-02")
    history.result(first, "fail", "no")
    history.stop("stopping after 1 failures", None)
    history.end()
    found = history.document()
    assert found["run"]["exit_status"] == 1
    assert found["results"][1]["verdict"] == "miss"


def test_what_ended_the_run_decides_the_status(history) -> None:
    history.result(history.plan("LINK-A-01"), "pass")
    history.stop("the guest does not boot", 3)
    history.end()
    assert history.document()["run"]["exit_status"] == 3


def test_no_run_no_document() -> None:
    with pytest.raises(InfrastructureError, match="expected a 'run' event"):
        document.build([])


def test_a_journal_that_was_cut_off_is_read_up_to_there(tmp_path) -> None:
    with journal.Journal(tmp_path) as opened:
        opened.write("run", durable=True, path=tmp_path, verdict=Verdict.PASS)
    path = tmp_path / journal.NAME
    path.write_text(path.read_text() + '{"event": "atte')
    (event,) = journal.read(tmp_path)
    assert (event["path"], event["verdict"]) == (str(tmp_path), "pass")
    path.write_text("{nonsense\n" + path.read_text())
    with pytest.raises(InfrastructureError, match="expected JSON in line 1"):
        journal.read(path)


def test_a_missing_journal(tmp_path) -> None:
    with pytest.raises(InfrastructureError, match="expected the journal of a run, found: No such file"):
        journal.read(tmp_path)


def test_an_output_folder_that_cannot_be_made(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InfrastructureError, match="choose another folder with --output"):
        journal.Journal(tmp_path / "file" / "results")


def test_the_schema_is_strict(history) -> None:
    history.result(history.plan("LINK-A-01"), "pass")
    history.end()
    good = json.loads(json.dumps(history.document()))
    for spoil in (
        lambda d: d["run"].pop("kernel"),
        lambda d: d["results"][0].update(verdict="passed"),
        lambda d: d["results"][0].update(more=1),
        lambda d: d["summary"].pop("miss"),
        lambda d: d["requirements"][0].update(falsified_by=[]),
        lambda d: d.update(schema=0),
        lambda d: d.update(schema="2"),
    ):
        bad = json.loads(json.dumps(good))
        spoil(bad)
        with pytest.raises(InfrastructureError, match="not a report of schema 1"):
            document.validate(bad, "bad")


def test_a_newer_schema_is_named() -> None:
    with pytest.raises(
        InfrastructureError, match="expected a report of schema 1, found schema 2 of a newer plugfest; upgrade"
    ):
        document.validate({"schema": 2, "results": {}}, "a")


def test_a_report_of_each_published_version_can_be_read() -> None:
    """The file has what version 1 demanded when it was published, and no more: no later key may become required within the version."""
    found = document.load(Path(__file__).parent / "data" / f"report-{document.SCHEMA_VERSION}.json")
    assert [result["verdict"] for result in found["results"]] == ["pass", "xfail", "unstable"]
    for text in (ktap.render(found), tap.render(found), junit.render(found)):
        assert text.count("LINK-B-02") >= 1


def test_the_schemas_name_has_its_version() -> None:
    schema = json.loads(document.SCHEMA_PATH.read_text())
    assert schema["$id"] == f"urn:plugfest:report:{document.SCHEMA_VERSION}"
    assert schema["properties"]["schema"]["const"] == document.SCHEMA_VERSION


def test_the_documentation_lists_every_key_of_the_report() -> None:
    table = (
        (Path(__file__).parents[2] / "docs" / "reports.md")
        .read_text()
        .partition("## report.json")[2]
        .partition("\n## ")[0]
    )
    schema = json.loads(document.SCHEMA_PATH.read_text())
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(schema["properties"])


def test_write_leaves_the_old_report_when_the_new_one_is_wrong(tmp_path) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")
    with pytest.raises(InfrastructureError):
        document.write({"schema": 1}, path)
    assert path.read_text() == "old"


def test_a_file_that_cannot_be_replaced_leaves_nothing_beside_it(tmp_path, history) -> None:
    history.end()
    path = tmp_path / "report.json"
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        document.write(history.document(), path)
    assert list(tmp_path.iterdir()) == [path]
