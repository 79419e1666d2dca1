"""An act that was accepted is not done: a service shows it late, or never, says that it failed, or answers no more."""

from __future__ import annotations

from datetime import timedelta

import pytest

from engine.contract import ExitCode, InDoubt, Unreachable
from engine.run import standing, words
from engine.run.act import RESTARTS_MAX, SETTLE_LOOK, VISIBILITY_BOUND
from tests.run.conftest import ONE, Migration
from tests.run.memory import Thing

BO = "bo@acme.example"
KEY = f"thing/{BO}"


def stands(migration: Migration) -> tuple[str, str, str]:
    """Of the row that goes on no more: phase, reason, remedy."""
    journal = migration.journal()
    try:
        (found,) = standing.standing_still(journal)
    finally:
        journal.close()
    assert found.row == BO
    return found.phase, found.reason, found.remedy


@pytest.mark.parametrize(("failed", "acts"), [("passing", RESTARTS_MAX), ("for good", 0)])
def test_what_failed_over_there_is_started_again_where_that_may_help_and_not_for_ever(
        migration: Migration, failed: str, acts: int) -> None:
    migration.write(ONE)
    migration.remote.things[KEY] = {"value": "off", "failed": failed}
    migration.remote.stuck.add(KEY)
    assert migration.run(wait=True).exit_code == ExitCode.SOME_FAILED
    assert migration.remote.effects[f"{KEY} change"] == acts
    assert stands(migration) == ("failed", "it failed over there", "look at it")
    journal = migration.journal()
    assert [each.body["attempt"] for each in journal.records(kinds=("intent",)) if each.row == BO] == [
        number + 1 for number in range(acts)]
    journal.close()
    migration.say(words.retry, task="The thing is on", rows=[BO])
    assert migration.run(wait=True).exit_code == ExitCode.SOME_FAILED
    assert migration.remote.effects[f"{KEY} change"] == acts + max(1, acts), "a person's word begins anew"


def test_what_was_accepted_and_is_never_seen_fails_once_and_is_done_again_by_the_next_run(migration: Migration) -> None:
    migration.write(ONE)
    migration.remote.stuck.add(KEY)
    began = migration.clock.now()
    assert migration.run(wait=True).exit_code == ExitCode.SOME_FAILED
    assert migration.clock.now() - began == Thing.settles_within
    assert migration.remote.effects[f"{KEY} create"] == 1
    assert stands(migration)[1] == "the act was accepted but its effect never became visible"
    again = migration.run()
    assert (again.counts, again.next_wake) == ({"done": 2, "waiting": 1}, migration.clock.now() + SETTLE_LOOK)
    assert migration.remote.effects[f"{KEY} create"] == 2


@pytest.mark.parametrize("what", ["read", "act"])
def test_what_is_out_of_reach_is_given_up_after_two_hours(migration: Migration, what: str) -> None:
    migration.write(ONE)
    fault = Unreachable("memory", "no answer")
    if what == "read":
        migration.remote.read_faults[KEY] = fault
    else:
        migration.remote.act_faults[KEY] = [fault] * 20
    began = migration.clock.now()
    assert migration.run(wait=True).exit_code == ExitCode.SOME_FAILED
    assert migration.clock.now() - began == timedelta(hours=2)
    assert stands(migration)[:2] == ("failed", "memory: no answer")


def test_what_is_in_doubt_and_not_there_is_looked_for_before_it_is_made_again(migration: Migration) -> None:
    ladder = KEY.replace("thing", "ladder")
    migration.write(ONE.replace("thing:", "ladder:"))
    migration.remote.act_faults[ladder] = [InDoubt("memory", "the line went dead")]
    migration.remote.stuck.add(ladder)
    began = migration.clock.now()
    migration.run()
    migration.remote.stuck.clear()
    migration.later(minutes=1)
    looking = migration.run()
    assert looking.counts == {"done": 2, "waiting": 1}
    assert looking.next_wake == began + timedelta(minutes=6)
    migration.later(minutes=12)
    assert migration.run().next_wake == began + VISIBILITY_BOUND, "never later than the bound"
    migration.clock.time = began + VISIBILITY_BOUND - timedelta(microseconds=1)
    migration.run()
    assert migration.remote.effects[f"{ladder} create"] == 1
    migration.clock.time = began + VISIBILITY_BOUND
    assert migration.run().exit_code == ExitCode.CONVERGED
    assert migration.remote.effects[f"{ladder} create"] == 2
