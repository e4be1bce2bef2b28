# SPDX-License-Identifier: GPL-2.0-or-later
"""Entries: what a TOML file lists about tests, one table each, and what is wrong with one."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from plugfest.errors import UsageError


@dataclass(frozen=True)
class Form:
    """How a file lists one kind of entry.

    Attributes:
        what: the file is, as ``a quarantine``.
        table: name of an entry's table, ``[[NAME]]``.
        shape: the correct form, for the message about an incorrect one.
        keys: those that an entry must have, with their types; none may be empty but ``kernels``.
        optional: those that it may have.
    """

    what: str
    table: str
    shape: str
    keys: Mapping[str, type | UnionType]
    optional: Collection[str]

    def read(self, path: Path) -> list[ListEntry]:
        """Read a file.

        Raises:
            UsageError: the file is missing or malformed, or an entry lacks a key or has one of another name; the message shows the
                correct form.
        """
        try:
            raw = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UsageError(f"{path}: expected {self.what}, found: {error.strerror}") from error
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"{path}: expected TOML, found: {error}; {self.shape}") from error
        listed = raw.get(self.table, [])
        tables = isinstance(listed, list) and all(isinstance(each, dict) for each in listed)
        if set(raw) - {self.table} or not tables:
            raise UsageError(f"{path}: found {', '.join(sorted(raw))}; {self.shape}")
        return [
            self._entry(ListEntry(f"{path}: {self.table} {at}", self.shape, each)) for at, each in enumerate(listed, 1)
        ]

    def _entry(self, entry: ListEntry) -> ListEntry:
        for key, kind in self.keys.items():
            value = entry.fields.get(key)
            if not isinstance(value, kind) or (not value and key != "kernels"):
                raise entry.wrong(f"no valid {key!r}")
        unknown = set(entry.fields) - set(self.keys) - set(self.optional)
        if unknown:
            raise entry.wrong(f"the unknown key {', '.join(sorted(unknown))}")
        return entry


@dataclass(frozen=True)
class ListEntry:
    """One table of a file.

    Attributes:
        place: where it is, for messages.
        shape: the correct form, for messages.
        fields: as TOML has them.
    """

    place: str
    shape: str
    fields: Mapping[str, Any]

    def wrong(self, what: str) -> UsageError:
        """Return the error that says what the entry has and must not have."""
        return UsageError(f"{self.place} has {what}; {self.shape}")

    def strings(self, key: str, *, alone: bool = False) -> tuple[str, ...]:
        """Return a list of strings, empty without this key.

        Args:
            key: its name.
            alone: whether a string may stand for the list of this string.

        Raises:
            UsageError: it is no such list, or one of the strings is empty.
        """
        value = self.fields.get(key, [])
        values = [value] if alone and isinstance(value, str) else value
        if not isinstance(values, list) or not all(isinstance(each, str) and each for each in values):
            raise self.wrong(f"no valid {key!r}")
        return tuple(values)

    def paragraph(self, key: str) -> str:
        """Return a text on one line."""
        return " ".join(self.fields[key].split())

    def versions(self, key: str, text: object) -> SpecifierSet:
        """Return a range of versions, all of them where the text is empty.

        Args:
            key: its name, for the message.
            text: as TOML has it.

        Raises:
            UsageError: it is no such range.
        """
        try:
            return SpecifierSet(text if isinstance(text, str) else repr(text))
        except InvalidSpecifier as error:
            raise self.wrong(f"{key} = {text!r}") from error
