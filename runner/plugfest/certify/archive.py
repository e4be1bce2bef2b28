# SPDX-License-Identifier: GPL-2.0-or-later
"""The bundle's archive: a tar of which each content has exactly one encoding.

A tar (POSIX.1-2017, pax, "ustar Interchange Format") of regular files, without compression:

- What unpacks it is on every machine, and people can look into it without this program.
- Without compression there is no bomb: an archive is as large as what it holds. A zip or tar.gz would also have one encoding for
  each version of zlib, and no two machines would write the same bytes.
- The reader accepts what the writer writes and nothing else: names in order, every other field of a header constant. So it has no
  case for links, devices, absolute paths, folders, sparse files or extensions, and sees every changed byte, of headers and padding too.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from plugfest.errors import PlugfestError

FIRST = "index.html"
"""The file that leads the archive: what people read."""

LARGEST = 4 << 30
"""Bytes of the largest archive that is read."""
MOST = 100_000
"""The number of files of the largest archive that is read."""

_BLOCK, _CHUNK = 512, 1 << 20
_END = bytes(2 * _BLOCK)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._=+-]*(/[A-Za-z0-9_=+-][A-Za-z0-9._=+-]*)*")
_SHORT, _PREFIX = 100, 155
_FIELDS = {
    "name": (0, 100),
    "mode": (100, 108),
    "uid": (108, 116),
    "gid": (116, 124),
    "size": (124, 136),
    "mtime": (136, 148),
    "chksum": (148, 156),
    "typeflag": (156, 157),
    "linkname": (157, 257),
    "magic": (257, 263),
    "version": (263, 265),
    "uname": (265, 297),
    "gname": (297, 329),
    "devmajor": (329, 337),
    "devminor": (337, 345),
    "prefix": (345, 500),
    "padding": (500, 512),
}


class BundleError(PlugfestError):
    """A bundle is refused: it is not one, or not the one that was signed."""

    exit_status = 1


@dataclass(frozen=True)
class Member:
    """One file of an archive.

    Attributes:
        name: its path, with slashes.
        size: in bytes.
        offset: of its first byte in the archive.
        sha256: of its content, in hexadecimal.
    """

    name: str
    size: int
    offset: int
    sha256: str


def is_name(name: str) -> bool:
    """Whether a path can be that of a file in a bundle: relative, of plain characters, no part of it hidden, ``.`` or ``..``."""
    return _NAME.fullmatch(name) is not None and _split(name) is not None


def order(name: str) -> tuple[bool, str]:
    """Sort key of the files: the page for people first."""
    return name != FIRST, name


def write(path: Path, files: Mapping[str, Path | bytes]) -> None:
    """Write an archive. The same files make the same bytes, whatever their times, owners, modes and order.

    Args:
        path: of the archive, which is replaced as a whole or not at all.
        files: by name in the archive, a regular file or a content.

    Raises:
        BundleError: a name or a file that an archive cannot have.
        OSError: the archive cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as out:
            for name in sorted(files, key=order):
                _append(out, name, files[name])
            out.write(_END)
            out.flush()
            os.fsync(out.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _append(out: BinaryIO, name: str, content: Path | bytes) -> None:
    if not is_name(name):
        raise BundleError(f"{name}: expected a plain relative path of at most 255 characters; rename the file")
    if isinstance(content, bytes):
        size = len(content)
        out.write(_header(name, size) + content)
    else:
        size = content.stat().st_size
        out.write(_header(name, size))
        with content.open("rb") as file:
            left = size
            while left and (chunk := file.read(min(_CHUNK, left))):
                out.write(chunk)
                left -= len(chunk)
            if left or file.read(1):
                raise BundleError(
                    f"{content}: expected a file that nobody writes to, found that its size changed; run again"
                )
    out.write(bytes(-size % _BLOCK))


def _split(name: str) -> tuple[str, str] | None:
    """Return the prefix and the name of a header; None if the path does not fit."""
    if len(name) <= _SHORT:
        return "", name
    for place in (place for place, char in enumerate(name) if char == "/"):
        if len(name) - place - 1 <= _SHORT:
            return (name[:place], name[place + 1 :]) if place <= _PREFIX else None
    return None


def _header(name: str, size: int) -> bytes:
    """Return the one header that a file of this name and size has."""
    parts = _split(name)
    assert parts is not None
    prefix, short = parts
    fields = {
        "name": short.encode(),
        "mode": b"0000644\0",
        "uid": b"0000000\0",
        "gid": b"0000000\0",
        "size": b"%011o\0" % size,
        "mtime": b"%011o\0" % 0,
        "chksum": b" " * 8,
        "typeflag": b"0",
        "magic": b"ustar\0",
        "version": b"00",
        "devmajor": b"0000000\0",
        "devminor": b"0000000\0",
        "prefix": prefix.encode(),
    }
    block = bytearray(_BLOCK)
    for field, value in fields.items():
        begin, _ = _FIELDS[field]
        block[begin : begin + len(value)] = value
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


class BundleArchive:
    """An archive that was read as a whole, and is as `write` writes it.

    Attributes:
        members: its files by name, in the order of the archive.
    """

    def __init__(self, path: Path) -> None:
        """Read the archive: all headers, all contents, nothing beyond.

        Raises:
            BundleError: it is no such archive; the message names the first file at which it is not.
        """
        self._path = path
        try:
            # Not to wait for the writer of a FIFO.
            self._file: BinaryIO = open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")  # noqa: PTH123, SIM115
        except OSError as error:
            raise BundleError(f"{path}: expected a bundle, found: {error.strerror}; name the file of one") from error
        try:
            status = os.fstat(self._file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise self._refused("expected a regular file, found another kind")
            if status.st_size > LARGEST:
                raise self._refused(f"expected at most {LARGEST} bytes, found {status.st_size}")
            self.members: dict[str, Member] = {member.name: member for member in self._scan()}
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> BundleArchive:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._file.close()

    def read(self, name: str, *, limit: int) -> bytes:
        """Return the content of a file.

        Args:
            name: of a member.
            limit: bytes that it may have at most.

        Raises:
            BundleError: there is none of that name, it is larger, or its bytes changed since the archive was read.
        """
        member = self.members.get(name)
        if member is None:
            raise self._refused(f"{name} is missing")
        if member.size > limit:
            raise self._refused(f"{name}: expected at most {limit} bytes, found {member.size}")
        self._file.seek(member.offset)
        content = self._file.read(member.size)
        if hashlib.sha256(content).hexdigest() != member.sha256:
            raise self._refused(f"{name} changed while the bundle was read")
        return content

    def _refused(self, text: str) -> BundleError:
        return BundleError(f"{self._path}: {text}")

    def _scan(self) -> Iterator[Member]:
        before: str | None = None
        names: set[str] = set()
        folders: set[str] = set()
        for number in range(1, MOST + 2):
            where = "the first file" if before is None else f"the file after {before}"
            block = self._take(_BLOCK, f"the header of {where}")
            if block == bytes(_BLOCK):
                if before is None:
                    raise self._refused("expected files, found none")
                self._finish()
                return
            name, size = self._parse(block, where)
            if number > MOST:
                raise self._refused(f"expected at most {MOST} files, found more")
            if before is not None and order(name) <= order(before):
                how = "twice" if name == before else f"after {before}, out of order"
                raise self._refused(f"{name} is there {how}")
            above = set(_above(name))
            if name in folders or names & above:
                raise self._refused(f"{name}: expected a file in a folder, found a file that is a folder, too")
            names.add(name)
            folders |= above
            yield self._content(name, size)
            before = name

    def _parse(self, block: bytes, where: str) -> tuple[str, int]:
        """Return the name and size of a header, which is the only one with them."""
        short, prefix, digits = (_value(block, field) for field in ("name", "prefix", "size"))
        name = (prefix + b"/" + short if prefix else short).decode("ascii", "replace")
        if not is_name(name):
            raise self._refused(f"{where}: expected a plain relative path, found {name[:300]!r}")
        if re.fullmatch(rb"[0-7]{11}", digits) is None:
            raise self._refused(f"the header of {name}: expected a size, found {digits[:12]!r}")
        size = int(digits, 8)
        right = _header(name, size)
        if block != right:
            wrong = [field for field, (begin, end) in _FIELDS.items() if block[begin:end] != right[begin:end]]
            # A changed field changes the checksum's right value, too; the checksum is named where it alone is wrong.
            named = [field for field in wrong if field != "chksum"] or wrong
            raise self._refused(f"the header of {name} was changed: {', '.join(named)}")
        return name, size

    def _content(self, name: str, size: int) -> Member:
        offset, left = self._file.tell(), size
        state = hashlib.sha256()
        while left:
            chunk = self._take(min(_CHUNK, left), name)
            state.update(chunk)
            left -= len(chunk)
        if any(self._take(-size % _BLOCK, f"the padding after {name}")):
            raise self._refused(f"the padding after {name} was changed")
        return Member(name, size, offset, state.hexdigest())

    def _take(self, count: int, what: str) -> bytes:
        data = self._file.read(count)
        if len(data) < count:
            raise self._refused(f"it is cut short: it ends within {what}")
        return data

    def _finish(self) -> None:
        if self._take(_BLOCK, "its end") != bytes(_BLOCK):
            raise self._refused("its end was changed")
        more = os.fstat(self._file.fileno()).st_size - self._file.tell()
        if more:
            raise self._refused(f"{more} bytes were added after its end")


def _value(block: bytes, field: str) -> bytes:
    begin, end = _FIELDS[field]
    return block[begin:end].partition(b"\0")[0]


def _above(name: str) -> Iterable[str]:
    """Yield the folders that a file is in."""
    return (name[:place] for place, char in enumerate(name) if char == "/")
