"""A person's words: what is asked for is written down; what nobody asked for is refused with a way out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from engine.contract import ExitCode, Problem, Refusal
from engine.run import words
from engine.run.fold import Fold
from engine.run.journal import Journal, Record
from engine.world import StillClock

START = datetime(2026, 3, 6, 18, 0, tzinfo=UTC)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """Anna and Bo ask for the conversion of Batch01; Cy's licence failed; MX is stopped by its guard."""
    each = Journal.open(tmp_path / "m", StillClock(START), create=True)
    each.hold({"who": "anna", "host": "h", "pid": "x", "since": "now"})

    def parked(task: str, kind: str, row: str, phase: str, what: str, reason: str = "because", **ask: Any) -> Record:
        return Record("failed" if phase == "failed" else "parked", task, kind, row, f"{task}/{row}", "m",
                      f"{task[:8]}{row[:8]}".ljust(16).encode()[:16],
                      {"phase": phase, "what": what, "reason": reason, "until": None, "ask": ask})

    each.append([
        parked("Convert / Go or no-go", "mailboxes", "anna@x", "asking", "approval", id="convert", group="Batch01"),
        parked("Convert / Go or no-go", "mailboxes", "bo@x", "asking", "approval", id="convert", group="Batch01"),
        parked("Convert / Go or no-go", "mailboxes", "dee@x", "asking", "approval", id="convert", group="Batch02"),
        parked("Mail / Go or no-go", "domains", "x.example", "asking", "approval", id="mx"),
        parked("Mail / MX names only Microsoft 365", "domains", "x.example", "blocked", "guard",
               "mx_to_cloud: 2 not synced"),
        parked("Remove / Go", "batches", "Batch01", "asking", "approval", id="remove", typed="Batch01"),
        parked("Each / Licence", "mailboxes", "cy@x", "failed", "fault", "no seats"),
        parked("Each / Sync", "mailboxes", "anna@x", "waiting", "service", "10 %"),
        parked("Start / Plan", "organisation", "acme", "asking", "checklist", id="kick-off", items=("a",)),
        parked("Each / Letter", "mailboxes", "bo@x", "asking", "doubt", question="Was it sent?"),
    ])
    return each


def refused(call: Callable[..., object], *args: Any, **named: Any) -> Problem:
    with pytest.raises(Refusal) as caught:
        call(*args, by="kim", **named)
    assert caught.value.exit_code == ExitCode.USAGE
    return caught.value.problem


def test_one_word_for_a_group_and_only_for_it(journal: Journal) -> None:
    said = words.approve(journal, task="convert", rows=["Batch01"], by="kim", reason="go")
    assert said == words.Said(2, ("anna@x", "bo@x"))
    fold = Fold.load(journal)
    asked = {record.row: record.identity for record in journal.records(kinds=("parked",))
             if record.task.startswith("Convert")}
    assert [fold.approval(asked[row]) is not None for row in ("anna@x", "bo@x", "dee@x")] == [True, True, False]
    assert all(record.fence is None for record in journal.records(kinds=("approved",)))


def test_all_that_ask_when_no_row_is_named(journal: Journal) -> None:
    assert words.approve(journal, task="Convert / Go or no-go", by="kim").count == 3


def test_one_row_and_an_end(journal: Journal) -> None:
    until = START + timedelta(hours=3)
    assert words.approve(journal, task="mx", rows=["x.example"], by="kim", until=until).rows == ("x.example",)
    (record,) = journal.records(kinds=("approved",))
    assert (record.body["until"], record.body["by"], record.row_kind) == (until, "kim", "domains")


def test_a_name_that_several_tasks_have_is_refused_unless_the_rows_decide(journal: Journal) -> None:
    assert "Convert / Go or no-go" in refused(words.approve, journal, task="Go or no-go").found
    assert words.approve(journal, task="Go or no-go", rows=["x.example"], by="kim").count == 1


