# SPDX-License-Identifier: GPL-2.0-or-later
"""A bundle that is not what was signed, or does not follow from its journals, is refused, and what is wrong is named."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_runs import KEY, VERDICTS, write_runs
from plugfest.certify import archive, bundle, certificate, envelope, verification
from plugfest.certify.archive import BundleArchive, BundleError, Member
from plugfest.certify.key import SigningKey
from plugfest.certify.verification import verify

STRANGER = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(32)))
Files = dict[str, bytes]


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that is sound."""
    folder = tmp_path_factory.mktemp("sound") / "results"
    write_runs(folder, [{}] * 3, [{}] * 3)
    bundle.make(folder, folder.with_name("bundle.tar"), KEY, driver="ixgbe")
    return folder.with_name("bundle.tar")


@pytest.fixture(scope="session")
def members(sound: Path) -> dict[str, Member]:
    with BundleArchive(sound) as found:
        return found.members


@pytest.fixture
def files(sound: Path) -> Files:
    """The files of a sound bundle, to be changed."""
    with BundleArchive(sound) as found:
        return {name: found.read(name, limit=1 << 24) for name in found.members}


@pytest.fixture
def refusal(tmp_path: Path) -> Callable[..., str]:
    """Writes a bundle of these files, and returns why it is refused."""

    def write(files: Files, **more: Any) -> str:
        path = tmp_path / "bundle.tar"
        archive.write(path, files)
        with pytest.raises(BundleError) as caught:
            verify(path, **more)
        message = str(caught.value)
        assert message.startswith(f"{path}: ")
        assert message.isprintable()
        return message.removeprefix(f"{path}: ")

    return write


def resigned(files: Files, key: SigningKey = KEY) -> Files:
    """Return the files with checksums and statement made anew, as someone does who has a key."""
    listed = {name: content for name, content in files.items() if name not in bundle.UNSUMMED}
    files["SHA256SUMS"] = bundle.sums({name: bundle._sha256(content) for name, content in listed.items()})
    statement = json.loads(base64.b64decode(json.loads(files["statement.dsse.json"])["payload"]))
    for each in statement["predicate"]["configuration"]:
        each["digest"]["sha256"] = bundle._sha256(files[each["name"]])
    return signed(files, statement, key)


def signed(files: Files, statement: Any, key: SigningKey = KEY) -> Files:
    files["statement.dsse.json"] = envelope.seal(json.dumps(statement, indent=1).encode() + b"\n", key)
    files["signer.pub"] = bundle.signer(key.public.line)
    return files


def rewritten(content: bytes, old: str, new: str) -> bytes:
    assert old.encode() in content
    return content.replace(old.encode(), new.encode())


def test_a_sound_bundle(sound: Path, members: dict[str, Member]) -> None:
    found = verify(sound, KEY.public)
    assert found.certificate.result == "WARNED"
    assert found.key.line == KEY.public.line
    assert found.files == len(members)
    assert found.same_program
    assert verify(sound).key.line == KEY.public.line


def test_another_key_than_the_trusted_one(sound: Path) -> None:
    with pytest.raises(BundleError, match=r"expected SHA256:.*, the key of --trust: someone else signed it"):
        verify(sound, STRANGER.public)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_changed_byte_is_named(
    tmp_path_factory: pytest.TempPathFactory, sound: Path, members: dict[str, Member], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(members)))
    member = members[name]
    # in the file's header, in its content, or in the padding after it
    place = data.draw(st.integers(member.offset - 512, member.offset + member.size + (-member.size % 512) - 1))
    changed = bytearray(sound.read_bytes())
    changed[place] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("changed") / "bundle.tar"
    path.write_bytes(changed)
    with pytest.raises(BundleError) as caught:
        verify(path, KEY.public)
    header_without_its_name = place < member.offset and ("after" in str(caught.value) or "first" in str(caught.value))
    renamed = place < member.offset and "was changed: " in str(caught.value)
    by_the_signer = name == "signer.pub" and "signed by" in str(caught.value)
    assert name in str(caught.value) or header_without_its_name or renamed or by_the_signer
    shutil.rmtree(path.parent)


