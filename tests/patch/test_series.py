# SPDX-License-Identifier: GPL-2.0-or-later
"""Series of patches, from mails to a patched source."""

from __future__ import annotations

import base64
import itertools
import quopri
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from plugfest.build.confinement import Confinement
from plugfest.build.errors import BuildError
from plugfest.patch.queue import Series
from plugfest.patch.series import TREE, Patch, apply
from plugfest.provision.artifact import BuildRoot
from plugfest.provision.settings import ProvisionSettings
from plugfest.provision.toolchain import ensure_bwrap

FOLDER = "drivers/net/ethernet/acme"

Git = Callable[..., str]
Commit = Callable[[str, dict[str, str]], str]


@pytest.fixture
def confined(build_root: BuildRoot, provisioning: ProvisionSettings, git: Git, tmp_path: Path) -> Confinement:
    """A confinement with the driver of the tag ``base``."""
    made = Confinement(build_root.root, ensure_bwrap(provisioning), tmp_path / "work")
    made.take(tmp_path / "tree" / FOLDER, f"{TREE}/{FOLDER}")
    return made


@pytest.fixture
def patched(confined: Confinement, tmp_path: Path) -> Callable[..., list[Patch]]:
    order = itertools.count(1)

    def run(*texts: str | bytes, name: str = "the series") -> list[Patch]:
        data = [text.encode() if isinstance(text, str) else text for text in texts]
        series = Series(name, tuple((f"{number}.patch", each) for number, each in enumerate(data)))
        return apply(confined, series, FOLDER, title="the source", log=tmp_path / "git.log", order=next(order))

    return run


def lines(**changed: str) -> str:
    """The driver's file, with lines replaced: ``line7="…"``."""
    return "".join(changed.get(f"line{number}", f"int line{number};") + "\n" for number in range(40))


@pytest.fixture
def two(git: Git, commit: Commit, confined: Confinement) -> list[str]:
    """Two patches as mails; the second changes what the first adds, and touches files that no module is made of."""
    commit("acme: first", {f"{FOLDER}/main.c": lines(line7="int first;")})
    commit(
        "acme: second",
        {
            f"{FOLDER}/main.c": lines(line7="int second;"),
            "Documentation/acme.rst": "more\n",
            f"{FOLDER}/new.h": "int new;\n",
        },
    )
    mails = git("format-patch", "--stdout", "--subject-prefix=PATCH net-next v2", "base..HEAD")
    first, second = re.split(r"(?=^From [0-9a-f]{40} )", f"{mails}\n", flags=re.MULTILINE)[1:]
    return [first, second]


def result(confined: Confinement, name: str = "main.c") -> str:
    return (confined.build / TREE / FOLDER / name).read_text()


COVER = """From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001
From: A Developer <a@example.org>
Date: Mon, 1 Jan 2024 00:00:00 +0000
Subject: [PATCH net-next v2 0/2] acme: changes

 drivers/net/ethernet/acme/main.c | 2 +-
 1 file changed

"""


def test_a_mailbox_in_any_order_with_a_cover_letter(
    patched: Callable[..., list[Patch]], confined: Confinement, two: list[str]
) -> None:
    found = patched(two[1] + COVER + two[0])
    assert [patch.subject for patch in found] == ["acme: first", "acme: second"]
    assert [patch.number for patch in found] == [(1, 2), (2, 2)]
    assert result(confined) == lines(line7="int second;")
    assert result(confined, "new.h") == "int new;\n"
    assert not (confined.build / TREE / "Documentation").exists()


def test_a_mail_as_a_client_encodes_it(
    patched: Callable[..., list[Patch]], confined: Confinement, two: list[str]
) -> None:
    body = two[0].partition("\n\n")[2]
    mail = (
        "From: =?utf-8?q?Ren=C3=A9?= <r@example.org>\nSubject: =?utf-8?q?=5BPATCH=5D_acme=3A_fa=C3=A7ade?=\nMIME-Version: 1.0\n"
        "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n"
        + base64.encodebytes(body.encode()).decode()
    )
    (found,) = patched(mail)
    assert found.subject == "acme: façade"
    assert result(confined) == lines(line7="int first;")


