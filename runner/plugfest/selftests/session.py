# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs upstream's tests inside the run's namespaces, and writes the journal of which the reports are made.

Each test gets a fresh guest. It has cases, of which each gets a verdict. If the guest does not survive one, or it takes too long, that is
the verdict of the case that was running; the others run in a fresh guest, without it. A case whose verdict is against the driver is tried
again in another guest.
"""

from __future__ import annotations

import fnmatch
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from plugfest.errors import INTERRUPTED, InfrastructureError, PlugfestError
from plugfest.machine import virtual
from plugfest.machine.agent import AgentError, AgentTimeout
from plugfest.machine.console import Problem
from plugfest.machine.ssh import CommandTimeout, GuestGone
from plugfest.machine.virtual import VirtualMachine
from plugfest.plugin.artifacts import slug
from plugfest.plugin.live import LiveConsole
from plugfest.plugin.pace import Pace
from plugfest.requirements.known_issues import Expected, KnownIssues
from plugfest.requirements.verdict import OF_THE_DRIVER, WORST_FIRST, Judgement, Verdict
from plugfest.run.journal import Journal
from plugfest.run.plan import RunPlan
from plugfest.selftests import remote_host
from plugfest.selftests.execution import Case, Execution, cases_of, execute, limit_of
from plugfest.selftests.judgement import judge
from plugfest.selftests.ktap import Result, ResultKind
from plugfest.selftests.remote_host import RemoteHost
from plugfest.selftests.selection import Selected, no_case, runs_all
from plugfest.selftests.selftest import PLACE, SELFTESTS, Selftest, Selftests

KNOWN_ISSUES = Path(__file__).with_name("known-issues.toml")
"""What is known to fail of upstream's tests, in the form of the suite's list: a requirement is ``COLLECTION:TEST``, a parameter a case."""

MOST_GUESTS = 12
"""Guests that one attempt at a test may use up; one whose time limit passed because the test has many cases does not count."""

_LONG = 0.5
"""Part of its test's time limit that a case has when it is a timeout; with less, the cases before it took the time, and it runs again."""

_LINES = 60
"""Lines of a case's diagnostics that the reports have."""

_UNSUPPORTED = re.compile(r"\b(?:does not support|not supported)\b")
"""What a test that has no case for the device prints instead of a reason in its plan (ethtool_rmon.sh)."""

_SYSTEM = """for each in 0/stdin 1/stdout 2/stderr; do ln -sfn /proc/self/fd/${each%/*} /dev/${each#*/}; done
modprobe -q configfs; mount -t configfs configfs /sys/kernel/config
echo on >/proc/sys/kernel/printk_devkmsg"""
"""A log that takes each mark of a result: by default the kernel drops what is more than 10 lines in 5 s. And what udev and systemd make on
other systems: what upstream's runner prints to, and what its tests configure netconsole with."""


@dataclass
class _Found:
    """What came of one case in one attempt."""

    judgement: Judgement
    seconds: float
    start: float
    problems: list[Problem] = field(default_factory=list)
    diagnostics: list[str] = field(default_factory=list)
    artifacts: dict[str, str] = field(default_factory=dict)
    expected: Expected | None = None

    @property
    def verdict(self) -> Verdict:
        return (self.expected.judgement if self.expected else self.judgement).verdict

    @property
    def reason(self) -> str:
        return (self.expected.judgement if self.expected else self.judgement).reason

    def describe(self) -> dict[str, Any]:
        said = "\n".join(self.diagnostics[-_LINES:])
        return {
            "verdict": self.verdict,
            "reason": self.reason,
            "seconds": round(self.seconds, 3),
            "steps": [],
            "evidence": [{"name": "what the test printed", "text": said}] if said.strip() else [],
            "problems": [problem.excerpt for problem in self.problems],
            "artifacts": self.artifacts,
        }


