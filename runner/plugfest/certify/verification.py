# SPDX-License-Identifier: GPL-2.0-or-later
"""Verifies a bundle. It may come from anyone: nothing of it is run, rendered to people, or unpacked outside of a scratch folder."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from xml.etree import ElementTree

from plugfest.certify import envelope, page
from plugfest.certify.archive import FIRST, BundleArchive, BundleError, Member
from plugfest.certify.bundle import ENVELOPE, SIGNER, UNSUMMED, signer, sums
from plugfest.certify.certificate import (
    MANIFEST,
    MANIFEST_SCHEMA,
    PREDICATE_TYPE,
    STATEMENT_TYPE,
    SUMS,
    Certificate,
    as_json,
    certificate_of,
)
from plugfest.certify.group import RUNS, Kind
from plugfest.certify.key import PublicKey, public_key
from plugfest.certify.run_files import RunFiles
from plugfest.report import document, html, junit, tap
from plugfest.report.document import Document
from plugfest.report.repetition import Run
from plugfest.report.text import printable
from plugfest.run import journal, testbed

_Result = TypeVar("_Result")

_MIB = 1 << 20
_SMALL, _LARGE = 4 * _MIB, 16 * _MIB
"""Bytes of the largest statement, manifest or list of checksums, and of the largest report or page, that are read."""
_JOURNALS = 48 * _MIB
"""Bytes of the journals of all runs, of both kinds, that are read. The reports that they make are in memory together, and Python takes
some 30 bytes for each of JSON: at most 1.4 GiB. Those of a whole run of the suite have 2 MiB; a case of upstream's tests has some 4 KiB,
10 if it failed twice, and a run some hundred cases."""

_PLACES = (
    re.compile(r"(run-[1-9][0-9]{0,3})/(guest-[1-9][0-9]{0,3}/)?journal\.jsonl"),
    re.compile(r"(selftests/run-[1-9][0-9]{0,3})/journal\.jsonl"),
)
"""Where the journals of the suite are, and of upstream's tests, which have one guest at a time."""
_OWN = frozenset({FIRST, MANIFEST, *UNSUMMED})
"""The files that are no run's."""
_SUM = re.compile(r"([0-9a-f]{64})  (\S+)")
_SHOWN = 10
"""How many files a message names."""


@dataclass(frozen=True)
class Verified:
    """A bundle that is sound.

    Attributes:
        certificate: what it certifies, as it follows from the journals.
        key: of who signed it.
        files: how many it has.
        same_program: whether the plugfest that made it is this one, and the reports of each run, the page and the manifest were made again
            and compared. If not, the verdicts and the statement were compared, but what another version words differently only by its hash.
            Logs, captures and traces, and the pages that show these, follow from no journal: their hashes alone were compared.
    """

    certificate: Certificate
    key: PublicKey
    files: int
    same_program: bool


def verify(path: Path, trusted: PublicKey | None = None) -> Verified:
    """Verify a bundle: the archive, who signed, each file's hash, that none is missing or added, and that all follows from the journals.

    Args:
        path: of the bundle.
        trusted: whose signature is wanted; None for anyone's.

    Raises:
        BundleError: it is not sound; the message names what is wrong.
    """
    with BundleArchive(path) as found:
        try:
            return _verify(found, trusted)
        except BundleError as error:
            # It may have what a stranger wrote, on its way to a terminal.
            text = printable(str(error).removeprefix(f"{path}: "))
            raise BundleError(f"{path}: {text}") from error


def _verify(found: BundleArchive, trusted: PublicKey | None) -> Verified:
    key = _key(found, trusted)
    payload = envelope.unseal(found.read(ENVELOPE, limit=_SMALL), key, ENVELOPE)
    statement = _statement(payload)
    _check_files(found, statement)
    manifest = _parsed(found.read(MANIFEST, limit=_SMALL), MANIFEST)
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    if schema != MANIFEST_SCHEMA:
        raise BundleError(
            f"{MANIFEST}: expected schema {MANIFEST_SCHEMA}, found {str(schema)[:40]!r}; verify it with the plugfest that made it"
        )
    # What stands in a journal of a stranger may be anything, and so may be what comes of it on the way.
    left_out = manifest.get("selftests_left_out") is True
    certificate = _guarded(lambda: _certificate(found, left_out), "the journals are none that plugfest writes")
    same = _guarded(
        lambda: certificate.same_program,
        "the journals have no testbed that plugfest writes",
    )
    _guarded(
        lambda: _check_contents(found, certificate, statement, payload, same), "the runs are none that plugfest makes"
    )
    return Verified(certificate, key, len(found.members), same)


def _key(found: BundleArchive, trusted: PublicKey | None) -> PublicKey:
    content = found.read(SIGNER, limit=_SMALL)
    key = public_key(content)
    if key is None or content != signer(key.line):
        raise BundleError(f"{SIGNER}: expected an Ed25519 public key as plugfest writes it, found something else")
    if trusted is not None and trusted.line != key.line:
        raise BundleError(
            f"signed by {key.fingerprint}, expected {trusted.fingerprint}, the key of --trust: someone else signed it, or changed {SIGNER}"
        )
    return key


