# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run may write to."""

from __future__ import annotations

from pathlib import Path

from plugfest.provision.artifact import GuestRoot, Kernel, Toolchain
from plugfest.run.plan import RunPlan


def writable(folder: Path, *, snapshots: Path | None, durations: Path | None) -> list[Path]:
    """Return what a run may write to whose output is in `folder`."""
    return RunPlan(
        driver="igb",
        profile=None,
        toolchain=Toolchain(("qemu",), "11.1.3", "q"),
        root=GuestRoot(Path("root.erofs"), Path("packages"), "r"),
        kernel=Kernel("trixie", "6.12", Path("kernel"), Path("initramfs"), Path("modules"), None, "k"),
        acceleration="tcg",
        acceleration_reason="for this test",
        output=folder / "out",
        scratch=folder / "run",
        snapshots=snapshots,
        durations=durations,
    ).writable()


def test_a_run_makes_what_it_writes_to_in_the_cache(tmp_path: Path) -> None:
    snapshots, durations = tmp_path / "cache/snapshots", tmp_path / "cache/durations/igb.json"
    assert writable(tmp_path, snapshots=snapshots, durations=durations) == [
        tmp_path / "out",
        snapshots,
        durations.parent,
    ]
    assert snapshots.is_dir()
    assert durations.parent.is_dir()


def test_a_cache_that_cannot_be_written_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    assert writable(tmp_path, snapshots=tmp_path / "cache/snapshots", durations=None) == [tmp_path / "out"]
