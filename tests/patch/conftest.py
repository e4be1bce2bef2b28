# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

FOLDER = "drivers/net/ethernet/acme"

Git = Callable[..., str]


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """Runs git in a tree that holds one driver, whose first commit is tagged ``base``."""
    tree = tmp_path / "tree"
    (tree / FOLDER).mkdir(parents=True)

    def run(*arguments: str) -> str:
        settings = ("-c", "user.name=A Developer", "-c", "user.email=a@example.org", "-c", "commit.gpgSign=false")
        command = ["git", "-C", str(tree), *settings, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    run("init", "--quiet")
    (tree / FOLDER / "main.c").write_text("".join(f"int line{number};\n" for number in range(40)))
    (tree / FOLDER / "Makefile").write_text("obj-m := acme.o\n")
    for name in ("Documentation/acme.rst", "net/core/dev.c", "MAINTAINERS"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("text\n")
    run("add", "-A")
    run("commit", "--quiet", "-m", "The driver")
    run("tag", "base")
    return run


@pytest.fixture
def commit(git: Git, tmp_path: Path) -> Callable[[str, dict[str, str]], str]:
    """Commits files with their new texts; returns the commit's hash."""

    def make(subject: str, files: dict[str, str]) -> str:
        for name, text in files.items():
            path = tmp_path / "tree" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        git("add", "-A")
        git("commit", "--quiet", "-m", subject)
        return git("rev-parse", "HEAD")

    return make
