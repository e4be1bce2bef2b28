# SPDX-License-Identifier: GPL-2.0-or-later
"""A run of upstream's tests, from the journal to the report, with tests and guests of our own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_machine import PANIC, RUNNER, WARN, FakeMachine
from plugfest.cli import prepare
from plugfest.errors import UsageError
from plugfest.history import database, recording
from plugfest.machine.console import find_problems
from plugfest.machine.machine import DriverLoadError
from plugfest.provision.artifact import GuestRoot, Kernel, Toolchain
from plugfest.report import document, netdev_ci
from plugfest.report.write import write_reports
from plugfest.requirements.known_issues import KnownIssue, KnownIssues, Subject, load
from plugfest.requirements.verdict import Judgement, Verdict
from plugfest.run.journal import Journal, read
from plugfest.run.plan import RunPlan
from plugfest.selftests import execution, remote_host, session
from plugfest.selftests.selection import Selected, in_order, select
from plugfest.selftests.selftest import SELFTESTS, Selftest, Selftests
from plugfest.selftests.session import KNOWN_ISSUES, Session

KSFT = """\
#!/bin/bash
# Says what a test does.
cases() { echo one; echo two; echo three; }
wanted=$(cases)
while [ $# -gt 0 ]; do
	case $1 in
	-l) cases; exit 0 ;;
	-t) [ "$wanted" = "$(cases)" ] && wanted=; wanted="$wanted $2"; shift ;;
	esac
	shift
done
echo "TAP version 13"
echo "1..$(echo "$wanted" | wc -w)"
number=0 status=0
for case in $wanted; do
	number=$((number + 1))
	said= prefix=
	eval "$case" || { prefix="not "; status=1; }
	echo "${prefix}ok $number $(basename "$0" .py).$case$said"
done
exit $status
"""


class Made:
    """A run of some tests."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.output = folder, folder / "output"
        self.guests: list[FakeMachine] = []
        self.remote = SimpleNamespace(
            restarts=0, restart=self._restart, introduce=lambda agent: None, close=lambda: None
        )
        self.tests: list[Selftest] = []
        self.unbuilt: dict[str, str] = {}
        selftests = folder / "tree" / SELFTESTS
        (selftests / "kselftest").mkdir(parents=True)
        (selftests / "kselftest/runner.sh").write_text(RUNNER)
        (selftests / "net/lib/py").mkdir(parents=True)
        (selftests / "net/lib/py/ksft.py").write_text("list_tests")
        monkeypatch.setattr(execution, "PLACE", str(folder / "tree").lstrip("/"))
        monkeypatch.setattr(execution, "KERNEL_LOG", str(folder / "console"))
        monkeypatch.setattr(remote_host, "connect", lambda machine: None)

    def _restart(self) -> None:
        self.remote.restarts += 1

    def test(self, name: str, body: str, collection: str = "drivers/net") -> None:
        """Add a test of three cases, each a function of ``body``."""
        file = self.folder / "tree" / SELFTESTS / collection / name
        file.parent.mkdir(exist_ok=True, parents=True)
        defaults = "one() { true; }\ntwo() { true; }\nthree() { true; }\n"
        console = f"log() {{ printf '%s\\n' \"$@\" >>{self.folder}/console; }}\n"
        file.write_text(KSFT.replace("cases()", f"{defaults}{console}{body}\ncases()", 1))
        file.chmod(0o755)
        self.tests.append(Selftest(collection, name))

    def boot(self, _plan: RunPlan) -> Any:
        self.guests.append(FakeMachine(self.folder))
        return self.guests[-1]

    def run(
        self,
        names: Sequence[str] = (),
        issues: Sequence[KnownIssue] = (),
        *,
        confirm: bool = True,
        seed: int | None = None,
    ) -> Any:
        nowhere = Path("nowhere")
        packages = self.folder / "packages.json"
        packages.write_text("{}")
        image = self.folder / "image"
        image.write_text("")
        plan = RunPlan(
            driver="ixgbe",
            profile="sfp",
            toolchain=Toolchain(("qemu",), "11.1.3", "q"),
            root=GuestRoot(image, packages, "r", nowhere),
            kernel=Kernel("trixie-backports", "7.3.4", image, image, image, None, "k"),
            acceleration="tcg",
            acceleration_reason="no KVM",
            output=self.output,
            scratch=self.folder / "scratch",
            confirm=confirm,
        )
        found = Selftests(self.folder / "tree", "a tree", tuple(self.tests), self.unbuilt, nowhere, "d")
        with Journal(self.output) as journal:
            journal.write("run", kind="selftests", source=found.title, **prepare.provenance(plan, names))
            session = Session(
                plan,
                found,
                KnownIssues(issues, Subject("ixgbe", "7.3.4")),
                self.remote,  # type: ignore[arg-type]
                journal,
                own_limit=1.0,
                disruptive=True,
                boot=self.boot,
            )
            session.run(in_order(select(self.tests, names), seed))
        write_reports(self.output)
        return document.load(self.output)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    return Made(tmp_path, monkeypatch)


