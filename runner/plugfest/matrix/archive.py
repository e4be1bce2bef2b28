# SPDX-License-Identifier: GPL-2.0-or-later
"""The output folder of an attempt as bytes, on its way back from another machine: a tar of folders and regular files, compressed."""

from __future__ import annotations

import gzip
import io
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath

from plugfest.errors import InfrastructureError


class TornArchiveError(InfrastructureError):
    """What came back from a worker is no output folder: it costs that attempt, and a further one may bring it."""


def pack(folder: Path) -> bytes:
    """Return what a folder has; links and sockets are left out. A whole run of 21 MB takes 2.5 MB."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz", compresslevel=6) as tar:
        for path in sorted(folder.rglob("*")):
            if not path.is_symlink() and (path.is_dir() or path.is_file()):
                tar.add(path, str(path.relative_to(folder)), recursive=False)
    return target.getvalue()


def unpack(data: bytes, folder: Path) -> None:
    """Make a folder of what `pack` returned, as a whole or not at all.

    Raises:
        TornArchiveError: it is torn, or has a name that leads out of the folder.
        InfrastructureError: the folder cannot be written.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        with gzip.open(io.BytesIO(data)) as stream:
            with tarfile.open(fileobj=stream, mode="r:") as tar:
                for member in tar:
                    _write(tar, member, partial)
            stream.read()  # to the checksum, which is behind the end of the tar
        partial.replace(folder)
    except (gzip.BadGzipFile, EOFError, tarfile.TarError, zlib.error) as error:
        raise TornArchiveError(
            f"{folder}: expected the output folder of a run from a worker, found: {error}"
        ) from error
    except OSError as error:
        raise InfrastructureError(
            f"{folder}: expected to write the output folder of a run, found: {error.strerror}; "
            "see that there is space, then the same command continues"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        raise tarfile.TarError(f"{member.name!r}, which leads out of it")
    path = folder / name
    if member.isdir():
        path.mkdir(parents=True, exist_ok=True)
        return
    source = tar.extractfile(member) if member.isreg() else None
    if source is None:
        raise tarfile.TarError(f"{member.name!r}, which is no regular file")
    path.parent.mkdir(parents=True, exist_ok=True)
    with source, path.open("xb") as target:
        shutil.copyfileobj(source, target)
