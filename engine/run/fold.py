"""What the records add up to: where each instance stands by record, and what people have said.

One pass over the journal, then kept current record by record. Instances are columns, not objects, and bodies
stay on disk until somebody asks: 240,000 instances are under 60 MB.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from engine.contract import State
from engine.run.encoding import decode, from_microseconds, microseconds
from engine.run.journal import Journal, Record, Row

#: What an instance's records may be; the first six tell how far an act has come.
WORDS = ("", "intent", "result", "handed", "settled", "unsettled", "undone", "parked", "failed")
_INTENT, _RESULT, _HANDED, _SETTLED, _UNSETTLED, _UNDONE, _PARKED, _FAILED = range(1, 9)
_CODES = {"intent": _INTENT, "undoing": _INTENT, "result": _RESULT, "settled": _SETTLED, "unsettled": _UNSETTLED,
          "undone": _UNDONE, "parked": _PARKED, "failed": _FAILED, "bound": _UNSETTLED}
#: How the result that the engine writes most begins and ends. Keys are sorted: such a body has neither `handed` nor
#: `state` (nor `fault`), and is known without being decoded.
_PLAIN_OK = ('{"index":', ',"ok":true}')


@dataclass(frozen=True, slots=True)
class Word:
    """What a person said. `until` None: for good, or for as long as the asker's rule says."""

    by: str
    at: datetime
    reason: str
    until: datetime | None
    seq: int
    body: Mapping[str, Any]


class Past(NamedTuple):
    """What the journal knows of one instance.

    last           how far its latest act has come: intent, result, handed, settled, unsettled, undone or "".
                   "intent": in doubt, unless the call is under way in this process
    word           the latest record of all: one of these, or parked or failed
    intent_at      start of the act that has not settled yet; None when none has begun since it last settled
    result_at      when that act was answered (also with a fault: then `result_ok` is false)
    held_since     when it was first read as wanted since it last was not; None while it is not
    before_seq     the record that knows how it was before us (first intent, or settled without one); 0: none
    state_seq      the record with the latest state (settled, or a result that carries one); 0: none
    waiting_since  since when it waits for a service, over all runs
    attempts       acts begun since it last settled or a person said to try again
    task           its label in its latest record, "play / task"
    parked         how its latest record parks it, for `parked_as`; 0: not at all
    """

    last: str
    word: str
    intent_at: datetime | None
    result_at: datetime | None
    result_ok: bool
    held_since: datetime | None
    waiting_since: datetime | None
    before_seq: int
    state_seq: int
    settled_seq: int
    intent_seq: int
    seq: int
    attempts: int
    task: str
    parked: int

    def parked_as(self, phase: str, what: str, reason: str) -> bool:
        """Whether its latest record parks it in just this way."""
        return self.parked == _signature(phase, what, reason)