def test_mails_of_several_clients(patched: Callable[..., list[Patch]], confined: Confinement, two: list[str]) -> None:
    """One with the lines of Windows, one as Latin-1 and quoted-printable."""
    first = two[0].replace("\n", "\r\n")
    head, _, body = two[1].replace("acme: second", "=?iso-8859-1?q?acme=3A_fa=E7ade?=").partition("\n\n")
    quoted = quopri.encodestring(f"Fassade, façade.\n{body}".encode("latin-1")).decode()
    second = (
        f"{head}\nMIME-Version: 1.0\nContent-Type: text/plain; charset=iso-8859-1\n"
        f"Content-Transfer-Encoding: quoted-printable\n\n{quoted}"
    )
    found = patched(first, second)
    assert [patch.subject for patch in found] == ["acme: first", "acme: façade"]
    assert result(confined) == lines(line7="int second;")


def test_a_thread_with_a_proposal_in_a_reply(
    patched: Callable[..., list[Patch]], confined: Confinement, two: list[str]
) -> None:
    """A reviewer's diff is none of the series'."""
    reply = two[0].replace("Subject: [PATCH", "Subject: Re: [PATCH").replace("int first;", "int better;")
    found = patched(two[0] + reply + two[1])
    assert [patch.subject for patch in found] == ["acme: first", "acme: second"]
    assert result(confined) == lines(line7="int second;")
    with pytest.raises(BuildError, match="expected a patch, found replies alone"):
        patched(reply)


def test_files_that_move_come_and_go(
    git: Git, commit: Commit, confined: Confinement, patched: Callable[..., list[Patch]], tmp_path: Path
) -> None:
    """A rename, a deleted file, a new folder, a binary file, and a name that git quotes."""
    data = bytes(range(256))
    git("mv", f"{FOLDER}/main.c", f"{FOLDER}/core.c")
    git("rm", "--quiet", f"{FOLDER}/Makefile")
    (tmp_path / "tree" / FOLDER / "firmware.bin").write_bytes(data)
    commit("acme: move", {f"{FOLDER}/deep/größe.h": "int new;\n"})
    (found,) = patched(git("format-patch", "--stdout", "-M", "--binary", "base..HEAD") + "\n")
    assert {name.removeprefix(f"{FOLDER}/") for name in found.files} == {
        "main.c",
        "core.c",
        "Makefile",
        "firmware.bin",
        "deep/größe.h",
    }
    top = confined.build / TREE / FOLDER
    assert {str(path.relative_to(top)) for path in top.rglob("*") if path.is_file()} == {
        "core.c",
        "firmware.bin",
        "deep/größe.h",
    }
    assert (top / "firmware.bin").read_bytes() == data


def test_a_binary_file_without_its_contents(
    git: Git, commit: Commit, confined: Confinement, patched: Callable[..., list[Patch]], tmp_path: Path
) -> None:
    (tmp_path / "tree" / FOLDER / "firmware.bin").write_bytes(bytes(range(256)))
    commit("acme: firmware", {})
    with pytest.raises(BuildError, match="binary"):
        patched(git("diff", "base", "HEAD") + "\n")


def test_what_lies_in_the_place_of_the_mails(
    patched: Callable[..., list[Patch]], confined: Confinement, two: list[str], tmp_path: Path
) -> None:
    """Put there by a makefile or a mail that git reads wrongly: the host writes mails, and reads what git makes of them."""
    (tmp_path / "host").mkdir()
    (confined.build / "mail").symlink_to(tmp_path / "host")
    patched(two[0])
    assert not list((tmp_path / "host").iterdir())
    assert result(confined) == lines(line7="int first;")


