"""What happens while a run waits in the foreground: what a person says is heard, what becomes of the world is seen."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from engine.connections import Site
from engine.contract import ExitCode
from engine.run import standing, words
from engine.world import StillClock
from tests.run.conftest import START, Migration
from tests.run.test_execute import APPROVAL, ONE, WAIT

ANNA, BO, CEM = "anna@acme.example", "bo@acme.example", "cem@acme.example"


class Interrupted(StillClock):
    """While a run waits, somebody does the next of these things, a minute later, and nothing after the last."""

    def __init__(self, *things: Callable[[], object]) -> None:
        super().__init__(START)
        self.things = list(things)

    def wait(self, until: datetime | None, stop_early: Callable[[], bool]) -> None:
        if not self.things:
            assert until is not None, "it waits for a person who does nothing more"
            return super().wait(until, stop_early)
        self.time += timedelta(minutes=1)
        self.things.pop(0)()
        assert stop_early(), "nothing was heard of it"
        return None


class Meanwhile(StillClock):
    """In each of a run's waits the next of these things happens over there, and nobody says so."""

    def __init__(self, *things: Callable[[], object]) -> None:
        super().__init__(START)
        self.things = list(things)

    def wait(self, until: datetime | None, stop_early: Callable[[], bool]) -> None:
        if self.things:
            self.things.pop(0)()
        super().wait(until, stop_early)


def test_an_approval_in_the_middle_of_a_run_lets_its_row_go_on_and_no_other(migration: Migration) -> None:
    migration.write(APPROVAL)
    done: list[set[str]] = []

    def approve(row: str) -> Callable[[], None]:
        def say() -> None:
            done.append(set(migration.remote.things))
            migration.say(words.approve, task="Go", rows=[row], reason="agreed")
        return say

    migration.clock = Interrupted(approve(BO), approve(ANNA), approve(CEM))
    assert migration.run(wait=True).exit_code == ExitCode.CONVERGED
    assert done == [set(), {f"thing/{BO}"}, {f"thing/{ANNA}", f"thing/{BO}"}]


def test_a_hold_in_the_middle_of_a_run_keeps_everything_back_until_it_is_released(migration: Migration) -> None:
    migration.write(APPROVAL)
    migration.clock = Interrupted(
        lambda: migration.say(words.hold, rows=[], reason="stop"),
        lambda: migration.say(words.release, rows=[], reason="go on"),
        lambda: migration.say(words.approve, task="Go", rows=[], reason="agreed"))
    assert migration.run(wait=True).exit_code == ExitCode.CONVERGED
    told = [event.fields["what"] for event in migration.events if event.kind == "parked"]
    assert told == ["approval"] * 3 + ["held"] * 3 + ["approval"] * 3


def test_the_end_of_a_wait_that_was_waived_is_nobodys_any_more(migration: Migration) -> None:
    migration.write("""
    - name: Wait
      targets: mailboxes
      tasks:
        - name: Low
          thing: {name: "low-{{ target }}"}
          register: low
        - name: The thing is on
          thing: {name: "{{ target }}"}
          not_before: "{{ low.held_since + hours(72) }}"
          register: later
    """)
    migration.clock = Interrupted(
        lambda: migration.say(words.waive, task="The thing is on", rows=[BO], reason="not needed"))
    outcome = migration.run(wait=True)
    assert (outcome.exit_code, outcome.counts) == (ExitCode.CONVERGED, {"done": 5, "waived": 1})
    assert f"thing/{BO}" not in migration.remote.things


def test_what_was_listed_is_listed_anew_only_after_a_wait(
        migration: Migration, monkeypatch: pytest.MonkeyPatch) -> None:
    forget, forgotten = Site.forget, []

    def counted(site: Site) -> None:
        forgotten.append(migration.clock.now())
        forget(site)

    monkeypatch.setattr(Site, "forget", counted)
    migration.write(ONE)
    assert migration.run().exit_code == ExitCode.CONVERGED
    assert len(forgotten) == 1, "once, for the preflight"


@pytest.mark.requirement("B-42")
def test_a_wait_ends_with_a_read_newer_than_its_end_and_begins_anew_where_that_finds_something_else(
        migration: Migration) -> None:
    migration.write(WAIT)
    things = migration.remote.things
    migration.clock = Meanwhile(lambda: things["thing/ttl-acme.example"].update(value="off"))
    assert migration.run(wait=True).exit_code == ExitCode.PARKED_ON_PERSON
    assert migration.clock.now() >= START + timedelta(hours=72) and "thing/mx-acme.example" not in things
    journal = migration.journal()
    stands = {each.task: each.reason for each in standing.standing_still(journal)}
    journal.close()
    assert stands["Wait / Lowered"] == "it is no longer as it was left; repairing it needs your consent"
    again = migration.clock.now()
    assert migration.run(wait=True).exit_code == ExitCode.CONVERGED
    assert migration.clock.now() == again + timedelta(hours=72)
