"""Salvage: from a damaged journal a new one with the longest sound prefix of records, the old file kept beside it.

Nothing after the first unsound record is taken over: a record rests on those before it. What is not taken over is
listed as far as it can still be read, and when acts are among it everything is put on hold, for the next run would
otherwise do again what the lost records say was done.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine.contract import ExitCode, Problem, Refusal
from engine.run import statefile, tables
from engine.run.encoding import decode, from_microseconds, microseconds
from engine.run.journal import FILE, Journal, Record
from engine.run.lease import LEASE, locked, replaceable
from engine.run.records import NOTHING, digest, tokens_digest
from engine.world import Clock

#: Records that may mean that something was done over there.
ACTS = frozenset({"intent", "undoing", "result"})
#: What damaged columns may raise when they are looked into.
_DAMAGE = (sqlite3.Error, ValueError, TypeError, KeyError, AttributeError, OverflowError)

_EVENTS = "SELECT seq, at, fence, label, row, key, identity, body, digest FROM events WHERE seq"


@dataclass(frozen=True, slots=True)
class Lost:
    """A record that is not taken over; each text "" where it cannot be read."""

    seq: int
    at: datetime | None
    kind: str
    task: str
    row: str


@dataclass
class Salvage:
    """What a damaged journal still holds. `keep` sound records, 1 to keep; `lost` are those after them that show.

    why    what is wrong with the first record that is not taken over, or with the file
    """

    path: Path
    keep: int = 0
    why: str = ""
    lost: list[Lost] = field(default_factory=list)
    _labels: dict[int, str] = field(default_factory=dict)
    _rows: list[tuple[Any, ...]] = field(default_factory=list)
    _tokens: list[tuple[int, bytes]] = field(default_factory=list)
    _fence: int = 0

    @property
    def acts(self) -> list[Lost]:
        """What is lost and may have been done."""
        return [each for each in self.lost if each.kind in ACTS or not each.kind]

    def write(self, clock: Clock, by: str) -> Path:
        """The new journal in place of the old one; where the old one is kept now.

        The name `journal.sqlite` stands for the old file or the new one at every moment, also through a crash.
        OSError and Refusal(JOURNAL) when the disk says no: then the old file stands as it was.
        """
        stamp = clock.now().astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        kept = self.path.with_name(f"journal.damaged-{stamp}.sqlite")
        rollback = self.path.with_name(f"{self.path.name}-journal")
        draft = self.path.with_name(f"journal.salvaged-{os.getpid()}.sqlite")
        draft.unlink(missing_ok=True)
        try:
            statefile.make(draft, self._build)
            with closing(Journal.open(draft.parent, clock, create=False, name=draft.name)) as journal:
                self._tell(journal, kept.name, by)
                wrong = journal.verify()
            if wrong:
                raise Refusal(ExitCode.JOURNAL, wrong[0])
            _copy(self.path, kept)
            if rollback.exists():
                _copy(rollback, kept.with_name(f"{kept.name}-journal"))
                rollback.unlink()  # SQLite would roll it back into the new file
            draft.replace(self.path)
        finally:
            draft.unlink(missing_ok=True)
        statefile.sync_folder(self.path.parent)
        return kept

    def _tell(self, journal: Journal, kept: str, by: str) -> None:
        words = [Record("salvaged", body={"by": by, "reason": self.why, "kept": kept, "records": self.keep,
                                          "lost": len(self.lost), "acts": len(self.acts)})]
        if self.lost or not self.keep:
            words.append(Record("held", body={"by": by, "reason": (
                f"journal salvaged up to record {self.keep}: see what was lost, then release")}))
        journal.say(*words)

    def _build(self, path: Path) -> None:
        tables.build(path)
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            database.execute("PRAGMA synchronous=EXTRA")
            database.execute("BEGIN IMMEDIATE")
            database.executemany("INSERT INTO labels VALUES (?, ?)", self._labels.items())
            database.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", self._rows)
            database.executemany("INSERT INTO consents VALUES (?, ?)", self._tokens)
            seq, last, at = (self._rows[-1][0], self._rows[-1][8], self._rows[-1][1]) if self._rows else (0, NOTHING, 0)
            database.execute("UPDATE head SET seq = ?, digest = ?, at = ?, fence = ?", (seq, last, at, self._fence))
            database.execute("COMMIT")


def examine(folder: Path, clock: Clock, holder: Mapping[str, str]) -> Salvage:
    """What the journal in `folder` still holds; works on a copy and changes nothing.

    Refusal(JOURNAL) where there is none, Refusal(LOCKED) while a run holds it or may hold it. `holder`: as for `hold`.
    """
    path = folder / FILE
    try:
        if not statefile.check(path):
            raise Refusal(ExitCode.JOURNAL, Problem("there is no journal", found=f"{path} is not there."))
        with tempfile.TemporaryDirectory(prefix="salvage-", dir=folder) as temporary:
            copy = Path(temporary) / path.name
            shutil.copyfile(path, copy)
            with suppress(FileNotFoundError):
                shutil.copyfile(path.with_name(f"{path.name}-journal"), copy.with_name(f"{copy.name}-journal"))
            best = _look(path, copy, clock, holder)
            if best.keep == 0 and not best.lost:
                # Page 1 holds nothing of ours but the tables' names, which are the same in every journal.
                _give_first_page(copy, Path(temporary) / "pattern.sqlite")
                better = _look(path, copy, clock, holder)
                better.why = better.why or best.why
                best = max(best, better, key=lambda found: (found.keep, len(found.lost)))
            if not best.why and not best.lost:
                best.why = _as_used(copy, clock)
            return best
    except OSError as error:
        raise Refusal(ExitCode.JOURNAL, Problem(
            "the journal cannot be read", found=f"{path}: {error.strerror or error}.",
            remedy="Look at the disk and at who owns the folder.")) from None


def _as_used(copy: Path, clock: Clock) -> str:
    """What a run would find wrong with the file; "" when nothing. Refusal when a newer program wrote it."""
    try:
        with closing(Journal.open(copy.parent, clock, create=False)) as journal:
            return next((problem.found for problem in journal.verify()), "")
    except Refusal as refusal:
        if "newer" in refusal.problem.summary:
            raise
        return refusal.problem.found


def _look(path: Path, copy: Path, clock: Clock, holder: Mapping[str, str]) -> Salvage:
    found = Salvage(path)
    with closing(sqlite3.connect(copy, isolation_level=None)) as database:
        database.text_factory = _text
        try:
            database.execute("PRAGMA cell_size_check=ON")
            _not_held(database, path, clock, holder, found)
            if not database.execute("SELECT count(*) FROM events").fetchone():
                raise ValueError("it has no records")
        except _DAMAGE as error:
            found.why = found.why or f"it cannot be read: {error}"
        with suppress(*_DAMAGE):
            for number, text in database.execute("SELECT id, text FROM labels"):
                if isinstance(number, int) and isinstance(text, str):
                    found._labels[number] = text
        _take_prefix(database, found)
        used = {row[3] for row in found._rows}
        found.lost = [_lost(row, found._labels) for row in _rows_after(database, found.keep)]
        found._labels = {number: text for number, text in found._labels.items() if number in used}
    return found


def _take_prefix(database: sqlite3.Connection, found: Salvage) -> None:
    last = NOTHING
    with suppress(*_DAMAGE):
        found.why = found.why or _head_fault(database)
    while True:
        try:
            row = database.execute(f"{_EVENTS} = ?", (found.keep + 1,)).fetchone()
            if row is None:
                return
            seq, at, fence, label, name, key, identity, body, own = row
            text = found._labels[label]
            sound = isinstance(own, bytes) and own == digest(last, seq, at, fence, text, name, key, identity, body)
            tokens: list[tuple[int, bytes]] = []
            if sound and json.loads(text)[0] == "consented":
                tokens = [(seq, token) for (token,) in database.execute(
                    "SELECT token FROM consents WHERE seq = ? ORDER BY token", (seq,))]
                sound = tokens_digest(token for _, token in tokens) == decode(body)["digest"]
        except _DAMAGE as error:
            found.why = f"record {found.keep + 1} cannot be read: {error}"
            return
        if not sound:
            found.why = f"record {found.keep + 1} is not as it was written"
            return
        found._rows.append(row)
        found._tokens += tokens
        found._fence = max(found._fence, fence or 0)
        found.keep, last = seq, own


def _head_fault(database: sqlite3.Connection) -> str:
    seq, last = database.execute("SELECT seq, digest FROM head").fetchone()
    row = database.execute("SELECT digest FROM events WHERE seq = ?", (seq,)).fetchone() if seq else (NOTHING,)
    return "" if row == (last,) else f"its head names record {seq}, and that one is missing or another"


def _rows_after(database: sqlite3.Connection, after: int) -> Iterator[tuple[Any, ...]]:
    """Whatever rows can be read behind `after`: from both ends, up to the damage in between."""
    upwards: list[tuple[Any, ...]] = []
    for order, rows in (("ASC", upwards), ("DESC", [])):
        with suppress(*_DAMAGE):
            seen = upwards[-1][0] if upwards else after
            for row in database.execute(f"{_EVENTS} > ? ORDER BY seq {order}", (seen,)):
                if isinstance(row[0], int):
                    rows.append(row)
        yield from rows if order == "ASC" else reversed(rows)


def _lost(row: tuple[Any, ...], labels: Mapping[int, str]) -> Lost:
    kind = task = ""
    at = None
    with suppress(*_DAMAGE):
        kind, task = json.loads(labels[row[3]])[:2]
    with suppress(*_DAMAGE):
        at = from_microseconds(row[1])
    return Lost(row[0], at, str(kind), str(task), row[4] if isinstance(row[4], str) else "")


def _not_held(database: sqlite3.Connection, path: Path, clock: Clock, new: Mapping[str, str], found: Salvage) -> None:
    """Refuses while a run holds the migration: it would go on writing to the file that is put away."""
    try:
        fence, beat, kept, at = database.execute("SELECT fence, beat, holder, at FROM head").fetchone()
        found._fence = int(fence)
        old = decode(kept) if kept else {}
        alive = bool(old) and not replaceable(old, new, beat, max(at, microseconds(clock.now())))
    except _DAMAGE:
        # nobody can tell: a holder would have written its sign of life
        old, alive = {}, clock.now().timestamp() - path.stat().st_mtime < LEASE.total_seconds()
    if alive:
        raise locked("a run holds this migration, or held it until a moment ago", old)


def _give_first_page(copy: Path, pattern: Path) -> None:
    tables.build(pattern)
    size = int.from_bytes(pattern.read_bytes()[16:18], "big")
    page = bytearray(pattern.read_bytes()[:size])
    whole = copy.stat().st_size // size
    page[28:32] = whole.to_bytes(4, "big")  # pages of the file; believed while 24..27 equal 92..95
    with copy.open("r+b") as stream:
        stream.write(page)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _copy(source: Path, target: Path) -> None:
    handle = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with source.open("rb") as old, os.fdopen(handle, "wb") as new:
        shutil.copyfileobj(old, new)
        new.flush()
        os.fsync(new.fileno())