def verdicts(report: Any) -> dict[str, tuple[str, str]]:
    return {each["test"]: (each["verdict"], each["reason"]) for each in report["results"]}


def test_shuffled_tests_run_in_another_order_and_are_listed_in_upstreams(made: Made) -> None:
    names = [f"{letter}.py" for letter in "abcde"]
    for name in names:
        made.test(name, "")
    report = made.run(seed=3)
    assert [each["test"] for each in report["requirements"]] == names
    ran = list(dict.fromkeys(each["requirement"].partition(":")[2] for each in report["results"]))
    assert sorted(ran) == names
    assert ran != names
    starts = [each["start"] for each in report["results"]]
    assert starts == sorted(starts)


def test_each_case_has_a_verdict(made: Made) -> None:
    made.test("a.py", 'two() { said=" # SKIP no such feature"; }')
    report = made.run()
    assert verdicts(report) == {
        "drivers/net/a.py[one]": ("pass", ""),
        "drivers/net/a.py[two]": ("skip", "no such feature"),
        "drivers/net/a.py[three]": ("pass", ""),
    }
    assert report["run"]["exit_status"] == 0
    assert report["run"]["kind"] == "selftests"
    starts = [each["start"] for each in report["results"]]
    assert None not in starts
    assert starts == sorted(starts)
    assert [each["sentence"] for each in report["requirements"]] == ["Says what a test does."]
    assert len(made.guests) == 1


def test_netdevs_ci_knows_the_test_by_its_own_name(made: Made) -> None:
    made.test("a.py", "two() { false; }", "drivers/net/hw")
    (found,) = netdev_ci.render(made.run())["results"]
    assert (found["group"], found["test"], found["result"]) == ("selftests-drivers-net-hw", "a-py", "fail")
    assert [each["test"] for each in found["results"]] == ["one", "two", "three"]


def test_the_history_keeps_them_apart(made: Made, tmp_path: Path) -> None:
    made.test("a.py", "")
    made.run()
    recording.add(tmp_path / "history.db", [made.output])
    with database.reading(tmp_path / "history.db") as connection:
        assert [row["modules"] for row in connection.execute("SELECT modules FROM configuration")] == ["selftests"]


def test_a_failure_is_confirmed_in_a_fresh_guest(made: Made) -> None:
    made.test("a.py", 'two() { echo "# Check failed 1 != 2"; false; }')
    report = made.run()
    assert verdicts(report)["drivers/net/a.py[two]"] == ("fail", "Check failed 1 != 2")
    assert [len(each["attempts"]) for each in report["results"]] == [0, 2, 0]
    assert report["run"]["exit_status"] == 1
    assert len(made.guests) == 2
    assert made.guests[0].closed
    kept = report["results"][1]["artifacts"]
    assert "Check failed 1 != 2" in (made.output / kept["output.txt"]).read_text()


