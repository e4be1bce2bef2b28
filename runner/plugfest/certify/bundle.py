# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes a bundle: the page for people, the runs with all that was kept of them, the manifest, the checksums, the signed statement."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from plugfest.certify import archive, envelope, page
from plugfest.certify.archive import BundleError
from plugfest.certify.certificate import MANIFEST, SUMS, Certificate, as_json, certificate_of
from plugfest.certify.group import RUNS, Kind
from plugfest.certify.key import SigningKey
from plugfest.certify.run_files import RunFiles
from plugfest.report import repetition, write
from plugfest.report.document import Document
from plugfest.run.testbed import file_sha256

ENVELOPE = "statement.dsse.json"
SIGNER = "signer.pub"
UNSUMMED = (SUMS, ENVELOPE, SIGNER)
"""The files that the list of checksums does not list: itself, and what depends on it."""


def make(folder: Path, target: Path, key: SigningKey, *, driver: str, selftests: bool = True) -> Certificate:
    """Make the bundle of the runs in a folder. Their reports are made again from the journals.

    Args:
        folder: with the runs of the suite, ``run-1`` …, and perhaps those of upstream's tests, ``selftests/run-1`` ….
        target: the file to write.
        key: who signs.
        driver: whose runs they must be.
        selftests: whether to take runs of upstream's tests that there are.

    Returns:
        What the bundle certifies.

    Raises:
        BundleError: the runs certify nothing; the message says why.
        InfrastructureError: a journal cannot be read, or the bundle cannot be written.
    """
    certificate, folders = read(folder, driver, selftests=selftests)
    files: dict[str, Path | bytes] = {}
    for run in certificate.runs:
        files |= {f"{run.folder}/{name}": path for name, path in _kept(folders[run.folder], run.document).items()}
    files[archive.FIRST] = page.render(certificate)
    files[MANIFEST] = as_json(certificate.manifest)
    files[SUMS] = sums({name: _sha256(content) for name, content in files.items()})
    statement = certificate.statement(
        {name: content for name in (MANIFEST, SUMS) if isinstance(content := files[name], bytes)}
    )
    files[ENVELOPE] = envelope.seal(statement, key)
    files[SIGNER] = signer(key.public.line)
    archive.write(target, files)
    return certificate


def read(folder: Path, driver: str, *, selftests: bool = True) -> tuple[Certificate, dict[str, Path]]:
    """Make the reports of the runs in a folder again; return what they certify, and their folders by name.

    Args:
        folder: as `make` takes it.
        driver: whose runs they must be.
        selftests: as `make` takes it.

    Raises:
        BundleError: they certify nothing; the message says why.
        InfrastructureError: a journal cannot be read.
    """
    upstream = folder / Kind.SELFTESTS.folder
    found = {kind: repetition.run_folders(folder / kind.folder) for kind in Kind}
    if selftests and upstream.exists() and not found[Kind.SELFTESTS]:
        raise BundleError(
            f"{upstream}: expected the runs of upstream's tests, {repetition.PREFIX}1 …, found none; {_advice(upstream, driver)}"
        )
    left_out = not selftests and bool(found.pop(Kind.SELFTESTS))
    folders = {f"{kind.folder}{each.name}": each for kind, runs in found.items() for each in runs}
    documents = {name: write.write_reports(each) for name, each in folders.items()}
    certificate = certificate_of(documents, left_out=left_out)
    for run in certificate.runs:
        if run.document["run"]["driver"] != driver:
            raise BundleError(
                f"{folder}: expected runs of {driver}, found {run.folder} of {run.document['run']['driver']}"
            )
    if certificate.objections:
        short = certificate.selftests is not None and certificate.selftests.short and not certificate.suite.objections
        more = [_advice(upstream, driver)] if short else []
        raise BundleError(f"{folder}: no certificate: {'; '.join([*certificate.objections, *more])}")
    return certificate, folders


def _advice(upstream: Path, driver: str) -> str:
    """Return what to do about runs of upstream's tests that ended early, or are not where they belong."""
    return (
        f"remove {upstream}, then: plugfest selftests {driver} --repeat {RUNS} --shuffle --output {upstream}, "
        "with the options of the suite's runs; or leave upstream's tests out: --no-selftests"
    )


def _kept(folder: Path, document: Document) -> dict[str, Path]:
    """Return the files of a run that go into a bundle, by name: what is no run's, or says where things are here, does not.

    Raises:
        BundleError: there is a link or a device among them, which no run writes.
    """
    files = RunFiles(document)
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise BundleError(f"{path}: expected a file that the run wrote, found another kind of file; remove it")
        name = str(path.relative_to(folder))
        if path.is_file() and files.have(name):
            found[name] = path
    return found


def sums(hashes: Mapping[str, str]) -> bytes:
    """Return the list of checksums, which ``sha256sum --check`` reads.

    Args:
        hashes: the SHA-256 of each file, by name.
    """
    return "".join(f"{hashes[name]}  {name}\n" for name in sorted(hashes, key=archive.order)).encode()


def signer(line: str) -> bytes:
    """Return the file with the public key."""
    return line.encode() + b"\n"


def _sha256(content: Path | bytes) -> str:
    return hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else file_sha256(content)
