# SPDX-License-Identifier: GPL-2.0-or-later
"""A report in the formats of others: each has every result, whatever the texts contain, and its readers accept it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import kcidb_io
import pytest
from history import HOSTILE, History
from plugfest.report import kcidb, ktap, netdev_ci
from plugfest.requirements import known_issues
from plugfest.requirements.verdict import Verdict

LINK = "https://ci.example.org/results/1"


@pytest.fixture
def document(full) -> Mapping[str, Any]:
    """Every verdict, and a requirement with variants, of which one failed twice."""
    history, _ = full
    history.events = [event for event in history.events if event["event"] not in ("stopped", "end")]
    first, second = (history.plan("XDP-MANY-01", f"test_many[{name}]") for name in ("zero-copy", "zero/copy"))
    history.result(first, "pass")
    tries = [{"seconds": 1.0, "steps": [], "evidence": [], "problems": [], "artifacts": {}, "start": 1.0} for _ in "ab"]
    tries = [{**each, "verdict": "fail", "reason": "41"} for each in tries]
    history.result(second, "fail", "41", attempts=tries)
    history.end()
    return history.document()


class Ktap:
    """A reader of KTAP that knows no more than Documentation/dev-tools/ktap.rst, and takes nothing that is not in it."""

    RESULT = re.compile(r"(not ok|ok) (\d+) ([^#]+?)(?: # (?:(SKIP|XFAIL|TIMEOUT|ERROR)\b ?)?(.*))?")

    def __init__(self, text: str) -> None:
        self.lines = text.splitlines()
        self.bail = ""
        self.results = self._read("")
        while self.lines and self.lines[0].startswith("# "):
            self.lines.pop(0)
        if self.lines and self.lines[0].startswith("Bail out!"):
            self.bail = self.lines.pop(0)
        assert self.lines == []

    def _read(self, indent: str) -> list[dict[str, Any]]:
        assert self.lines.pop(0) == f"{indent}KTAP version 1"
        plan = re.fullmatch(rf"{indent}1\.\.(\d+)", self.lines.pop(0))
        assert plan is not None
        found: list[dict[str, Any]] = []
        nested: list[dict[str, Any]] = []
        notes: list[str] = []
        while len(found) < int(plan[1]):
            line = self.lines[0]
            assert line.isprintable()
            if line == f"{indent}  KTAP version 1":
                nested = self._read(f"{indent}  ")
                continue
            self.lines.pop(0)
            assert line.startswith(indent), line
            if line.startswith(f"{indent}# "):
                notes.append(line.removeprefix(f"{indent}# "))
                continue
            match = self.RESULT.fullmatch(line.removeprefix(indent))
            assert match is not None, line
            assert int(match[2]) == len(found) + 1
            result = {"ok": match[1] == "ok", "name": match[3], "directive": match[4], "data": match[5]}
            found.append({**result, "nested": nested, "notes": notes})
            nested, notes = [], []
        return found


class TestKtap:
    def test_each_verdict(self, document) -> None:
        found = {each["name"].split("-")[1].lower(): each for each in Ktap(ktap.render(document)).results}
        ok = {name: (each["ok"], each["nested"][0]["directive"]) for name, each in found.items() if name != "many"}
        assert ok == {
            "pass": (True, None),
            "fail": (False, None),
            "skip": (True, "SKIP"),
            "xfail": (True, "XFAIL"),
            "error": (False, "ERROR"),
            "crash": (False, None),
            "timeout": (False, "TIMEOUT"),
            "unstable": (False, "ERROR"),
            "quarantined": (True, "XFAIL"),
            "blocked": (False, "ERROR"),
            "miss": (False, "ERROR"),
        }
        assert {name: each["directive"] for name, each in found.items() if each["directive"]} == {
            "skip": "SKIP",
            "xfail": "XFAIL",
            "quarantined": "XFAIL",
        }

    def test_variants_are_nested_and_one_that_failed_fails_all(self, document) -> None:
        many = Ktap(ktap.render(document)).results[-1]
        assert (many["ok"], many["data"]) == (False, "time=3500ms")
        assert [(each["ok"], each["name"]) for each in many["nested"]] == [(True, "zero-copy"), (False, "zero/copy")]
        assert many["nested"][1]["notes"] == ["fail: 41"]

    def test_the_kernels_complaint_and_hostile_text_are_diagnostics(self, document) -> None:
        found = {each["name"]: each for each in Ktap(ktap.render(document)).results}
        notes = found["SMOKE-CRASH-06"]["nested"][0]["notes"]
        assert "[ 12.0] RIP: 0010:ixgbe_poll+0x10/0x20 [ixgbe]" in notes
        (note,) = found["SMOKE-FAIL-02"]["nested"][0]["notes"]
        assert "<script>alert('x')</script>" in note
        assert HOSTILE not in ktap.render(document)

    def test_a_test_without_parameters_is_not_nested(self, history) -> None:
        history.result(history.plan("LINK-A-01"), "pass")
        history.end()
        (found,) = Ktap(ktap.render(history.document())).results
        assert (found["ok"], found["name"], found["nested"], found["data"]) == (True, "LINK-A-01", [], "time=1750ms")

    def test_an_incomplete_run_bails_out(self, full) -> None:
        history, _ = full
        found = Ktap(ktap.render(history.document()))
        assert found.bail == "Bail out! interrupted"
        assert len(found.results) == len(Verdict)


class TestNetdev:
    def test_each_verdict(self, document) -> None:
        found = netdev_ci.render(document)
        results = {each["test"].split("-")[1].lower(): each for each in found["results"]}
        assert {name: each["result"] for name, each in results.items() if name != "many"} == {
            **dict.fromkeys(map(str, Verdict), "fail"),
            "pass": "pass",
            "skip": "skip",
            "xfail": "skip",
            "quarantined": "skip",
        }
        assert results["unstable"]["retry"] == "pass"
        assert "retry" not in results["quarantined"]
        assert results["crash"]["crashes"] == ["BUG: kernel NULL pointer dereference in ixgbe_poll"]
        assert {each["group"] for each in found["results"]} == {"plugfest-link", "plugfest-smoke", "plugfest-xdp"}

    def test_variants_and_the_second_attempt(self, document) -> None:
        many = netdev_ci.render(document, link=f"{LINK}/")["results"][-1]
        assert (many["test"], many["result"], many["retry"], many["time"]) == ("XDP-MANY-01", "fail", "fail", 3.5)
        assert many["link"] == f"{LINK}/report.html#XDP-MANY-01"
        assert many["results"] == [
            {"test": "zero-copy", "result": "pass", "time": 1.75},
            {"test": "zero-copy-2", "result": "fail", "time": 1.75, "retry": "fail"},
        ]

    def test_the_run(self, document) -> None:
        found = netdev_ci.render(document, link=LINK)
        assert found["executor"] == "plugfest-ixgbe-kr"
        assert found["branch"] == "7.3.4+deb13-amd64-2026-09-21--14-13"
        assert (found["start"], found["link"]) == ("2026-09-21 14:13:21+00:00", LINK)
        assert found["end"].startswith("2026-09-21 14:13:49")
        assert found["device"]["driver"] == "ixgbe"
        assert found["device"]["versions"]["running"]["qemu"] == "11.1.3"
        named = netdev_ci.render(document, executor="vendor-nic", branch="net-next-2026-09-21--12-00")
        assert (named["executor"], named["branch"]) == ("vendor-nic", "net-next-2026-09-21--12-00")
        assert "link" not in named
        json.dumps(named)

    def test_names_have_only_the_characters_that_the_ci_keeps(self, history) -> None:
        history.result(
            history.plan("LINK-A-01", "test_x[{'a': [1, 2]} \N{GREEK SMALL LETTER MU}s " + "x" * 300 + "]"), "pass"
        )
        history.end()
        ((case,),) = [each["results"] for each in netdev_ci.render(history.document())["results"]]
        assert re.fullmatch(r"a-1-2-s-x{200,}", case["test"])
        assert len(case["test"]) == 256

    def test_the_manifest_has_each_run_once_and_the_newest(self, document) -> None:
        run = netdev_ci.render(document)
        entries = [{"branch": f"b{number}", "executor": run["executor"], "url": None} for number in range(600)]
        entries.insert(3, {"branch": run["branch"], "executor": run["executor"], "url": None})
        entries.insert(500, {"branch": run["branch"], "executor": "another", "url": "u"})
        found = netdev_ci.manifest_with(entries, run, f"{LINK}.json")
        assert len(found) == 500
        assert found[-1] == {"branch": run["branch"], "executor": run["executor"], "url": f"{LINK}.json"}
        assert [each["executor"] for each in found if each["branch"] == run["branch"]] == ["another", run["executor"]]
        assert found[-2]["branch"] == "b599"


class TestKcidb:
    def test_each_verdict(self, document) -> None:
        found = kcidb.render(document)
        kcidb_io.schema.V5_3.validate(found)
        assert {each["misc"]["verdict"]: each["status"] for each in found["tests"][: len(Verdict)]} == {
            "pass": "PASS",
            "fail": "FAIL",
            "skip": "SKIP",
            "xfail": "FAIL",
            "error": "ERROR",
            "crash": "FAIL",
            "timeout": "FAIL",
            "unstable": "ERROR",
            "quarantined": "ERROR",
            "blocked": "MISS",
            "miss": "MISS",
        }
        assert found["tests"][-2]["path"] == "plugfest.ixgbe.xdp.XDP-MANY-01.zero-copy"
        assert len({each["id"] for each in found["tests"]}) == len(found["tests"]) == len(Verdict) + 2

    def test_it_is_whole(self, document) -> None:
        """What refers to a build, a test or an issue refers to one that is there."""
        found = kcidb.render(document, origin="vendor")
        kcidb_io.schema.LATEST.validate(found)
        (checkout,), (build,), (issue,), (incident,) = (
            found[key] for key in ("checkouts", "builds", "issues", "incidents")
        )
        assert build["checkout_id"] == checkout["id"]
        assert {each["build_id"] for each in found["tests"]} == {build["id"]}
        (known,) = [each for each in found["tests"] if each["misc"]["verdict"] == "xfail"]
        assert (incident["issue_id"], incident["issue_version"]) == (issue["id"], issue["version"])
        assert incident["test_id"] == known["id"]
        assert all(
            each["origin"] == "vendor" and each["id"].startswith("vendor:")
            for each in (checkout, build, issue, *found["tests"])
        )
        assert (issue["report_subject"], "culprit" in issue) == ("off by one", False)

    def test_two_runs_that_began_in_one_second_share_no_id(self, history) -> None:
        history.result(history.plan("LINK-A-01"), "pass")
        history.end()
        found = [history.document()]
        attempt = next(event for event in history.events if event["event"] == "attempt")
        attempt["time"] += 0.007
        found.append(history.document())
        assert found[0]["run"]["start"] == found[1]["run"]["start"]
        for what in ("checkouts", "builds", "tests"):
            ids = [each["id"] for document in found for each in kcidb.render(document)[what]]
            assert len(set(ids)) == len(ids) == 2
        assert kcidb.render(found[0]) == kcidb.render(found[0])

    @pytest.mark.parametrize(
        ("whose", "layer"), [("driver", "code"), ("core", "code"), ("qemu", "harness"), ("device", "harness")]
    )
    def test_whose_bug_it_is(self, history, whose: str, layer: str) -> None:
        issue = next(each for each in known_issues.load() if each.whose == whose)
        known = {"reason": issue.title, "link": issue.link}
        history.result(history.plan("LINK-A-01"), "xfail", "x", known_issue=known)
        history.end()
        found = kcidb.render(history.document(), issues=known_issues.load())
        kcidb_io.schema.V5_3.validate(found)
        assert [name for name, blamed in found["issues"][0]["culprit"].items() if blamed] == [layer]

    def test_files_have_urls_where_the_run_is_published(self, document) -> None:
        assert all("output_files" not in each for each in kcidb.render(document)["tests"])
        found = kcidb.render(document, link=LINK)
        kcidb_io.schema.V5_3.validate(found)
        (failed,) = [each for each in found["tests"] if each["misc"]["requirement"] == "SMOKE-FAIL-02"]
        assert failed["log_url"] == f"{LINK}/artifacts/fail/console.txt"
        assert {each["name"]: each["url"] for each in failed["output_files"]} == {
            "trace.txt": f"{LINK}/artifacts/fail/trace.txt",
            "wire.pcap": f"{LINK}/artifacts/fail/wire.pcap",
        }

    def test_a_long_excerpt_is_cut(self, history) -> None:
        history.result(history.plan("LINK-A-01"), "crash", "BUG: x", problems=["y" * 20_000 + "\0"])
        history.end()
        found = kcidb.render(history.document())
        kcidb_io.schema.V5_3.validate(found)
        assert found["tests"][0]["log_excerpt"].startswith("BUG: x\nyyy")
        assert len(found["tests"][0]["log_excerpt"]) == 16384


def test_no_run_no_results() -> None:
    history = History()
    history.end()
    assert Ktap(ktap.render(history.document())).results == []
    assert netdev_ci.render(history.document())["results"] == []
    kcidb_io.schema.V5_3.validate(kcidb.render(history.document()))


def test_each_kind_of_known_issue_has_a_culprit_in_kcidb() -> None:
    assert set(kcidb._CULPRITS) == set(known_issues.Whose)