class Session:
    """Runs tests, in one guest after the other."""

    def __init__(
        self,
        plan: RunPlan,
        tests: Selftests,
        issues: KnownIssues,
        remote: RemoteHost,
        journal: Journal,
        *,
        own_limit: float,
        disruptive: bool,
        boot: Callable[[RunPlan], VirtualMachine] = virtual.boot,
    ) -> None:
        """Boot nothing yet.

        Args:
            plan: of the run, whose root has the tests.
            tests: those that the root has.
            issues: that are known of what is tested.
            remote: the host at the other end of the wire.
            journal: of the run.
            own_limit: time limit, seconds on a guest of speed 1, of tests for which upstream has none.
            disruptive: whether a test may take the interface down.
            boot: boots a guest.
        """
        self._plan, self._tests, self._issues, self._remote, self._journal = plan, tests, issues, remote, journal
        self._own_limit, self._disruptive, self._boot = own_limit, disruptive, boot
        self._machine: VirtualMachine | None = None
        self._described = False
        self._live = LiveConsole(Pace(plan.durations))

    def run(self, selected: Sequence[Selected]) -> None:
        """Run tests, and write what came of them.

        Args:
            selected: the tests, in the order in which they run.

        Raises:
            PlugfestError: no guest.
        """
        chosen = {each.test for each in selected}
        self._journal.write(
            "planned",
            durable=True,
            requirements=[self._describe(test) for test in self._tests.tests if test in chosen],
            tests=[self._identity(each.test) for each in selected],
        )
        self._live.plan([_id(each.test) for each in selected])
        try:
            for each in selected:
                self._test(each)
        except KeyboardInterrupt:
            self._journal.write("stopped", reason="interrupted", exit_status=INTERRUPTED, durable=True)
        except PlugfestError as error:
            self._journal.write("stopped", reason=str(error), exit_status=error.exit_status, durable=True)
            raise
        except (AgentError, AgentTimeout) as error:
            reason = f"expected the guest to be prepared for the tests, found: {error}"
            self._journal.write("stopped", reason=reason, exit_status=InfrastructureError.exit_status, durable=True)
            raise InfrastructureError(reason) from error
        finally:
            self._close()
            self._remote.close()
            self._journal.write("end", pytest_exit_status=0, durable=True)
            self._live.close()

    # --- one test -------------------------------------------------------------------------------------------------

    def _test(self, selected: Selected) -> None:
        test = selected.test
        self._live.attempt(_id(test), str(test))
        self._journal.write("attempt", durable=True, number=1, **self._identity(test))
        begin = time.monotonic()
        cases: list[str] | None = None
        unfit = unfit_here(self._tests.text(test))
        if unfit is None:
            first, cases = self._attempt(selected, 1)
        else:
            judgement = Judgement(Verdict.SKIP, unfit)
            first = {"": _Found(judgement, 0.0, time.time(), expected=Expected(judgement))}
        doubtful = [name for name, found in first.items() if found.verdict in OF_THE_DRIVER]
        second: dict[str, _Found] = {}
        if doubtful and self._plan.confirm:
            for name in doubtful:
                self._journal.write("unconfirmed", durable=True, **self._identity(test, name), **first[name].describe())
            self._live.note(f"{test}: {len(doubtful)} of {len(first)} to be confirmed in a fresh guest")
            alone = cases is not None and set(doubtful) <= set(cases)
            again = Selected(test, tuple(doubtful)) if alone else selected
            second = {name: found for name, found in self._attempt(again, 2)[0].items() if name in doubtful}
        names = list(first)
        if names != [""]:
            self._journal.write("cases", test=_id(test), tests=[self._identity(test, name) for name in names])
            self._live.more(len(names) - 1)
        for name in names:
            self._conclude(
                test, name, first[name], second.get(name), tried_again=name in doubtful and self._plan.confirm
            )
        self._live.ended(_id(test), time.monotonic() - begin)

    def _attempt(self, selected: Selected, number: int) -> tuple[dict[str, _Found], list[str] | None]:
        """Run a test until each of its cases has a verdict; return those, and the cases' names if they were known before."""
        test = selected.test
        found: dict[str, _Found] = {}
        limit = limit_of(test, self._tests.tree, self._own_limit)
        cases: list[str] | None = None
        missed = f"{MOST_GUESTS} guests ended or ran out of time before it"
        guest = used = 0
        while used < MOST_GUESTS:
            what = str(test) if number == 1 else f"{test} is to be confirmed"
            machine = self._fresh(f"{what}, whose other cases did not end" if guest else what)
            if machine.load_error is not None:
                aside = Judgement(Verdict.FAIL, str(machine.load_error))
                problems = machine.console.problems_since(0)
                judgement = judge(None, problems) if problems else aside
                _add(found, {"": self._expect(test, "", _Found(judgement, 0.0, time.time(), problems), aside)})
                missed = "the driver did not come up in the guest that it was to run in"
                break
            if cases is None:
                cases = self._cases(machine, selected)
            left = [name for name in cases or () if name not in found]
            start = time.time()
            done = execute(
                machine,
                test,
                limit=limit,
                only=selected.cases if cases is None else left if found or selected.cases else (),
                disruptive=self._disruptive,
            )
            new = self._judge(test, done, left, start)
            if done.unmarked:
                reason = (
                    f"expected a mark of each result in the kernel's log, found {done.unmarked} missing: "
                    "its complaints may be of any case"
                )
                _add(new, {"": self._expect(test, "", _Found(Judgement(Verdict.ERROR, reason), done.seconds, start))})
            if done.before:
                _add(new, {"": self._case(test, "", Case("", None, 0.0, done.before), start)})
            self._keep(test, done, new, number, guest)
            guest += 1
            late = _interrupted(done, left, new)
            if late is None:
                used += 1
            else:
                del new[late]
                self._live.note(
                    f"{test}: {len(new)} cases took its time limit of {done.limit:.0f} s; {late} runs in a fresh guest"
                )
            _add(found, new)
            if all(name in found for name in left):
                break
            if done.ended and not done.begun:
                return found, cases  # the test as a whole has the verdict
            if not any(name in new for name in left):
                missed = "the test ended without a result of it"
                break
        for name in cases or ():
            if name not in found:
                judgement = Judgement(Verdict.MISS, f"it did not run: {missed}")
                found[name] = self._expect(test, name, _Found(judgement, 0.0, time.time()))
        return found, cases

    def _cases(self, machine: VirtualMachine, selected: Selected) -> list[str] | None:
        """Return the cases that a test has, those that were selected; None if nobody knows before they have run.

        Raises:
            UsageError: it has no such case.
        """
        names: list[str] | None = []
        with suppress(CommandTimeout, GuestGone):
            names = cases_of(machine, selected.test)
        if names is None and selected.cases:
            raise runs_all(selected)
        if not names:
            return None
        for pattern in selected.cases:
            if not fnmatch.filter(names, pattern):
                raise no_case(selected.test, pattern, names)
        return [
            name
            for name in names
            if not selected.cases or any(fnmatch.fnmatchcase(name, each) for each in selected.cases)
        ]

    def _judge(self, test: Selftest, done: Execution, left: Sequence[str], start: float) -> dict[str, _Found]:
        """Return what came of an execution, by case.

        Args:
            test: the test.
            done: the execution.
            left: cases that should have run; none if nobody knows.
            start: when it began.
        """
        new: dict[str, _Found] = {}
        at = start
        for case in done.cases:
            name = _unused(case.name, new)
            if case is done.stopped:
                found = _Found(self._unended(done), case.seconds, at, case.problems)
                new[name] = self._expect(test, name, found, self._late(done) if done.timed_out else None)
            else:
                new[name] = self._case(test, name, case, at)
            at += case.seconds
        missing = [name for name in left if name not in new]
        seconds = max(0.0, done.seconds - at + start)
        if not done.ended:
            if done.stopped is None:
                # Cases that ended, but whose results were lost with the guest, run again.
                running = missing[done.unread :]
                name = _unused(running[0] if running else "", new)
                ended = _Found(self._unended(done), seconds, at, done.problems, done.rest)
                new[name] = self._expect(test, name, ended, self._late(done) if done.timed_out else None)
            return new
        whole = done.whole or Result("", ResultKind.NOT_OK, "it printed no result")
        whole.diagnostics = [*done.rest, *whole.diagnostics]
        if done.bail is not None:
            whole.outcome = ResultKind.NOT_OK
            whole.diagnostics.append(f"Bail out! {done.bail}")
        if missing and done.begun and not done.stopping:
            new[missing[0]] = self._broken_off(test, missing[0], Case("", whole, seconds, done.problems), at)
            return new
        failed = any(case.result is not None and case.result.outcome is ResultKind.NOT_OK for case in done.cases)
        short = not missing and done.planned is not None and done.printed < done.planned
        if whole.outcome is ResultKind.OK and (reason := _unproven(done, missing)) is not None:
            new[""] = self._expect(test, "", _Found(reason, done.seconds, start, done.problems, whole.diagnostics))
        elif not new or done.problems or (whole.outcome is ResultKind.NOT_OK and (short or done.bail or not failed)):
            new[""] = self._case(test, "", Case("", whole, done.seconds, done.problems), start)
        return new

    def _broken_off(self, test: Selftest, name: str, case: Case, start: float) -> _Found:
        """Return what came of the case in which the test's program ended.

        Args:
            test: the test.
            name: of the case.
            case: what the program ended with, the result of the test as a whole.
            start: when the case began.
        """
        whole = case.result
        assert whole is not None
        if whole.outcome is ResultKind.OK and not case.problems:
            judgement = Judgement(Verdict.ERROR, "the test ended well, but in this case, of which it printed no result")
            return self._expect(test, name, _Found(judgement, case.seconds, start, diagnostics=whole.diagnostics))
        whole.diagnostics.append(f"the test ended in this case: {whole.said or whole.outcome}")
        return self._case(test, name, case, start)

    def _unended(self, done: Execution) -> Judgement:
        """The verdict of the case that was running when the guest ended or the time limit passed."""
        if done.problems:
            return judge(None, done.problems)
        if done.gone is not None:
            return Judgement(Verdict.CRASH, done.gone)
        if done.lost is not None:
            return Judgement(
                Verdict.ERROR, f"expected the connection to the guest, which is alive, to last, found: {done.lost}"
            )
        return self._late(done)

    def _late(self, done: Execution) -> Judgement:
        return Judgement(Verdict.TIMEOUT, f"it did not end within {done.limit:.0f} s, the time limit of its test")

    def _case(self, test: Selftest, name: str, case: Case, start: float) -> _Found:
        judgement = judge(case.result, case.problems)
        lacking = self._tests.lacking(test) if judgement.verdict is Verdict.FAIL else {}
        said = case.result.diagnostics if case.result else []
        for helper, reason in lacking.items():
            if any(_misses(helper, line) for line in said):
                judgement = Judgement(Verdict.SKIP, f"the helper {helper} was not built: {reason}")
        found = _Found(judgement, case.seconds, start, case.problems, said)
        return self._expect(test, name, found, judge(case.result) if case.result else None)

    def _expect(self, test: Selftest, name: str, found: _Found, aside: Judgement | None = None) -> _Found:
        """Set the verdict in the light of what is known.

        Args:
            test: the test.
            name: of the case.
            found: what came of it.
            aside: the verdict had the kernel not complained: a known complaint must not hide it.
        """
        fatal = next((number for number, problem in enumerate(found.problems, 1) if problem.fatal), None)
        summaries = [problem.summary for problem in found.problems]
        aside = None if fatal is not None else aside
        found.expected = self._issues.expect(found.judgement, str(test), (name,), summaries[:fatal], aside)
        return found

    def _conclude(self, test: Selftest, name: str, first: _Found, second: _Found | None, *, tried_again: bool) -> None:
        verdict, reason = first.verdict, first.reason
        if second is not None and second.verdict is not verdict:
            then = f"{second.verdict}: {second.reason}" if second.reason else str(second.verdict)
            verdict, reason = Verdict.UNSTABLE, f"first {verdict}: {reason}; then, in a fresh guest, {then}"
        elif second is None and tried_again:
            verdict, reason = Verdict.UNSTABLE, f"first {verdict}: {reason}; then, in a fresh guest, it did not run"
        elif second is not None and second.reason != reason:
            reason = f"{reason} (second attempt: {second.reason})"
        attempts = [first] if second is None else [first, second]
        assert first.expected is not None
        seconds = round(sum(each.seconds for each in attempts), 3)
        self._journal.write(
            "result",
            **self._identity(test, name),
            **{**first.describe(), "verdict": verdict, "reason": reason, "seconds": seconds},
            attempts=[{"start": each.start, **each.describe()} for each in attempts] if second is not None else [],
            durable=False,
            start=first.start,
            **first.expected.describe(str(test)),
            falsification=None,
            advertised=None,
        )
        self._live.result(verdict, str(test), name, seconds, reason)

    # --- the guest ------------------------------------------------------------------------------------------------

    def _fresh(self, reason: str) -> VirtualMachine:
        """Boot a guest, in which nothing is left of another test, and open its connection to the remote host.

        Tests change more than can be looked at: RSS contexts, NAPI settings, filters, sysctls, netconsole's targets. A guest restored from
        a snapshot costs less than a second.

        Args:
            reason: for the journal.
        """
        self._close()
        begin = time.monotonic()
        self._remote.restart()
        machine = self._machine = self._boot(self._plan)
        self._journal.write(
            "boot",
            seconds=time.monotonic() - begin,
            reason=reason,
            how=machine.startup,
            speed=machine.speed,
            driver=machine.driver_version(),
            module=None if self._described or machine.load_error is not None else machine.module_file(),
            model=None if machine.model is None else machine.model.call("model.describe"),
        )
        self._described |= machine.load_error is None
        self._live.note(f"guest: {machine.startup}")
        if machine.load_error is None:
            self._prepare(machine)
        return machine

    def _prepare(self, machine: VirtualMachine) -> None:
        machine.agent.call("process.run", command=["sh", "-c", _SYSTEM])
        self._remote.introduce(machine.agent)
        remote_host.connect(machine)
        text = "".join(f"{name}={value}\n" for name, value in remote_host.configuration(machine.ifname).items())
        for folder in {test.collection for test in self._tests.tests}:
            remote_host.put(machine.agent, f"/{PLACE}/{SELFTESTS}/{folder}/net.config", text)

    def _close(self) -> None:
        machine, self._machine = self._machine, None
        if machine is not None:
            machine.close()

    def _keep(self, test: Selftest, done: Execution, new: Mapping[str, _Found], attempt: int, guest: int) -> None:
        """Keep the output of an execution, and the console if a case did not pass."""
        bad = [found for found in new.values() if found.verdict.is_failure or found.verdict is Verdict.XFAIL]
        machine = self._machine
        assert machine is not None
        folder = self._plan.output / "artifacts" / slug(_id(test))
        if attempt > 1:
            folder /= f"attempt-{attempt}"
        if guest:
            folder /= f"guest-{guest + 1}"
        folder.mkdir(parents=True, exist_ok=True)
        files = {"output.txt": done.output}
        if bad or attempt > 1:
            files["console.txt"] = machine.console.text_since(0)
            if machine.alive():
                with suppress(AgentError, AgentTimeout):
                    files["dmesg.txt"] = machine.agent.call("process.run", command=["dmesg"], timeout=20.0)["stdout"]
        for name, text in files.items():
            if text.strip():
                (folder / name).write_text(text, encoding="utf-8", errors="replace")
        paths = {path.name: str(path.relative_to(self._plan.output)) for path in sorted(folder.glob("*.txt"))}
        for found in new.values():
            if found.verdict is not Verdict.PASS or attempt > 1:
                found.artifacts = paths

    # --- the journal ----------------------------------------------------------------------------------------------

    def _identity(self, test: Selftest, case: str = "") -> dict[str, Any]:
        return {
            "test": f"{_id(test)}[{case}]" if case else _id(test),
            "requirement": str(test),
            "area": test.collection,
            "level": "SHOULD",
            "fault": None,
        }

    def _describe(self, test: Selftest) -> dict[str, Any]:
        """Return a test's entry among the requirements of the report."""
        return {
            "id": str(test),
            "level": "SHOULD",
            "area": test.collection,
            "source": f"{SELFTESTS}/{test.collection}/{test.name} ({self._tests.title})",
            "sentence": sentence(self._tests.text(test)) or f"Upstream's test {test.name} passes.",
            "procedure": [],
            "possible_problems": "",
            "falsified_by": [],
            "falsified_as": "fail",
            "match": {},
            "test": test.name,
            "path": f"{test.collection}/{test.name}",
            "line": 1,
        }


