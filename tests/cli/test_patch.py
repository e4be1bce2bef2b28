# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest patch`` and ``plugfest bisect``: what is built and run, in which order, and what is said of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from plugfest.build.errors import BuildError, SeriesError
from plugfest.cli import patch as command
from plugfest.cli import patched
from plugfest.errors import InfrastructureError
from plugfest.patch.driver import Workshop
from plugfest.patch.series import Patch
from plugfest.plugin import suite
from plugfest.provision.artifact import BuildRoot, DriverSource
from plugfest.run import sandbox
from test_commands import END, result
from test_repeat import BOTH, OTHER

IXGBE = "drivers/net/ethernet/intel/ixgbe"


@pytest.fixture
def builds(
    inside: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kernel_module: Callable[[bytes], bytes]
) -> list[tuple[str, str]]:
    """Provisioning and the compiler replaced: a series whose text has a word of an error fails. Returns what was built."""
    made: list[tuple[str, str]] = []
    root = BuildRoot(tmp_path / "headers", "7.3.4+deb13-amd64", "7.3.4-1", "gcc-14 14.2.0-19")

    def source(settings: Any, kernel: Any, root: Any) -> DriverSource:
        return DriverSource(settings.cache / "source", "Debian's linux-source-7.3 7.3.4-1")

    for each in (command, patched):
        monkeypatch.setattr(each, "ensure_build_root", lambda settings, kernel: root)
        monkeypatch.setattr(each, "ensure_driver_source", source)

    def build(
        self: Workshop, driver: Any, source: Any, output: Path, series: Any = (), start: Any = None
    ) -> tuple[Path, list[Patch]]:
        text = b"".join(data for each in series for _, data in each.texts)
        if b"broken" in text:
            raise BuildError(f"{series[-1].name}: expected make to succeed, found exit status 2: a.c:1: error: no")
        if b"conflict" in text and len(series) > 1:
            name = next(each.name for each in series if b"conflict" in each.texts[0][1])
            raise SeriesError(name, "expected “it” to apply to the source, found: patch failed: a.c:1")
        made.append((output.parent.name, source.commit or "Debian's"))
        output.mkdir(parents=True, exist_ok=True)
        (output / "ixgbe.ko").write_bytes(kernel_module(b"license=GPL\0"))
        return output / "ixgbe.ko", [Patch("ixgbe: change it", None, "1.patch", frozenset())] if series else []

    monkeypatch.setattr(Workshop, "build", build)
    monkeypatch.setattr(Workshop, "base", lambda *arguments: (build(*arguments)[0], tmp_path))
    # It reads the whole suite; the tests of plugfest run have it.
    monkeypatch.setattr(suite, "check_selection", lambda *_, **__: None)
    return made


def both(first: str, second: str) -> list[dict]:
    return [BOTH, result(first), {**result(second), **OTHER}, END]


def report() -> dict[str, Any]:
    return json.loads(Path("results/latest/patch.json").read_text())


def test_before_and_after(plugfest, builds, runs) -> None:
    Path("fix.mbox").write_text("good")
    plans = runs(both("fail", "pass"), both("pass", "pass"))
    done = plugfest("patch", "fix.mbox", "--driver", "ixgbe", "-k", "smoke", "--guests", "1")
    assert done.status == 0
    assert "after: 1 fixed, 0 broken, 0 new, 1 unchanged" in done.out
    assert builds == [("before", "Debian's"), ("after", "Debian's")]
    assert [plan.output.name for plan in plans] == ["before", "after"]
    for plan in plans:
        assert plan.extra_modules == (plan.output / "module/ixgbe.ko",)
        assert plan.in_tree, "the driver's known issues apply"
        assert (plan.output / "report.html").is_file()
    found = report()
    (submission,) = found["submissions"]
    assert (found["driver"], found["source"]) == ("ixgbe", "Debian's linux-source-7.3 7.3.4-1")
    assert (submission["outcome"], submission["patches"], submission["comparison"]["counts"]["fixed"]) == (
        "judged",
        ["ixgbe: change it"],
        1,
    )


