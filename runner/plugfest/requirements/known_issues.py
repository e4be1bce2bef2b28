# SPDX-License-Identifier: GPL-2.0-or-later
"""Known issues: the bugs that make a requirement fail, on which driver and kernel, how each shows, and where it is in the source."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from plugfest.errors import UsageError
from plugfest.requirements.entries import Form, ListEntry
from plugfest.requirements.verdict import Judgement, Verdict

DEFAULT = Path(__file__).with_name("known-issues.toml")

_FORM = Form(
    what="a list of known issues",
    table="issue",
    shape=(
        'expected [[issue]] with title = "driver: …", whose = "driver" | "core" | "qemu" | "device" | "test", '
        'requirement = "AREA-TOPIC-01" or a list of them and shows = "pattern" or {AREA-TOPIC-01 = "pattern", …}, '
        'or complaint = "pattern" or violation = "rule", or several of these, '
        'drivers = ["name"], kernels = ">=6.1,<6.13" or "" for all, '
        'where = ["drivers/net/…/file.c:function"], reason = "…" and link = "https://…"; '
        'and, if it is limited to them, profiles = ["name"] and parameters = ["zero-copy"]; '
        'modules = {name = ">=6.2,<6.4"} if a vendor\'s module has it; '
        "intermittent = true, or some of its requirements, if a run need not show it"
    ),
    keys={
        "title": str,
        "whose": str,
        "drivers": list,
        "kernels": str,
        "where": list,
        "reason": str,
        "link": str,
    },
    optional=("requirement", "shows", "complaint", "violation", "profiles", "parameters", "modules", "intermittent"),
)
_TITLE = re.compile(r"[a-z][a-z0-9_]*: \S.*[^.]")
_RULE = re.compile(r"[a-z]+(\.[a-z-]+)+")
_WHERE = re.compile(r"[\w./-]+\.(?:[ch]|py|sh)(:\w+)?")
_PROBES = (
    "",
    "x",
    "0",
    "assert ",
    "expected exit status 0, found 1",
    # How the messages of the suite's own checks begin, whatever they then find: `plugfest.deadline.until`, `XdpPrograms.wait`,
    "expected that ",
    "expected that xdp_pass has counted ",
    "expected that xdp_trim has counted ",
    # `check_same`,
    "frames that the driver delivered: ",
    "frames that the sockets received: ",
    "payloads that the stack received: ",
    "payloads in the DUT's stack: ",
    "frames on the wire: ",
    "frames back on the wire: ",
    "frames: ",
    # `TxResult.check`,
    "60000 bytes of TCP over IPv4: ",
    "5793 bytes of TCP over IPv6 in segments of 1436: ",
    "4000 bytes of UDP over IPv4 in segments of 1000: ",
    "4000 bytes of UDP over IPv6 in segments of 1000: ",
    # and `plugfest.plugin.budget.budget`.
    "setup took more than its 30 s",
    "call took more than its 30 s",
)
"""What a pattern that says how one bug shows matches none of: what any failure, or any of one check, has in common."""


class Whose(StrEnum):
    """Whose bug it is."""

    DRIVER = "driver"
    CORE = "core"
    QEMU = "qemu"
    DEVICE = "device"
    TEST = "test"

    @property
    def meaning(self) -> str:
        """A few words for people."""
        return _MEANINGS[self]


_MEANINGS = {
    Whose.DRIVER: "the driver",
    Whose.CORE: "the kernel's core",
    Whose.QEMU: "QEMU's device",
    Whose.DEVICE: "the device's interface",
    Whose.TEST: "upstream's test",
}


@dataclass(frozen=True)
class Subject:
    """What a run tests.

    Attributes:
        driver: name in the registry.
        release: ``uname -r``, as ``6.12.57+deb13-amd64``.
        profile: the model's; None if the device is not one of our models.
        module: the name of a vendor's module; None for the kernel's own driver.
        module_version: as modinfo prints it; None if the vendor's module names none.
        hardware: whether the device is a real one: what is known of QEMU does not apply to it.
    """

    driver: str
    release: str
    profile: str | None = None
    module: str | None = None
    module_version: str | None = None
    hardware: bool = False


@dataclass(frozen=True)
class KnownIssue:
    """One bug that is known.

    Attributes:
        title: one line, as the subject of a bug report: ``gve: qstats-get oopses while the interface is down``.
        whose: the driver's, the kernel core's, QEMU's, a limit of the device's interface, or a demand of one of upstream's tests that
            nothing makes of a driver.
        requirements: ids of the requirements that are expected to fail.
        drivers: the drivers that have it.
        kernels: the kernel versions that have it; empty for all.
        where: where in the source of Linux or QEMU, each ``FILE`` or ``FILE:FUNCTION``.
        reason: one paragraph: symptom and cause.
        link: the document that it contradicts, or the source.
        profiles: only with these profiles of the driver's model; empty for all.
        parameters: only in tests with one of these parameters; empty for all.
        shows: by requirement, a pattern on the reason of the verdict: on the failed assertion, or on what the kernel complained of.
        complaint: a pattern on what the kernel complains of, whatever the test; None if it is known of its requirements only.
        violation: a rule of the device that the driver breaks, as its model notes it: a failure of any test is a consequence then.
        modules: the versions of vendors' modules that have it, by the module's name. For an issue of the kernel's core, of QEMU or of the
            device it does not matter whose module drives the device.
        intermittent: the requirements in which it does not show in each run, as a race or what depends on the moment.
    """

    title: str
    whose: Whose
    requirements: tuple[str, ...]
    drivers: tuple[str, ...]
    kernels: SpecifierSet
    where: tuple[str, ...]
    reason: str
    link: str
    profiles: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    shows: Mapping[str, re.Pattern[str]] = field(default_factory=dict)
    complaint: re.Pattern[str] | None = None
    violation: str | None = None
    modules: Mapping[str, SpecifierSet] = field(default_factory=dict)
    intermittent: tuple[str, ...] = ()

    def has(self, subject: Subject) -> bool:
        """Return whether what is tested has this bug, as far as its driver, device and versions say."""
        if subject.driver not in self.drivers or (self.profiles and subject.profile not in self.profiles):
            return False
        if subject.hardware and self.whose is Whose.QEMU:
            return False
        if subject.module is not None and self.whose is Whose.DRIVER:
            versions = self.modules.get(subject.module.replace("-", "_"))
            return versions is not None and _contains(versions, subject.module_version)
        return self.kernels.contains(kernel_version(subject.release), prereleases=True)

    def applies(self, requirement: str, subject: Subject, parameters: Collection[str] = ()) -> bool:
        """Return whether a failure of this requirement is expected here.

        Args:
            requirement: the requirement's id.
            subject: what is tested.
            parameters: of the test.
        """
        return (
            requirement in self.requirements
            and (not self.parameters or not set(self.parameters).isdisjoint(parameters))
            and self.has(subject)
        )

    def __str__(self) -> str:
        """Return title and link, one line, for the reports."""
        return f"{self.title}, {self.link}"


def kernel_version(release: str) -> Version:
    """Return the upstream part of ``uname -r``: ``7.3.4+deb13-amd64`` is 7.3.4, ``7.4.0-rc2-dirty`` is 7.4.0rc2.

    Raises:
        UsageError: the release does not begin with a version.
    """
    match = re.match(r"(\d+(?:\.\d+)+)(?:-(rc\d+))?", release)
    if match is None:
        raise UsageError(
            f"kernel release {release!r}: expected it to begin with a version such as 7.3.4; choose another --kernel"
        )
    return Version(match[1] + (match[2] or ""))


def _contains(versions: SpecifierSet, version: str | None) -> bool:
    """Whether a range has a module's version, of which the leading numbers count: ``24.10-0.5.5`` is 24.10."""
    if not len(versions):
        return True
    match = re.match(r"v?(\d+(?:\.\d+)*)", version or "")
    return match is not None and versions.contains(Version(match[1]))


