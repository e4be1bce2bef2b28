# SPDX-License-Identifier: GPL-2.0-or-later
"""The site: what its pages have, that each link leads somewhere, and that no text of a guest does anything."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from history import HOSTILE
from nights import FINGERPRINT, night
from page import Page
from plugfest.errors import InfrastructureError
from plugfest.history import database, recording, timeline
from plugfest.history.timeline import Timeline
from plugfest.requirements.verdict import Verdict
from plugfest.site.chart import HEIGHT, STEP, chart
from plugfest.site.requirement import cell, releases
from plugfest.site.write import GLYPHS, WINDOW, write


def history(path: Path) -> Timeline:
    with database.reading(path) as connection:
        return timeline.read(connection)


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """Three configurations: one with every verdict, one in which much changes, one without a run for weeks."""
    path = tmp_path / "h.db"
    every = {f"LINK-{verdict.upper()}-01": str(verdict) for verdict in Verdict}
    changing = [
        {"LINK-PASS-01": "pass", "XDP-A-01[copy]": "pass", "XDP-A-01[zero-copy]": "skip", "XDP-B-01": "pass"},
        {"LINK-PASS-01": "fail", "XDP-A-01[copy]": "crash", "XDP-A-01[zero-copy]": "skip", "XDP-B-01": "error"},
        {"LINK-PASS-01": "pass", "XDP-A-01[copy]": "crash", "XDP-A-01[zero-copy]": "skip"},
    ]
    runs = [night(tmp_path / "results" / "every", 30, every)]
    runs += [
        night(
            tmp_path / "results" / f"gve-{number}",
            28 + number,
            verdicts,
            driver="gve",
            profile="std",
            release=f"7.3.{9 + number}",
        )
        for number, verdicts in enumerate(changing)
    ]
    runs.append(
        night(
            tmp_path / "results" / "old",
            2,
            {"LINK-PASS-01": "pass"},
            driver="igb",
            profile=None,
            kernel="trixie",
            release="6.12.9",
        )
    )
    recording.add(path, runs)
    return path


@pytest.fixture
def site(db: Path, tmp_path: Path) -> Path:
    write(history(db), tmp_path / "site", title="Nights")
    return tmp_path / "site"


def page(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def links(path: Path) -> list[str]:
    return [str(attributes["href"]) for tag, attributes in page(path).tags if tag == "a"]


def run_page(site: Path, words: str) -> Path:
    """The newest page of a run of a driver and profile."""
    return max(site.glob(f"runs/*-{words}-*.html"), key=lambda path: int(path.name.partition("-")[0]))


def plain(text: str) -> str:
    return " ".join(text.split())


def test_the_pages(site) -> None:
    assert sorted(path.name for path in site.iterdir()) == ["index.html", "requirements", "runs"]
    assert len(list(site.glob("runs/*.html"))) == 5
    assert len(list(site.glob("requirements/*.html"))) == len(Verdict) + 2
    assert not [path for path in site.rglob("*") if path.name.startswith(".")]


def test_every_page_is_well_formed_and_loads_nothing(site) -> None:
    for path in site.rglob("*.html"):
        found = page(path)
        assert (found.unbalanced, found.open) == ([], []), path
        assert not {tag for tag, _ in found.tags} & {"script", "link", "img", "iframe", "object", "form"}, path
        assert not [attributes for _, attributes in found.tags if "src" in attributes or "srcset" in attributes]
        assert "url(" not in path.read_text(encoding="utf-8")


def test_every_link_leads_to_a_page_and_a_place_in_it(site) -> None:
    places = {
        path.resolve(): {attributes["id"] for _, attributes in page(path).tags if attributes.get("id")}
        for path in site.rglob("*.html")
    }
    followed = 0
    for path in places:
        for link in links(path):
            address = urlsplit(link)
            assert (address.scheme, address.netloc) == ("", "")
            target = (path.parent / unquote(address.path)).resolve() if address.path else path
            assert target in places, f"{path}: {link}"
            assert not address.fragment or address.fragment in places[target], f"{path}: {link}"
            followed += 1
    assert followed > 100


def test_every_page_can_be_reached_from_the_index(site) -> None:
    seen, ahead = set(), [site / "index.html"]
    while ahead:
        path = ahead.pop().resolve()
        if path not in seen:
            seen.add(path)
            ahead += [path.parent / unquote(urlsplit(link).path) for link in links(path) if urlsplit(link).path]
    assert seen == {path.resolve() for path in site.rglob("*.html")}


def test_the_same_history_gives_the_same_bytes(db, site, tmp_path) -> None:
    write(history(db), tmp_path / "again" / "site", title="Nights")
    for path in site.rglob("*.html"):
        assert (tmp_path / "again" / "site" / path.relative_to(site)).read_bytes() == path.read_bytes()


def test_other_files_are_left_alone(db, site) -> None:
    (site / "runs" / "notes.txt").write_text("mine")
    (site / "index.html").write_text("of yesterday")
    write(history(db), site, title="Another")
    assert (site / "runs" / "notes.txt").read_text() == "mine"
    assert "<h1>Another</h1>" in (site / "index.html").read_text()


def test_a_folder_that_cannot_be_written(db, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        InfrastructureError, match=r"expected a folder to write the site to, found: .*; choose another with --out"
    ):
        write(history(db), tmp_path / "file", title="Nights")


def test_a_page_that_cannot_be_written_leaves_nothing_beside_it(db, tmp_path) -> None:
    (tmp_path / "site" / "index.html").mkdir(parents=True)
    with pytest.raises(InfrastructureError, match="expected a folder to write the site to, found: Is a directory"):
        write(history(db), tmp_path / "site", title="Nights")
    assert [path.name for path in (tmp_path / "site").iterdir()] == ["index.html"]


class TestIndex:
    def rows(self, site: Path, section: str) -> dict[str, list[str]]:
        """The glyphs of each row of the heat map, or of a table's rows by their heads."""
        text = (site / "index.html").read_text()
        part = text[text.index(f'id="{section}"') :]
        return {
            match[1]: re.findall(r'aria-hidden="true">(.)<|class="dot">(.)<', match[2])
            for match in re.finditer(r'<tr><th scope="row"><a[^>]*>([A-Z0-9-]+)</a></th>(.*?)</tr>', part, re.DOTALL)
        }

    def test_the_heat_map_has_each_verdict(self, site) -> None:
        """The columns are gve, igb and ixgbe."""
        rows = {name: "".join(a or b for a, b in found) for name, found in self.rows(site, "map").items()}
        assert {name: glyphs[2] for name, glyphs in rows.items() if name.startswith("LINK")} == {
            f"LINK-{verdict.upper()}-01": GLYPHS[verdict] for verdict in Verdict
        }
        assert rows["LINK-PASS-01"] == "✓✓✓"
        assert rows["XDP-A-01"] == "!··"
        assert rows["XDP-B-01"] == "E··"
        assert len(set(GLYPHS.values())) == len(Verdict)

    def test_a_verdict_that_is_older_than_the_newest_run_shows(self, site) -> None:
        text = (site / "index.html").read_text()
        assert re.findall(r'class="glyph (\w+) old"', text) == ["error"]

    def test_areas_fold_and_those_with_failures_are_open(self, site, tmp_path) -> None:
        folds = [
            (attributes.get("class"), "open" in attributes)
            for tag, attributes in page(site / "index.html").tags
            if tag == "details"
        ]
        assert folds == [("area", True), ("area", True)]
        recording.add(tmp_path / "good.db", [night(tmp_path / "good", 0, {"LINK-A-01": "pass", "XDP-A-01": "skip"})])
        write(history(tmp_path / "good.db"), tmp_path / "good-site", title="Nights")
        folds = [
            "open" in attributes
            for tag, attributes in page(tmp_path / "good-site" / "index.html").tags
            if tag == "details"
        ]
        assert folds == [False, False]

    def test_the_newest_runs(self, site) -> None:
        text = plain(page(site / "index.html").text)
        assert "13 requirements in 3 configurations · the newest run is of 2026-10-21 14:13 UTC" in text
        assert re.search(r"gve \(std\) 7\.3\.11 trixie-backports 2026-10-21 14:13 · · 1 1 3", text)
        assert re.search(r"igb 6\.12\.9 trixie 2026-09-23 14:13 stale", text)
        assert re.search(r"ixgbe \(kr\) 7\.3\.4\+deb13-amd64 trixie-backports 2026-10-21 14:13 incomplete", text)

    def test_crashes_and_flaky_tests(self, site) -> None:
        text = plain(page(site / "index.html").text)
        where = "gve (std) on trixie-backports, ixgbe (kr) on trixie-backports"
        assert f"{FINGERPRINT} 3 2026-10-20 14:13 2026-10-21 14:13 {where} XDP-A-01 LINK-CRASH-01" in text
        assert "Flaky tests 3" in text

    def test_an_empty_history(self, tmp_path) -> None:
        assert write(Timeline([], {}, {}), tmp_path / "site", title="Nights") == 1
        assert "The history has no run." in (tmp_path / "site" / "index.html").read_text()