def test_every_changed_file_is_named(files: Files, refusal: Callable[..., str]) -> None:
    files["run-1/report.html"] += b" "
    files["run-3/artifacts/XDP-XSK-12/console.txt"] = b""
    del files["run-2/junit.xml"]
    files["run-2/more.txt"] = b""
    assert refusal(files) == (
        "run-1/report.html was changed; run-3/artifacts/XDP-XSK-12/console.txt was changed; "
        "run-2/junit.xml is missing; run-2/more.txt was added"
    )


def test_many_changed_files_are_counted(files: Files, refusal: Callable[..., str]) -> None:
    for number in range(30):
        files[f"more/{number:02}"] = b""
    assert refusal(files).endswith("more/09 was added; and 20 more")


@pytest.mark.parametrize(
    "name",
    [
        "SHA256SUMS",
        "statement.dsse.json",
        "signer.pub",
        "testbed.json",
        "index.html",
        "run-1/journal.jsonl",
        "selftests/run-2/report.tap",
    ],
)
def test_a_missing_file_is_named(files: Files, refusal: Callable[..., str], name: str) -> None:
    del files[name]
    assert refusal(files) == f"{name} is missing"


def test_the_checksums_are_signed(files: Files, refusal: Callable[..., str]) -> None:
    files["run-1/report.html"] = b"All is well."
    listed = {name: content for name, content in files.items() if name not in bundle.UNSUMMED}
    files["SHA256SUMS"] = bundle.sums({name: bundle._sha256(content) for name, content in listed.items()})
    assert refusal(files) == "SHA256SUMS was changed"


def test_whoever_signs_anew_is_not_the_trusted_one(files: Files, refusal: Callable[..., str]) -> None:
    assert "the key of --trust: someone else signed it" in refusal(resigned(files, STRANGER), trusted=KEY.public)


def test_a_key_that_did_not_sign(files: Files, refusal: Callable[..., str]) -> None:
    files["signer.pub"] = bundle.signer(STRANGER.public.line)
    assert refusal(files).startswith("statement.dsse.json: the signature is not that of ")


@pytest.mark.parametrize(
    "content", [b"", b"ssh-ed25519 AAAA\n", KEY.public.line.encode() + b" a comment\n", b"\xff" * 100]
)
def test_what_is_no_key(files: Files, refusal: Callable[..., str], content: bytes) -> None:
    files["signer.pub"] = content
    assert refusal(files) == "signer.pub: expected an Ed25519 public key as plugfest writes it, found something else"


# What follows is signed with the vendor's own key: the journals must bear it out.


def test_a_report_that_does_not_follow_from_the_journal(files: Files, refusal: Callable[..., str]) -> None:
    found = json.loads(files["run-2/report.json"])
    found["results"][0]["verdict"] = "pass"
    files["run-2/report.json"] = json.dumps(found).encode()
    assert refusal(resigned(files)) == (
        "run-2/report.json does not follow from the journal: area/test_it.py::test_xdp_xsk_12 is 'pass' there, and xfail in the journal"
    )


def test_journals_in_which_a_verdict_was_changed(files: Files, refusal: Callable[..., str]) -> None:
    for number in (1, 2, 3):
        name = f"run-{number}/journal.jsonl"
        files[name] = rewritten(files[name], '"verdict": "xfail"', '"verdict": "pass"')
    assert refusal(resigned(files)).startswith("run-1/report.json does not follow from the journal: ")


def test_a_run_whose_verdict_was_changed(files: Files, refusal: Callable[..., str]) -> None:
    files["run-2/journal.jsonl"] = rewritten(files["run-2/journal.jsonl"], '"verdict": "xfail"', '"verdict": "fail"')
    assert refusal(resigned(files)) == "the runs certify nothing: XDP-XSK-12 (test_xdp_xsk_12) was xfail, fail, xfail"