_Wrong = Callable[[str], UsageError]


def load(path: Path = DEFAULT) -> tuple[KnownIssue, ...]:
    """Read a list of known issues.

    Raises:
        UsageError: the file is missing or malformed; the message shows the correct form.
    """
    return tuple(_issue(entry) for entry in _FORM.read(path))


def _issue(entry: ListEntry) -> KnownIssue:
    fields, wrong = entry.fields, entry.wrong
    requirements = entry.strings("requirement", alone=True)
    if not (requirements or "complaint" in fields or "violation" in fields):
        raise wrong("neither 'requirement' nor 'complaint' nor 'violation'")
    violation = fields.get("violation")
    if violation is not None and not (isinstance(violation, str) and _RULE.fullmatch(violation)):
        raise wrong(f"violation = {violation!r}")
    if not _TITLE.fullmatch(fields["title"]):
        raise wrong(f"the title {fields['title']!r}")
    if fields["whose"] not in set(Whose):
        raise wrong(f"whose = {fields['whose']!r}")
    where = entry.strings("where")
    for place in where:
        if not _WHERE.fullmatch(place):
            raise wrong(f"{place!r} in 'where'")
    if not fields["link"].startswith("https://"):
        raise wrong(f"the link {fields['link']!r}")
    intermittent = fields.get("intermittent", [])
    if isinstance(intermittent, bool):
        intermittent = list(requirements) if intermittent else []
    if not isinstance(intermittent, list) or not set(intermittent) <= set(requirements):
        raise wrong(f"intermittent = {intermittent!r}")
    modules = fields.get("modules", {})
    if not isinstance(modules, dict):
        raise wrong("no valid 'modules'")
    if modules and fields["whose"] != Whose.DRIVER:
        raise wrong(f"'modules', though whose = {fields['whose']!r} applies with every module")
    return KnownIssue(
        fields["title"],
        Whose(fields["whose"]),
        requirements,
        entry.strings("drivers"),
        entry.versions("kernels", fields["kernels"]),
        where,
        entry.paragraph("reason"),
        fields["link"],
        profiles=entry.strings("profiles"),
        parameters=entry.strings("parameters"),
        shows=_shows(fields.get("shows"), requirements, wrong),
        complaint=_pattern("complaint", fields["complaint"], wrong) if "complaint" in fields else None,
        violation=violation,
        modules={name.replace("-", "_"): entry.versions(f"modules.{name}", text) for name, text in modules.items()},
        intermittent=tuple(intermittent),
    )


