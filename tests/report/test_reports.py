# SPDX-License-Identifier: GPL-2.0-or-later
"""Each report has what the document has, whatever the texts contain."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from xml.etree import ElementTree

import pytest
from history import HOSTILE, History
from page import Page
from plugfest.errors import InfrastructureError
from plugfest.report import console, document, html, tap, write
from plugfest.report.artifact import Artifact
from plugfest.requirements.verdict import Verdict
from rich.console import Console


def plain(text: str) -> str:
    return " ".join(text.split())


def test_write_reports_writes_them_all(full) -> None:
    _, folder = full
    found = write.write_reports(folder)
    names = {path.name for path in folder.iterdir()}
    assert {"report.json", "report.html", "report.tap", "junit.xml"} <= names
    assert document.load(folder) == json.loads((folder / "report.json").read_text()) == found
    assert found["summary"] == dict.fromkeys(map(str, Verdict), 1)


def cards(page: Page) -> list[dict[str, str | None]]:
    return [attributes for tag, attributes in page.tags if "card" in (attributes.get("class") or "").split()]


class TestHtml:
    @pytest.fixture
    def page(self, full) -> Page:
        history, folder = full
        return Page(html.render(history.document(), folder))

    def test_it_is_well_formed(self, page) -> None:
        assert (page.unbalanced, page.open) == ([], [])

    def test_nothing_is_loaded_from_another_host(self, page, full) -> None:
        _, folder = full
        for tag, attributes in page.tags:
            assert tag not in ("link", "img", "iframe", "object", "embed")
            assert not any(name.startswith("on") for name in attributes)
            for name in ("src", "href", "action", "srcset"):
                value = attributes.get(name) or ""
                assert value.startswith(("#", "https://example.org/")) or (folder / value).exists()

    def test_no_script_but_its_own_may_run(self, page) -> None:
        assert [attributes for tag, attributes in page.tags if tag == "script"] == [{}]
        policy = next(a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
        digest = base64.b64encode(hashlib.sha256(page.script.encode()).digest()).decode()
        assert "default-src 'none'" in policy
        assert f"script-src 'sha256-{digest}'" in policy
        assert "innerHTML" not in page.script

    def test_it_has_everything(self, page, full) -> None:
        history, _ = full
        text = plain(page.text)
        for requirement in history.document()["requirements"]:
            assert requirement["id"] in text
            assert requirement["sentence"] in text
            assert requirement["source"] in text
        for result in history.document()["results"]:
            if result["known_issue"] is None:
                assert plain(result["reason"]) in text
        for expected in (
            "found: fail: 41",
            "7.3.4+deb13-amd64",
            "11.1.3",
            "model version 0.1.0",
            "version 7.3.4, srcversion 8A3",
            "exit status 130",
            "ixgbe_poll+0x10",
            "interrupted",
        ):
            assert expected in text
        for expected in ("xdp-features: basic redirect", "Bring the partner up"):
            assert expected in text

    def test_large_artifacts_are_behind_a_link(self, page, full) -> None:
        _, folder = full
        links = [attributes.get("href") for tag, attributes in page.tags if tag == "a"]
        for name in ("console.txt", "trace.txt", "wire.pcap"):
            assert f"artifacts/fail/{name}" in links
        assert "Detected Tx Unit Hang" not in page.text
        assert "Detected Tx Unit Hang" in (folder / "artifacts" / "fail" / "console.txt").read_text()

    def test_hostile_text_stays_text(self, page) -> None:
        assert page.text.count("<script>alert('x')</script>") == 4

    def test_each_requirement_has_a_card_that_can_be_linked_to(self, page) -> None:
        links = {
            attributes["href"]
            for tag, attributes in page.tags
            if tag == "a" and (attributes.get("href") or "").startswith("#")
        }
        targets = {
            "#" + attributes["id"] for tag, attributes in page.tags if "card" in (attributes.get("class") or "").split()
        }
        assert links == targets
        assert len(targets) == len(Verdict)

    def test_failures_are_unfolded(self, page) -> None:
        unfolded = {card["class"].split()[1] for card in cards(page) if "open" in card}
        assert unfolded == {"fail", "error", "crash", "timeout", "unstable"}, (
            "a test that never ran has nothing to show"
        )

    def test_failures_first_then_known_issues_then_the_rest_by_area(self, page) -> None:
        found = [card["class"].split()[1] for card in cards(page)]
        failures = ["fail", "crash", "timeout", "error", "miss"]
        assert found == [*failures, "unstable", "blocked", "quarantined", "xfail", "pass", "skip"]
        sections = [attributes["id"] for tag, attributes in page.tags if attributes.get("class") == "cards"]
        assert sections == ["failures", "unstable", "blocked", "quarantined", "known-issues", "area-link"]

    @pytest.mark.parametrize(
        ("options", "shown"), [({}, False), ({"confirm": True}, False), ({"confirm": False}, True)]
    )
    def test_unconfirmed_verdicts_are_named(self, history, tmp_path, options: dict[str, bool], shown: bool) -> None:
        history.events[0]["options"] |= options
        history.result(history.plan("LINK-A-01"), "fail", "no")
        history.end()
        assert ("No verdict was confirmed" in html.render(history.document(), tmp_path)) is shown

    def test_variants_can_be_told_apart(self, history, tmp_path) -> None:
        for name, verdict in (("fast", "pass"), ("slow", "fail"), ("slower", "fail")):
            test = history.plan("LINK-A-01", f"test_it[{name}]")
            history.result(test, verdict, "3 of 4 came" if verdict == "fail" else "")
        history.end()
        text = plain(Page(html.render(history.document(), tmp_path)).text)
        assert "2 fail1 pass LINK-A-01" in text
        assert "LINK-A-01 requires.slow, slower 3 of 4 came" in text
        assert re.search(r"fail slow 1.8 s .* fail slower 1.8 s .* pass fast 1.8 s", text)

    def test_the_evidence_of_a_skipped_variant_is_unfolded(self, history, tmp_path) -> None:
        for name, verdict in (("copy", "pass"), ("zero-copy", "skip")):
            evidence = [{"name": f"of {name}", "text": "0"}]
            history.result(history.plan("LINK-A-01", f"test_it[{name}]"), verdict, evidence=evidence)
        history.end()
        text = html.render(history.document(), tmp_path)
        assert '<details class="card pass" id="LINK-A-01"' in text
        assert "<details><summary>Evidence: of copy" in text
        assert "<details open><summary>Evidence: of zero-copy" in text

    def test_a_known_issue_stands_with_its_reason(self, page) -> None:
        assert "The driver does what SMOKE-XFAIL-04 requires.off by one" in plain(page.text)

    def test_verdicts_that_do_not_occur_have_no_column(self, history, tmp_path) -> None:
        history.result(history.plan("LINK-A-01"), "pass")
        history.end()
        page = Page(html.render(history.document(), tmp_path))
        text = plain(page.text)
        assert "Area pass seconds link 1 2" in text
        assert not any(verdict in text for verdict in ("fail", "timeout", "miss"))

    def test_known_issues_that_did_not_show_come_last(self, history, tmp_path) -> None:
        issue = {"reason": "off by one", "link": "https://example.org/1"}
        test = history.plan("LINK-A-01")
        history.result(
            test,
            "pass",
            "known issue did not show: off by one, https://example.org/1",
            known_issue=issue,
            expected=[expected("LINK-A-01")],
        )
        history.end()
        text = plain(Page(html.render(history.document(), tmp_path)).text)
        last = text.index("Known issues that did not show 1")
        assert "The known issue did not show." in text[:last]
        assert text.index("off by one", last) > text.rindex("The driver does what LINK-A-01 requires.") > last

    def test_a_failure_that_a_listed_issue_does_not_explain(self, history, tmp_path) -> None:
        issue = {"reason": "off by one", "link": "https://example.org/1"}
        reason = "found 7 (a known issue is listed, but shows otherwise: off by one, https://example.org/1)"
        history.result(history.plan("LINK-A-01"), "fail", reason, known_issue=issue, expected=[expected("LINK-A-01")])
        history.end()
        text = plain(Page(html.render(history.document(), tmp_path)).text)
        assert "A known issue is listed, but shows otherwise: off by one" in text
        assert "found 7 (a known" not in text

    def test_a_link_that_is_no_address_is_text(self, history, tmp_path) -> None:
        test = history.plan("LINK-A-01")
        history.result(test, "xfail", "x", known_issue={"reason": "why", "link": "javascript:alert(1)"})
        history.end()
        page = Page(html.render(history.document(), tmp_path))
        assert not any("javascript" in (attributes.get("href") or "") for _, attributes in page.tags)

    def test_artifacts(self, tmp_path) -> None:
        folder = tmp_path / "out"
        (folder / "a#b").mkdir(parents=True)
        (tmp_path / "secret").write_text("secret")
        (folder / "a#b" / "dmesg.txt").write_text("x" * 2345)
        outside = Artifact.find(folder, "a", "../secret")
        assert (outside.link, outside.note) == (None, "the path leads out of the output folder")
        gone = Artifact.find(folder, "a", "gone")
        assert (gone.link, gone.note) == (None, "No such file or directory")
        log = Artifact.find(folder, "dmesg.txt", "a#b/dmesg.txt")
        assert (log.link, log.page, log.title, log.size_text) == ("a%23b/dmesg.txt", None, "kernel log", "2 kB")
        assert Artifact.find(folder, "x", "javascript:alert(1)").link is None

    def test_a_long_run_is_a_small_page(self, tmp_path) -> None:
        history = History()
        for number in range(460):
            area = ("SMOKE", "LINK", "XDP", "QSTAT")[number % 4]
            sentence = "Frames of every length that the wire carries reach the socket once and unchanged. "
            test = history.plan(f"{area}-TOPIC{number}-01", sentence=sentence, procedure=[sentence] * 4)
            kept = {f"{name}.txt": f"artifacts/{number}/{name}.txt" for name in ("console", "trace", "dmesg")}
            history.result(test, "xfail" if number % 10 == 0 else "pass", "x" * 150, artifacts=kept)
        history.end()
        assert len(html.render(history.document(), tmp_path).encode()) < 1_000_000

    def test_falsification(self, tmp_path) -> None:
        history = falsified("falsified")
        text = plain(Page(html.render(history.document(), tmp_path)).text)
        assert "Does each test detect its fault?" in text
        assert "link.report.stuck 2 fail fail falsified" in text


class TestTap:
    def test_lines(self, full) -> None:
        history, _ = full
        lines = tap.render(history.document()).splitlines()
        assert lines[:2] == ["TAP version 13", "1..11"]
        tests = [line for line in lines if re.match(r"(not )?ok ", line)]
        assert [line.split(" - ")[0] for line in tests] == [
            "ok 1", "not ok 2", "ok 3", "not ok 4", "not ok 5", "not ok 6", "not ok 7", "not ok 8",
            "not ok 9", "not ok 10", "not ok 11",
        ]  # fmt: skip
        assert tests[2].endswith("# SKIP not supported: zero-copy AF_XDP")
        assert "# TODO off by one" in tests[3]
        assert "# TODO It hangs on" in tests[8]
        assert lines[-1] == "Bail out! interrupted"
        assert all(line.count("#") == line.count("\\#") + (" # " in line) for line in tests)
        verdicts = [line.removeprefix("  verdict: ") for line in lines if line.startswith("  verdict: ")]
        assert verdicts == [verdict for verdict in Verdict if verdict is not Verdict.PASS]

    def test_a_reason_is_one_quoted_printable_line(self, full) -> None:
        history, _ = full
        reasons = [line for line in tap.render(history.document()).splitlines() if line.startswith("  reason: ")]
        quoted = next(line for line in reasons if "alert" in line)
        assert json.loads(quoted.removeprefix("  reason: "))
        assert quoted.isprintable()

    def test_a_complete_run_does_not_bail_out(self, history) -> None:
        history.result(history.plan("LINK-A-01"), "pass")
        history.end()
        assert tap.render(history.document()) == (
            "TAP version 13\n1..1\n# ixgbe on plugfest's model of ixgbe (kr), Linux 7.3.4+deb13-amd64, tcg\n"
            "ok 1 - LINK-A-01 link/test_link.py::test_link_a_01\n"
        )


class TestJunit:
    @pytest.fixture
    def root(self, full) -> ElementTree.Element:
        _, folder = full
        write.write_reports(folder)
        return ElementTree.parse(folder / "junit.xml").getroot()

    def test_counts(self, root) -> None:
        counts = {name: int(root.get(name)) for name in ("tests", "failures", "errors", "skipped")}
        assert counts == {"tests": 11, "failures": 3, "errors": 4, "skipped": 3}
        assert [suite.get("name") for suite in root] == ["ixgbe.link", "ixgbe.smoke"]

    def test_verdicts(self, root) -> None:
        found = {}
        for case in root.iter("testcase"):
            properties = {entry.get("name"): entry.get("value") for entry in case.iter("property")}
            outcome = [child for child in case if child.tag in ("failure", "error", "skipped")]
            found[properties["verdict"]] = outcome[0].tag if outcome else None
            assert all(child.get("type") == properties["verdict"] for child in outcome)
            assert properties["requirement"] in case.get("name")
            assert properties["sentence"].startswith("The driver does what")
        assert found == {
            "pass": None,
            "fail": "failure",
            "skip": "skipped",
            "xfail": "skipped",
            "error": "error",
            "crash": "failure",
            "timeout": "failure",
            "unstable": "error",
            "quarantined": "skipped",
            "blocked": "error",
            "miss": "error",
        }

    def test_provenance(self, root) -> None:
        for suite in root:
            properties = {entry.get("name"): entry.get("value") for entry in suite.find("properties")}
            assert properties["kernel"] == "7.3.4+deb13-amd64"
            assert properties["version.qemu"] == "11.1.3"
            assert properties["version.model"] == "0.1.0"


def render(document_, width: int = 100, **options) -> str:
    file = io.StringIO()
    console.render(document_, Console(file=file, width=width, **options))
    return file.getvalue()


class TestConsole:
    def test_everything_is_printed_without_a_terminal(self, full) -> None:
        history, _ = full
        text = render(history.document(), width=200)
        assert "\x1b[" not in text.replace(HOSTILE, "").replace("\x1b[31m", "")
        assert re.search(r"all( +1){11}", text)
        for verdict in ("fail", "error", "crash", "timeout", "unstable", "quarantined"):
            assert re.search(
                rf"^{verdict} (LINK|SMOKE)-{verdict.upper()}-\d\d \(MUST\) The driver does what", text, re.MULTILINE
            )
        assert "blocked 1 test stands on SMOKE-FAIL-02" in text
        assert "miss 1 test never started" in text
        assert "incomplete run: interrupted" in text
        assert "artifacts/fail: console.txt, trace.txt, wire.pcap" in text
        assert "(exit status 130)" in text.splitlines()[-1]

    def test_markup_in_a_reason_stays_text(self, history) -> None:
        history.result(history.plan("LINK-A-01"), "fail", "expected [red]7[/red], found [/]")
        history.end()
        assert "expected [red]7[/red], found [/]" in render(history.document())

    def test_a_falsification(self) -> None:
        text = render(falsified("falsified").document())
        assert "1 of 1 faults were detected" in text
        assert "(exit status 0)" in text

    def test_known_issues_are_counted_and_those_that_did_not_show_are_named(self, history) -> None:
        for number, showed in enumerate((True, True, False), 1):
            test = history.plan("LINK-A-01", name=f"test_a[{number}]")
            history.result(test, "xfail" if showed else "pass", expected=[expected("LINK-A-01", showed=showed)])
        history.result(
            history.plan("LINK-A-02"), "xfail", expected=[expected(None, title="igb: it hangs", showed=True)]
        )
        history.result(history.plan("LINK-A-03"), "pass", expected=[expected("LINK-A-03")])
        history.result(history.plan("LINK-A-04"), "pass", expected=[expected("LINK-A-04", intermittent=True)])
        history.result(history.plan("LINK-A-05"), "skip", expected=[expected("LINK-A-05")])
        history.end()
        text = render(history.document(), width=200)
        assert (
            "known issues 2 showed, in 3 tests, 1 of them by a complaint or a broken rule in a test that is not listed\n"
            in text
        )
        assert [line for line in text.splitlines() if "did not show" in line] == [
            "known issue did not show LINK-A-03 off by one"
        ]


def expected(requirement: str | None, *, title: str = "off by one", showed: bool = False, intermittent: bool = False):
    """What the journal says of a known issue of a test."""
    link = "https://example.org/1"
    return {"title": title, "link": link, "requirement": requirement, "intermittent": intermittent, "showed": showed}


@pytest.mark.parametrize(
    ("strict", "issue", "verdict", "status"),
    [
        (True, {}, "pass", 1),
        (False, {}, "pass", 0),
        (True, {"showed": True}, "xfail", 0),
        (True, {"intermittent": True}, "pass", 0),
        (True, {}, "skip", 0),
        (True, {}, "xfail", 0),
    ],
)
def test_an_issue_that_does_not_show_is_a_failure_if_the_user_wants_so(
    history, strict: bool, issue: dict, verdict: str, status: int
) -> None:
    history.events[0]["options"]["strict_known"] = strict
    history.result(history.plan("LINK-A-01"), verdict, expected=[expected("LINK-A-01", **issue)])
    history.end()
    assert history.document()["run"]["exit_status"] == status


def falsified(*outcomes: str) -> History:
    history = History(falsify=True)
    for number, outcome in enumerate(outcomes, 1):
        test = history.plan(f"LINK-A-{number:02}", fault="link.report.stuck")
        fault = {"name": "link.report.stuck", "fired": 2, "demanded": "fail", "outcome": outcome}
        history.result(
            test, {"falsified": "fail", "skipped": "skip", "error": "error"}.get(outcome, "pass"), falsification=fault
        )
    history.end()
    return history


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        (["falsified"], 0),
        (["falsified", "skipped"], 0),
        (["falsified", "not falsified"], 1),
        (["never fired"], 1),
        (["error"], 1),
    ],
)
def test_exit_status_of_a_falsification(outcomes: list[str], status: int) -> None:
    assert falsified(*outcomes).document()["run"]["exit_status"] == status


def test_load_rejects_what_is_no_report(tmp_path) -> None:
    with pytest.raises(InfrastructureError, match=r"expected a report\.json, found"):
        document.load(tmp_path)
    (tmp_path / "report.json").write_text('{"schema": 1}')
    with pytest.raises(InfrastructureError, match="not a report of schema 1"):
        document.load(tmp_path)


class TestTightWaits:
    """Those that ended in time, but used more than half of their deadline."""

    def history(self, *, strict: bool = False, falsify: bool = False) -> History:
        made = History(falsify=falsify)
        made.events[0]["options"]["strict_waits"] = strict
        for identifier, share in (("XDP-BASIC-01", 0.6), ("XDP-BASIC-02", 0.9)):
            wait = {"what": f"{HOSTILE} comes", "seconds": share * 20, "limit": 20.0, "share": share}
            made.result(made.plan(identifier), "pass", calls=7, waited=19.0, tight_waits=[wait])
        made.result(made.plan("XDP-BASIC-03"), "pass", calls=7, waited=0.0, tight_waits=[])
        made.end()
        return made

    def summary(self, made: History) -> str:
        output = io.StringIO()
        console.render(made.document(), Console(file=output, width=200))
        return plain(output.getvalue())

    def test_summary_counts_them_and_names_the_tightest(self) -> None:
        text = self.summary(self.history())
        assert "tight 2 waits used more than half of their deadline; the tightest: 18.0 of 20.0 s until" in text
        assert "(XDP-BASIC-02)" in text
        assert "strict" not in text

    def test_page_lists_them_the_tightest_first(self, tmp_path) -> None:
        page = Page(html.render(self.history().document(), tmp_path))
        assert (page.unbalanced, page.open) == ([], [])
        text = plain(page.text)
        assert text.index("90 %") < text.index("60 %")
        assert "Tight waits 2" in text

    @pytest.mark.parametrize("strict", [False, True])
    def test_strict_run_fails_of_them_and_says_so(self, strict: bool) -> None:
        made = self.history(strict=strict)
        assert made.document()["run"]["exit_status"] == strict
        assert ("a failure under --strict-waits" in self.summary(made)) is strict

    def test_driver_with_a_fault_may_be_slow(self) -> None:
        assert document.tight_waits(self.history(strict=True, falsify=True).document()) == []

    def test_run_without_them_does_not_mention_them(self, full) -> None:
        history, folder = full
        assert "Tight waits" not in html.render(history.document(), folder)
        assert "tight" not in self.summary(history)