class TestRun:
    def test_what_changed_and_what_failed(self, site) -> None:
        (second,) = site.glob("runs/*-gve-std-7.3.10.html")
        text = plain(page(second).text)
        assert "What changed 3 broken LINK-PASS-01 test_link_pass_01 pass → fail fail of LINK-PASS-01" in text
        assert f"broken XDP-A-01 copy pass → crash {FINGERPRINT}" in text
        assert "lost XDP-B-01 test_xdp_b_01 pass → error" in text
        assert "Neither passed nor skipped 3" in text
        assert "1 min" not in text
        assert [link for link in links(second) if "runs" in link or "gve" in link] == [
            "../runs/2-gve-std-7.3.9.html",
            "../runs/4-gve-std-7.3.11.html",
        ]

    def test_an_incomplete_run_says_why(self, site) -> None:
        assert "Incomplete run: interrupted" in page(run_page(site, "ixgbe-kr")).text

    @pytest.mark.parametrize(("folder", "linked"), [("site", True), ("public/site", False)])
    def test_a_report_is_linked_where_it_can_be_published_with_the_site(
        self, db, tmp_path, folder: str, linked: bool
    ) -> None:
        (tmp_path / "results" / "every" / "report.html").write_text("")
        write(history(db), tmp_path / folder, title="Nights")
        path = run_page(tmp_path / folder, "ixgbe-kr")
        found = [link for link in links(path) if link.endswith("report.html")]
        assert found == (["../../results/every/report.html"] if linked else [])
        assert (str(tmp_path / "results" / "every") in path.read_text()) is not linked

    def test_a_long_history_shows_its_newest_runs(self, tmp_path) -> None:
        runs = [night(tmp_path / str(number), number, {"LINK-A-01": "pass"}) for number in range(WINDOW + 2)]
        recording.add(tmp_path / "h.db", runs)
        write(history(tmp_path / "h.db"), tmp_path / "site", title="Nights")
        assert len(list((tmp_path / "site").glob("runs/*.html"))) == WINDOW
        text = (tmp_path / "site" / "requirements" / "LINK-A-01.html").read_text()
        assert text.count('class="glyph pass"') == WINDOW
        assert "stable" in text
        oldest = min((tmp_path / "site").glob("runs/*.html"), key=lambda path: int(path.name.partition("-")[0]))
        assert "This is the first run that the site has" in oldest.read_text()


