# SPDX-License-Identifier: GPL-2.0-or-later
"""A user's kernel tree, which is read and never written."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

from plugfest.errors import InfrastructureError, UsageError


class GitTree:
    """A git tree, with a work tree or bare."""

    def __init__(self, path: Path) -> None:
        """Use a tree.

        Raises:
            UsageError: it is none.
            InfrastructureError: git is not installed.
        """
        self.path = path
        self._program = shutil.which("git") or ""
        if not self._program:
            raise InfrastructureError("expected git in PATH, found none; install the package git")
        done = self.run("rev-parse", "--git-dir")
        if done.returncode:
            raise UsageError(f"{path}: expected a git tree, found none ({_last(done.stderr)}); name one with --tree")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Run git in the tree, without the user's hooks and pagers."""
        command = [self._program, "-C", str(self.path), "-c", "core.hooksPath=/dev/null", "--no-pager", *arguments]
        return subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)

    def commit(self, revision: str) -> str:
        """Return the hash of a commit.

        Raises:
            UsageError: there is none.
        """
        done = self.run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        if done.returncode:
            raise UsageError(f"{revision}: expected a commit of {self.path}, found none")
        return done.stdout.decode().strip()

    def describe(self, commit: str) -> str:
        """Return a commit as people quote it: ``1a2b3c4d5e6f ("gve: Fix it")``."""
        return (
            self.run("log", "-1", "--abbrev=12", '--format=%h ("%s")', commit).stdout.decode(errors="replace").strip()
        )

    def mails(self, wanted: str) -> bytes:
        """Return a range's commits as mails.

        Raises:
            UsageError: there is no such range, or no commit in it.
        """
        first, _, last = wanted.partition("..")
        first, last = self.commit(first or "HEAD"), self.commit(last.removeprefix(".") or "HEAD")
        done = self.run("format-patch", "--stdout", "--no-signature", "--no-base", f"{first}..{last}")
        if done.returncode or not done.stdout:
            raise UsageError(f"{wanted}: expected commits in {self.path}, found {_last(done.stderr) or 'none'}")
        return done.stdout

    def start_of(self, wanted: str) -> str:
        """Return the commit that a range starts from."""
        return self.commit(wanted.partition("..")[0] or "HEAD")

    def unpack(self, commit: str, folder: str, target: Path) -> None:
        """Copy a folder of a commit.

        Args:
            commit: the commit.
            folder: of the tree.
            target: folder to make it in, by the same path.

        Raises:
            UsageError: the commit has no such folder.
        """
        done = self.run("archive", "--format=tar", commit, folder)
        if done.returncode:
            raise UsageError(f"{self.path}: expected {folder} in {commit[:12]}, found: {_last(done.stderr)}")
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as members:
            members.extractall(target, filter="data")


def _last(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