@pytest.mark.requirement("B-46")
def test_the_typed_name_must_be_right(journal: Journal) -> None:
    for typed in ("", "batch01", "Batch02"):
        assert refused(words.approve, journal, task="remove", rows=["Batch01"], typed=typed).summary == (
            "the typed name is not the one asked for")
    assert words.approve(journal, task="remove", rows=["Batch01"], by="kim", typed="Batch01").count == 1


def test_what_nobody_asked_is_refused(journal: Journal) -> None:
    before = journal.head()
    assert "Did you mean anna@x" in refused(words.approve, journal, task="convert", rows=["ana@x"]).remedy
    assert refused(words.approve, journal, task="convert", rows=["cy@x"]).summary == "this row does not ask for this"
    assert "Licence" in refused(words.approve, journal, task="Licens").remedy
    assert refused(words.approve, journal, task="Licence").summary == "nothing asks for this"
    assert refused(words.retry, journal, task="convert").summary == "nothing asks for this"
    assert refused(words.waive, journal, task="Licence", reason="  ").summary == "a reason is missing"
    assert refused(words.waive, journal, task="mx", reason="x").summary == "nothing asks for this"
    assert refused(words.resolve, journal, task="Licence", done=True).summary == "nothing asks for this"
    assert refused(words.resolve, journal, task="kick-off", done=False).summary == "a checklist cannot be done again"
    assert refused(words.override, journal, guard="mx_to_cloud", rows=["x.example"], reason="").summary == (
        "a reason is missing")
    assert "mx_to_cloud" in refused(words.override, journal, guard="mx_back", rows=["x.example"], reason="r").remedy
    assert refused(words.override, journal, guard="mx_to_cloud", rows=[], reason="r").summary == "no row is named"
    assert "Did you mean" in refused(words.hold, journal, rows=["anna@xx"]).remedy
    assert refused(words.release, journal, rows=["anna@x"]).summary == "it is not on hold"
    assert refused(words.release, journal).summary == "it is not on hold"
    assert journal.head() == before


def test_waive_and_retry(journal: Journal) -> None:
    assert words.retry(journal, task="Licence", by="kim").rows == ("cy@x",)
    assert words.retry(journal, task="Sync", rows=["anna@x"], by="kim").count == 1
    assert words.waive(journal, task="Licence", rows=["cy@x"], by="kim", reason="leaves").rows == ("cy@x",)
    word = Fold.load(journal).waived("mailboxes", "cy@x", "Each / Licence", None)
    assert word is not None and (word.by, word.reason) == ("kim", "leaves")


@pytest.mark.parametrize(("task", "done"), [("kick-off", True), ("Letter", True), ("Letter", False)])
def test_resolve(journal: Journal, task: str, done: bool) -> None:
    words.resolve(journal, task=task, by="kim", done=done, evidence="ticket 7")
    (record,) = journal.records(kinds=("resolved",))
    word = Fold.load(journal).resolved(record.identity)
    assert word is not None and (word.body["redo"], word.body["evidence"]) == (not done, "ticket 7")


def test_an_override_ends_after_an_hour(journal: Journal) -> None:
    words.override(journal, guard="mx_to_cloud", rows=["x.example"], by="kim", reason="agreed with the customer")
    word = Fold.load(journal).overridden("mx_to_cloud", "x.example")
    assert word is not None and word.until == START + timedelta(hours=1)


def test_hold_and_release(journal: Journal) -> None:
    words.hold(journal, rows=["anna@x", "zoe@x"], by="kim", known={"zoe@x"})
    assert words.hold(journal, by="kim", reason="stop") == words.Said(0, ())
    assert Fold.load(journal).held("domains", "x.example")
    words.release(journal, by="kim")
    fold = Fold.load(journal)
    assert fold.held("mailboxes", "anna@x") and fold.held("mailboxes", "zoe@x")
    assert not fold.held("domains", "x.example")
    assert "anna@x" in refused(words.release, journal).remedy
    words.release(journal, rows=["anna@x"], by="kim")
    assert not Fold.load(journal).held("mailboxes", "anna@x")