def test_a_patch_that_breaks_a_test(plugfest, builds, runs) -> None:
    Path("bad.patch").write_text("x")
    runs(both("pass", "fail"), both("fail", "pass"))
    done = plugfest("patch", "bad.patch", "--driver", "ixgbe")
    assert done.status == 1
    assert "after: 1 fixed, 1 broken, 0 new, 0 unchanged" in done.out


def test_what_does_not_build_is_one_line_and_no_run(plugfest, builds, runs) -> None:
    Path("bad.patch").write_text("broken")
    runs()
    done = plugfest("patch", "bad.patch", "--driver", "ixgbe")
    assert done.status == 1
    assert done.line == "bad.patch: expected make to succeed, found exit status 2: a.c:1: error: no"
    (submission,) = report()["submissions"]
    assert (submission["outcome"], submission["reason"]) == ("refused", done.line)


def test_a_queue_alone_and_together(plugfest, builds, runs) -> None:
    """One of three does not build: the others are judged, and what is together does not build either."""
    for name, text in (("a.patch", "good"), ("b.patch", "broken"), ("c.patch", "good")):
        Path("queue").mkdir(exist_ok=True)
        (Path("queue") / name).write_text(text)
    plans = runs(both("pass", "pass"), both("pass", "pass"), both("fail", "pass"), both("fail", "pass"))
    done = plugfest("patch", "queue", "--driver", "ixgbe")
    assert done.status == 1
    assert [plan.output.name for plan in plans] == ["before", "a", "c", "together"]
    assert [(submission["name"], submission["outcome"]) for submission in report()["submissions"]] == [
        ("b", "refused"),
        ("a", "judged"),
        ("c", "judged"),
        ("together", "judged"),
    ]
    assert report()["submissions"][-1]["series"] == ["a", "c"]
    assert "together is without b" in done.out


def test_what_does_not_apply_on_top_of_the_others_is_left_out(plugfest, builds, runs) -> None:
    Path("queue").mkdir()
    for name, text in (("a.patch", "good"), ("b.patch", "conflict"), ("c.patch", "good")):
        (Path("queue") / name).write_text(text)
    plans = runs(*[both("pass", "pass")] * 5)
    done = plugfest("patch", "queue", "--driver", "ixgbe")
    assert [plan.output.name for plan in plans] == ["before", "a", "b", "c", "together"]
    assert done.line == "b: expected “it” to apply to the source, found: patch failed: a.c:1"
    assert report()["submissions"][-1]["series"] == ["a", "c"]
    assert done.status == 0, "each alone is good; that they conflict says nothing about the driver"


def test_an_interrupted_run_keeps_what_there_is(plugfest, builds, runs) -> None:
    Path("queue").mkdir()
    for name in ("a.patch", "b.patch"):
        (Path("queue") / name).write_text("good")
    interrupted = (both("pass", "pass")[:2], sandbox.Outcome(130, sandbox.signal.SIGINT))
    runs(both("pass", "pass"), both("pass", "pass"), interrupted)
    done = plugfest("patch", "queue", "--driver", "ixgbe")
    assert done.status == 130
    assert [(submission["name"], submission["outcome"]) for submission in report()["submissions"]] == [
        ("a", "judged"),
        ("b", "not run"),
    ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--driver", "virtio_net"], "--driver virtio_net: expected a driver with a folder of its own"),
        (
            ["--driver", "ixgbe", "--kernel", "/linux"],
            "--kernel /linux: expected one of trixie-backports, trixie, bookworm",
        ),
        (["--driver", "ixgbe", "--fault", "x"], "--fault: expected none with patches and commits"),
        (["--driver", "ixgbe", "--area", "none"], "--area none: expected one of"),
        (["--driver", "ixgbe", "--tree", "."], f"--tree {{}}: expected a kernel's source with {IXGBE}, found none"),
    ],
)
def test_a_wrong_command_line(plugfest, builds, runs, options: list[str], expected: str) -> None:
    Path("fix.mbox").write_text("good")
    done = plugfest("patch", "fix.mbox", *options)
    assert done.status == 2
    assert done.line.startswith(expected.format(Path.cwd()))
    assert builds == []


