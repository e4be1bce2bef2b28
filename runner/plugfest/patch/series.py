# SPDX-License-Identifier: GPL-2.0-or-later
"""Applies a series of patches to a driver's source. The mails are strangers', so git reads them confined."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from plugfest.build.confinement import Confinement
from plugfest.build.errors import SeriesError
from plugfest.patch.queue import Series
from plugfest.provision.build_root import BUILD

TREE = "tree"
"""Where the source is, within the build folder."""
_MAIL = "mail"
_ASIDE = re.compile(r"Documentation/|tools/testing/|MAINTAINERS$|CREDITS$|\.mailmap$")
"""Files that a series may touch, but that no module is built of."""
_BARE = re.compile(rb"\s*(?:diff --git |Index: |--- \S)")
"""How a diff without a mail begins."""
_NUMBER = re.compile(r"\[[^\]]*?\b(\d+)/(\d+)\]")
_TAGS = re.compile(r"^(?:\s*\[[^\]]*\])+\s*")
_OLD_NAME = re.compile(r"^(?:rename|copy) from (.+)$", re.MULTILINE)
_REPLY = re.compile(r"^Subject: (?:\[[^\]]*\]\s*)*(?:re|aw|sv)\s*:", re.IGNORECASE | re.MULTILINE)
_LARGEST = 64 << 20
"""Most bytes of a diff."""
_SHOWN = 3

# -n: git would convert what is not UTF-8, for which the build root lacks the tables, and refuse the mail over a name in its message.
_SPLIT = """
set -e
for each in in/*; do
    mkdir -p "out/${each#in/}"
    git mailsplit -b -o"out/${each#in/}" "$each" >/dev/null
done
for each in out/*/[0-9][0-9][0-9][0-9]; do
    git mailinfo -k -n "$each.msg" "$each.patch" <"$each" >"$each.info" || exit
