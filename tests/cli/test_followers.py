"""waive: what follows is named before anything is blocked by it, and waived too by one word more."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine.cli import main
from engine.run.journal import Journal, Record
from engine.world import StillClock, World

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
WHERE = ("-p", "acme", "--state", "state")
WAIVE = ("waive", "The domain is known to the tenant", *WHERE, "--reason", "the customer does it")
FOLLOWERS = """\
  Own the domains / The proof of ownership is in public DNS
  Own the domains / The domain is verified
"""


def mailmove(*words: str) -> str:
    screen = io.StringIO()
    world = World(clock=StillClock(START), environment={"USER": "maria"})
    assert main(words, screen, screen, world) == 0, screen.getvalue()
    return screen.getvalue()


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Journal:
    """Of the sample migration, a domain that the tenant would not take."""
    monkeypatch.chdir(tmp_path)
    mailmove("init", "acme", "--type", "staged")
    found = Journal.open(tmp_path / "state" / "acme", StillClock(START), create=True)
    found.hold({"who": "anna", "host": "h", "pid": "1", "since": "now"})
    found.append([Record("failed", f"Own the domains / {WAIVE[1]}", "domains", "contoso.com",
                         "domain/contoso.com", "tenant_domain", b"1" * 16,
                         {"phase": "failed", "what": "fault", "reason": "refused", "remedy": "", "until": None})])
    found.release()
    return found


def test_what_follows_is_named_with_the_word_that_takes_it_along(journal: Journal) -> None:
    assert mailmove(*WAIVE) == (
        "Waived by maria: contoso.com.\n"
        "These need what it would have told, and will be blocked; --with-followers waives them too:\n"
        f"{FOLLOWERS}\nNext:\n    mailmove apply acme --state state\n")
    assert len(list(journal.records(kinds=("waived",)))) == 1
    journal.close()


def test_what_follows_is_waived_with_it(journal: Journal) -> None:
    assert mailmove(*WAIVE, "--with-followers") == (
        "Waived by maria: contoso.com.\n"
        "Waived with it, for want of what it would have told:\n"
        f"{FOLLOWERS}\nNext:\n    mailmove apply acme --state state\n")
    assert [f"  {record.task}\n" for record in journal.records(kinds=("waived",)) if record.body.get("follows")] == (
        FOLLOWERS.splitlines(keepends=True))
    journal.close()