def unfit_here(text: str) -> str | None:
    """Return why a test cannot show anything about the driver here; None if it can.

    Args:
        text: of the test. Shell tests of net/forwarding that are not made for one interface and a remote host (DRIVER_TEST_CONFORMANT)
            want several of this machine's, joined by cables, and make veths where nobody names any.
    """
    several = re.search(r"^NUM_NETIFS=(\d+)", text, re.MULTILINE)
    if several is None or re.search(r"DRIVER_TEST_CONFORMANT:?=[\"']?yes", text):
        return None
    return f"it wants {several[1]} interfaces of the device, joined by cables (NUM_NETIFS={several[1]}); a run has one"


def sentence(text: str) -> str:
    """Return what a test says of itself: the first paragraph of its docstring, or of the comment at its top."""
    docstring = re.match(r'(?:#.*\n|\s*\n)*"""\s*([\s\S]+?)(?:\n\s*\n|""")', text)
    if docstring is not None:
        return " ".join(docstring[1].split())
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("#!") or "SPDX-License-Identifier" in line or (not line.strip("# ") and not lines):
            continue
        if not line.startswith("# "):
            break
        lines.append(line.removeprefix("# ").strip())
    return " ".join(lines)


def _id(test: Selftest) -> str:
    return f"{test.collection}/{test.name}"