class TestRequirement:
    def test_its_verdicts_by_kernel_and_over_time(self, site) -> None:
        path = site / "requirements" / "XDP-A-01.html"
        text = plain(page(path).text)
        assert "XDP-A-01 MUST, xdp The driver does what XDP-A-01 requires. Source: Documentation/networking" in text
        assert "Driver Kernel 7.3.11 7.3.10 7.3.9 gve (std) trixie-backports crash crash pass" in text
        assert "copy settling 1.8 s" in text
        titles = [
            attributes["title"] for tag, attributes in page(path).tags if "glyph" in (attributes.get("class") or "")
        ]
        assert titles[:3] == [
            f"2026-10-{day} 14:13, Linux 7.3.{release}: {verdict}"
            for day, release, verdict in ((19, 9, "pass"), (20, 10, "crash"), (21, 11, "crash"))
        ]
        assert titles[3].endswith("7.3.9: skip")

    def test_a_driver_that_never_ran_it_has_no_row(self, site) -> None:
        assert "igb" not in page(site / "requirements" / "XDP-A-01.html").text
        assert "igb" in page(site / "requirements" / "LINK-PASS-01.html").text

    def test_the_verdict_of_several_tests(self, db) -> None:
        found = history(db)
        gve = next(each for each in found.configurations if each.driver == "gve")
        tests = [test for test in found.tests.values() if test.requirement == "XDP-A-01"]
        assert [cell(gve, tests, [run]).verdict for run in gve.runs] == ["pass", "crash", "crash"]
        skipped = [test for test in tests if test.subtest == "zero-copy"]
        assert cell(gve, skipped).verdict is Verdict.SKIP
        assert cell(gve, []) is None

    def test_releases_are_in_the_order_of_their_versions(self, db) -> None:
        assert releases(history(db)) == ["7.3.11", "7.3.10", "7.3.9", "7.3.4+deb13-amd64", "6.12.9"]