def _statement(payload: bytes) -> Mapping[str, Any]:
    statement = _parsed(payload, "the statement")
    kinds = (statement.get("_type"), statement.get("predicateType")) if isinstance(statement, dict) else (None, None)
    if kinds != (STATEMENT_TYPE, PREDICATE_TYPE):
        raise BundleError(f"the statement: expected {PREDICATE_TYPE}, found {str(kinds[1])[:80]!r}")
    checked: Mapping[str, Any] = statement
    return checked


def _parsed(content: bytes, name: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{name}: expected JSON, found something else") from error


def _check_files(found: BundleArchive, statement: Mapping[str, Any]) -> None:
    """Compare each file's hash with the list of checksums, and the list's own with the signed statement.

    Raises:
        BundleError: a file was changed, added or removed; the message names them.
    """
    listed = found.members.get(SUMS)
    wanted = _guarded(
        lambda: {each["name"]: each["digest"]["sha256"] for each in statement["predicate"]["configuration"]},
        "the statement has no configuration that plugfest writes",
    )
    if listed is None or wanted.get(SUMS) != listed.sha256:
        raise BundleError(f"{SUMS} {'is missing' if listed is None else 'was changed'}")
    content = found.read(SUMS, limit=_SMALL)
    lines = [_SUM.fullmatch(line) for line in content.decode("ascii", "replace").splitlines()]
    hashes = {line[2]: line[1] for line in lines if line is not None}
    if sums(hashes) != content:
        raise BundleError(f"{SUMS}: expected lines of sha256sum, found something else")
    present = {name: member.sha256 for name, member in found.members.items() if name not in UNSUMMED}
    problems = [
        *(f"{name} was changed" for name in present if name in hashes and present[name] != hashes[name]),
        *(f"{name} is missing" for name in hashes if name not in present),
        *(f"{name} was added" for name in present if name not in hashes),
    ]
    if problems:
        more = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise BundleError("; ".join([*problems[:_SHOWN], *more]))


def _certificate(found: BundleArchive, left_out: bool) -> Certificate:
    """Make the reports again, from the journals alone; only the signer knows of runs that are not there."""
    runs: dict[str, list[str]] = {}
    for name in found.members:
        match = next(filter(None, (pattern.fullmatch(name) for pattern in _PLACES)), None)
        if match is not None:
            runs.setdefault(match[1], []).append(name)
        elif name.rpartition("/")[2] == journal.NAME:
            raise BundleError(f"{name}: expected no journal there")
    _check_runs(runs)
    _check_places(found, runs)
    size = sum(found.members[name].size for names in runs.values() for name in names)
    if size > _JOURNALS:
        raise BundleError(f"expected journals of at most {_JOURNALS} bytes in all runs, found {size}")
    documents = {}
    for run, names in runs.items():
        # Names that `BundleArchive` accepts, and this pattern, lead nowhere else.
        with tempfile.TemporaryDirectory(prefix="plugfest-verify-") as scratch:
            for name in names:
                target = Path(scratch, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(found.read(name, limit=_JOURNALS))
            made = document.build(journal.read(Path(scratch, run)))
        document.validate(made, run)
        documents[run] = made
    return certificate_of(documents, left_out=left_out)


def _check_runs(runs: Collection[str]) -> None:
    """Check that there are as many runs of the suite as there must be, and as many of upstream's tests, or none of these."""
    upstream = [run for run in runs if run.startswith(Kind.SELFTESTS.folder)]
    for kind, count in ((Kind.SUITE, len(runs) - len(upstream)), (Kind.SELFTESTS, len(upstream))):
        if count != RUNS and (count or kind is Kind.SUITE):
            raise BundleError(f"expected the journals of {RUNS} runs of {kind.what}, found those of {count}")


def _check_places(found: BundleArchive, runs: Collection[str]) -> None:
    """Check that each file is the bundle's own or lies in the folder of a run."""
    for name in found.members:
        if name not in _OWN and not any(name.startswith(f"{run}/") for run in runs):
            raise BundleError(f"{name}: expected a file of a run, found one that belongs to none")


def _check_contents(
    found: BundleArchive, certificate: Certificate, statement: Mapping[str, Any], payload: bytes, same: bool
) -> None:
    """Compare the bundle with what its journals make.

    Raises:
        BundleError: something does not follow from them, or is not complete.
    """
    if certificate.objections:
        raise BundleError(f"the runs certify nothing: {'; '.join(certificate.objections)}")
    for run in certificate.runs:
        _check_run_files(found, run, same=same)
        report = _parsed(found.read(f"{run.folder}/report.json", limit=_LARGE), f"{run.folder}/report.json")
        if (report != run.document) if same else (_verdicts(report) != _verdicts(run.document)):
            raise BundleError(
                f"{run.folder}/report.json does not follow from the journal: {_difference(report, run.document)}"
            )
        if same:
            _check_reports(found, run)
    files = {name: found.read(name, limit=_SMALL) for name in (MANIFEST, SUMS)}
    manifest = as_json(certificate.manifest)  # made of any bundle: whoever prints what it certifies needs it
    made = json.loads(certificate.statement(files))
    if not same:
        # Another version may word the manifest in its way; who signed answers for it.
        if {
            **made,
            "predicate": {**made["predicate"], "configuration": statement["predicate"]["configuration"]},
        } != statement:
            raise BundleError("the statement does not follow from the journals")
        return
    if certificate.statement(files) != payload:
        raise BundleError("the statement does not follow from the journals")
    if files[MANIFEST] != manifest:
        raise BundleError(f"{MANIFEST} does not follow from the journals")
    if found.read(FIRST, limit=_LARGE) != page.render(certificate):
        raise BundleError(f"{FIRST} does not follow from the journals")


def _check_run_files(found: BundleArchive, run: Run, *, same: bool) -> None:
    """Check that a run has the files that it must have; of this plugfest's, also that it has no others, and that its reports are those that
    its journals make.
    """
    files, there = RunFiles(run.document), _members(found, run)
    for name in files.required:
        if name not in there:
            raise BundleError(f"{run.folder}/{name} is missing: the report of {run.folder} names it")
    config = there.get(testbed.CONFIG)
    if config is not None and config.sha256 != run.document["run"]["testbed"]["kernel"]["config"]:
        raise BundleError(f"{config.name} is not the configuration that the journal names")
    if not same:
        return
    for name, member in there.items():
        if not files.have(name):
            raise BundleError(f"{member.name}: expected a file that the run left, found one that no report names")


def _check_reports(found: BundleArchive, run: Run) -> None:
    """Compare the reports that are not JSON with those that the run's journals make."""
    for name, text in (
        ("junit.xml", junit.render(run.document)),
        ("report.tap", tap.render(run.document)),
        ("report.html", _report_page(found, run)),
    ):
        theirs, ours = found.read(f"{run.folder}/{name}", limit=_LARGE), text.encode()
        if theirs != ours and not (name == "junit.xml" and _elements(theirs) == _elements(ours)):
            raise BundleError(f"{run.folder}/{name} does not follow from the journal")


def _report_page(found: BundleArchive, run: Run) -> str:
    """Make ``report.html`` again. It says which files the run has, and how large they are: holes stand in for their contents."""
    with tempfile.TemporaryDirectory(prefix="plugfest-verify-") as scratch:
        for name, member in _members(found, run).items():
            target = Path(scratch, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                file.truncate(member.size)
        return html.render(run.document, Path(scratch))


def _members(found: BundleArchive, run: Run) -> dict[str, Member]:
    """Return a run's files by their paths in its folder."""
    prefix = f"{run.folder}/"
    return {name.removeprefix(prefix): each for name, each in found.members.items() if name.startswith(prefix)}


def _elements(content: bytes) -> list[object] | None:
    """Return what a report in XML says, however the signer's Python escaped newlines and quotes; None if it is none of plugfest's.

    One with a document type, which could define entities, is none.
    """
    if not content.startswith(b'<?xml version="1.0" encoding="utf-8"?>') or b"<!" in content:
        return None
    try:
        root = ElementTree.fromstring(content)  # noqa: S314 - without a document type there is nothing to expand
    except ElementTree.ParseError:
        return None
    return [
        (each.tag, len(each), {key: value.split() for key, value in each.items()}, _words(each.text), _words(each.tail))
        for each in root.iter()
    ]


def _words(text: str | None) -> list[str]:
    return (text or "").split()


def _verdicts(report: Document) -> dict[str, Any]:
    return {
        "complete": report["run"]["complete"],
        "summary": report["summary"],
        **{result["test"]: (result["requirement"], result["verdict"]) for result in report["results"]},
    }


def _difference(report: Document, made: Document) -> str:
    """Return in which verdict a report differs from the one that the journal makes, or that it does in something else."""
    theirs, ours = _verdicts(report), _verdicts(made)
    for test in ours:
        if theirs.get(test) != ours[test] and test not in ("complete", "summary"):
            return f"{test} is {theirs.get(test, ('', 'missing'))[1]!r} there, and {ours[test][1]} in the journal"
    return "a part other than the verdicts"


def _guarded(work: Callable[[], _Result], message: str) -> _Result:
    """Do what may fail in any way on what a stranger wrote.

    Raises:
        BundleError: it failed.
    """
    try:
        return work()
    except BundleError:
        raise
    except Exception as error:
        raise BundleError(f"{message}: {type(error).__name__}: {' '.join(str(error).split())[:200]}") from error