def test_a_file_that_is_not_there(plugfest, builds) -> None:
    done = plugfest("patch", "none.mbox", "--driver", "ixgbe")
    assert done.status == 2
    assert done.line.startswith("none.mbox: expected a mail, a mailbox, a diff")


class TestRun:
    """``plugfest run --patch``: one run, of the driver with patches."""

    def test_its_report_names_the_series(self, plugfest, builds, runs) -> None:
        Path("fix.mbox").write_text("good")
        plans = runs(both("pass", "pass"))
        done = plugfest("run", "ixgbe", "--patch", "fix.mbox")
        assert done.status == 0
        (plan,) = plans
        assert (plan.series, plan.in_tree) == (("fix",), True)
        assert plan.extra_modules == (Path("results/latest").resolve() / "module/ixgbe.ko",)
        found = json.loads(Path("results/latest/report.json").read_text())
        assert found["run"]["options"]["series"] == ["fix"]

    def test_what_does_not_build_is_one_line_and_no_run(self, plugfest, builds, runs) -> None:
        Path("bad.patch").write_text("broken")
        runs()
        done = plugfest("run", "ixgbe", "--patch", "bad.patch", "--output", "out")
        assert done.status == 1
        assert done.line == "bad: expected make to succeed, found exit status 2: a.c:1: error: no"
        assert not Path("out/journal.jsonl").exists(), "by which plugfest matrix knows it"

    @pytest.mark.parametrize(("texts", "left"), [(("good", "broken", "good"), ["a", "c"]), (("broken", "x"), None)])
    def test_together_without_what_does_not_build(
        self, plugfest, builds, runs, texts: tuple[str, ...], left: list[str] | None
    ) -> None:
        names = [f"{name}.patch" for name, _ in zip("abc", texts, strict=False)]
        for name, text in zip(names, texts, strict=True):
            Path(name).write_text(text)
        plans = runs(both("pass", "pass")) if left else runs()
        done = plugfest("run", "ixgbe", "--together", *(word for name in names for word in ("--patch", name)))
        lines = done.err.splitlines()
        if left:
            assert done.status == 0
            assert list(plans[0].series) == left
            assert lines == ["plugfest: b: expected make to succeed, found exit status 2: a.c:1: error: no"]
        else:
            assert done.status == 1
            assert lines[-1] == "plugfest: expected two series or more to judge together, found 1"

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (["--patch", "none.mbox"], "none.mbox: expected a mail, a mailbox, a diff or a folder of them, found none"),
            (["--patch", "fix.mbox", "--kernel", "/linux"], "--kernel /linux: expected one of trixie-backports"),
            (["--patch", "fix.mbox", "--module", "x.ko"], "--module with --patch: expected one of them"),
            (["--patch", "fix.mbox", "--patch", "fix.patch"], "--patch: expected series with different names"),
            (["--together"], "--together: expected --patch with it, found none"),
        ],
    )
    def test_a_wrong_command_line(self, plugfest, builds, arguments: list[str], expected: str) -> None:
        for name in ("fix.mbox", "fix.patch"):
            Path(name).touch()
        done = plugfest("run", "ixgbe", *arguments)
        assert done.status == 2
        assert done.line.startswith(expected)


def test_a_strangers_words_do_not_control_the_terminal(plugfest, builds, runs, monkeypatch) -> None:
    def build(*_: Any, **__: Any) -> Any:
        raise SeriesError("fix", "expected “\x1b]0;owned\x07\x1b[2Jx\u202e” to apply to it, found: none")

    monkeypatch.setattr(Workshop, "build", build)
    Path("fix.mbox").touch()
    done = plugfest("patch", "fix.mbox", "--driver", "ixgbe")
    assert done.status == 1
    assert all(char.isprintable() for char in done.line)
    assert done.line.startswith("fix: expected “\\x1b]0;owned\\x07")


