"""Two operators: the second learns who holds it, and a holder that has slept through its lease does nothing more."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from engine.contract import ExitCode, Plan, Refusal
from engine.run import execute
from engine.run.journal import Journal, Record
from engine.run.lease import LEASE, LEASE_MICROSECONDS, holder, replaceable
from engine.world import InlineWorkers, Pulse, StillClock, World
from tests.run.conftest import START, Migration
from tests.run.test_laws import PLAYBOOK

CONNECTIONS = Path(__file__).parents[2] / "engine" / "connections"


def other(migration: Migration, **more: str) -> dict[str, str]:
    """Another operator, on another machine."""
    world = World(clock=migration.clock, environment={"USER": "bo"}, host="jump02", machine="another")
    return holder(world) | more


def taken_over(migration: Migration) -> Journal:
    """Time passes beyond the lease, and the other operator's run begins."""
    migration.later(seconds=LEASE.total_seconds() + 1)
    journal = migration.journal()
    journal.hold(other(migration))
    return journal


def test_a_holder_replaced_while_it_asks_its_person_does_nothing(migration: Migration) -> None:
    migration.write(PLAYBOOK)

    def answer(plan: Plan) -> bool:
        taken_over(migration)
        return True

    with pytest.raises(Refusal) as caught:
        migration.run(consent=answer)
    assert caught.value.exit_code == ExitCode.LOCKED
    assert all(word in caught.value.problem.found for word in ("bo", "jump02", str(os.getpid())))
    assert migration.remote.effects == {}


class Sleeps(InlineWorkers):
    """Stands still before the call of an act, its intent being durable, and wakes when it has been replaced."""

    meanwhile: Callable[[], object]
    calls = 0

    def finished(self, timeout: float | None) -> Any:
        if any(type(job).__name__ == "ActJob" for _, job, _ in self._jobs):
            Sleeps.calls += 1
            if Sleeps.calls == 3:
                type(self).meanwhile()
        return super().finished(timeout)


def sleeping(migration: Migration, meanwhile: Callable[[], object]) -> World:
    Sleeps.calls, Sleeps.meanwhile = 0, staticmethod(meanwhile)
    return replace(migration.world(), workers=lambda: Sleeps(random.Random(1)))


def test_a_holder_that_wakes_between_intent_and_call_makes_no_call(migration: Migration) -> None:
    migration.write(PLAYBOOK)
    before: dict[str, int] = {}

    def meanwhile() -> None:
        before.update(migration.remote.effects)
        taken_over(migration)

    world, journal = sleeping(migration, meanwhile), migration.journal()
    with pytest.raises(Refusal) as caught:
        execute.run(migration.program(), migration.site(world), journal, world, consent=lambda plan: True)
    assert caught.value.exit_code == ExitCode.LOCKED
    assert before and migration.remote.effects == before
    journal.close()


def test_one_that_slept_and_was_not_replaced_renews_its_lease_and_goes_on(migration: Migration) -> None:
    migration.write(PLAYBOOK)
    world, journal = sleeping(migration, lambda: migration.later(minutes=30)), migration.journal()
    outcome = execute.run(migration.program(), migration.site(world), journal, world, consent=lambda plan: True)
    assert outcome.exit_code == ExitCode.PARKED_ON_TIME and outcome.changed > 3
    journal.close()


def test_confirm_renews_an_old_sign_of_life_and_leaves_a_fresh_one(tmp_path: Path) -> None:
    clock = StillClock(START)
    journal = Journal.open(tmp_path / "m", clock, create=True)
    me = {"who": "anna", "host": "h", "pid": "1", "since": "now"}
    journal.hold(me)
    second = Journal.open(tmp_path / "m", clock, create=False)
    clock.time += LEASE - timedelta(seconds=1)
    journal.confirm()
    clock.time += LEASE - timedelta(seconds=1)
    with pytest.raises(Refusal):
        second.hold(me | {"host": "elsewhere"})
    journal.release()
    with pytest.raises(Refusal) as caught:
        journal.confirm()
    assert caught.value.exit_code == ExitCode.LOCKED


def test_workers_that_outlive_their_run_are_refused_when_the_journal_is_closed(tmp_path: Path) -> None:
    """A run that ends by a refusal leaves acts under way: what they still want to ask is not there any more."""
    for number in range(20):
        journal = Journal.open(tmp_path / f"m{number}", StillClock(START), create=True)
        journal.hold({"who": "anna", "host": "h", "pid": str(os.getpid()), "since": "now"})
        refused: list[Refusal] = []

        def ask(journal: Journal = journal, refused: list[Refusal] = refused) -> None:
            try:
                while True:
                    journal.confirm()
            except Refusal as refusal:
                refused.append(refusal)

        workers = [threading.Thread(target=ask) for _ in range(4)]
        for worker in workers:
            worker.start()
        journal.close()
        for worker in workers:
            worker.join(30)
        assert len(refused) == len(workers)


def test_a_process_number_means_nothing_on_another_machine_or_in_another_container(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "m", StillClock(START), create=True)
    gone = 2**22 - 3  # above any pid_max that is in use
    journal.hold({"who": "anna", "host": "jump01", "machine": "one", "pid": str(gone), "since": "now"})
    second = Journal.open(tmp_path / "m", StillClock(START), create=False)
    with pytest.raises(Refusal):
        second.hold({"who": "bo", "host": "jump01", "machine": "two", "pid": "5", "since": "now"})
    assert second.hold({"who": "bo", "host": "jump01", "machine": "one", "pid": "5", "since": "now"}) == 2


@pytest.mark.parametrize("pid", ["", "here", "9" * 40, str(os.getpid())], ids=["none", "no number", "too long", "ours"])
def test_a_process_that_lives_or_has_no_number_is_not_gone(pid: str) -> None:
    old = {"who": "anna", "host": "jump01", "machine": "one", "pid": pid}
    assert replaceable(old, old | {"pid": "5"}, beat=0, now=LEASE_MICROSECONDS - 1) is False
    assert replaceable(old, old | {"pid": "5"}, beat=0, now=LEASE_MICROSECONDS) is True


def test_a_holder_lives_while_its_driver_is_busy() -> None:
    beaten = threading.Semaphore(0)
    pulse = Pulse(0.001, beaten.release)
    for _ in range(3):
        assert beaten.acquire(timeout=30)
    pulse.close()
    while beaten.acquire(blocking=False):
        pass
    assert not beaten.acquire(timeout=0.05)


def test_a_pulse_that_has_lost_the_lease_ends(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "m", StillClock(START), create=True)
    pulse = Pulse(0.001, journal.heartbeat)  # nothing is held: it raises
    pulse._thread.join(30)
    assert not pulse._thread.is_alive()
    journal.say(Record("held"))
    pulse.close()


@pytest.mark.parametrize("client", sorted(path.stem for path in CONNECTIONS.glob("*.py")
                                          if "raise InDoubt(" in path.read_text(encoding="utf-8")
                                          or "write: bool" in path.read_text(encoding="utf-8")))
def test_a_client_that_changes_something_asks_first_whether_it_still_may(client: str) -> None:
    """What may be in doubt was sent. graph and exchange_online send through http, letters through smtp or graph."""
    text = (CONNECTIONS / f"{client}.py").read_text(encoding="utf-8")
    assert "before_call()" in text or "self._http.call(" in text, client
