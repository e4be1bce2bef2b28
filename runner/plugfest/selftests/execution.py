# SPDX-License-Identifier: GPL-2.0-or-later
"""One execution of one of upstream's tests in a guest: what it printed, case by case, and what the kernel complained of meanwhile."""

from __future__ import annotations

import bisect
import re
import select
import shlex
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from plugfest.deadline import poll
from plugfest.errors import InfrastructureError
from plugfest.machine.console import Problem
from plugfest.machine.ssh import GuestGone
from plugfest.machine.virtual import VirtualMachine
from plugfest.selftests.ktap import Parser, Result, ResultKind
from plugfest.selftests.remote_host import SLOW
from plugfest.selftests.selftest import CASES, PLACE, SELFTESTS, Selftest

LARGEST = 16 << 20
"""Bytes of a test's output that are kept; of what follows only results are, and lines of no more than `_LONGEST`."""
_LONGEST = 1 << 16

GRACE = 60.0
"""Seconds after its time limit in which upstream's runner ends a test."""

_LISTING = 30.0
"""Seconds in which a test must list its cases."""

_HEADER = re.compile(r"# (?:timeout set to|overriding timeout to|selftests: )")
"""What upstream's runner prints before a test."""

_LAST_WORDS = 2.0
"""Seconds in which a guest that has closed the connection turns out to have ended."""

_CHUNK = 1 << 16
_LOOK = 0.5
_ENVIRONMENT = "export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 NO_COLOR=1 PYTHONUNBUFFERED=1"
_RUN = r"""cd {folder} || exit 1
{environment}
export BASE_DIR={base} kselftest_override_timeout={limit} {variables}
. $BASE_DIR/kselftest/runner.sh
RUN_IN_NETNS=
run_many {test} </dev/null 2>&1 | LC_ALL=C sed -u -n -E -e p -e 's/^(# )?(  )*((not )?ok [0-9]+)( .*)?$/{mark} \3/;t mark;b' \
-e ':mark;w {log}'
"""
"""What ``make run_tests`` of upstream's lib.mk runs. With each result a line that names it goes into the kernel's log, so that the console
shows between which two results the kernel complained: the console and the output arrive by ways of their own. Standard input is empty, as
in a CI: with one that stays open, ssh's shared connection does not close the channel of a silent command whose client is terminated, and
GenerateTraffic.stop() waits for that in vain."""

_CANNOT = 77
"""Exit status of a command that finds no ``-l`` in the tests' library."""

KERNEL_LOG = "/dev/kmsg"
_MARK = "plugfest: result"
_MARKED = re.compile(r"(?:# )?(?:  )*(?P<result>(?:not )?ok [0-9]+)(?: .*)?")
"""The lines that have a mark."""
_ON_CONSOLE = re.compile(rf"{_MARK} (?P<result>(?:not )?ok [0-9]+)\b")


@dataclass
class Case:
    """A case of a test, as it ended.

    Attributes:
        name: empty for the test as a whole.
        result: what it printed; None if it never ended.
        seconds: that it took.
        problems: what the kernel complained of meanwhile.
    """

    name: str
    result: Result | None
    seconds: float
    problems: list[Problem] = field(default_factory=list)


@dataclass
class Execution:
    """A test's execution.

    Attributes:
        cases: those that ended, in order.
        whole: the test's own result, by upstream's runner; None if it did not end.
        gone: what became of the guest, if it ended first; None if it did not.
        lost: why the connection to the guest broke, if it did; the guest may be alive.
        timed_out: the time limit passed.
        limit: that time limit, seconds.
        seconds: that it took.
        before: what the kernel complained of before it: as the guest booted, the driver came up and the test listed its cases.
        problems: what the kernel complained of after the last case.
        planned: results that the test announced; None if it did not.
        printed: those that it printed, without nested ones.
        unplanned: why it announced none.
        bail: why it gave up; None if it did not.
        rest: lines that belong to no result.
        unmarked: results of which the console has no mark, so that nobody knows which case the kernel's complaints belong to.
        unread: results that the console has marks of, but whose lines did not arrive: the guest ended first.
        output: all that it printed.
    """

    cases: list[Case] = field(default_factory=list)
    whole: Result | None = None
    gone: str | None = None
    lost: str | None = None
    timed_out: bool = False
    limit: float = 0.0
    seconds: float = 0.0
    before: list[Problem] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    planned: int | None = None
    printed: int = 0
    unplanned: str = ""
    bail: str | None = None
    rest: list[str] = field(default_factory=list)
    unmarked: int = 0
    unread: int = 0
    output: str = ""

    @property
    def ended(self) -> bool:
        """Whether the test ended by itself."""
        return self.lost is None and not self.timed_out

    @property
    def stopped(self) -> Case | None:
        """The case that upstream's runner stopped when the time limit passed, as the test itself reported."""
        last = self.cases[-1] if self.timed_out and self.cases else None
        return last if self.stopping else None

    @property
    def stopping(self) -> bool:
        """Whether the last case made the test stop, as the test itself reported."""
        last = self.cases[-1].result if self.cases else None
        return last is not None and any(line.startswith("Stopping tests due to ") for line in last.diagnostics)

    @property
    def begun(self) -> bool:
        """Whether the test came as far as its cases."""
        return bool(self.planned or self.cases)


