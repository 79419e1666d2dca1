"""When acts may start: windows across changes of the clocks, freezes, gaps, decisions that grow old in the queue."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from engine.contract import ExitCode, Window
from engine.run import words
from engine.run.gates import closes_at, opens_at
from engine.world import InlineWorkers
from tests.run.conftest import Migration
from tests.run.memory import Thing

MONDAY, TUESDAY, FRIDAY, SATURDAY, SUNDAY = 0, 1, 4, 5, 6
ALL = tuple(range(7))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def window(opens: str, closes: str, *days: int, zone: str = "Europe/Berlin", freezes: tuple[tuple[str, str], ...] = ()
           ) -> Window:
    return Window("w", days or ALL, opens, closes, zone, tuple((at(begin), at(end)) for begin, end in freezes))


NIGHT = window("20:00", "06:00", FRIDAY)
#: Berlin goes to summer time on 2026-03-29 at 01:00 UTC (02:00 becomes 03:00) and back on 2026-10-25 at 01:00 UTC.
SKIPPED = window("02:30", "05:00", SUNDAY)
INSIDE = window("02:15", "02:45", SUNDAY)
ENDS_SKIPPED = window("22:00", "02:30", SATURDAY)


@pytest.mark.parametrize(("what", "now", "opens", "closes"), [
    (NIGHT, "2026-03-06 18:59", "2026-03-06 19:00", "2026-03-07 05:00"),
    (NIGHT, "2026-03-06 19:00", None, "2026-03-07 05:00"),
    (NIGHT, "2026-03-07 04:59:59", None, "2026-03-07 05:00"),
    (NIGHT, "2026-03-07 05:00", "2026-03-13 19:00", "2026-03-14 05:00"),
    # the same wall-clock times in summer are an hour earlier
    (NIGHT, "2026-04-03 10:00", "2026-04-03 18:00", "2026-04-04 04:00"),
    # the night of the change: an hour shorter in spring, an hour longer in autumn
    (window("20:00", "06:00", SATURDAY), "2026-03-28 12:00", "2026-03-28 19:00", "2026-03-29 04:00"),
    (window("20:00", "06:00", SATURDAY), "2026-10-24 12:00", "2026-10-24 18:00", "2026-10-25 05:00"),
    # opens at a time that is skipped: by the time before it, which is 03:30 after it
    (SKIPPED, "2026-03-29 00:00", "2026-03-29 01:30", "2026-03-29 03:00"),
    (SKIPPED, "2026-03-22 00:00", "2026-03-22 01:30", "2026-03-22 04:00"),
    # lies wholly in the hour that is skipped: does not stretch
    (INSIDE, "2026-03-29 00:00", "2026-03-29 01:15", "2026-03-29 01:45"),
    (ENDS_SKIPPED, "2026-03-28 22:00", None, "2026-03-29 01:30"),
    # ends at a time that comes twice: the first time counts, opens at one: also
    (ENDS_SKIPPED, "2026-10-24 22:00", None, "2026-10-25 00:30"),
    (SKIPPED, "2026-10-25 00:00", "2026-10-25 00:30", "2026-10-25 04:00"),
    # other clocks: half an hour, no summer time, the other hemisphere, across the date line
    (window("22:00", "23:00", MONDAY, zone="Australia/Lord_Howe"), "2026-04-05 00:00", "2026-04-06 11:30",
     "2026-04-06 12:30"),
    (window("22:00", "23:00", MONDAY, zone="Asia/Kolkata"), "2026-03-02 00:00", "2026-03-02 16:30", "2026-03-02 17:30"),
    (window("00:00", "02:00", MONDAY, zone="Pacific/Auckland"), "2026-03-01 08:00", "2026-03-01 11:00",
     "2026-03-01 13:00"),
    # a whole day, and one that passes midnight by a minute
    (window("00:00", "00:00", TUESDAY, zone="UTC"), "2026-03-03 23:59", None, "2026-03-04 00:00"),
    (window("23:59", "00:01", TUESDAY, zone="UTC"), "2026-03-04 00:00:30", None, "2026-03-04 00:01"),
    # freezes: at its beginning, in its middle, at its end, over all of it, two that overlap in any order
    (replace(NIGHT, freezes=((at("2026-03-06 12:00"), at("2026-03-06 22:00")),)), "2026-03-06 19:00",
     "2026-03-06 22:00", "2026-03-07 05:00"),
    (replace(NIGHT, freezes=((at("2026-03-06 21:00"), at("2026-03-06 22:00")),)), "2026-03-06 21:30",
     "2026-03-06 22:00", "2026-03-07 05:00"),
    (replace(NIGHT, freezes=((at("2026-03-07 03:00"), at("2026-03-07 09:00")),)), "2026-03-07 03:00",
     "2026-03-13 19:00", "2026-03-14 05:00"),
    (replace(NIGHT, freezes=((at("2026-03-06 00:00"), at("2026-03-12 00:00")),)), "2026-03-06 20:00",
     "2026-03-13 19:00", "2026-03-14 05:00"),
    (replace(NIGHT, freezes=((at("2026-03-06 22:00"), at("2026-03-07 01:00")),
                             (at("2026-03-06 18:00"), at("2026-03-06 22:30")))), "2026-03-06 19:00",
     "2026-03-07 01:00", "2026-03-07 05:00"),
])
def test_when_a_window_opens_and_closes(what: Window, now: str, opens: str | None, closes: str) -> None:
    assert opens_at(what, at(now)) == (at(opens) if opens else None)
    assert closes_at(what, at(now)) == at(closes)


def test_a_freeze_of_weeks_is_looked_at_again_daily_and_never_opens_early() -> None:
    frozen = replace(NIGHT, freezes=((at("2026-03-01 00:00"), at("2026-05-01 00:00")),))
    now = at("2026-03-06 20:00")
    for _ in range(200):
        opening = opens_at(frozen, now)
        if opening is None:
            break
        assert opening > now
        now = opening
    assert now == at("2026-05-01 18:00")


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"])
def test_no_act_starts_outside_at_any_minute_of_the_days_around_a_change(zone: str) -> None:
    """By the wall clock itself, minute by minute: inside exactly when the clock shows a time of the window."""
    from zoneinfo import ZoneInfo

    what = window("22:00", "06:00", zone=zone)
    for begin in ("2026-03-07 00:00", "2026-03-28 00:00", "2026-04-04 00:00", "2026-10-24 00:00", "2026-10-31 00:00"):
        for minute in range(0, 2 * 24 * 60, 7):
            now = at(begin) + timedelta(minutes=minute)
            local = now.astimezone(ZoneInfo(zone))
            assert (opens_at(what, now) is None) == (local.hour >= 22 or local.hour < 6), (zone, now)


ROWS = """
- name: One
  targets: mailboxes
  tasks:
    - name: The thing is on
      thing: {name: "{{ target }}"}