def test_a_page_that_does_not_follow(files: Files, refusal: Callable[..., str]) -> None:
    files["index.html"] = rewritten(files["index.html"], "WARNED", "PASSED")
    assert refusal(resigned(files)) == "index.html does not follow from the journals"


def test_a_manifest_that_does_not_follow(files: Files, refusal: Callable[..., str]) -> None:
    files["testbed.json"] = rewritten(files["testbed.json"], "7.3.4+deb13-amd64", "7.4.0+deb13-amd64")
    assert refusal(resigned(files)) == "testbed.json does not follow from the journals"


def test_a_statement_that_does_not_follow(files: Files, refusal: Callable[..., str]) -> None:
    statement = json.loads(base64.b64decode(json.loads(files["statement.dsse.json"])["payload"]))
    statement["predicate"]["result"] = "PASSED"
    assert refusal(signed(files, statement)) == "the statement does not follow from the journals"


def test_an_artifact_that_the_report_names_is_missing(files: Files, refusal: Callable[..., str]) -> None:
    del files["run-3/artifacts/XDP-XSK-12/console.txt"]
    assert refusal(resigned(files)) == (
        "run-3/artifacts/XDP-XSK-12/console.txt is missing: the report of run-3 names it"
    )


def test_a_report_is_missing(files: Files, refusal: Callable[..., str]) -> None:
    del files["run-3/junit.xml"]
    assert refusal(resigned(files)) == "run-3/junit.xml is missing: the report of run-3 names it"


@pytest.mark.parametrize("run", ["run-2", "selftests/run-3"])
@pytest.mark.parametrize("name", ["report.html", "junit.xml", "report.tap"])
def test_a_report_for_people_or_ci_that_does_not_follow(
    files: Files, refusal: Callable[..., str], run: str, name: str
) -> None:
    files[f"{run}/{name}"] = rewritten(files[f"{run}/{name}"], "reason of", "no reason of")
    assert refusal(resigned(files)) == f"{run}/{name} does not follow from the journal"


def test_a_page_says_how_large_the_artifacts_are(files: Files, refusal: Callable[..., str]) -> None:
    files["run-1/artifacts/XDP-XSK-12/console.txt"] += b"More."
    assert refusal(resigned(files)) == "run-1/report.html does not follow from the journal"


def test_another_python_may_escape_the_same_report_otherwise(files: Files, tmp_path: Path) -> None:
    name = "run-1/junit.xml"
    files[name] = rewritten(files[name], "reason of LINK-FEC-01", "reason&#10;of&#x20;LINK-FEC-01")
    archive.write(tmp_path / "bundle.tar", resigned(files))
    assert verify(tmp_path / "bundle.tar").same_program


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("?>", '?><!DOCTYPE a [<!ENTITY b "c">]>'),
        ("?>", "?><!-- All is well. -->"),
        ("</testsuites>", ""),
        ("</testsuites>", "<testsuite/></testsuites>"),
        ('encoding="utf-8"', 'encoding="utf-16"'),
    ],
)
def test_xml_that_is_not_the_same(files: Files, refusal: Callable[..., str], old: str, new: str) -> None:
    files["run-1/junit.xml"] = rewritten(files["run-1/junit.xml"], old, new)
    assert refusal(resigned(files)) == "run-1/junit.xml does not follow from the journal"


@pytest.mark.parametrize(
    "name",
    [
        "run-1/README",
        "run-1/plan.json",
        "run-1/report.html.txt",
        "run-1/helpers.log",
        "run-1/artifacts/XDP-XSK-12/wire.pcap",
        "run-1/artifacts/XDP-XSK-12/output.txt",
        "run-1/guest-1/report.html",
        "selftests/run-1/guest-1/console.log",
        "selftests/run-1/artifacts/console.txt",
        "selftests/run-1/artifacts/ping/more.html",
    ],
)
def test_a_file_that_no_run_leaves(files: Files, refusal: Callable[..., str], name: str) -> None:
    files[name] = b""
    assert refusal(resigned(files)) == f"{name}: expected a file that the run left, found one that no report names"