def test_what_does_not_repeat_is_unstable(made: Made) -> None:
    made.test("a.py", f"two() {{ [ -e {made.folder}/once ] || {{ touch {made.folder}/once; false; }}; }}")
    report = made.run()
    assert verdicts(report)["drivers/net/a.py[two]"][0] == "unstable"


def test_a_panic_costs_one_case(made: Made) -> None:
    made.test("a.py", f'two() {{ sleep 0.3; log "{PANIC}"; sleep 5; }}')
    report = made.run(confirm=False)
    found = verdicts(report)
    assert found["drivers/net/a.py[two]"][0] == "crash"
    assert "Kernel panic - not syncing: Fatal exception" in found["drivers/net/a.py[two]"][1]
    assert found["drivers/net/a.py[one]"][0] == found["drivers/net/a.py[three]"][0] == "pass"
    assert len(made.guests) == 2


def test_a_guest_that_dies_closes_the_connection_first(made: Made) -> None:
    dies = f"setsid sh -c 'sleep 0.5; echo \"{PANIC}\" >{made.folder}/console' & pkill -KILL -s $(ps -o sid= -p $$)"
    made.test("a.py", f"two() {{ {dies}; }}")
    report = made.run(confirm=False)
    assert [each["verdict"] for each in report["results"]] == ["pass", "crash", "pass"]


def test_a_case_that_hangs_costs_one_case(made: Made) -> None:
    made.test("b.py", "two() { sleep 30; }", "drivers/net/hw")
    (made.folder / "tree" / SELFTESTS / "drivers/net/hw/settings").write_text("timeout=0\n")
    report = made.run(confirm=False)
    found = verdicts(report)
    assert found["drivers/net/hw/b.py[two]"] == ("timeout", "it did not end within 1 s, the time limit of its test")
    assert found["drivers/net/hw/b.py[one]"][0] == found["drivers/net/hw/b.py[three]"][0] == "pass"


def test_cases_that_take_the_time_limit_together_run_in_more_guests(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "MOST_GUESTS", 1)
    made.test("b.py", "one() { sleep 1.2; }\ntwo() { sleep 1.2; }\nthree() { sleep 1.2; }", "drivers/net/hw")
    (made.folder / "tree" / SELFTESTS / "drivers/net/hw/settings").write_text("timeout=2\n")
    report = made.run()
    assert [each["verdict"] for each in report["results"]] == ["pass", "pass", "pass"]
    assert len(made.guests) == 3


def test_a_tests_standard_input_is_empty(made: Made) -> None:
    made.test("a.py", "two() { read -r -t 5 line; [ $? = 1 ]; }")
    assert [verdict for verdict, _ in verdicts(made.run(confirm=False)).values()] == ["pass", "pass", "pass"]


def test_a_case_that_is_stopped_says_so_itself(made: Made) -> None:
    made.test("b.py", "two() { sleep 3 & wait $! || true; }", "drivers/net/hw")
    file = made.folder / "tree" / SELFTESTS / "drivers/net/hw/b.py"
    trap = 'trap \'echo "# Exception| KsftTerminate"; echo "# Stopping tests due to KsftTerminate."; echo "not ok 2 b.two"; exit 1\' TERM\n'
    file.write_text(file.read_text().replace('echo "TAP version 13"', trap + 'echo "TAP version 13"'))
    (file.parent / "settings").write_text("timeout=0\n")
    found = verdicts(made.run(confirm=False))
    assert [verdict for verdict, _ in found.values()] == ["pass", "timeout", "pass"]


def test_a_status_that_no_case_explains_is_a_failure_of_the_test(made: Made) -> None:
    made.test("a.py", 'three() { said=" # SKIP no"; echo "# Traceback"; status=1; }')
    assert verdicts(made.run(confirm=False))["drivers/net/a.py"][0] == "fail"


