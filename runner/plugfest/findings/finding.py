# SPDX-License-Identifier: GPL-2.0-or-later
"""One finding: a test whose verdict is against the driver, as the text of a mail to a kernel list."""

from __future__ import annotations

import json
import re
import shlex
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scapy.error import Scapy_Exception

from plugfest.errors import InfrastructureError
from plugfest.findings.commands import CommandLine, Sentence, translate
from plugfest.report import tables
from plugfest.report.document import Document, observed
from plugfest.report.html import variant
from plugfest.requirements.verdict import OF_THE_DRIVER, Verdict

INDEX = "index.txt"
VERDICTS = OF_THE_DRIVER | {Verdict.XFAIL}
"""The verdicts that a finding is made of."""

_WIDTH = 75
"""Columns of a mail's text; a command, and what it returned, stay on one line."""
_RESULT = 200
"""Characters of a result that are shown."""
_WRITES, _FRAMES, _CONSOLE = 20, 12, 30
"""Lines of each recording that are shown: the last ones."""
_VERDICT = re.compile(r"^found: [a-z]+: ")
"""What the reason of an xfail puts before the failed assertion."""
_WRITE = re.compile(r"\s*[0-9.]+ W ")
_MARK = "plugfest: mark "
"""What the runner writes into the kernel's log to see where it is."""


