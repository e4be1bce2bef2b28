# SPDX-License-Identifier: GPL-2.0-or-later
"""The pages in a browser: headless Chromium, driven as docs/screenshot.py drives it."""

from __future__ import annotations

import importlib.util
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from nights import night
from plugfest.history import database, recording, timeline
from plugfest.report import write
from plugfest.requirements.verdict import Verdict
from plugfest.site.write import write as write_site

PROGRAM = Path(__file__).parents[2] / "docs" / "screenshot.py"
SIZES = [(1280, False), (1280, True), (420, False), (420, True)]
VISIBLE = "[...document.querySelectorAll('.card')].filter(card => card.checkVisibility()).map(card => card.id)"
# How far each text's colour is from what is behind it (WCAG 2.2, 1.4.3), the lowest first.
CONTRASTS = """(() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  const light = colours => {
    canvas.clearRect(0, 0, 1, 1);
    for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map(each => each / 255)
      .map(each => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility() || element.matches(".dot")) continue;
    const behind = [];
    for (let each = element; each; each = each.parentElement) behind.unshift(getComputedStyle(each).backgroundColor);
    const [low, high] = [light(behind), light([...behind, getComputedStyle(element).color])].sort((a, b) => a - b);
    found.push([(high + 0.05) / (low + 0.05), element.outerHTML.slice(0, 80)]);
  }
  return found.sort((a, b) => a[0] - b[0])[0];
})()"""


@pytest.fixture(scope="module")
def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("screenshot", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def browser(program) -> Iterator[object]:
    try:
        started = program.Chromium()
    except program.NoChromiumError as error:
        pytest.skip(str(error))
    with started:
        yield started


@pytest.fixture
def report(full) -> Path:
    history, folder = full
    for area, level, verdict in (("XDP", "SHOULD", "fail"), ("QSTAT", "MUST", "pass")):
        test = history.plan(f"{area}-MORE-01", "test_more[" + "very-long-parameter-" * 12 + "]", level=level)
        history.events = [event for event in history.events if event["event"] not in ("stopped", "end")]
        history.result({**test, "level": level}, verdict, "0123456789abcdef" * 20 if verdict == "fail" else "")
    history.end()
    history.write(folder)
    write.write_reports(folder)
    return folder / "report.html"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> list[Path]:
    """A page of each kind of the site, of a history with every verdict, much that changed and long names."""
    folder = tmp_path_factory.mktemp("site")
    long = "0123456789abcdef" * 20
    runs = []
    for number in range(12):
        verdicts = {f"LINK-{verdict.upper()}-01": str(verdict) for verdict in Verdict}
        verdicts |= {
            "XDP-A-01[" + "very-long-parameter-" * 12 + "]": "crash" if number % 2 else "pass",
            "XDP-B-01": "pass",
        }
        for driver in ("gve", "ixgbe", "vmxnet3"):
            made = night(
                folder / f"{driver}-{number}", number, verdicts, driver=driver, release=f"7.3.{number}+deb13-amd64"
            )
            found = (made / "report.json").read_text()
            (made / "report.json").write_text(found.replace("fail of LINK-FAIL-01", long))
            runs.append(made)
    recording.add(folder / "h.db", runs)
    with database.reading(folder / "h.db") as connection:
        write_site(timeline.read(connection), folder / "site", title="NIC drivers against their requirements")
    kinds = ("index.html", "runs/*-vmxnet3-*", "requirements/LINK-FAIL-01.html", "requirements/XDP-A-01.html")
    return [max((folder / "site").glob(kind)) for kind in kinds]


@pytest.mark.parametrize("width", [360, 800, 1280])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_site(browser, site, width: int, dark: bool) -> None:
    """No page scrolls sideways, text stands out, and the console has no error."""
    for page in site:
        browser.open(page, width=width, dark=dark)
        for unfold in ("", "document.querySelectorAll('details').forEach(each => each.open = true);"):
            assert browser.evaluate(f"{unfold} document.documentElement.scrollWidth") == width, page.name
        background = browser.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, background.removeprefix("rgb(").removesuffix(")").split(","))) < 384) is dark
        contrast, element = browser.evaluate(CONTRASTS)
        assert contrast >= 4.5, f"{page.name}: {element}"
        assert browser.errors == [], page.name


def test_the_sites_charts_are_drawn_in_the_verdicts_colours(browser, site) -> None:
    browser.open(site[0])
    fills = browser.evaluate("[...document.querySelectorAll('.chart rect')].map(each => getComputedStyle(each).fill)")
    assert len(set(fills)) == len(Verdict)
    assert (
        browser.evaluate(
            "Math.min(...[...document.querySelectorAll('.chart')].map(each => each.getBoundingClientRect().width))"
        )
        > 50
    )


