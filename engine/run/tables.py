"""The journal's tables, and an empty file of them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from engine.run.records import NOTHING

#: What this program writes. A journal with a higher number belongs to a newer mailmove and is refused.
FORMAT = 1

SCHEMA = """
CREATE TABLE format (version INTEGER NOT NULL);
CREATE TABLE head (one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL, digest BLOB NOT NULL,
    at INTEGER NOT NULL, fence INTEGER NOT NULL, beat INTEGER NOT NULL, holder TEXT NOT NULL);
CREATE TABLE labels (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE events (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, fence INTEGER, label INTEGER NOT NULL,
    row TEXT NOT NULL, key TEXT NOT NULL, identity BLOB NOT NULL, body TEXT NOT NULL, digest BLOB NOT NULL);
CREATE TABLE consents (seq INTEGER NOT NULL, token BLOB NOT NULL, PRIMARY KEY (seq, token)) WITHOUT ROWID;
CREATE TABLE last_seen (identity BLOB PRIMARY KEY, text TEXT NOT NULL, wake INTEGER, at INTEGER NOT NULL)
    WITHOUT ROWID;
"""


def initialise(database: sqlite3.Connection) -> None:
    """Make the tables of an empty journal."""
    database.executescript(SCHEMA)
    database.execute("INSERT INTO format VALUES (?)", (FORMAT,))
    database.execute("INSERT INTO head VALUES (1, 0, ?, 0, 0, 0, '')", (NOTHING,))


def build(path: Path) -> None:
    """Write an empty journal to `path`, synced. OSError and sqlite3.Error as they come."""
    database = sqlite3.connect(path, isolation_level=None)
    try:
        database.execute("PRAGMA synchronous=EXTRA")
        initialise(database)
    finally:
        database.close()
