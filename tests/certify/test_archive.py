# SPDX-License-Identifier: GPL-2.0-or-later
"""The archive of a bundle: one encoding, and nothing else is read."""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plugfest.certify import archive
from plugfest.certify.archive import BundleArchive, BundleError

FILES: dict[str, bytes] = {
    "index.html": b"<!DOCTYPE html>",
    "SHA256SUMS": b"x" * 512,
    "run-1/journal.jsonl": b"{}\n" * 400,
    "run-1/artifacts/" + "a" * 120 + "/attempt-2/wire.pcap": bytes(range(256)),
    "run-2/empty": b"",
}
LONG = "run-1/artifacts/" + "a" * 120 + "/attempt-2/wire.pcap"

quick = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def made(folder: Path, files: dict[str, bytes] | None = None) -> Path:
    path = folder / "bundle.tar"
    archive.write(path, FILES if files is None else files)
    return path


@cache
def whole_archive() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return made(Path(folder)).read_bytes()


@cache
def members() -> dict[str, archive.Member]:
    with tempfile.TemporaryDirectory() as folder, BundleArchive(made(Path(folder))) as found:
        return found.members


def contents(path: Path) -> dict[str, bytes]:
    with BundleArchive(path) as found:
        return {name: found.read(name, limit=1 << 20) for name in found.members}


def refusal(path: Path) -> str:
    with pytest.raises(BundleError) as caught, BundleArchive(path):
        pass
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    found = contents(made(tmp_path))
    assert found == FILES
    assert list(found) == ["index.html", "SHA256SUMS", LONG, "run-1/journal.jsonl", "run-2/empty"]


def test_tar_reads_it(tmp_path: Path) -> None:
    with tarfile.open(made(tmp_path)) as found:
        assert {member.name: found.extractfile(member).read() for member in found} == FILES


def test_the_same_files_make_the_same_bytes(tmp_path: Path) -> None:
    for name, content in reversed(FILES.items()):
        file = tmp_path / "files" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        file.chmod(0o600)
        os.utime(file, (len(name), len(name)))
    archive.write(tmp_path / "a.tar", {name: tmp_path / "files" / name for name in reversed(FILES)})
    assert (tmp_path / "a.tar").read_bytes() == made(tmp_path).read_bytes()


names = st.from_regex(
    r"[A-Za-z0-9_][A-Za-z0-9._=+-]{0,30}(/[A-Za-z0-9_=+-][A-Za-z0-9._=+-]{0,60}){0,3}", fullmatch=True
)


@settings(quick, max_examples=50)
@given(st.dictionaries(names, st.binary(max_size=1200), min_size=1, max_size=5))
def test_any_files_come_back(tmp_path: Path, files: dict[str, bytes]) -> None:
    parents = {str(parent) for name in files for parent in Path(name).parents}
    if parents & set(files):
        archive.write(tmp_path / "bundle.tar", files)
        assert "a file that is a folder, too" in refusal(tmp_path / "bundle.tar")
    else:
        assert contents(made(tmp_path, files)) == files


@quick
@given(data=st.data())
def test_a_changed_byte_is_refused_or_shows_in_its_file_alone(tmp_path: Path, data: st.DataObject) -> None:
    path, whole = tmp_path / "bundle.tar", whole_archive()
    place = data.draw(st.integers(0, len(whole) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda value: value != whole[place]))
    path.write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
    try:
        found = contents(path)
    except BundleError:
        return
    assert list(found) == sorted(FILES, key=archive.order)
    assert [name for name in FILES if found[name] != FILES[name]] == [
        name for name, member in members().items() if member.offset <= place < member.offset + member.size
    ]


@quick
@given(data=st.data())
def test_a_missing_or_added_byte_is_refused(tmp_path: Path, data: st.DataObject) -> None:
    path, whole = tmp_path / "bundle.tar", whole_archive()
    place = data.draw(st.integers(0, len(whole)))
    added = data.draw(st.binary(max_size=600))
    removed = data.draw(st.integers(0 if added else 1, 600))
    changed = whole[:place] + added + whole[place + removed :]
    if len(changed) == len(whole):
        return
    path.write_bytes(changed)
    try:
        found = contents(path)
    except BundleError:
        return
    assert found != FILES