def limit_of(test: Selftest, tree: Path, own: float) -> float:
    """Return a test's time limit, seconds, as the ``settings`` file of its folder has it.

    Args:
        test: the test.
        tree: the tests' source.
        own: what stands for a limit of 0, which upstream means as none.
    """
    settings = tree / SELFTESTS / test.collection / "settings"
    text = settings.read_text() if settings.exists() else ""
    found = re.search(r"^timeout=(\d+)", text, re.MULTILINE)
    return (float(found[1]) if found else 45.0) or own  # kselftest_default_timeout of its runner.sh


def cases_of(machine: VirtualMachine, test: Selftest) -> list[str] | None:
    """Ask a test for its cases (``-l``); none if it fails before it knows them, None if it is of a kind that cannot run single ones.

    Raises:
        InfrastructureError: the guest has ended.
    """
    if not test.name.endswith(".py"):
        return None
    folder = f"/{PLACE}/{SELFTESTS}"
    knows = f"grep -q list_tests {folder}/{CASES}"
    deadline = machine.deadline(_LISTING)
    lists = f"exec timeout -k 5 {deadline.seconds:.0f} ./{test.name} -l"
    command = f"{_ENVIRONMENT}; {knows} || exit {_CANNOT}; cd {folder}/{test.collection} && {lists}"
    # The guest ends it: a closed channel leaves it running beside what follows.
    done = machine.ssh.run(command, check=False, timeout=machine.deadline(_LISTING + GRACE).seconds)
    if done.exit_status == _CANNOT:
        return None
    names = [line.strip() for line in done.stdout.splitlines()]
    # What it prints beside the names are diagnostics, and results where it does not get as far as its cases.
    names = [name for name in names if re.fullmatch(r"[\w.:+/-]+", name)]
    return names if done.exit_status == 0 else []


def execute(
    machine: VirtualMachine,
    test: Selftest,
    *,
    limit: float,
    only: Sequence[str] = (),
    disruptive: bool = True,
) -> Execution:
    """Run a test with upstream's own runner.

    Args:
        machine: whose guest runs it.
        test: the test.
        limit: its time limit on a guest of speed 1, seconds.
        only: these of its cases; none for all.
        disruptive: whether a test may take the interface down: ``DISRUPTIVE``.
    """
    found = Execution()
    deadline = machine.deadline(limit)
    found.limit = deadline.seconds
    arguments = [word for name in only for word in ("-t", name)]
    variables = {
        "DISRUPTIVE": "yes" if disruptive else "no",
        f"KSELFTEST_{re.sub(r'[^0-9A-Z_]', '_', test.name.upper())}_ARGS": shlex.join(arguments),
    }
    if machine.speed < SLOW:
        variables["KSFT_MACHINE_SLOW"] = "yes"
    base = f"/{PLACE}/{SELFTESTS}"
    script = _RUN.format(
        folder=shlex.quote(f"{base}/{test.collection}"),
        base=shlex.quote(base),
        environment=_ENVIRONMENT,
        limit=round(deadline.seconds),
        variables=" ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items()),
        test=shlex.quote(f"./{test.name}"),
        mark=_MARK,
        log=KERNEL_LOG,
    )
    begin = time.monotonic()
    reader = _Reader(machine, found, Path(test.name).stem)
    try:
        channel = machine.ssh.channel(f"bash -c {shlex.quote(script)} 2>&1")
        with channel:
            hard = machine.deadline(limit + GRACE)
            while True:
                ready, _, _ = select.select([channel], [], [], _LOOK)
                if ready:
                    data = channel.recv(_CHUNK)
                    if not data:
                        break
                    reader.feed(data)
                elif machine.guest.gone() or not machine.ssh.connected:
                    raise GuestGone(machine.guest.gone() or "the connection to the guest is broken")
                elif hard.passed:
                    found.timed_out = True
                    break
    except GuestGone as error:
        found.lost = str(error)
    if found.lost is not None or (found.whole is None and not found.timed_out):
        # A guest that dies closes the connection, before QEMU has ended and the console said why.
        found.gone = poll(machine.guest.gone, machine.deadline(_LAST_WORDS))
    reader.end()
    found.seconds = time.monotonic() - begin
    found.timed_out |= found.whole is not None and found.whole.outcome is ResultKind.TIMEOUT
    return found