done
"""
_LIST = """
for each in out/*/*.patch; do
    [ -s "$each" ] || continue
    git apply --numstat -z "$each" >"$each.files" 2>"$each.error" || :
done
"""
_APPLY = """
for each; do
    echo "applying $each"
    git apply --whitespace=nowarn --include="$FOLDER/*" "$each" || exit
done
"""


@dataclass(frozen=True)
class Patch:
    """One patch of a series.

    Attributes:
        subject: the mail's, without its tags.
        number: of the patch and of how many, as the mail's subject has them; None without.
        path: of the diff, within the build folder.
        files: that it touches, by their old and new names.
    """

    subject: str
    number: tuple[int, int] | None
    path: str
    files: frozenset[str]


def apply(confined: Confinement, series: Series, folder: str, *, title: str, log: Path, order: int = 1) -> list[Patch]:
    """Apply a series to a driver's source in the build folder.

    Args:
        confined: with the source in `TREE`.
        series: to apply.
        folder: of the driver, as ``drivers/net/ethernet/intel/ixgbe``.
        title: what the source is, for messages.
        log: file for git's output.
        order: the series' number among those that are applied in this build folder.

    Returns:
        The patches; those that touch nothing of the folder too.

    Raises:
        SeriesError: there is no patch in it; it touches more than the folder, or nothing of it; it does not apply.
    """
    patches = _read(confined, series, log, order)
    _check(series, patches, folder)
    log.write_bytes(b"")
    command = ["sh", "-c", _APPLY, "sh", *(f"/{BUILD}/{patch.path}" for patch in patches)]
    environment = {"FOLDER": folder, "GIT_CEILING_DIRECTORIES": f"/{BUILD}"}
    if confined.run(command, log=log, folder=TREE, environment=environment, what=series.name):
        lines = log.read_text(errors="replace").splitlines()
        at = max(number for number, line in enumerate(lines) if line.startswith("applying "))
        failed = next(patch for patch in patches if lines[at] == f"applying /{BUILD}/{patch.path}")
        errors = [line.removeprefix("error: ") for line in lines[at + 1 :] if line.startswith("error: ")]
        found = next(iter(errors), "no reason")
        raise SeriesError(series.name, f"expected “{failed.subject}” to apply to {title}, found: {found}")
    return patches


def _read(confined: Confinement, series: Series, log: Path, order: int) -> list[Patch]:
    """Find the patches of a series, in the order in which they apply."""
    # A folder of its own for each series: several may be applied one after the other.
    top = f"{_MAIL}/{order}"
    mails = False
    for number, (name, data) in enumerate(series.texts, 1):
        if _BARE.match(data):
            confined.write(f"{top}/out/{number:04}/1.patch", data)
            confined.write(f"{top}/out/{number:04}/1.info", f"Subject: {' '.join(name.split())}\n".encode())
        else:
            confined.write(f"{top}/in/{number:04}", data)
            mails = True
    if mails and confined.run(["sh", "-c", _SPLIT], log=log, folder=top, what=series.name):
        why = log.read_text(errors="replace").strip().splitlines() or ["something else"]
        raise SeriesError(series.name, f"expected mails with patches, found: {why[-1].removeprefix('error: ')}")
    confined.run(["sh", "-c", _LIST], log=log, folder=top, what=series.name)
    found: list[Patch] = []
    replies = 0
    for path in confined.files(f"{top}/out"):
        if path.suffix != ".patch":
            continue
        diff = _text(confined, path)
        if not diff.strip():
            continue  # a cover letter
        info = _text(confined, path.with_suffix(".info"))
        if _REPLY.search(info):
            replies += 1  # a review, which may propose something
            continue
        listed = _text(confined, path.with_name(f"{path.name}.files"))
        subject, numbered = _subject(info)
        # NUL ends each entry: added, deleted, name.
        names = {entry.split("\t", 2)[2] for entry in listed.split("\0") if entry.count("\t") >= 2}
        if not names:
            error = _text(confined, path.with_name(f"{path.name}.error")).strip()
            if "No valid patches" in error:
                continue  # text that ends a mail
            raise SeriesError(
                series.name, f"expected “{subject}” to have a diff, found: {error.removeprefix('error: ') or 'none'}"
            )
        names |= {PurePosixPath(name).as_posix() for name in _OLD_NAME.findall(diff)}
        found.append(Patch(subject, numbered, str(path), frozenset(names)))
    if not found:
        raise SeriesError(series.name, f"expected a patch, found {'replies alone' if replies else 'none'}")
    return _ordered(found)


def _text(confined: Confinement, path: PurePosixPath) -> str:
    data = confined.read(path, _LARGEST) or b""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")  # as most mails that are not UTF-8


def _subject(info: str) -> tuple[str, tuple[int, int] | None]:
    found = re.search(r"^Subject: (.+)$", info, re.MULTILINE)
    subject = found[1] if found else "a patch without a subject"
    number = _NUMBER.search(subject)
    return _TAGS.sub("", subject) or subject, (int(number[1]), int(number[2])) if number else None


def _ordered(patches: list[Patch]) -> list[Patch]:
    """Sort patches that are all numbered as of one series, as ``[PATCH 2/3]``: a mailbox has them as they arrived."""
    numbered = [(patch.number, patch) for patch in patches if patch.number is not None]
    complete = len({number for number, _ in numbered}) == len(patches)
    if not complete or len({count for (_, count), _ in numbered}) != 1:
        return patches
    return [patch for _, patch in sorted(numbered, key=lambda each: each[0])]


def _check(series: Series, patches: Sequence[Patch], folder: str) -> None:
    files = sorted(set().union(*(patch.files for patch in patches)))
    inside = [name for name in files if name.startswith(f"{folder}/")]
    beyond = [name for name in files if name not in inside and not _ASIDE.match(name)]
    if beyond:
        more = f" and {len(beyond) - _SHOWN} more" if len(beyond) > _SHOWN else ""
        raise SeriesError(
            series.name,
            f"expected a patch of the module in {folder} alone, found {', '.join(beyond[:_SHOWN])}{more}; "
            "build a kernel with it, and give plugfest run its tree with --kernel",
        )
    if not inside:
        raise SeriesError(series.name, f"expected a patch of {folder}, found {', '.join(files[:_SHOWN])} alone")
