"""What an earlier mailmove wrote is read by this one, and gone on from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.contract import ExitCode
from engine.run import standing, words
from engine.run.tables import FORMAT
from tests.run.kept import KEPT, begin, files, resume


def test_there_is_one_of_every_format() -> None:
    assert [path.stem for path in files()] == [f"format-{number}" for number in range(1, FORMAT + 1)]


@pytest.mark.parametrize("path", files(), ids=lambda path: path.stem)
def test_a_kept_journal_is_whole_and_says_where_it_stands(path: Path, tmp_path: Path) -> None:
    migration = resume(path, tmp_path)
    left = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    journal = migration.journal()
    assert journal.verify() == []
    assert (journal.head()[0], journal.head()[1].hex()) == (left["records"], left["head"])
    parked = {(row.task, row.row): (row.phase, row.what) for row in standing.parked(journal)}
    assert parked[("Mailboxes / Set", "bo@acme.example")] == ("failed", "fault")
    assert {each.kind for each in journal.records()} >= {
        "run", "consented", "intent", "result", "settled", "parked", "failed", "held", "retried", "ended"}
    journal.close()


@pytest.mark.parametrize("path", files(), ids=lambda path: path.stem)
def test_a_kept_migration_goes_on_and_ends_as_one_that_was_never_left(path: Path, tmp_path: Path) -> None:
    migration = resume(path, tmp_path)
    migration.say(words.release, rows=("anna@acme.example",), reason="back")
    for _ in range(6):
        if migration.run(wait=True).exit_code == ExitCode.CONVERGED:
            break
    whole = tmp_path / "whole"
    whole.mkdir()
    other = begin(whole)
    assert other.run(wait=True).exit_code == ExitCode.CONVERGED
    assert (migration.remote.things, migration.remote.effects) == (other.remote.things, other.remote.effects)


def test_the_kept_files_are_small() -> None:
    assert sum(path.stat().st_size for path in KEPT.iterdir()) < 200_000