def test_a_test_that_keeps_silent_has_not_passed(made: Made) -> None:
    made.test("a.py", "two() { exit 0; }")
    found = verdicts(made.run(confirm=False))
    assert found == {
        "drivers/net/a.py[one]": ("pass", ""),
        "drivers/net/a.py[two]": ("error", "the test ended well, but in this case, of which it printed no result"),
        "drivers/net/a.py[three]": ("pass", ""),
    }


def test_a_warning_belongs_to_the_case_that_ran(made: Made) -> None:
    lines = " ".join(f'"{line}"' for line in WARN)
    made.test("a.py", f"two() {{ sleep 0.3; log {lines}; }}")
    report = made.run(confirm=False)
    assert [each["verdict"] for each in report["results"]] == ["pass", "crash", "pass"]


def test_a_known_issue_shows(made: Made, tmp_path: Path) -> None:
    listed = tmp_path / "issues.toml"
    listed.write_text(
        '[[issue]]\ntitle = "ixgbe: two is not one"\nwhose = "driver"\nrequirement = "drivers/net:a.py"\n'
        'parameters = ["two"]\nshows = "^Check failed 1 != 2$"\ndrivers = ["ixgbe"]\nkernels = ""\n'
        'where = ["drivers/net/a.c:two"]\nreason = "So it is."\nlink = "https://example.org/"\n'
    )
    made.test("a.py", 'two() { echo "# Check failed 1 != 2"; false; }')
    report = made.run(issues=load(listed))
    assert [each["verdict"] for each in report["results"]] == ["pass", "xfail", "pass"]
    assert report["known_issues"][0]["showed"] == 1
    assert report["run"]["exit_status"] == 0


def test_only_the_wanted_cases_run(made: Made) -> None:
    made.test("a.py", "two() { false; }")
    assert list(verdicts(made.run(["a.py::one", "a.py::three"]))) == [
        "drivers/net/a.py[one]",
        "drivers/net/a.py[three]",
    ]


def test_a_test_that_breaks_before_its_cases_has_a_verdict(made: Made) -> None:
    made.test("a.py", "")
    (made.folder / "tree" / SELFTESTS / "drivers/net/a.py").write_text(
        "#!/bin/bash\n# Says.\necho 'Traceback (most recent call last):'\necho 'ImportError: no yaml'\nexit 1\n"
    )
    assert verdicts(made.run(confirm=False)) == {"drivers/net/a.py": ("fail", "ImportError: no yaml")}


def test_exit_status_4_is_a_skip(made: Made) -> None:
    made.test("a.sh", "")
    (made.folder / "tree" / SELFTESTS / "drivers/net/a.sh").write_text(
        "#!/bin/bash\necho 'SKIP: no mausezahn'\nexit 4\n"
    )
    ((name, (verdict, reason)),) = verdicts(made.run()).items()
    assert (name, verdict) == ("drivers/net/a.sh", "skip")
    assert reason == "SKIP: no mausezahn"


def test_a_helper_that_was_not_built_is_the_reason(made: Made) -> None:
    made.unbuilt = {"iou-zcrx": "liburing too old"}
    made.test("a.py", "two() { echo '# Check failed: ./iou-zcrx: not found'; false; }")
    found = verdicts(made.run())["drivers/net/a.py[two]"]
    assert found == ("skip", "the helper iou-zcrx was not built: liburing too old")


def test_a_test_for_several_interfaces_is_not_run(made: Made) -> None:
    made.test("a.sh", "NUM_NETIFS=2")
    ((verdict, reason),) = verdicts(made.run()).values()
    assert (verdict, reason[:25]) == ("skip", "it wants 2 interfaces of ")
    assert made.guests == []


def test_the_guest_knows_the_remote_host(made: Made) -> None:
    made.test("a.py", "")
    made.run()
    (config,) = made.guests[0].files.values()
    assert "NETIF=lo\n" in config
    assert "REMOTE_TYPE=ssh\nREMOTE_ARGS=remote\n" in config
    assert made.remote.restarts == 1


def test_the_projects_own_list_is_well_formed() -> None:
    load(KNOWN_ISSUES)


