# SPDX-License-Identifier: GPL-2.0-or-later
"""A tree's history by halves, in a repository of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from plugfest.errors import UsageError
from plugfest.patch.bisection import Bisection, Mark
from plugfest.patch.tree import GitTree

FOLDER = "drivers/net/ethernet/acme"

Git = Callable[..., str]
Commit = Callable[[str, dict[str, str]], str]


@pytest.fixture
def history(git: Git, commit: Commit) -> list[str]:
    """Twelve commits of the driver, with one beside it between each two."""
    found = []
    for number in range(12):
        found.append(commit(f"acme: change {number}", {f"{FOLDER}/main.c": f"int version = {number};\n"}))
        commit(f"net: change {number}", {"net/core/dev.c": f"{number}\n"})
    return found


def search(tree: Path, scratch: Path, good: str, bad: str) -> Bisection:
    scratch.mkdir()
    repository = GitTree(tree)
    return Bisection(repository, scratch, FOLDER, good=repository.commit(good), bad=repository.commit(bad))


def state(tree: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in (tree / ".git").rglob("*") if path.is_file()}


@pytest.mark.parametrize("first_bad", [0, 1, 5, 10, 11])
def test_the_first_bad_commit_is_found_by_halves(history: list[str], tmp_path: Path, first_bad: int) -> None:
    before = state(tmp_path / "tree")
    found = search(tmp_path / "tree", tmp_path / "scratch", "base", "HEAD")
    asked = []
    while found.current is not None:
        asked.append(found.current)
        found.mark(Mark.BAD if history.index(found.current) >= first_bad else Mark.GOOD)
    assert found.candidates == (history[first_bad],)
    assert len(asked) <= 5
    assert set(asked) <= set(history), "commits beside the driver are not tested"
    assert state(tmp_path / "tree") == before, "the user's tree is only read"


def test_skipped_commits_leave_several(history: list[str], tmp_path: Path) -> None:
    found = search(tmp_path / "tree", tmp_path / "scratch", "base", "HEAD")
    while found.current is not None:
        at = history.index(found.current)
        found.mark(Mark.SKIP if 4 <= at <= 6 else Mark.BAD if at > 6 else Mark.GOOD)
    assert set(found.candidates) == set(history[4:8])


def test_a_range_without_a_commit_of_the_driver(history: list[str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"expected commits that touch {FOLDER}, found none"):
        search(tmp_path / "tree", tmp_path / "scratch", "HEAD~1", "HEAD")


def test_what_is_no_commit_and_no_tree(git: Git, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"v9\.9: expected a commit of .*, found none"):
        GitTree(tmp_path / "tree").commit("v9.9")
    with pytest.raises(UsageError, match="--output=x: expected a commit"):
        GitTree(tmp_path / "tree").commit("--output=x")
    with pytest.raises(UsageError, match="expected a git tree, found none"):
        GitTree(tmp_path)


def test_a_folder_of_a_commit(git: Git, commit: Commit, tmp_path: Path) -> None:
    first = git("rev-parse", "base")
    commit("acme: another", {f"{FOLDER}/main.c": "changed"})
    tree = GitTree(tmp_path / "tree")
    tree.unpack(first, FOLDER, tmp_path / "out")
    assert (tmp_path / "out" / FOLDER / "main.c").read_text().startswith("int line0;")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["drivers"]
    with pytest.raises(UsageError, match="expected drivers/net/none in"):
        tree.unpack(first, "drivers/net/none", tmp_path / "out")


def test_another_repository_of_the_environment(
    git: Git, history: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a hook, or under git bisect run: git would work in that one, and bisect in the user's own tree."""
    before = state(tmp_path / "tree")
    for name, value in (("GIT_DIR", tmp_path / "tree/.git"), ("GIT_WORK_TREE", tmp_path / "tree")):
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    found = search(tmp_path / "tree", tmp_path / "scratch", "base", "HEAD")
    while found.current is not None:
        found.mark(Mark.BAD if history.index(found.current) >= 7 else Mark.GOOD)
    assert found.candidates == (history[7],)
    assert state(tmp_path / "tree") == before
    said = GitTree(tmp_path / "tree").run("-c", "alias.said=!env", "said").stdout.decode().splitlines()
    assert "LC_ALL=C" in said, "what git says is read"


def test_a_good_commit_that_does_not_come_first(git: Git, history: list[str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"expected commits that touch {FOLDER}, found none"):
        search(tmp_path / "tree", tmp_path / "scratch", "HEAD", "base")
    git("checkout", "--quiet", "-b", "fixed", "base")
    git("commit", "--quiet", "--allow-empty", "-m", "A fix elsewhere")
    found = search(tmp_path / "tree", tmp_path / "other", "fixed", history[3])
    assert found.current == git("rev-parse", "base"), "where the two parted is tested first"
    with pytest.raises(UsageError, match=r"expected --good to be an ancestor of --bad, found: .*merge base"):
        found.mark(Mark.BAD)


def test_a_range_with_a_merge(git: Git, commit: Commit, tmp_path: Path) -> None:
    commit("acme: one", {f"{FOLDER}/main.c": "1"})
    git("checkout", "--quiet", "-b", "side", "base")
    commit("acme: side", {f"{FOLDER}/side.c": "1"})
    git("merge", "--quiet", "--no-edit", "-m", "Merge it", "@{-1}")
    with pytest.raises(
        UsageError, match=r'base\.\.HEAD: expected commits one after the other, found the merge .*"Merge it"'
    ):
        GitTree(tmp_path / "tree").mails("base..HEAD")


def test_a_users_settings_do_not_change_the_mails(git: Git, commit: Commit, tmp_path: Path) -> None:
    commit("acme: one", {f"{FOLDER}/main.c": "1"})
    plain = GitTree(tmp_path / "tree").mails("base..HEAD")
    for name in ("diff.noprefix", "format.attach", "format.coverLetter", "diff.mnemonicPrefix", "log.showSignature"):
        git("config", name, "true")
    git("config", "diff.external", "false")
    assert GitTree(tmp_path / "tree").mails("base..HEAD") == plain


def test_a_folder_of_a_commit_with_a_link_out_of_it(git: Git, commit: Commit, tmp_path: Path) -> None:
    (tmp_path / "tree" / FOLDER / "secret.h").symlink_to("/etc/passwd")
    at = commit("acme: a link", {})
    with pytest.raises(UsageError, match=f"expected {FOLDER} to have files of its own, found: "):
        GitTree(tmp_path / "tree").unpack(at, FOLDER, tmp_path / "out")


def test_a_range_as_mails(git: Git, commit: Commit, tmp_path: Path) -> None:
    commit("acme: one", {f"{FOLDER}/main.c": "1"})
    commit("acme: two", {f"{FOLDER}/main.c": "2"})
    tree = GitTree(tmp_path / "tree")
    mails = tree.mails("base..HEAD").decode()
    assert [line for line in mails.splitlines() if line.startswith("Subject: ")] == [
        "Subject: [PATCH 1/2] acme: one",
        "Subject: [PATCH 2/2] acme: two",
    ]
    with pytest.raises(UsageError, match=r"HEAD\.\.base: expected commits in .*, found none"):
        tree.mails("HEAD..base")
