# SPDX-License-Identifier: GPL-2.0-or-later
"""Register traces and captures as tables that can be searched in a browser: a page beside each file."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scapy.error import Scapy_Exception
from scapy.layers import inet, inet6  # noqa: F401 - what is imported is what Ether dissects
from scapy.layers.l2 import Ether
from scapy.utils import RawPcapNgReader, RawPcapReader

from plugfest.report import pages
from plugfest.report.artifact import table_page
from plugfest.report.document import Document, artifacts
from plugfest.report.text import printable

FRAME_LIMIT = 2000
"""How many frames of a capture its page shows: the last ones."""
HEADER = 80
"""How many bytes of a frame its page shows: enough for the headers of Ethernet, a VLAN tag, IPv6 and TCP."""
_DIRECTIONS = {1: "to the DUT", 2: "from the DUT"}
"""By the direction in pcapng's epb_flags, which is the device's (draft-ietf-opsawg-pcapng, 4.3.1)."""
_ACCESS = re.compile(r"\s*(\d+\.\d+) ([RW]) ([^ :]+): (?:(\S+) )?(0x[0-9a-f]+)(?: (.*))?")


@dataclass(frozen=True)
class Access:
    """One register access.

    Attributes:
        seconds: since the first access of the trace.
        microseconds: since the access before.
        op: ``R`` or ``W``.
        register: its name; with an index if there are several.
        value: in hexadecimal.
        fields: decoded.
    """

    seconds: float
    microseconds: float
    op: str
    register: str
    value: str
    fields: str


@dataclass(frozen=True)
class Frame:
    """One frame of a capture.

    Attributes:
        number: from 1.
        seconds: since the first frame of the capture.
        direction: in words; empty if the capture has none.
        length: in bytes, without FCS.
        summary: the protocols and their addresses.
        head: the frame's first `HEADER` bytes in hexadecimal.
    """

    number: int
    seconds: float
    direction: str
    length: int
    summary: str
    head: str


def write(document: Document, folder: Path) -> None:
    """Write a page for each register trace and capture of a run, beside it.

    Args:
        document: the report.
        folder: the output folder; nothing outside of it is read or written.
    """
    root = folder.resolve()
    for result in document["results"]:
        for path in artifacts(result).values():
            page = table_page(path)
            file = (folder / path).resolve()
            if page is not None and file.is_file() and file.is_relative_to(root):
                text = _page(document, result, file, path)
                file.with_name(Path(page).name).write_text(text, encoding="utf-8")


def _page(document: Document, result: Mapping[str, Any], file: Path, path: str) -> str:
    note = ""
    rows: Sequence[Access | Frame]
    if file.name == "trace.txt":
        kind = "Register trace"
        rows = read_trace(file.read_text(encoding="utf-8", errors="replace").splitlines())
    else:
        kind = "Capture of the wire"
        try:
            rows = read_capture(file)
        except (Scapy_Exception, OSError, EOFError) as error:
            rows, note = (), f"{file.name} cannot be read as a capture: {error}"
        if rows and rows[0].number > 1:
            note = f"The last {len(rows)} of {rows[-1].number} frames; {file.name} has all of them."
    return pages.render(
        "table.html",
        script="table.js",
        kind=kind,
        run=document["run"],
        result=result,
        requirement=next(each for each in document["requirements"] if each["id"] == result["requirement"]),
        raw=file.name,
        back=os.path.relpath("report.html", Path(path).parent),
        rows=rows,
        note=note,
    )


def read_trace(lines: Iterable[str]) -> list[Access]:
    """Read a register trace in the format of `plugfest.plugin.artifacts.format_trace`; ignore other lines."""
    accesses: list[Access] = []
    first = before = None
    for match in filter(None, map(_ACCESS.match, lines)):
        seconds = float(match[1])
        first = seconds if first is None else first
        since = 0.0 if before is None else (seconds - before) * 1e6
        before = seconds
        # The name in the decoded value has an index only if there are several such registers.
        accesses.append(Access(seconds - first, since, match[2], match[4] or match[3], match[5], match[6] or ""))
    return accesses


def read_capture(path: Path) -> list[Frame]:
    """Read the last `FRAME_LIMIT` frames of a capture, pcap or pcapng.

    A capture that ends within a frame, because its writer was killed, is read up to that frame.

    Raises:
        Scapy_Exception: it is neither.
        OSError: it cannot be read.
    """
    last: deque[tuple[int, float, str, int, bytes]] = deque(maxlen=FRAME_LIMIT)
    first = None
    for number, (data, seconds, direction, length) in enumerate(_records(path), 1):
        first = seconds if first is None else first
        last.append((number, seconds - first, direction, length, data))
    return [
        Frame(number, seconds, direction, length, _summary(data), _hexadecimal(data[:HEADER]))
        for number, seconds, direction, length, data in last
    ]


def _records(path: Path) -> Iterator[tuple[bytes, float, str, int]]:
    with RawPcapReader(str(path)) as reader:
        scale = 1e9 if getattr(reader, "nano", False) else 1e6
        about: Any
        for data, about in reader:
            if isinstance(reader, RawPcapNgReader):
                ticks = (about.tshigh << 32) + about.tslow
                yield data, ticks / about.tsresol, _DIRECTIONS.get(about.direction, ""), about.wirelen
            else:
                yield data, about.sec + about.usec / scale, "", about.wirelen


def _summary(data: bytes) -> str:
    try:
        return printable(Ether(data).summary())
    except Exception as error:  # scapy may raise anything for a malformed frame, and such a frame needs its row
        return f"malformed: {type(error).__name__}"


def _hexadecimal(data: bytes) -> str:
    return "\n".join(f"{at:04x}  {data[at : at + 16].hex(' ')}" for at in range(0, len(data), 16))