def test_a_run_that_ends_early_has_a_report(made: Made) -> None:
    made.test("a.py", "")
    made.test("b.py", "")

    boot: Callable[[RunPlan], Any] = made.boot

    def interrupted(plan: RunPlan) -> Any:
        if made.guests:
            raise KeyboardInterrupt
        return boot(plan)

    made.boot = interrupted  # type: ignore[method-assign]
    (made.folder / "tree" / SELFTESTS / "drivers/net/a.py").write_text("#!/bin/bash\nexit 1\n")
    report = made.run()
    assert report["run"]["exit_status"] == 130
    assert [each["verdict"] for each in report["results"]] == ["miss", "miss"]
    assert [event["event"] for event in read(made.output)][-2:] == ["stopped", "end"]


def test_selected_is_all_by_default(made: Made) -> None:
    made.test("a.py", "")
    assert select(made.tests, []) == [Selected(made.tests[0])]


def nested(made: Made, inner: str, outer: str) -> dict[str, tuple[str, str]]:
    made.test("a.sh", "")
    (made.folder / "tree" / SELFTESTS / "drivers/net/a.sh").write_text(
        f"#!/bin/bash\necho 'KTAP version 1'\necho '  {inner}'\necho '{outer}'\nexit 1\n"
    )
    return verdicts(made.run(confirm=False))


def test_a_nested_failure_counts_once(made: Made) -> None:
    found = nested(made, "not ok 1 inner", "not ok 1 suite")
    assert list(found) == ["drivers/net/a.sh[suite.inner]"]


def test_a_suite_whose_cases_pass_may_fail(made: Made) -> None:
    found = nested(made, "ok 1 inner", "not ok 1 suite")
    assert [verdict for verdict, _ in found.values()] == ["pass", "fail"]


def test_a_driver_that_does_not_load_is_the_tests_failure(made: Made) -> None:
    made.test("a.py", "")
    boot: Callable[[RunPlan], Any] = made.boot

    def unloaded(plan: RunPlan) -> Any:
        machine = boot(plan)
        machine.load_error = DriverLoadError("ixgbe: no interface")
        machine.module_file = pytest.fail
        return machine

    made.boot = unloaded  # type: ignore[method-assign]
    assert verdicts(made.run(confirm=False)) == {"drivers/net/a.py": ("fail", "ixgbe: no interface")}


def known_warning(tmp_path: Path) -> tuple[KnownIssue, ...]:
    listed = tmp_path / "issues.toml"
    listed.write_text(
        '[[issue]]\ntitle = "ixgbe: two warns"\nwhose = "driver"\nrequirement = "drivers/net:a.py"\n'
        'parameters = ["two"]\nshows = "WARNING"\ndrivers = ["ixgbe"]\nkernels = ""\n'
        'where = ["drivers/net/a.c:two"]\nreason = "So it is."\nlink = "https://example.org/"\n'
    )
    return load(listed)


@pytest.mark.parametrize(("check", "verdict"), [("true", "xfail"), ("echo '# Check failed 1 != 2'; false", "fail")])
def test_a_known_warning_hides_no_failure(made: Made, tmp_path: Path, check: str, verdict: str) -> None:
    lines = " ".join(f'"{line}"' for line in WARN)
    made.test("a.py", f"two() {{ sleep 0.3; log {lines}; {check}; }}")
    report = made.run(issues=known_warning(tmp_path), confirm=False)
    assert [each["verdict"] for each in report["results"]] == ["pass", verdict, "pass"]


def test_a_lost_connection_to_a_living_guest_is_no_crash(made: Made) -> None:
    made.test("a.py", f"two() {{ [ -e {made.folder}/lost ] && return; touch {made.folder}/lost; sleep 5; }}")
    boot: Callable[[RunPlan], Any] = made.boot

    def broken(plan: RunPlan) -> Any:
        machine = boot(plan)
        if len(made.guests) == 1:
            channel = machine.ssh.channel

            def lost(command: str) -> Any:
                machine.ssh.connected = False
                return channel(command)

            machine.ssh.channel = lost
        return machine

    made.boot = broken  # type: ignore[method-assign]
    found = verdicts(made.run())
    assert found["drivers/net/a.py[two]"] == (
        "error",
        "expected the connection to the guest, which is alive, to last, found: the connection to the guest is broken",
    )
    assert found["drivers/net/a.py[three]"][0] == "pass"


