# SPDX-License-Identifier: GPL-2.0-or-later
"""A tree's history by halves. git chooses the commits, in a repository of its own, which borrows the tree's objects."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path

from plugfest.errors import InfrastructureError, UsageError
from plugfest.patch.tree import GitTree

_FIRST = re.compile(r"^([0-9a-f]{40}) is the first bad commit", re.MULTILINE)
_LEFT = re.compile(r"^([0-9a-f]{40})$", re.MULTILINE)


class Mark(StrEnum):
    """What a commit is, in git's words."""

    GOOD = "good"
    BAD = "bad"
    SKIP = "skip"


class Bisection:
    """The search for the first bad commit among those that touch one folder.

    Attributes:
        current: the commit to test next; None once the search has ended.
        candidates: at the end: the first bad commit, or several of which it is one, because what lay between was skipped.
        left: how many commits are left to test after the current one, about.
    """

    def __init__(self, tree: GitTree, scratch: Path, folder: str, *, good: str, bad: str) -> None:
        """Begin.

        Args:
            tree: the user's, which is only read.
            scratch: an empty folder.
            folder: whose commits are searched.
            good: hash of a commit without the bug.
            bad: hash of one with it.

        Raises:
            UsageError: no commit between the two touches the folder, or the one does not come before the other.
            InfrastructureError: git failed.
        """
        made = tree.run("init", "--quiet", "--bare", "--template=", str(scratch.absolute()))
        if made.returncode:
            raise InfrastructureError(
                f"{scratch}: expected git to make a repository, found: {made.stderr.decode(errors='replace').strip()}"
            )
        objects = tree.run("rev-parse", "--path-format=absolute", "--git-path", "objects").stdout.decode().strip()
        (scratch / "objects/info").mkdir(parents=True, exist_ok=True)
        (scratch / "objects/info/alternates").write_text(f"{objects}\n")
        self._git = GitTree(scratch)
        self.current: str | None = None
        self.candidates: tuple[str, ...] = ()
        self.left = 0
        # git bisect wants a HEAD that it could return to.
        self._run("update-ref", "HEAD", bad)
        between = self._git.run("rev-list", "--count", bad, f"^{good}", "--", folder).stdout.decode().strip()
        if between in ("", "0"):
            raise UsageError(
                f"{good[:12]}..{bad[:12]}: expected commits that touch {folder}, found none; choose other ends"
            )
        self._follow(self._run("bisect", "start", "--no-checkout", bad, good, "--", folder))

    def mark(self, mark: Mark) -> None:
        """Say what the current commit is.

        Raises:
            UsageError: what the two ends stem from is bad, so that the bug was fixed on the way to the good one.
            InfrastructureError: git failed.
        """
        self._follow(self._run("bisect", mark.value))

    def _run(self, *arguments: str) -> str:
        done = self._git.run(*arguments)
        output = (done.stdout + done.stderr).decode(errors="replace")
        # git bisect exits with 2 where only skipped commits are left.
        if done.returncode and "first bad commit could be any of" not in output:
            if "merge base" in output or "good revs" in output:  # --good is no ancestor of --bad
                raise UsageError(f"expected --good to be an ancestor of --bad, found: {' '.join(output.split())}")
            raise InfrastructureError(
                f"git {arguments[0]}: expected exit status 0, found {done.returncode}: {output.strip()}"
            )
        return output

    def _follow(self, output: str) -> None:
        first = _FIRST.search(output)
        if first or "first bad commit could be any of" in output:
            self.current = None
            self.candidates = (first[1],) if first else tuple(_LEFT.findall(output))
            return
        left = re.search(r"(\d+) revisions? left", output)
        self.left = int(left[1]) if left else 0
        self.current = self._run("rev-parse", "--verify", "BISECT_HEAD").strip()