class TestChart:
    def test_each_verdict_of_each_run_can_be_seen(self, db) -> None:
        for configuration in history(db).configurations:
            found = chart(configuration.runs)
            for bar, run in zip(found.bars, configuration.runs, strict=True):
                assert {part.verdict for part in bar.parts} == set(run.counts)
                assert all(part.height >= 2 and 0 <= part.y <= HEIGHT - part.height + 1e-6 for part in bar.parts)
                assert len({part.x for part in bar.parts}) == 1
                assert sum(part.height for part in bar.parts) <= HEIGHT + 1e-6
            assert found.width == len(configuration.runs) * STEP - 1

    def test_the_worst_is_on_top_and_bars_follow_the_number_of_results(self, tmp_path) -> None:
        many = {f"LINK-A-{number:02}": "pass" for number in range(1, 61)}
        runs = [
            night(tmp_path / "a", 0, {**many, "LINK-B-01": "fail"}),
            night(tmp_path / "b", 1, dict(list(many.items())[:30])),
        ]
        recording.add(tmp_path / "h.db", runs)
        (configuration,) = history(tmp_path / "h.db").configurations
        first, second = chart(configuration.runs).bars
        assert [part.verdict for part in sorted(first.parts, key=lambda part: part.y)] == ["fail", "pass"]
        assert sum(part.height for part in first.parts) == pytest.approx(HEIGHT)
        assert second.parts[0].height == pytest.approx(HEIGHT * 30 / 61)
        assert first.title == "2026-09-21 14:13, Linux 7.3.4+deb13-amd64: 60 pass, 1 fail"

    def test_a_run_without_results(self, tmp_path) -> None:
        recording.add(tmp_path / "h.db", [night(tmp_path / "a", 0, {})])
        (configuration,) = history(tmp_path / "h.db").configurations
        assert chart(configuration.runs).bars[0].parts == ()
        assert write(history(tmp_path / "h.db"), tmp_path / "site", title="Nights") == 2


def test_hostile_text_is_text(tmp_path) -> None:
    folder = night(tmp_path / "a", 0, {"LINK-A-01[x]": "fail"})
    found = json.loads((folder / "report.json").read_text())
    found["results"][0] |= {"reason": HOSTILE, "test": f"link/test_link.py::test_a[{HOSTILE}]"}
    found["run"]["kernel"] = {"spec": f"/home/{HOSTILE}", "release": f"7.3.4-{HOSTILE}"}
    found["requirements"][0]["sentence"] = f'" onclick="alert(1) {HOSTILE}'
    (folder / "report.json").write_text(json.dumps(found))
    recording.add(tmp_path / "h.db", [folder])
    write(history(tmp_path / "h.db"), tmp_path / "site", title=HOSTILE)
    paths = list((tmp_path / "site").rglob("*.html"))
    assert len(paths) == 3
    for path in paths:
        assert os.fspath(path).isprintable()
        assert "alert('x')" in page(path).text
        assert not [tag for tag, attributes in page(path).tags if tag == "script" or "onclick" in attributes]
