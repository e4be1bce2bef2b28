# SPDX-License-Identifier: GPL-2.0-or-later
"""The output of the commands, above all their errors."""

from __future__ import annotations

import itertools
import json
import re
import signal
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import click
import pytest
from plugfest import cli
from plugfest.cli import images, prepare
from plugfest.errors import InfrastructureError
from plugfest.provision.cache import Cache
from plugfest.run import capacity, journal, sandbox

IDENTITY = {
    "test": "smoke/test_it.py::test_it",
    "requirement": "SMOKE-A-01",
    "area": "smoke",
    "level": "MUST",
    "fault": None,
}
REQUIREMENT = {
    "id": "SMOKE-A-01", "level": "MUST", "area": "smoke", "source": "a document", "sentence": "It works.", "procedure": [],
    "possible_problems": "", "falsified_by": ["a.b"], "falsified_as": "fail", "match": {}, "test": "test_it",
    "path": "smoke/test_it.py", "line": 1,
}  # fmt: skip


def result(verdict: str) -> dict:
    more = {"steps": [], "evidence": [], "problems": [], "known_issue": None, "falsification": None, "artifacts": {}}
    return {"event": "result", **IDENTITY, "verdict": verdict, "reason": "", "seconds": 1.0, **more}


PLANNED = {"event": "planned", "requirements": [REQUIREMENT], "tests": [IDENTITY]}
END = {"event": "end", "pytest_exit_status": 0}


