# SPDX-License-Identifier: GPL-2.0-or-later
"""A user's kernel tree, which is read and never written."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

from plugfest.errors import InfrastructureError, UsageError

_OTHERS = frozenset(
    {
        *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE"),
        *("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_PREFIX", "GIT_EXTERNAL_DIFF", "GIT_DIFF_OPTS", "GIT_TRACE"),
    }
)
"""Variables by which git would use another repository than the one that is named, as in a hook, or write something else."""
_SETTINGS = ("core.hooksPath=/dev/null", "log.showSignature=false", "diff.noprefix=false", "diff.mnemonicPrefix=false")


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
        """Run git in the tree, without the user's hooks, pagers and language, which would change what it prints."""
        settings = [word for setting in _SETTINGS for word in ("-c", setting)]
        command = [self._program, "-C", str(self.path), *settings, "--no-pager", *arguments]
        environment = {name: value for name, value in os.environ.items() if name not in _OTHERS} | {"LC_ALL": "C"}
        return subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False, env=environment)

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
            UsageError: there is no such range, no commit in it, or a merge.
        """
        first, _, last = wanted.partition("..")
        first, last = self.commit(first or "HEAD"), self.commit(last.removeprefix(".") or "HEAD")
        merges = self.run("rev-list", "--merges", f"{first}..{last}").stdout.decode().split()
        if merges:  # which no mail can say
            raise UsageError(
                f"{wanted}: expected commits one after the other, found the merge {self.describe(merges[-1])}; rebase them"
            )
        options = ("--stdout", "--no-signature", "--no-base", "--no-cover-letter", "--no-attach", "--no-ext-diff")
        done = self.run("format-patch", *options, "--no-textconv", "--binary", "--full-index", f"{first}..{last}")
        if done.returncode or not done.stdout:
            raise UsageError(f"{wanted}: expected commits in {self.path}, found {_last(done.stderr) or 'none'}")
        return done.stdout

    def unpack(self, commit: str, folder: str, target: Path) -> None:
        """Copy a folder of a commit.

        Args:
            commit: the commit.
            folder: of the tree.
            target: folder to make it in, by the same path.

        Raises:
            UsageError: the commit has no such folder, or links in it that lead elsewhere.
        """
        done = self.run("archive", "--format=tar", commit, folder)
        if done.returncode:
            raise UsageError(f"{self.path}: expected {folder} in {commit[:12]}, found: {_last(done.stderr)}")
        try:
            with tarfile.open(fileobj=io.BytesIO(done.stdout)) as members:
                members.extractall(target, filter="data")
        except tarfile.FilterError as error:
            raise UsageError(f"{self.path}: expected {folder} to have files of its own, found: {error}") from error


def _last(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