def _unused(name: str, names: Collection[str]) -> str:
    """Return a name that no other case of the test has: two may print the same."""
    if name not in names:
        return name
    return next(found for found in (f"{name}#{number}" for number in range(2, len(names) + 3)) if found not in names)


def _unproven(done: Execution, missing: Sequence[str]) -> Judgement | None:
    """Return the verdict of a test that ended well, but without what proves that it passed; None if nothing is lacking.

    Args:
        done: its execution.
        missing: cases that should have run, but of which it printed nothing.
    """
    if done.planned == 0 and not done.cases:
        lines = done.whole.diagnostics if done.whole else ()
        reason = done.unplanned or next((line.strip("# ") for line in lines if _UNSUPPORTED.search(line)), "")
        if reason:
            return Judgement(Verdict.SKIP, reason)
        return Judgement(Verdict.ERROR, "it ended well, but ran no case (1..0)")
    if missing and not done.stopping:
        found = f"{len(missing)} of its cases: {', '.join(missing[:3])}"
        return Judgement(Verdict.ERROR, f"it ended well, but printed no result of {found}")
    if not missing and done.planned is not None and done.printed < done.planned:
        return Judgement(
            Verdict.ERROR, f"it ended well, but printed {done.printed} of the {done.planned} results it announced"
        )
    return None


