# SPDX-License-Identifier: GPL-2.0-or-later
"""What the command line or a folder of pending series asks to be judged."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from plugfest.errors import UsageError
from plugfest.patch.queue import Series, Submission, pending, read, submission, submissions


def names(found: list[Submission]) -> dict[str, list[str]]:
    return {each.name: [series.name for series in each.series] for each in found}


def test_each_series_alone_then_all_together(tmp_path: Path) -> None:
    (tmp_path / "20-second.mbox").write_text("two")
    (tmp_path / "10-first").mkdir()
    (tmp_path / "10-first/0002-b.patch").write_text("b")
    (tmp_path / "10-first/0001-a.patch").write_text("a")
    (tmp_path / "10-first/README").write_text("no patch")
    (tmp_path / "30-third.mbox.gz").write_bytes(gzip.compress(b"three"))
    (tmp_path / ".hidden.patch").write_text("hidden")
    (tmp_path / "notes").write_text("notes")
    found = submissions(tmp_path)
    assert names(found) == {
        "10-first": ["10-first"],
        "20-second": ["20-second"],
        "30-third": ["30-third"],
        "together": ["10-first", "20-second", "30-third"],
    }
    assert found[0].series[0].texts == (("0001-a.patch", b"a"), ("0002-b.patch", b"b"))
    assert found[2].series[0].texts == (("30-third.mbox.gz", b"three"),)


def test_a_queue_of_one_has_no_together(tmp_path: Path) -> None:
    (tmp_path / "only.patch").write_text("x")
    assert names(submissions(tmp_path)) == {"only": ["only"]}


def test_an_empty_queue(tmp_path: Path) -> None:
    (tmp_path / "notes").touch()
    with pytest.raises(UsageError, match=r"expected files or folders of patches .*, found none"):
        submissions(tmp_path)


def test_names_that_would_share_a_folder(tmp_path: Path) -> None:
    for name in ("a.patch", "a.mbox", "before.patch", "c.patch"):
        (tmp_path / name).touch()
    assert list(names(submissions(tmp_path))) == ["a.mbox", "a.patch", "before.patch", "c", "together"]
    (tmp_path / "together").mkdir()
    with pytest.raises(UsageError, match="expected no series of the name together, found one; rename it"):
        submissions(tmp_path)


def test_what_is_pending_may_be_anything(tmp_path: Path) -> None:
    """It is read when it is judged: what is wrong with one costs none of the others."""
    (tmp_path / "torn.mbox.gz").write_bytes(gzip.compress(b"x" * 9999)[:-9])
    (tmp_path / "series").mkdir()
    (tmp_path / "series/1.patch").write_text("a patch")
    series, torn = pending(tmp_path)
    assert (series.name, series.path, torn.name) == ("series", tmp_path / "series", "torn")
    assert read(series.path) == Series("series", (("1.patch", b"a patch"),))
    with pytest.raises(UsageError, match=r"torn\.mbox\.gz: expected mails or a diff"):
        read(torn.path)
    with pytest.raises(UsageError, match="none: expected a folder of pending series, found: No such file"):
        pending(tmp_path / "none")


def test_a_pending_series_that_changes(tmp_path: Path) -> None:
    path = tmp_path / "series"
    path.mkdir()
    for name, text in (("1.patch", "ab"), ("2.patch", "c"), ("notes", "")):
        (path / name).write_text(text)
    (series,) = pending(tmp_path)
    assert not series.changed
    (path / "notes").write_text("more")
    assert not series.changed, "it is no part of it"
    (path / "1.patch").write_text("a")
    (path / "2.patch").write_text("bc")
    assert series.changed
    path.rename(tmp_path / "gone")
    assert series.changed


def test_files_of_the_command_line_are_one_series_in_their_order(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / name).write_text(name)
    found = submission([str(tmp_path / "b"), str(tmp_path / "a")], tmp_path)
    assert [text for _, text in found.series[0].texts] == [b"b", b"a"]
    assert found.name == "after"


def test_what_is_neither_file_nor_range(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.mbox: expected a mail, a mailbox, a diff, .* or a range of commits"):
        submission(["none.mbox"], tmp_path)
    with pytest.raises(UsageError, match=r"expected a git tree, found none"):
        submission(["a..b"], tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match="found a folder beside others; give it alone"):
        submission([str(tmp_path / "folder")], tmp_path)


def test_a_mailbox_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "a.mbox.gz"
    path.write_bytes(gzip.compress(b"x" * 9999)[:-9])
    with pytest.raises(UsageError, match=r"a\.mbox\.gz: expected mails or a diff, found: Compressed file ended"):
        submission([str(path)], tmp_path)


def test_a_mailbox_that_unpacks_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plugfest.patch.queue._LARGEST", 1 << 20)
    path = tmp_path / "bomb.mbox.gz"
    path.write_bytes(gzip.compress(bytes(2 << 20)))
    with pytest.raises(UsageError, match="expected at most 1 MiB of patches, found more"):
        submission([str(path)], tmp_path)