def test_a_run_is_missing(files: Files, refusal: Callable[..., str]) -> None:
    left = {name: content for name, content in files.items() if not name.startswith("run-3/")}
    assert refusal(resigned(left)) == "expected the journals of 3 runs of the suite, found those of 2"


def test_a_run_of_upstreams_tests_is_missing(files: Files, refusal: Callable[..., str]) -> None:
    left = {name: content for name, content in files.items() if not name.startswith("selftests/run-2/")}
    assert refusal(resigned(left)) == "expected the journals of 3 runs of upstream's tests, found those of 2"


def test_all_runs_of_upstreams_tests_are_missing(files: Files, refusal: Callable[..., str]) -> None:
    left = {name: content for name, content in files.items() if not name.startswith("selftests/")}
    assert refusal(resigned(left)) == "the statement does not follow from the journals"


def test_a_verdict_in_the_journals_of_upstreams_tests_was_changed(files: Files, refusal: Callable[..., str]) -> None:
    name = "selftests/run-2/journal.jsonl"
    files[name] = rewritten(files[name], '"verdict": "xfail"', '"verdict": "pass"')
    assert refusal(resigned(files)) == (
        "the runs certify nothing: drivers/net/hw:irq.py (drivers/net/hw/irq.py[irqs]) was xfail, pass, xfail"
    )


def test_verdicts_in_all_journals_of_upstreams_tests_were_changed(files: Files, refusal: Callable[..., str]) -> None:
    for number in (1, 2, 3):
        name = f"selftests/run-{number}/journal.jsonl"
        files[name] = rewritten(files[name], '"verdict": "xfail"', '"verdict": "pass"')
    assert refusal(resigned(files)) == (
        "selftests/run-1/report.json does not follow from the journal: "
        "drivers/net/hw/irq.py[irqs] is 'xfail' there, and pass in the journal"
    )


def test_upstreams_tests_of_another_driver(files: Files, refusal: Callable[..., str]) -> None:
    for number in (1, 2, 3):
        name = f"selftests/run-{number}/journal.jsonl"
        files[name] = rewritten(files[name], '"driver": "ixgbe"', '"driver": "gve"')
    assert refusal(resigned(files)) == "the runs certify nothing: run-1 and selftests/run-1 differ in driver"


def test_an_artifact_of_upstreams_tests_is_missing(files: Files, refusal: Callable[..., str]) -> None:
    name = "selftests/run-3/artifacts/drivers-net-hw-irq.py-irqs-/console.txt"
    del files[name]
    assert refusal(resigned(files)) == f"{name} is missing: the report of selftests/run-3 names it"


def test_a_kind_that_no_run_has(files: Files, refusal: Callable[..., str]) -> None:
    for number in (1, 2, 3):
        name = f"selftests/run-{number}/journal.jsonl"
        files[name] = rewritten(files[name], '"kind": "selftests"', '"kind": "suite"')
    assert refusal(resigned(files, STRANGER)).startswith("the journals are none that plugfest writes: ")


@pytest.mark.parametrize(
    "name", ["more.txt", "repeat.json", "run-4/report.json", "selftests/repeat.json", "selftests/run-4/output.txt"]
)
def test_a_file_that_belongs_to_no_run(files: Files, refusal: Callable[..., str], name: str) -> None:
    files[name] = b""
    assert refusal(resigned(files)) == f"{name}: expected a file of a run, found one that belongs to none"


def test_runs_that_are_said_to_be_left_out_but_are_there(files: Files, refusal: Callable[..., str]) -> None:
    files["testbed.json"] = rewritten(
        files["testbed.json"], '"selftests_left_out": false', '"selftests_left_out": true'
    )
    assert refusal(resigned(files)) == "testbed.json does not follow from the journals"


