"""`why` and `status`: what a person reads, and may type, when something stands still."""

from __future__ import annotations

import io
import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine import app
from engine.arguments import as_typed
from engine.cli import main
from engine.report import COLUMNS
from engine.rows import as_csv
from engine.run.journal import Journal, Record
from engine.world import StillClock, World

NOW = datetime(2026, 3, 2, 2, 0, tzinfo=UTC)
ANNA = "anna@contoso.com"
WORLD = World(clock=StillClock(NOW), environment={"USER": "maria"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    app.init(tmp_path / "acme", "staged")
    return tmp_path / "acme"


@pytest.fixture
def journal(folder: Path) -> Iterator[Journal]:
    """Of a run that was killed after the records a test writes."""
    (folder / "state").mkdir()
    opened = Journal.open(folder / "state" / "acme", WORLD.clock, create=True)
    opened.hold({"who": "maria", "host": "h", "pid": "1", "since": "now"})
    yield opened
    opened.close()


def typed(folder: Path, *words: str) -> str:
    out = io.StringIO()
    assert main([*words, "-p", str(folder), "--state", str(folder / "state")], out, out, WORLD) == 0, out.getvalue()
    return out.getvalue()


def record(kind: str, task: str, row_kind: str, row: str, **body: object) -> Record:
    return Record(kind, task, row_kind, row, f"thing/{row}", identity=task.encode()[-8:] + row.encode()[:8],
                  body={"index": 0, **body})


def parked(task: str, row_kind: str, row: str, **body: object) -> Record:
    return record("parked", task, row_kind, row, **{"remedy": "", "until": None, "since": NOW, **body})


def test_a_mailbox_that_has_not_begun_says_whose_answer_it_waits_for(folder: Path, journal: Journal) -> None:
    journal.append([parked("Tell people what will happen / The plan is agreed", "organisation", "acme",
                           phase="asking", what="checklist", reason="2 items to confirm",
                           ask={"id": "kick-off", "items": ["The service desk knows the dates"]})])
    said = typed(folder, "why", ANNA)
    assert "What comes next\n  ? «The plan is agreed» of acme: a person decides\n" in said
    assert "«The plan is agreed» of acme is asking" in said
    assert " 'Tell people what will happen / The plan is agreed' acme --done --evidence TEXT\n" in said


def test_an_act_is_one_line_and_a_failure_says_what_to_type(folder: Path, journal: Journal) -> None:
    copied, licensed = "Each mailbox / The first copy is complete", "Each mailbox / The mailbox is licensed"
    journal.append([
        record("intent", copied, "mailboxes", ANNA, verb="change", changes=[["state", "queued", "synced"]],
               before=None, attempt=1),
        record("result", copied, "mailboxes", ANNA, ok=True),
        record("settled", copied, "mailboxes", ANNA, state={}, acted=True),
        parked(licensed, "mailboxes", ANNA, phase="failed", what="fault", reason="no seat is free",
               remedy="buy one.")._replace(kind="failed")])
    lines = typed(folder, "why", ANNA).splitlines()
    assert "  2026-03-02 02:00 UTC  ~ The first copy is complete: state queued → synced" in lines
    assert "      no seat is free. Buy one." in lines
    assert any(line.startswith("      mailmove retry ") and line.endswith(f"licensed' {ANNA}") for line in lines)
    assert len(lines) <= 30 and max(len(line) for line in lines if "mailmove " not in line) <= COLUMNS


def test_a_long_story_stays_on_one_screen_and_says_where_the_rest_is(folder: Path, journal: Journal) -> None:
    """Every task of the shipped playbook done but the last two: one failed, one ahead. A screen has forty lines."""
    program = app.load(app.place(folder, None, folder / "state", WORLD), {}, WORLD).program
    tasks = [f"{each.play} / {each.name}" for each in program.templates if each.kind == "mailboxes"]
    journal.append([
        *(record("settled", task, "mailboxes", ANNA, state={}, acted=False) for task in tasks[:-2]),
        parked(tasks[-2], "mailboxes", ANNA, phase="failed", what="fault", reason="no seat is free " * 20,
               remedy="buy one.")._replace(kind="failed")])
    lines = typed(folder, "why", ANNA).splitlines()
    assert len(lines) <= 40
    assert any(" before that: mailmove history " in line for line in lines) or len(tasks) - 2 <= 12
    far = re.fullmatch(rf"{ANNA}   Anna Lindqvist, Batch01, (\d+) of (\d+) tasks done", lines[0])
    assert far and int(far[2]) - int(far[1]) == 2


def test_a_playbook_under_repair_does_not_silence_the_journal(folder: Path, journal: Journal) -> None:
    journal.append([record("settled", "Each mailbox / The mailbox is licensed", "mailboxes", ANNA, state={},
                           acted=False)])
    (folder / "playbook.yml").write_text("- nonsense\n")
    assert "= The mailbox is licensed" in typed(folder, "why", ANNA)


def test_status_shows_the_command_beside_each_question(folder: Path, journal: Journal) -> None:
    task = {"index": 0, "play": "Copy", "name": "Go", "kind": "batches", "module": "approval", "rows": 2}
    journal.append([
        Record("run", body={"playbook": "p.yml", "digest": "d", "started": NOW, "tasks": [task]}),
        *(parked("Copy / Go", "batches", row, phase="asking", what="approval", reason=f"Start {row}?",
                 ask={"id": "go", "question": f"Start {row}?", "roles": ["migration-lead"]})
          for row in ("Batch01", "Batch02"))])
    said = typed(folder, "status")
    assert "asked: migration-lead" in said
    for row in ("Batch01", "Batch02"):
        assert f" 'Copy / Go' {row}\n" in said


def test_a_cell_that_a_spreadsheet_would_run_is_kept_from_running() -> None:
    text = as_csv(["address", "name"], [["=cmd|' /C calc'!A0", "+1"], ["anna@contoso.com", "-2"]])
    assert text.splitlines()[1:] == ["'=cmd|' /C calc'!A0,'+1", "anna@contoso.com,'-2"]


def test_a_command_with_an_apostrophe_can_be_copied() -> None:
    words = ["mailmove", "retry", "Copy / The server's endpoint exists", "$HOME's", "plain"]
    assert as_typed(words).startswith('mailmove retry "Copy / The server\'s endpoint exists" ')
    assert shlex.split(as_typed(words)) == words