class _Reader:
    """Reads a test's output as it comes, and tells which case each problem of the kernel belongs to."""

    def __init__(self, machine: VirtualMachine, found: Execution, stem: str) -> None:
        self._machine, self._found, self._stem = machine, found, stem
        self._parser = Parser()
        self._text: list[str] = []
        self._size = 0
        self._pending = ""
        self._mark = machine.console.mark()
        self._since = time.monotonic()
        self._places: list[list[Problem]] = []
        """Of each result that has a mark, the problems of what it belongs to."""
        self._results: list[str] = []
        """What their marks say."""

    def feed(self, data: bytes) -> None:
        lines = (self._pending + data.decode("utf-8", "replace")).split("\n")
        self._pending = lines.pop()
        if len(self._pending) > _LONGEST and self._size + len(self._pending) > LARGEST:
            self._pending = self._pending[:_LONGEST]
        for line in lines:
            self._line(line)

    def end(self) -> None:
        if self._pending:
            self._line(self._pending)
        if self._machine.alive():
            with suppress(InfrastructureError):
                self._machine.synchronize()
        else:
            self._machine.console.join()
        self._attribute()
        parser, found = self._parser, self._found
        found.planned, found.printed, found.unplanned = parser.planned, parser.printed, parser.unplanned
        found.rest, found.bail = parser.rest, parser.bail
        self._found.output = "".join(self._text)

    def _line(self, line: str) -> None:
        self._size += len(line) + 1
        keep = self._size <= LARGEST
        result = None if _HEADER.match(line) else self._parser.feed(line, keep=keep)
        if keep or result is not None:
            self._text.append(f"{line}\n")
        if result is None:
            return
        if result.name.startswith("selftests: "):
            self._found.whole = result
            self._place(line, self._found.problems)
            return
        if result.children:
            self._nest(result)
            self._place(line, self._found.cases[-1].problems)
            return
        now = time.monotonic()
        name = result.name.removeprefix(f"{self._stem}.")
        case = Case("" if name == self._stem else name, result, now - self._since)
        self._found.cases.append(case)
        self._place(line, case.problems)
        self._since = now

    def _place(self, line: str, problems: list[Problem]) -> None:
        """Note where problems before a result's mark belong, if it has one."""
        marked = _MARKED.fullmatch(line)
        if marked is not None:
            self._results.append(marked["result"])
            self._places.append(problems)

    def _nest(self, outer: Result) -> None:
        """Name the cases nested in a result after it. It is a case of its own only if it says of a failure that they do not."""
        inner = [case for case in self._found.cases if any(case.result is each for _, each in outer.leaves())]
        for case in inner:
            case.name = f"{outer.name}.{case.name}" if outer.name and case.name else outer.name or case.name
        failed = any(case.result is not None and case.result.outcome is ResultKind.NOT_OK for case in inner)
        if outer.outcome is ResultKind.NOT_OK and not failed:
            now = time.monotonic()
            self._found.cases.append(Case(outer.name, outer, now - self._since))
            self._since = now

    def _attribute(self) -> None:
        """Give each problem to the result before whose mark the console has it; what follows the last one belongs to the test."""
        console = self._machine.console
        lines = console.text_since(self._mark).splitlines()
        found = [
            (self._mark + number, mark["result"])
            for number, line in enumerate(lines)
            if (mark := _ON_CONSOLE.search(line))
        ]
        marks, results = [line for line, _ in found], [result for _, result in found]
        both = min(len(results), len(self._results))
        complete = results[:both] == self._results[:both]
        self._found.unread = max(0, len(results) - len(self._results)) if complete else 0
        if not complete or (self._found.ended and len(results) < len(self._results)):
            self._found.unmarked = max(1, len(self._results) - len(results))
        for problem in console.problems_since(0):
            if problem.line < self._mark:
                self._found.before.append(problem)
                continue
            place = len(self._places) if self._found.unmarked else bisect.bisect(marks, problem.line)
            (self._places[place] if place < len(self._places) else self._found.problems).append(problem)