def _shows(value: object, requirements: Sequence[str], wrong: _Wrong) -> dict[str, re.Pattern[str]]:
    """Return how an issue shows, by requirement."""
    if isinstance(value, str) and requirements:
        return dict.fromkeys(requirements, _pattern("shows", value, wrong))
    if value is None and not requirements:
        return {}
    if not isinstance(value, dict) or set(value) != set(requirements):
        raise wrong("no 'shows' that says for each of its requirements how it shows")
    return {identity: _pattern(f"shows.{identity}", text, wrong) for identity, text in value.items()}


def _pattern(key: str, text: object, wrong: _Wrong) -> re.Pattern[str]:
    """Compile a pattern, which must tell a symptom from another."""
    if not isinstance(text, str):
        raise wrong(f"{key} = {text!r}")
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise wrong(f"{key} = {text!r}, which is no regular expression: {error}") from error
    if any(pattern.search(probe) for probe in _PROBES):
        raise wrong(f"{key} = {text!r}, which matches any failure")
    return pattern


@dataclass(frozen=True)
class Expected:
    """What the known issues say of one test.

    Attributes:
        judgement: the verdict, `xfail` if an issue accounts for it.
        showed: the issue that accounts for it, or for what the kernel complained of while the test failed otherwise.
        applied: those that are listed for the test's requirement.
    """

    judgement: Judgement
    showed: KnownIssue | None = None
    applied: tuple[KnownIssue, ...] = ()

    def describe(self, requirement: str) -> dict[str, object]:
        """Return the fields of the journal's ``result`` event.

        Args:
            requirement: the test's.
        """
        named = self.showed or next(iter(self.applied), None)
        more = () if self.showed is None or self.showed in self.applied else (self.showed,)
        return {
            "known_issue": None if named is None else {"reason": named.title, "link": named.link},
            "expected": [
                {
                    "title": issue.title,
                    "link": issue.link,
                    "requirement": requirement if issue in self.applied else None,
                    "intermittent": issue not in self.applied or requirement in issue.intermittent,
                    "showed": issue is self.showed,
                }
                for issue in (*self.applied, *more)
            ],
        }


