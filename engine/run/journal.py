"""What happened, in order, on disk before it is believed: an append-only chain of records in SQLite.

Every record carries BLAKE2b over the digest of the one before and its own content, since SQLite's own check
does not see a flipped byte in a text. Each is checked whenever it is read: a damaged one is never used.

Rollback journal, not WAL: the SQLite of Debian 12 carries the WAL-reset bug. `synchronous=EXTRA`: a commit
that returned survives a power cut. Every writing transaction is BEGIN IMMEDIATE, because one that begins by
reading meets SQLITE_BUSY at once when it wants to write.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from engine.contract import ExitCode, Problem, Refusal
from engine.run import statefile, tables, volume
from engine.run.encoding import decode, encode, from_microseconds, microseconds
from engine.run.lease import LEASE, LEASE_MICROSECONDS, locked, replaceable
from engine.run.records import NOTHING, Label, Record, Row, tokens_digest
from engine.run.records import digest as chained
from engine.world import Clock

__all__ = ["LEASE", "Journal", "Label", "Record", "Row", "decode", "encode"]

#: The journal's name in its folder.
FILE = "journal.sqlite"
#: How many of the last records are looked at for the highest fence; the last run alone wrote more.
FENCES = 100
#: What SQLite says of a file it cannot use; a damaged name of a table is not even UTF-8.
UNREADABLE = (sqlite3.Error, UnicodeDecodeError)
#: Rows fetched in one read transaction: short enough that a writer never waits long for a reader.
PAGE = 5_000
#: How long SQLite waits for another process's transaction.
BUSY_SECONDS = 10.0

SELECT = """
SELECT e.seq, e.at, e.fence, e.label, e.row, e.key, e.identity, e.body, e.digest, p.digest
FROM events e LEFT JOIN events p ON p.seq = e.seq - 1 WHERE
"""


class Journal:
    """One migration's journal. Any number of processes may open it; threads take turns.

    Every method raises Refusal(ExitCode.JOURNAL) when the file cannot be read or written or is damaged;
    what an append did not finish is then not there at all.
    """

    def __init__(self, path: Path | None, database: sqlite3.Connection, clock: Clock, write: bool) -> None:
        self.path = path
        self._db = database
        self._clock = clock
        self._write = write
        self._turn = threading.RLock()
        self._fence = -1  # none held; the fence of a held lease is at least 1
        self._labels: dict[int, tuple[str, Label]] = {}
        self._ids: dict[tuple[str, str, str, str], tuple[int, str]] = {}
        self._version = self._seen = 0
        self._others = False
        self._time: datetime | None = None

    # ------------------------------------------------------------------------------------------ opening

    @classmethod
    def open(cls, folder: Path, clock: Clock, *, create: bool, write: bool = True,
             name: str = FILE) -> Journal:
        """The journal in `folder`, its head checked. Nothing there and not `create`: an empty one to read.

        Sets the folder to 0700 and the file to 0600 whatever the umask. Refusal(JOURNAL) for a link, a FIFO
        or a foreign owner in place of either, for an unreadable or damaged file, for a newer format, and – where it
        is to be written – for a folder on a network share or one that is synchronised.
        """
        path = folder / name
        if write and (reason := volume.look(folder).refused):
            raise _refusal(path, "the journal must be on a local disk", reason,
                           "Name a folder on a disk of this machine with --state or MAILMOVE_STATE.")
        try:
            there = statefile.check(path)
            if not there and not create:
                database = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
                tables.initialise(database)
                return cls(None, database, clock, write=False)
            if not there:
                statefile.make(path, tables.build)
            if write:
                statefile.tighten(path)
            # A reader opens for writing too, and then forbids it to itself: only so can it roll back what a
            # killed writer left half done. Where the file may not be written, SQLite opens it for reading.
            database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None,
                                       timeout=BUSY_SECONDS, check_same_thread=False)
        except (OSError, *UNREADABLE) as error:
            raise _refusal(path, "the journal cannot be opened", str(error)) from None
        journal = cls(path, database, clock, write)
        try:
            with journal._reading():
                journal._prepare()
        except BaseException:
            database.close()
            raise
        return journal

    def _prepare(self) -> None:
        if self._write:
            self._db.execute("PRAGMA journal_mode=DELETE")
            self._db.execute("PRAGMA synchronous=EXTRA")
        else:
            self._db.execute("PRAGMA query_only=ON")
        self._db.execute("PRAGMA cell_size_check=ON")
        found = self._db.execute("SELECT version FROM format").fetchone()
        if found is None or not isinstance(found[0], int):
            self._damaged("it has no format")
        if found[0] > tables.FORMAT:
            raise _refusal(self.path, "the journal was written by a newer mailmove",
                           f"format {found[0]}; this program knows {tables.FORMAT}", "Use the newer program.")
        seq = self._check_head()
        self._version = self._db.execute("PRAGMA data_version").fetchone()[0]
        self._seen = seq

    def _check_head(self) -> int:
        self._db.execute("BEGIN")  # one snapshot: a writer may be at work
        try:
            seq, digest, at, fence = self._db.execute("SELECT seq, digest, at, fence FROM head").fetchone()
            last = self._db.execute("SELECT max(seq) FROM events").fetchone()[0] or 0
            if last != seq:
                self._damaged(f"its head is record {seq}, but the last one there is {last}")
            if seq:
                raw = self._raw(seq)
                if (raw[8], raw[1]) != (digest, at):
                    self._damaged(f"record {seq} is not the one its head names")
            highest = self._db.execute("SELECT max(fence) FROM events WHERE seq > ?", (seq - FENCES,)).fetchone()[0]
            if not isinstance(fence, int) or fence < (highest or 0):
                self._damaged(f"its fence is {fence}, but a record was written under {highest}")
            return int(seq)
        except (KeyError, TypeError, ValueError):  # a damaged page may hold any type anywhere, or nothing
            self._damaged("its head cannot be read")
        finally:
            self._db.execute("COMMIT")

    def close(self) -> None:
        """Let go of the file; a worker that asks afterwards is refused. Does not release the lease: `release` does."""
        with self._turn:  # SQLite does not survive a close in the middle of another thread's query
            self._db.close()

    # ------------------------------------------------------------------------------------------ the lease

    def hold(self, holder: Mapping[str, str],
             watching: Callable[[Mapping[str, str], datetime], None] = lambda held_by, until: None) -> int:
        """Become the one that acts; returns the fence. `holder`: who, host, pid, since (all text).

        A holder on the same host whose process is gone is replaced at once, any other after `LEASE` without a
        sign of life. Refusal(LOCKED) names who holds it, where and since when. A sign of life from a time that has
        not come yet tells nothing about when it was given: then the holder is watched for `LEASE` first, and
        `watching` is told who it is and until when.
        """
        watched = self._watch(holder, watching)
        with self._transaction():
            fence, beat, kept, at = self._db.execute("SELECT fence, beat, holder, at FROM head").fetchone()
            now = max(at, microseconds(self._clock.now()))
            silent = watched is not None and watched == (fence, beat)
            if kept and not silent and not replaceable(decode(kept), holder, beat, now):
                raise locked("another run holds this migration", decode(kept))
            self._db.execute("UPDATE head SET fence = ?, beat = ?, holder = ?",
                             (fence + 1, now, encode(dict(holder))))
        self._fence = int(fence) + 1
        return self._fence

    def _watch(self, holder: Mapping[str, str],
               watching: Callable[[Mapping[str, str], datetime], None]) -> tuple[int, int] | None:
        """Fence and sign of life of a holder whose clock was ahead of ours by more than `LEASE`, and that has given no
        other for as long; None where there is nothing to watch, or it has just shown that it lives."""
        def look() -> tuple[int, int, str, int]:
            with self._reading():
                head: tuple[int, int, str, int] = self._db.execute(
                    "SELECT fence, beat, holder, at FROM head").fetchone()
            return head

        fence, beat, kept, at = look()
        now = microseconds(self._clock.now())
        if not kept or beat <= now + LEASE_MICROSECONDS or replaceable(decode(kept), holder, beat, max(at, now)):
            return None
        watching(decode(kept), self._clock.now() + LEASE)
        for _ in range(int(LEASE.total_seconds())):
            self._clock.sleep(1.0)
            if look()[:2] != (fence, beat):
                return None
        return fence, beat

    def heartbeat(self) -> None:
        """Say that the holder lives; at least every 30 s. Refusal(LOCKED) when another has taken over."""
        now = microseconds(self._clock.now())
        with self._transaction():
            self._fenced()
            # later than the last one, even where that was given by a clock far ahead: each is told from the one before
            self._db.execute("UPDATE head SET beat = max(beat + 1, at, ?)", (now,))

    def confirm(self) -> None:
        """Just before a call that changes something over there: the lease is ours, and stays so while it is made.

        Refusal(LOCKED) when another has taken over: this process has slept through its lease, and may not go on. Any
        thread may ask. Costs a read; a sign of life older than a third of the lease, or as far ahead, is renewed first.
        """
        with self._reading():
            fence, beat, kept = self._db.execute("SELECT fence, beat, holder FROM head").fetchone()
        if fence != self._fence or not kept:
            raise locked("this run no longer holds the migration", decode(kept) if kept else {})
        if abs(microseconds(self._clock.now()) - beat) > LEASE_MICROSECONDS // 3:
            self.heartbeat()

    def release(self) -> None:
        """Let another run hold it. Nothing happens when the lease is no longer ours."""
        if self._fence < 0:
            return
        with self._transaction():
            self._db.execute("UPDATE head SET holder = '' WHERE fence = ?", (self._fence,))
        self._fence = -1

    def holder(self, now: datetime) -> Mapping[str, str] | None:
        """Who holds it: who, host, pid, since; None when nobody does, or was not heard of for `LEASE`."""
        with self._reading():
            beat, kept, at = self._db.execute("SELECT beat, holder, at FROM head").fetchone()
        lapsed = max(at, microseconds(now)) >= beat + LEASE_MICROSECONDS
        return None if not kept or lapsed else decode(kept)

    def _fenced(self) -> tuple[int, bytes, int]:
        """Inside a transaction: the head, once the lease is known to be ours."""
        seq, digest, at, fence, kept = self._db.execute(
            "SELECT seq, digest, at, fence, holder FROM head").fetchone()
        if fence != self._fence or not kept:
            raise locked("this run no longer holds the migration", decode(kept) if kept else {})
        return seq, digest, at

    # ------------------------------------------------------------------------------------------ writing

    def append(self, records: Sequence[Record]) -> int:
        """All of them in one transaction, durable on return; the last one's seq. Numbers are consecutive.

        Refusal(LOCKED) when the lease is lost: then nothing was written and nothing may be done. TypeError
        for a body that holds what no State may (bytes, a secret).
        """
        return self._chain(records, leased=True)

    def say(self, *records: Record) -> int:
        """A person's words, in one transaction; needs no lease. The last one's seq."""
        return self._chain(records, leased=False)

    def consent(self, tokens: Iterable[bytes], by: str, asked: Mapping[str, int] | None = None) -> int:
        """A person agrees to these acts: one `consented` record with their digest and count; its seq.

        asked: of those whose meaning is known, how many of each module.
        """
        kept = sorted(set(tokens))
        body = {"by": by, "count": len(kept), "digest": tokens_digest(kept), "asked": dict(asked or {})}
        return self._chain([Record("consented", body=body)], leased=False, tokens=kept)

    def remember(self, seen: Mapping[bytes, tuple[str, datetime | None]]) -> None:
        """What a look at these instances found, unchanged in kind: identity → (text, next look). Not chained.

        A poll each minute for weeks must not grow the chain (safety promise A11). Needs the lease.
        """
        now = microseconds(self._clock.now())
        with self._transaction():
            self._fenced()
            self._db.executemany(
                "INSERT OR REPLACE INTO last_seen VALUES (?, ?, ?, ?)",
                [(each, text, wake and microseconds(wake), now) for each, (text, wake) in seen.items()])

    @property
    def time(self) -> datetime | None:
        """The time that the last append or say of this process was given."""
        return self._time

    def now(self) -> datetime:
        """Journal time: the later of the clock and the last record, so that it never runs backwards."""
        with self._reading():
            at = self._db.execute("SELECT at FROM head").fetchone()[0]
        return max(from_microseconds(at), self._clock.now())

    def _chain(self, records: Sequence[Record], *, leased: bool, tokens: Sequence[bytes] = ()) -> int:
        bodies = [encode(record.body) for record in records]
        clock = microseconds(self._clock.now())
        with self._transaction():
            if leased:
                seq, digest, last = self._fenced()
                fence = self._fence
            else:
                seq, digest, last = self._db.execute("SELECT seq, digest, at FROM head").fetchone()
                fence = None
            found, at = seq, max(clock, last) if records else last  # the head tells the last record's time
            rows = []
            for record, body in zip(records, bodies, strict=True):
                seq += 1
                row, key, identity = record.row, record.key, record.identity
                label = (record.kind, record.task, record.row_kind, record.module)
                number, text = self._ids.get(label) or self._label_id(label)
                digest = chained(digest, seq, at, fence, text, row, key, identity, body)
                rows.append((seq, at, fence, number, row, key, identity, body, digest))
            self._db.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            self._db.execute("UPDATE head SET seq = ?, digest = ?, at = ?", (seq, digest, at))
            if leased:
                self._db.execute("UPDATE head SET beat = max(beat + 1, ?)", (at,))
            if tokens:
                self._db.executemany("INSERT INTO consents VALUES (?, ?)", [(seq, token) for token in tokens])
        self._others = self._others or found != self._seen
        self._seen, self._time = seq, from_microseconds(at)
        return seq

    def _label_id(self, label: tuple[str, str, str, str]) -> tuple[int, str]:
        text = json.dumps(label)
        self._db.execute("INSERT OR IGNORE INTO labels (text) VALUES (?)", (text,))
        number = int(self._db.execute("SELECT id FROM labels WHERE text = ?", (text,)).fetchone()[0])
        self._labels[number] = (text, Label(*label))
        self._ids[label] = (number, text)
        return number, text

    # ------------------------------------------------------------------------------------------ reading

    def records(self, after: int = 0, kinds: Collection[str] | None = None) -> Iterator[Record]:
        """Records with a seq above `after`, in order, each checked; `kinds` None: all."""
        return (row.record() for row in self.rows(after, kinds))

    def rows(self, after: int = 0, kinds: Collection[str] | None = None, *,
             tasks: Collection[str] | None = None, names: Collection[str] | None = None) -> Iterator[Row]:
        """As `records`, with bodies undecoded, and only of these task labels and row names where given."""
        where, values = "e.seq > ?", []
        if kinds is not None or tasks is not None:
            with self._reading():
                self._load_labels()
                chosen = [number for number, (_, label) in self._labels.items()
                          if (kinds is None or label.kind in kinds) and (tasks is None or label.task in tasks)]
            where += f" AND e.label IN ({','.join(map(str, chosen))})"
        if names is not None:
            # as one JSON text, since SQLite bounds the number of parameters
            where += " AND e.row IN (SELECT value FROM json_each(?))"
            values.append(json.dumps(list(names)))
        query = f"{SELECT} {where} ORDER BY e.seq LIMIT {PAGE}"
        while True:
            with self._reading():
                page = self._db.execute(query, (after, *values)).fetchall()
            for raw in page:
                yield self._checked(raw)
            if len(page) < PAGE:
                return
            after = page[-1][0]

    def last(self, kind: str) -> Record | None:
        """The last record of a kind, the only one that is decoded: a long migration has hundreds of runs, each with the
        table of its tasks. None when there is none."""
        found = deque(self.rows(kinds=(kind,)), maxlen=1)
        return found[0].record() if found else None

    def tasks(self) -> list[str]:
        """The labels of all tasks that any record names."""
        with self._reading():
            self._load_labels()
            return sorted({label.task for _, label in self._labels.values() if label.task})

    def record(self, seq: int) -> Record:
        """The record with this number. KeyError when there is none."""
        with self._reading():
            return self._checked(self._raw(seq)).record()

    def body(self, seq: int) -> Mapping[str, Any]:
        """The body of the record with this number. KeyError when there is none."""
        return self.record(seq).body

    def head(self) -> tuple[int, bytes]:
        """The last record's number and digest; (0, 16 zero bytes) when there is none."""
        with self._reading():
            seq, digest = self._db.execute("SELECT seq, digest FROM head").fetchone()
        return seq, digest

    def consents(self) -> set[bytes]:
        """All tokens agreed to, each set checked against the digest in its `consented` record."""
        agreed: set[bytes] = set()
        for record in self.records(kinds=("consented",)):
            with self._reading():
                tokens = [token for (token,) in self._db.execute(
                    "SELECT token FROM consents WHERE seq = ? ORDER BY token", (record.seq,))]
            sound = all(isinstance(token, bytes) for token in tokens)
            if not sound or tokens_digest(tokens) != record.body["digest"]:
                self._damaged(f"the consent of record {record.seq} is not the one that was given")
            agreed.update(tokens)
        return agreed

    def remembered(self) -> dict[bytes, tuple[str, datetime | None, datetime]]:
        """The last looks: identity → (text, next look, time of the look)."""
        with self._reading():
            found = self._db.execute("SELECT identity, text, wake, at FROM last_seen").fetchall()
        return {each: (text, None if wake is None else from_microseconds(wake), from_microseconds(at))
                for each, text, wake, at in found}

    def changed(self) -> bool:
        """Whether someone else appended since this was last asked. Cheap: a PRAGMA while nobody writes."""
        with self._reading():
            version = self._db.execute("PRAGMA data_version").fetchone()[0]
            if version != self._version:
                self._version = version
                seq = self._db.execute("SELECT seq FROM head").fetchone()[0]
                self._others = self._others or seq != self._seen
                self._seen = seq
        found, self._others = self._others, False
        return found

    def verify(self) -> list[Problem]:
        """Everything that is wrong with the whole chain, by record number; empty when it is sound."""
        problems: list[Problem] = []
        after, expected = 0, 1
        try:
            for (text,) in self._db.execute("PRAGMA integrity_check(20)").fetchall():
                if text != "ok":
                    problems.append(_problem(self.path, "the journal is damaged", text))
            self._load_labels()
            query = f"{SELECT} e.seq > ? ORDER BY e.seq LIMIT {PAGE}"
            while page := self._db.execute(query, (after,)).fetchall():
                for raw in page:
                    if raw[0] != expected:
                        problems.append(_problem(self.path, "the journal is damaged",
                                                 f"records {expected} to {raw[0] - 1} are missing"))
                    elif problem := self._fault(raw):
                        problems.append(problem)
                    expected = raw[0] + 1
                after = page[-1][0]
            self._check_head()
            self.consents()
        except UNREADABLE as error:
            problems.append(_problem(self.path, "the journal is damaged",
                                     f"after record {expected - 1}: {error}"))
        except Refusal as refusal:
            if refusal.problem not in problems:
                problems.append(refusal.problem)
        return problems

    # ------------------------------------------------------------------------------------------ inside

    def _raw(self, seq: int) -> tuple[Any, ...]:
        raw = self._db.execute(f"{SELECT} e.seq = ?", (seq,)).fetchone()
        if raw is None:
            raise KeyError(seq)
        if problem := self._fault(raw):
            raise Refusal(ExitCode.JOURNAL, problem)
        return tuple(raw)

    def _checked(self, raw: tuple[Any, ...]) -> Row:
        if problem := self._fault(raw):
            raise Refusal(ExitCode.JOURNAL, problem)
        seq, at, fence, number, row, key, identity, body = raw[:8]
        return Row(seq, at, fence, self._labels[number][1], row, key, identity, body)

    def _fault(self, raw: tuple[Any, ...]) -> Problem | None:
        seq, at, fence, number, row, key, identity, body, digest, before = raw
        if number not in self._labels:
            with self._reading():
                self._load_labels()
        try:
            sound = digest == chained(before if seq > 1 else NOTHING, seq, at, fence, self._labels[number][0],
                                      row, key, identity, body)
        except (KeyError, TypeError, AttributeError):
            sound = False  # a damaged row may hold any type anywhere
        if sound:
            return None
        return _problem(self.path, "the journal is damaged", f"record {seq} is not as it was written")

    def _load_labels(self) -> None:
        for number, text in self._db.execute("SELECT id, text FROM labels"):
            if number not in self._labels:
                try:
                    label = Label(*json.loads(text))
                except (ValueError, TypeError):
                    continue  # damaged: the records that use it will not match
                self._labels[number] = (text, label)
                self._ids[label] = (number, text)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._turn:
            try:
                yield
            except UNREADABLE as error:
                if _busy(error):
                    raise _standing_still(self.path) from None
                raise _refusal(self.path, "the journal cannot be read", str(error)) from None

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        if not self._write:
            raise _refusal(self.path, "there is no journal to write to",
                           "it was opened for reading, or nothing has been applied yet", "Run apply first.")
        self._turn.acquire()
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except BaseException as error:
            try:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
            except sqlite3.Error:
                pass  # SQLite has rolled back by itself, or the next open will
            self._labels.clear()  # a label of the failed transaction is not there either
            self._ids.clear()
            if isinstance(error, UNREADABLE):
                if _busy(error):
                    raise _standing_still(self.path) from None
                raise _refusal(self.path, "the journal cannot be written", str(error),
                               "Nothing of this was written. Free space or mend the disk, then run again."
                               ) from None
            raise
        finally:
            self._turn.release()

    def _damaged(self, found: str) -> NoReturn:
        raise _refusal(self.path, "the journal is damaged", found)


def _busy(error: BaseException) -> bool:
    """SQLite waited for another process's transaction, and in vain."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # what Python itself raises has none
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _standing_still(path: Path | None) -> Refusal:
    return Refusal(ExitCode.LOCKED, Problem(
        "another process is in the middle of a write to the journal", next_command="mailmove status",
        found=f"{path}: not let go of for {BUSY_SECONDS:.0f} seconds; the process may have been stopped.",
        remedy="Let it go on, or end it: what it had not finished is then undone by the next run."))


def _problem(path: Path | None, summary: str, found: str, remedy: str = "") -> Problem:
    if remedy:
        return Problem(summary, found=f"{path}: {found}" if path else found, remedy=remedy)
    return Problem(summary, found=f"{path}: {found}" if path else found, next_command="mailmove journal salvage",
                   remedy="Restore the folder from a backup, or go on with what of it is sound.")


def _refusal(path: Path | None, summary: str, found: str, remedy: str = "") -> Refusal:
    return Refusal(ExitCode.JOURNAL, _problem(path, summary, found, remedy))