class TestOfAnotherVersion:
    """A bundle that another plugfest made: its pages may differ, its verdicts may not."""

    @pytest.fixture
    def older(self, monkeypatch: pytest.MonkeyPatch, files: Files) -> Files:
        monkeypatch.setattr(verification.testbed, "tree_sha256", lambda folder: "ef" * 32)
        return files

    def test_it_is_sound(self, older: Files, tmp_path: Path) -> None:
        older["index.html"] += b"<!-- as it was then -->"
        older["testbed.json"] = rewritten(older["testbed.json"], "plugfest's model", "a model")
        archive.write(tmp_path / "bundle.tar", resigned(older))
        assert not verify(tmp_path / "bundle.tar", KEY.public).same_program

    def test_its_lists_are_not_called_the_signers(self, older: Files, sound: Path, monkeypatch, tmp_path: Path) -> None:
        for own in ("known_issues", "quarantine"):
            (tmp_path / own).write_text("as it is now")
        monkeypatch.setattr(
            certificate,
            "_LISTS",
            {own: (what, tmp_path / own) for own, (what, _) in certificate._LISTS.items()},
        )
        assert verify(sound).certificate.deviations == [
            f"{what} that is not this plugfest's: another plugfest made the runs, with its own or the signer's"
            for what in ("a list of known issues", "a quarantine")
        ]

    def test_its_verdicts_do_not_follow(self, older: Files, refusal: Callable[..., str]) -> None:
        older["run-1/report.json"] = rewritten(older["run-1/report.json"], '"verdict": "xfail"', '"verdict": "pass"')
        assert "run-1/report.json does not follow from the journal" in refusal(resigned(older))

    def test_its_statement_does_not_follow(self, older: Files, refusal: Callable[..., str]) -> None:
        statement = json.loads(base64.b64decode(json.loads(older["statement.dsse.json"])["payload"]))
        statement["predicate"]["passedTests"].append("XDP-XSK-12")
        assert refusal(signed(older, statement)) == "the statement does not follow from the journals"


# What a stranger may sign with a key of his own.


@pytest.mark.parametrize("schema", [1, 3, None, "1", [], 10**30])
def test_an_unknown_schema(files: Files, refusal: Callable[..., str], schema: object) -> None:
    found = json.loads(files["testbed.json"])
    found["schema"] = schema
    files["testbed.json"] = json.dumps(found).encode()
    assert refusal(resigned(files, STRANGER)).startswith("testbed.json: expected schema 2, found ")


@pytest.mark.parametrize(
    "statement",
    [
        {"_type": "https://in-toto.io/Statement/v2"},
        {},
        [],
        None,
        1,
        {"predicateType": "https://in-toto.io/attestation/test-result/v0.1"},
    ],
)
def test_an_unknown_statement(files: Files, refusal: Callable[..., str], statement: object) -> None:
    assert refusal(signed(files, statement, STRANGER)).startswith(
        "the statement: expected https://in-toto.io/attestation/test-result/v0.1, found "
    )


@pytest.mark.parametrize("content", [b"[" * 1_000_000, b"1" * 100_000, b"\xff\xfe", b"", b'{"schema": 1', b"nul"])
def test_giant_or_broken_json(files: Files, refusal: Callable[..., str], content: bytes) -> None:
    files["testbed.json"] = content
    assert refusal(resigned(files, STRANGER)) == "testbed.json: expected JSON, found something else"


JOURNALS = {
    "nothing": b"",
    "deep": b'{"event": "run", "time": ' + b"[" * 200_000 + b"\n{}\n",
    "no objects": b"1\n2\n",
    "no event": b"{}\n{}\n",
    "no time": b'{"event": "run"}\n{"event": "end"}\n',
    "time of text": b'{"event": "run", "time": "x"}\n{"event": "end", "time": 1}\n',
    "time without end": b'{"event": "run", "time": 1e999}\n{"event": "end", "time": 1}\n',
    "not utf-8": b"\xff\xff\n\xff\n",
    "a huge number": b'{"event": "run", "time": ' + b"9" * 100_000 + b"}\n{}\n",
}