def test_each_test_has_a_fresh_guest(made: Made) -> None:
    made.test("a.py", "")
    made.test("b.py", "")
    made.run()
    assert [guest.closed for guest in made.guests] == [True, True]
    assert [each["reason"] for each in read(made.output) if each["event"] == "boot"] == [
        "drivers/net:a.py",
        "drivers/net:b.py",
    ]
    assert made.remote.restarts == 2


def test_a_test_that_is_killed_after_a_failure_loses_no_case(made: Made) -> None:
    made.test("a.py", "one() { false; }\ntwo() { kill -9 $$; }")
    found = verdicts(made.run(confirm=False))
    assert [verdict for verdict, _ in found.values()] == ["fail", "fail", "pass"]
    assert found["drivers/net/a.py[two]"][1] == "the test ended in this case: exit=137"
    assert len(made.guests) == 2


def test_cases_for_which_no_guest_is_left_are_missed(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MOST_GUESTS", 1)
    made.test("a.py", f'one() {{ log "{PANIC}"; sleep 5; }}')
    found = verdicts(made.run(confirm=False))
    assert [verdict for verdict, _ in found.values()] == ["crash", "miss", "miss"]
    assert found["drivers/net/a.py[two]"][1] == "it did not run: 1 guests ended or ran out of time before it"


def test_cases_may_be_a_pattern(made: Made) -> None:
    made.test("a.py", "")
    assert list(verdicts(made.run(["a.py::t*"]))) == ["drivers/net/a.py[two]", "drivers/net/a.py[three]"]


def test_a_case_that_does_not_exist_is_a_usage_error(made: Made) -> None:
    made.test("a.py", "")
    with pytest.raises(UsageError, match=r"a.py::thre: expected one of the test's cases, .* did you mean three"):
        made.run(["a.py::thre"])


@pytest.mark.parametrize(
    ("printed", "verdict", "reason"),
    [
        ("1..0", "error", "it ended well, but ran no case (1..0)"),
        ("1..0 # SKIP no such NIC", "skip", "no such NIC"),
        ("1..0\n# eth0 does not support histograms", "skip", "eth0 does not support histograms"),
        ("1..2\nok 1 b", "error", "it ended well, but printed 1 of the 2 results it announced"),
        ("1..1\nBail out! no memory", "fail", "Bail out! no memory"),
        ("1..1\nok 1 b\nBail out! no memory", "fail", "Bail out! no memory"),
    ],
)
def test_a_plan_that_is_not_met_is_no_pass(made: Made, printed: str, verdict: str, reason: str) -> None:
    made.test("a.sh", "")
    (made.folder / "tree" / SELFTESTS / "drivers/net/a.sh").write_text(f"#!/bin/bash\necho '{printed}'\n")
    assert verdicts(made.run(confirm=False))["drivers/net/a.sh"] == (verdict, reason)


def test_a_failed_case_of_a_shell_script_is_confirmed_by_all_of_it(made: Made) -> None:
    made.test("a.sh", "")
    (made.folder / "tree" / SELFTESTS / "drivers/net/a.sh").write_text(
        "#!/bin/bash\n[ $# = 0 ] || exit 1\necho 'TEST: one  [FAIL]'\nprintf '\\tno ping\\n'\nexit 1\n"
    )
    assert verdicts(made.run()) == {"drivers/net/a.sh[one]": ("fail", "no ping")}


def test_a_complaint_before_the_first_case_is_the_tests(made: Made) -> None:
    made.test("a.py", "")
    boot: Callable[[RunPlan], Any] = made.boot

    def warns(plan: RunPlan) -> Any:
        machine = boot(plan)
        machine.console.lines += WARN
        return machine

    made.boot = warns  # type: ignore[method-assign]
    report = made.run(confirm=False)
    assert {each["test"]: each["verdict"] for each in report["results"]} == {
        "drivers/net/a.py": "crash",
        "drivers/net/a.py[one]": "pass",
        "drivers/net/a.py[two]": "pass",
        "drivers/net/a.py[three]": "pass",
    }


def test_a_list_that_takes_too_long_ends_in_the_guest(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "_LISTING", 1.0)
    made.test("a.py", "")
    file = made.folder / "tree" / SELFTESTS / "drivers/net/a.py"
    file.write_text(file.read_text().replace("-l) cases;", f"-l) sleep 2; touch {made.folder}/late;"))
    assert [verdict for verdict, _ in verdicts(made.run()).values()] == ["pass"] * 3
    assert not (made.folder / "late").exists()


def test_two_complaints_of_a_test_are_both_kept() -> None:
    judgement = Judgement(Verdict.CRASH, "WARNING")
    found = {"": session._Found(Judgement(Verdict.FAIL, "no"), 0.0, 0.0, [])}
    session._add(found, {"": session._Found(judgement, 0.0, 0.0, find_problems(list(WARN)))})
    assert (found[""].reason, len(found[""].problems)) == ("no", 1)


def test_results_count_after_any_amount_of_output(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "LARGEST", 4096)
    made.test(
        "a.py",
        "one() { seq -f '# %g bottles' 2000; }\ntwo() { printf '%0300000d\\n'; echo '# Check failed x'; false; }",
    )
    report = made.run(confirm=False)
    assert [each["verdict"] for each in report["results"]] == ["pass", "fail", "pass"]
    assert (made.output / report["results"][1]["artifacts"]["output.txt"]).stat().st_size < 5000


@pytest.mark.parametrize(
    ("line", "missing"),
    [
        ("FileNotFoundError: [Errno 2] No such file or directory: '/usr/src/linux/net/lib/gro'", True),
        ('scp: stat local "/x/gro": No such file or directory', True),
        ("bash: line 1: ./gro: not found", True),
        ('File "/usr/src/linux/drivers/net/gro.py", line 3: RuntimeError: not found', False),
        ("Check failed: /sys/group not found", False),
        ("Command failed: ./gro --rx", False),
    ],
)
def test_only_a_helper_that_was_not_found_is_the_reason(line: str, missing: bool) -> None:
    assert session._misses("gro", line) is missing


def test_a_lost_mark_is_an_error_and_blames_no_case(made: Made) -> None:
    lines = " ".join(f'"{line}"' for line in WARN)
    made.test("a.py", "")
    made.test("b.py", f"three() {{ sleep 0.3; log {lines}; }}")
    boot: Callable[[RunPlan], Any] = made.boot

    def lossy(plan: RunPlan) -> Any:
        machine = boot(plan)
        machine.console.lost = "result ok 2"
        return machine

    made.boot = lossy  # type: ignore[method-assign]
    found = verdicts(made.run(confirm=False))
    assert found["drivers/net/a.py"] == (
        "error",
        "expected a mark of each result in the kernel's log, found 1 missing: its complaints may be of any case",
    )
    assert found["drivers/net/b.py"][0] == "crash"
    assert found["drivers/net/b.py[three]"][0] == "pass"


def test_the_log_takes_all_marks(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    made.test("a.py", "")
    commands: list[list[str]] = []
    monkeypatch.setattr(FakeMachine, "_call", lambda _, method, **params: commands.append(params.get("command", [])))
    made.run()
    assert any("echo on >/proc/sys/kernel/printk_devkmsg" in word for command in commands for word in command)


def test_a_result_of_any_bytes_has_its_mark(made: Made) -> None:
    made.test("a.py", r"two() { said=$' # caf\xe9 \xff'; }")
    assert [verdict for verdict, _ in verdicts(made.run(confirm=False)).values()] == ["pass"] * 3