def test_diffs_without_mails(
    git: Git, patched: Callable[..., list[Patch]], confined: Confinement, two: list[str]
) -> None:
    found = patched(git("diff", "base", "HEAD~1") + "\n", git("diff", "HEAD~1", "HEAD") + "\n")
    assert [patch.subject for patch in found] == ["0.patch", "1.patch"]
    assert result(confined) == lines(line7="int second;")


def test_what_does_not_apply_is_named_with_its_place(patched: Callable[..., list[Patch]], two: list[str]) -> None:
    with pytest.raises(BuildError) as caught:
        patched(two[1])
    assert str(caught.value) == (
        f"the series: expected “acme: second” to apply to the source, found: patch failed: {FOLDER}/main.c:5"
    )


def test_two_series_one_after_the_other(
    patched: Callable[..., list[Patch]], confined: Confinement, two: list[str]
) -> None:
    patched(two[0])
    patched(two[1])
    assert result(confined) == lines(line7="int second;")


@pytest.mark.parametrize("name", ["net/core/dev.c", "drivers/net/ethernet/acmecorp/main.c", "include/linux/acme.h"])
def test_what_touches_more_than_the_module_is_refused(
    git: Git, commit: Commit, confined: Confinement, patched: Callable[..., list[Patch]], name: str
) -> None:
    commit("acme: much", {f"{FOLDER}/main.c": lines(line7="x"), name: "changed\n"})
    with pytest.raises(
        BuildError, match=f"expected a patch of the module in {FOLDER} alone, found {name}; build a kernel"
    ):
        patched(git("format-patch", "--stdout", "base..HEAD") + "\n")
    assert result(confined) == lines()


def test_a_file_taken_from_elsewhere_counts(
    git: Git, confined: Confinement, patched: Callable[..., list[Patch]]
) -> None:
    git("mv", "net/core/dev.c", f"{FOLDER}/dev.c")
    git("commit", "--quiet", "-m", "acme: take it")
    with pytest.raises(BuildError, match=r"alone, found net/core/dev\.c"):
        patched(git("format-patch", "--stdout", "-M", "base..HEAD") + "\n")


def test_what_touches_nothing_of_the_driver(
    git: Git, commit: Commit, confined: Confinement, patched: Callable[..., list[Patch]]
) -> None:
    commit("acme: words", {"Documentation/acme.rst": "changed\n"})
    with pytest.raises(BuildError, match=rf"expected a patch of {FOLDER}, found Documentation/acme\.rst alone"):
        patched(git("format-patch", "--stdout", "base..HEAD") + "\n")


@pytest.mark.parametrize(
    "text", ["", "no mail\n", "Subject: hello\n\nno diff\n", "diff --git a/x b/x\nnonsense\n", "\0\1\2"]
)
def test_what_is_no_patch(patched: Callable[..., list[Patch]], text: str) -> None:
    with pytest.raises(BuildError, match=r"expected .*, found") as caught:
        patched(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "../../../../../../escaped",
        "/tmp/escaped",
        f"{FOLDER}/../escaped",
        ".git/hooks/escaped",
        f"{FOLDER}/.git/hooks/escaped",
        f"{FOLDER}/link/escaped",
    ],
)
def test_a_patch_that_climbs_out(patched: Callable[..., list[Patch]], tmp_path: Path, name: str) -> None:
    diff = f"diff --git a/{name} b/{name}\nnew file mode 100644\n--- /dev/null\n+++ b/{name}\n@@ -0,0 +1 @@\n+escaped\n"
    link = f"diff --git a/{FOLDER}/link b/{FOLDER}/link\nnew file mode 120000\n--- /dev/null\n+++ b/{FOLDER}/link\n@@ -0,0 +1 @@\n+/tmp\n"
    with pytest.raises(BuildError):
        patched(link + "\\ No newline at end of file\n" + diff)
    assert not list(itertools.chain(tmp_path.rglob("escaped"), Path("/tmp").glob("escaped")))