def test_the_sites_links_and_folds_are_reached_with_the_keyboard(browser, site) -> None:
    """In the order of the page; a fold opens with Enter."""
    browser.open(site[0])
    wanted = browser.evaluate(
        "[...document.querySelectorAll('a[href], summary')].filter(each => each.checkVisibility()).length"
    )
    seen = 0
    press = {"key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9}
    for _ in range(wanted):
        browser.call("Input.dispatchKeyEvent", type="keyDown", **press)
        browser.call("Input.dispatchKeyEvent", type="keyUp", **press)
        seen += browser.evaluate("document.activeElement.matches('a[href], summary')")
    assert seen == wanted > 50
    browser.evaluate("document.querySelector('summary').focus()")
    before = browser.evaluate("document.querySelector('details').open")
    for kind in ("keyDown", "keyUp"):
        browser.call(
            "Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r"
        )
    assert browser.evaluate("document.querySelector('details').open") is not before


def test_a_printed_page_of_the_site_is_unfolded(browser, site) -> None:
    browser.open(site[1])
    shown = "document.querySelector('details:not([open]) dl').checkVisibility()"
    # What the print style shows is laid out with the next frame.
    shown = f"new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done({shown}))))"
    assert browser.evaluate(shown) is False
    browser.call("Emulation.setEmulatedMedia", media="print")
    try:
        assert browser.evaluate(shown) is True
        assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    finally:
        browser.call("Emulation.setEmulatedMedia", media="")


def test_the_console_of_the_browser_is_read(browser, tmp_path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<!DOCTYPE html><script>null.of</script><img src='absent.png'>")
    browser.open(page)
    assert len(browser.errors) == 2
    browser.open(tmp_path / "page.html", script=False)
    assert len(browser.errors) == 1


def pages(report: Path) -> list[Path]:
    return [report, *sorted(report.parent.glob("artifacts/*/*.html"))]


@pytest.mark.parametrize(("width", "dark"), SIZES)
def test_no_page_scrolls_sideways(browser, report, width: int, dark: bool) -> None:
    assert len(pages(report)) == 3
    for page in pages(report):
        browser.open(page, width=width, dark=dark)
        for unfold in ("", "document.querySelectorAll('details').forEach(each => each.open = true);"):
            assert browser.evaluate(f"{unfold} document.documentElement.scrollWidth") == width, page.name


@pytest.mark.parametrize(("width", "dark"), SIZES)
def test_text_stands_out(browser, report, width: int, dark: bool) -> None:
    for page in pages(report):
        browser.open(page, width=width, dark=dark)
        background = browser.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, background.removeprefix("rgb(").removesuffix(")").split(","))) < 384) is dark
        contrast, element = browser.evaluate(CONTRASTS)
        assert contrast >= 4.5, f"{page.name}: {element}"


def test_the_filters(browser, report) -> None:
    browser.open(report)
    everything = browser.evaluate(VISIBLE)
    assert len(everything) == 13

    def shown(change: str) -> list[str]:
        return browser.evaluate(
            f"{{ const form = document.getElementById('filter'), set = form.elements; form.reset(); {change};"
            " form.dispatchEvent(new Event('input')); }" + VISIBLE
        )

    check = "form.querySelector('[value={}]').checked = true"
    assert shown(check.format("fail")) == ["SMOKE-FAIL-02", "XDP-MORE-01"]
    assert shown(f"{check.format('fail')}; {check.format('crash')}") == [
        "SMOKE-FAIL-02",
        "XDP-MORE-01",
        "SMOKE-CRASH-06",
    ]
    assert shown("set.area.value = 'qstat'") == ["QSTAT-MORE-01"]
    assert shown("set.level.value = 'SHOULD'") == ["XDP-MORE-01"]
    assert shown("set.text.value = 'NULL  dereference'") == ["SMOKE-CRASH-06"]
    assert shown("set.text.value = 'nothing has this'") == []
    assert browser.evaluate("document.querySelector('output').value") == "0 of 13 requirements"
    headings = "[...document.querySelectorAll('.cards h2')].filter(each => each.checkVisibility()).length"
    assert browser.evaluate(headings) == 0
    assert shown("") == everything


@pytest.mark.parametrize("width", [1280, 800, 420])
def test_a_link_to_a_requirement_unfolds_it(browser, report, width: int) -> None:
    browser.open(report, width=width, fragment="SMOKE-XFAIL-04")
    assert browser.evaluate("document.getElementById('SMOKE-XFAIL-04').open") is True
    top = browser.evaluate("document.getElementById('SMOKE-XFAIL-04').getBoundingClientRect().top")
    assert browser.evaluate("document.getElementById('filter').getBoundingClientRect().bottom") <= top < 900


def test_without_script_everything_is_there(browser, report) -> None:
    browser.open(report, script=False)
    document = browser.call("DOM.getDocument")
    found = browser.call("DOM.querySelectorAll", nodeId=document["root"]["nodeId"], selector=".card:not([hidden])")
    assert len(found["nodeIds"]) == 13
    hidden = browser.call("DOM.querySelector", nodeId=document["root"]["nodeId"], selector="#filter[hidden]")
    assert hidden["nodeId"], "a filter that does nothing is not shown"


def test_a_trace_can_be_searched(browser, report) -> None:
    browser.open(report.parent / "artifacts" / "fail" / "trace.html")
    rows = "[...document.querySelectorAll('.rows tbody tr')].filter(row => row.checkVisibility()).length"
    assert browser.evaluate(rows) == 60
    search = "{ const form = document.getElementById('filter'); form.elements.text.value = '%s';"
    search += " form.dispatchEvent(new Event('input')); }"
    assert browser.evaluate(search % "rdh 0x0000003b" + rows) == 1
    assert browser.evaluate(search % "no such row" + rows) == 0


def test_no_text_of_a_guest_runs_as_a_script(browser, report) -> None:
    browser.open(report)
    assert browser.evaluate("document.scripts.length") == 1
    inject = (
        "document.body.append(Object.assign(document.createElement('script'), {text: 'window.ran = true'})); window.ran"
    )
    assert browser.evaluate(inject) is None


def test_the_screenshot(browser, report, tmp_path) -> None:
    picture = tmp_path / "report.png"
    subprocess.run([sys.executable, PROGRAM, report, picture, "--width", "420", "--height", "300"], check=True)
    content = picture.read_bytes()
    assert content.startswith(b"\x89PNG")
    assert struct.unpack_from(">II", content, 16) == (420, 300)
