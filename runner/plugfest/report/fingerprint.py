# SPDX-License-Identifier: GPL-2.0-or-later
"""What identifies a complaint of the kernel, or the reason of a verdict, in several runs: the text without what varies."""

from __future__ import annotations

import re

from plugfest.machine.console import find_problems
from plugfest.report.text import printable

NUMBER = "#"
"""What stands for one number, or for several that only signs separate."""

_VARYING = (
    # ", CPU#1: python3/256" and "CPU: 1 PID: 192 " of a WARN: whoever was running
    (re.compile(r",? CPU#\d+: .*?/\d+(?= in |$)"), ""),
    (re.compile(r"\bCPU: \d+ PID: \d+ "), ""),
    (re.compile(r"[, ]+(?:for |at |probably for non-canonical )?address:? \S+"), ""),
    (re.compile(r"(\.[ch]):\d+(?::\d+)?"), r"\1"),
    (re.compile(r"\+0x[0-9a-f]+/0x[0-9a-f]+"), ""),
    # the process that hung, stalled or held a lock: "task ip:123", "[python3:192]"
    (re.compile(r"\[[\w/:.-]+:\d+\]"), ""),
    (re.compile(r"\btask \S+:\d+"), "task"),
    (re.compile(r" and \d+\.\d s in which the host was busy"), ""),
)
_NUMBER = re.compile(r"(?<!\w)(?:0x[0-9a-f]+|[0-9a-f]{8,}|\d+(?:\.\d+)?)(?!\w|\.\d)|(?<!\w)\d+(?:\.\d+)?(?=[mun]?s\b)")
_NUMBERS = re.compile(rf"{NUMBER}(?:[\s,:;./x+-]*{NUMBER})+")
_COMPILERS = re.compile(r"\.(?:isra|constprop|part|cold|llvm)\b[.\d]*")


def fingerprint(excerpt: str) -> str:
    """Return the fingerprint of a complaint of the kernel, one line that a person can read.

    It has the line that reports it, without timestamps, addresses, numbers, CPU, process and line of the source; then the innermost
    functions (at most `plugfest.machine.console.FUNCTIONS`), without offsets, modules and the suffixes of the compiler's clones. So it is
    the same in each run and each build of one kernel version, whichever test provoked it.

    Args:
        excerpt: of the console, as ``problems`` in a report has it.
    """
    problem = next(iter(find_problems(excerpt.splitlines())), None)
    if problem is None:
        return normalized(next(iter(excerpt.splitlines()), ""))
    functions = dict.fromkeys(_COMPILERS.sub("", function) for function in problem.functions)
    title = normalized(problem.title)
    return f"{title} in {' < '.join(functions)}" if functions else title


def normalized(text: str) -> str:
    """Return a text on one line, without what varies between two runs; a `NUMBER` stands for each number."""
    text = printable(text)
    for pattern, instead in _VARYING:
        text = pattern.sub(instead, text)
    return _NUMBERS.sub(NUMBER, _NUMBER.sub(NUMBER, text)).strip()
