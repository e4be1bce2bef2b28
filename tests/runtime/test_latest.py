# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from plugfest.errors import InfrastructureError
from plugfest.run.latest import link_latest


def test_it_is_the_newest(tmp_path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        link_latest(tmp_path / name)
        assert (tmp_path / "latest").resolve().name == name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "latest"]


def test_a_folder_of_that_name_stays(tmp_path) -> None:
    (tmp_path / "latest").mkdir()
    link_latest(tmp_path / "a")
    assert not (tmp_path / "latest").is_symlink()


def test_a_full_disk(tmp_path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "symlink_to", full)
    with pytest.raises(InfrastructureError, match="latest: expected to make a link to a, found: No space left"):
        link_latest(tmp_path / "a")
