# SPDX-License-Identifier: GPL-2.0-or-later
"""The artifacts of a test, as a page links to them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

_TITLES = {
    "traceback.txt": "traceback",
    "calls.txt": "calls",
    "trace.txt": "register trace",
    "wire.pcap": "capture",
    "console.txt": "console",
    "dmesg.txt": "kernel log",
    "counters.txt": "kernel counters",
    "model.json": "model state",
}
"""What a page calls each, in the order in which it lists them."""


@dataclass(frozen=True)
class Artifact:
    """One file that was kept of a test.

    Attributes:
        name: its file name.
        path: within the output folder.
        link: relative address of the file, or None where there is none.
        page: relative address of the page that shows it as a table, or None.
        size: in bytes.
        note: why there is no link.
    """

    name: str
    path: str
    link: str | None = None
    page: str | None = None
    size: int = 0
    note: str = ""

    @classmethod
    def find(cls, folder: Path, name: str, path: str) -> Artifact:
        """Look an artifact up.

        Args:
            folder: the output folder.
            name: the artifact's name.
            path: its path within the folder. A path that leads out of the folder gets no link.
        """
        file = (folder / path).resolve()
        if not file.is_relative_to(folder.resolve()):
            return cls(name, path, note="the path leads out of the output folder")
        try:
            size = file.stat().st_size
        except OSError as error:
            return cls(name, path, note=str(error.strerror))
        page = table_page(path)
        shown = quote(page) if page is not None and (folder / page).is_file() else None
        return cls(name, path, quote(path), shown, size)

    @property
    def title(self) -> str:
        """What a page calls it."""
        return _TITLES.get(self.name, self.name)

    @property
    def rank(self) -> tuple[int, str]:
        """Sort key: the most useful artifact first."""
        names = list(_TITLES)
        return (names.index(self.name) if self.name in names else len(names), self.name)

    @property
    def binary(self) -> bool:
        """Whether a browser saves the file instead of showing it."""
        return self.name.endswith(".pcap")

    @property
    def size_text(self) -> str:
        """Its size with a unit."""
        if self.size < 1000:
            return f"{self.size} B"
        return f"{self.size / 1000:.0f} kB" if self.size < 1_000_000 else f"{self.size / 1_000_000:.1f} MB"


def table_page(path: str) -> str | None:
    """Return the path of the page that shows an artifact as a table, or None if there is no such page."""
    file = Path(path)
    return str(file.with_suffix(".html")) if file.name == "trace.txt" or file.suffix == ".pcap" else None
