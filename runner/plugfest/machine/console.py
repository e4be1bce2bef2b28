# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's serial console: read from the first byte, logged to a file, and searched for kernel problems."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import pexpect
from pexpect.fdpexpect import fdspawn

from plugfest.deadline import Deadline

_PATTERNS: tuple[tuple[str, bool, str], ...] = (
    # kind, whether the guest is unusable afterwards, pattern of its line
    ("panic", True, r"Kernel panic - not syncing"),
    ("soft lockup", True, r"BUG: soft lockup|watchdog: .*hard LOCKUP|BUG: workqueue lockup"),
    ("rcu stall", True, r"rcu.*(?:self-detected stall|detected stalls|detected expedited stalls|kthread starved)"),
    ("hung task", True, r"INFO: task \S+:\d+ .*blocked.* for more than \d+ seconds"),
    (
        "oops",
        True,
        (
            r"Oops: |BUG: unable to handle|BUG: kernel NULL pointer|general protection fault, (?:maybe|probably)|"
            r"kernel stack overflow|double fault: |Bad RIP value"
        ),
    ),
    ("BUG", True, r"kernel BUG at |\bBUG: "),
    ("NETDEV WATCHDOG", False, r"NETDEV WATCHDOG: "),
    ("UBSAN", False, r"UBSAN: "),
    (
        "lockdep",
        False,
        r"WARNING: (?:possible|suspicious|inconsistent|bad)|INFO: possible recursive locking|INFO: suspicious RCU",
    ),
    ("WARNING", False, r"WARNING: "),
    ("leaked reference", False, r"unregister_netdevice: waiting for \S+ to become free"),
    ("allocation failure", False, r"page allocation failure: order:"),
    ("list corruption", True, r"list_(?:add|del) corruption"),
    ("refcount", False, r"refcount_t: "),
    ("checksum", False, r"hw csum failure"),
    ("call trace", False, r"Call Trace:"),
)
_PROBLEM = re.compile("|".join(f"(?P<k{number}>{pattern})" for number, (_, _, pattern) in enumerate(_PATTERNS)))

TRANSMIT_WATCHDOG = r"NETDEV WATCHDOG: |WARNING: .* dev_watchdog\b"
"""For a test that makes a transmit queue hang; older kernels report it with a WARN (net/sched/sch_generic.c, dev_watchdog)."""

_STAMP = re.compile(r"^(?:<\d+>)?\[\s*\d+\.\d+\](?:\[\s*[TC]\d+\])? ?")
_CUT_HERE = "[ cut here ]"
_TRACE_ENDS = re.compile(r"---\[ end (?:trace|Kernel panic)|Kernel Offset: |^ ?</TASK>$")
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-Z\\-_]|c)")

_FRAME = re.compile(r"(?:(?P<rip>RIP: \w+:)| )(?P<function>[A-Za-z_][\w.]*)\+0x[0-9a-f]+/0x[0-9a-f]+(?: \[\w+\])?")
"""Where the kernel was, and one caller a line, as the x86 kernel prints them."""

FUNCTIONS = 5
"""Most functions of a problem's summary."""

EXCERPT_LINES = 120
"""Most lines in the excerpt of a problem."""

_JOINED_WITHIN = 60
"""Lines after a problem within which another ``Call Trace:`` belongs to it."""


@dataclass(frozen=True)
class Problem:
    """A problem that the kernel reported.

    Attributes:
        kind: ``panic``, ``oops``, ``BUG``, ``WARNING``, ``hung task``, ``NETDEV WATCHDOG`` ….
        title: the line that reports it, without the timestamp.
        excerpt: that line and the lines that belong to it, as on the console.
        fatal: the guest is unusable afterwards.
        line: number of the title's line on the console, from 0.
        functions: where it happened, the innermost first; empty if the report has no trace.
    """

    kind: str
    title: str
    excerpt: str
    fatal: bool
    line: int
    functions: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """The title and the innermost functions, one line: ``BUG: … in eth_type_trans < gve_rx_poll_dqo``."""
        return f"{self.title} in {' < '.join(self.functions)}" if self.functions else self.title


_LOOK = 0.25
"""Seconds after which a reader without input looks whether it is to end."""