class Fold:
    """Built by `load`, or empty and fed with `apply`; records must come in order."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        #: the last record taken in, and the last `run` among them
        self.seq = 0
        self.run_seq = 0
        #: what is parked since a value is not known
        self.unknown: set[bytes] = set()
        #: how many words of people have been taken in; 0 spares every row the look-ups below
        self.words = 0
        self._index: dict[bytes, int] = {}
        self._tasks: dict[str, int] = {}
        self._task_names: list[str] = []
        self._task_modules: list[str] = []
        self._last, self._word, self._ok = bytearray(), bytearray(), bytearray()
        self._intent_at, self._result_at, self._held, self._waiting = (array("q") for _ in range(4))
        self._parked = array("i")
        self._before, self._state, self._settled, self._intent, self._latest, self._task = (
            array("I") for _ in range(6))
        self._attempts = array("H")
        self._columns = (self._last, self._word, self._ok, self._intent_at, self._result_at, self._held,
                         self._waiting, self._parked, self._before, self._state, self._settled, self._intent,
                         self._latest, self._task, self._attempts)
        self._handed_over: dict[int, int] = {}
        self._approved: dict[bytes, int] = {}
        self._resolved: dict[bytes, int] = {}
        self._retried: dict[bytes, int] = {}
        self._overridden: dict[tuple[str, str], int] = {}
        self._waived: dict[tuple[str, str], dict[str, int]] = {}
        #: by name, whatever the kind; "" holds everything
        self._held_rows: set[str] = set()

    @classmethod
    def load(cls, journal: Journal) -> Fold:
        """All that the journal holds now."""
        fold = cls(journal)
        for row in journal.rows():
            fold.take(row)
        return fold

    def take(self, row: Row) -> None:
        """Take in one row of the journal, its body undecoded unless it has to be looked into."""
        label = row.label
        self.enter(row.seq, row.at, label.kind, label.task, label.row_kind, row.row, row.identity, row.body,
                   label.module)

    def apply(self, record: Record) -> None:
        """Take in one record as read from the journal. One taken in before changes nothing."""
        if record.seq <= self.seq:
            return
        assert record.at is not None
        self.enter(record.seq, microseconds(record.at), record.kind, record.task, record.row_kind, record.row,
                   record.identity, record.body, record.module)

    # ------------------------------------------------------------------------------------- what it knows

    def __len__(self) -> int:
        return len(self._index)

    def past(self, identity: bytes) -> Past | None:
        """What is known of an instance; None when the journal never named it."""
        place = self._index.get(identity)
        return None if place is None else self._past(place)

    def pasts(self) -> Iterator[tuple[bytes, Past]]:
        """Every instance, in the order in which they were first named."""
        return ((identity, self._past(place)) for identity, place in self._index.items())

    def under_way(self, modules: Set[str]) -> Iterator[Past]:
        """What has begun and neither settled nor was refused nor failed, of tasks of these modules."""
        tasks = {number for number, module in enumerate(self._task_modules) if module in modules}
        for place, last in enumerate(self._last):
            if (_INTENT <= last <= _HANDED and self._task[place] in tasks and self._word[place] != _FAILED
                    and (last != _RESULT or self._ok[place])):
                yield self._past(place)

    def before(self, past: Past) -> State | None:
        """How it was before our first change, kept for ever; None: it did not exist, or nobody knows."""
        if not past.before_seq:
            return None
        body = self._journal.body(past.before_seq)
        found: State | None = body["before"] if "before" in body else body.get("state")
        return found

    def state(self, past: Past) -> State | None:
        """Its state as last journalled; None: it did not exist, or none was journalled."""
        if not past.state_seq:
            return None
        found: State | None = self._journal.body(past.state_seq).get("state")
        return found

    def agreement(self, tokens: Set[bytes]) -> dict[str, dict[str, int]]:
        """How the predictions people consented to compare with what has happened, by module.

        kept: acts predicted with their meaning that have settled so · uncovered: acts that settled but whose meaning
        was known only later.
        """
        found: dict[str, dict[str, int]] = {}
        for identity, place in self._index.items():
            if self._settled[place] and self._last[place] != _UNSETTLED:
                word = "kept" if identity in tokens else "uncovered" if self._intent[place] else ""
                if word:
                    mine = found.setdefault(self._task_modules[self._task[place]], {"kept": 0, "uncovered": 0})
                    mine[word] += 1
        return found

    def handover(self, identity: bytes) -> Mapping[str, Any] | None:
        """What was last handed to a person for it: title, kind, text; None when nothing was."""
        seq = self._handed_over.get(self._index.get(identity, -1))
        found: Mapping[str, Any] | None = self._journal.body(seq)["handed"] if seq is not None else None
        return found

    # ------------------------------------------------------------------------------------- people's words

    def held(self, row_kind: str, row: str) -> bool:
        """Whether a person said not to touch it (by name, whatever its kind), or not to touch anything."""
        return "" in self._held_rows or row in self._held_rows

    @property
    def all_held(self) -> bool:
        """Whether a person has said not to touch anything."""
        return "" in self._held_rows

    def waived(self, row_kind: str, row: str, task: str, task_id: str | None = None) -> Word | None:
        """The waiver of one task for a row; `task` is its label, or its id."""
        said = self._waived.get((row_kind, row))
        if not said:
            return None
        seq = max(said.get(task, 0), said.get(task_id, 0) if task_id else 0)
        return self._spoken(seq) if seq else None

    def row_waived(self, row_kind: str, row: str) -> bool:
        """Whether any task of the row is waived."""
        return (row_kind, row) in self._waived

    def approval(self, identity: bytes) -> Word | None:
        """The latest approval; whether it still holds is the caller's to judge."""
        return self._spoken(self._approved.get(identity, 0))

    def resolved(self, identity: bytes) -> Word | None:
        """The latest `resolve`: body `redo` (bool) and `evidence`."""
        return self._spoken(self._resolved.get(identity, 0))

    def retried(self, identity: bytes) -> int:
        """The record by which a person last said to try again; 0: none."""
        return self._retried.get(identity, 0)

    def overridden(self, guard: str, row: str) -> Word | None:
        """The latest override of a guard for a row, if journal time has not passed its end."""
        word = self._spoken(self._overridden.get((guard, row), 0))
        holds = word is not None and word.until is not None and self._journal.now() < word.until
        return word if holds else None

    def _spoken(self, seq: int) -> Word | None:
        if not seq:
            return None
        record = self._journal.record(seq)
        body = record.body
        assert record.at is not None
        return Word(body["by"], record.at, body.get("reason", ""), body.get("until"), seq, body)

    # ------------------------------------------------------------------------------------- taking in

    def enter(self, seq: int, at: int, kind: str, task: str, row_kind: str, row: str, identity: bytes,
              body: str | Mapping[str, Any], module: str = "") -> None:
        """Take in a record by its fields: `at` in microseconds, `body` as it is or still JSON."""
        self.seq = seq
        code = _CODES.get(kind)
        if code is None:
            if kind == "run":
                self.run_seq = seq
            elif kind in _SPOKEN:
                self._hear(seq, kind, task, (row_kind, row), identity, body)
            return
        place = self._place(identity)
        self._latest[place] = seq
        number = self._tasks.get(task)
        if number is None:
            number = self._tasks[task] = len(self._task_names)
            self._task_names.append(task)
            self._task_modules.append(module)
        self._task[place] = number
        self._word[place] = code
        self._parked[place] = 0
        self.unknown.discard(identity)
        if code == _PARKED:
            told = _mapping(body)
            self._park(place, at, told)
            if told["what"] == "unknown":
                self.unknown.add(identity)
        elif code != _FAILED:
            self._last[place] = code
            if code == _RESULT:
                self._result(place, seq, at, body)
                return
            if code == _INTENT:
                self._intent[place], self._intent_at[place] = seq, at
                self._result_at[place] = self._held[place] = 0
                self._attempts[place] += 1
                self._before[place] = self._before[place] or seq
            elif code == _SETTLED:
                self._waiting[place] = 0
                self._settled[place] = self._state[place] = seq
                self._before[place] = self._before[place] or seq
                self._held[place] = self._held[place] or at
                self._intent_at[place] = self._result_at[place] = self._attempts[place] = 0
            else:
                self._waiting[place] = 0
                self._held[place] = self._intent_at[place] = self._result_at[place] = 0
                if code == _UNDONE:  # as if it had never been ours; the record itself says how it is now
                    self._before[place] = self._settled[place] = self._intent[place] = self._attempts[place] = 0
                    self._state[place] = seq

    def _place(self, identity: bytes) -> int:
        place = self._index.get(identity)
        if place is None:
            place = self._index[identity] = len(self._index)
            for column in self._columns:
                column.append(0)
        return place

    def _park(self, place: int, at: int, body: Mapping[str, Any]) -> None:
        self._parked[place] = _signature(body["phase"], body["what"], body["reason"])
        if body["phase"] == "waiting" and body["what"] in _BY_ITSELF and not self._waiting[place]:
            since = body.get("since")
            self._waiting[place] = microseconds(since) if since is not None else at

    def _result(self, place: int, seq: int, at: int, body: str | Mapping[str, Any]) -> None:
        self._result_at[place] = at
        if isinstance(body, str) and body.startswith(_PLAIN_OK[0]) and body.endswith(_PLAIN_OK[1]):
            self._ok[place] = 1
            return
        told = _mapping(body)
        self._ok[place] = bool(told.get("ok"))
        if not self._ok[place] and self._before[place] == self._intent[place]:
            self._before[place] = 0  # nothing was changed: how it is before the next try is how it was before us
        if told.get("handed"):
            self._last[place] = self._word[place] = _HANDED
            self._handed_over[place] = seq
        if told.get("state") is not None:
            self._state[place] = seq

    def _hear(self, seq: int, kind: str, task: str, row: tuple[str, str], identity: bytes,
              body: str | Mapping[str, Any]) -> None:
        self.words += 1
        if kind == "approved":
            self._approved[identity] = seq
        elif kind == "resolved":
            self._resolved[identity] = seq
        elif kind == "retried":
            self._retried[identity] = seq
            place = self._index.get(identity)
            if place is not None:
                # told anew if it parks as before: the word has taken the row off the list of what stands still
                self._attempts[place] = self._waiting[place] = self._parked[place] = 0
        elif kind == "waived":
            said = self._waived.setdefault(row, {})
            said[task] = seq
            if task_id := _mapping(body).get("id"):
                said[task_id] = seq
        elif kind == "overridden":
            self._overridden[_mapping(body)["guard"], row[1]] = seq
        elif kind == "held":
            self._held_rows.add(row[1])
        else:
            self._held_rows.discard(row[1])

    def _past(self, place: int) -> Past:
        return Past(
            WORDS[self._last[place]], WORDS[self._word[place]], _moment(self._intent_at[place]),
            _moment(self._result_at[place]), bool(self._ok[place]), _moment(self._held[place]),
            _moment(self._waiting[place]), self._before[place], self._state[place], self._settled[place],
            self._intent[place], self._latest[place], self._attempts[place],
            self._task_names[self._task[place]], self._parked[place])


_SPOKEN = frozenset({"approved", "resolved", "retried", "waived", "overridden", "held", "released"})


def _mapping(body: str | Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = decode(body) if isinstance(body, str) else body
    return found


def _moment(at: int) -> datetime | None:
    return from_microseconds(at) if at else None


#: Waits that pass by themselves; their reasons carry counts and times, and are not news.
_BY_ITSELF = frozenset({"service", "fault"})


def _signature(phase: str, what: str, reason: str) -> int:
    return hash((phase, what, "" if what in _BY_ITSELF else reason)) & 0x7FFF_FFFF or 1