@dataclass(frozen=True)
class FindingText:
    """A result against the driver.

    Attributes:
        document: the run's report.
        result: one of its results.
        folder: the run's output folder.
    """

    document: Document
    result: Mapping[str, Any]
    folder: Path

    @property
    def name(self) -> str:
        """The name of its file."""
        words = f"{self.result['requirement']}-{variant(self.result)}"
        return "".join(char if char.isalnum() and char.isascii() else "-" for char in words)[:100].strip("-") + ".txt"

    @property
    def subject(self) -> str:
        """One line: that of the known issue, or the driver and the requirement's sentence."""
        issue = self.result["known_issue"]
        if issue is not None and self.result["verdict"] == Verdict.XFAIL:
            return str(issue["reason"])
        sentence = self._requirement["sentence"].rstrip(".")
        return f"{self.document['run']['driver']}: {self.result['verdict']}: {sentence}"

    @property
    def _requirement(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = next(
            each for each in self.document["requirements"] if each["id"] == self.result["requirement"]
        )
        return found

    def text(self) -> str:
        """Return the report: printable ASCII and whatever letters the tests' sentences have, no control characters."""
        parts = [
            [f"Subject: {self.subject}"],
            list(self._versions()),
            ["Expected:", *_wrapped(self._requirement["sentence"]), *_wrapped(f"({self._requirement['source']})")],
            ["Found:", *_wrapped(_VERDICT.sub("", observed(self.result)) or "nothing that the test could name")],
            list(self._known()),
            list(self._steps()),
            list(self._recording("The kernel's log of the test", self._console())),
            list(self._recording("Registers, the last that the driver wrote", self._trace())),
            list(self._recording("Wire, the last frames of the test", self._capture())),
            ["To run the test itself:", f"  {self._command('run')} -- -k {self.result['requirement']}"],
        ]
        lines = "\n\n".join("\n".join(part) for part in parts if part).splitlines()
        return "".join(f"{_clean(line)}\n" for line in lines)

    def _versions(self) -> Iterator[str]:
        run = self.document["run"]
        versions = run["versions"]
        yield f"Kernel:   Linux {run['kernel']['release']} ({run['kernel']['spec']})"
        module = run.get("testbed", {}).get("module")
        more = "" if module is None else f", {module['file']} sha256 {module['sha256'][:16]}…"
        yield f"Driver:   {run['module']}, version {versions.get('driver', 'not known')}{more}"
        model = f", model version {versions['model']}" if "model" in versions else ""
        machine = self._machine
        if machine is None:
            yield f"Device:   {run['subject']['text']}{model}, QEMU {versions['qemu']}, {run['accel']['name']}"
        else:
            yield f"Device:   {run['subject']['text']}, firmware {machine['firmware'] or 'not reported'}"
        found = f"requirement {self.result['requirement']} ({self.result['level']})"
        yield f"Found by: plugfest {versions['plugfest']}, {found}, {self.result['start']}"

    def _known(self) -> Iterator[str]:
        issue = self.result["known_issue"]
        if issue is not None and self.result["verdict"] == Verdict.XFAIL:
            yield "Known issue:"
            yield from _wrapped(issue["reason"])
            yield f"  {issue['link']}"

    @property
    def _machine(self) -> Mapping[str, Any] | None:
        """The real machine that the run was on; None if it was in guests."""
        found: Mapping[str, Any] | None = self.document["run"].get("testbed", {}).get("machine")
        return found

    def _command(self, name: str) -> str:
        run = self.document["run"]
        machine = self._machine
        if machine is not None:
            remote, _, interface = machine["remote"].rpartition(" ")
            words = [
                "--dut",
                machine["dut"],
                "--ifname",
                machine["ifname"],
                "--remote",
                remote,
                "--remote-ifname",
                interface,
            ]
            return f"plugfest {name} {shlex.join(words)}"
        profile = f" --profile {run['subject']['profile']}" if run["subject"]["profile"] else ""
        # Where they are on this machine is nobody else's matter.
        modules = "".join(f" --module {shlex.quote(Path(path).name)}" for path in run["options"]["modules"])
        return f"plugfest {name} {run['driver']}{profile} --kernel {run['kernel']['spec']}{modules}"

    def _steps(self) -> Iterator[str]:
        path = self._artifact("calls.txt")
        if path is None:
            yield "Steps (the run did not keep the commands):"
            for step in self.result["steps"]:
                yield f"  {'  ' * step['depth']}{step['sentence']}"
            return
        translated = list(translate(_parsed(path)))
        places = {each.place for each in translated if isinstance(each, CommandLine)}
        yield "Steps:"
        if self._machine is None:
            yield f"  {self._command('shell')}"
        lines = _PLACES if self._machine is None else _PLACES_OF_A_MACHINE
        yield from (f"  {line}" for place, line in lines.items() if place in places)
        for each in translated:
            if isinstance(each, Sentence):
                yield ""
                yield f"  {'  ' * each.depth}{each.text}:"
            else:
                yield f"    {_PROMPTS[each.place]} {each.text}"
                if each.result:
                    shown = each.result if len(each.result) <= _RESULT else each.result[:_RESULT] + "…"
                    yield f"        {shown}"

    def _console(self) -> Sequence[str]:
        problems = [line for problem in self.result["problems"] for line in problem.splitlines()]
        if problems:
            return problems
        path = self._artifact("console.txt")
        lines = [] if path is None else path.read_text(errors="replace").splitlines()
        return [line for line in lines if _MARK not in line][-_CONSOLE:]

    def _trace(self) -> Sequence[str]:
        path = self._artifact("trace.txt")
        lines = [] if path is None else path.read_text(errors="replace").splitlines()
        # Reads are most of all the driver's look at its statistics, every other second.
        return [line for line in lines if _WRITE.match(line)][-_WRITES:]

    def _capture(self) -> Sequence[str]:
        path = self._artifact("wire.pcap")
        if path is None:
            return []
        try:
            frames = tables.read_capture(path)[-_FRAMES:]
        except (Scapy_Exception, OSError, EOFError):
            return []
        return [f"{each.seconds:10.6f} {each.direction:12} {each.length:5} {each.summary}" for each in frames]

    def _recording(self, title: str, lines: Sequence[str]) -> Iterator[str]:
        if lines:
            yield f"{title}:"
            yield from (f"  {line}" for line in lines)

    def _artifact(self, name: str) -> Path | None:
        """Return the path of an artifact, None if there is none within the run's folder."""
        path = self.result["artifacts"].get(name)
        if path is None:
            return None
        file = (self.folder / path).resolve()
        return file if file.is_relative_to(self.folder.resolve()) and file.is_file() else None


_PROMPTS = {"guest": "guest#", "agent": "agent>", "host": "host>>>", "model": "model>"}
_PLACES = {
    "guest": "guest#   in the guest, by the ssh command that it prints",
    "agent": "agent>   in the guest's bash, in one session of: exec 3<>/dev/tcp/10.0.2.15/2223; cat <&3 & cat >&3",
    "host": "host>>>  in scapy, at the other end of the wire: the line that plugfest shell prints for it",
    "model": "model>   in one session with the model's control socket: the line that plugfest shell prints for it",
}
_PLACES_OF_A_MACHINE = {
    "guest": "guest#   on the machine, as root",
    "agent": "agent>   what the suite's agent was asked for, on the machine (guest-images/agent)",
    "host": "host>>>  in scapy, on the interface at the other end of the wire",
}


def findings(document: Document, folder: Path) -> list[FindingText]:
    """Return the findings of a run, in the order of its results.

    Args:
        document: its report.
        folder: its output folder.
    """
    return [FindingText(document, result, folder) for result in document["results"] if result["verdict"] in VERDICTS]


def write(found: Sequence[FindingText], target: Path) -> list[str]:
    """Write each finding, and ``index.txt``, which lists them by their subject: the known issues' files are under their titles.

    Args:
        found: the findings.
        target: the folder, which is made.

    Returns:
        The names of the files, without the index's.

    Raises:
        InfrastructureError: they cannot be written.
    """
    names: list[str] = []
    subjects: dict[str, list[str]] = {}
    try:
        target.mkdir(parents=True, exist_ok=True)
        for each in found:
            name = each.name
            # Two parameters may differ in letters alone that no name of a file has.
            while name in names:
                name = f"{name.removesuffix('.txt')}-.txt"
            (target / name).write_text(each.text(), encoding="utf-8")
            names.append(name)
            subjects.setdefault(each.subject, []).append(name)
        index = "\n".join(
            f"{_clean(subject)}\n" + "".join(f"  {name}\n" for name in listed) for subject, listed in subjects.items()
        )
        (target / INDEX).write_text(index, encoding="utf-8")
    except OSError as error:
        raise InfrastructureError(
            f"{target}: expected a folder to write the findings to, found: {error.strerror}; choose another with --out"
        ) from error
    return names


def _parsed(path: Path) -> list[Mapping[str, Any]]:
    """Return the calls of ``calls.txt``.

    Raises:
        InfrastructureError: it is damaged.
    """
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except ValueError as error:
        raise InfrastructureError(
            f"{path}: expected JSON lines, found something else: it was edited; run the test again"
        ) from error


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent="  ", subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def _clean(line: str) -> str:
    """Return a line with control characters escaped: it may come from a guest, and goes to terminals and mails."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in line.rstrip())