class Console:
    """Reads the serial port as long as the guest is running: one that nobody reads loses what the kernel writes.

    Attributes:
        log: the file with every byte, as received.
        panic: the kernel's panic line, or None.
    """

    def __init__(self, port: socket.socket | FileIO, log: Path) -> None:
        """Start reading.

        Args:
            port: a socket or pipe from the guest's first serial port; this object owns and closes it.
            log: file to append the console to; the guests of a run share it.
        """
        self.log = log
        self.panic: str | None = None
        self._port = port
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self._closing = threading.Event()
        log.parent.mkdir(parents=True, exist_ok=True)
        self._file = log.open("ab", buffering=0)
        self._spawn = fdspawn(port.fileno(), timeout=_LOOK, use_poll=True)
        self._spawn.logfile_read = self._file
        self._thread = threading.Thread(target=self._read, name="console", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        _line, end, nothing = range(3)
        patterns = self._spawn.compile_pattern_list([rb"\n", pexpect.EOF, pexpect.TIMEOUT])
        ended = False
        while not ended:
            closing = self._closing.is_set()  # before the look: what was written until then is read
            try:
                found = self._spawn.expect_list(patterns)
            except OSError:  # a connection was reset
                found = end
            ended = found == end or (found == nothing and closing)
            if found == nothing and not ended:
                continue
            text = self._spawn.before if isinstance(self._spawn.before, bytes) else b""
            if text or not ended:
                self._add(_ESCAPES.sub("", text.decode("utf-8", "replace")).strip("\r\n\0"))
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _add(self, line: str) -> None:
        with self._changed:
            self._lines.append(line)
            if self.panic is None and "Kernel panic - not syncing" in line:
                self.panic = _STAMP.sub("", line).strip()
            self._changed.notify_all()

    @property
    def ended(self) -> bool:
        """Whether QEMU has closed its end, so that there will be no more lines."""
        return self._ended

    def mark(self) -> int:
        """Return a mark for the methods that return what was received since."""
        with self._changed:
            return len(self._lines)

    def lines_since(self, mark: int) -> list[str]:
        """Return the lines received since a mark."""
        with self._changed:
            return self._lines[mark:]

    def text_since(self, mark: int) -> str:
        """Return the text received since a mark."""
        return "".join(f"{line}\n" for line in self.lines_since(mark))

    def tail(self, lines: int = 12) -> str:
        """Return the last lines that are not blank, for error messages."""
        return "\n".join([line for line in self.lines_since(0) if line.strip()][-lines:])

    def problems_since(self, mark: int) -> list[Problem]:
        """Return the problems that the kernel reported since a mark, in order; a report and its call trace are one problem."""
        return find_problems(self.lines_since(mark), mark)

    def wait_for(self, condition: Callable[[str], bool], deadline: Deadline, *, mark: int = 0) -> str | None:
        """Wait for a line.

        Args:
            condition: returns whether this is the line.
            deadline: when to give up.
            mark: ignore earlier lines.

        Returns:
            The line; None if the deadline passed or the console ended first.
        """
        at = mark
        with self._changed:
            while True:
                while at < len(self._lines):
                    line = self._lines[at]
                    at += 1
                    if condition(line):
                        return line
                if self._ended or deadline.passed:
                    return None
                self._changed.wait(deadline.remaining)

    def wait_for_change(self, timeout: float) -> None:
        """Wait for another line, at most `timeout` seconds."""
        with self._changed:
            if not self._ended:
                self._changed.wait(timeout)

    def join(self, timeout: float = 5.0) -> None:
        """Wait until everything that QEMU wrote has been read; call it after QEMU has ended."""
        self._thread.join(timeout)

    def close(self) -> None:
        """Read what has been written, then stop and close the log. Idempotent. Who writes to a pipe must have ended."""
        if self._file.closed:
            return
        self._closing.set()
        if isinstance(self._port, socket.socket):
            # Who writes there may live, and go on.
            self.join(2 * _LOOK)
            with suppress(OSError):
                self._port.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._port.close()
        self._file.close()


def find_problems(lines: list[str], first: int = 0) -> list[Problem]:
    """Find the problems that the kernel reported.

    Args:
        lines: of the console.
        first: number of the first line.
    """
    found: list[Problem] = []
    quiet_until = -1  # before this line, a call trace belongs to the previous problem
    for at, line in enumerate(lines):
        text = _STAMP.sub("", line)
        match = _PROBLEM.search(text)
        if match is None:
            continue
        kind, fatal, _ = _PATTERNS[int((match.lastgroup or "k0")[1:])]
        if kind == "call trace" and at < quiet_until:
            continue
        begin = at - 1 if at > 0 and _CUT_HERE in lines[at - 1] else at
        end = _end_of(lines, at)
        if found and at < quiet_until and found[-1].fatal and kind in ("panic", "WARNING", "oops"):
            # "Oops" follows "BUG: unable to handle …", and a panic follows an oops: one event is one problem.
            previous = found.pop()
            begin = previous.line - first
            kind, fatal, text = previous.kind, True, previous.title
            at = begin  # noqa: PLW2901 - the joined problem starts where the first one did
        functions = _functions(lines[begin:end])
        found.append(Problem(kind, text.strip(), "\n".join(lines[begin:end]), fatal, first + at, functions))
        quiet_until = end + _JOINED_WITHIN
    return found


def _functions(report: Iterable[str]) -> tuple[str, ...]:
    """Return the function at which a report's first trace begins, and those that called it; not what the unwinder only guesses ("?")."""
    found: list[str] = []
    for line in report:
        match = _FRAME.fullmatch(_STAMP.sub("", line).rstrip())
        if match is None:
            if len(found) > 1 and _TRACE_ENDS.search(_STAMP.sub("", line)):
                break
            continue
        if match["function"] not in found[-1:]:
            found.append(match["function"])
    return tuple(found[:FUNCTIONS])


def _end_of(lines: list[str], at: int) -> int:
    """Return the number of the line after a problem's last line."""
    limit = min(len(lines), at + EXCERPT_LINES)
    for number in range(at, limit):
        text = _STAMP.sub("", lines[number])
        if _TRACE_ENDS.search(text) and number > at:
            # registers and "---[ end trace" may follow the end of the stack
            for later in range(number + 1, min(limit, number + 25)):
                if "---[ end" in lines[later]:
                    return later + 1
            return number + 1
    return min(limit, at + 25)