@quick
@given(st.binary(max_size=4096))
def test_no_bytes_at_all_do_harm(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "bundle.tar"
    path.write_bytes(data)
    refusal(path)


def changed(path: Path, change: Callable[[tarfile.TarInfo], None]) -> Path:
    """Write an archive as tar does, with one member that is not as ours are."""
    info = tarfile.TarInfo("run-1/file")
    info.size = 3
    change(info)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as out:
        out.addfile(info, io.BytesIO(b"abc") if info.isreg() else None)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "../../etc/passwd"}, "expected a plain relative path, found '../../etc/passwd'"),
        ({"name": "run-1/../../x"}, "expected a plain relative path"),
        ({"name": "/etc/passwd"}, "expected a plain relative path, found '/etc/passwd'"),
        ({"name": "run-1//x"}, "expected a plain relative path"),
        ({"name": "run-1/./x"}, "expected a plain relative path"),
        ({"name": ".bashrc"}, "expected a plain relative path"),
        ({"name": "run-1\\..\\x"}, "expected a plain relative path"),
        ({"name": "run-1/\x1b[2Jx"}, r"found 'run-1/\x1b[2Jx'"),
        ({"type": tarfile.SYMTYPE, "linkname": "/etc/passwd", "size": 0}, "was changed: typeflag, linkname"),
        ({"type": tarfile.LNKTYPE, "linkname": "index.html", "size": 0}, "was changed: typeflag, linkname"),
        ({"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3, "size": 0}, "typeflag, devmajor, devminor"),
        ({"type": tarfile.BLKTYPE, "size": 0}, "was changed: typeflag"),
        ({"type": tarfile.FIFOTYPE, "size": 0}, "was changed: typeflag"),
        ({"type": tarfile.DIRTYPE, "size": 0}, "expected a plain relative path, found 'run-1/file/'"),
        ({"type": tarfile.CONTTYPE}, "was changed: typeflag"),
        ({"type": tarfile.GNUTYPE_SPARSE}, "was changed: typeflag"),
        ({"type": tarfile.XHDTYPE}, "was changed: typeflag"),
        ({"mode": 0o4755}, "the header of run-1/file was changed: mode"),
        ({"uid": 1, "uname": "root"}, "the header of run-1/file was changed: uid, uname"),
        ({"mtime": 1_790_000_000}, "the header of run-1/file was changed: mtime"),
    ],
)
def test_what_is_no_plain_file_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    def set_all(info: tarfile.TarInfo) -> None:
        for name, value in change.items():
            setattr(info, name, value)

    assert message in refusal(changed(tmp_path / "bundle.tar", set_all))


def test_a_size_that_no_file_has_is_refused(tmp_path: Path) -> None:
    path = made(tmp_path)
    whole = bytearray(path.read_bytes())
    whole[124:136] = b"\x80" + b"\xff" * 11  # GNU tar's base 256: 2 to the power of 95
    path.write_bytes(whole)
    assert "the header of index.html: expected a size" in refusal(path)
    whole[124:136] = b"77777777777\0"
    path.write_bytes(whole)
    assert "the header of index.html was changed" in refusal(path) or "cut short" in refusal(path)


def test_a_file_twice_is_refused(tmp_path: Path) -> None:
    path = made(tmp_path)
    whole = path.read_bytes()
    first = whole[:1024]
    path.write_bytes(first + whole)
    assert refusal(path) == "index.html is there twice"


def test_files_out_of_order_are_refused(tmp_path: Path) -> None:
    archive.write(tmp_path / "bundle.tar", {"a": b"", "b": b""})
    whole = (tmp_path / "bundle.tar").read_bytes()
    (tmp_path / "bundle.tar").write_bytes(whole[512:1024] + whole[:512] + whole[1024:])
    assert refusal(tmp_path / "bundle.tar") == "a is there after b, out of order"


def test_a_file_that_is_a_folder_too_is_refused(tmp_path: Path) -> None:
    archive.write(tmp_path / "bundle.tar", {"a": b"", "a-b": b"", "a/x": b""})  # a-b stands between the two
    assert refusal(tmp_path / "bundle.tar") == "a/x: expected a file in a folder, found a file that is a folder, too"


def test_what_follows_the_end_is_refused(tmp_path: Path) -> None:
    path = made(tmp_path)
    path.write_bytes(path.read_bytes() + bytes(512))
    assert refusal(path) == "512 bytes were added after its end"


def test_an_archive_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    path = made(tmp_path)
    path.write_bytes(path.read_bytes()[:-700])
    assert refusal(path) == "it is cut short: it ends within the header of the file after run-2/empty"


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "bundle.tar"
    with path.open("wb") as file:
        file.truncate(archive.LARGEST + 1)  # holes: it takes no space
    assert refusal(path) == f"expected at most {archive.LARGEST} bytes, found {archive.LARGEST + 1}"


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST", 4)
    assert refusal(made(tmp_path)) == "expected at most 4 files, found more"


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert refusal(tmp_path / "fifo") == "expected a regular file, found another kind"
    assert refusal(tmp_path).startswith("expected ")
    assert refusal(tmp_path / "none") == "expected a bundle, found: No such file or directory; name the file of one"


def test_a_file_larger_than_its_reader_wants_is_refused(tmp_path: Path) -> None:
    with (
        BundleArchive(made(tmp_path)) as found,
        pytest.raises(BundleError, match="SHA256SUMS: expected at most 511 bytes, found 512"),
    ):
        found.read("SHA256SUMS", limit=511)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = made(tmp_path)
    with BundleArchive(path) as found:
        with path.open("r+b") as file:
            file.seek(found.members["SHA256SUMS"].offset)
            file.write(b"y")
        with pytest.raises(BundleError, match="SHA256SUMS changed while the bundle was read"):
            found.read("SHA256SUMS", limit=1 << 20)


@pytest.mark.parametrize("name", ["../x", "/x", ".x", "x y", "x/" + "a" * 101, "ü"])
def test_a_name_that_no_bundle_has_is_not_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleError, match="expected a plain relative path"):
        archive.write(tmp_path / "bundle.tar", {name: b""})
    assert list(tmp_path.iterdir()) == []