class KnownIssues:
    """The known issues of what a run tests."""

    def __init__(self, issues: Iterable[KnownIssue], subject: Subject) -> None:
        """Keep those that the subject has."""
        self._subject = subject
        self._issues = tuple(issue for issue in issues if issue.has(subject))

    def expect(
        self,
        found: Judgement,
        requirement: str,
        parameters: Collection[str] = (),
        problems: Sequence[str] = (),
        aside: Judgement | None = None,
        violations: Sequence[str] = (),
    ) -> Expected:
        """Return the verdict of a test in the light of what is known.

        An issue turns `fail`, `timeout` and `crash` into `xfail` if what was found is how it shows, but never `error`: a broken test
        shows nothing. It accounts for a crash only if issues account for all that the kernel complained of, and for the `fail` or
        `timeout` beside it: a known complaint hides no other failure of the same test.

        Args:
            found: the verdict without known issues.
            requirement: the test's.
            parameters: the test's.
            problems: what the kernel complained of, one line each.
            aside: the verdict had the kernel not complained; None if whatever else failed may follow from the complaints, as it does
                once the kernel is beyond use.
            violations: what the device noted of the driver, one line each, the rule first. If all are known they account for a `fail` or
                `timeout`, which is taken as their consequence.
        """
        applied = tuple(each for each in self._issues if each.applies(requirement, self._subject, parameters))
        if found.verdict not in (Verdict.FAIL, Verdict.TIMEOUT, Verdict.CRASH):
            listed = "; ".join(map(str, applied))
            passed = found.verdict is Verdict.PASS and listed
            return Expected(
                Judgement(found.verdict, f"known issue did not show: {listed}") if passed else found, None, applied
            )
        symptoms = problems if found.verdict is Verdict.CRASH else [found.reason]
        causes = [self._cause(symptom, requirement, applied, crashed=bool(problems)) for symptom in symptoms]
        if causes == [None] and not problems:
            causes = [self._violation(each.partition(" ")[0]) for each in violations] or [None]
        if causes and causes[0] is not None and None not in causes:
            if problems and aside is not None and aside.verdict in (Verdict.FAIL, Verdict.TIMEOUT):
                beside = self._cause(aside.reason, requirement, applied, crashed=False)
                if beside is None:
                    reason = f"{aside.reason} (the kernel also complained, as known: {causes[0]})"
                    return Expected(Judgement(aside.verdict, reason), causes[0], applied)
            reason = f"{causes[0]} (found: {found.verdict}: {found.reason})"
            return Expected(Judgement(Verdict.XFAIL, reason), causes[0], applied)
        if applied:
            found = Judgement(
                found.verdict, f"{found.reason} (a known issue is listed, but shows otherwise: {applied[0]})"
            )
        return Expected(found, None, applied)

    def _cause(
        self, symptom: str, requirement: str, applied: Sequence[KnownIssue], *, crashed: bool
    ) -> KnownIssue | None:
        for issue in applied:
            if issue.shows[requirement].search(symptom):
                return issue
        complaints = self._issues if crashed else ()
        return next((each for each in complaints if each.complaint and each.complaint.search(symptom)), None)

    def _violation(self, rule: str) -> KnownIssue | None:
        return next((each for each in self._issues if each.violation == rule), None)