"""


def one_by_one(migration: Migration, monkeypatch: pytest.MonkeyPatch, minutes: int) -> None:
    """Each act is a call of its own, one at a time, and takes so many minutes."""
    apply = Thing.apply

    def slow(*given: object) -> object:
        migration.later(minutes=minutes)
        return apply(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(Thing, "apply_rows", 1)
    monkeypatch.setattr(Thing, "apply", slow)
    world = replace(migration.world(), workers=lambda: InlineWorkers(random.Random(1), limit=1))
    monkeypatch.setattr(Migration, "world", lambda self: world)


def test_what_waits_for_room_when_the_window_closes_waits_for_the_next_one(
        migration: Migration, monkeypatch: pytest.MonkeyPatch) -> None:
    migration.write(ROWS + "      window: night\n")
    migration.clock.time = at("2026-03-07 05:52")
    one_by_one(migration, monkeypatch, minutes=10)
    outcome = migration.run()
    assert outcome.counts == {"done": 1, "waiting": 2}
    assert sum(migration.remote.effects.values()) == 1
    assert outcome.next_wake == at("2026-03-13 20:00")
    migration.clock.time = at("2026-03-13 20:00")
    assert migration.run().exit_code == ExitCode.CONVERGED


def test_what_waits_for_room_for_long_is_read_again_before_it_is_done(
        migration: Migration, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody does it meanwhile: a decision an hour old would do it again."""
    migration.write(ROWS)
    one_by_one(migration, monkeypatch, minutes=60)
    apply = Thing.apply

    def meanwhile(*given: object) -> object:
        for name in ("anna", "bo", "cem"):
            migration.remote.things[f"thing/{name}@acme.example"] = {"value": "on"}
        return apply(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(Thing, "apply", meanwhile)
    assert migration.run().exit_code == ExitCode.CONVERGED
    assert sum(migration.remote.effects.values()) == 1


def test_what_waits_for_room_hears_the_red_button(migration: Migration, monkeypatch: pytest.MonkeyPatch) -> None:
    migration.write(ROWS)
    one_by_one(migration, monkeypatch, minutes=0)
    apply = Thing.apply

    def stopped(*given: object) -> object:
        migration.say(words.hold, rows=[], reason="stop")
        return apply(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(Thing, "apply", stopped)
    outcome = migration.run()
    assert sum(migration.remote.effects.values()) == 1, "what was under way ends, and nothing else begins"
    assert outcome.counts == {"done": 1, "held": 2}


def test_an_approval_that_expires_while_its_act_waits_for_room_is_asked_for_again(
        migration: Migration, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = '    - name: Go\n      approval: {id: go, question: "Go?"}\n    - name: The'
    migration.write(ROWS.replace("    - name: The", asked))
    migration.run()
    migration.say(words.approve, task="Go")
    one_by_one(migration, monkeypatch, minutes=25 * 60)
    outcome = migration.run()
    assert sum(migration.remote.effects.values()) == 1
    assert outcome.counts["asking"] == 2


def test_an_approval_serves_the_next_window_to_its_end_however_long_that_is(migration: Migration) -> None:
    asked = '    - name: Go\n      approval: {id: go, question: "Go?"}\n    - name: The'
    migration.write(ROWS.replace("    - name: The", asked) + "      window: night\n")
    migration.run()
    asks = [event.fields["ask"] for event in migration.events if event.kind == "parked"]
    assert [each["holds_until"] for each in asks] == [at("2026-03-07 06:00")] * 3
    migration.say(words.approve, task="Go", rows=["anna@acme.example"])  # on a Monday
    migration.clock.time = at("2026-03-06 20:00")
    migration.run()
    assert migration.remote.effects == {"thing/anna@acme.example create": 1}


def test_a_run_that_comes_weeks_late_does_each_thing_once_and_asks_again_for_what_has_expired(
        migration: Migration) -> None:
    migration.write(ROWS + "      window: night\n")
    assert migration.run().exit_code == ExitCode.PARKED_ON_TIME
    migration.later(days=23)  # three windows missed, between two of them
    late = migration.run()
    assert late.exit_code == ExitCode.PARKED_ON_TIME and migration.remote.effects == {}
    assert late.next_wake == at("2026-03-27 20:00")
    migration.clock.time = at("2026-03-27 23:00")
    assert migration.run().exit_code == ExitCode.CONVERGED
    assert set(migration.remote.effects.values()) == {1}


def test_time_that_jumps_back_neither_shortens_nor_repeats_a_wait(migration: Migration) -> None:
    migration.write("""
    - name: Domains
      targets: domains
      tasks:
        - name: Lowered
          thing: {name: "ttl-{{ target }}"}
          register: ttl
        - name: Switched
          thing: {name: "mx-{{ target }}"}
          not_before: "{{ ttl.held_since + hours(72) }}"
    """)
    migration.run()
    migration.later(hours=-48)
    assert migration.run().exit_code == ExitCode.PARKED_ON_TIME
    migration.later(hours=48 + 71)
    assert migration.run().exit_code == ExitCode.PARKED_ON_TIME
    migration.later(hours=1)
    assert migration.run().exit_code == ExitCode.CONVERGED
    assert set(migration.remote.effects.values()) == {1}
