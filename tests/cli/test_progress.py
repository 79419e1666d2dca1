"""The live table shows what the journal says whenever nothing moves, and fits the terminal it is drawn on."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from rich.console import Console

from engine.contract import Event
from engine.progress import Lines, LiveTable
from engine.run.standing import ParkedRow, Standing, TaskStanding
from engine.screen import Screen

NOW = datetime(2026, 3, 2, 2, 0, tzinfo=UTC)


def table(standings: Sequence[Standing], plays: int = 2) -> LiveTable:
    templates = [SimpleNamespace(play=f"Play {number} of a migration", name="Task") for number in range(plays)]
    found = iter(standings)
    return LiveTable(Screen(io.StringIO(), io.StringIO()), templates, lambda: next(found))  # type: ignore[arg-type]


def standing(plays: int = 2, parked: Sequence[ParkedRow] = (), **counts: int) -> Standing:
    return Standing([TaskStanding(number, f"Play {number} of a migration", "Task", "mailboxes", "licence", 240, counts)
                     for number in range(plays)], parked=parked)


def drawn(live: LiveTable, width: int, height: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    live._console = console
    with console.capture() as capture:
        console.print(live._draw())
    return capture.get().splitlines()


def test_what_was_asked_and_answered_is_not_shown_as_asking_for_ever() -> None:
    row = ParkedRow("Play 0 of a migration / Task", "mailboxes", "anna", "k", "asking", "approval", "Go?", "", None,
                    NOW)
    live = table([standing(parked=[row], asking=1, pending=239), standing(done=1, pending=239)])
    live(Event("run_started", NOW))
    assert "asking" in drawn(live, 100, 30)[0]
    live(Event("waiting", NOW, fields={"until": NOW, "persons": True}))
    live.close()
    lines = drawn(live, 100, 30)
    assert "asking" not in lines[0]
    assert lines[-1].startswith("Waiting until 2026-03-02 02:00 UTC or for a person")


def test_a_row_is_counted_once_whatever_befalls_it() -> None:
    live = table([standing(pending=240)])
    live(Event("run_started", NOW))
    for kind, phase in (("parked", "waiting"), ("settled", "")):
        live(Event(kind, NOW, "Play 1 of a migration / Task", "anna", {"phase": phase}))
    live.close()
    assert live._counts["Play 1 of a migration"] == {"pending": 239, "waiting": 0, "done": 1}


def test_what_failed_and_what_would_help_stays_when_the_table_goes() -> None:
    live, out = table([standing(pending=240)]), io.StringIO()
    live.screen = Screen(out, io.StringIO())
    live(Event("run_started", NOW))
    for row in ("anna", "ben"):
        live(Event("failed", NOW, "Play 1 of a migration / Task", row, {
            "reason": "no seat", "remedy": "buy more seats"}))
    live(Event("settled", NOW, "Play 1 of a migration / Task", "ben", {}))
    live.close()
    assert out.getvalue() == "  failed: Task  anna   no seat. Buy more seats\n"


@pytest.mark.parametrize(("width", "height", "plays"), [(100, 30, 13), (80, 24, 14), (80, 24, 40)])
def test_it_fits(width: int, height: int, plays: int) -> None:
    live = table([standing(plays, done=1200, waiting=240, pending=4300)], plays)
    live(Event("run_started", NOW))
    for number in range(9):
        live(Event("acted", NOW, "Play 0 of a migration / Task", f"{'long' * 30}{number}@contoso.com", {"verb": "set"}))
    live.close()
    lines = drawn(live, width, height)
    assert len(lines) <= height and max(map(len, lines)) <= width
    assert lines[-1].rstrip().endswith("…")


@pytest.mark.parametrize("live", [False, True], ids=["lines", "live table"])
def test_a_holder_that_is_watched_is_told_with_the_end_of_it(live: bool) -> None:
    screen = Screen(io.StringIO(), io.StringIO())
    shown = table([]) if live else Lines(screen)
    shown(Event("watching", NOW, fields={
        "holder": {"who": "olaf", "host": "jump02", "pid": "4711"}, "until": NOW + timedelta(seconds=90)}))
    assert shown.screen.out.getvalue() == (  # type: ignore[attr-defined]
        "2026-03-02 02:00 UTC olaf on jump02, process 4711, holds this migration, and its last sign of life\n"
        "is of a time that has not come yet. Watched for another one until 02:01:30 UTC.\n")


@pytest.mark.parametrize("live", [False, True], ids=["lines", "live table"])
def test_what_the_preflight_could_not_tell_is_told_with_when_it_asks_again(live: bool) -> None:
    screen = Screen(io.StringIO(), io.StringIO())
    shown = table([]) if live else Lines(screen)
    shown(Event("asking_again", NOW, fields={
        "untold": ["the tenant has room: could not be told (no answer)", "another"],
        "until": NOW + timedelta(minutes=1)}))
    assert shown.screen.out.getvalue() == (  # type: ignore[attr-defined]
        "2026-03-02 02:00 UTC the tenant has room: could not be told (no answer) (and 1 more). Asked again at\n"
        "02:01:00 UTC. Ctrl-C ends it; nothing was changed.\n")
