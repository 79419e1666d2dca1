"""`journal verify` names the damage and what to type; `journal salvage` shows what is lost, then writes."""

from __future__ import annotations

import io
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine.cli import main
from engine.run.journal import Journal, Record
from engine.world import StillClock, World

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A migration folder with a journal of eight records, the fifth damaged."""
    monkeypatch.chdir(tmp_path)
    assert mailmove("init", "acme", "--type", "staged")[0] == 0
    journal = Journal.open(tmp_path / "state" / "acme", StillClock(START), create=True)
    journal.hold({"who": "anna", "host": "h", "pid": "1", "since": "now"})
    body = {"index": 1, "ok": True, "verb": "change"}
    journal.append([Record(kind, "People / Licence", "mailboxes", f"u{n}@contoso.com", f"licence/u{n}", "licence",
                           bytes([n]) * 16, body) for n in range(4) for kind in ("intent", "result")])
    journal.release()
    journal.close()
    return tmp_path


def mailmove(*words: str, clock: datetime = START) -> tuple[int, str]:
    screen = io.StringIO()
    world = World(clock=StillClock(clock), environment={"USER": "maria"})
    return main(words, screen, screen, world), screen.getvalue()


def damage(folder: Path) -> None:
    with sqlite3.connect(folder / "state" / "acme" / "journal.sqlite") as database:
        database.execute("UPDATE events SET body = 'x' WHERE seq = 5")
    database.close()


WHERE = ("-p", "acme", "--state", "state")


def test_verify_names_the_record_and_salvage(folder: Path) -> None:
    assert mailmove("journal", "verify", *WHERE)[0] == 0
    damage(folder)
    code, said = mailmove("journal", "verify", *WHERE)
    assert code == 9 and "record 5 is not as it was written" in said
    assert "mailmove journal salvage" in said


def test_salvage_shows_first_then_writes_and_puts_everything_on_hold(folder: Path) -> None:
    assert "nothing to salvage" in mailmove("journal", "salvage", *WHERE)[1]
    damage(folder)
    before = (folder / "state" / "acme" / "journal.sqlite").read_bytes()
    code, shown = mailmove("journal", "salvage", *WHERE)
    assert code == 12 and (folder / "state" / "acme" / "journal.sqlite").read_bytes() == before
    assert shown == """\
state/acme/journal.sqlite: record 5 is not as it was written.
Sound: 4 records, in one chain from the first.
Lost: 4 records that can still be read behind them: 2 intent, 2 result.
What was or may have been done by those:
        5  2026-03-02 09:00 UTC  intent   u2@contoso.com  People / Licence
        6  2026-03-02 09:00 UTC  result   u2@contoso.com  People / Licence
        7  2026-03-02 09:00 UTC  intent   u3@contoso.com  People / Licence
        8  2026-03-02 09:00 UTC  result   u3@contoso.com  People / Licence

Nothing was written.

Next:
    mailmove journal salvage -p acme --state state --yes
"""
    code, done = mailmove("journal", "salvage", *WHERE, "--yes")
    assert code == 0 and "journal.damaged-20260302T090000Z.sqlite" in done
    assert "mailmove release -p acme --state state --reason TEXT" in done
    assert (folder / "state" / "acme" / "journal.damaged-20260302T090000Z.sqlite").read_bytes() == before
    assert mailmove("journal", "verify", *WHERE)[0] == 0
    status = mailmove("status", *WHERE)[1]
    assert "hold" in status
    history = mailmove("history", *WHERE)[1]
    assert "salvaged by maria up to record 4" in history
    assert max(map(len, (shown + done + status + history).splitlines())) <= 100


def test_salvage_without_a_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    mailmove("init", "acme", "--type", "staged")
    code, said = mailmove("journal", "salvage", *WHERE)
    assert code == 9 and "there is no journal" in said and "mailmove" in said.splitlines()[-1]
