# SPDX-License-Identifier: GPL-2.0-or-later
"""The database: its tables, how it is opened, and what is not one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from plugfest.errors import InfrastructureError

VERSION = 1
"""Of the tables, in SQLite's ``user_version``."""
APPLICATION = 0x706C7566
"""In SQLite's ``application_id``: what distinguishes a history from any other database."""
_BUSY = 60.0
"""Seconds to wait for another process that writes."""


class HistoryError(InfrastructureError):
    """The history cannot be used, as opposed to a report that is to be added to it."""


_TABLES = """
CREATE TABLE configuration (
    id INTEGER PRIMARY KEY,
    driver TEXT NOT NULL,
    profile TEXT NOT NULL,
    kernel TEXT NOT NULL,
    modules TEXT NOT NULL,
    UNIQUE (driver, profile, kernel, modules)
);
CREATE TABLE run (
    id INTEGER PRIMARY KEY,
    identity TEXT NOT NULL UNIQUE,
    configuration INTEGER NOT NULL REFERENCES configuration,
    release TEXT NOT NULL,
    start TEXT NOT NULL,
    seconds REAL NOT NULL,
    complete INTEGER NOT NULL,
    interrupted TEXT,
    exit_status INTEGER NOT NULL,
    accel TEXT NOT NULL,
    subject TEXT NOT NULL,
    versions TEXT NOT NULL,
    folder TEXT NOT NULL
);
CREATE INDEX run_of_configuration ON run (configuration, start);
CREATE TABLE requirement (
    id TEXT PRIMARY KEY,
    area TEXT NOT NULL,
    level TEXT NOT NULL,
    source TEXT NOT NULL,
    sentence TEXT NOT NULL
);
CREATE TABLE test (
    id INTEGER PRIMARY KEY,
    test TEXT NOT NULL,
    subtest TEXT NOT NULL,
    requirement TEXT NOT NULL REFERENCES requirement,
    UNIQUE (test, subtest)
);
CREATE TABLE result (
    run INTEGER NOT NULL REFERENCES run,
    test INTEGER NOT NULL REFERENCES test,
    verdict TEXT NOT NULL,
    reason TEXT NOT NULL,
    seconds REAL NOT NULL,
    intermittent INTEGER NOT NULL,
    PRIMARY KEY (run, test)
) WITHOUT ROWID;
CREATE TABLE crash (
    run INTEGER NOT NULL REFERENCES run,
    test INTEGER NOT NULL REFERENCES test,
    fingerprint TEXT NOT NULL,
    PRIMARY KEY (run, test, fingerprint)
) WITHOUT ROWID;
"""
"""``configuration.kernel`` is the kernel as the user gave it (a channel, a tree), ``run.release`` what it then was; ``profile`` and
``modules`` are empty if there are none; ``modules`` is ``with NAME`` of a driver with patches, and ends with ``selftests`` where upstream's
tests were run; ``subtest`` has the parameters of the test; ``intermittent``: a known issue concerns the test that need not show in each
run."""


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a history to read it.

    Raises:
        HistoryError: there is none, it is damaged, no history, or one of a newer plugfest.
    """
    if not path.is_file():
        raise HistoryError(f"{path}: expected a history, found no such file; plugfest history add makes one")
    with _open(path, "ro") as connection:
        _check(connection, path)
        yield connection


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a history to change it, in one transaction: an exception leaves it as it was. A missing one is made.

    Raises:
        HistoryError: it is damaged, no history, one of a newer plugfest, or cannot be written.
    """
    with _open(path, "rwc") as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            if _is_empty(connection):
                for statement in _TABLES.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION}")
                connection.execute(f"PRAGMA user_version = {VERSION}")
            _check(connection, path)
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            connection.rollback()
            raise


@contextmanager
def _open(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    try:
        connection = sqlite3.connect(
            f"file:{quote(str(path.absolute()))}?mode={mode}", uri=True, timeout=_BUSY, isolation_level=None
        )
    except sqlite3.Error as error:
        raise HistoryError(f"{path}: expected a history, found: {error}; choose another file") from error
    try:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA foreign_keys = ON")
        yield connection
    except sqlite3.OperationalError as error:
        raise HistoryError(
            f"{path}: expected to use the history, found: {error}; try again when no other process holds it, and see that there is space"
        ) from error
    except sqlite3.DatabaseError as error:
        raise HistoryError(
            f"{path}: expected a history, found: {error}; restore it from a copy, or name another file"
        ) from error
    finally:
        connection.close()


def _is_empty(connection: sqlite3.Connection) -> bool:
    return int(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]) == 0


def _check(connection: sqlite3.Connection, path: Path) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION:
        raise HistoryError(f"{path}: expected a history, found another program's database; name another file")
    if version > VERSION:
        raise HistoryError(
            f"{path}: expected a history of version {VERSION}, found version {version} of a newer plugfest; upgrade this one"
        )
    damage = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if damage != "ok":
        damage = " ".join(damage.split())
        raise HistoryError(f"{path}: expected a history, found damage: {damage}; restore it from a copy")