def test_a_queue_of_which_one_is_left(plugfest, builds, runs) -> None:
    """It was judged alone: together it is no other thing."""
    Path("queue").mkdir()
    for name, text in (("a.patch", "good"), ("b.patch", "broken")):
        (Path("queue") / name).write_text(text)
    plans = runs(both("pass", "pass"), both("pass", "pass"))
    done = plugfest("patch", "queue", "--driver", "ixgbe")
    assert [plan.output.name for plan in plans] == ["before", "a"]
    assert "together: expected two series or more to judge together, found 1" in done.out


@pytest.fixture
def history(tmp_path: Path, plugfest: Any) -> list[str]:
    """Eight commits of ixgbe's folder in the git tree ``linux``."""
    tree = Path("linux")
    (tree / IXGBE).mkdir(parents=True)

    def git(*arguments: str) -> str:
        settings = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgSign=false")
        done = subprocess.run(["git", "-C", tree, *settings, *arguments], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "--quiet")
    found = []
    for number in range(9):
        (tree / IXGBE / "main.c").write_text(f"{number}\n")
        git("add", "-A")
        git("commit", "--quiet", "-m", f"ixgbe: change {number}")
        found.append(git("rev-parse", "HEAD"))
    return found


@pytest.fixture
def driven(inside: Any, builds: Any, monkeypatch: pytest.MonkeyPatch, history: list[str]) -> Callable[..., list[str]]:
    """Gives each commit the verdicts that a function chooses; returns the commits in the order of their runs."""

    def choose(verdict: Callable[[int], str]) -> list[str]:
        asked: list[str] = []

        def enter(payload: Any, **more: Any) -> sandbox.Outcome:
            at = next(number for number, each in enumerate(history) if Path(payload.args[0]).parent.name == each[:12])
            asked.append(history[at])
            inside.events = [BOTH, result(verdict(at)), {**result("pass"), **OTHER}, END]
            return inside.enter(payload, **more)

        monkeypatch.setattr(sandbox, "enter", enter)
        return asked

    return choose


BISECT = ("bisect", "SMOKE-PING-04", "--driver", "ixgbe", "--tree", "linux")


def test_the_first_bad_commit(plugfest, driven, builds, history: list[str]) -> None:
    asked = driven(lambda at: "fail" if at >= 5 else "pass")
    done = plugfest(*BISECT, "--good", history[0])
    assert done.status == 0
    assert done.out.splitlines()[-1] == f'the first bad commit: {history[5][:12]} ("ixgbe: change 5")'
    assert asked[:2] == [history[0], history[8]], "the ends come first"
    assert len(asked) <= 6
    assert [commit for _, commit in builds] == [history[0], *asked], "the first build is where the others begin"


def test_an_end_that_is_not_what_it_is_called(plugfest, driven, history: list[str]) -> None:
    driven(lambda at: "fail")
    done = plugfest(*BISECT, "--good", history[0])
    assert done.status == 2
    (line,) = [line for line in done.err.splitlines() if line.startswith("plugfest: ")]
    assert line.startswith(
        f'plugfest: --good {history[0][:12]} ("ixgbe: change 0"): expected it to be good by SMOKE-PING-04, found bad'
    )


def test_commits_without_a_verdict_are_skipped(plugfest, driven, history: list[str]) -> None:
    driven(lambda at: "error" if at in (3, 4) else "fail" if at > 4 else "pass")
    done = plugfest(*BISECT, "--good", history[0])
    assert done.status == 1
    assert "the first bad commit is one of these 3" in done.out
    for number in (3, 4, 5):
        assert f'{history[number][:12]} ("ixgbe: change {number}")' in done.out


def test_a_run_that_cannot_be_made_ends_the_search(plugfest, driven, history: list[str], monkeypatch) -> None:
    driven(lambda at: "pass")

    def enter(*_: Any, **__: Any) -> sandbox.Outcome:
        raise InfrastructureError("expected to open /dev/net/tun, found none")

    monkeypatch.setattr(sandbox, "enter", enter)
    done = plugfest(*BISECT, "--good", history[0])
    assert done.status == 3, "nothing is said about a commit"
    assert done.err.splitlines()[-1] == "plugfest: expected to open /dev/net/tun, found none"
