"""What the records add up to, and where a migration stands by them."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from engine.run import standing
from engine.run.fold import Fold, Past
from engine.run.journal import Journal, Record
from engine.world import StillClock

START = datetime(2026, 3, 6, 18, 0, tzinfo=UTC)
ID = b"i" * 16
ON = {"assigned": True}
OFF = {"assigned": False}


class Told:
    """A journal, and a fold kept current beside it; every record comes a minute after the one before."""

    def __init__(self, folder: Path) -> None:
        self.clock = StillClock(START)
        self.journal = Journal.open(folder, self.clock, create=True)
        self.journal.hold({"who": "anna", "host": "h", "pid": "x", "since": "now"})
        self.fold = Fold(self.journal)

    def add(self, kind: str, body: dict[str, Any] | None = None, *, row: str = "anna@contoso.com",
            task: str = "Each mailbox / The mailbox is licensed", identity: bytes = ID) -> datetime:
        self.clock.time += timedelta(minutes=1)
        record = Record(kind, task, "mailboxes", row, f"licence/{row}", "licence", identity, body or {})
        if kind in standing.SPOKEN:
            self.journal.say(record)
        else:
            self.journal.append([record])
        for found in self.journal.records(after=self.fold.seq):
            self.fold.apply(found)
        return self.clock.time

    def run(self, *tasks: tuple[str, str, int]) -> None:
        listed = [{"play": play, "name": name, "kind": "mailboxes", "module": "licence", "rows": rows, "index": index}
                  for index, (play, name, rows) in enumerate(tasks)]
        self.journal.append([Record("run", body={
            "playbook": "p.yml", "digest": "d", "started": self.clock.time, "tasks": listed})])

    @property
    def past(self) -> Past:
        found = self.fold.past(ID)
        assert found is not None
        again = Fold.load(self.journal).past(ID)
        assert found == again, "kept current and built anew are the same"
        return found


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    each = Told(tmp_path / "m")
    yield each
    each.journal.close()


def test_one_act_from_intent_to_settled(told: Told) -> None:
    begun = told.add("intent", {"verb": "change", "before": OFF})
    assert (told.past.last, told.past.intent_at, told.past.result_at, told.past.attempts) == ("intent", begun, None, 1)
    answered = told.add("result", {"ok": True})
    past = told.past
    assert (past.last, past.result_at, past.result_ok, past.held_since) == ("result", answered, True, None)
    settled = told.add("settled", {"state": ON, "acted": True})
    past = told.past
    assert (past.last, past.held_since, past.intent_at) == ("settled", settled, None)
    assert (past.attempts, past.settled_seq) == (0, 3)
    assert (told.fold.before(past), told.fold.state(past)) == (OFF, ON)


def test_parking_does_not_hide_that_an_act_is_in_doubt(told: Told) -> None:
    told.add("intent", {"verb": "create", "before": None})
    told.add("parked", {"phase": "waiting", "what": "service", "reason": "looking", "until": None})
    assert (told.past.last, told.past.word) == ("intent", "parked")
    assert told.past.parked_as("waiting", "service", "looking")
    assert told.past.parked_as("waiting", "service", "looking, 7 items so far"), "a service's counts are no news"
    assert not told.past.parked_as("waiting", "guard", "looking")
    told.add("failed", {"phase": "failed", "what": "service", "reason": "never seen"})
    assert (told.past.last, told.past.word) == ("intent", "failed")
    assert not told.past.parked_as("waiting", "service", "looking")


def test_a_refused_and_a_handed_act(told: Told) -> None:
    told.add("intent", {"before": OFF})
    told.add("result", {"ok": False, "fault": {"text": "no"}})
    assert (told.past.last, told.past.result_ok) == ("result", False)
    told.add("intent", {"before": {"assigned": None}})
    told.add("result", {"ok": True, "handed": {"title": "t", "kind": "text", "text": "x"}})
    assert (told.past.last, told.past.attempts) == ("handed", 2)
    assert told.fold.before(told.past) == {"assigned": None}, "a refused act changed nothing: it was before this one"
    told.add("intent", {"before": OFF})
    told.add("result", {"ok": True})
    assert told.fold.before(told.past) == {"assigned": None}, "before our first change, not before our last"


def test_held_since_is_the_first_satisfying_read_since_one_that_was_not(told: Told) -> None:
    first = told.add("settled", {"state": ON, "acted": False})
    told.add("settled", {"state": ON | {"x": 1}, "acted": False})
    assert told.past.held_since == first
    assert told.fold.state(told.past) == ON | {"x": 1}
    told.add("unsettled", {"state": OFF})
    assert told.past.held_since is None
    again = told.add("settled", {"state": ON, "acted": True})
    assert told.past.held_since == again
    assert told.fold.before(told.past) == ON, "what the first read found, for it needed no act"


def test_waiting_for_a_service_counts_over_runs_and_retry_begins_anew(told: Told) -> None:
    since = told.add("parked", {"phase": "waiting", "what": "service", "reason": "10 %", "until": None})
    told.add("parked", {"phase": "waiting", "what": "service", "reason": "20 %", "until": None, "since": since})
    told.add("failed", {"phase": "failed", "what": "service", "reason": "too long"})
    assert told.past.waiting_since == since
    told.add("retried", {"by": "anna"})
    assert told.past.waiting_since is None and told.fold.retried(ID) == 4


def test_words_of_people(told: Told) -> None:
    fold, row = told.fold, ("mailboxes", "anna@contoso.com")
    assert fold.words == 0 and not fold.held(*row) and fold.approval(ID) is None
    at = told.add("approved", {"by": "anna", "reason": "go", "until": START})
    word = fold.approval(ID)
    assert word is not None and (word.by, word.at, word.reason, word.until) == ("anna", at, "go", START)
    told.add("waived", {"by": "bo", "reason": "left", "id": "lic"})
    label = "Each mailbox / The mailbox is licensed"
    assert fold.waived(*row, label, None) == fold.waived(*row, "renamed / task", "lic") is not None
    assert fold.waived(*row, "another / task", None) is None and fold.row_waived(*row)
    told.add("overridden", {"by": "bo", "guard": "mx_to_cloud", "until": told.clock.time + timedelta(hours=1)})
    assert fold.overridden("mx_to_cloud", "anna@contoso.com") and not fold.overridden("mx_back", "anna@contoso.com")
    told.clock.time += timedelta(hours=1)
    assert fold.overridden("mx_to_cloud", "anna@contoso.com") is None
    told.add("held", {"by": "bo"})
    assert fold.held(*row) and not fold.held("mailboxes", "bo@contoso.com")
    told.add("held", {"by": "bo"}, row="")
    told.add("released", {"by": "bo"})
    assert fold.held(*row), "everything is still held"
    told.add("released", {"by": "bo"}, row="")
    assert not fold.held(*row) and fold.words == 7


def test_memory_is_bytes_per_instance(told: Told) -> None:
    count = 20_000
    told.journal.append([Record("settled", "p / t", "mailboxes", f"u{n}", f"licence/u{n}", "licence",
                                n.to_bytes(16, "big"), {"state": ON}) for n in range(count)])
    tracemalloc.start()
    fold = Fold.load(told.journal)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(fold) == count and used / count < 250


# ------------------------------------------------------------------------------------------- standing

PLAY = "Each mailbox"
LICENSED = f"{PLAY} / The mailbox is licensed"


def test_an_empty_journal_stands_nowhere(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "none", StillClock(START), create=False, write=False)
    assert standing.status(journal, START) == standing.Standing([], {}, [])
    assert "No record names" in standing.why(journal, "x", None, START)[0].text


def test_a_run_under_way_is_counted_from_its_records(told: Told) -> None:
    told.run((PLAY, "The mailbox is licensed", 5), (PLAY, "Forwarding", 5))
    told.add("settled", {"state": ON, "acted": False})
    told.add("intent", {"verb": "change", "before": OFF}, row="bo", identity=b"b" * 16)
    until = START + timedelta(days=1)
    told.add("parked", {"phase": "waiting", "what": "wait", "reason": "the wait is not over", "until": until},
             row="cy", identity=b"c" * 16)
    found = standing.status(told.journal, told.clock.now())
    assert [task.counts for task in found.tasks] == [
        {"done": 1, "acting": 1, "waiting": 1, "pending": 2}, {"pending": 5}]
    assert (found.next_wake, found.ended, len(found.parked)) == (until, None, 1)
    assert found.holder is not None and found.holder["who"] == "anna"


def test_a_parked_row_stands_until_its_thing_moves_on(told: Told) -> None:
    told.run((PLAY, "The mailbox is licensed", 1))
    body = {"phase": "asking", "what": "approval", "reason": "Go?", "until": None, "ask": {"id": "mx"}}
    told.add("parked", body)
    (row,) = standing.status(told.journal, told.clock.now()).parked
    assert (row.row, row.task, row.phase) == ("anna@contoso.com", LICENSED, "asking")
    assert (row.ask, row.answer) == ({"id": "mx"}, None)
    told.add("approved", {"by": "bo", "reason": ""})
    (row,) = standing.status(told.journal, told.clock.now()).parked
    assert row.answer is not None and row.answer["by"] == "bo"
    told.clock.time += timedelta(hours=30)
    told.journal.remember({ID: ("Go?", START + timedelta(days=9))})
    (row,) = standing.status(told.journal, told.clock.now()).parked
    assert (row.answer, row.until) == (None, START + timedelta(days=9)), "looked at since, and still asking"
    told.add("settled", {"state": ON, "acted": False}, identity=b"z" * 16)
    found = standing.status(told.journal, told.clock.now())
    assert found.parked == [], "its meaning changed; the old question is history"


def test_the_end_of_a_run_is_told_by_the_run(told: Told) -> None:
    told.run((PLAY, "The mailbox is licensed", 2))
    told.journal.append([Record("ended", body={"exit_code": 4, "counts": {"failed": 1, "skipped": 1}, "changed": 3,
                                               "by_task": [{"failed": 1, "skipped": 1}], "next_wake": None,
                                               "predictions": {"made": 1}})])
    told.journal.release()
    found = standing.status(told.journal, told.clock.now())
    assert (found.counts, found.holder) == ({"failed": 1, "skipped": 1}, None)
    assert found.ended is not None and (found.ended["exit_code"], found.ended["changed"]) == (4, 3)


def test_why_says_what_happened_what_stands_and_what_is_next(told: Told) -> None:
    told.run((PLAY, "The mailbox is licensed", 2), (PLAY, "Forwarding", 2))
    told.add("intent", {"verb": "change", "before": OFF, "changes": [["assigned", False, True]]})
    told.add("result", {"ok": False, "fault": {"class": "Rejected", "text": "no seats", "code": "E7"}})
    told.add("failed", {"phase": "failed", "what": "fault", "reason": "no seats", "remedy": "Buy seats."})
    lines = standing.why(told.journal, "anna@contoso.com", None, told.clock.now())
    assert [line.what for line in lines] == ["happened", "happened", "happened", "stands", "next"]
    assert lines[0].text == "change (assigned: False → True)" and "no seats (E7)" in lines[1].text
    assert lines[3].command == 'mailmove retry "The mailbox is licensed" anna@contoso.com'
    assert "Buy seats." in lines[3].text and "Forwarding" in lines[4].text
    assert [line.what for line in standing.why(told.journal, "anna@contoso.com", "Forwarding", told.clock.now())] == []
    happened = [record.kind for record in standing.history(told.journal, "anna@contoso.com")]
    assert happened == ["intent", "result", "failed"]
    assert "Did you mean anna@contoso.com" in standing.why(told.journal, "ana@contoso.com", None, START)[0].text