def _interrupted(done: Execution, left: Sequence[str], new: Mapping[str, _Found]) -> str | None:
    """Return the case that had little of its test's time limit when that passed: it shows nothing; None if there is none.

    Args:
        done: the execution of the test.
        left: cases that should have run, by name.
        new: what came of it.
    """
    ran = [name for name in new if name in left]
    if not done.timed_out or done.gone is not None or len(ran) < 2:
        return None
    last = new[ran[-1]]
    return ran[-1] if last.verdict is Verdict.TIMEOUT and last.seconds < _LONG * done.limit else None


def _misses(helper: str, line: str) -> bool:
    """Return whether a line says that there is no such helper: by its path, as shells, Python and loaders do."""
    named = re.search(rf"/{re.escape(helper)}(?![\w-]|\.\w)", line)
    return named is not None and re.search(r"No such file|not found", line) is not None


def _add(found: dict[str, _Found], new: Mapping[str, _Found]) -> None:
    """Add what came of another execution of a test; of two verdicts of the same, the worse one counts, and all that was complained of."""
    for name, each in new.items():
        if name in found:
            better, worse = sorted((found[name], each), key=lambda one: WORST_FIRST.index(one.verdict), reverse=True)
            found[name] = replace(worse, problems=[*worse.problems, *better.problems])
        else:
            found[name] = each