@pytest.mark.parametrize("name", JOURNALS)
def test_journals_that_no_plugfest_wrote(files: Files, refusal: Callable[..., str], name: str) -> None:
    for number in (1, 2, 3):
        files[f"run-{number}/journal.jsonl"] = JOURNALS[name]
    assert "journal" in refusal(resigned(files, STRANGER))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_value_in_a_journal_is_harmless(sound: Path, tmp_path: Path, data: st.DataObject) -> None:
    with BundleArchive(sound) as found:
        files = {name: found.read(name, limit=1 << 24) for name in found.members}
    name = data.draw(st.sampled_from(["run-1/journal.jsonl", "selftests/run-1/journal.jsonl"]))
    lines = [json.loads(line) for line in files[name].splitlines()]
    event: Any = lines[data.draw(st.integers(0, len(lines) - 1))]
    key = data.draw(st.sampled_from(sorted(event)))
    while isinstance(event[key], dict) and event[key] and data.draw(st.booleans()):
        event = event[key]
        key = data.draw(st.sampled_from(sorted(event)))
    event[key] = data.draw(json_values)
    files[name] = "".join(json.dumps(line) + "\n" for line in lines).encode()
    archive.write(tmp_path / "bundle.tar", resigned(files, STRANGER))
    with suppress(BundleError):  # whatever else is raised, fails
        assert verify(tmp_path / "bundle.tar").certificate.suite.verdicts == VERDICTS


@pytest.mark.parametrize(
    "name",
    [
        "run-1/guest-x/journal.jsonl",
        "run-0/journal.jsonl",
        "run-1/artifacts/journal.jsonl",
        "journal.jsonl",
        "selftests/journal.jsonl",
        "selftests/run-1/guest-1/journal.jsonl",
        "selftests/run-0/journal.jsonl",
        "selftests/selftests/run-1/journal.jsonl",
        "upstream/run-1/journal.jsonl",
    ],
)
def test_a_journal_where_none_belongs(files: Files, refusal: Callable[..., str], name: str) -> None:
    files[name] = files["run-1/journal.jsonl"]
    assert refusal(resigned(files, STRANGER)) == f"{name}: expected no journal there"


def test_journals_that_are_too_large(
    files: Files, sound: Path, refusal: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them count: what they make is in memory together."""
    size = sum(len(content) for name, content in files.items() if name.endswith("journal.jsonl"))
    assert size > 5 * len(files["run-1/journal.jsonl"])
    monkeypatch.setattr(verification, "_JOURNALS", size)
    assert verify(sound).same_program
    monkeypatch.setattr(verification, "_JOURNALS", size - 1)
    assert refusal(files) == f"expected journals of at most {size - 1} bytes in all runs, found {size}"


def test_nothing_is_left_behind(
    files: Files, refusal: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    files["run-3/journal.jsonl"] = JOURNALS["no event"]
    refusal(resigned(files, STRANGER))
    assert list(scratch.iterdir()) == []


def test_an_escape_in_a_name_does_not_reach_the_terminal(files: Files, refusal: Callable[..., str]) -> None:
    journal = files["run-1/journal.jsonl"].splitlines(keepends=True)
    journal[-1:] = [
        b'{"event": "stopped", "time": 1800000000, "reason": "\\u001b[2J\\nAll is well", "exit_status": 1}\n'
    ]
    files["run-1/journal.jsonl"] = b"".join(journal)
    found = refusal(resigned(files, STRANGER))  # which must be printable
    assert found == "the runs certify nothing: run-1 is not complete: \\x1b[2J All is well"