class TestHelp:
    def commands(self):
        context = click.Context(cli.commands)
        for name in cli.commands.list_commands(context):
            command = cli.commands.get_command(context, name)
            if isinstance(command, click.Group):
                yield from ((f"{name} {sub}", command.commands[sub]) for sub in command.commands)
            else:
                yield name, command

    def test_every_option_has_a_variable_and_help(self) -> None:
        seen = 0
        for name, command in self.commands():
            for parameter in command.params:
                if isinstance(parameter, click.Option) and parameter.name != "help":
                    seen += 1
                    assert parameter.show_envvar, (name, parameter.name)
                    assert str(parameter.envvar).startswith("PLUGFEST_"), (name, parameter.name)
                    assert parameter.help, (name, parameter.name)
        assert seen > 20

    @pytest.mark.parametrize("name", [*cli.commands.list_commands(click.Context(cli.commands))])
    def test_every_command_has_help(self, plugfest, name: str) -> None:
        done = plugfest(name, "--help")
        assert done.status == 0
        assert done.out.startswith(f"Usage: plugfest {name}")

    def test_help_lists_the_exit_statuses(self, plugfest) -> None:
        done = plugfest("--help")
        assert [line.split()[0] for line in done.out.splitlines() if re.match(r" +\d+ {2,}", line)] == [
            "0",
            "1",
            "2",
            "3",
            "130",
        ]


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "messages"),
        [
            (
                ["run", "ixbge"],
                [
                    "no driver 'ixbge'",
                    "did you mean ixgbe",
                    "expected one of ixgbe, gve, xgbe, igb, e1000e, vmxnet3, virtio_net",
                ],
            ),
            (["run", "zzz"], ["no driver 'zzz'", "expected one of"]),
            (["run"], ["Missing argument 'DRIVER'", "see plugfest run --help"]),
            (["rnu"], ["No such command 'rnu'", "see plugfest --help"]),
            (["run", "ixgbe", "--kernal", "x"], ["No such option", "--kernal"]),
            (["run", "ixgbe", "--accel", "xen"], ["--accel", "'auto', 'kvm', 'tcg'"]),
            (["run", "ixgbe", "--cpus", "0"], ["--cpus", "1<=x<=64"]),
            (["run", "ixgbe", "--guests", "0"], ["--guests", "0 is not in the range x>=1"]),
            (["run", "ixgbe", "--guests", "many"], ["--guests", "'many' is not a valid integer"]),
            (
                ["run", "ixgbe", "--guests", "100000", "--memory", "512"],
                [
                    "--guests 100000: expected at most ",
                    "each guest needs 1024 MiB (--memory 512, and 512 for",
                    "choose fewer",
                ],
            ),
            (["run", "ixgbe", "--guests", "2", "--keep"], ["--guests 2 with --keep: expected one guest"]),
            (["run", "ixgbe", "--guests", "2", "--", "--pdb"], ["--guests 2 with --pdb: expected one guest"]),
            (
                ["run", "ixgbe", "--profile", "sfp"],
                ["--profile sfp: expected one of kr, kx4, combo, detect, which ixgbe has; plugfest models"],
            ),
            (["run", "igb", "--profile", "kr"], ["igb runs on QEMU's igb, which has no profiles; omit it"]),
            (["run", "igb", "--fault", "link.report.stuck"], ["--fault link.report.stuck", "QEMU's igb; omit it"]),
            (
                ["run", "ixgbe", "--fault", "link.report.stock"],
                ["expected a fault point of the model ixgbe", "did you mean link.report.stuck"],
            ),
            (["run", "ixgbe", "--area", "sound"], ["--area sound: expected one of", "xdp"]),
            (
                ["run", "ixgbe", "--module", "absent.ko"],
                ["absent.ko: expected a kernel module (.ko), found no such file"],
            ),
            (
                ["run", "ixgbe", "--module", "empty.ko"],
                [
                    "empty.ko: expected a kernel module (.ko), found no ELF64 file; build it against the kernel of --kernel"
                ],
            ),
            (["run", "ixgbe", "--strict-known", "--falsify"], ["--strict-known with --falsify: expected one of them"]),
            (
                ["run", "ixgbe", "--", "smoke/test_absent.py"],
                ["smoke/test_absent.py: expected a test file of the suite"],
            ),
            (["requirements", "--area", "sound"], ["--area sound: expected one of"]),
            (["shell", "ixbge"], ["did you mean ixgbe"]),
            (["shell", "ixgbe", "--fault", "wire:frame.lost"], ["one of the suite; use it with plugfest run"]),
            (
                ["run", "ixgbe", "--fault", "wire:frame.last"],
                ["of the suite, found none", "did you mean wire:frame.lost"],
            ),
            (["run", "ixgbe", "--profile", "comb"], ["did you mean combo?"]),
            (["run", "ixgbe", "--area", "xpd"], ["did you mean xdp?"]),
            (["run", "ixgbe", "--kernel", "/no/such/tree"], ["expected one of trixie-backports", "choose another"]),
            (["run", "ixgbe", "--mirror", "debian"], ["mirror 'debian': expected a URL"]),
            (["run", "ixgbe", "--dry-run", "--", "--nonsense"], ["expected what pytest understands"]),
            (["images", "nosuch"], ["kernel 'nosuch': expected one of", "choose another"]),
        ],
        ids=lambda value: "-".join(value)[:40] if isinstance(value, list) else None,
    )
    def test_usage(self, plugfest, inside, arguments: list[str], messages: list[str]) -> None:
        Path("empty.ko").touch()
        done = plugfest(*arguments)
        assert done.status == 2
        for message in messages:
            assert message in done.line

    def test_a_kernel_that_does_not_exist(self, plugfest, inside, monkeypatch) -> None:
        from plugfest.provision.kernel import ensure_kernel

        monkeypatch.setattr(prepare, "ensure_kernel", ensure_kernel)
        done = plugfest("run", "ixgbe", "--kernel", "/no/such/tree")
        assert done.status == 2
        assert "/no/such/tree" in done.line
        assert "trixie-backports" in done.line

    def test_infrastructure(self, plugfest, inside, monkeypatch) -> None:
        def no_space(settings):
            raise InfrastructureError("QEMU: expected 600 MiB free,\n found 3 MiB")

        monkeypatch.setattr(prepare, "ensure_toolchain", no_space)
        done = plugfest("run", "ixgbe")
        assert done.status == 3
        assert done.line == "QEMU: expected 600 MiB free, found 3 MiB"

    def test_a_bug_of_ours_is_one_line_and_a_file(self, plugfest, inside, monkeypatch) -> None:
        monkeypatch.setattr(prepare, "ensure_root", lambda settings: 1 // 0)
        done = plugfest("run", "ixgbe")
        assert done.status == 3
        assert done.line.startswith("a bug in plugfest: ZeroDivisionError: ")
        path = Path(done.line.rpartition(" ")[2])
        assert "1 // 0" in path.read_text()
        path.unlink()

    def test_an_interruption(self, plugfest, inside, monkeypatch) -> None:
        def interrupt(settings):
            raise KeyboardInterrupt

        monkeypatch.setattr(prepare, "ensure_root", interrupt)
        done = plugfest("run", "ixgbe")
        assert (done.status, done.line) == (130, "interrupted")

    def test_an_output_folder_that_cannot_be_written(self, plugfest, inside, tmp_path) -> None:
        (tmp_path / "file").write_text("")
        done = plugfest("run", "ixgbe", "--output", str(tmp_path / "file" / "results"))
        assert done.status == 3
        assert "choose another folder with --output" in done.line

    def test_an_output_folder_in_use(self, plugfest, inside, tmp_path) -> None:
        inside.events = [PLANNED, result("pass"), END]
        assert plugfest("run", "ixgbe", "--output", str(tmp_path / "out")).status == 0
        done = plugfest("run", "ixgbe", "--output", str(tmp_path / "out"))
        assert done.status == 2
        assert "found the journal of another run" in done.line

    def test_a_port_that_is_taken(self, plugfest, inside) -> None:
        from plugfest.run import relay

        with relay.listen() as taken:
            port = taken.getsockname()[1]
            done = plugfest("shell", "ixgbe", "--port", str(port))
        assert done.status == 3
        assert f"expected 127.0.0.1:{port} to be free" in done.line


class TestRun:
    @pytest.mark.parametrize(
        ("verdict", "status"),
        [
            ("pass", 0),
            ("skip", 0),
            ("xfail", 0),
            ("fail", 1),
            ("crash", 1),
            ("timeout", 1),
            ("error", 1),
            ("unstable", 1),
            ("quarantined", 0),
            ("miss", 1),
        ],
    )
    def test_exit_status(self, plugfest, inside, verdict: str, status: int) -> None:
        inside.events = [PLANNED, result(verdict), END]
        done = plugfest("run", "ixgbe")
        assert done.status == status
        assert f"1 {verdict}" in done.out.splitlines()[-1]
        assert done.err == ""

    def test_the_reports_and_the_link(self, plugfest, inside) -> None:
        inside.events = [PLANNED, result("pass"), END]
        plugfest("run", "ixgbe")
        latest = Path("results/latest")
        assert latest.is_symlink()
        assert {"report.json", "report.html", "junit.xml", "report.tap", "journal.jsonl"} <= {
            p.name for p in latest.iterdir()
        }
        run = json.loads((latest / "report.json").read_text())["run"]
        assert (run["driver"], run["kernel"]["release"], run["accel"]["name"]) == ("ixgbe", "7.3.4+deb13-amd64", "tcg")

    @pytest.mark.parametrize(("options", "status"), [([], 0), (["--strict-known"], 1)])
    def test_a_known_issue_that_did_not_show(self, plugfest, inside, options: list[str], status: int) -> None:
        issue = {"title": "ixgbe: off by one", "link": "https://e.org", "requirement": "SMOKE-A-01"}
        issue |= {"intermittent": False, "showed": False}
        inside.events = [PLANNED, {**result("pass"), "expected": [issue]}, END]
        done = plugfest("run", "ixgbe", *options)
        assert done.status == status
        assert "known issue did not show SMOKE-A-01 ixgbe: off by one" in done.out

    def test_what_runs_in_the_sandbox(self, plugfest, inside, tmp_path, kernel_module) -> None:
        inside.events = [PLANNED, result("pass"), END]
        module = tmp_path / "ixgbe.ko"
        module.write_bytes(kernel_module(b"version=6.3.4\0"))
        options = [
            "--profile",
            "kx4",
            "--fresh",
            "--fault",
            "link.report.stuck",
            "--falsify",
            "--cpus",
            "1",
            "--memory",
            "512",
        ]
        plugfest("run", "ixgbe", *options, "--module", str(module), "--area", "xdp", "--", "-k", "attach", "-x")
        plan = inside.plan
        assert (plan.driver, plan.profile, plan.snapshots, plan.faults, plan.falsify) == (
            "ixgbe",
            "kx4",
            None,
            ("link.report.stuck",),
            True,
        )
        assert (plan.cpus, plan.memory, plan.extra_modules) == (1, 512, (module,))
        argv = inside.payload
        assert argv[-4:-1] == ["-k", "attach", "-x"]
        assert argv[-1].endswith("conformance/xdp")
        assert inside.folder == tmp_path / "cache" / "plugfest" / "run"

    @pytest.mark.parametrize(
        ("options", "left_out"),
        [
            ([], True),
            (["--slow"], False),
            (["--", "xdp/test_endurance.py"], False),
            (["--", "-k", "attach"], True),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else None,
    )
    def test_slow_tests_are_left_out(self, plugfest, inside, options, left_out) -> None:
        inside.events = [PLANNED, result("pass"), END]
        plugfest("run", "ixgbe", *options)
        assert ("not slow" in inside.payload) == left_out

    def test_no_confirm(self, plugfest, inside, monkeypatch) -> None:
        inside.events = [PLANNED, result("pass"), END]
        assert plugfest("run", "ixgbe").status == 0
        assert inside.plan.confirm is True
        assert plugfest("run", "ixgbe", "--output", "a", "--no-confirm").status == 0
        assert inside.plan.confirm is False
        assert json.loads(Path("a/report.json").read_text())["run"]["options"]["confirm"] is False
        monkeypatch.setenv("PLUGFEST_NO_CONFIRM", "1")
        assert plugfest("run", "ixgbe", "--output", "b").status == 0
        assert inside.plan.confirm is False

    def test_strict_waits(self, plugfest, inside, monkeypatch) -> None:
        tight = {"what": "the carrier comes up", "seconds": 4.0, "limit": 5.0, "share": 0.8}
        inside.events = [PLANNED, {**result("pass"), "tight_waits": [tight]}, END]
        assert plugfest("run", "ixgbe").status == 0
        assert inside.plan.strict_waits is False
        assert plugfest("run", "ixgbe", "--output", "a", "--strict-waits").status == 1
        assert inside.plan.strict_waits is True
        assert json.loads(Path("a/report.json").read_text())["run"]["options"]["strict_waits"] is True
        monkeypatch.setenv("PLUGFEST_STRICT_WAITS", "1")
        assert plugfest("run", "ixgbe", "--output", "b").status == 1

    def test_variables(self, plugfest, inside, monkeypatch) -> None:
        inside.events = [PLANNED, result("pass"), END]
        monkeypatch.setenv("PLUGFEST_PROFILE", "combo")
        monkeypatch.setenv("PLUGFEST_FRESH", "1")
        monkeypatch.setenv("PLUGFEST_OUTPUT", "here")
        assert plugfest("run", "ixgbe").status == 0
        assert (inside.plan.profile, inside.plan.snapshots) == ("combo", None)
        assert Path("here/report.html").exists()

    @pytest.mark.parametrize(
        ("options", "guests"),
        [
            ([], 3),
            (["--guests", "2"], 2),
            (["--keep"], 1),
            (["--", "--pdb"], 1),
            (["--max-guests", "2"], 2),
            (["--max-guests", "9"], 3),
            (["--max-guests", "2", "--guests", "3"], 3),
            (["--max-guests", "2", "--", "--pdb"], 1),
        ],
        ids=str,
    )
    def test_guests(self, plugfest, inside, monkeypatch, options, guests) -> None:
        inside.events = [PLANNED, result("pass"), END]
        monkeypatch.setattr(capacity, "cores", lambda: 2)
        monkeypatch.setattr(capacity, "free_memory", lambda: 3 * (1024 + capacity.OVERHEAD) + 100)
        plugfest("run", "ixgbe", *options)
        assert inside.plan.guests == guests

    def test_a_test_file_takes_the_areas_place(self, plugfest, inside) -> None:
        inside.events = [PLANNED, result("pass"), END]
        plugfest("run", "ixgbe", "--", "conformance/xdp/test_features.py::test_generic_mode")
        places = [
            argument
            for argument in inside.payload
            if "conformance/" in argument and not argument.startswith("-") and "pytest.ini" not in argument
        ]
        assert len(places) == 1
        assert places[0].endswith("/xdp/test_features.py::test_generic_mode")

    def test_nothing_selected(self, plugfest, inside) -> None:
        done = plugfest("run", "ixgbe", "--", "-k", "no_such_test")
        assert done.status == 2
        assert "(-k no_such_test): expected to select a test, found none" in done.line
        assert inside.payload is None

    @pytest.mark.parametrize("argument", ["--nonsense", "--maxfail=many", "-kand"])
    def test_arguments_that_pytest_rejects(self, plugfest, inside, argument: str) -> None:
        done = plugfest("run", "ixgbe", "--", argument)
        assert done.status == 2
        assert f"({argument}): expected what pytest understands, found " in done.line
        assert inside.payload is None

    def test_a_suite_that_does_not_start(self, plugfest, inside) -> None:
        inside.events, inside.outcome = None, sandbox.Outcome(2)
        done = plugfest("run", "ixgbe")
        assert done.status == 3
        assert "expected the tests to run, found exit status 2; see above" in done.line

    def test_a_run_that_was_killed(self, plugfest, inside) -> None:
        inside.events, inside.outcome = [PLANNED, {"event": "attempt", **IDENTITY}], sandbox.Outcome(128 + 9)
        done = plugfest("run", "ixgbe")
        assert done.status == 3
        assert "the tests' process was killed by signal 9" in done.out

    def test_a_run_that_was_interrupted(self, plugfest, inside) -> None:
        inside.events = [PLANNED, {"event": "attempt", **IDENTITY}]
        inside.outcome = sandbox.Outcome(130, signal.SIGTERM)
        done = plugfest("run", "ixgbe")
        assert done.status == 128 + signal.SIGTERM
        assert "interrupted (SIGTERM)" in done.out
        assert "(exit status 143)" in done.out

    def test_dry_run(self, plugfest, inside) -> None:
        done = plugfest("run", "ixgbe", "--dry-run")
        lines = done.out.splitlines()
        assert done.status == 0
        assert lines[1].startswith("/opt/qemu ")
        assert "-m nicmodels serve ixgbe --socket " in lines[3]
        assert json.loads(lines[5])["arguments"]["driver"] == "vfio-user-pci"
        assert inside.payload is None
        assert not Path("results").exists()
        lines = plugfest("shell", "igb", "--dry-run").out.splitlines()
        assert [json.loads(line)["execute"] for line in lines[3:]] == ["netdev_add", "device_add"]

    def test_report_regenerates_the_reports(self, plugfest, inside) -> None:
        inside.events = [PLANNED, result("pass"), END]
        plugfest("run", "ixgbe")
        Path("results/latest/report.html").unlink()
        done = plugfest("report")
        assert done.status == 0
        assert Path("results/latest/report.html").exists()
        done = plugfest("report", "absent")
        assert done.status == 2
        assert "expected a run's journal" in done.line


class TestConvert:
    @pytest.fixture
    def made(self, plugfest, inside) -> Path:
        inside.events = [PLANNED, result("pass"), END]
        plugfest("run", "ixgbe")
        return Path("results/latest")

    def test_the_formats(self, plugfest, made) -> None:
        assert plugfest("convert", "ktap").out.splitlines()[-1] == "ok 1 SMOKE-A-01 # time=1000ms"
        assert plugfest("convert", "tap", str(made)).out == (made / "report.tap").read_text()
        assert plugfest("convert", "junit", str(made / "report.json")).out == (made / "junit.xml").read_text()
        assert json.loads(plugfest("convert", "netdev", "--executor", "nic").out)["executor"] == "nic"
        assert json.loads(plugfest("convert", "kcidb", "--origin", "vendor").out)["tests"][0]["origin"] == "vendor"

    def test_a_file_and_a_manifest(self, plugfest, made) -> None:
        options = ["--to", "run.json", "--manifest", "results.json", "--manifest-url", "https://e.org/json/"]
        for branch in ("a", "b", "a"):
            assert plugfest("convert", "netdev", *options, "--branch", branch).status == 0
        assert json.loads(Path("run.json").read_text())["branch"] == "a"
        assert json.loads(Path("results.json").read_text()) == [
            {"branch": branch, "executor": "plugfest-ixgbe-kr", "url": "https://e.org/json/run.json"} for branch in "ba"
        ]
        assert sorted(path.name for path in Path().iterdir()) == ["results", "results.json", "run.json"]

    @pytest.mark.parametrize("content", ["[{", '{"branch": "a"}', "[1]"])
    def test_a_torn_manifest_is_kept_and_nothing_is_written(self, plugfest, made, content: str) -> None:
        Path("results.json").write_text(content)
        options = ["--to", "run.json", "--manifest", "results.json", "--manifest-url", "https://e.org/json"]
        done = plugfest("convert", "netdev", *options)
        assert done.status == 3
        assert done.line.startswith("results.json: expected a manifest of netdev's CI")
        assert Path("results.json").read_text() == content
        assert not Path("run.json").exists()

    @pytest.mark.parametrize(
        ("full", "option", "written"), [("run.json", "--to", []), ("results.json", "--manifest", ["run.json"])]
    )
    def test_a_full_disk_leaves_nothing_half_written(
        self, plugfest, made, full: str, option: str, written: list[str]
    ) -> None:
        Path(f".{full}.partial").symlink_to("/dev/full")
        options = ["--to", "run.json", "--manifest", "results.json", "--manifest-url", "https://e.org/json"]
        done = plugfest("convert", "netdev", *options)
        assert done.status == 3
        assert (
            done.line == f"{full}: expected to write it, found: No space left on device; choose another with {option}"
        )
        assert sorted(path.name for path in Path().iterdir()) == ["results", *written]

    @pytest.mark.parametrize(
        ("arguments", "status", "message"),
        [
            (["html"], 2, "'html' is not one of 'junit', 'tap', 'ktap', 'netdev', 'kcidb'"),
            (["ktap", "absent"], 3, "absent: expected a report.json, found "),
            (["netdev", "--link", "e.org"], 2, "--link e.org: expected a URL"),
            (["kcidb", "--origin", "My CI"], 2, "--origin My CI: expected lower-case letters"),
            (["netdev", "--manifest", "m", "--to", "t"], 2, "--manifest: expected --to and --manifest-url with it"),
            (["ktap", "--to", "no/such/folder/report"], 3, "no/such/folder/report: expected to write it"),
        ],
    )
    def test_bad_input(self, plugfest, made, arguments: list[str], status: int, message: str) -> None:
        done = plugfest("convert", *arguments)
        assert done.status == status
        assert message in done.line

    def test_a_report_of_a_newer_plugfest(self, plugfest, made) -> None:
        found = json.loads((made / "report.json").read_text())
        Path("newer.json").write_text(json.dumps({**found, "schema": 2, "more": []}))
        done = plugfest("convert", "ktap", "newer.json")
        assert done.status == 3
        assert (
            done.line
            == "newer.json: expected a report of schema 1, found schema 2 of a newer plugfest; upgrade this one"
        )


class TestCompare:
    @pytest.fixture
    def two(self, plugfest, inside) -> None:
        for verdict in ("pass", "fail"):
            inside.events = [PLANNED, result(verdict), END]
            plugfest("run", "ixgbe", "--output", verdict)

    def test_it(self, plugfest, two) -> None:
        done = plugfest("compare", "pass", "fail")
        assert (done.status, done.err) == (1, "")
        assert done.out.splitlines()[-1] == "1 broken, 0 for another reason (exit status 1)"
        assert plugfest("compare", "fail", "pass/report.json").status == 0

    def test_for_programs(self, plugfest, two) -> None:
        done = plugfest("compare", "fail", "pass", "--json")
        found = json.loads(done.out)
        assert (found["schema"], found["counts"]["fixed"], found["exit_status"], done.status) == (1, 1, 0, 0)
        assert found["tests"][0]["before"]["verdict"] == "fail"

    def test_what_is_no_run(self, plugfest, two) -> None:
        Path("torn.json").write_text((Path("pass") / "report.json").read_text()[:-9])
        for name in ("absent", "torn.json"):
            done = plugfest("compare", "pass", name)
            assert done.status == 3
            assert f"{name}" in done.line
            assert "expected a report.json, found" in done.line


class TestHistory:
    @pytest.fixture
    def two(self, plugfest, inside, monkeypatch) -> None:
        """Two runs, minutes apart."""
        minutes = itertools.count(1_790_000_000, 60)
        monkeypatch.setattr(journal, "time", SimpleNamespace(time=lambda: next(minutes)))
        for verdict in ("pass", "fail"):
            inside.events = [PLANNED, result(verdict), END]
            plugfest("run", "ixgbe", "--output", verdict)

    def test_add_runs_and_changes(self, plugfest, two) -> None:
        done = plugfest("history", "add", "h.db", "pass", "fail/report.json")
        first, second = done.out.splitlines()
        assert first.startswith("added ixgbe (kr) on trixie-backports (7.3.4+deb13-amd64), ")
        assert first.endswith(" UTC: 1 pass")
        assert second.endswith(" UTC: 1 fail; 1 broken")
        assert plugfest("history", "add", "h.db", "pass").out.startswith(
            "in it already: ixgbe (kr) on trixie-backports"
        )
        rows = [line for line in plugfest("history", "runs", "h.db").out.splitlines() if "ixgbe" in line]
        assert [("1 broken" in row, row.split()[-1]) for row in rows] == [
            (False, str(Path("pass").resolve())),
            (True, str(Path("fail").resolve())),
        ]
        done = plugfest("history", "changes", "h.db")
        assert (done.status, done.out.splitlines()[-1]) == (1, "newest runs of 1 configurations: 1 broken, 0 flaky")
        assert re.search(r"broken +SMOKE-A-01 +test_it +pass → fail", done.out)

    def test_changes_for_programs(self, plugfest, two) -> None:
        plugfest("history", "add", "h.db", "fail", "pass")
        done = plugfest("history", "changes", "h.db", "--json")
        found = json.loads(done.out)
        (configuration,) = found["configurations"]
        assert (found["schema"], found["exit_status"], done.status) == (1, 1, 1)
        assert (configuration["driver"], configuration["profile"], configuration["runs"]) == ("ixgbe", "kr", 2)
        (change,) = configuration["changes"]
        assert (change["change"], change["test"], change["subtest"]) == ("broken", "smoke/test_it.py::test_it", "")

    def test_a_repeated_run_is_all_its_runs(self, plugfest, two) -> None:
        Path("many").mkdir()
        for number, name in enumerate(("pass", "fail"), 1):
            Path(name).rename(f"many/run-{number}")
        assert len(plugfest("history", "add", "h.db", "many").out.splitlines()) == 2

    def test_what_is_wrong_with_a_run_is_one_line(self, plugfest, two) -> None:
        Path("fail/report.json").write_text("{")
        done = plugfest("history", "add", "h.db", "pass", "fail")
        assert (done.status, done.out) == (3, "")
        assert done.line.startswith("fail/report.json: expected a report.json, found ")
        assert not Path("h.db").exists()
        done = plugfest("history", "changes", "h.db")
        assert (done.status, done.line) == (
            3,
            "h.db: expected a history, found no such file; plugfest history add makes one",
        )


class TestSite:
    def test_it(self, plugfest, inside) -> None:
        inside.events = [PLANNED, result("pass"), END]
        plugfest("run", "ixgbe")
        plugfest("history", "add", "h.db", "results/latest")
        done = plugfest("site", "h.db", "--out", "public", "--title", "Vendor's nights")
        assert (done.status, done.err) == (0, "")
        assert done.out.splitlines() == ["3 pages; open public/index.html"]
        assert "<h1>Vendor&#39;s nights</h1>" in Path("public/index.html").read_text()
        (page,) = Path("public/runs").iterdir()
        folder = Path("results/latest").resolve().name
        assert f'href="../../results/{quote(folder)}/report.html"' in page.read_text()
        assert plugfest("site", "h.db").out.splitlines() == ["3 pages; open site/index.html"]

    def test_without_a_history(self, plugfest) -> None:
        done = plugfest("site", "h.db")
        assert (done.status, done.line.partition(",")[0]) == (3, "h.db: expected a history")
        assert not Path("site").exists()


class TestListing:
    def test_drivers(self, plugfest) -> None:
        done = plugfest("drivers")
        for text in ("ixgbe", "8086:1517", "--profile kx4", "QEMU's virtio-net-pci", "vmxnet3"):
            assert text in done.out

    def test_models(self, plugfest) -> None:
        assert "ixgbe: Intel 82599" in plugfest("models").out

    def test_requirements(self, plugfest) -> None:
        found = json.loads(plugfest("requirements", "--format", "json").out)
        assert len({entry["id"] for entry in found}) == len(found) > 30
        assert all(entry["sentence"] and entry["source"] and entry["falsified_by"] for entry in found)
        text = plugfest("requirements", "--area", "xdp", "--format", "markdown").out
        assert "## XDP-BASIC-01 (MUST)" in text
        assert "1. " in text
        table = plugfest("requirements", "--area", "xdp").out
        assert "XDP-BASIC-01" in table
        assert "SMOKE" not in table

    def test_a_suite_that_is_broken(self, plugfest, monkeypatch, tmp_path) -> None:
        from plugfest.plugin import suite

        area = tmp_path / "suite" / "area"
        area.mkdir(parents=True)
        (tmp_path / "suite" / "pytest.ini").write_text("[pytest]\n")
        (area / "test_broken.py").write_text("import nothing_of_that_name\n")
        monkeypatch.setattr(suite, "conformance_root", lambda: tmp_path / "suite")
        done = plugfest("requirements")
        assert done.status == 3
        assert "No module named 'nothing_of_that_name'" in done.line


class TestCache:
    @pytest.fixture
    def kept(self, tmp_path) -> Cache:
        cache = Cache(tmp_path / "cache" / "plugfest")

        def build(folder: Path) -> None:
            (folder / "vmlinux").write_bytes(b"x" * 2048)

        cache.get("kernel", "abc", build, title="a kernel", size=2048, space=0)
        return cache

    def test_list(self, plugfest, kept) -> None:
        done = plugfest("cache", "list")
        assert "kernel-abc" in done.out
        assert "a kernel" in done.out
        assert "1 entries" in done.out

    def test_verify(self, plugfest, kept) -> None:
        assert "kernel-abc: good" in plugfest("cache", "verify").out
        (kept.root / "kernel-abc" / "vmlinux").write_bytes(b"y" * 2048)
        done = plugfest("cache", "verify")
        assert done.status == 3
        assert "found 1 damaged (kernel-abc)" in done.err.splitlines()[-1]
        assert kept.entries() == []

    def test_prune(self, plugfest, kept) -> None:
        snapshot = kept.root / "snapshots" / "abc"
        snapshot.mkdir(parents=True)
        (snapshot / "note.json").write_text("{}")
        assert "deleted 0 entries of 0 MiB, and 0 snapshots" in plugfest("cache", "prune").out
        assert "snapshots/abc" in plugfest("cache", "list").out
        done = plugfest("cache", "prune", "--days", "0")
        assert "deleted kernel-abc (a kernel)" in done.out
        assert "deleted snapshots/abc" in done.out
        assert not snapshot.exists()
        assert kept.entries() == []


def test_images(plugfest, inside, monkeypatch) -> None:
    built = []
    for name in ("ensure_toolchain", "ensure_root"):
        monkeypatch.setattr(images, name, getattr(prepare, name))
    monkeypatch.setattr(
        images, "ensure_kernel", lambda settings, spec: built.append(spec) or prepare.ensure_kernel(settings, spec)
    )
    assert "11.1.3" in plugfest("images").out
    plugfest("images", "--all")
    plugfest("images", "trixie")
    assert built == ["trixie-backports", "trixie-backports", "trixie", "bookworm", "trixie"]


class TestDoctor:
    def test_a_fit_machine(self, plugfest, monkeypatch) -> None:
        from plugfest.run import doctor

        findings = [doctor.Finding("space", "plenty", "good"), doctor.Finding("KVM", "none", "note")]
        monkeypatch.setattr(doctor, "examine", lambda settings: iter(findings))
        done = plugfest("doctor")
        assert done.status == 0
        assert done.out.splitlines() == ["good  space          plenty", "note  KVM            none"]

    def test_an_unfit_machine(self, plugfest, monkeypatch) -> None:
        def no_tun():
            raise InfrastructureError("expected /dev/net/tun for the tap, found: No such file or directory")

        monkeypatch.setattr(sandbox, "check_host", no_tun)
        done = plugfest("doctor")
        assert done.status == 3
        assert "bad   /dev/net/tun" in done.out
        assert "/dev/net/tun" in done.err
        assert "see above" in done.err
